"""Tour plays its games as they are, bit for bit; what would change nothing in them is refused."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.envs import (
    ArcadeEnv,
    ArcadeVectorEnv,
    PhaseSpec,
    Schedule,
    Tunable,
    catcher,
    flappy_bird,
    kernels,
    make_game,
    shipped,
    tour,
)
from continual_arcade.envs.compiling import plain, rebind
from continual_arcade.envs.core import Core
from continual_arcade.envs.env_specs import as_tunables, plain_tunables
from continual_arcade.envs.kernels import SingleKernels
from continual_arcade.envs.oracles import tour as oracles
from continual_arcade.envs.phased_env import PhasedEnv

FLAP, LEFT, RIGHT, NOOP = range(4)
BARE = ("FlappyBird", "Catcher")
EVERY = pytest.mark.parametrize("which", [0, 1], ids=BARE)
AS = (
    {FLAP: 0, LEFT: 1, RIGHT: 1, NOOP: 1},
    {FLAP: 2, LEFT: 0, RIGHT: 1, NOOP: 2},
)
"""What each action is in each of the games."""
WIDTHS = (8, 4)

Track = list[Any]


def played(
    core: Core,
    loops: SingleKernels,
    params: list[float],
    actions: list[int],
    word: int,
    width: int,
) -> Iterator[Any]:
    """Play a single game from a random state, and yield all that anybody sees of it."""
    core.seed(np.array([word], np.uint64))
    address, row = core.blocks.ctypes.data, np.array([params])
    loops.reset(address, row, 0.0)
    yield core.observation[:width].tolist()
    for action in actions:
        reward, over, score = loops.step(address, action)
        yield reward, over, score, core.observation[:width].tolist()
        if over:
            loops.reset(address, row, 0.0)
            yield core.observation[:width].tolist()


def single(game: str) -> Core:
    return Core(make_game(game), 1, lanes=1)


def as_bare(which: int, params: Mapping[str, float], actions: list[int], word: int) -> Track:
    """What the game itself does; its actions are translated here."""
    core = single(BARE[which])
    row = [params.get(name, kind.default) for name, kind in core.game.tunables.items()]
    translated = [AS[which][action] for action in actions]
    return list(played(core, core.single, row, translated, word, WIDTHS[which]))


def in_tour(
    which: int,
    params: Mapping[str, float],
    actions: list[int],
    word: int,
    loops: Callable[[Core], SingleKernels] = lambda core: core.single,
) -> Track:
    core = single("Tour")
    tunables = core.game.tunables.items()
    row = [{"which_game": which, **params}.get(name, kind.default) for name, kind in tunables]
    return list(played(core, loops(core), row, actions, word, WIDTHS[which]))


@st.composite
def params_of(draw: Any, which: int) -> dict[str, float]:
    tunables = make_game(BARE[which]).tunables
    names = draw(st.lists(st.sampled_from([*tunables]), unique=True, max_size=3))
    return {
        name: float(draw(st.integers(int(tunables[name].low) + 1, int(tunables[name].high))))
        if tunables[name].high > 2
        else draw(st.floats(tunables[name].low, tunables[name].high))
        for name in names
    }


@EVERY
@settings(max_examples=40)
@given(data=st.data(), word=st.integers(0, 2**64 - 1), seed=st.integers(0, 999))
def test_each_game_is_the_bare_one(which: int, data: Any, word: int, seed: int) -> None:
    params = data.draw(params_of(which))
    rng = np.random.default_rng(seed)
    actions = rng.choice(4, size=250, p=[0.1, 0.3, 0.3, 0.3]).tolist()
    assert in_tour(which, params, actions, word) == as_bare(which, params, actions, word)


def uncompiled(names: Mapping[str, Any]) -> dict[str, Any]:
    """Everything in a module, its compiled functions as plain ones that call each other."""
    found = dict(names)
    for name, value in names.items():
        function = plain(value) if callable(value) else None
        if isinstance(function, FunctionType) and function is not value:
            inner = found
            if function.__module__ != names["__name__"]:
                inner = uncompiled(function.__globals__)
            found[name] = FunctionType(function.__code__, inner, name)
    return found


def mutant(*pieces: tuple[str, str]) -> Callable[[Core], SingleKernels]:
    """The code that moves Tour, as plain Python, with pieces of its rules replaced."""
    source = Path(str(tour.__file__)).read_text("utf-8")
    for old, new in pieces:
        assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times"
        source = source.replace(old, new)
    copy = ModuleType("mutant_of_tour")
    exec(compile(source, str(tour.__file__), "exec"), copy.__dict__)
    names = uncompiled(copy.__dict__)
    for module in (flappy_bird, catcher):
        names[module.__name__.rpartition(".")[2]] = SimpleNamespace(**uncompiled(vars(module)))

    def loops(core: Core) -> SingleKernels:
        cell = core.blocks.view(np.recarray)[0]
        given = {**names, "num_actions": 4, "cell_at": lambda _: cell}
        return SingleKernels(
            reset=rebind(kernels._reset_single, given), step=rebind(kernels._step_single, given)
        )

    return loops


def notices(*pieces: tuple[str, str]) -> bool:
    """Whether the comparison with the bare games finds a difference."""
    rng = np.random.default_rng(0)
    actions = rng.choice(4, size=150, p=[0.1, 0.3, 0.3, 0.3]).tolist()
    with np.errstate(over="ignore"):  # random words wrap around
        return any(
            in_tour(which, params, actions, 7, mutant(*pieces))
            != as_bare(which, params, actions, 7)
            for which, params in enumerate(({"gap": 150.0}, {"friction": 0.3}))
        )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("action - LEFT", "action - RIGHT"),
        ("_FIRST_OF_CATCHER = 1 + len", "_FIRST_OF_CATCHER = len"),
        ("params[:, 1:]", "params"),
        ("catcher.settle(block", "flappy_bird.settle(block"),
        (
            "catcher.begin(block",
            "catcher.draw_pellet(block, lane, constants.catcher)\n    catcher.begin(block",
        ),
        ("catcher.observe(block", "flappy_bird.observe(block"),
    ],
)
def test_a_planted_error_is_found(old: str, new: str) -> None:
    assert notices((old, new))


def test_without_an_error_nothing_is_found() -> None:
    assert not notices()


def test_features_say_which_game_it_is_and_are_filled_up_with_zeros() -> None:
    env = ArcadeEnv("Tour", "conflict", 0)
    assert env.reset(seed=0)[0][8:].tolist() == [1.0, 0.0]
    env = ArcadeEnv("Tour", "conflict", 1)
    assert env.reset(seed=0)[0][4:].tolist() == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    bare = [make_game(name).feature_bounds() for name in BARE]
    low, high = make_game("Tour").feature_bounds()
    for column in range(8):
        here = [each for each in bare if column < len(each[0])]
        lows, highs = zip(*((each[0][column], each[1][column]) for each in here), strict=True)
        assert (low[column], high[column]) == (min(lows), max(highs))


@pytest.mark.parametrize("count", [3, 70])
def test_a_batch_of_both_games_is_the_bare_ones(count: int) -> None:
    """In one block games are alike, and mixed; what is not played is never moved."""
    env = ArcadeVectorEnv("Tour", count, autoreset_mode="Disabled")
    bare = [ArcadeVectorEnv(name, count, autoreset_mode="Disabled") for name in BARE]
    rng = np.random.default_rng(1)
    for turn, games in enumerate((np.zeros(count), np.arange(count) % 2, np.ones(count))):
        env.reset(seed=turn, options={"params": {"which_game": games}})
        for one in bare:
            one.reset(seed=turn)
        running = np.ones(count, np.bool_)
        while running.any():
            actions = rng.choice(4, size=count, p=[0.1, 0.3, 0.3, 0.3])
            seen, rewards, over, *_, infos = env.step(actions)
            for which, one in enumerate(bare):
                own = [AS[which][action] for action in actions.tolist()]
                expected = one.step(np.array(own))
                here = running & (games == which)
                width = WIDTHS[which]
                np.testing.assert_array_equal(seen[here, :width], expected[0][here])
                np.testing.assert_array_equal(rewards[here], expected[1][here])
                np.testing.assert_array_equal(over[here], expected[2][here])
                np.testing.assert_array_equal(infos["score"][here], expected[4]["score"][here])
                if expected[2].any():
                    one.reset(options={"reset_mask": expected[2]})
            running &= ~over
            if over.any():
                env.reset(options={"reset_mask": over, "params": {"which_game": games}})


@pytest.mark.parametrize("which", [0, 1])
def test_the_action_stays_what_was_chosen(which: int) -> None:
    """Also in the lanes that are no environment, and are given none."""
    env = ArcadeVectorEnv("Tour", 5)
    env.reset(seed=0, options={"params": {"which_game": which}})
    env.core.blocks["action"][0, 5:] = 2.0
    for action in range(4):
        env.step(np.full(5, action))
        assert env.core.blocks["action"][0].tolist() == [action] * 5 + [2.0] * 59


def test_when_the_game_changes_the_next_begins_as_it_would_alone() -> None:
    schedule = shipped("conflict", make_game("Tour")).with_steps(30)
    env = ArcadeEnv("Tour", schedule)
    env.reset(seed=5)
    truncated = False
    while not truncated:
        last, _, terminated, truncated, info = env.step(NOOP)
        if terminated and not truncated:
            env.reset()
    assert last[8:].tolist() == [1.0, 0.0]  # of the game that was played
    assert info["phase"] == 0
    bare = ArcadeEnv("Catcher")
    bare.reset(seed=0)
    bare.core.seed(env.core.field("random"))
    seen, info = env.reset()
    np.testing.assert_array_equal(seen[:4], bare.reset()[0])
    assert info["phase_changed"]


def test_the_oracle_searches_only_where_a_bird_flies() -> None:
    env = ArcadeVectorEnv("Tour", 4)
    env.reset(seed=0, options={"params": {"which_game": np.array([0, 1, 0, 1])}})
    guide = oracles.Guide(env.core)
    for _ in range(20):
        actions = guide()
        assert set(actions[[0, 2]].tolist()) <= {FLAP, NOOP}
        assert set(actions[[1, 3]].tolist()) <= {LEFT, RIGHT, NOOP}
        env.step(actions)
    plans = guide._search._planned
    assert (plans[[0, 2]] > 40).all()
    assert (plans[[1, 3]] < 1).all()


# What would change nothing.

NOTHING = (
    "push = 5 acts only where which_game = 1, and here it is 0: leave push out, or set "
    "which_game = 1"
)
BIRD, CATCHER = {"which_game": 0.0}, {"which_game": 1.0}


def phases(*params: dict[str, float], until: dict[str, float] | None = None) -> Schedule:
    return Schedule(
        "s",
        tuple(
            PhaseSpec(name=f"{i}", steps=9, params=each, until=until)
            for i, each in enumerate(params)
        ),
    )


@pytest.mark.parametrize("kind", [ArcadeEnv, ArcadeVectorEnv])
def test_a_phase_with_a_parameter_of_the_other_game_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match=f"phase '1' of schedule 's': {NOTHING}"):
        kind(
            "Tour",
            schedule=phases({"which_game": 1.0, "push": 5.0}, {"which_game": 0.0, "push": 5.0}),
        )
    with pytest.raises(ValueError, match=NOTHING):
        kind("Tour", schedule=phases({"push": 5.0}))
    with pytest.raises(ValueError, match="gap = 90 acts only where which_game = 0, and"):
        kind("Tour", schedule=phases({"which_game": 1.0, "gap": 90.0}))
    moves = phases({"which_game": 0.0, "push": 13.44}, until={"which_game": 0.0, "push": 5.0})
    with pytest.raises(ValueError, match=NOTHING):
        kind("Tour", schedule=moves)
    kind("Tour", schedule=phases({"which_game": 0.0, "push": 13.44}))


@pytest.mark.parametrize("kind", [ArcadeEnv, ArcadeVectorEnv])
def test_a_pin_that_would_do_nothing_is_refused_and_changes_nothing(kind: Any) -> None:
    env = kind(
        "Tour",
        schedule=phases({**CATCHER, "friction": 0.2}, {**BIRD, "gap": 90.0}),
    )
    env.reset(seed=0)
    before = repr(env.state_dict())
    for options in (
        {"params": {"gap": 90.0}},
        {"params": {"which_game": 0.0}},  # the phase sets friction
        {"params": {"push": 5.0}, "phase": 1},
    ):
        with pytest.raises(ValueError, match="acts only where which_game ="):
            env.reset(options=options)
    with pytest.raises(ValueError, match="acts only where which_game = 0"):
        env.reset(seed=1, options={"params": {"gap": 90.0}})
    assert repr(env.state_dict()) == before
    env.reset(options={"params": {"push": 5.0}})
    env.reset(options={"params": {"scroll": 5.0}, "phase": 1})
    env.reset(options={"params": {"which_game": 0.0, "gap": 90.0, "friction": 0.1}})
    # What counts is the phase that the reset begins in, not that of the clock before.
    env.clock.go_to(12)
    with pytest.raises(ValueError, match=NOTHING):
        env.reset(options={"params": {"push": 5.0}})
    env.reset(seed=0, options={"params": {"push": 5.0}})


def test_only_what_begins_in_a_batch_is_asked() -> None:
    env = ArcadeVectorEnv("Tour", 3)
    env.reset(seed=0)
    which = np.array([0.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="push = 5 acts only where which_game = 1"):
        env.reset(options={"params": {"which_game": which, "push": 5.0}})
    env.reset(options={"params": {"which_game": which, "push": 5.0}, "reset_mask": which == 1.0})
    assert env.core.field("push").tolist() == [13.440000000000001, 5.0, 5.0]


def tunable(**changes: Any) -> Tunable:
    usual = {"default": 0.0, "low": 0.0, "high": 9.0, "unit": "", "harder": "either", "about": "x"}
    return Tunable(**{**usual, **changes})


def phased(tunables: Any, *params: dict[str, float], **kwargs: Any) -> PhasedEnv:
    env: Any = gym.make("CartPole-v1")
    return PhasedEnv(env, phases(*params, **kwargs), tunables, lambda env, params: None)


def test_any_environment_refuses_what_would_do_nothing() -> None:
    kinds = {"kind": tunable(integer=True), "size": tunable(acts_where={"kind": 2.0})}
    with pytest.raises(ValueError, match="size = 3 acts only where kind = 2, and here it is 0"):
        phased(kinds, {"size": 3.0})
    env = phased(kinds, {"kind": 2.0}, {"kind": 1.0})
    env.reset(seed=0, options={"params": {"size": 3.0}})
    env.clock.go_to(9)
    step = env.clock.step
    with pytest.raises(ValueError, match="size = 3 acts only where kind = 2, and here it is 1"):
        env.reset(options={"params": {"size": 3.0}})
    assert env.clock.step == step
    # On the way from one end to the other, too.
    kinds = {"kind": tunable(), "size": tunable(acts_where={"kind": 2.0})}
    with pytest.raises(ValueError, match="size = 2 acts only where kind = 2, and here it is 1"):
        phased(kinds, {"kind": 2.0, "size": 4.0}, until={"kind": 0.0, "size": 0.0})
    assert as_tunables(json.loads(json.dumps(plain_tunables(kinds)))) == kinds


def test_a_parameter_may_act_everywhere_but_where_another_has_a_value() -> None:
    kinds = {"kind": tunable(integer=True), "size": tunable(acts_unless={"kind": 0.0})}
    with pytest.raises(ValueError, match="size = 3 does not act where kind = 0: leave size out"):
        phased(kinds, {"size": 3.0})
    env = phased(kinds, {"kind": 2.0, "size": 3.0}, {"kind": 0.0})
    env.reset(seed=0, options={"params": {"kind": 1.0}})
    with pytest.raises(ValueError, match="size = 3 does not act where kind = 0"):
        env.reset(options={"params": {"kind": 0.0}})
    assert as_tunables(json.loads(json.dumps(plain_tunables(kinds)))) == kinds
    for wrong, message in (({"knd": 2.0}, "acts_unless: unknown tunable"), ({"kind": 12.0}, "12")):
        with pytest.raises(ValueError, match=message):
            phased({"kind": tunable(), "size": tunable(acts_unless=wrong)}, {})


def test_a_parameter_may_leave_values_out() -> None:
    kinds = {"size": tunable(excluded=(2.0, 4.0), why_excluded="they are even")}
    for value in (2.0, 4.0):
        with pytest.raises(ValueError, match=f"size = {value:g} is no value of it: they are even"):
            phased(kinds, {"size": value})
    assert phased(kinds, {"size": 3.0}).reset()[1]["params"] == {"size": 3.0}
    assert as_tunables(json.loads(json.dumps(plain_tunables(kinds)))) == kinds
    with pytest.raises(ValueError, match="default = 4 is no value of it"):
        tunable(default=4.0, excluded=(4.0,))
    with pytest.raises(ValueError, match=r"default = 0\.5 must be a whole number"):
        tunable(default=0.5, integer=True)


@pytest.mark.parametrize(
    ("acts_where", "message"),
    [
        ({"knd": 2.0}, "tunable 'size', acts_where: unknown tunable 'knd': did you mean 'kind'"),
        ({"kind": 12.0}, "tunable 'size', acts_where: kind = 12"),
        ({"kind": "x"}, "kind = 'x' must be a number"),
    ],
)
def test_a_condition_that_never_holds_is_refused(acts_where: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        phased({"kind": tunable(), "size": tunable(acts_where=acts_where)}, {})


def test_whole_numbers_do_not_move() -> None:
    """A run would stop at the first episode with a fraction: it is refused before."""
    with pytest.raises(ValueError, match="which_game moves from 0 until 1, and only whole"):
        ArcadeEnv("Tour", phases({"which_game": 0.0}, until={"which_game": 1.0}))
    with pytest.raises(ValueError, match="paddle_width moves from 64 until 192"):
        ArcadeEnv("Catcher", phases({"paddle_width": 64.0}, until={"paddle_width": 192.0}))
    rests = {"paddle_width": 64.0, "friction": 0.1}
    ArcadeEnv("Catcher", phases(rests, until={**rests, "friction": 0.3}))
