"""Other people's games: environments that are registered with Gymnasium, as data.

A scenario of them names an environment for each phase. Which one is played is a parameter of its
schedule, ``env``, the index in a list of :class:`OtherGame`; so schedules, clocks, contexts and
evaluation are the same as elsewhere. The list stands in the options of what is then called the game
:data:`OTHER`, and so counts wherever options count.
"""

import json
import operator
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from importlib import import_module
from inspect import Parameter, signature
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator

from continual_arcade.envs.checks import Instance, Whole, WrongTypeError
from continual_arcade.envs.context import HIDDEN, Context, ContextKind
from continual_arcade.envs.games import OTHER
from continual_arcade.envs.messages import shown, unknown
from continual_arcade.envs.phased_env import PhasedEnv, which_env
from continual_arcade.envs.schedules import Schedule
from continual_arcade.envs.tunables import Params, Tunables, resolve
from continual_arcade.envs.wrappers import AnyEnv, WrapperSpec, read

NOTHING = 0
"""The action of an environment that stands for those of the agent that it does not have."""
_OURS = "ContinualArcade/"
_OF_SUITE = ("render_mode", "disable_env_checker")
"""Arguments of ``gymnasium.make`` that the suite sets itself."""


@dataclass(frozen=True)
class Extra:
    """A package that brings environments, and is installed on demand."""

    name: str
    """As in ``pip install 'continual-arcade[name]'``."""
    package: str
    module: str
    prefixes: tuple[str, ...]
    """What the ids of its environments begin with."""


EXTRAS = (
    Extra("atari", "ale-py", "ale_py", ("ALE/",)),
    Extra("box2d", "Box2D", "Box2D", ("LunarLander", "BipedalWalker", "CarRacing")),
    Extra("minigrid", "minigrid", "minigrid", ("MiniGrid-", "BabyAI-")),
)
"""Those of which scenarios come with the suite."""


@dataclass(frozen=True)
class OtherGame:
    """An environment by its id, and what is done to it.

    Raises:
        WrongTypeError: If a value is of the wrong type.
        ValueError: If a value makes no sense, as far as that can be said without the environment.
    """

    id: str
    """As Gymnasium knows it, with its version."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments that it is made with."""
    wrappers: tuple[WrapperSpec, ...] = ()
    """What it is wrapped in, the innermost first."""
    actions: tuple[int, ...] = ()
    """Which of its own actions each action of the agent is; if empty, the same. Those of the agent
    that come after that are :data:`NOTHING`."""

    def __post_init__(self) -> None:
        name = Instance((str,))("id", self.id)
        if ":" in name:
            raise ValueError(
                f"id = {shown(name)} names a module, and reading data runs no code: leave out what "
                "stands before the colon; packages whose environments are known without are "
                f"{', '.join(extra.package for extra in EXTRAS)}, and those that register "
                "themselves with Gymnasium's entry points"
            )
        if name.startswith(_OURS):
            raise ValueError(
                f"id = {shown(name)} is a game of this suite, which has phases of its own: name it "
                "with game and schedule"
            )
        for key, value in Instance((Mapping,))("kwargs", self.kwargs).items():
            if key in _OF_SUITE:
                raise ValueError(
                    f"{key} = {shown(value)} of {name} is set by the suite itself: leave it out"
                )
        try:
            plain = json.loads(json.dumps(dict(self.kwargs), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise WrongTypeError(
                f"kwargs = {shown(self.kwargs)} of {name} must be plain data: {error}"
            ) from error
        object.__setattr__(self, "kwargs", plain)
        if isinstance(self.actions, str) or not isinstance(self.actions, Sequence):
            raise WrongTypeError(f"actions = {shown(self.actions)} of {name} must be a list")
        actions = tuple(Whole()("actions", action) for action in self.actions)
        object.__setattr__(self, "actions", actions)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "OtherGame":
        """Read what :meth:`to_dict` returned; errors as of the class."""
        known = [each.name for each in fields(cls)]
        for key in Instance((Mapping,))("an environment", data):
            if key not in known:
                raise ValueError(unknown("key of an environment", key, known))
        if "id" not in data:
            raise ValueError("an environment lacks 'id', its name in Gymnasium")
        return cls(**{**data, "wrappers": read(data.get("wrappers", ()))})

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; what it says nothing of is left out."""
        data: dict[str, Any] = {"id": self.id}
        if self.kwargs:
            data["kwargs"] = dict(self.kwargs)
        if self.wrappers:
            data["wrappers"] = [each.to_data() for each in self.wrappers]
        if self.actions:
            data["actions"] = list(self.actions)
        return data

    @property
    def extra(self) -> Extra | None:
        """The extra that brings it, if it is one of those that are known."""
        return next((extra for extra in EXTRAS if self.id.startswith(extra.prefixes)), None)

    def make(self, render_mode: str | None = None) -> AnyEnv:
        """Make the environment, wrapped as it is to be.

        Args:
            render_mode: As in ``gymnasium.make``.

        Raises:
            ValueError: If its package or its ROM is not installed, it is not registered, or cannot
                be made or wrapped so; the message names the value and the way out.
        """
        spec = self._spec()
        self._check_kwargs(spec)
        self._check_rom(spec)
        told = (
            dict(self.kwargs)
            if render_mode is None
            else {**self.kwargs, "render_mode": render_mode}
        )
        try:
            env: AnyEnv = gym.make(self.id, disable_env_checker=True, **told)
        except Exception as error:  # whatever the constructor of somebody else raises
            raise ValueError(
                f"{self.id} cannot be made with kwargs = {shown(dict(self.kwargs))}: "
                f"{type(error).__name__}: {_first_line(error)}{self._hint()}"
            ) from error
        env = Scored(env)
        try:
            for wrapper in self.wrappers:
                env = wrapper.wrap(env)
        except ValueError as error:
            env.close()
            raise ValueError(f"{self.id}: {error}") from error
        return env

    def _spec(self) -> EnvSpec:
        """Return what Gymnasium knows of it, once its package is imported."""
        extra = self.extra
        if extra is not None:
            _import(self.id, extra)
        if self.id in gym.registry:
            return gym.registry[self.id]
        versions = [name for name in gym.registry if name.rpartition("-v")[0] == self.id]
        if versions:  # Gymnasium would take the newest, whichever that is
            why = f"it has no version, write {' or '.join(map(repr, versions))}"
        else:
            try:
                gym.spec(self.id)
                why = "it is no id"
            except gym.error.Error as error:
                why = _first_line(error)
        raise ValueError(
            f"id = {self.id!r} is not registered with Gymnasium: {why} (a package of somebody "
            "else's must be installed, and register itself by an entry point 'gymnasium.envs')"
        )

    def _check_kwargs(self, spec: EnvSpec) -> None:
        """Refuse arguments that its constructor does not know, as far as it tells."""
        try:
            entry: Any = spec.entry_point
            creator = entry if callable(entry) else load_env_creator(entry)
            known = signature(creator).parameters
        except (ImportError, AttributeError, TypeError, ValueError, gym.error.Error):
            return  # to make it says more
        kinds = [parameter.kind for parameter in known.values()]
        if Parameter.VAR_KEYWORD in kinds:
            return
        names = [name for name in (*known, "max_episode_steps") if name not in _OF_SUITE]
        for name in self.kwargs:
            if name not in names:
                raise ValueError(unknown(f"keyword argument of {self.id}", name, names))

    def _check_rom(self, spec: EnvSpec) -> None:
        if self.extra is not EXTRAS[0]:
            return
        from ale_py import roms

        game = spec.kwargs["game"]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that there is none is said below
                found, why = roms.get_rom_path(game), "ale-py does not know it"
        except OSError as error:
            found, why = None, str(error)
        if found is None:
            raise ValueError(
                f"the ROM of {self.id} is missing: {why}. The wheel of ale-py holds all of them: "
                "pip install --force-reinstall ale-py, and leave ALE_ROMS_DIR unset"
            )

    def _hint(self) -> str:
        """Say which modes and difficulties a game of Atari has, where one was asked for."""
        asked = [name for name in ("mode", "difficulty") if name in self.kwargs]
        if self.extra is not EXTRAS[0] or not asked:
            return ""
        env = gym.make(self.id, disable_env_checker=True, obs_type="ram")
        ale: Any = env.get_wrapper_attr("ale")
        modes, levels = list(ale.getAvailableModes()), list(ale.getAvailableDifficulties())
        env.close()
        return f"; it has the modes {modes} and the difficulties {levels}"


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _import(name: str, extra: Extra) -> None:
    """Import the package of an environment, which registers it.

    Raises:
        ValueError: If it is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Box2D's types, made by an old SWIG, have no __module__, of which Python warns; where
            # warnings are errors its import would crash the process. pygame uses pkg_resources.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            module = import_module(extra.module)
    except ImportError as error:
        raise ValueError(
            f"{name} needs {extra.package}, which is not installed ({error}): "
            f"pip install 'continual-arcade[{extra.name}]'"
        ) from error
    if extra is EXTRAS[0]:  # each process would begin by saying who made the emulator
        module.ALEInterface.setLoggerMode(module.LoggerMode.Error)


def _arrived(space: "gym.spaces.Box[Any]", seen: Any, env: AnyEnv) -> Any:
    """Return what is seen as an array, once it is of the shape and type of a space.

    Nothing after it looks again: what is of another type would be cut to 0 and 1, or to nothing.
    Whether numbers lie within bounds is not asked, since many environments do not keep to theirs.

    Args:
        space: What it was said to lie in.
        seen: What is seen.
        env: What shows it, for the message.

    Raises:
        ValueError: If it is of another shape or type.
    """
    array = np.asarray(seen)
    if array.shape == space.shape and np.can_cast(
        array.dtype,
        space.dtype,
        "safe" if space.dtype == np.uint8 else "same_kind",  # rows become float32 anyway
    ):
        return array
    raise ValueError(
        f"{env} says that it shows {space}, and shows {array.dtype} of shape {array.shape}: it "
        "must be mended where it is made, or left out"
    )


class Scored(gym.Wrapper[Any, Any, Any, Any]):
    """Counts the score of an episode, before anything is done to its rewards.

    ``info["score"]`` is the return so far, unless the environment has a score of its own. An array
    of numbers must be what the environment says that it shows.
    """

    def __init__(self, env: AnyEnv) -> None:
        super().__init__(env)
        self._return = 0.0
        self._box = space if isinstance(space := env.observation_space, gym.spaces.Box) else None

    def _checked(self, seen: Any) -> Any:
        return seen if self._box is None else _arrived(self._box, seen, self.env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._return = 0.0
        return self._checked(observation), {"score": 0.0, **info}

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Play one step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._return += float(reward)
        observation = self._checked(observation)
        return observation, reward, terminated, truncated, {"score": self._return, **info}


class Fitted(gym.Wrapper[Any, Any, Any, Any]):
    """Lets an environment have the spaces that all phases share.

    A row of numbers is one of float32, with zeros behind it; an action is the one that it stands
    for.

    Args:
        env: The environment.
        observation_space: What all phases show.
        actions: Which of its own actions each one is.
    """

    def __init__(
        self, env: AnyEnv, observation_space: "gym.spaces.Box[Any]", actions: tuple[int, ...]
    ) -> None:
        super().__init__(env)
        self.observation_space = observation_space
        self.action_space = gym.spaces.Discrete(len(actions))
        self._is_row = len(observation_space.shape) == 1
        self._own: gym.spaces.Box[Any] = env.observation_space  # type: ignore[assignment]
        self._actions = actions

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._fit(observation), info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Play one step.

        Raises:
            ValueError: If there is no such action, or what is seen is not what it was said to be.
            TypeError: If the action is not a whole number.
        """
        try:
            chosen = operator.index(action)
        except TypeError:
            raise TypeError(f"an action is a whole number, not {action!r}") from None
        if not 0 <= chosen < len(self._actions):
            raise ValueError(f"{action} is no action: there are {len(self._actions)}")
        observation, reward, terminated, truncated, info = self.env.step(self._actions[chosen])
        return self._fit(observation), float(reward), bool(terminated), bool(truncated), info

    def _fit(self, observation: Any) -> Any:
        seen = _arrived(self._own, observation, self.env)
        if not self._is_row:
            return np.asarray(seen, self.observation_space.dtype)
        row = np.zeros(self.observation_space.shape or (), np.float32)
        row[: len(seen)] = seen
        return row


@dataclass(frozen=True)
class OtherGames:
    """The environments of a scenario, with the spaces that they share.

    Observations are either all rows of numbers: then the widest says how many there are, and of
    others zeros come behind; bounds are those that hold in all. Or all are pictures of the same
    size. There are as many actions as most have.

    Args:
        games: The environments, at least one.

    Raises:
        ValueError: If there is none, or one cannot be made, or their spaces do not fit, or one
            shows something else than it says.
    """

    games: tuple[OtherGame, ...]

    def __post_init__(self) -> None:
        made = [game.make() for game in self.games]
        try:
            object.__setattr__(self, "observation_space", _shared_space(self.games, made))
            object.__setattr__(self, "_maps", _shared_actions(self.games, made))
            # Once each, so that what a later phase shows is found out before training begins.
            for env, actions in zip(made, self._maps, strict=True):
                Fitted(env, self.observation_space, actions).reset(seed=0)
        finally:
            for env in made:
                env.close()

    observation_space: "gym.spaces.Box[Any]" = field(init=False)
    """What all of them show."""
    _maps: tuple[tuple[int, ...], ...] = field(init=False)

    @property
    def num_actions(self) -> int:
        """How many actions the agent has."""
        return len(self._maps[0])

    @property
    def are_pictures(self) -> bool:
        """Whether pictures are seen, and no rows of numbers."""
        return len(self.observation_space.shape) == 3

    def actions_of(self, index: int) -> tuple[int, ...]:
        """Return which of its own actions each action of the agent is in an environment."""
        return self._maps[index]

    def make(self, index: int, render_mode: str | None = None) -> Fitted:
        """Make one of them, with the spaces that all share."""
        env = self.games[index].make(render_mode)
        return Fitted(env, self.observation_space, self._maps[index])

    def shown(self, context: Context) -> "gym.spaces.Box[Any]":
        """Return what is seen with a context.

        Raises:
            ValueError: If nothing can be appended to pictures.
        """
        if self.are_pictures and not context.is_hidden:
            raise ValueError(
                f"context = {context.kind!r} is appended to rows of numbers, and these are "
                "pictures: choose context = 'hidden'"
            )
        return context.extended(self.observation_space)


def _shared_space(games: Sequence[OtherGame], made: Sequence[AnyEnv]) -> "gym.spaces.Box[Any]":
    """Return the observation space that all can have."""
    for game, env in zip(games, made, strict=True):
        _check_observed(game, env.observation_space)
    found: list[Any] = [env.observation_space for env in made]
    first = found[0]
    if len(first.shape) == 3 or any(len(space.shape) != len(first.shape) for space in found):
        for game, space in zip(games, found, strict=True):
            if space != first:
                raise ValueError(
                    f"{games[0].id} shows {first}, and {game.id} shows {space}: one agent sees "
                    "them all, so they must be equal; rows of numbers may differ in their length. "
                    "Use wrappers such as resize, stack or flatten"
                )
        return first  # type: ignore[no-any-return]
    width = max(space.shape[0] for space in found)
    bounds = []
    for side, furthest in (("low", np.min), ("high", np.max)):
        padded = np.zeros((len(found), width), np.float32)
        for row, space in zip(padded, found, strict=True):
            row[: space.shape[0]] = getattr(space, side)
        bounds.append(furthest(padded, axis=0))
    return gym.spaces.Box(bounds[0], bounds[1], dtype=np.float32)


def _check_observed(game: OtherGame, space: Any) -> None:
    """Check that an agent can see the observations of an environment."""
    if not isinstance(space, gym.spaces.Box):
        way_out = "a wrapper such as flatten or minigrid_image makes it one"
        raise ValueError(f"{game.id} shows {space}; only a Box can be seen: {way_out}")
    if len(space.shape) == 1 and np.dtype(space.dtype).kind in "fiu":
        return
    if len(space.shape) == 3 and space.dtype == np.uint8:
        if space.shape[0] <= min(space.shape[1:]):
            return
        raise ValueError(
            f"{game.id} shows pictures of shape {space.shape}: channels must come first (wrapper "
            "channels_first)"
        )
    raise ValueError(
        f"{game.id} shows {space}; supported: rows of numbers (wrapper flatten makes one), and "
        "pictures of uint8 with channels first (wrappers channels_first or stack make them; leave "
        "unit and scale out, since networks divide pictures by 255 themselves)"
    )


def _shared_actions(
    games: Sequence[OtherGame], made: Sequence[AnyEnv]
) -> tuple[tuple[int, ...], ...]:
    """Return which of its own actions each action of the agent is, for each environment."""
    own = []
    for game, env in zip(games, made, strict=True):
        space = env.action_space
        if not isinstance(space, gym.spaces.Discrete) or space.start != 0:
            raise ValueError(
                f"{game.id} has the actions {space}; supported: Discrete ones that begin with 0"
            )
        count = int(space.n)
        for action in game.actions:
            if action >= count:
                raise ValueError(
                    f"actions = {list(game.actions)} of {game.id} name {action}, and its own are 0 "
                    f"to {count - 1}"
                )
        own.append(game.actions or tuple(range(count)))
    most = max(map(len, own))
    return tuple((*actions, *[NOTHING] * (most - len(actions))) for actions in own)


def games_of(options: Mapping[str, Any]) -> tuple[OtherGame, ...]:
    """Read the environments from the options of a scenario or a run; none is made.

    Raises:
        ValueError: If they make no sense.
    """
    for name in options:
        if name != "envs":
            raise ValueError(unknown(f"option of {OTHER}", name, ["envs"]))
    envs = options.get("envs")
    if isinstance(envs, str) or not isinstance(envs, Sequence) or not envs:
        raise WrongTypeError(f"envs = {shown(envs)} must be a list of environments")
    return tuple(map(OtherGame.from_dict, envs))


def other_games(options: Mapping[str, Any]) -> OtherGames:
    """Return the environments of the options of a run; each is made once in a process.

    Raises:
        ValueError: As of :class:`OtherGames`.
    """
    return _of_text(json.dumps([game.to_dict() for game in games_of(options)]))


@lru_cache(maxsize=32)
def _of_text(text: str) -> OtherGames:
    return OtherGames(games_of({"envs": json.loads(text)}))


def tunables_of(options: Mapping[str, Any]) -> Tunables:
    """Return the parameter that says which of the environments is played."""
    return {"env": which_env(len(games_of(options)))}


def ids_of(options: Mapping[str, Any]) -> str:
    """Return the ids of the environments, each once."""
    return ", ".join(dict.fromkeys(game.id for game in games_of(options)))


def packages_of(options: Mapping[str, Any]) -> list[str]:
    """Return the packages that bring the environments, as far as known."""
    extras = (game.extra for game in games_of(options))
    return list(dict.fromkeys(extra.package for extra in extras if extra is not None))


def of_phases(phases: Iterable[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[float]]:
    """Return the different environments of some phases, and which of them each phase plays.

    Args:
        phases: For each phase the data of its environment.
    """
    envs: list[dict[str, Any]] = []
    played = []
    for phase in phases:
        data = OtherGame.from_dict(phase).to_dict()
        if data not in envs:
            envs.append(data)
        played.append(float(envs.index(data)))
    return envs, played


def phase_env(
    options: Mapping[str, Any],
    schedule: Schedule,
    phase: int,
    context: ContextKind = HIDDEN,
    render_mode: str | None = None,
) -> PhasedEnv:
    """Make the environment of one phase, which stays in it.

    Args:
        options: The options of the run.
        schedule: Its schedule.
        phase: Index of the phase.
        context: What of its phase an observation shows.
        render_mode: As in ``gymnasium.make``.

    Raises:
        ValueError: As of :class:`OtherGames`.
    """
    games = other_games(options)
    games.shown(Context(context, schedule, tunables_of(options)))  # refuses pictures
    tunables = tunables_of(options)
    index = resolve(tunables, schedule.frozen(phase).params)["env"]

    def stays(env: Any, params: Params) -> None:
        if params["env"] != index:
            raise ValueError(
                f"env = {params['env']:g} cannot be pinned where only environment {index:g} is: "
                "make one of a phase that plays it"
            )

    env = games.make(int(index), render_mode)
    return PhasedEnv(env, schedule, tunables, stays, phase, context)
