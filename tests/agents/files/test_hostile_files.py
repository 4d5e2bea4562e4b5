"""Damaged and hostile files: a clean error that names the file, or an agent that works."""

import copy
import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from damage import damaged
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import LIFE, NUM_ENVS, SaveAt, agent, life, live

from continual_arcade.agents import ContinualDQN, DivergedError, machine_memory
from continual_arcade.agents.files.space_data import space_from_data, space_to_data
from continual_arcade.agents.files.state_files import load_state, save_state
from continual_arcade.agents.methods.agem import AGEM
from continual_arcade.agents.methods.benna_fusi import BennaFusi
from continual_arcade.agents.methods.clear import Clear
from continual_arcade.agents.methods.clone import Clone
from continual_arcade.agents.methods.continual_backprop import ContinualBackprop
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.gem import GEM
from continual_arcade.agents.methods.hare_tortoise import HareTortoise
from continual_arcade.agents.methods.l2_init import L2Init
from continual_arcade.agents.methods.mer import MER
from continual_arcade.agents.methods.neurogenesis import Neurogenesis
from continual_arcade.agents.methods.pt_dqn import PTDQN
from continual_arcade.agents.methods.reptile import Reptile
from continual_arcade.agents.methods.si import SI
from continual_arcade.agents.methods.stream_q import StreamQ
from continual_arcade.agents.replay import (
    BalancedReplayBuffer,
    FIFOReplayBuffer,
    MixReplayBuffer,
    NoReplayBuffer,
    ReservoirReplayBuffer,
)

# --- the container --------------------------------------------------------------------------------


def header(shape: str, dtype: str = "'<f8'", order: str = "False", version: int = 3) -> bytes:
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<I", len(text)) + text


DESCRIPTION = {"format": 1, "kind": "k", "state": {"a": {"$array": 0}}}


def container(
    path: Path,
    arrays: list[bytes],
    description: Any = DESCRIPTION,
    compression: int = zipfile.ZIP_DEFLATED,
    more: dict[str, bytes] | None = None,
) -> Path:
    head = description if isinstance(description, bytes) else json.dumps(description).encode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a name is there twice
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.writestr("state.json", head)
            for number, data in enumerate(arrays):
                archive.writestr(f"arrays/{number}.npy", data)
            for name, data in (more or {}).items():
                archive.writestr(name, data)
    return path


GOOD = header("(2,)") + np.arange(2.0).tobytes()


def test_a_container_made_by_hand_is_read(tmp_path: Path) -> None:
    """What the attacks are made of is right but for the one thing."""
    state = load_state(container(tmp_path / "a", [GOOD]), "k")
    np.testing.assert_array_equal(state["a"], [0.0, 1.0])
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        load_state(container(tmp_path / "a", [GOOD], compression=compression), "k")
    fortran = header("(2, 2)", order="True") + np.arange(4.0).tobytes()
    found = load_state(container(tmp_path / "a", [fortran]), "k")["a"]
    np.testing.assert_array_equal(found, [[0, 2], [1, 3]])
    assert found.flags.c_contiguous  # compiled code counts on it


BLIND = {"format": 1, "kind": "k", "state": {}}


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ([header("(2**40,)") + b"x" * 16], {}, ""),
        ([header(f"({2**40},)") + b"x" * 16], {}, r"shape \(1099511627776,\).* and has 16"),
        ([header(f"({2**62}, {2**62})") + b"x"], {}, "and has 1"),
        ([header("(0, -3)")], {}, r"says shape \(0, -3\)"),
        ([header("(-2, -1)") + b"x" * 16], {}, "says shape"),
        ([header("(1.5,)") + b"x" * 16], {}, ""),
        ([header("(3,)") + b"x" * 16], {}, r"24 bytes, and has 16"),
        ([header("(1,)") + b"x" * 16], {}, r"8 bytes, and has 16"),
        ([header("(2,)", "'|O'") + b"x" * 16], {}, "object arrays"),
        ([header("(2,)", "[('a', '<f8'), ('b', '|O')]") + b"x" * 32], {}, "object arrays"),
        ([header("(2,)", "'<U9'") + b"x" * 72], {}, "not kept"),
        ([header("(2,)", "'<M8[s]'") + b"x" * 16], {}, "not kept"),
        ([header("(2,)", "'|V0'")], {}, "not kept"),
        ([header("(2,)", "[]")], {}, "not kept"),
        ([header(f"({2**62},)", "[('a', '<f8', (0,))]")], {}, "not kept"),
        ([header("(2,)", f"[('a', '<f8', ({2**40},))]") + b"x" * 16], {}, ""),
        ([header("(2,)", "__import__('os').mkdir('x')") + b"x" * 16], {}, ""),
        ([header("(" * 500 + ")" * 500)], {}, ""),
        ([header("(2,)" + " " * 20_000) + b"x" * 16], {}, ""),
        ([header("(2,)", version=1) + b"x" * 16], {}, "another version"),
        ([b""], {}, ""),
        ([b"\x93NUMPY\x03\x00\xff\xff\xff\xff"], {}, ""),
        ([GOOD], {"more": {"arrays/0.npy": GOOD}}, "one of them twice"),
        ([GOOD], {"more": {"state.json": b"{}"}}, "one of them twice"),
        ([GOOD], {"more": {"../../evil": b"x"}}, "other names"),
        ([GOOD], {"more": {"/etc/passwd": b"x"}}, "other names"),
        ([GOOD], {"more": {"arrays/5.npy": GOOD}}, "other names"),
        ([GOOD, GOOD], {}, "arrays/1.npy belongs to nothing"),
        ([], {}, "or there is none"),
        ([GOOD], {"compression": zipfile.ZIP_BZIP2}, "compressed in another way"),
        ([GOOD], {"compression": zipfile.ZIP_LZMA}, "compressed in another way"),
        (
            [GOOD],
            {"description": {**BLIND, "state": {"a": [{"$array": 0}] * 3}}},
            "two places ask for arrays/0.npy",
        ),
        (
            [GOOD],
            {"description": {**BLIND, "state": {"a": {"$array": 0}, "b": {"$tensor": 0}}}},
            "two places",
        ),
        ([GOOD], {"description": {**BLIND, "state": {"a": {"$array": True}}}}, "or there is none"),
        ([GOOD], {"description": {**BLIND, "state": {"a": {"$array": -1}}}}, "or there is none"),
        ([], {"description": {**BLIND, "state": {"a": {"$float": "1"}}}}, ""),
        ([], {"description": {**BLIND, "versions": []}}, "lacks what every state file has"),
        ([], {"description": b'{"format": 1, "kind": "k", "state": {"a": NaN}}'}, "NaN is no"),
        ([], {"description": b'{"format": 1, "kind": "k", "state": ' + b"9" * 9_999}, ""),
        ([], {"description": b'{"a":' * 9_999}, ""),
        (
            [],
            {"description": b'{"format": 1, "kind": "k", "state": ' + b'{"a":' * 900 + b"0" * 1},
            "",
        ),
    ],
)
def test_attacks_on_the_container(
    arrays: list[bytes], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = container(tmp_path / "a", arrays, **options)
    with pytest.raises(ValueError, match=rf"{path} is damaged.*({message})"):
        load_state(path, "k")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_decompression_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what an entry claims nor what it holds comes to more than there is memory."""
    bomb = header(f"({2**22},)") + bytes(2**25)
    path = container(tmp_path / "bomb", [bomb])
    assert path.stat().st_size < 2**16
    assert load_state(path, "k")["a"].nbytes == 2**25
    monkeypatch.setattr(machine_memory, "available_memory", lambda: 2**25)
    with pytest.raises(ValueError, match=r"bomb is damaged.*the arrays in it take .* GiB"):
        load_state(path, "k")
    load_state(container(tmp_path / "small", [GOOD]), "k")
    # Text becomes objects, which take many times as much.
    tree = b'{"format": 1, "kind": "k", "state": {"a": [' + b"[]," * 2**20 + b"[]]}}"
    with pytest.raises(ValueError, match=r"text is damaged.*the arrays in it take"):
        load_state(container(tmp_path / "text", [], tree), "k")


def test_an_entry_that_claims_more_than_it_can_hold(tmp_path: Path) -> None:
    path = container(tmp_path / "a", [GOOD])
    whole = bytearray(path.read_bytes())
    place = whole.rindex(b"PK\x01\x02") + 24  # the size, in the directory at the end
    for size in (2**31, 2**32 - 2, 0, 7):
        whole[place : place + 4] = struct.pack("<I", size)
        path.write_bytes(whole)
        with pytest.raises(ValueError, match="is damaged"):
            load_state(path, "k")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_bytes_that_are_cut_flipped_or_exchanged(data: Any) -> None:
    state = {"a": np.arange(30.0), "b": [torch.ones(3), 1.5, "text"], "c": {"d": 2**70}}
    save_state(stream := io.BytesIO(), state, "k")
    whole = bytearray(stream.getvalue())
    begin = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(begin, min(len(whole), begin + 64)))
    whole[begin:end] = data.draw(st.binary(max_size=64))
    try:
        found = load_state(io.BytesIO(bytes(whole)), "k")
    except ValueError as error:
        assert "damaged" in str(error) or "no state file" in str(error)  # noqa: PT017
    else:
        assert str(found) == str(state)  # it meant nothing, such as the date of an entry


# --- what an agent is -----------------------------------------------------------------------------

KINDS: dict[str, Callable[..., ContinualDQN]] = {
    "ewc, si, clone, agem": lambda **kwargs: agent(
        EWC(lam=0.1, samples=20, anchor="ema"),
        SI(lam=0.1),
        Clone(states=30, what="policy"),
        AGEM(transitions=30),
        **kwargs,
    ),
    "gem, neurogenesis": lambda **kwargs: agent(
        GEM(transitions=20), Neurogenesis(every=20, rate=0.1), **kwargs
    ),
    "l2-init, continual-backprop": lambda **kwargs: agent(
        L2Init(lam=0.1), ContinualBackprop(every=20, rate=0.01, maturity=9), **kwargs
    ),
    "benna-fusi": lambda **kwargs: agent(BennaFusi(every=20, pace=0.1), **kwargs),
    "hare-tortoise": lambda **kwargs: agent(HareTortoise(every=20, decay=0.9), **kwargs),
    "pt-dqn": lambda **kwargs: agent(PTDQN(every=40, updates=2, batch=9), **kwargs),
    "reptile, clear": lambda **kwargs: agent(
        Reptile(every=7), Clear(after=0), replay=BalancedReplayBuffer, **kwargs
    ),
    "stream-q": lambda **kwargs: agent(StreamQ(), replay=NoReplayBuffer, **kwargs),
    "mer": lambda **kwargs: agent(
        MER(), replay=MixReplayBuffer, policy={"optimizer_class": torch.optim.SGD}, **kwargs
    ),
}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], dict[str, Any]]:
    """What files of training hold, by kind of agent and engine."""
    made: dict[tuple[str, str], dict[str, Any]] = {}

    def tree(kind: str, engine: str) -> dict[str, Any]:
        if (kind, engine) not in made:
            path = tmp_path_factory.mktemp("files") / "training.zip"
            callback = SaveAt(LIFE - 2 * NUM_ENVS, path)
            live(KINDS[kind](engine=engine), callback=callback)
            made[kind, engine] = load_state(path, "agent")
        return made[kind, engine]

    return tree


def load_and_go_on(path: Path) -> str:
    """Load an agent, act and learn; say what came of it."""
    env = life()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it was written by other versions
            model = ContinualDQN.load(path, env, "cpu")
    except ValueError as error:
        assert str(path) in str(error), error  # noqa: PT017
        return "refused"
    model.tensorboard_log = None  # a folder of any name, which would be written to
    observations = np.stack([model.observation_space.sample() for _ in range(NUM_ENVS)])
    for deterministic in (True, False):
        actions, _ = model.predict(observations, deterministic=deterministic)
        assert all(model.action_space.contains(action) for action in actions)
    try:
        live(model, 10 * NUM_ENVS, reset_num_timesteps=False)
    except DivergedError:
        return "diverged"
    except ValueError as error:
        # An optimiser may be set as PyTorch alone serves it, such as with maximize.
        assert "the compiled engine does not support this agent" in str(error)  # noqa: PT017
        return "refused"
    model.save(path)
    return "works"


def damage_and_load(tree: dict[str, Any], random: Random, folder: Path) -> str:
    tree = damaged(tree, random)
    path = folder / "agent.zip"
    try:
        save_state(path, tree, "agent")
    except TypeError:
        return "unwritten"
    return load_and_go_on(path)


SLOWLY: Any = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


@pytest.mark.one_in(4)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=4, **SLOWLY)
@given(random=st.randoms(use_true_random=True))
def test_a_tree_with_something_wrong(kind: str, trees: Any, random: Random, tmp_path: Path) -> None:
    damage_and_load(trees(kind, "torch"), random, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=400, **SLOWLY)
@given(random=st.randoms(use_true_random=True))
def test_many_trees_with_something_wrong(
    kind: str, engine: str, trees: Any, random: Random, tmp_path: Path
) -> None:
    damage_and_load(trees(kind, engine), random, tmp_path)


# Places, and what a file says there that no training can lead to.
LIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "gradient_steps": lambda t: t["arguments"].update(gradient_steps=2**62),
    "train_freq": lambda t: t["arguments"].update(train_freq={"tuple": [2**62, "step"]}),
    "learning_rate": lambda t: t["arguments"].update(learning_rate=float("nan")),
    "learning_rate = 1e\\+300": lambda t: t["arguments"].update(learning_rate=1e300),
    "lr of the": lambda t: t["optimizer"]["groups"][0]["options"].update(lr=-1e300),
    "eps of the": lambda t: t["optimizer"]["groups"][0]["options"].update(eps=1e300),
    "weight_decay of the": lambda t: t["optimizer"]["groups"][0]["options"].update(
        weight_decay=1e308
    ),
    "double_q": lambda t: t["arguments"].update(double_q="no"),
    "n_envs": lambda t: t.update(n_envs=2**62),
    "several times as many|more than 4 times": lambda t: t["arguments"].update(
        policy_kwargs={"dict": {"net_arch": [2**17, 2**17]}}
    ),
    "cannot be loaded|more than 4 times": lambda t: t["arguments"].update(
        policy_kwargs={"dict": {"net_arch": [2**40]}}
    ),
    "buffer_size": lambda t: t["arguments"].update(buffer_size=2**50),
    "n_steps": lambda t: t["arguments"]["replay_buffer_kwargs"]["dict"].update(n_steps=10**6),
    "num_timesteps": lambda t: t["counters"].update(num_timesteps=-1),
    "num_timesteps = 9": lambda t: t["counters"].update(num_timesteps=2**63 - 1),
    "step of": lambda t: t["optimizer"]["state"]["q_net.q_net.0.bias"].update(
        step=torch.tensor(1e20)
    ),
    "exploration_rate": lambda t: t["counters"].update(exploration_rate=float("nan")),
    "finite": lambda t: t["network"]["q_net.q_net.0.bias"].fill_(float("nan")),
    "exp_avg_sq": lambda t: t["optimizer"]["state"]["q_net.q_net.0.bias"]["exp_avg_sq"].fill_(-1.0),
    "exp_avg of": lambda t: t["optimizer"]["state"]["q_net.q_net.0.bias"].update(
        exp_avg=torch.zeros(3)
    ),
    "omega": lambda t: t["parts"][0]["state"].update(omega=[torch.zeros(9)]),
    "average is empty|average": lambda t: t["parts"][0]["state"].update(average=[torch.zeros(1)]),
    "actions go from": lambda t: t["parts"][3]["state"]["kept"]["actions"].fill(7),
    "observations": lambda t: t["parts"][2]["state"].update(observations=np.zeros((4, 3))),
    "slots in use": lambda t: t["training"]["replay"].update(seen=7),
    "actions": lambda t: t["training"]["replay"]["arrays"]["actions"].fill(-5),
    "rewards are not finite": lambda t: t["training"]["replay"]["arrays"]["rewards"].fill(np.nan),
    "last_obs": lambda t: t["training"]["last_obs"].fill(np.inf),
    "pos = ": lambda t: t["training"]["numpy"]["state"].update(pos=10**6),
    "gap must be": lambda t: t["training"]["env"]["env"]["blocks"]["gap"].fill(-3.0),
    "positive must be": lambda t: t["training"]["env"]["env"]["blocks"]["positive"].fill(99.0),
    "bird_y is not finite": lambda t: t["training"]["env"]["env"]["blocks"]["bird_y"].fill(np.nan),
    "clock lacks": lambda t: t["training"]["env"]["env"]["clock"].pop("step"),
    "step = ": lambda t: t["training"]["env"]["env"]["clock"].update(step=-8, read_at=-8),
    "phases": lambda t: t["life"]["phases"].fill(77),
    "no space": lambda t: t["spaces"][0].update(dtype="<f8"),
    "names the class os:system": lambda t: t.update(policy={"class": "os:system"}),
}


@pytest.mark.parametrize(
    ("lie", "phase"),
    [
        (lambda t: t["training"]["replay"]["pending"]["phases"].fill(99), 99),
        (lambda t: t["life"]["phases"].fill(2), 2),
    ],
    ids=["waiting", "running"],
)
def test_phases_that_were_never_stored_are_counted(
    lie: Callable[[Any], Any], phase: int, tmp_path: Path
) -> None:
    """Compiled code counted their draws beyond the end of the counts."""
    path = tmp_path / "agent.zip"
    live(agent(engine="compiled", batch_size=4), 40, callback=SaveAt(36, path))
    tree = load_state(path, "agent")
    lie(tree)
    save_state(path, tree, "agent")
    model = ContinualDQN.load(path, life(), "cpu")
    live(model, 12, reset_num_timesteps=False)
    assert model.runs_compiled
    stored = model.replay.phases[model.replay.stored_slots()]
    assert stored.max() == phase
    assert len(model.replay.drawn_phases) > phase


@pytest.mark.one_in(2)
@pytest.mark.parametrize("kind", KINDS)
def test_a_tree_with_nothing_wrong(kind: str, trees: Any, tmp_path: Path) -> None:
    save_state(tmp_path / "agent.zip", trees(kind, "torch"), "agent")
    assert load_and_go_on(tmp_path / "agent.zip") == "works"


@pytest.mark.parametrize("lie", LIES)
def test_what_no_training_can_lead_to(lie: str, trees: Any, tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    tree = copy.deepcopy(trees("ewc, si, clone, agem", "torch"))
    LIES[lie](tree)
    save_state(path, tree, "agent")
    with pytest.raises(ValueError, match=rf"agent\.zip.*({lie})"):
        ContinualDQN.load(path, life(), "cpu")


OF_UNITS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "last": lambda t: t["parts"][1]["state"].update(last=0.5),
    "looks of": lambda t: t["parts"][1]["state"].update(looks=2**62),
    "updates": lambda t: t["parts"][1]["state"].update(updates=1e300),
    "before": lambda t: t["parts"][1]["state"].update(before=10**6),
    "born": lambda t: t["parts"][1]["state"]["born"][0].fill_(-1),
    "owed": lambda t: t["parts"][1]["state"]["owed"][0].fill_(np.nan),
    "utility": lambda t: t["parts"][1]["state"].update(utility=[torch.zeros(3)]),
}


@pytest.mark.parametrize("lie", OF_UNITS)
def test_what_is_not_known_of_any_unit(lie: str, trees: Any, tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    kind = "gem, neurogenesis" if lie == "looks of" else "l2-init, continual-backprop"
    tree = copy.deepcopy(trees(kind, "torch"))
    OF_UNITS[lie](tree)
    save_state(path, tree, "agent")
    with pytest.raises(ValueError, match=rf"agent\.zip.*({lie})"):
        ContinualDQN.load(path, life(), "cpu")


@pytest.mark.parametrize(
    "replay", [FIFOReplayBuffer, ReservoirReplayBuffer, MixReplayBuffer, BalancedReplayBuffer]
)
def test_replay_whose_slots_are_not_those_of_what_it_has_seen(replay: Any) -> None:
    model = live(agent(replay=replay, engine="torch"))
    state = model.replay.state_dict()
    other = agent(replay=replay, engine="torch").replay
    other.load_state_dict(state)
    for wrong in (
        {"seen": state["seen"] // 7},
        {"seen": -1},
        {"slots": state["slots"][::-1].copy()},
        {"slots": state["slots"] * 0},
        {"drawn_phases": np.array([-1])},
    ):
        before = str(other.state_dict())
        with pytest.raises(ValueError, match=r"damaged|must be"):
            other.load_state_dict({**state, **wrong})
        assert str(other.state_dict()) == before


@pytest.mark.parametrize(
    "data",
    [
        *(
            None,
            5,
            {},
            {"n": 0, "start": 0, "dtype": "<i8"},
            {"n": 2**70, "start": 0, "dtype": "O"},
        ),
        {"low": np.zeros(2), "high": np.ones(3), "dtype": "<f8"},
        {"low": np.ones(2), "high": np.zeros(2), "dtype": "<f8"},
        {"low": np.full(2, np.nan), "high": np.zeros(2), "dtype": "<f8"},
        {"nvec": np.array([-1]), "starts": np.array([0]), "dtype": "<i8"},
        {"bits": [0], "flat": True},
        {"bits": "x", "flat": True},
        {"spaces": 5},
        {"spaces": [["a", {}]]},
    ],
)
def test_what_describes_no_space(data: Any) -> None:
    with pytest.raises(ValueError, match="describes no space"):
        space_from_data(data)


def test_spaces_come_back() -> None:
    for space in (
        spaces.Box(-1, np.inf, (2, 3), np.float64),
        spaces.Discrete(4),
        spaces.MultiDiscrete([3, 2], dtype=np.int32),
        spaces.MultiBinary(3),
        spaces.MultiBinary([3]),
        spaces.Dict(b=spaces.Discrete(2), a=spaces.MultiBinary([2, 2])),
    ):
        again = space_from_data(space_to_data(space))
        assert again == space
        assert type(again) is type(space)
        assert again.dtype == space.dtype
