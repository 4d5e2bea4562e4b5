"""Progressive networks: what a column says, who learns, and that what is finished never moves."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import isolated
import numpy as np
import numpy.typing as npt
import pytest
import tiny
import torch
from gymnasium import spaces
from isolated import PLAIN, of_phase
from torch import nn

from continual_arcade.agents import METHODS, ContinualDQN, build_agent, progressive_network
from continual_arcade.agents.building import make_training_env
from continual_arcade.agents.hidden_units import hidden_units
from continual_arcade.agents.methods import Method
from continual_arcade.agents.methods.importance import fisher_gauss
from continual_arcade.agents.methods.progressive import Progressive
from continual_arcade.agents.methods.rules import rule
from continual_arcade.agents.networks import ContinualPolicy, evaluation_mode
from continual_arcade.agents.probes.saliency import saliency
from continual_arcade.agents.progressive_network import ProgressiveQNetwork
from continual_arcade.envs import Schedule

CONFLICT = isolated.CONFLICT.with_steps(80)
"""Three phases, of which PyTorch takes its time."""
SETTINGS = replace(isolated.SETTINGS, engine="torch", average=0.9)
Array = npt.NDArray[Any]


# --- what a network of columns says --------------------------------------------------------------


def network(hidden: tuple[int, ...] = (6, 5), finished: int = 2, **options: Any) -> Any:
    low, high = (np.float32([side] * 4 + [end] * 3) for side, end in ((-9, 0), (9, 1)))
    torch.manual_seed(0)
    options = {"columns": 3, **options}
    net: Any = ContinualPolicy(
        spaces.Box(low, high),
        spaces.Discrete(2),
        lambda _: 1e-3,
        net_arch=list(hidden),
        **options,
    ).q_net
    assert isinstance(net, ProgressiveQNetwork)
    net.finished += finished
    return net


def rows(count: int = 30) -> tuple[Array, list[int]]:
    rng = np.random.default_rng(0)
    told = rng.integers(3, size=count)
    features = np.concatenate([rng.normal(size=(count, 4)), np.eye(3)[told]], 1)
    return features.astype(np.float32), told.tolist()


def by_hand(
    state: dict[str, Array], row: Array, column: int, act: Any, mistake: str = ""
) -> tuple[list[Array], Array]:
    """Return the hidden units and the values of a column, by equation 2 of the paper."""
    units: list[list[Array]] = []
    for k in range(column + 1):
        body = "q_net" if k == 0 else f"later.{k - 1}.body"
        h = [act(state[f"{body}.0.weight"] @ row + state[f"{body}.0.bias"])]
        for i in (1, 2):
            z = state[f"{body}.{2 * i}.weight"] @ h[-1] + state[f"{body}.{2 * i}.bias"]
            if k:
                adapter = f"later.{k - 1}.adapters.{i - 1}"
                below = units[1:] if mistake == "first column" and k == 2 else units
                alpha = state[f"{adapter}.alpha"]
                told = [alpha[j] * units[j][i - 1] for j in range(k)]
                if len(below) < k:
                    told[0] = 0 * told[0]
                reduced = state[f"{adapter}.project.weight"] @ np.concatenate(told)
                reduced = reduced if mistake == "linear adapter" else act(reduced)
                z = z + state[f"{adapter}.tell.weight"] @ reduced
            h.append(act(z) if i < 2 or mistake == "activated" else z)
        units.append(h)
    *hidden, values = units[column]
    return hidden, values


def relu(x: Array) -> Array:
    return np.maximum(x, 0.0)


ACTS = {nn.ReLU: relu, nn.Tanh: np.tanh}


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("mistake", ["", "linear adapter", "activated", "first column"])
def test_a_column_says_what_the_equation_says(activation: Any, mistake: str) -> None:
    """And not what any of these slips would make of it."""
    net = network(activation_fn=activation)
    with torch.no_grad():
        for name, tensor in net.named_parameters():
            if "adapters" in name:
                tensor.mul_(10.0 if name.endswith("alpha") else 3.0)
    seen, told = rows()
    act: Any = ACTS[activation]
    state = {name: tensor.detach().double().numpy() for name, tensor in net.named_parameters()}
    given = [by_hand(state, row, k, act, mistake) for row, k in zip(seen, told, strict=True)]
    with torch.no_grad():
        values = net(torch.from_numpy(seen)).numpy()
        alone = np.concatenate([net(torch.from_numpy(row[None])).numpy() for row in seen])
    expected = np.array([values for _, values in given])
    assert np.allclose(values, expected, atol=1e-5) == (not mistake)
    np.testing.assert_allclose(alone, values, atol=1e-6)
    # What probes are told of hidden units is of the column that answers.
    hidden = hidden_units(net, seen)
    assert [tuple(layer.shape) for layer in hidden] == [(30, 6), (30, 5)]
    for layer, found in enumerate(hidden):
        of_layer = np.array([units[layer] for units, _ in given])
        if not mistake:
            np.testing.assert_allclose(found.numpy(), of_layer, atol=1e-5)


def test_a_phase_that_is_still_to_come_is_answered_by_the_newest_column() -> None:
    seen, told = rows()
    for finished in (0, 1, 2):
        net, whole = network(finished=finished), network()
        answering = np.eye(3)[np.minimum(told, finished)]
        other = np.concatenate([seen[:, :4], answering], 1).astype(np.float32)
        state = {n: tensor.detach().double().numpy() for n, tensor in whole.named_parameters()}
        expected = [
            by_hand(state, row, min(k, finished), relu)[1]
            for row, k in zip(seen, told, strict=True)
        ]
        with torch.no_grad():
            found = net(torch.from_numpy(seen)).numpy()
            differs = not np.allclose(net(torch.from_numpy(other)).numpy(), found, atol=1e-5)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert differs == (finished < 2)  # columns see what is told, as features


def test_without_adapters_columns_know_nothing_of_each_other() -> None:
    """Each is a plain network then; with them, another one."""
    net = network()
    seen, told = rows()
    for silenced in (False, True):
        with torch.no_grad():
            for column in net.later if silenced else ():
                for adapter in column.adapters:
                    adapter.tell.weight.zero_()
            values = net(torch.from_numpy(seen))
            bodies = [net.q_net, *(column.body for column in net.later)]
            alone = torch.stack(
                [bodies[k](torch.from_numpy(row)) for row, k in zip(seen, told, strict=True)]
            )
        first = torch.tensor(told) == 0
        torch.testing.assert_close(values[first], alone[first])
        assert torch.allclose(values[~first], alone[~first], atol=1e-6) == silenced


@pytest.mark.parametrize("frozen", [True, False])
def test_only_the_newest_column_has_a_gradient(frozen: bool) -> None:
    """By autograd; without freezing, adapters lead it into the columns before."""
    net = network(finished=1)
    if frozen:
        net.learn_newest()
    seen, _ = rows()
    seen[:, 4:] = np.eye(3)[1]
    net(torch.from_numpy(seen)).square().sum().backward()
    moved = {name for name, p in net.named_parameters() if p.grad is not None and p.grad.any()}
    newest = {name for name, _ in net.named_parameters() if name.startswith("later.0.")}
    assert moved >= newest
    assert (moved == newest) == frozen


def test_importance_is_that_of_the_column_that_answers_and_of_those_before() -> None:
    """Of each state on its own, as overlaps of phases are measured."""
    net = network()
    seen, _ = rows(9)
    names = [name for name, _ in net.named_parameters()]
    bodies = ("q_net", "later.0.body", "later.1.body")
    for phase, body in enumerate(bodies):
        seen[:, 4:] = np.eye(3)[phase]
        rated = fisher_gauss(net, torch.from_numpy(seen))
        matter = {name for name, one in zip(names, rated, strict=True) if one.any()}
        # What earlier columns answer themselves is not seen, only what their hidden units say.
        answers = [f"{one}.4" for one in bodies] + [f"later.{k}.adapters.1" for k in (0, 1)]
        own = body.removesuffix(".body")
        unseen = tuple(a for a in answers if not a.startswith(own))
        seeing = tuple(one.removesuffix(".body") for one in bodies[: phase + 1])
        assert matter == {n for n in names if n.startswith(seeing) and not n.startswith(unseen)}
        expected = [torch.zeros_like(p) for p in net.parameters()]
        for row in torch.from_numpy(seen):
            for value in net(row[None])[0]:
                found = torch.autograd.grad(
                    value, [*net.parameters()], retain_graph=True, allow_unused=True
                )
                for total, one in zip(expected, found, strict=True):
                    total += 0.0 if one is None else one.square() / len(seen)
        for one, other in zip(rated, expected, strict=True):
            torch.testing.assert_close(one, other)


def test_saliency_is_that_of_the_column_that_answers() -> None:
    net = network()
    for phase in range(3):
        row = np.concatenate([[0.4, -0.3, 0.7, 0.1], np.eye(3)[phase]]).astype(np.float32)[None]
        seen = torch.from_numpy(row)
        with torch.no_grad():
            best = int(net(seen).argmax())
            up, down = (net(seen + side * 1e-2 * torch.eye(4, 7))[:, best] for side in (1, -1))
        found = saliency(net, row)[0, :4]
        np.testing.assert_allclose(found, (up - down).abs().numpy() / 2e-2, atol=1e-4)


def test_finished_columns_do_without_dropout() -> None:
    net = network(dropout=0.5, layer_norm=True, finished=1)
    seen, _ = rows()
    net.train()
    for phase in (0, 1):
        seen[:, 4:] = np.eye(3)[phase]
        said = [net(torch.from_numpy(seen)) for _ in range(2)]
        assert torch.equal(*said) == (phase == 0)
    kinds = [[type(layer) for layer in column.body] for column in net.later]
    assert kinds == [[type(layer) for layer in net.q_net]] * 2
    assert nn.LayerNorm in kinds[0]


def test_what_it_takes_is_counted_before_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = sum(p.numel() for p in network().parameters())
    asked: list[Any] = []
    monkeypatch.setattr(progressive_network, "check_memory", lambda *given: asked.append(given))
    network()
    needed = 4 * progressive_network.COPIES * numbers
    assert asked == 2 * [(f"columns = 3 of {numbers:,} parameters", needed)]
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"columns = 3 of [0-9,]+ parameters take .* GiB, and"):
        network(hidden=(1, 400_000, 1))


@pytest.mark.parametrize("initial", ["default", "xavier"])
def test_columns_are_drawn_from_the_run_s_generator(initial: Any) -> None:
    """Each anew, and the first as that of a plain network; scalars are small, and not all one."""
    net, again = network(initial=initial), network(initial=initial)
    assert all(map(torch.equal, net.parameters(), again.parameters()))
    assert not torch.equal(net.q_net[0].weight, net.later[0].body[0].weight)
    assert not torch.equal(net.later[1].body[0].weight, net.later[0].body[0].weight)
    alpha = net.later[1].adapters[0].alpha.detach()
    assert 0 <= float(alpha.min()) < float(alpha.max()) <= progressive_network.ALPHA
    assert bool(net.later[0].body[0].bias.any()) == (initial == "default")


# --- learning ------------------------------------------------------------------------------------


def column(net: Any, number: int) -> list[torch.Tensor]:
    layers = net.q_net if number == 0 else net.later[number - 1]
    return [tensor.detach().clone() for tensor in layers.parameters()]


@dataclass
class Noted(Progressive):
    """Notes what finished columns are, and say, at their ends; and columns that never began."""

    name: ClassVar[str] = "noted"

    def phase_end(self, learner: Any, phase: int) -> None:
        self.note(learner, phase)
        super().phase_end(learner, phase)

    def note(self, learner: Any, phase: int) -> None:
        noted = vars(self).setdefault("noted", {})
        judged = (learner.averaged or learner).q_net
        noted[phase] = column(judged, phase), of_phase(judged, phase)
        vars(self).setdefault("untouched", {})[phase + 1] = column(learner.q_net, phase + 1)


@dataclass
class Loose(Noted):
    """Freezes nothing: the optimiser moves all columns at once."""

    name: ClassVar[str] = "loose"

    def _learn_newest(self, learner: Any) -> None:
        learner.q_net.requires_grad_(True)
        self.freeze(
            learner, [torch.zeros_like(p, dtype=torch.bool) for p in learner.q_net.parameters()]
        )

    def on_td_gradient(self, learner: Any) -> None:
        self.fill(learner, 0.0)

    @staticmethod
    def fill(learner: Any, value: float) -> None:
        """Columns that have not begun have no part in Q: none of them has a gradient."""
        for parameter in learner.q_net.parameters():
            if parameter.grad is None:
                parameter.grad = torch.full_like(parameter, value)


@dataclass
class Held(Loose):
    """Lets gradients lead everywhere; what is finished is put back, whatever moved it."""

    name: ClassVar[str] = "held"

    def _learn_newest(self, learner: Any) -> None:
        Progressive._learn_newest(self, learner)
        for parameter in learner.q_net.parameters():
            parameter.requires_grad_(True)

    def on_td_gradient(self, learner: Any) -> None:
        self.fill(learner, 1.0)


@dataclass
class Leaky(Held):
    """Masks gradients, and leaves it to the optimiser to stand still."""

    name: ClassVar[str] = "leaky"

    @rule("constrain")
    def put_back(theta: Any, frozen: Any, held: Any) -> Any:
        return theta


DECAYING = {"optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.1}}


def agent(part: Progressive, schedule: Schedule = CONFLICT, **changes: Any) -> Any:
    policy = changes.pop("policy", {})
    learner = build_agent(
        "FlappyBird", schedule, replace(SETTINGS, **changes), 3, PLAIN, [part], "one-hot"
    )
    if policy:
        kind = policy["optimizer_class"]
        group = {"lr": SETTINGS.learning_rate, **policy["optimizer_kwargs"]}
        learner.policy.optimizer = kind(learner.q_net.parameters(), **group)
    return learner


def changed(part: Any, **settings: Any) -> list[str]:
    """Return what is not, to the bit, as it had been when it was finished, or made."""
    learner = agent(part, **settings)
    made = [column(learner.q_net, number) for number in range(3)]
    learner.learn(CONFLICT.total_steps)
    nets = {"last": learner.q_net, "target": learner.q_net_target}
    if learner.averaged is not None:
        nets["average"] = learner.averaged.q_net
    found = []
    for phase, (parameters, said) in part.noted.items():
        for name, net in nets.items():
            if not torch.equal(of_phase(net, phase), said):
                found.append(f"what column {phase} says by the {name}")
            if not all(map(torch.equal, column(net, phase), parameters)):
                found.append(f"column {phase} of the {name}")
    for number, before in part.untouched.items():
        if not all(map(torch.equal, before, made[number])):
            found.append(f"column {number} before it began")
    assert sorted(part.noted) == [0, 1]
    assert not all(map(torch.equal, column(learner.q_net, 2), made[2]))  # it has learnt
    return found


@pytest.mark.one_in(3)
@pytest.mark.parametrize("average", [0.9, 0.0])
@pytest.mark.parametrize("policy", [{}, DECAYING], ids=["adam", "weight decay"])
def test_finished_columns_stay_as_they_are_to_the_bit(policy: Any, average: float) -> None:
    """By the last weights and by their average."""
    assert changed(Noted(), policy=policy, average=average) == []


def test_they_are_put_back_whatever_moves_them() -> None:
    """Gradients that lead everywhere, an optimiser that shrinks what it is given."""
    assert changed(Held(), policy=DECAYING) == []


def test_what_would_move_them_is_found() -> None:
    found = changed(Loose())
    assert {"column 0 of the last", "what column 0 says by the average"} <= {*found}
    found = changed(Leaky(), policy=DECAYING)
    assert {"column 0 of the last", "column 2 before it began"} <= {*found}


def test_without_taking_the_average_over_the_agent_would_forget() -> None:
    """It is judged by its average, which comes down to the last weights while others learn."""

    class Unjudged:
        """A learner that hides its average."""

        averaged = None

        def __init__(self, learner: Any) -> None:
            self.learner = learner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.learner, name)

    @dataclass
    class Last(Noted):
        name: ClassVar[str] = "last"

        def phase_end(self, learner: Any, phase: int) -> None:
            self.note(learner, phase)
            Progressive.phase_end(self, Unjudged(learner), phase)

    assert "what column 0 says by the average" in changed(Last())


def test_the_first_phase_is_that_of_the_plain_dqn() -> None:
    """Bit for bit, until the first phase ends."""
    ours = agent(Progressive())
    plain = build_agent("FlappyBird", CONFLICT, SETTINGS, 3, PLAIN, context="one-hot")
    for learner in (ours, plain):
        learner.learn(78)
    own = column(ours.q_net, 0)
    assert all(map(torch.equal, own, plain.q_net.parameters()))
    assert all(map(torch.equal, column(ours.averaged.q_net, 0), plain.averaged.q_net.parameters()))
    ours.learn(4, reset_num_timesteps=False)
    assert int(ours.q_net.finished) == int(ours.q_net_target.finished) == 1
    assert not any(p.requires_grad for p in ours.q_net.q_net.parameters())
    assert ours.replay.seen <= SETTINGS.num_envs


@pytest.mark.parametrize(
    "options",
    [pytest.param({}, marks=pytest.mark.slow), {"layer_norm": True, "dropout": 0.1}],
    ids=str,
)
def test_what_is_resumed_ends_with_the_same_bits(options: Any, tmp_path: Path) -> None:
    path, steps = tmp_path / "half.zip", CONFLICT.total_steps
    whole = agent(Progressive(), **options)
    whole.learn(steps, callback=tiny.SaveAt(120, path))
    env = make_training_env("FlappyBird", CONFLICT, SETTINGS.num_envs, "one-hot")
    resumed = ContinualDQN.load(path, env, "cpu")
    assert int(resumed.q_net.finished) == 1  # type: ignore[call-overload]
    learnt = {n for n, p in resumed.q_net.named_parameters() if p.requires_grad}
    assert learnt == {n for n, _ in resumed.q_net.named_parameters() if n.startswith("later.0.")}
    resumed.learn(steps - resumed.num_timesteps, reset_num_timesteps=False)
    assert not list(tiny.differences(tiny.inside(whole), tiny.inside(resumed)))


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    isolated.check_comes_back(Progressive(), tmp_path)


def refusals() -> Iterator[tuple[str, Any]]:
    first, second, third = CONFLICT.phases
    drifting = Schedule("drifting", (replace(first, until=second.params), second, third))
    yield (
        r"part 'progressive' must be told the phase.*context = 'hidden'",
        lambda: build_agent("FlappyBird", CONFLICT, SETTINGS, method=METHODS["progressive"]),
    )
    yield (
        r"give policy_kwargs=\{'columns': 3\}",
        lambda: tiny.agent(Progressive(), policy={"columns": 1}),
    )
    for other in ("heads", "subnetworks"):
        yield f"{other} = 3 and columns = 3: each", lambda o=other: network(**{o: 3})
    yield "columns = 9: the last 9 features must say", lambda: network(columns=9)
    yield "columns = 0 must be", lambda: network(columns=0)
    yield "'drifting' a phase .*drifts", lambda: agent(Progressive(), drifting)
    yield "progressive: adapters = 'no' must be", lambda: Progressive(adapters="no")  # type: ignore[arg-type]
    yield (
        "begins again after 1 were finished.* observations that tell phases in its order",
        lambda: tiny.agent(Progressive(), policy={"columns": 2}).learn(tiny.LIFE),
    )
    yield (
        "the compiled engine does not support .* ProgressiveQNetwork",
        lambda: agent(Progressive(), engine="compiled"),
    )


@pytest.mark.parametrize("adapters", [True, False])
def test_without_adapters_columns_share_nothing(adapters: bool) -> None:
    """What a later column says and learns is that of its own layers alone."""
    learner = agent(Progressive(adapters=adapters))
    learner.learn(CONFLICT.total_steps)
    for net in (learner.q_net, learner.q_net_target, learner.averaged.q_net):
        seen = torch.eye(net.observation_space.shape[0])
        seen[:, -1] = 2.0
        with evaluation_mode(net), torch.no_grad():
            alone = torch.equal(net(seen), net.later[1].body(seen))
        assert alone == (not adapters)
    trained = column(learner.q_net, 2), column(agent(Progressive(adapters=adapters)).q_net, 2)
    moved = [not torch.equal(a, b) for a, b in zip(*trained, strict=True)]
    names = [name for name, _ in learner.q_net.later[1].named_parameters()]
    assert all(m for m, name in zip(moved, names, strict=True) if name.startswith("body"))
    assert any(m for m, name in zip(moved, names, strict=True) if name[0] == "a") == adapters


@pytest.mark.parametrize(("message", "act"), list(refusals()), ids=lambda x: str(x)[:20])
def test_bad_input(message: str, act: Any) -> None:
    with pytest.raises(ValueError, match=message):
        act()


def test_a_finished_run_is_not_begun_again() -> None:
    learner = agent(Progressive())
    learner.learn(CONFLICT.total_steps)
    env = make_training_env("FlappyBird", CONFLICT, SETTINGS.num_envs, "one-hot")
    learner.set_env(env)
    with pytest.raises(ValueError, match="begins with phase 1, which was finished in an earlier"):
        learner.learn(10)


@pytest.mark.parametrize("other", sorted(Progressive.conflicts))
def test_who_moves_or_holds_columns_is_refused(other: str) -> None:
    with pytest.raises(ValueError, match="cannot be combined"):
        Method("both", "", parts=("progressive", other))


def test_each_column_is_as_wide_as_the_first() -> None:
    net = network(hidden=(6, 5, 4))
    for number, one in enumerate(net.later, 1):
        widths = [7, 6, 5, 4, 2]
        linear = [layer for layer in one.body if isinstance(layer, nn.Linear)]
        assert [(layer.in_features, layer.out_features) for layer in linear] == [*pairwise(widths)]
        sizes = [(a.project.in_features, a.project.out_features) for a in one.adapters]
        assert sizes == [(number * width, width) for width in widths[1:-1]]
    assert not network(hidden=()).later[0].adapters
