"""What holds for all parts: the order of their hooks, what they refuse, and that they combine."""

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from tiny import (
    CONFLICT,
    EACH_ENGINE,
    LEARNING_STARTS,
    LIFE,
    NUM_ENVS,
    PHASE,
    Corridor,
    SaveAt,
    Spy,
    agent,
    bits,
    context_of,
    differences,
    inside,
    life,
    live,
)

from continual_arcade.agents import METHODS, ContinualDQN, compose
from continual_arcade.agents.methods import PARTS, Part, make_part, parse_part
from continual_arcade.agents.methods.agem import AGEM
from continual_arcade.agents.methods.clear import Clear
from continual_arcade.agents.methods.clone import Clone
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.l2 import L2
from continual_arcade.agents.methods.mas import MAS
from continual_arcade.agents.methods.mer import MER
from continual_arcade.agents.methods.online_ewc import OnlineEWC
from continual_arcade.agents.methods.reset import Reset
from continual_arcade.agents.methods.si import SI
from continual_arcade.agents.phase_tracker import PhaseTracker
from continual_arcade.agents.replay import BalancedReplayBuffer, MixReplayBuffer
from continual_arcade.envs import make_game, shipped

# --- the order of hooks -------------------------------------------------------------------------

STEP = (
    "before_update",
    "on_td_gradient",
    "loss",
    "add_gradient",
    "project",
    "step",
    "project_update",
    "constrain",
    "interpolate",
    "after_update",
)


@dataclass
class First(Spy):
    name: ClassVar[str] = "first"
    label: str = "first"


@dataclass
class Second(Spy):
    name: ClassVar[str] = "second"
    label: str = "second"


class Hasty(ContinualDQN):
    """A mistake: parts hear of a phase's end before they have learnt from its last steps."""

    def _store_transition(self, *args: Any) -> None:
        super()._store_transition(*args)
        self._tell_phases()


class Late(ContinualDQN):
    """A mistake: parts hear of a phase's end when the next one has already been played."""

    def _store_transition(self, *args: Any) -> None:
        super()._store_transition(*args)
        if self.stale is not None:
            ended, phase = self.stale
            for part in self.parts:
                if ended is not None:
                    part.phase_end(self, ended)
                part.phase_start(self, phase)

    def _tell_phases(self) -> None:
        self.stale = self.phase_tracker.news()


class Muddled(ContinualDQN):
    """A mistake: each part goes through its hooks alone, one after the other."""

    def _update(self, batch: Any) -> float:
        parts = self.parts
        for part in parts:
            self.parts = [part]
            super()._update(batch)
        self.parts = parts
        return 0.0


def test_hooks_of_a_gradient_step_come_in_order() -> None:
    def events(kind: type[ContinualDQN]) -> list[Any]:
        noted: list[Any] = []
        model = agent(First(events=noted), Second(events=noted), kind=kind)
        model.optimizer.register_step_post_hook(lambda *_: noted.append(("optimiser", "step")))
        live(model, PHASE)
        return [event for event in noted if event[1] in STEP]

    who = {"step": ["optimiser"]}
    expected = [(x, hook) for hook in STEP for x in who.get(hook, ["first", "second"])]
    count = (PHASE - LEARNING_STARTS) // NUM_ENVS
    assert events(ContinualDQN) == expected * count
    assert events(Muddled) != expected * count


def check_phases(events: list[tuple[Any, ...]]) -> None:
    """Every phase is told when it has been learnt from, and before the next one is played."""
    told = [event[1:] for event in events if event[1] in ("phase_start", "phase_end")]
    assert told == [
        ("phase_start", 0),
        ("phase_end", 0),
        ("phase_start", 1),
        ("phase_end", 1),
        ("phase_start", 2),
    ]
    phase = None
    learnt = True
    for event in events:
        kind = event[1]
        if kind == "phase_start":
            phase = event[2]
        elif kind == "phase_end":
            assert phase == event[2]
            assert learnt, "the last transitions have not been learnt from"
            phase = None
        elif kind == "stored":
            assert event[2] <= {phase}
            learnt = False
        elif kind == "after_update":
            learnt = True


@pytest.mark.parametrize("n_steps", [1, 3])
def test_phases_are_told_between_their_last_step_and_the_next_one(n_steps: int) -> None:
    spy = Spy()
    live(agent(spy, n_steps=n_steps, buffer_size=4 * LIFE))
    check_phases(spy.events)
    # All that was played in a phase was stored in it.
    stored: dict[int, int] = {}
    phase = 0
    for event in spy.events:
        if event[1] == "phase_start":
            phase = event[2]
        stored[phase] = stored.get(phase, 0) + (event[1] == "stored")
    assert stored == dict.fromkeys(range(3), PHASE // NUM_ENVS)


@pytest.mark.parametrize("kind", [Hasty, Late])
def test_phases_told_too_early_or_too_late_are_noticed(kind: Any) -> None:
    spy = Spy()
    live(agent(spy, kind=kind))
    with pytest.raises(AssertionError):
        check_phases(spy.events)


class Several:
    """Environments that begin episodes in these phases."""

    def __init__(self, *phases: int) -> None:
        self.reset_infos = [{"phase": phase} for phase in phases]
        self.unwrapped = self


def test_a_phase_has_ended_when_nobody_is_in_it_any_more() -> None:
    following = PhaseTracker(3)
    following.begin(Several(0, 0, 0))  # type: ignore[arg-type]
    assert following.news() == (None, 0)
    for dones, phases, news in (
        ([True, False, False], (1, 9, 9), None),
        ([False, False, True], (9, 9, 1), None),
        ([True, False, False], (2, 9, 9), None),
        ([False, True, False], (9, 2, 9), (0, 1)),
    ):
        following.stepped([{}] * 3, np.array(dones), Several(*phases))  # type: ignore[arg-type]
        assert following.news() == news


@dataclass
class Gradients(Part):
    """Copies the gradient at each hook where it means something."""

    name: ClassVar[str] = "gradients"
    seen: list[dict[str, torch.Tensor]] = field(default_factory=list)

    def before_update(self, learner: Any) -> None:
        self.network = copy.deepcopy(learner.q_net)
        self.seen.append({})

    def note(self, learner: Any, hook: str) -> None:
        grads = [tensor.grad.reshape(-1) for tensor in learner.q_net.parameters()]
        self.seen[-1][hook] = torch.cat(grads).clone()

    def on_td_gradient(self, learner: Any) -> None:
        self.note(learner, "td")

    def loss(self, learner: Any, batch: Any) -> torch.Tensor:
        online, learner.q_net = learner.q_net, self.network
        self.network.zero_grad()
        learner.td_loss(batch.samples).backward()
        grads = [tensor.grad.reshape(-1) for tensor in self.network.parameters()]
        self.seen[-1]["alone"] = torch.cat(grads)
        learner.q_net = online
        # A loss of its own, whose gradient is one everywhere.
        return sum((tensor.sum() for tensor in online.parameters()), torch.zeros(()))

    def add_gradient(self, learner: Any) -> None:
        self.note(learner, "with loss")

    def project(self, learner: Any) -> None:
        for tensor in learner.q_net.parameters():
            tensor.grad *= 100
        self.note(learner, "whole")

    def constrain(self, learner: Any) -> None:
        self.note(learner, "clipped")


def test_each_hook_finds_the_gradient_that_it_is_told_of() -> None:
    watch = Gradients()
    live(agent(watch, max_grad_norm=2.0), PHASE)
    assert len(watch.seen) > 10
    for step in watch.seen:
        torch.testing.assert_close(step["td"], step["alone"])
        torch.testing.assert_close(step["with loss"], step["td"] + 1)
        assert not torch.allclose(step["td"], step["with loss"])
        norm = step["whole"].norm()
        torch.testing.assert_close(step["clipped"], step["whole"] * (2 / norm))


# --- what is refused ----------------------------------------------------------------------------

TASK_AWARE = sorted(name for name, part in PARTS.items() if part.needs_boundaries)
TOLD = ["den", "hat", "packnet", "progressive"]
"""Parts that must also be told the phase whenever the agent acts."""


def test_which_parts_are_aware_of_phases() -> None:
    penalties = ["ewc", "l2", "mas", "online-ewc", "si"]
    others = ["agem", "clone", "gem", "generative-replay", "hat", "lwf", "packnet", "reset"]
    others += ["best-return", "den", "progressive", "shrink-perturb"]
    assert sorted({*TASK_AWARE}) == sorted([*others, *penalties])
    assert sorted(name for name, part in PARTS.items() if part.told) == TOLD


@pytest.mark.parametrize("name", sorted(set(TASK_AWARE) - set(TOLD)))
def test_parts_that_need_phases_are_refused_where_there_are_none(name: str) -> None:
    for schedule in (shipped("drift", make_game("FlappyBird")), None):
        env = life(schedule) if schedule else life(shipped("stationary", make_game("FlappyBird")))
        with pytest.raises(ValueError, match=f"part '{name}' needs to be told") as error:
            agent(make_part(name), env=env)
        assert f"schedule '{schedule.name if schedule else 'stationary'}'" in str(error.value)
    with pytest.raises(ValueError, match=f"part '{name}' needs .* which has no schedule"):
        agent(make_part(name), env=Corridor())
    model = agent(make_part(name))
    with pytest.raises(ValueError, match=f"part '{name}' needs to be told"):
        model.set_env(life(shipped("drift", make_game("FlappyBird"))))


@pytest.mark.parametrize("name", sorted(set(PARTS) - set(TASK_AWARE)))
def test_parts_that_need_no_phases_live_anywhere(name: str) -> None:
    env = life(shipped("drift", make_game("FlappyBird")).with_steps(PHASE // 2))
    live(agent(make_part(name), env=env), PHASE)
    live(agent(make_part(name), env=Corridor()), 2 * LEARNING_STARTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ewk", "unknown part 'ewk': did you mean 'ewc'"),
        ("", "unknown part ''"),
        ("ewc:lamb=1", "unknown setting of ewc 'lamb': did you mean 'lam'"),
        ("ewc:omega=1", "unknown setting of ewc 'omega'"),
        ("ewc:rng=1", "unknown setting of ewc 'rng'"),
        ("ewc:lam", "'lam' must be written setting=value"),
        ("ewc:lam=1,lam=2", "lam is given twice"),
        ("ewc:lam=big", "ewc:lam = 'big' must be a number"),
        ("ewc:lam=nan", "ewc: lam = nan must be finite"),
        ("ewc:samples=2.5", "ewc:samples = '2.5' must be a whole number"),
        ("ewc:batch=10", "ewc: batch = 10 counts only with fisher = 'td', and fisher = 'gauss'"),
        ("ewc:fisher=td,samples=9,batch=10", "ewc: batch = 10 is more than the samples = 9 that"),
        ("online-ewc:temperature=2", "temperature = 2.0 counts only with fisher = 'policy' or"),
        ("ewc:fisher=gaus", "ewc: unknown fisher 'gaus': did you mean 'gauss'"),
        ("ewc:temperature=low", "ewc:temperature = 'low' must be a number"),
        ("reset:network=maybe", "reset:network = 'maybe' must be true or false"),
        ("reset:network=false,optimizer=false,replay=false", "nothing is reset"),
        ("mer:algorithm=2", "mer: unknown algorithm '2'"),
        ("clone:what=values", "clone: unknown what"),
        ("agem:what=gradients", "did you mean 'gradient'"),
    ],
)
def test_text_that_names_no_part(text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the message is compared below
        parse_part(text)
    assert message in str(error.value)
    with pytest.raises(ValueError) as error:  # noqa: PT011
        compose("finetune", parts=[text])
    assert message in str(error.value)


@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_what_its_settings_say(name: str) -> None:
    part = make_part(name)
    text = f"{name}:" + ",".join(f"{key}={value}" for key, value in part.settings.items())
    assert parse_part(text).settings == part.settings
    assert type(parse_part(name)) is PARTS[name]
    assert "rng" not in part.settings


def test_text_may_have_spaces_and_change_types() -> None:
    assert parse_part("ewc: lam = 5 , temperature=none,fisher=policy").settings == {
        **EWC().settings,
        "lam": 5.0,
        "temperature": None,
        "fisher": "policy",
    }
    assert parse_part("reset:network=False").settings["network"] is False
    with pytest.raises(ValueError, match="did you mean 'lam'"):
        make_part("ewc", {"lan": 1.0})
    with pytest.raises(ValueError, match="did you mean 'clone' or 'clear'"):
        make_part("clon")


def test_composing_methods() -> None:
    assert compose("ewc") is METHODS["ewc"]
    both = compose("ewc", "mix:fifo_size=50", ["clone:alpha=2"])
    assert both.name == "ewc+mix:fifo_size=50+clone:alpha=2"
    assert [part.name for part in both.make_parts()] == ["ewc", "clone"]
    assert both.make_replay() == (MixReplayBuffer, {"fifo_size": 50})
    assert type(both).from_dict(both.to_dict()) == both
    # What has the name of a method is that method.
    for replay, parts, name in (
        (None, ["ewc"], "finetune+ewc"),
        ("reservoir", [], "finetune+reservoir"),
        ("reservoir", ["mer"], "finetune+reservoir+mer"),
        (None, ["mer"], "finetune+mer"),
        (None, ["mer", "ewc"], "finetune+mer+ewc"),
        (None, ["ewc", "mer"], "finetune+ewc+mer"),
        ("mix", ["clear"], "finetune+mix+clear"),
        ("balanced", ["clear"], "balanced+clear"),
        (None, ["clear"], "finetune+clear"),
        (None, ["mer:gamma=0.5"], "mer:gamma=0.5"),
    ):
        assert compose("finetune", replay, parts).name == name
    for arguments, message in (
        (("ewk",), "unknown method 'ewk': did you mean 'ewc'"),
        (("ewc", "fifa"), "unknown replay 'fifa': did you mean 'fifo'"),
        (("ewc", "mix:fifo=3"), "unknown setting of mix 'fifo': did you mean 'fifo_size'"),
        (("ewc", "fifo:size=3"), "unknown setting of fifo 'size'"),
    ):
        with pytest.raises(ValueError, match=message):
            compose(*arguments)


def test_a_part_is_not_given_twice() -> None:
    with pytest.raises(ValueError, match="part 'ewc' is given twice"):
        agent(EWC(), Clone(), EWC(lam=3.0))


SMALL: dict[str, dict[str, Any]] = {
    "agem": {"transitions": 40, "batch": 8},
    "benna-fusi": {"every": 30, "beakers": 4, "pace": 0.1},
    "best-return": {"steps": 40, "trial": 8},
    "clear": {"after": 60},
    "clone": {"states": 40, "batch": 8},
    "continual-backprop": {"every": 30, "batch": 20, "rate": 0.01, "maturity": 9},
    "den": {"every": 4, "head_steps": 20, "retrain_steps": 20, "expand_steps": 20, "units": 1},
    "drop-and-grow": {"every": 30, "over": 200, "batch": 20},
    "ewc": {"lam": 0.01, "samples": 20, "anchor": "ema"},
    "gem": {"transitions": 20},
    "generative-replay": {"states": 40, "samples": 60, "components": 3, "batch": 8},
    "hare-tortoise": {"every": 30, "decay": 0.9},
    "hat": {"cycle": 30},
    "l2": {"lam": 1e-3},
    "l2-init": {"lam": 1e-3},
    "lwf": {"alpha": 1.0},
    "mas": {"lam": 0.01, "samples": 20},
    "mer": {},
    "neurogenesis": {"every": 30, "batch": 20, "rate": 0.1},
    "online": {"replayed": True},
    "online-ewc": {"lam": 0.01, "samples": 20, "fisher": "policy"},
    "packnet": {"retrain": 5},
    "parseval": {"lam": 0.01},
    "progressive": {},
    "pt-dqn": {"every": 30, "updates": 5, "batch": 16},
    "redo": {"every": 30, "batch": 20, "tau": 0.5},
    "reptile": {"every": 7},
    "reset": {},
    "shrink-perturb": {},
    "si": {"lam": 0.01},
    "spectral": {"lam": 0.01},
    "stream-q": {},
    "trac": {"epsilon": 0.1},
    "upgd": {"noise": 0.01},
}
PAIRS = list(itertools.combinations(SMALL, 2))
"""Of all parts; those of them that may be combined are ``COMBINED``."""
HOLDING = ("l2", "ewc", "online-ewc", "si", "mas", "reptile", "packnet")
"""Parts that hold on to parameters."""
CHANGING = ("redo", "continual-backprop", "neurogenesis", "shrink-perturb")
"""Parts that change parameters otherwise than by learning."""
TURNING = ("agem", "gem")
"""Parts that change the optimiser's step, beside trac and upgd."""
DRAWING = ("reset", "hare-tortoise", *CHANGING)
"""Parts after which parameters are others."""
MOVING = ("mer", "reptile", "packnet", "progressive")
"""Parts that move parameters after the step."""
CONFLICTS = {
    *(tuple(sorted(pair)) for pair in itertools.product(HOLDING, CHANGING)),
    # Of whose units it would not know how old they are.
    *(tuple(sorted(("continual-backprop", o))) for o in ("neurogenesis", "redo", "reset")),
    ("clear", "clone"),
    *(
        tuple(sorted(("benna-fusi", other)))
        for other in ("packnet", "progressive", "drop-and-grow", "trac", *DRAWING)
    ),
    *(
        tuple(sorted(("pt-dqn", other)))
        for other in (
            *(*HOLDING, *DRAWING, "benna-fusi", "drop-and-grow", "progressive"),
            *(*TURNING, "parseval", "spectral", "trac", "upgd"),
        )
    ),
    *(tuple(sorted(("best-return", other))) for other in ("packnet", "progressive")),
    *(
        tuple(sorted(("drop-and-grow", other)))
        for other in ("packnet", "reptile", "trac", "upgd", *TURNING, *DRAWING)
    ),
    *(
        tuple(sorted(("progressive", other)))
        for other in (
            *(*HOLDING, *CHANGING, "drop-and-grow", "hare-tortoise", "lwf", "mer", "reset"),
            *("parseval", "spectral", "upgd"),
        )
    ),
    *(tuple(sorted(("hare-tortoise", other))) for other in ("reptile", "packnet", *CHANGING)),
    ("ewc", "reset"),
    ("hare-tortoise", "reset"),
    *(tuple(sorted(("hat", other))) for other in SMALL if other not in ("hat", "clear", "online")),
    *(tuple(sorted(("den", other))) for other in SMALL if other not in ("den", "clear", "online")),
    ("l2", "reset"),
    ("l2-init", "reset"),
    ("mas", "reset"),
    ("mer", "online"),
    ("mer", "reptile"),
    ("online-ewc", "reset"),
    ("packnet", "reptile"),
    ("packnet", "reset"),
    ("packnet", "si"),
    ("reptile", "reset"),
    ("reset", "si"),
    # Who does something between gradient steps only, and moves nothing, may stand beside it.
    *(tuple(sorted(("stream-q", o))) for o in SMALL if o not in ("stream-q", "best-return")),
    *(tuple(sorted(("upgd", other))) for other in (*TURNING, *DRAWING, "packnet")),
    *(tuple(sorted(("trac", other))) for other in (*TURNING, *DRAWING, "upgd", *MOVING)),
}


COMBINED = [pair for pair in PAIRS if pair not in CONFLICTS]


def few_with_all(pairs: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Choose pairs such that each part is in one: first of two that are new, then of one."""
    met: set[str] = set()
    chosen = []
    for new in (2, 1):
        for pair in pairs:
            if len({*pair} - met) >= new:
                chosen.append(pair)
                met |= {*pair}
    return {*chosen}


QUICK = few_with_all(COMBINED)


def test_no_part_is_left_out_here() -> None:
    assert SMALL.keys() == PARTS.keys()
    assert set(PAIRS) >= CONFLICTS
    assert {name for pair in QUICK for name in pair} == PARTS.keys()


@pytest.mark.parametrize("pair", sorted(CONFLICTS))
def test_parts_that_exclude_each_other(pair: tuple[str, str]) -> None:
    for names in (pair, pair[::-1]):
        with pytest.raises(ValueError, match="cannot be combined") as error:
            agent(*map(make_part, names))
        assert all(repr(name) in str(error.value) for name in names)


@pytest.mark.parametrize("name", ["ewc", "l2", "mas", "online-ewc"])
def test_no_average_is_held_beside_what_says_what_is_kept(name: str) -> None:
    parts = [make_part("packnet"), make_part(name, {"anchor": "ema"})]
    for order in (parts, parts[::-1]):
        with pytest.raises(
            ValueError, match=f"{name!r} holds on to is not: choose anchor = 'last'"
        ):
            agent(*order)
    agent(make_part("packnet"), make_part(name))


def test_only_one_part_plans_the_batches() -> None:
    @dataclass
    class Planner(Part):
        name: ClassVar[str] = "planner"

        def batches(self, learner: Any, steps: int, batch_size: int) -> Any:
            for _ in range(2):
                yield learner.sample(batch_size)

    with pytest.raises(ValueError, match="'mer' and 'planner' both choose what is learnt from"):
        agent(MER(), Planner())
    model = live(agent(Planner(), EWC(lam=0.0)), PHASE)
    assert model._n_updates == 2 * (PHASE - LEARNING_STARTS) // NUM_ENVS


# --- what they keep ------------------------------------------------------------------------------


class Seen(Part):
    """Remembers every observation, by the phase in which it was made."""

    name: ClassVar[str] = "seen"

    def __init__(self) -> None:
        self.of_phase: dict[int, set[bytes]] = {0: set(), 1: set()}

    def completed(self, learner: Any, transitions: Any) -> None:
        for row, phase in zip(transitions.observations, transitions.phases.tolist(), strict=True):
            self.of_phase[phase].add(row.tobytes())


def rows_of(tree: Any, width: int) -> list[bytes]:
    """Return all rows of the arrays of a tree that are as wide as an observation.

    Of transitions the observation counts, and not the next one.
    """
    if isinstance(tree, torch.Tensor):
        tree = tree.numpy()
    if isinstance(tree, np.ndarray):
        is_rows = tree.ndim == 2 and tree.shape[1] == width and tree.dtype == np.float32
        return [row.tobytes() for row in tree] if is_rows else []
    if isinstance(tree, dict):
        tree = [value for key, value in tree.items() if key != "next_observations"]
    if isinstance(tree, list | tuple):
        return [row for each in tree for row in rows_of(each, width)]
    return []


def kept_of_an_earlier_phase(part: Part) -> tuple[int, int]:
    """Return how many observations of the first phase a part has in the second, and says it has."""
    seen = Seen()
    env = life(CONFLICT.with_steps(64), context=context_of([part]))
    model = live(agent(part, seen, engine="torch", env=env), 64 + 40)
    rows = rows_of(part.state_dict(), model.observation_space.shape[0])
    first, second = seen.of_phase[0], seen.of_phase[1]
    of_first = sum(row in first for row in rows)
    # Where episodes begin both phases look alike.
    only_first = sum(row in first - second for row in rows)
    return (of_first if only_first else 0), part.earlier_observations


@pytest.mark.parametrize("name", SMALL)
def test_a_part_says_what_it_keeps_of_earlier_phases(name: str) -> None:
    has, says = kept_of_an_earlier_phase(make_part(name, SMALL[name]))
    assert has == says
    assert (says > 0) == (name in {"agem", "clone", "gem"})


def test_a_part_that_does_not_say_what_it_keeps_is_found() -> None:
    class Silent(Clone):
        earlier_observations = 0  # type: ignore[assignment]

    has, says = kept_of_an_earlier_phase(Silent(states=40))
    assert (has, says) == (40, 0)


# --- they combine -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pair",
    [
        pytest.param(pair, marks=() if pair in QUICK else pytest.mark.slow, id="+".join(pair))
        for pair in COMBINED
    ],
)
def test_every_pair_trains_and_goes_on_from_a_file(pair: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    schedule = CONFLICT
    # Beside packnet no average is held.
    left_out = {"anchor"} if "packnet" in pair else set()
    given = [{k: v for k, v in SMALL[name].items() if k not in left_out} for name in pair]
    model = agent(*map(make_part, pair, given), replay=MixReplayBuffer)
    live(model, 2 * PHASE, callback=SaveAt(200, path))
    assert all(bool(torch.isfinite(t).all()) for t in model.q_net.parameters())
    env = life(schedule, context=context_of(model.parts))
    loaded = ContinualDQN.load(path, env, "cpu")
    assert [part.settings for part in loaded.parts] == [part.settings for part in model.parts]
    live(loaded, 2 * PHASE - loaded.num_timesteps, reset_num_timesteps=False)
    assert loaded.num_timesteps == model.num_timesteps == 2 * PHASE
    assert not list(differences(inside(loaded), inside(model)))


@dataclass
class Said(Part):
    """Remembers what the network said of each observation when it was stored."""

    name: ClassVar[str] = "said"
    values: dict[bytes, np.ndarray] = field(default_factory=dict)

    def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
        with torch.no_grad():
            values = learner.q_net(torch.as_tensor(transitions.observations)).numpy()
        known = learner.num_timesteps > LEARNING_STARTS
        for observation, row in zip(transitions.observations, values, strict=True):
            self.values[observation.tobytes()] = row if known else np.full_like(row, np.nan)


def test_balanced_replay_moves_the_values_of_clear_along() -> None:
    """It moves transitions to other slots when a phase arrives; their values must follow."""
    said = Said()
    model = live(agent(Clear(after=0), said, replay=BalancedReplayBuffer, buffer_size=90))
    slots = model.replay.stored_slots()
    assert set(model.replay.phases[slots].tolist()) == {0, 1, 2}
    column = model.replay.columns["q_values"][slots]
    observations = model.replay.observations[slots, 0]
    expected = np.stack([said.values[observation.tobytes()] for observation in observations])
    np.testing.assert_allclose(column, expected, rtol=1e-5, atol=1e-6)
    moved = np.roll(column, 1, axis=0)
    assert not np.allclose(moved, expected, atol=1e-3, equal_nan=True)


@dataclass
class Scale(Part):
    """Not a penalty: changes what others have added."""

    name: ClassVar[str] = "scale"

    def add_gradient(self, learner: Any) -> None:
        for tensor in learner.q_net.parameters():
            tensor.grad.mul_(0.5)


@pytest.mark.parametrize("penalties", [True, False])
def test_the_order_of_penalties_does_not_matter(penalties: bool) -> None:
    parts: list[Part] = [
        EWC(lam=1.0, samples=20),
        L2(lam=0.1),
        MAS(lam=2.0, samples=20),
        SI(lam=3.0),
        OnlineEWC(lam=0.5, samples=20, fisher="policy"),
        *([] if penalties else [Scale()]),
    ]
    model = live(agent(*parts), PHASE + 40)
    sums = []
    for order in itertools.islice(itertools.permutations(parts), 0, None, 17):
        for tensor in model.q_net.parameters():
            tensor.grad = torch.full_like(tensor, 1e-3)
        for part in order:
            part.add_gradient(model)
        sums.append(torch.cat([tensor.grad.reshape(-1) for tensor in model.q_net.parameters()]))  # type: ignore[union-attr]
    same = all(torch.allclose(one, sums[0], rtol=1e-5, atol=1e-8) for one in sums)
    assert same == penalties
    assert sums[0].abs().max() > 2e-3  # they do pull


def test_lives_with_penalties_in_another_order_are_the_same() -> None:
    one = live(agent(L2(lam=0.1), EWC(lam=1.0, samples=20)), PHASE + 40)
    other = live(agent(EWC(lam=1.0, samples=20), L2(lam=0.1)), PHASE + 40)
    for a, b in zip(one.q_net.parameters(), other.q_net.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    alone = live(agent(L2(lam=0.1)), PHASE + 40)
    assert bits(alone) != bits(one)


@dataclass
class Mask(Part):
    """Freezes a random half of the weights at the end of the first phase."""

    name: ClassVar[str] = "mask"
    needs_boundaries: ClassVar[bool] = True
    restores: bool = True
    """Put the weights back after the step; else only keep them from having a gradient."""

    def __post_init__(self) -> None:
        self.frozen: list[torch.Tensor] = []
        self.kept: list[torch.Tensor] = []

    def phase_end(self, learner: Any, phase: int) -> None:
        if not self.frozen:
            for tensor in learner.q_net.parameters():
                chosen = torch.as_tensor(self.rng.random(tensor.shape) < 0.5)
                self.frozen.append(chosen)
                self.kept.append(tensor.detach()[chosen])

    def project(self, learner: Any) -> None:
        for tensor, frozen in zip(learner.q_net.parameters(), self.frozen, strict=False):
            tensor.grad[frozen] = 0

    def constrain(self, learner: Any) -> None:
        if self.restores:
            with torch.no_grad():
                for tensor, frozen, kept in zip(
                    learner.q_net.parameters(), self.frozen, self.kept, strict=False
                ):
                    tensor[frozen] = kept

    def is_frozen(self, learner: Any) -> list[bool]:
        return [
            torch.equal(tensor.detach()[frozen], kept)
            for tensor, frozen, kept in zip(
                learner.q_net.parameters(), self.frozen, self.kept, strict=True
            )
        ]


class Undone(AGEM):
    """A mistake: the step is projected where masks have put weights back already."""

    def project_update(self, learner: Any) -> None:
        pass

    def constrain(self, learner: Any) -> None:
        super().project_update(learner)


@pytest.mark.parametrize("mask_first", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "holds"), [(AGEM, True), (Undone, False)])
def test_a_hard_mask_holds_beside_a_projected_step(
    kind: type[AGEM], holds: bool, mask_first: bool
) -> None:
    mask, agem = Mask(), kind(transitions=60, batch=16)
    parts = [mask, agem] if mask_first else [agem, mask]
    model = agent(*parts, learning_rate=0.03)  # so large that steps contradict each other
    kept = []

    def note() -> None:
        if mask.frozen:
            kept.append(all(mask.is_frozen(model)))

    model.optimizer.register_step_pre_hook(lambda *_: note())
    live(model)
    # Where the mask comes last, it puts back what the projection moved after all.
    assert all(kept) == (holds or not mask_first)
    assert len(kept) == 2 * PHASE // NUM_ENVS


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize("restores", [True, False])
def test_a_hard_mask_holds_beside_a_penalty(restores: bool, optimizer: Any) -> None:
    mask = Mask(restores)
    model = live(
        agent(EWC(lam=0.1, samples=20), mask, policy={"optimizer_class": optimizer}),
        PHASE + 80,
    )
    # Adam's moments go on moving what has no gradient any more.
    holds = restores or optimizer is torch.optim.SGD
    assert all(mask.is_frozen(model)) == holds
    assert 0.3 < torch.cat([f.reshape(-1) for f in mask.frozen]).float().mean() < 0.7
    mask.frozen = [~frozen for frozen in mask.frozen]
    ewc = model.parts[0]
    assert isinstance(ewc, EWC)
    moved = [
        not torch.equal(tensor.detach()[frozen], center[frozen])
        for tensor, frozen, center in zip(
            model.q_net.parameters(), mask.frozen, ewc.center, strict=True
        )
    ]
    assert all(moved)  # the other half is free


# --- parts of others ----------------------------------------------------------------------------


@dataclass
class Noise(Part):
    """A part of somebody else: shakes the gradient."""

    name: ClassVar[str] = "noise"
    scale: float = 1e-3

    def __post_init__(self) -> None:
        self.steps = 0

    def project(self, learner: Any) -> None:
        self.steps += 1
        for tensor in learner.q_net.parameters():
            tensor.grad += self.scale * torch.as_tensor(
                self.rng.normal(size=tensor.shape).astype(np.float32)
            )

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.steps = state["steps"]


def test_a_part_of_somebody_else_trains_and_goes_on_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "agent.zip"
    model = live(agent(Noise(), EWC(lam=0.1, samples=20)), callback=SaveAt(200, path))
    assert bits(model) != bits(live(agent(EWC(lam=0.1, samples=20))))
    for env in (None, life()):
        with pytest.raises(ValueError, match=r"has a part 'noise', .* hand all parts to load"):
            ContinualDQN.load(path, env, "cpu")
    noise = Noise()
    loaded = ContinualDQN.load(path, life(), "cpu", parts=[noise, EWC(lam=0.1, samples=20)])
    assert noise.steps == (200 - LEARNING_STARTS) // NUM_ENVS
    live(loaded, LIFE - 200, reset_num_timesteps=False)
    assert not list(differences(inside(loaded), inside(model)))


def test_a_part_without_its_generator_goes_on_differently(tmp_path: Path) -> None:
    @dataclass
    class Careless(Noise):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.steps = state["steps"]

    path = tmp_path / "agent.zip"
    model = live(agent(Careless()), callback=SaveAt(200, path))
    loaded = ContinualDQN.load(path, life(), "cpu", parts=[Careless()])
    live(loaded, LIFE - 200, reset_num_timesteps=False)
    assert bits(loaded) != bits(model)


def test_a_part_more_changes_no_draw_of_the_others() -> None:
    """Each has a generator of its own, in the order of the list."""

    @dataclass
    class Idle(Part):
        name: ClassVar[str] = "idle"

        def before_update(self, learner: Any) -> None:
            self.rng.random(3)

    one, other = (live(agent(Noise(), *parts)) for parts in ([], [Idle()]))
    assert bits(one) == bits(other)


# --- beginning anew -----------------------------------------------------------------------------


@EACH_ENGINE
@pytest.mark.parametrize(
    "text",
    [
        "benna-fusi:every=40",
        "hare-tortoise:every=40",
        "reptile:every=7",
        "l2:anchor=ema",
        "ewc:anchor=ema",
    ],
)
def test_parts_begin_with_the_network_that_training_begins_with(text: str, engine: Any) -> None:
    part: Any = parse_part(text)
    other = agent(seed=1)
    model = agent(part, engine=engine, learning_rate=0.0)
    model.set_parameters(other.get_parameters())
    live(model, PHASE + 8)
    assert bits(model) == bits(other)
    if "ema" in text:
        assert all(map(torch.equal, part.average, model.q_net.parameters()))


@dataclass
class Diary(Part):
    """Notes network, moments and replay wherever they could change."""

    name: ClassVar[str] = "diary"
    needs_boundaries: ClassVar[bool] = True
    ends: list[dict[str, Any]] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    jumps: list[int] = field(default_factory=list)

    def look(self, learner: Any) -> dict[str, Any]:
        return {
            "network": copy.deepcopy(learner.q_net.state_dict()),
            "target": copy.deepcopy(learner.q_net_target.state_dict()),
            "moments": copy.deepcopy(learner.optimizer.state_dict()["state"]),
            "size": learner.replay.size(),
            "pending": learner.replay.accumulator.pending,
            "step": learner.num_timesteps,
        }

    def phase_end(self, learner: Any, phase: int) -> None:
        self.ends.append(self.look(learner))

    def phase_start(self, learner: Any, phase: int) -> None:
        self.starts.append(self.look(learner))

    def before_update(self, learner: Any) -> None:
        now = copy.deepcopy(learner.q_net.state_dict())
        if self.steps and list(differences(now, self.last)):
            self.jumps.append(learner.num_timesteps)

    def after_update(self, learner: Any) -> None:
        self.last = copy.deepcopy(learner.q_net.state_dict())
        state = learner.optimizer.state_dict()["state"]
        self.steps.append(int(state[0]["step"]))


WHICH = [
    pytest.param(flags, marks=() if sum(flags) == 1 else pytest.mark.slow)
    for flags in itertools.product([True, False], repeat=3)
    if any(flags)
]
"""Of network, optimiser and replay; each alone is quick."""


@pytest.fixture(scope="module")
def plain() -> Diary:
    """Of a life without any reset; to be read only."""
    diary = Diary()
    live(agent(diary, buffer_size=4 * LIFE))
    return diary


@pytest.mark.parametrize("flags", WHICH)
def test_reset_begins_anew_at_each_phase_and_only_there(
    flags: tuple[bool, bool, bool], plain: Diary
) -> None:
    network, optimizer, replay = flags
    diary = Diary()
    live(agent(Reset(network, optimizer, replay), diary, buffer_size=4 * LIFE))
    assert not list(differences(diary.starts[0], plain.starts[0]))  # the first phase
    assert not list(differences(diary.ends[0], plain.ends[0]))
    for before, after in zip(diary.ends, diary.starts[1:], strict=True):
        assert bool(list(differences(before["network"], after["network"]))) == network
        assert bool(list(differences(before["target"], after["target"]))) == network
        if network:
            assert not list(differences(after["network"], after["target"]))
        assert (after["moments"] == {}) == optimizer
        assert optimizer or not list(differences(before["moments"], after["moments"]))
        assert before["size"] == (PHASE if replay else before["step"])
        assert after["size"] == (0 if replay else before["size"])
        assert before["pending"] == after["pending"] == 0
    if network:  # each phase has a network of its own
        first, second, third = (start["network"] for start in diary.starts)
        for one, other in itertools.combinations((first, second, third), 2):
            assert list(differences(one, other))
    # Nowhere else does anything jump.
    assert len(diary.jumps) == (2 if network else 0)
    fallen = sum(b != a + 1 for a, b in itertools.pairwise(diary.steps))
    assert fallen == (2 if optimizer else 0)
    # Emptied replay fills up to a batch of 16 before it is learnt from again: the third step of the
    # four environments completes the first transitions, unless an episode ends, the sixth the last.
    missed = len(plain.steps) - len(diary.steps)
    assert 6 <= missed <= 10 if replay else missed == 0


def test_fresh_networks_follow_from_the_seed_alone() -> None:
    def fresh(seed: int, gradient_steps: int, dropout: float) -> Any:
        diary = Diary()
        policy = {"dropout": dropout, "layer_norm": True}
        live(agent(Reset(), diary, seed=seed, gradient_steps=gradient_steps, policy=policy), 130)
        return diary.starts[1]["network"]

    # Dropout draws from the global generator, the more the more is learnt.
    assert not list(differences(fresh(1, 1, 0.2), fresh(1, 3, 0.5)))
    assert list(differences(fresh(1, 1, 0.2), fresh(2, 1, 0.2)))


def test_drawing_a_network_leaves_the_global_generator_alone() -> None:
    model = live(agent(), PHASE)
    before, drawn = bits(model), torch.get_rng_state()
    model.reinitialise(network=True, optimizer=True, replay=True)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert bits(model) != before


class Lazy(Reset):
    """A mistake: the old moments drive the new network."""

    def phase_start(self, learner: Any, phase: int) -> None:
        if phase > 0:
            learner.reinitialise(True, False, True)


def test_old_moments_would_be_noticed() -> None:
    diary = Diary()
    live(agent(Lazy(), diary), 2 * PHASE)
    assert diary.starts[1]["moments"] != {}


def test_single_examples_combine_under_plain_sgd() -> None:
    parts = [MER(algorithm="1", memories=2), EWC(lam=0.01, samples=20)]
    sgd = {"optimizer_class": torch.optim.SGD}
    model = live(agent(*parts, policy=sgd), 2 * PHASE)
    assert model._n_updates > PHASE
    with pytest.raises(ValueError, match="mer: algorithm 1 learns single examples by plain SGD"):
        agent(MER(algorithm="1"))
