"""Agents as files: what comes back, what goes on bit for bit, and what is refused."""

import base64
import copy
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan
from tiny import (
    CONFLICT,
    LIFE,
    NUM_ENVS,
    PHASE,
    SETTINGS,
    UNCOMPILED,
    Corridor,
    SaveAt,
    agent,
    bits,
    context_of,
    differences,
    inside,
    life,
    live,
)
from torch import nn

from continual_arcade.agents import (
    METHODS,
    ContinualDQN,
    Exploration,
    Method,
    build_agent,
    make_training_env,
)
from continual_arcade.agents.files import saving, state_files
from continual_arcade.agents.files.plain import from_plain
from continual_arcade.agents.files.state_files import other_versions
from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.agem import AGEM
from continual_arcade.agents.methods.clear import Clear
from continual_arcade.agents.methods.clone import Clone
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.l2 import L2
from continual_arcade.agents.methods.reptile import Reptile
from continual_arcade.agents.methods.si import SI
from continual_arcade.agents.replay import FIFOReplayBuffer, MixReplayBuffer
from continual_arcade.envs import make_game, shipped

SAVED = 200
OBSERVATIONS = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)


def answers(model: Any) -> np.ndarray:
    with torch.no_grad():
        values: np.ndarray = model.q_net.eval()(torch.as_tensor(OBSERVATIONS)).numpy()
    return values


def disturb() -> None:
    """Move everything that a process shares."""
    torch.manual_seed(987)
    np.random.seed(654)  # noqa: NPY002  # the parent draws from it


@pytest.fixture(scope="module")
def trained() -> ContinualDQN:
    """An agent with parts that have something to keep."""
    return live(
        agent(
            EWC(lam=0.1, samples=20, anchor="ema"),
            SI(lam=0.1),
            Clone(states=30, what="policy", temperature=0.5),
            AGEM(transitions=30),
            policy={"dropout": 0.1, "layer_norm": True, "activation_fn": nn.Tanh},
        )
    )


# --- what comes back ----------------------------------------------------------------------------


def test_everything_but_replay_comes_back(trained: ContinualDQN, tmp_path: Path) -> None:
    before = inside(trained)
    trained.save(tmp_path / "agent.zip")
    assert not list(differences(inside(trained), before))  # saving changes nothing
    disturb()
    loaded = ContinualDQN.load(tmp_path / "agent.zip", device="cpu")
    after = inside(loaded)
    assert after.pop("replay")["seen"] == 0
    before.pop("replay")
    assert not list(differences(after, before))
    assert before["moments"]["state"]
    assert (before["counters"][0], before["counters"][1]) == (LIFE, trained._n_updates)
    np.testing.assert_array_equal(answers(loaded), answers(trained))
    for deterministic in (True, False):
        one, other = (
            model.predict(OBSERVATIONS, deterministic=deterministic)[0]
            for model in (loaded, trained)
        )
        np.testing.assert_array_equal(one, other)
    assert [type(part) for part in loaded.parts] == [EWC, SI, Clone, AGEM]
    assert [part.settings for part in loaded.parts] == [part.settings for part in trained.parts]
    for name in saving._ARGUMENTS:
        assert getattr(loaded, name) == getattr(trained, name), name
    assert loaded.exploration == trained.exploration
    assert loaded.observation_space == trained.observation_space
    assert loaded.action_space == trained.action_space


def test_differences_are_seen() -> None:
    """The oracle of these tests notices a single bit, anywhere."""
    tree = {"a": [np.zeros(3), {"b": torch.zeros(2)}], "c": 1.0}
    for change in (
        {"a": [np.zeros(3), {"b": torch.tensor([0.0, -0.0])}], "c": 1.0},
        {"a": [np.zeros(3, np.float32), {"b": torch.zeros(2)}], "c": 1.0},
        {"a": [np.zeros(3), {"b": torch.zeros(2)}], "c": 2.0},
        {"a": [np.zeros(3)], "c": 1.0},
        {"a": [np.zeros(3), {"d": torch.zeros(2)}], "c": 1.0},
    ):
        assert list(differences(tree, change))
    assert not list(differences(tree, tree))


def test_a_name_gets_a_suffix(trained: ContinualDQN, tmp_path: Path) -> None:
    trained.save(tmp_path / "name")
    assert [path.name for path in tmp_path.iterdir()] == ["name.zip"]
    trained.save(str(tmp_path / "other"))
    for name in ("name", "name.zip", "other"):
        np.testing.assert_array_equal(
            answers(ContinualDQN.load(str(tmp_path / name), device="cpu")), answers(trained)
        )
    trained.save(tmp_path / "name.agent")
    assert (tmp_path / "name.agent").exists()


def test_arguments_may_be_replaced(trained: ContinualDQN, tmp_path: Path) -> None:
    trained.save(tmp_path / "agent")
    loaded = ContinualDQN.load(
        tmp_path / "agent", device="cpu", custom_objects={"learning_starts": 7}, batch_size=5
    )
    assert (loaded.learning_starts, loaded.batch_size) == (7, 5)
    bare = ContinualDQN.load(tmp_path / "agent", device="cpu", parts=[])
    assert bare.parts == []
    np.testing.assert_array_equal(answers(bare), answers(trained))


def test_a_policy_can_be_made_anew_from_what_it_says_of_itself(trained: ContinualDQN) -> None:
    other = type(trained.policy)(**trained.policy._get_constructor_parameters())
    other.load_state_dict(trained.policy.state_dict())
    assert str(other.q_net) == str(trained.q_net)
    assert "Dropout(p=0.1" in str(other.q_net)
    assert "LayerNorm" in str(other.q_net)


def test_a_loaded_agent_may_live_elsewhere(trained: ContinualDQN, tmp_path: Path) -> None:
    """Without its replay it begins another life, with what it knows."""
    trained.save(tmp_path / "agent")
    for num_envs in (1, 3):
        loaded = ContinualDQN.load(tmp_path / "agent", life(num_envs=num_envs), "cpu")
        live(loaded, PHASE // 2)
        assert loaded.n_envs == num_envs
        assert not np.array_equal(answers(loaded), answers(trained))


# --- going on -----------------------------------------------------------------------------------

FEW_MEMORIES = ("mer:algorithm=1,memories=2,repeats=1,beta=0.9,gamma=0.3",)


def small(name: str) -> Method:
    """A method whose numbers are cut down to a tiny life."""
    method = METHODS[name]
    if name == "mer-faithful":
        return replace(method, parts=FEW_MEMORIES)
    parts = {
        "clear": ("clear:after=60",),
        "ewc": ("ewc:lam=0.1,samples=30",),
        "online-ewc": ("online-ewc:lam=0.1,samples=30",),
        "mas": ("mas:lam=0.1,samples=30",),
        "mer-lazy": ("reptile:every=7",),
        "agem": ("agem:transitions=40,batch=16",),
        "gem": ("gem:transitions=20",),
        "clone": ("clone:states=40,batch=16",),
        "clonex": ("clone:states=40,batch=16", "best-return:steps=40,trial=8"),
        "generative-replay": ("generative-replay:states=40,samples=60,components=3,batch=16",),
        "l2": ("l2:lam=0.01",),
        "benna-fusi": ("benna-fusi:every=40,beakers=4,pace=0.1",),
        "pt-dqn": ("pt-dqn:every=40,updates=5,batch=16",),
        "hare-tortoise": ("hare-tortoise:every=40,decay=0.9",),
        "drop-and-grow": ("drop-and-grow:every=40,over=200,batch=20",),
        "redo": ("redo:every=40,batch=20,tau=0.5",),
        "continual-backprop": ("continual-backprop:every=40,rate=0.01,maturity=9",),
        "neurogenesis": ("neurogenesis:every=40,rate=0.1",),
        "packnet": ("packnet:retrain=9",),
        "parseval": ("parseval:lam=0.01",),
        "spectral": ("spectral:lam=0.01",),
        "trac": ("trac:epsilon=0.1",),
        "upgd": ("upgd:noise=0.01",),
        "hat": ("hat:cycle=40",),
        "den": ("den:every=4,head_steps=20,retrain_steps=20,expand_steps=20,units=2",),
    }
    return replace(method, parts=parts.get(name, method.parts))


def of_method(name: str, engine: Any = "torch") -> ContinualDQN:
    """An agent of a method; what draws from PyTorch's generator only PyTorch computes."""
    drawing = {"dropout": 0.1, "layer_norm": name not in ("den", "hat")}
    if engine == "compiled" or name == "pt-dqn":  # which knows neither
        drawing = {}
    settings = replace(SETTINGS, engine=engine, **drawing)
    method = small(name)
    context = context_of(method.make_parts())
    return build_agent("FlappyBird", CONFLICT, settings, 3, method, context=context)


@pytest.mark.parametrize(
    ("engine", "name"),
    [("compiled", name) for name in METHODS if name not in UNCOMPILED]
    + [
        # What a method keeps is kept in the same way with either engine.
        pytest.param("torch", name, marks=() if name in UNCOMPILED else pytest.mark.slow)
        for name in METHODS
    ],
)
def test_every_method_goes_on_bit_for_bit(engine: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "training.zip"
    steps = 2 * PHASE if name == "mer-faithful" else 2 * PHASE + 40  # into the third phase
    whole = live(of_method(name, engine), steps, callback=SaveAt(SAVED, path))
    assert whole.runs_compiled == (engine == "compiled")
    disturb()
    resumed = ContinualDQN.load(path, life(context=context_of(whole.parts)), "cpu")
    assert resumed.num_timesteps == SAVED
    live(resumed, steps - SAVED, reset_num_timesteps=False)
    assert not list(differences(inside(resumed), inside(whole)))
    assert resumed.env is not None
    assert whole.env is not None
    assert not list(differences(resumed.env.state_dict(), whole.env.state_dict()))  # type: ignore[attr-defined]
    assert list(resumed.ep_info_buffer or []) != []


@pytest.mark.parametrize("engine", [pytest.param("torch", marks=pytest.mark.slow), "compiled"])
def test_a_network_with_tanh_resumes_bit_for_bit(engine: Any, tmp_path: Path) -> None:
    path = tmp_path / "training.zip"
    policy = {"activation_fn": nn.Tanh}
    whole = live(agent(EWC(samples=20), policy=policy, engine=engine), callback=SaveAt(SAVED, path))
    resumed = ContinualDQN.load(path, life(), "cpu")
    assert type(resumed.q_net.q_net[1]) is nn.Tanh
    assert resumed.runs_compiled == (engine == "compiled")
    live(resumed, LIFE - SAVED, reset_num_timesteps=False)
    assert not list(differences(inside(resumed), inside(whole)))


def test_going_on_twice_is_going_on_once(tmp_path: Path) -> None:
    whole = live(of_method("clear"), callback=SaveAt(100, tmp_path / "0"))
    for number, step in enumerate((152, 248)):
        loaded = ContinualDQN.load(tmp_path / str(number), life(), "cpu")
        callback = SaveAt(step, tmp_path / str(number + 1))
        live(loaded, LIFE - loaded.num_timesteps, reset_num_timesteps=False, callback=callback)
        assert bits(loaded) == bits(whole)


@pytest.mark.one_in(5)
@pytest.mark.parametrize(
    "omitted", ["torch", "numpy", "actions", "replay", "env", "moments", "counters"]
)
def test_whatever_is_left_out_is_missed(
    omitted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "training.zip"
    model = agent(Clone(states=30), policy={"dropout": 0.2}, exploration_final_eps=0.5)
    if omitted in ("numpy", "actions"):
        model.exploration = None  # the parent's way draws from what all share
    live(model, callback=SaveAt(SAVED, path))

    def resumed() -> ContinualDQN:
        disturb()
        loaded = ContinualDQN.load(path, life(), "cpu")
        return live(loaded, LIFE - loaded.num_timesteps, reset_num_timesteps=False)

    assert not list(differences(inside(resumed()), inside(model)))
    if omitted == "torch":
        monkeypatch.setattr(torch, "set_rng_state", lambda _: None)
    elif omitted == "numpy":
        monkeypatch.setattr(np.random, "set_state", lambda _: None)
    elif omitted == "replay":
        monkeypatch.setattr(type(model.replay), "load_state_dict", lambda *_: None)
    elif omitted == "env":
        monkeypatch.setattr(type(model.env), "load_state_dict", lambda *_: None)
    elif omitted == "moments":
        monkeypatch.setattr(torch.optim.Adam, "load_state_dict", lambda *_: None)
    else:
        kept = saving.load_state

        def without(*args: Any) -> Any:
            state = kept(*args)
            if omitted == "actions":
                state["training"]["actions"] = np.random.default_rng(5).bit_generator.state
            else:
                state["counters"]["_n_calls"] = 7
            return state

        monkeypatch.setattr(saving, "load_state", without)
    if omitted == "env":
        with pytest.raises(ResetNeeded):
            resumed()
    else:
        assert list(differences(inside(resumed()), inside(model)))


def slower(model: Any) -> None:
    model.learning_rate = 1e-4
    model._setup_lr_schedule()


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model.replay, "handle_timeout_termination", False),
        lambda model: setattr(model.replay, "long_term_fraction", 0.1),
        slower,
    ],
    ids=["timeouts", "share", "rate"],
)
def test_what_was_changed_later_is_in_the_file(
    change: Callable[[Any], None], tmp_path: Path
) -> None:
    model = live(agent(replay=MixReplayBuffer, engine="torch"), 80)
    change(model)
    model.save_training(tmp_path / "0.zip")
    loaded = ContinualDQN.load(tmp_path / "0.zip", life(), "cpu")
    for each in (model, loaded):
        live(each, 40, reset_num_timesteps=False)
    assert bits(loaded) == bits(model)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("lr_schedule", lambda left: 0.01 * left, "lr_schedule is .*learning_rate, .*val=0.001"),
        ("learning_rate", 0.01, r"lr_schedule is .*val=0\.001.* make .*val=0\.01"),
        ("exploration_schedule", lambda left: left, "exploration_schedule is .*start=1.0"),
        ("exploration_final_eps", 0.5, r"exploration_schedule is .*end=0\.05.* make .*end=0\.5"),
        ("exploration_fraction", 0.0, "exploration_schedule is .*make ConstantSchedule"),
    ],
)
def test_schedules_that_no_file_holds_are_refused(
    name: str, value: Any, why: str, tmp_path: Path
) -> None:
    model = live(agent(), 40)
    before = getattr(model, name)
    setattr(model, name, value)
    with pytest.raises(ValueError, match=why):
        model.save_training(tmp_path / "0.zip")
    model.save(tmp_path / "0.zip")
    if name.endswith("eps"):
        model.exploration = Exploration("constant")  # by which it counts at once
        model.save_training(tmp_path / "0.zip")
        model.exploration = Exploration()
    setattr(model, name, before)
    model.save_training(tmp_path / "0.zip")


def test_exploration_per_phase_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "training.zip"
    model = agent(exploration_fraction=1.0)
    model.exploration = Exploration("per_phase")
    live(model, SAVED, callback=SaveAt(SAVED - 4, path))
    loaded = ContinualDQN.load(path, life(), "cpu")
    live(loaded, 4, reset_num_timesteps=False)
    assert loaded.exploration_rate == model.exploration_rate
    assert loaded.exploration_rate == pytest.approx(1 - 0.95 * (SAVED - PHASE) / PHASE)


def test_a_target_that_waits_goes_on_waiting(tmp_path: Path) -> None:
    path = tmp_path / "training.zip"
    model = live(agent(Reptile(every=50)), callback=SaveAt(SAVED, path))
    loaded = ContinualDQN.load(path, life(), "cpu")
    assert loaded._syncs_due
    live(loaded, LIFE - SAVED, reset_num_timesteps=False)
    assert not list(differences(inside(loaded), inside(model)))


def test_a_plain_file_does_not_go_on(tmp_path: Path) -> None:
    model = live(of_method("mix"), SAVED)
    model.save(tmp_path / "agent")
    loaded = ContinualDQN.load(tmp_path / "agent", life(), "cpu")
    live(loaded, LIFE - SAVED, reset_num_timesteps=False)
    live(model, LIFE - SAVED, reset_num_timesteps=False)
    assert bits(loaded) != bits(model)


OTHER_PROCESS = """
import sys
sys.path.insert(0, {tests!r})
import tiny
from continual_arcade.agents import ContinualDQN
model = ContinualDQN.load({path!r}, tiny.life(), "cpu")
tiny.live(model, tiny.LIFE - model.num_timesteps, reset_num_timesteps=False)
sys.stdout.write(tiny.bits(model).hex())
"""


@pytest.mark.slow
def test_another_process_goes_on_the_same(tmp_path: Path) -> None:
    path = tmp_path / "training.zip"
    whole = live(of_method("clone"), callback=SaveAt(SAVED, path))
    tests = str(Path(__file__).parents[1])
    program = OTHER_PROCESS.format(tests=tests, path=str(path))
    threads = str(torch.get_num_threads())
    other = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "OMP_NUM_THREADS": threads},
        capture_output=True,
        check=True,
        text=True,
    )
    assert bytes.fromhex(other.stdout) == bits(whole)


def test_training_that_has_not_begun_cannot_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "training.zip"
    with pytest.raises(ValueError, match=r"nothing to resume: learn\(\) was not called"):
        agent().save_training(path)
    agent().save(path)  # but the agent itself can
    with pytest.raises(ValueError, match=r"nothing to resume"):
        ContinualDQN.load(path, device="cpu").save_training(path)


@pytest.mark.parametrize("hook", ["_on_step", "_on_rollout_end"])
@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_within_a_rollout_training_cannot_be_kept(engine: str, hook: str, tmp_path: Path) -> None:
    """What is to be learnt from it was left out when training was resumed."""
    model, path = live(agent(engine=engine), 40), tmp_path / "training.zip"
    callback: Any = SaveAt(10**9, path)
    setattr(callback, hook, lambda: model.save_training(path))
    with pytest.raises(ValueError, match=r"in the middle of a rollout .* in on_rollout_start of a"):
        model.learn(40, callback, reset_num_timesteps=False)
    assert not path.exists()
    model.save_training(path)
    copy.deepcopy(model).save_training(path)


def test_a_file_of_training_is_also_an_agent(tmp_path: Path) -> None:
    model = live(of_method("ewc"), SAVED)
    model.save_training(tmp_path / "training")
    loaded = ContinualDQN.load(tmp_path / "training", device="cpu")
    np.testing.assert_array_equal(answers(loaded), answers(model))
    assert loaded.env is None


# --- other parts than in the file ---------------------------------------------------------------


@pytest.mark.parametrize("trust", [False, True])
def test_parts_that_the_file_does_not_have_begin_where_its_network_is(
    trust: bool, tmp_path: Path
) -> None:
    path = tmp_path / "agent.zip"
    if trust:
        theirs = DQN("MlpPolicy", life(), device="cpu", seed=1, buffer_size=100)
        theirs.learn(2 * PHASE)
        theirs.save(path)
    else:
        live(agent(), PHASE).save(path)
    parts = [Reptile(), L2(anchor="ema")]
    loaded = ContinualDQN.load(path, device="cpu", trust=trust, parts=parts)
    before = [tensor.detach().clone() for tensor in loaded.q_net.parameters()]
    assert list(differences(before, [torch.zeros_like(tensor) for tensor in before]))
    assert not list(differences(parts[0].state_dict()["base"], before))
    assert not list(differences(parts[1].state_dict()["average"], before))


@pytest.mark.parametrize("kind", [pytest.param(L2, marks=pytest.mark.slow), EWC])
def test_another_anchor_than_in_the_file(kind: Any, tmp_path: Path) -> None:
    for saved, wanted in (("last", "ema"), ("ema", "last"), ("ema", "ema")):
        path = tmp_path / f"{saved}.zip"
        kept = kind(anchor=saved, lam=0.1)
        live(agent(kept), callback=SaveAt(SAVED, path))
        part = kind(anchor=wanted, lam=0.1)
        loaded = ContinualDQN.load(path, life(), "cpu", parts=[part])
        network = [tensor.detach().clone() for tensor in loaded.q_net.parameters()]
        if wanted == "last":
            assert part.average == []
        else:
            assert (saved == "ema") == bool(list(differences(part.average, network)))
        live(loaded, LIFE - SAVED, reset_num_timesteps=False)
        if wanted == saved:
            assert not list(differences(part.state_dict(), kept.state_dict()))


def test_values_are_stored_from_now_on_or_no_more(tmp_path: Path) -> None:
    for saved, wanted in (([], [Clear(after=0)]), ([Clear(after=0)], [])):
        path = tmp_path / f"{len(saved)}.zip"
        live(agent(*saved), callback=SaveAt(SAVED, path))
        loaded = ContinualDQN.load(path, life(), "cpu", parts=wanted)
        assert loaded.replay.seen == SAVED - 2 * NUM_ENVS  # returns of three steps
        assert all(np.isnan(column).all() for column in loaded.replay.columns.values())
        live(loaded, LIFE - SAVED, reset_num_timesteps=False)
        assert set(loaded.replay.columns) == ({"q_values"} if wanted else set())
        assert not any(np.isnan(column).all() for column in loaded.replay.columns.values())


@dataclass
class Grown(Part):
    """A part of somebody else, which has something to keep only once a phase has ended."""

    name: ClassVar[str] = "grown"

    def __post_init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def phase_end(self, learner: Any, phase: int) -> None:
        self.kept[f"phase_{phase}"] = phase

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), **self.kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.kept = {key: value for key, value in state.items() if key != "rng"}


def test_a_part_of_somebody_else_may_keep_what_it_likes(tmp_path: Path) -> None:
    live(agent(Grown())).save(tmp_path / "agent")
    loaded = ContinualDQN.load(tmp_path / "agent", device="cpu", parts=[part := Grown()])
    assert part.kept == {"phase_0": 0, "phase_1": 1}
    assert loaded.parts == [part]


# --- what is refused ----------------------------------------------------------------------------


def rate(progress: float) -> float:
    return 1e-3 * progress


def test_a_function_must_be_handed_in(tmp_path: Path) -> None:
    path = tmp_path / "training.zip"
    model = live(agent(learning_rate=rate), callback=SaveAt(SAVED, path))
    for env in (None, life()):
        with pytest.raises(ValueError, match=r"learning_rate was a function.*hand it to load"):
            ContinualDQN.load(path, env, "cpu")
    for given in ({"learning_rate": rate}, {"custom_objects": {"learning_rate": rate}}):
        loaded = ContinualDQN.load(path, life(), "cpu", **given)
        now = loaded.optimizer.param_groups[0]["lr"]
        assert now == pytest.approx(rate(1 - SAVED / LIFE))
        live(loaded, LIFE - SAVED, reset_num_timesteps=False)
        assert not list(differences(inside(loaded), inside(model)))
    other = ContinualDQN.load(path, life(), "cpu", learning_rate=1e-3)
    live(other, LIFE - SAVED, reset_num_timesteps=False)
    assert bits(other) != bits(model)


def test_a_function_among_the_policy_arguments_must_be_handed_in(tmp_path: Path) -> None:
    policy = {"activation_fn": lambda: nn.Tanh()}
    model = agent(policy=policy)
    model.save(tmp_path / "agent")
    with pytest.raises(ValueError, match=r"policy_kwargs.*activation_fn.*function.*load"):
        ContinualDQN.load(tmp_path / "agent", device="cpu")
    loaded = ContinualDQN.load(
        tmp_path / "agent", device="cpu", policy_kwargs={"net_arch": [8], **policy}
    )
    np.testing.assert_array_equal(answers(loaded), answers(model))


class Square(nn.Module):
    """A class of somebody else."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.square()


def test_a_class_of_somebody_else_must_be_handed_in(tmp_path: Path) -> None:
    model = agent(policy={"activation_fn": Square})
    model.save(tmp_path / "agent")
    with pytest.raises(ValueError, match=r"the class .*Square.* hand it to load\(\)"):
        ContinualDQN.load(tmp_path / "agent", device="cpu")
    loaded = ContinualDQN.load(
        tmp_path / "agent", device="cpu", policy_kwargs={"net_arch": [8], "activation_fn": Square}
    )
    np.testing.assert_array_equal(answers(loaded), answers(model))


def test_the_memory_of_files_of_0_1_0_is_found_where_it_is_now() -> None:
    for module in ("continual_arcade.agents.replay", "continual_arcade.agents.replay.buffer"):
        found = from_plain({"class": f"{module}:FIFOReplayBuffer"}, "replay_buffer_class")
        assert found is FIFOReplayBuffer


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "subprocess:Popen",
        "torch:Tensor",
        "torchx.nn:Module",
        "torch.nn:functional",
        "torch.nn:no_such_class",
        "torch.nn.no_such_module:Module",
        "torch.nn:Linear.forward",
        "stable_baselines3.common.utils:os.PathLike",
        "stable_baselines3.common.vec_env.subproc_vec_env:mp.Process",
        "continual_arcade.agents.files.saving:Path",
        "torch.nn.modules.linear:Module",
        "continual_arcade.agents.replay:ReplayBuffer",
        "continual_arcade.agents.replay.buffer:ReplayBuffer",
        "torch.nn",
    ],
)
def test_only_classes_of_known_libraries_are_looked_up(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also not those that a known module has imported from elsewhere."""
    kept = saving.save_state

    def tampered(path: Any, state: Any, kind: str) -> None:
        state["arguments"]["policy_kwargs"]["dict"]["activation_fn"] = {"class": name}
        kept(path, state, kind)

    monkeypatch.setattr(saving, "save_state", tampered)
    agent().save(tmp_path / "agent")
    with pytest.raises(ValueError, match=r"names (the class )?" + name):
        ContinualDQN.load(tmp_path / "agent", device="cpu")


def test_a_file_of_stable_baselines3_needs_trust(tmp_path: Path) -> None:
    path = tmp_path / "foreign.zip"
    theirs = DQN(
        "MlpPolicy", life(), device="cpu", seed=1, learning_starts=20, buffer_size=100, train_freq=1
    )
    theirs.learn(100)
    theirs.save(path)
    for kwargs in ({}, {"trust": False}):
        with pytest.raises(ValueError, match=r"own format, which can run code.*trust=True"):
            ContinualDQN.load(path, device="cpu", **kwargs)
    for env in (None, life()):
        loaded = ContinualDQN.load(path, env, "cpu", trust=True)
        np.testing.assert_array_equal(answers(loaded), answers(theirs))
        assert loaded.num_timesteps == 100
    live(loaded, 100, reset_num_timesteps=False)
    assert loaded.num_timesteps == 200
    loaded.save(tmp_path / "ours")
    np.testing.assert_array_equal(
        answers(ContinualDQN.load(tmp_path / "ours", device="cpu")), answers(loaded)
    )


def test_trust_changes_nothing_for_files_of_ours(trained: ContinualDQN, tmp_path: Path) -> None:
    trained.save(tmp_path / "agent")
    loaded = ContinualDQN.load(tmp_path / "agent", device="cpu", trust=True)
    np.testing.assert_array_equal(answers(loaded), answers(trained))


@dataclass
class Trap:
    """Leaves a file behind when it is unpickled."""

    target: str

    def __reduce__(self) -> Any:
        return (Path(self.target).touch, ())


def test_a_file_that_would_run_code_does_not(tmp_path: Path) -> None:
    path, sprung = tmp_path / "trap.zip", tmp_path / "sprung"
    bait = base64.b64encode(pickle.dumps(Trap(str(sprung)))).decode()
    data = {"policy_class": {":type:": "x", ":serialized:": bait}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", json.dumps(data))
        archive.writestr("_stable_baselines3_version", "2.9.2")
    for env in (None, life()):
        with pytest.raises(ValueError, match="trust=True"):
            ContinualDQN.load(path, env, "cpu")
    # Nor where only part of that format is there.
    with zipfile.ZipFile(tmp_path / "half.zip", "w") as archive:
        archive.writestr("data", json.dumps(data))
    for trust in (False, True):
        with pytest.raises(ValueError, match="no state file of this suite"):
            ContinualDQN.load(tmp_path / "half.zip", device="cpu", trust=trust)
    assert not sprung.exists()
    with pytest.raises(Exception):  # noqa: B017, PT011  # what it raises is the parent's affair
        ContinualDQN.load(path, device="cpu", trust=True)
    assert sprung.exists()  # the trap works


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    # More than there may be of padding, which no checksum covers.
    piece = bytes(byte ^ 0xFF for byte in content[middle : middle + 200])
    return content[:middle] + piece + content[middle + 200 :]


def emptied(_: bytes) -> bytes:
    return b""


def text(_: bytes) -> bytes:
    return b"this is no agent"


@pytest.mark.parametrize("damage", [cut, flipped, emptied, text])
def test_a_damaged_file_is_named(
    damage: Callable[[bytes], bytes], trained: ContinualDQN, tmp_path: Path
) -> None:
    path = tmp_path / "agent.zip"
    trained.save_training(path)
    path.write_bytes(damage(path.read_bytes()))
    for env in (None, life()):
        with pytest.raises(ValueError, match=r"agent\.zip is damaged, or no state file"):
            ContinualDQN.load(path, env, "cpu")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for trust in (False, True):
        with pytest.raises(FileNotFoundError, match=r"none\.zip"):
            ContinualDQN.load(tmp_path / "none", device="cpu", trust=trust)


def test_a_network_of_other_shape_is_refused(trained: ContinualDQN, tmp_path: Path) -> None:
    trained.save(tmp_path / "agent")
    with pytest.raises(ValueError, match=r"agent\.zip: the network is another one"):
        ContinualDQN.load(tmp_path / "agent", device="cpu", policy_kwargs={"net_arch": [9]})


def other_environments() -> dict[str, Any]:
    return {
        "Observation spaces do not match": make_training_env("Catcher", SCHEDULE_OF_CATCHER, 4),
        "Action spaces do not match": DummyVecEnv([lambda: Wide()]),
    }


SCHEDULE_OF_CATCHER = shipped("conflict", make_game("Catcher")).with_steps(PHASE)


class Wide(Corridor):
    """The observations of FlappyBird, and three actions."""

    def __init__(self) -> None:
        super().__init__(actions=3)
        space: Any = life().observation_space
        self.observation_space = space


@pytest.mark.parametrize("message", other_environments())
def test_an_environment_of_other_spaces_is_refused(message: str, tmp_path: Path) -> None:
    path = tmp_path / "training.zip"
    live(agent(), callback=SaveAt(SAVED, path))
    with pytest.raises(ValueError, match=message):
        ContinualDQN.load(path, other_environments()[message], "cpu")


def test_training_goes_on_only_in_an_equal_environment(tmp_path: Path) -> None:
    path = tmp_path / "training.zip"
    live(agent(), callback=SaveAt(SAVED, path))
    with pytest.raises(ValueError, match="num_envs is 3 here and 4 in what was saved"):
        ContinualDQN.load(path, life(num_envs=3), "cpu")
    with pytest.raises(ValueError, match="belongs to a run with schedule"):
        ContinualDQN.load(path, life(CONFLICT.with_steps(PHASE + 4)), "cpu")
    with pytest.raises(ValueError, match="kind is 'MixReplayBuffer' here and 'FIFO"):
        ContinualDQN.load(path, life(), "cpu", replay_buffer_class=MixReplayBuffer)


def test_an_agent_that_needs_phases_is_refused_where_there_are_none(tmp_path: Path) -> None:
    agent(EWC()).save(tmp_path / "agent")
    drift = shipped("drift", make_game("FlappyBird"))
    with pytest.raises(ValueError, match="part 'ewc' needs to be told where phases end"):
        ContinualDQN.load(tmp_path / "agent", life(drift), "cpu")


@dataclass
class Opaque(Part):
    """A part that cannot be written as data: from the beginning, or when it has learnt."""

    name: ClassVar[str] = "opaque"
    is_from_the_beginning: bool = False

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "thing": self.thing}

    def bind(self, learner: Any, rng: np.random.Generator) -> None:
        super().bind(learner, rng)
        self.thing = object() if self.is_from_the_beginning else None

    def phase_start(self, learner: Any, phase: int) -> None:
        self.thing = object()


def test_what_cannot_be_saved_is_not_trained() -> None:
    part = Opaque(is_from_the_beginning=True)
    with pytest.raises(TypeError, match=r"part 'opaque'\[\"thing\"\] is of type builtins.object"):
        agent(part)
    part.is_from_the_beginning = False
    assert agent(part).parts == [part]  # it is free again


@pytest.mark.parametrize("save", ["save", "save_training"])
def test_a_save_that_fails_leaves_the_older_file(save: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    getattr(live(agent(), PHASE), save)(path)
    before = path.read_bytes()
    broken = live(agent(Opaque(), seed=1), PHASE)
    with pytest.raises(TypeError, match="thing"):
        getattr(broken, save)(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["agent.zip"]
    getattr(live(agent(seed=1), PHASE), save)(path)
    assert path.read_bytes() != before


def test_what_save_does_not_take(trained: ContinualDQN, tmp_path: Path) -> None:
    for kwargs, message in (
        ({"exclude": ["vebose"]}, "unknown argument to exclude 'vebose': did you mean 'verbose'"),
        ({"include": ["env"]}, r"'env' cannot be in the file.*save_training\(\) keeps replay"),
    ):
        with pytest.raises(ValueError, match=message):
            trained.save(tmp_path / "agent", **kwargs)  # type: ignore[arg-type]
    live(model := agent(replay=None, n_steps=1), PHASE)  # type: ignore[arg-type]
    model.save(tmp_path / "agent")
    with pytest.raises(ValueError, match="choose a replay_buffer_class"):
        model.save_training(tmp_path / "agent")


def test_open_files_and_streams_do_as_well(trained: ContinualDQN, tmp_path: Path) -> None:
    stream = io.BytesIO()
    trained.save(stream)
    loaded = ContinualDQN.load(stream, device="cpu")
    np.testing.assert_array_equal(answers(loaded), answers(trained))
    with (tmp_path / "file").open("wb") as file:
        trained.save(file)
    with (tmp_path / "file").open("rb") as file:
        loaded = ContinualDQN.load(file, device="cpu")
    np.testing.assert_array_equal(answers(loaded), answers(trained))
    theirs = DQN("MlpPolicy", life(), device="cpu", seed=1, buffer_size=100)
    theirs.save(foreign := io.BytesIO())
    with pytest.raises(ValueError, match="trust=True"):
        ContinualDQN.load(foreign, device="cpu")
    loaded = ContinualDQN.load(foreign, device="cpu", trust=True)
    np.testing.assert_array_equal(answers(loaded), answers(theirs))


def test_numbers_of_numpy_are_kept_as_numbers(tmp_path: Path) -> None:
    strengths = np.geomspace(0.1, 10, 3)
    held = L2(lam=np.float32(0.5), anchor="ema", ema_decay=np.int64(1))  # type: ignore[arg-type]
    model = live(
        agent(
            EWC(lam=strengths[1], samples=np.int64(20)),  # type: ignore[arg-type]
            held,
            learning_rate=np.float64(1e-3),
            batch_size=np.int32(16),
        ),
        PHASE + 20,
    )
    model.save(tmp_path / "agent")
    loaded = ContinualDQN.load(tmp_path / "agent", device="cpu")
    part, other = loaded.parts
    assert isinstance(part, EWC)
    assert isinstance(other, L2)
    assert (type(part.lam), part.lam) == (float, float(strengths[1]))
    assert (type(other.lam), other.lam, other.ema_decay) == (float, 0.5, 1)
    assert held.omega  # something was learnt with it
    with pytest.raises(ValueError, match="lam = True must be a number, finite"):
        L2(lam=True)
    assert (type(loaded.learning_rate), loaded.learning_rate) == (float, 1e-3)


# What another version might have written otherwise, and how to get there.
OTHERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "it lacks life": lambda state: state.pop("life"),
    "it has more": lambda state: state.update(more=1),
    "its arguments lacks gamma": lambda state: state["arguments"].pop("gamma"),
    "its counters lacks _n_calls": lambda state: state["counters"].pop("_n_calls"),
    "its phase tracker lacks phases": lambda state: state["life"].pop("phases"),
    "its training lacks replay": lambda state: state["training"].pop("replay"),
    "part 'ewc' lacks fisher": lambda state: state["parts"][0]["settings"].pop("fisher"),
    "part 'ewc' has theta": lambda state: state["parts"][0]["settings"].update(theta=1),
    "the state of ewc lacks omega": lambda state: state["parts"][0]["state"].pop("omega"),
}


@pytest.fixture(scope="module")
def of_two_phases() -> ContinualDQN:
    """An agent that has something to keep of its first phase; to be saved only."""
    return live(agent(EWC(samples=20)), PHASE + 20)


@pytest.mark.parametrize("difference", OTHERS)
def test_a_file_of_another_version_is_named(
    difference: str,
    of_two_phases: ContinualDQN,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "training.zip"
    kept = saving.save_state

    def tampered(path: Any, state: dict[str, Any], kind: str) -> None:
        state = copy.deepcopy(state)  # it may share what the agent holds
        OTHERS[difference](state)
        kept(path, state, kind)

    monkeypatch.setattr(saving, "save_state", tampered)
    of_two_phases.save_training(path)
    found = rf"training.zip was written by another version: {difference}.*make it again"
    with pytest.raises(ValueError, match=found):
        ContinualDQN.load(path, life(), "cpu")


def test_a_file_from_before_calls_were_added_up_is_of_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(saving.COUNTERS, "_steps_before")
    live(agent(), PHASE).save_training(tmp_path / "training.zip")
    monkeypatch.undo()
    assert ContinualDQN.load(tmp_path / "training.zip", life()).lifetime_step == PHASE


def test_going_on_with_other_libraries_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "training.zip"
    live(agent(), PHASE).save_training(path)
    now = state_files.version
    monkeypatch.setattr(
        state_files, "version", lambda name: "99.0" if name == "torch" else now(name)
    )
    with pytest.warns(UserWarning, match=r"written with torch .* \(99.0 here\): .*not bit for bit"):
        ContinualDQN.load(path, life(), "cpu")
    ContinualDQN.load(path, device="cpu")  # to play it makes no difference


def test_a_wrapper_whose_state_would_be_left_out(tmp_path: Path) -> None:
    model = live(agent(env=VecCheckNan(life())), 60)
    with pytest.raises(TypeError, match=r"VecCheckNan has no state_dict\(\)"):
        model.save_training(tmp_path / "training.zip")
    assert not list(tmp_path.iterdir())


def test_what_is_handed_in_reaches_replay(tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    agent(gamma=0.9).save(path)
    assert ContinualDQN.load(path, device="cpu").replay.gamma == 0.9
    other = ContinualDQN.load(path, device="cpu", gamma=0.5, n_steps=2)
    assert (other.gamma, other.replay.gamma, other.replay.n_steps) == (0.5, 0.5, 2)


def test_a_prior_and_a_folder_may_be_given_as_other_things(tmp_path: Path) -> None:
    prior: Any = np.array([0.25, 0.75])
    for given in (prior, list(prior), prior.astype(np.float32)):
        assert Exploration("global", given) == Exploration("global", (0.25, 0.75))
    model = ContinualDQN(
        "MlpPolicy",
        life(),
        exploration=Exploration("global", prior),
        tensorboard_log=tmp_path / "log",
        buffer_size=100,
        device="cpu",
    )
    model.save(tmp_path / "agent")
    loaded = ContinualDQN.load(tmp_path / "agent", device="cpu")
    assert loaded.exploration == Exploration("global", (0.25, 0.75))
    assert loaded.tensorboard_log == str(tmp_path / "log")


@pytest.mark.one_in(3)
@pytest.mark.parametrize(
    ("made_with", "given", "n_steps", "gamma"),
    [
        ({"n_steps": 2}, {}, 2, 0.95),
        ({"n_steps": 2}, {"gamma": 0.5}, 2, 0.5),
        ({"n_steps": 2}, {"n_steps": 3}, 3, 0.95),
        ({"n_steps": 2}, {"n_steps": 1}, 1, 0.95),
        ({}, {}, 1, 0.95),
        ({}, {"n_steps": 3}, 3, 0.95),
        ({"replay_buffer_kwargs": {"handle_timeout_termination": False}}, {"n_steps": 3}, 3, 0.95),
    ],
)
def test_replay_of_the_parent_follows_what_is_handed_in(
    made_with: dict[str, Any], given: dict[str, Any], n_steps: int, gamma: float, tmp_path: Path
) -> None:
    path = tmp_path / "agent.zip"
    kwargs: dict[str, Any] = {"gamma": 0.95, "buffer_size": 100, "learning_starts": 20, **made_with}
    live(ContinualDQN("MlpPolicy", life(), device="cpu", **kwargs), 60).save(path)
    loaded = ContinualDQN.load(path, life(), "cpu", **given)
    loaded.save(path)  # what was handed in is kept
    for model in (loaded, ContinualDQN.load(path, life(), "cpu")):
        buffer: Any = model.replay_buffer
        assert type(buffer) is (ReplayBuffer if n_steps == 1 else NStepReplayBuffer)
        assert (model.n_steps, model.gamma) == (n_steps, gamma)
        if n_steps > 1:
            assert (buffer.n_steps, buffer.gamma) == (n_steps, gamma)
        assert buffer.handle_timeout_termination == ("replay_buffer_kwargs" not in made_with)
        live(model, 60)


def test_replay_that_was_chosen_stays(tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    chosen = {"n_steps": 4, "gamma": 0.9}
    ContinualDQN(
        "MlpPolicy",
        life(),
        replay_buffer_class=NStepReplayBuffer,
        replay_buffer_kwargs=chosen,
        buffer_size=100,
        device="cpu",
    ).save(path)
    buffer: Any = ContinualDQN.load(path, device="cpu", gamma=0.5).replay_buffer
    assert (type(buffer), buffer.n_steps, buffer.gamma) == (NStepReplayBuffer, 4, 0.9)


# --- as in Stable-Baselines3 --------------------------------------------------------------------


def going_on(kind: type[DQN], engine: dict[str, Any], path: Path, force_reset: bool) -> list[Any]:
    """Train, save, load into the environments as they stand, and train on."""
    torch.manual_seed(0)
    env = DummyVecEnv([lambda: Corridor()] * 2)
    env.seed(3)
    for i, each in enumerate(env.envs):
        each.observation_space.seed(i)
    settings = {"learning_starts": 10, "buffer_size": 400, "train_freq": 1, "batch_size": 8}
    model = kind("MlpPolicy", env, seed=0, device="cpu", **settings, **engine)
    model.learn(66)
    places = [each.get_wrapper_attr("place") for each in env.envs]
    assert 0 not in places
    model.save(path)
    disturb()
    loaded = kind.load(path, env=model.get_env(), device="cpu", force_reset=force_reset)
    seen = None if loaded._last_obs is None else np.array(loaded._last_obs)
    loaded.learn(66, reset_num_timesteps=False)
    return [
        places,
        seen,
        [each.get_wrapper_attr("place") for each in env.envs],
        loaded.num_timesteps,
        [p.detach().numpy().copy() for p in loaded.policy.parameters()],
    ]


@pytest.mark.parametrize("force_reset", [True, False])
def test_it_goes_on_with_an_environment_as_theirs_does(force_reset: bool, tmp_path: Path) -> None:
    theirs = going_on(DQN, {}, tmp_path / "theirs", force_reset)
    ours = going_on(ContinualDQN, {}, tmp_path / "ours", force_reset)
    assert (theirs[1] is None) == force_reset
    assert not list(differences(ours, theirs))
    # An episode has ten steps, and twice 33 of them are played.
    assert (theirs[0], theirs[2]) == ([3, 3], [3, 3] if force_reset else [6, 6])


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_life_goes_on_in_the_games_as_they_stand(engine: str, tmp_path: Path) -> None:
    env = life()
    model = live(agent(env=env, engine=engine), PHASE - 20)
    assert model.runs_compiled == (engine == "compiled")
    model.save(tmp_path / "agent")
    blocks = env.env.core.blocks.copy()
    loaded = ContinualDQN.load(tmp_path / "agent", env=env, device="cpu", force_reset=False)
    np.testing.assert_array_equal(loaded._last_obs, model._last_obs)
    assert env.env.core.blocks.tobytes() == blocks.tobytes()  # nothing was reset
    live(loaded, PHASE, reset_num_timesteps=False)
    assert loaded.num_timesteps == 2 * PHASE - 20
    assert env.env.clock.step == 2 * PHASE - 20  # one life, in which the phase has ended
    assert loaded.phase_tracker.news() is None
    again = ContinualDQN.load(tmp_path / "agent", env=env, device="cpu")
    assert again._last_obs is None


def test_without_an_environment_the_last_observation_waits(tmp_path: Path) -> None:
    model = live(agent(), PHASE)
    model.save(tmp_path / "agent")
    loaded = ContinualDQN.load(tmp_path / "agent", device="cpu")
    np.testing.assert_array_equal(loaded._last_obs, model._last_obs)
    loaded.n_envs = NUM_ENVS
    loaded.set_env(model.env, force_reset=False)
    assert loaded._last_obs is not None
    loaded.set_env(model.env)
    assert loaded._last_obs is None


def test_other_environments_cannot_be_where_it_was(tmp_path: Path) -> None:
    live(agent(), PHASE).save(tmp_path / "agent")
    with pytest.raises(ValueError, match=r"saved in 4 environments, this has 2.*force_reset=True"):
        ContinualDQN.load(tmp_path / "agent", life(num_envs=2), device="cpu", force_reset=False)
    ContinualDQN.load(tmp_path / "agent", life(num_envs=2), device="cpu")


def test_a_file_that_goes_on_bit_for_bit_needs_no_word(tmp_path: Path) -> None:
    model = live(agent(), PHASE)
    model.save_training(tmp_path / "training")
    for force_reset in (True, False):
        loaded = ContinualDQN.load(
            tmp_path / "training", env=life(), device="cpu", force_reset=force_reset
        )
        np.testing.assert_array_equal(loaded._last_obs, model._last_obs)
        assert not list(differences(inside(loaded), inside(model)))


def test_arguments_can_be_left_out(tmp_path: Path) -> None:
    model = agent(learning_rate=0.5, target_update_interval=77)
    model.save(tmp_path / "agent", exclude=["learning_rate", "target_update_interval", "policy"])
    loaded = ContinualDQN.load(tmp_path / "agent", device="cpu")
    assert loaded.learning_rate == 1e-4  # the default
    assert loaded.target_update_interval == 10_000
    assert loaded.batch_size == model.batch_size
    loaded = ContinualDQN.load(tmp_path / "agent", device="cpu", learning_rate=0.25)
    assert loaded.learning_rate == 0.25
    model.save(tmp_path / "agent", exclude=["learning_rate"], include=["learning_rate", "seed"])
    assert ContinualDQN.load(tmp_path / "agent", device="cpu").learning_rate == 0.5
    model.save(tmp_path / "agent", exclude=["replay_buffer_class", "replay_buffer_kwargs"])
    loaded = ContinualDQN.load(tmp_path / "agent", env=life(), device="cpu")
    assert type(loaded.replay_buffer) is ReplayBuffer


def test_custom_objects_of_all_algorithms(tmp_path: Path) -> None:
    agent().save(tmp_path / "agent")
    # What the RL Zoo hands to every algorithm.
    objects = {"learning_rate": 0.0, "lr_schedule": lambda _: 0.0, "clip_range": lambda _: 0.0}
    loaded = ContinualDQN.load(tmp_path / "agent", custom_objects=objects, device="cpu")
    assert loaded.learning_rate == 0.0
    assert not hasattr(loaded, "clip_range")
    with pytest.raises(ValueError, match="'learnin_rate': did you mean 'learning_rate'"):
        ContinualDQN.load(tmp_path / "agent", custom_objects={"learnin_rate": 0.0}, device="cpu")


def test_versions_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent().save(tmp_path / "agent")
    ContinualDQN.load(tmp_path / "agent", print_system_info=True, device="cpu")
    here, _, there = capsys.readouterr().out.partition("== SAVED MODEL SYSTEM INFO ==")
    assert "== CURRENT SYSTEM INFO ==" in here
    assert f"- torch: {torch.__version__.partition('+')[0]}" in there


OF_0_1_0 = Path(__file__).parents[2] / "golden" / "agents_0_1_0"


@pytest.mark.one_in(3)
@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("name", ["penalties", "planned"])
def test_training_that_0_1_0_has_saved_is_resumed_to_where_it_came(name: str, engine: Any) -> None:
    """Parts ewc, si, clone, reptile on balanced replay; mer, mas on mixed; saved at step 180."""
    path = OF_0_1_0 / f"{name}.zip"
    warned = r"was written with .*: training is resumed, but perhaps not bit for bit"
    with pytest.warns(UserWarning, match=warned) if other_versions(path) else nullcontext():
        model = ContinualDQN.load(path, life(), "cpu", engine=engine)
    model.learn(LIFE - model.num_timesteps, reset_num_timesteps=False, log_interval=None)  # type: ignore[arg-type]
    assert model.runs_compiled == (engine == "compiled")
    with np.load(OF_0_1_0 / f"{name}.npz") as reached:
        for tensor, key in zip(model.q_net.parameters(), reached.files, strict=True):
            np.testing.assert_allclose(tensor.detach(), reached[key], rtol=1e-4, atol=1e-6)
