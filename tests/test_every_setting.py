"""Every setting has one check, of type and range: what it is not is refused by name.

Of each setting the type says what is right; here everything else is tried.
"""

import datetime
import inspect
import math
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import DQN

from continual_arcade.agents import METHODS, ContinualDQN, DQNSettings, Exploration, Method
from continual_arcade.agents.arguments import RULES
from continual_arcade.agents.methods.catalogue import PARTS
from continual_arcade.agents.networks import ContinualPolicy
from continual_arcade.agents.replay import FIFOReplayBuffer, MixReplayBuffer
from continual_arcade.envs import (
    ArcadeEnv,
    ArcadeVectorEnv,
    PhaseSpec,
    Schedule,
    Tunable,
    make_game,
    shipped,
)
from continual_arcade.envs.checks import (
    COUNTS_WITH,
    Array,
    ByName,
    Each,
    Number,
    OneOf,
    OrNone,
    Whole,
    WrongTypeError,
    check_counts,
    check_fields,
    rules_of,
)
from continual_arcade.envs.messages import shown
from continual_arcade.evaluation import EvaluationSettings, Evaluator, Timetable

SHRINK = shipped("shrink", make_game("FlappyBird"))
TUNABLE = {
    "default": 1.0,
    "low": 0.5,
    "high": 2.0,
    "unit": "px",
    "harder": "lower",
    "about": "it",
    "integer": False,
    "too_low": "",
    "too_high": "",
}
# Every dataclass of settings, and what it cannot be made without.
SETTINGS: dict[Any, dict[str, Any]] = {
    DQNSettings: {},
    Exploration: {},
    Method: {"name": "x", "text": "y"},
    EvaluationSettings: {},
    Timetable: {"schedule": SHRINK},
    Tunable: TUNABLE,
    PhaseSpec: {"name": "x", "steps": 10},
    Schedule: {"name": "x", "phases": (PhaseSpec(name="a", steps=5),)},
    **{part: {} for part in PARTS.values()},
}
NEVER: tuple[Any, ...] = (
    *(datetime.date(1979, 5, 27), object(), 1j, b"1", {"a": 1}, np.zeros(3), lambda: 1),
    *(np.array(["1"]), float, 10**5_000, -(10**5_000)),
)
"""What no number, truth value or word is."""
WRONG: dict[Any, tuple[Any, ...]] = {
    int: (
        *NEVER,
        True,
        np.True_,
        "3",
        "",
        2.5,
        2.0,
        math.nan,
        math.inf,
        [3],
        None,
        -(2**64),
        2**64,
    ),
    float: (*NEVER, True, np.False_, "0.5", "nan", math.nan, [0.5], None, math.inf, -math.inf),
    bool: (*NEVER, "no", "true", 0, 1, 1.0, None, [], np.int64(1)),
    str: (*NEVER, 5, None, True, ["x"], 0.5),
}
UNBOUNDED = {(Tunable, "low"), (Tunable, "high"), (PARTS["den"], "drift")}
"""Numbers that may be infinite."""


def kinds(hint: Any) -> Iterator[Any]:
    """The plain types that a type of a field is made of."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        yield from kinds(arguments[0])
    elif origin is Literal:
        yield Literal
    elif origin in (Union, types.UnionType):
        for inner in arguments:
            yield from kinds(inner)
    else:
        yield origin or hint


def every_field() -> list[Any]:
    return list(_every_field())


def _every_field() -> Iterator[Any]:
    for kind, needed in SETTINGS.items():
        hints = get_type_hints(kind, include_extras=True)
        for field in fields(kind):
            if field.init:
                name = f"{kind.__name__}.{field.name}"
                yield pytest.param(kind, needed, field, hints[field.name], id=name)


def is_infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)


def usual(needed: dict[str, Any], field: Field[Any]) -> Any:
    if field.name in needed:
        return needed[field.name]
    return field.default_factory() if field.default is MISSING else field.default  # type: ignore[misc]


def refuses(make: Callable[..., Any], name: str, wrong: Any, /, **others: Any) -> None:
    """See that something is refused, by an error that names the setting, and briefly."""
    with pytest.raises((ValueError, TypeError)) as caught:
        make(**{**others, name: wrong})
    said = str(caught.value)
    # A word may be none of those that are known, or one that the game does not have.
    assert name.lower() in said.lower(), f"{shown(wrong)}: {said}"
    assert len(said) < 400, said


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_field_has_a_rule(kind: Any) -> None:
    assert rules_of(kind).keys() == {field.name for field in fields(kind) if field.init}


@pytest.mark.parametrize(("kind", "needed", "field", "hint"), every_field())
def test_what_a_setting_is_not(
    kind: Any, needed: dict[str, Any], field: Field[Any], hint: Any
) -> None:
    found = list(kinds(hint))
    may_be_none = type(None) in found
    plain = next(each for each in found if each is not type(None))
    wrong: list[Any] = list(WRONG.get(plain, (*NEVER, 5, True, "x")))
    if plain is Literal:
        wrong = [*WRONG[str], "nonsense", ""]
    if plain in (dict, Mapping):
        wrong = [each for each in wrong if not isinstance(each, dict)]
    if plain is tuple:  # an array is a list, too
        wrong = [each for each in wrong if not isinstance(each, np.ndarray)]
    if (kind, field.name) in UNBOUNDED:
        wrong = [each for each in wrong if not is_infinite(each)]
    for each in wrong:
        if not (each is None and may_be_none):
            refuses(kind, field.name, each, **needed)


@pytest.mark.parametrize(("kind", "needed", "field", "hint"), every_field())
def test_numbers_of_numpy_are_as_good(
    kind: Any, needed: dict[str, Any], field: Field[Any], hint: Any
) -> None:
    value = usual(needed, field)
    given: list[Any] = []
    if type(value) is bool:
        given = [np.bool_(value)]
    elif type(value) is int:
        given = [np.int64(value), np.uint32(value), np.array(value)]
    elif type(value) is float:
        given = [np.float64(value), np.array(value)]
    elif isinstance(value, str):
        given = [np.str_(value)]
    for each in given:
        made = getattr(kind(**{**needed, field.name: each}), field.name)
        assert (type(made), made) == (type(value), value)


@pytest.mark.parametrize("kind", [*PARTS.values(), DQNSettings, EvaluationSettings])
def test_numbers_out_of_range(kind: Any) -> None:
    for name, rule in rules_of(kind).items():
        rule = getattr(rule, "rule", rule)
        if isinstance(rule, Whole):
            assert rule.least in (0, 1)
            refuses(kind, name, rule.least - 1)
            refuses(kind, name, rule.most + 1)
        elif isinstance(rule, Number):
            refuses(kind, name, -1e-9)
            for limit in (rule.high, rule.below):
                if limit not in (None, math.inf):
                    refuses(kind, name, limit * (1 + 1e-9))


def test_lists_and_their_items() -> None:
    for wrong in ("64", 64, {"a": 1}, None):
        refuses(DQNSettings, "hidden", wrong)
    for item in (0, -1, 2.5, True, "8", None, 10**400):
        refuses(DQNSettings, "hidden", (64, item))
    assert DQNSettings(hidden=[8, np.int64(4)]).hidden == (8, 4)  # type: ignore[arg-type]
    for prior in ("ab", 5, [0.5, "0.5"], [0.5, True], [2.0, -1.0], [math.nan, 1.0], [[1.0]], []):
        refuses(Exploration, "prior", prior)
    for parts in ("ewc", [PARTS["ewc"]], [5], None):
        refuses(Method, "parts", parts, name="x", text="y")
    for phases in ("x", [5], [{}], None):
        refuses(Schedule, "phases", phases, name="x")


@pytest.mark.parametrize("value", ["90", True, [90], {"a": 1}, None, 10**400, math.nan, math.inf])
@pytest.mark.parametrize("where", ["params", "until"])
def test_values_of_a_schedule(value: Any, where: str) -> None:
    params = {"params": {"gap": 90}, "until": {"gap": 90}}
    with pytest.raises(ValueError, match=r"phase 'a': gap = .* must be"):
        PhaseSpec(name="a", steps=5, **{**params, where: {"gap": value}})  # type: ignore[arg-type]
    phase = {"name": "a", "steps": 5, **params, where: {"gap": value}}
    with pytest.raises(ValueError, match=r"phase 'a': gap = .* must be"):
        ArcadeEnv("FlappyBird", {"format": 1, "name": "x", "phases": [phase]})
    for env in (ArcadeEnv("FlappyBird"), ArcadeVectorEnv("FlappyBird", 2)):
        with pytest.raises((ValueError, TypeError), match="gap"):
            env.reset(options={"params": {"gap": value}})  # type: ignore[attr-defined]


def test_a_life_may_not_be_longer_than_numbers_are() -> None:
    long = tuple(PhaseSpec(name=str(i), steps=2**52) for i in range(3))
    with pytest.raises(ValueError, match="the longest has"):
        Schedule("x", long)


# --- arguments of functions and classes -----------------------------------------------------------


def agent(**kwargs: Any) -> ContinualDQN:
    return ContinualDQN("MlpPolicy", None, device="cpu", _init_setup_model=False, **kwargs)


def memory(kind: Any = FIFOReplayBuffer, **kwargs: Any) -> Any:
    space = gym.spaces.Box(-1, 1, (2,))
    given = {"buffer_size": 50, **kwargs}
    return kind(observation_space=space, action_space=gym.spaces.Discrete(2), device="cpu", **given)


def mix(**kwargs: Any) -> Any:
    return memory(MixReplayBuffer, **kwargs)


def policy(**kwargs: Any) -> Any:
    spaces = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)
    return ContinualPolicy(*spaces, lambda _: 0.1, net_arch=[2], **kwargs)


def evaluator(**kwargs: Any) -> Any:
    return Evaluator("FlappyBird", **{"schedule": SHRINK, **kwargs})


def vector(**kwargs: Any) -> Any:
    return ArcadeVectorEnv("FlappyBird", **kwargs)


def single(**kwargs: Any) -> Any:
    return ArcadeEnv("FlappyBird", **kwargs)


def catcher(**kwargs: Any) -> Any:
    return make_game("Catcher", **kwargs)


ARGUMENTS: dict[Callable[..., Any], dict[str, Any]] = {
    agent: {
        "learning_rate": (float, callable),
        **dict.fromkeys(("buffer_size", "learning_starts", "batch_size", "n_steps"), int),
        **dict.fromkeys(("gradient_steps", "target_update_interval", "callback_every"), int),
        **dict.fromkeys(("stats_window_size", "verbose", "train_freq"), int),
        **dict.fromkeys(("tau", "gamma", "exploration_fraction", "exploration_initial_eps"), float),
        **dict.fromkeys(("exploration_final_eps", "max_grad_norm"), float),
        **dict.fromkeys(("optimize_memory_usage", "double_q"), bool),
        **dict.fromkeys(("engine",), str),
    },
    memory: {
        **dict.fromkeys(("buffer_size", "n_envs", "n_steps", "seed"), int),
        "gamma": float,
        "handle_timeout_termination": bool,
        "optimize_memory_usage": bool,
    },
    mix: {"fifo_size": (int, None), "long_term_fraction": float},
    policy: {"layer_norm": bool, "dropout": float},
    evaluator: dict.fromkeys(("episodes", "max_steps", "first_seed"), int),
    vector: {"num_envs": int, "max_episode_steps": (int, None), "hud": bool},
    single: {"hud": bool},
    catcher: {"lives": int},
    SHRINK.interleaved: {"turn": int},
    SHRINK.with_steps: {"steps": int},
}


@pytest.mark.parametrize(
    ("make", "name", "kind"),
    [
        pytest.param(make, name, kind, id=f"{make.__name__}.{name}")
        for make, arguments in ARGUMENTS.items()
        for name, kind in arguments.items()
    ],
)
def test_what_an_argument_is_not(make: Callable[..., Any], name: str, kind: Any) -> None:
    kind, *also = kind if isinstance(kind, tuple) else (kind,)
    for wrong in WRONG[kind]:
        is_right = (None in also and wrong is None) or (callable in also and callable(wrong))
        is_right |= name == "max_grad_norm" and is_infinite(wrong) and wrong > 0
        if not is_right:
            refuses(make, name, wrong)


def test_the_parents_arguments_all_have_a_rule() -> None:
    known = inspect.signature(DQN.__init__).parameters.keys()
    assert RULES.keys() == known - {"self", "policy", "env", "device", "_init_setup_model"}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("seed", ("1", -1, 2**32, 1.0, True, [1])),
        ("replay_buffer_class", ("fifo", 5, dict, FIFOReplayBuffer.__init__)),
        ("replay_buffer_kwargs", ([], "x", 5)),
        ("policy_kwargs", ([], "x", 5)),
        ("tensorboard_log", (5, ["x"])),
        ("exploration", ("global", 0.1, Exploration)),
        ("parts", (5, {"ewc": 1})),
        (
            "train_freq",
            ((1,), (1, "steps"), ("1", "step"), (2**62, "episode"), (1, 2, 3), [True, 1]),
        ),
        ("verbose", (-1, "x")),
        ("max_grad_norm", (0, -1, math.nan)),
        ("gradient_steps", (-2, 2**62)),
        ("learning_rate", (-0.1, 1e31, math.inf)),
    ],
)
def test_arguments_that_are_no_numbers(name: str, values: tuple[Any, ...]) -> None:
    for wrong in values:
        refuses(agent, name, wrong)


def test_what_stable_baselines3_takes_is_taken() -> None:
    """Without extras it is the parent, and so are its arguments."""
    for right in (
        {"gradient_steps": -1},
        {"max_grad_norm": math.inf},
        {"train_freq": (1, "episode")},
        {"learning_rate": lambda progress: 0.1 * progress},
        {"learning_rate": 0},
        {"seed": np.int64(3), "batch_size": np.int32(4), "gamma": np.float32(0.5)},
        {"policy_kwargs": types.MappingProxyType({"net_arch": [4]})},
    ):
        model = agent(**right)
        for name, value in right.items():
            assert getattr(model, name) == value
            assert not isinstance(getattr(model, name), np.generic)


@pytest.mark.parametrize(
    "options", [5, "params", [("params", {})], {"params": 5}, {"params": ["gap"]}]
)
def test_options_of_a_reset_that_are_no_table(options: Any) -> None:
    for env in (ArcadeEnv("FlappyBird"), ArcadeVectorEnv("FlappyBird", 2)):
        with pytest.raises((ValueError, TypeError), match=r"options|params"):
            env.reset(options=options)  # type: ignore[attr-defined]


def test_a_method_whose_settings_there_are_not() -> None:
    from continual_arcade.agents import build_agent

    method = Method("mine", "", settings={"learning_rat": 0.1})
    with pytest.raises(ValueError, match="'learning_rat': did you mean 'learning_rate'"):
        build_agent("FlappyBird", SHRINK, method=method)
    assert METHODS["ewc"].settings


# --- the rules themselves -------------------------------------------------------------------------


def test_errors_of_type_are_of_both_kinds() -> None:
    """Whoever reads a file expects ValueError, and Python's users expect TypeError."""
    assert issubclass(WrongTypeError, ValueError)
    assert issubclass(WrongTypeError, TypeError)
    with pytest.raises(WrongTypeError):
        Whole()("x", "3")
    with pytest.raises(ValueError, match="x = 5 must be a whole number") as caught:
        Whole(0, 4)("x", 5)
    assert not isinstance(caught.value, WrongTypeError)


@pytest.mark.parametrize(
    ("rule", "wrong", "said"),
    [
        (Number(), math.nan, "x = nan must be finite"),
        (Number(0), -1, "x = -1 must be finite and at least 0"),
        (Number(0, 1), 2, "x = 2 must be from 0 to 1"),
        (Number(0, below=1), 1, "x = 1 must be at least 0 and below 1"),
        (Number(above=0), 0, "x = 0 must be positive and finite"),
        (Number(above=2, high=3), 2, "x = 2 must be above 2 and at most 3"),
        (Number(finite=False), math.nan, "x = nan must be not NaN"),
        (Number(0, 1), "1", "x = '1' must be a number, from 0 to 1"),
        (Whole(1, 5), 6, "x = 6 must be a whole number, at least 1 and at most 5"),
        (Whole(), 10**4_000, "x = a number of about 4001 digits must be a whole number"),
        (Whole(), "x" * 999, f"x = '{'x' * 76}... must be a whole number"),
        (OneOf(("ab", "cd")), "abc", "unknown x 'abc': did you mean 'ab'"),
        (Each(Whole()), [1, -1], r"x[1] = -1 must be a whole number"),
        (ByName(Whole()), {1: 2}, "x has the key 1, which is no name"),
        (ByName(Whole()), {"y": -2}, "y = -2 must be"),
        (
            Array((None, 2), np.float32),
            np.zeros((3, 3), np.float32),
            "x must be an array of float32",
        ),
        (
            Array((2,), np.int64, 0, 4),
            np.array([0, 5]),
            "x go from 0 to 5, and must",
        ),
        (Array((1,), np.float64), np.array([math.inf]), "x must be finite"),
        (OrNone(Whole(1)), -1, "x = -1 must be a whole number, at least 1, or None"),
        (OrNone(Each(Whole())), [-1], "x[0] = -1 must be a whole number, at least 0"),
    ],
)
def test_what_rules_say(rule: Any, wrong: Any, said: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # what it says is below
        rule("x", wrong)
    assert str(caught.value).startswith(said)


def test_a_dataclass_that_says_nothing_is_let_be() -> None:
    """Types that no rule is known for are left alone; and so is what is the object's own state."""
    from dataclasses import dataclass, field

    @dataclass
    class Own:
        thing: Any = 5
        call: Callable[[], int] | None = None
        several: list[str] = field(default_factory=list)
        number: float = 1
        state: int = field(init=False, default=-5)

    made = Own(thing="x", several=[1])  # type: ignore[list-item]
    check_fields(made)
    assert type(made.number) is float
    assert made.state == -5


CONDITIONS = [
    (kind, field.name, *field.metadata[COUNTS_WITH])
    for kind in SETTINGS
    for field in fields(kind)
    if COUNTS_WITH in field.metadata
]


@pytest.mark.parametrize(("kind", "name", "other", "values"), CONDITIONS)
def test_what_counts_for_nothing_beside_the_others_is_refused(
    kind: Any, name: str, other: str, values: tuple[Any, ...]
) -> None:
    """A setting is taken with each value of the other one that it counts with, and with no other.

    At its default nobody asked for it, and nothing is said.
    """
    default = getattr(kind(), name)
    changed = {bool: lambda: not default, int: lambda: default + 1, float: lambda: default / 2}
    value = changed[type(default)]() if default is not None else 2.0
    choices = get_args(get_type_hints(kind, include_extras=False)[other])
    assert {*values} < {*choices}
    for choice in choices:
        said = f"{name} = {value!r} counts only with {other} = {values[0]!r}"
        for given, wanted in ((default, ""), (value, "" if choice in values else said)):
            try:
                check_counts(kind(**{other: choice, name: given}))
                found = ""
            except ValueError as error:
                found = str(error)
            assert said in found if wanted else said not in found, (choice, given)


def test_there_are_some_of_them() -> None:
    assert {(kind, name) for kind, name, *_ in CONDITIONS} >= {
        *((DQNSettings, name) for name in ("gamma", "exploration_initial_eps")),
        *((PARTS[part], "temperature") for part in ("clone", "clear", "lwf", "ewc")),
        (PARTS["mer"], "beta"),
    }
