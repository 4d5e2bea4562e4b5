"""Rules made on the spot mean the same in both engines, and what they write is what they say."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from continual_arcade.agents import ContinualDQN
from continual_arcade.agents.engines import binding
from continual_arcade.agents.engines.binding import PartBinding, TensorRecords
from continual_arcade.agents.kernels.arithmetic import choose
from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.compiled_rules import hook_function
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.periodic import Periodic
from continual_arcade.agents.methods.plans import Extent, Planner, plan
from continual_arcade.agents.methods.rules import (
    count,
    declared,
    kept_gradient,
    kept_gradients,
    matrix,
    mixture,
    normals,
    number,
    row,
    rule,
    slope_by_others,
    slope_of_kept,
    slope_of_replayed,
    tensor_rule,
    total,
    vector,
)

LEAVES = ("theta", "trace", "rate", "0.5", "1.25")
READ = "theta, trace, rate, seen"
WITH_GRADIENT = ("add_gradient", "project")


def expressions(leaves: tuple[str, ...]) -> st.SearchStrategy[str]:
    def larger(smaller: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pairs = st.tuples(smaller, st.sampled_from("+-*"), smaller).map(
            lambda p: f"({' '.join(p)})"
        )
        chosen = st.tuples(smaller, smaller, smaller).map(
            lambda t: f"choose({t[0]} > 0.1, {t[1]}, {t[2]})"
        )
        return st.one_of(pairs, pairs, chosen)

    return st.recursive(st.sampled_from(leaves), larger, max_leaves=5)


def function(name: str, arguments: str, text: str) -> Callable[..., Any]:
    names: dict[str, Any] = {"choose": choose}
    exec(f"def {name}({arguments}):\n    return {text}", names)
    made: Callable[..., Any] = names[name]
    return made


def bounded(text: str, size: float) -> str:
    """No rule of these makes training diverge, whatever it computes."""
    return f"{size} * choose(abs({text}) < 1.0, {text}, 1.0)"


def a_part(hook: str, text: str, of_trace: str, of_number: str) -> Part:
    """Make a part with a rule in some hook, a vector that follows it, and a number."""
    gradient = "gradient, " if hook in WITH_GRADIENT else ""
    change = bounded(text.replace("theta", "gradient") if gradient else text, 1e-2)
    if hook == "project":
        change = f"gradient + {change}"
    if hook in ("constrain", "interpolate", "project_update"):
        change = f"theta - {change}"
    steps = {
        "change": rule(hook)(function("change", gradient + READ, change)),
        "follow": rule("after_update", writes="trace")(
            function(
                "follow", "theta, trace, rate, seen", f"0.9 * trace + {bounded(of_trace, 0.1)}"
            )
        ),
        "sum_up": total("after_update", writes="summed")(
            function("sum_up", "trace", "trace * trace")
        ),
        "see": count("after_update", writes="seen")(
            function("see", "seen, summed, rate", of_number)
        ),
    }
    annotations = {"rate": float, "trace": Parameters, "seen": float, "summed": float}
    fields = {"rate": 0.3, "trace": vector(), "seen": number(0.0), "summed": number(0.0)}
    body = {"__annotations__": annotations, "name": "made", **fields, **steps}
    kind: Any = dataclass(type("Made", (Part,), body))
    made: Part = kind()
    return made


def distance(one: Any, other: Any) -> float:
    pairs = zip(one.q_net.parameters(), other.q_net.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


@pytest.mark.slow  # each example compiles
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],  # without shrinking
)
@given(
    hook=st.sampled_from(["add_gradient", "project", "project_update", "constrain", "interpolate"]),
    text=expressions(LEAVES),
    of_trace=expressions((*LEAVES, "seen")),
    of_number=st.sampled_from(["seen + 1", "0.5 * seen + rate", "seen + summed / (1 + summed)"]),
)
def test_a_part_made_on_the_spot_trains_alike(
    hook: str, text: str, of_trace: str, of_number: str
) -> None:
    agents = []
    for engine in ("torch", "compiled"):
        part = a_part(hook, text, of_trace, of_number)
        agents.append(tiny.live(tiny.agent(part, engine=engine), 200))
    assert agents[1].engine_report == "compiled"
    assert distance(*agents) < 1e-5
    for name in ("seen", "summed"):
        one, other = (getattr(agent.parts[0], name) for agent in agents)
        assert one == pytest.approx(other, rel=1e-4, abs=1e-7)
    traces: list[Any] = [agent.parts[0].trace for agent in agents]  # type: ignore[attr-defined]
    for a, b in zip(*traces, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_binding_that_mixes_up_vectors_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(engine: str) -> Any:
        part = a_part("constrain", "trace", "(theta * theta)", "seen + 1")
        return tiny.live(tiny.agent(part, engine=engine), 200)

    torchs = trained("torch")
    assert distance(torchs, trained("compiled")) < 1e-5
    before = PartBinding.before

    def wrongly(self: Any) -> None:
        before(self)
        self.record[4] = self.record[2]

    monkeypatch.setattr(PartBinding, "before", wrongly)
    assert distance(torchs, trained("compiled")) > 1e-4


@dataclass
class Exchanging(Periodic):
    """Exchanges what two of its vectors hold, whole and tensor by tensor."""

    name: ClassVar[str] = "exchanging"
    every: int = 40
    one: Parameters = vector()
    two: Parameters = vector()

    @rule("after_update", writes="one")
    def grow(theta: Any, one: Any) -> Any:
        return one + theta

    def act(self, learner: Learner) -> None:
        self.one, self.two = self.two, self.one
        self.one[1], self.one[3] = self.one[3], self.one[1]


def test_vectors_that_a_part_exchanges_are_the_same_in_both_engines() -> None:
    parts = []
    for engine in ("torch", "compiled"):
        part = Exchanging()
        square = {"net_arch": [8, 8]}
        learner = tiny.live(tiny.agent(part, engine=engine, policy=square), 200)
        assert learner.runs_compiled == (engine == "compiled")
        parts.append(part)
    for name in ("one", "two"):
        for a, b in zip(*(getattr(part, name) for part in parts), strict=True):
            assert float(a.abs().max()) > 0
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@dataclass
class Everything(Part):
    """All that is no arithmetic over one parameter: tensors, rows, noise and the learning rate."""

    name: ClassVar[str] = "everything"
    drawn: Parameters = vector()
    path: Parameters = vector()
    sums: Any = row(3, start=0.5)
    largest: float = number(0.0)
    seen: float = number(0.0)

    @count("add_gradient", writes="seen")
    def nothing() -> Any:
        return 0.0

    @tensor_rule("add_gradient", writes="seen")
    def push(theta: Any, gradient: Any, path: Any, role: Any, seen: Any) -> Any:
        """Push weights away from the mean of their unit, and note the number of their layer."""
        for i in range(theta.shape[0]):
            for j in range(theta.shape[1]):
                path[i, j] = role
                if role < 2:
                    gradient[i, j] += 0.1 * (theta[i, j] - theta[i, 0])
        return seen + theta.shape[0]

    noise = normals("project_update", writes="drawn")

    @count("project_update", writes="largest")
    def note(sums: Any, seen: Any, learning_rate: Any) -> Any:
        for i in range(3):
            sums[i] = 0.5 * sums[i] + i * learning_rate
        return sums[2] + seen

    @rule("project_update")
    def shake(theta: Any, drawn: Any, learning_rate: Any) -> Any:
        return theta + 0.1 * learning_rate * drawn


def everything(engine: str) -> Any:
    agent = tiny.agent(Everything(), engine=engine, learning_rate=lambda left: 1e-3 * left)
    return tiny.live(agent, 200)


def check_everything(torchs: Any, compiled: Any) -> None:
    assert compiled.engine_report == "compiled"
    assert distance(torchs, compiled) < 1e-5
    one, other = torchs.parts[0], compiled.parts[0]
    assert one.sums.tolist() == other.sums.tolist()
    assert one.seen == other.seen == 8 + 8 + 2 + 2  # units of each tensor of the network
    assert one.largest == other.largest
    assert one.rng.bit_generator.state == other.rng.bit_generator.state
    for name in ("drawn", "path"):
        assert all(map(torch.equal, getattr(one, name), getattr(other, name)))


def test_tensors_rows_noise_and_the_learning_rate_are_the_same_in_both_engines() -> None:
    torchs = everything("torch")
    check_everything(torchs, everything("compiled"))
    assert [float(t.flatten()[0]) for t in torchs.parts[0].path] == [0.0, 2.0, 1.0, 2.0]


@pytest.mark.parametrize("wrong", ["offset", "row"])
def test_a_binding_that_shows_other_tensors_or_rows_is_found(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind: Any = TensorRecords if wrong == "offset" else PartBinding
    before, elsewhere = kind.before, np.zeros(3)

    def wrongly(self: Any) -> None:
        before(self)
        if wrong == "offset":
            self.records[1:, 4:] -= 4
        else:
            self.record[-1] = elsewhere.ctypes.data

    monkeypatch.setattr(kind, "before", wrongly)
    with pytest.raises(AssertionError):
        check_everything(everything("torch"), everything("compiled"))


@dataclass
class Late(Part):
    """A rule that waits for its vector."""

    name: ClassVar[str] = "late"
    held: Parameters = vector(late=True)
    steps: int = number(0)

    @rule("constrain")
    def hold(theta: Any, held: Any) -> Any:
        return held

    @count("after_update", writes="steps")
    def counted(steps: Any) -> Any:
        return steps + 1

    def phase_end(self, learner: Any, phase: int) -> None:
        self.held = [tensor.detach().clone() for tensor in learner.q_net.parameters()]


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_rule_waits_for_what_is_late(engine: str) -> None:
    part = Late()
    agent = tiny.live(tiny.agent(part, engine=engine), tiny.PHASE)
    assert not part.held
    tiny.live(agent, tiny.PHASE, reset_num_timesteps=False)
    assert part.held
    for tensor, held in zip(agent.q_net.parameters(), part.held, strict=True):
        assert torch.equal(tensor.detach(), held)
    assert part.steps == agent._n_updates
    assert type(part.steps) is int
    kept = copy.deepcopy(part.state_dict())
    other = Late()
    tiny.agent(other, engine=engine)
    other.load_state_dict(kept)
    assert other.steps == part.steps
    assert all(torch.equal(a, b) for a, b in zip(other.held, part.held, strict=True))
    assert other.held[0] is not kept["held"][0]


@dataclass
class Awkward(Part):
    """Fields that are called as something in the code that is made of the rules."""

    name: ClassVar[str] = "awkward"
    i: float = 0.01
    single: float = 2.0
    words: Parameters = vector()
    numbers: Parameters = vector()
    record: float = number(0.0)
    summed: float = number(0.0)
    halves: float = number(0)

    @rule("add_gradient")
    def rule_0(theta: Any, count: Any, words: Any, i: Any) -> Any:
        return i * (theta + count - words)

    @rule("after_update", writes="count")
    def fill(single: Any) -> Any:
        return single

    @rule("after_update", writes="words")
    def average(words: Any, theta: Any) -> Any:
        return 0.5 * (words + theta)

    @rule("after_update", writes="numbers")
    def follow(count: Any, words: Any) -> Any:
        return count * words

    @total("after_update", writes="summed")
    def of_all(single: Any) -> Any:
        return single

    @count("after_update", writes="record")
    def noted(record: Any, summed: Any) -> Any:
        return record + summed

    @count("after_update", writes="halves")
    def halved(halves: Any) -> Any:
        return halves + 0.5

    count: Parameters = vector()  # last: it hides the decorator


def test_names_of_fields_do_not_meet_those_of_the_code_that_is_made() -> None:
    torchs, compiled = (
        tiny.live(tiny.agent(Awkward(), engine=engine), 160) for engine in ("torch", "compiled")
    )
    assert compiled.runs_compiled
    assert distance(torchs, compiled) < 1e-5
    one: Any = torchs.parts[0]
    other: Any = compiled.parts[0]
    for name in ("count", "words", "numbers"):
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    size = sum(tensor.numel() for tensor in torchs.q_net.parameters())
    assert one.summed == other.summed == 2.0 * size
    assert one.record == other.record == 2.0 * size * torchs._n_updates
    # A number that began whole is not cut off when it is not whole any more.
    assert one.halves == other.halves == 0.5 * torchs._n_updates


@dataclass
class Wild(Planner):
    """A plan that learns from nothing, or from draws that there are not."""

    name: ClassVar[str] = "wild"
    first: int = 0

    def extent(self, gradient_steps: int) -> Extent:
        return Extent(single=False, repeats=1, steps=2, draws=1)

    @plan
    def arrange(draws: Any, first: Any) -> None:
        draws[0] = int(first)
        draws[1] = 0


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("first", [-2, -1, 1, 10**9])
def test_a_plan_that_makes_no_sense_is_refused(first: int, engine: str) -> None:
    agent = tiny.agent(Wild(first), engine=engine)
    with pytest.raises(ValueError, match="part 'wild': each step of its plan must learn from"):
        tiny.live(agent, 160)
    tiny.live(tiny.agent(Wild(0), engine=engine), 160)


@dataclass
class Both(Planner):
    """Single examples, of which one step learns two at once."""

    name: ClassVar[str] = "both"

    def extent(self, gradient_steps: int) -> Extent:
        return Extent(single=True, repeats=1, steps=2, draws=2)

    @plan
    def arrange(draws: Any, current: Any, outer: Any) -> None:
        draws[0], draws[1] = 0, 1
        current[1], outer[1] = 1.0, 0.5


def test_a_step_may_learn_a_drawn_and_the_current_example() -> None:
    sgd: Any = {"policy": {"optimizer_class": torch.optim.SGD}}
    agents = [tiny.live(tiny.agent(Both(), engine=e, **sgd), 200) for e in ("torch", "compiled")]
    assert agents[1].runs_compiled
    assert distance(*agents) < 1e-5
    assert distance(agents[0], tiny.agent(engine="torch", **sgd)) > 1e-3


@dataclass
class Repeating(Planner):
    name: ClassVar[str] = "repeating"
    repeat: int = 1
    arrange = Both.arrange


def test_a_field_that_hides_what_a_plan_is_given_is_refused() -> None:
    with pytest.raises(ValueError, match="plan 'repeating': a field 'repeat' means something else"):
        tiny.agent(Repeating())


def mixed(hook: str = "project", **changes: str) -> Any:
    return mixture(hook, **{"of": "rows", "to": "gradient", "writes": "seen", **changes})


def compared(parameters: str, since: str = "rate") -> Any:
    return slope_by_others(parameters, since)(lambda now, old, slope: None)


def mix_nothing(gram: Any, products: Any, weights: Any) -> Any:
    return 0.0


def kind_with(**steps: Any) -> Any:
    fields: dict[str, Any] = {"rate": 0.1, "trace": vector(), "kept": None}
    fields |= {"rows": matrix(), "seen": number(0)}
    annotations = {"rate": float, "trace": Parameters, "kept": Any}
    annotations |= {"rows": list[Parameters], "seen": int}
    body = {"__annotations__": annotations, "name": "wrong", **fields, **steps}
    return dataclass(type("Wrong", (Part,), body))


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (
            rule("add_gradient")(lambda theta, rat: theta),
            "unknown state 'rat': did you mean 'rate'",
        ),
        (rule("constrian")(lambda theta: theta), "unknown hook 'constrian': did you mean"),
        (rule("constrain")(lambda gradient: gradient), "unknown state 'gradient'"),
        (rule("before_update")(lambda theta: theta), "may not write 'nothing'"),
        (rule("add_gradient", writes="theta")(lambda theta: theta), "may not write 'theta'"),
        (rule("after_update", writes="rate")(lambda theta: theta), "may not write 'rate'"),
        (count("after_update", writes="trace")(lambda rate: rate), "may not write 'trace'"),
        (count("after_update", writes="rate")(lambda theta: theta), "unknown state 'theta'"),
        (total("after_update", writes="rate")(lambda theta: theta), "may not write 'rate'"),
        (rule("constrain", when="never")(lambda theta: theta), "unknown number 'never'"),
        (rule("constrain", where="rate")(lambda theta: theta), "unknown vector 'rate'"),
        (
            slope_of_kept("kept", "kept", "kept")(lambda now, old: None),
            "it must take now, old and slope",
        ),
        (
            slope_of_kept("kept", "kept", "kept")(lambda now, old, slope, rat: None),
            "unknown state 'rat'",
        ),
        (kept_gradient("project", "rate", of="kept", size="kept"), "may not write 'rate'"),
        (kept_gradient("loss", "trace", of="kept", size="kept"), "unknown hook 'loss'"),
        (kept_gradient("before_update", "trace", of="kept", size="kept"), "unknown hook 'before_"),
        (kept_gradient("project", "gradient", of="kept", size="kept"), "may not write 'gradient'"),
        (
            kept_gradient("project", "trace", of="kpet", size="kept"),
            "unknown field 'kpet'",
        ),
        (
            slope_of_kept("kept", "vlaues", "kept")(lambda now, old, slope: None),
            "unknown field",
        ),
        (kept_gradient("project", "rows", of="kept", size="kept"), "may not write 'rows'"),
        (
            kept_gradients("project", "trace", of="kept", ends="kept", size="kept"),
            "may not write 'trace'",
        ),
        (
            kept_gradients("project", "rows", of="kept", ends="end", size="kept"),
            "unknown field 'end'",
        ),
        (
            kept_gradients("project_update", "rows", of="kept", ends="kept", size="kept"),
            "unknown hook 'project_update'",
        ),
        (mixed()(lambda gram, weights: 0), "it must take gram, products and weights"),
        (mixed()(lambda gram, products, weights, rat: 0), "unknown state 'rat'"),
        (mixed()(lambda gram, products, weights, trace: 0), "unknown state 'trace'"),
        (mixed(of="trace")(mix_nothing), "unknown matrix 'trace'"),
        (mixed(to="rows")(mix_nothing), "unknown vector 'rows'"),
        (mixed("project_update", to="gradient")(mix_nothing), "unknown vector 'gradient'"),
        (mixed(writes="rate")(mix_nothing), "may not write 'rate'"),
        (rule("constrain")(lambda theta, rows: theta), "unknown state 'rows'"),
        (slope_of_replayed("q_values")(lambda now, old, slope: None), "set values_after"),
        (compared("kept"), "unknown vector 'kept'"),
        (compared("trace", since="since"), "unknown number 'since'"),
        (tensor_rule("project", writes="rate")(lambda theta: 0.0), "may not write 'rate'"),
        (tensor_rule("project", writes="seen")(lambda theta, rol: 0.0), "unknown state 'rol'"),
        (tensor_rule("constrain", writes="seen")(lambda gradient: 0.0), "unknown state 'gradient'"),
        (rule("constrain")(lambda theta, role: theta), "unknown state 'role'"),
        (normals("project", writes="theta"), "may not write 'theta'"),
        (normals("projekt", writes="trace"), "unknown hook 'projekt'"),
    ],
)
def test_rules_that_make_no_sense_are_refused_by_name(step: Any, why: str) -> None:
    with pytest.raises(ValueError, match=f"rule 'step' of part 'wrong'.*{why}"):
        tiny.agent(kind_with(step=step)())


@pytest.mark.parametrize(
    "step",
    [
        rule("constrain", writes="trace")(lambda theta: theta),
        normals("constrain", "trace"),
        kept_gradient("project", "trace", of="kept", size="kept"),
        mixed(to="trace")(mix_nothing),
        tensor_rule("constrain", writes="seen")(lambda theta, trace: 0.0),  # may, in place
    ],
)
def test_parameters_that_a_loss_compares_with_are_changed_by_no_rule(step: Any) -> None:
    part = kind_with(step=step, other=compared("trace"))()
    with pytest.raises(ValueError, match=r"rule 'step'.*may change 'trace', with which a loss"):
        tiny.agent(part)


def test_what_a_rule_reads_alone_may_be_compared_with() -> None:
    reads = rule("constrain")(lambda theta, trace: theta + 0.0 * trace)
    assert tiny.agent(kind_with(step=reads, other=compared("trace"))()).parts


@dataclass
class Weighing(Part):
    """A field that is called as what a mixture is given."""

    name: ClassVar[str] = "weighing"
    weights: float = 0.1
    rows: list[Parameters] = matrix()
    seen: int = number(0)
    step = mixed()(mix_nothing)


def test_a_field_that_hides_what_a_mixture_is_given_is_refused() -> None:
    with pytest.raises(ValueError, match="a field 'weights' means something else in a mixture"):
        tiny.agent(Weighing())


@dataclass
class Acting(Part):
    """A field that is called as what a rule over tensors is given."""

    name: ClassVar[str] = "acting"
    role: float = 0.1
    seen: int = number(0)
    step = tensor_rule("project", writes="seen")(lambda theta: 0.0)


@dataclass
class Rated(Part):
    """A field that is called as a number that all rules are given."""

    name: ClassVar[str] = "rated"
    learning_rate: float = 0.1


@pytest.mark.parametrize(("kind", "name"), [(Acting, "role"), (Rated, "learning_rate")])
def test_fields_that_hide_what_rules_are_given_are_refused(kind: Any, name: str) -> None:
    with pytest.raises(ValueError, match=f"a field '{name}'.* means something else"):
        tiny.agent(kind())


@pytest.mark.parametrize("attribute", ["defers", "sharpens", "values_after"])
def test_names_of_numbers_that_there_are_not_are_refused(attribute: str) -> None:
    with pytest.raises(ValueError, match=f"part 'wrong': {attribute}: unknown number 'rat'"):
        tiny.agent(kind_with(**{attribute: "rat"})())


@dataclass
class Somewhere(Part):
    """Moves some parameters, and adds to some gradients; everywhere it would be not finite."""

    name: ClassVar[str] = "somewhere"
    here: Parameters = vector()

    @rule("add_gradient", where="here")
    def push(theta: Any, here: Any) -> Any:
        return 0.1 * theta / here

    @rule("constrain", where="here")
    def shrink(theta: Any, here: Any) -> Any:
        return 0.99 * theta / here


def test_a_rule_changes_nothing_but_where_it_is_said_to() -> None:
    agents = []
    for engine in ("torch", "compiled"):
        part = Somewhere()
        agent = tiny.agent(part, engine=engine)
        part.here = [(tensor > 0).float() for tensor in part.here]
        for tensor in part.here:
            tensor.view(-1)[::3] = 1.0
        before = [tensor.detach().clone() for tensor in agent.q_net.parameters()]
        agents.append(tiny.live(agent, 200))
        assert agent.runs_compiled == (engine == "compiled")
        pairs = zip(agent.q_net.parameters(), before, strict=True)
        assert all(bool(now.isfinite().all() and (now != then).any()) for now, then in pairs)
    assert distance(*agents) < 1e-5


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1_000])
@pytest.mark.parametrize("flag", [1.0, -1e-38, np.nan])
def test_no_place_of_a_rule_is_passed_over_wherever_it_lies(count: int, flag: float) -> None:
    (step,) = declared(Somewhere).steps["constrain"]
    run = hook_function(Somewhere, (step,))
    for places in ([], [0], [count - 1], [count // 2], [count // 3, count - 1], range(count)):
        theta, here = np.ones(count, np.float32), np.zeros(count, np.float32)
        here[list(places)] = flag
        expected = theta.copy()
        expected[list(places)] = np.float32(0.99) / np.float32(flag)
        numbers = np.zeros(8)
        addresses = [one.ctypes.data for one in (numbers, theta, theta, here)]
        run(np.array([count, *addresses, 0, count], np.int64))
        np.testing.assert_allclose(theta, expected, rtol=1e-6)


@dataclass
class Wandering(Part):
    """Says anew in each gradient step where the next rule is for."""

    name: ClassVar[str] = "wandering"
    here: Parameters = vector()

    @rule("before_update", writes="here")
    def look(theta: Any) -> Any:
        return choose(theta > 0.2, 1.0, 0.0)

    @rule("constrain", where="here")
    def shrink(theta: Any) -> Any:
        return 0.9 * theta


@dataclass
class WanderingByTensor(Wandering):
    """The same by a rule over tensors, which names no vector as what it writes."""

    name: ClassVar[str] = "wandering-by-tensor"
    looked: int = number(0)

    @tensor_rule("before_update", writes="looked")
    def look(theta: Any, here: Any) -> Any:
        for unit in range(len(theta)):
            for column in range(theta.shape[1]):
                here[unit, column] = choose(theta[unit, column] > 0.2, 1.0, 0.0)
        return 0.0


def wander(part: Part, engine: Any) -> ContinualDQN:
    """Return an agent that was given another place between two calls, where it is not a rule's."""
    agent = tiny.live(tiny.agent(part, engine=engine, learning_rate=0.01), 100)
    if isinstance(part, Somewhere):
        part.here[-1].fill_(2.0)
    return tiny.live(agent, 100, reset_num_timesteps=False)


@pytest.mark.parametrize("kind", [Somewhere, Wandering, WanderingByTensor])
def test_where_a_rule_is_for_may_change(kind: type[Part], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = wander(kind(), "torch")
    assert distance(wander(kind(), "compiled"), expected) < 1e-5
    monkeypatch.setattr(binding, "rests", lambda kind, vector: True)  # a mistake
    mistaken = distance(wander(kind(), "compiled"), expected)
    assert (mistaken > 1e-3) == (kind is not Somewhere)


def test_a_part_with_rules_must_be_a_dataclass() -> None:
    class Plain(Part):
        name: ClassVar[str] = "plain"
        decay = rule("add_gradient")(lambda theta: theta)

    with pytest.raises(ValueError, match="Plain must be a dataclass"):
        tiny.agent(Plain())


@dataclass
class Described(Part):
    name: ClassVar[str] = "described"
    how: str = "much"

    @rule("add_gradient")
    def decay(theta: Any, how: Any) -> Any:
        return how * theta


def test_text_comes_to_a_rule_as_the_index_of_a_literal() -> None:
    with pytest.raises(ValueError, match=r"reads 'how', which is text: give it .*Literal"):
        tiny.agent(Described())


@dataclass
class Noting(Part):
    """Overrides what is called after each step of the environments."""

    name: ClassVar[str] = "noting"
    seen: list[Any] = field(default_factory=list)

    def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
        self.seen += [(learner.num_timesteps, *slots.tolist())]
        super().stored(learner, transitions, rows, slots)


def test_what_is_called_after_each_step_is_called_with_either_engine() -> None:
    parts = [Noting(), Noting()]
    agents = [
        tiny.live(tiny.agent(part, engine=engine), 160)
        for part, engine in zip(parts, ("torch", "compiled"), strict=True)
    ]
    assert agents[1].runs_compiled
    assert distance(*agents) < 1e-5
    assert len(parts[0].seen) == 160 // tiny.NUM_ENVS
    assert parts[0].seen == parts[1].seen


def test_what_a_kind_declares_is_in_order() -> None:
    @dataclass
    class Base(Part):
        name: ClassVar[str] = "base"
        a: float = number(0.0)

        @count("after_update", writes="a")
        def first(a: Any) -> Any:
            return a + 1

        @count("after_update", writes="a")
        def second(a: Any) -> Any:
            return a * 2

    @dataclass
    class Changed(Base):
        name: ClassVar[str] = "changed"

        @count("after_update", writes="a")
        def third(a: Any) -> Any:
            return a - 3

        @count("after_update", writes="a")
        def first(a: Any) -> Any:
            return a + 10

    functions = [step.function.__name__ for step in declared(Changed).steps["after_update"]]
    assert functions == ["first", "second", "third"]
    values = []
    for engine in ("torch", "compiled"):
        part = Changed()
        tiny.live(tiny.agent(part, engine=engine), 60)
        values.append(part.a)
    assert values[0] == values[1]
    assert values[0] > 7  # it would be 7 after one update


FACTOR = 0.01


def scaled(theta: Any) -> Any:
    return FACTOR * theta


@dataclass
class Scaling(Part):
    name: ClassVar[str] = "scaling"
    decay = rule("add_gradient")(scaled)


@dataclass
class Planning(Planner):
    name: ClassVar[str] = "planning"

    def extent(self, gradient_steps: int) -> Extent:
        return Extent(single=False, repeats=1, steps=1, draws=1)

    @plan
    def arrange(draws: Any, outer: Any) -> None:
        draws[0], outer[0] = 0, FACTOR


@pytest.mark.parametrize("kind", [Scaling, Planning])
def test_a_number_that_a_rule_finds_by_name_is_the_one_it_is_now(
    kind: type[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook, where no file tells that it has changed."""

    def trained() -> list[Any]:
        return [tiny.live(tiny.agent(kind(), engine=e), 120) for e in ("torch", "compiled")]

    first = trained()
    monkeypatch.setitem(globals(), "FACTOR", 0.5)
    then = trained()
    assert max(distance(*first), distance(*then)) < 1e-5
    assert min(map(distance, first, then)) > 1e-3


@dataclass
class Unset(Part):
    name: ClassVar[str] = "unset"
    rate: float | None = None

    @rule("add_gradient")
    def decay(theta: Any, rate: Any) -> Any:
        return rate * theta


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_rule_is_not_given_what_is_none(engine: str) -> None:
    with pytest.raises(ValueError, match="part 'unset': a rule reads 'rate', which is None"):
        tiny.live(tiny.agent(Unset(), engine=engine), 120)


def test_a_field_that_hides_what_rules_read_is_refused() -> None:
    @dataclass
    class Hiding(Part):
        name: ClassVar[str] = "hiding"
        theta: float = 1.0

    with pytest.raises(ValueError, match="has a field 'theta', which means something else"):
        tiny.agent(Hiding())
