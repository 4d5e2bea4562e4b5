"""Schedules for any Gymnasium environment with parameters that can be set."""

import json
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.envs.registration import EnvSpec

from continual_arcade.envs.attributes import CLOSE, FixedWrapperAttributes
from continual_arcade.envs.checks import Instance, OrNone
from continual_arcade.envs.clock import LifetimeClock
from continual_arcade.envs.context import HIDDEN, Context, ContextKind
from continual_arcade.envs.env_specs import (
    as_function,
    as_tunables,
    named,
    plain,
    plain_tunables,
)
from continual_arcade.envs.messages import unknown
from continual_arcade.envs.schedule_files import load
from continual_arcade.envs.schedules import Schedule
from continual_arcade.envs.seeds import plain_seed
from continual_arcade.envs.tunables import Params, Tunable, Tunables, resolve

AnyEnv = gym.Env[Any, Any]
_TABLE = Instance((Mapping,))
_OPTIONS = ("params", "phase")
"""Options of a reset that are not handed on."""


class PhasedEnv(
    FixedWrapperAttributes, gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs
):
    """Lets the parameters of an environment follow a schedule.

    Everything is as in the suite's own games: a lifetime clock that survives ``reset()`` and
    rewinds when a seed is given, parameters that change only when an episode begins, boundaries
    that truncate, ``reset(options=...)`` to pin parameters or a phase for an episode, and an
    ``info`` that says what holds. In a vector environment of wrapped environments each of them has
    a clock of its own.

    Args:
        env: The environment.
        schedule: What drifts: a schedule, plain data, or a path.
        tunables: What the environment lets drift; also as plain data.
        apply: Called with the bare environment and all parameters before each episode. It must set
            whatever is derived from them, too. A function of a module, or its name as in
            ``"module:function"``, goes into ``spec``, which then survives JSON; any other function
            works in this process.
        phase: Index or name of one phase of the schedule, to stay in it for ever.
        context: What of its phase an observation shows behind the environment's own numbers, as in
            the suite's games; see :class:`~continual_arcade.envs.context.Context`.

    Raises:
        ValueError: If the schedule does not suit the tunables, or has no such phase; or if there is
            no such context, or nothing can be appended to the observations.
    """

    def __init__(
        self,
        env: AnyEnv,
        schedule: Schedule | Mapping[str, Any] | str | Path,
        tunables: Tunables | Mapping[str, Mapping[str, Any]],
        apply: Callable[[Any, Params], None] | str,
        phase: int | str | None = None,
        context: ContextKind = HIDDEN,
    ) -> None:
        if isinstance(schedule, Mapping):
            schedule = Schedule.from_dict(schedule)
        elif not isinstance(schedule, Schedule):
            schedule = load(schedule)
        self.clock = LifetimeClock(schedule, as_tunables(tunables), phase)
        self._apply = as_function(apply)
        gym.utils.RecordConstructorArgs.__init__(
            self,
            schedule=schedule.to_dict(),
            tunables=plain_tunables(self.clock.tunables),
            apply=named(self._apply),
            phase=plain(phase),
            context=context,
        )
        super().__init__(env)
        self.context = Context(context, schedule, self.clock.tunables)
        if not self.context.is_hidden:
            self.observation_space = self.context.extended(_flat(env.observation_space, context))
        self._params: Params = self.clock.params
        self._phase = self.clock.phase.index
        self._begun = False
        self._shown: npt.NDArray[np.floating[Any]] = np.zeros(0)
        self._fix(PhasedEnv.__init__)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode with the parameters that hold now.

        Args:
            seed: Seed of the environment; given one, the lifetime clock resets.
            options: ``{"params": {...}}`` pins parameters for this one episode; ``{"phase": ...}``,
                an index or a name, plays it in another phase than the clock's. All else is handed
                on.

        Raises:
            ValueError: If a parameter or a phase is unknown or out of bounds, or an option is a
                slip of the pen for one of these two.
        """
        clock = self.clock
        OrNone(_TABLE)("options", options)
        others = dict(options or {})
        pinned, wanted = _TABLE("params", others.pop("params", {})), others.pop("phase", None)
        for name in others:
            if get_close_matches(str(name), _OPTIONS, n=1, cutoff=CLOSE):
                raise ValueError(unknown("reset option", name, _OPTIONS))
        seed = None if seed is None else plain_seed(seed)
        other = None if wanted is None else clock.schedule.frozen(wanted)
        scheduled = clock.params_of_next(seed is not None) if other is None else other.params
        params = resolve(clock.tunables, {**scheduled, **pinned})
        bare = self.env.unwrapped
        # What may refuse comes before anything moves: a reset that fails changes nothing.
        try:
            self._apply(bare, params)
            observation, info = self.env.reset(seed=seed, options=others if options else None)
        except BaseException:
            if self._begun:
                self._apply(bare, self._params)
            raise
        if seed is not None:
            clock.go_to(0)
        clock.begin_episode()
        before, self._phase = self._phase, (other or clock.phase).index
        changed = seed is None and self._begun and self._phase != before
        self._params, self._begun = params, True
        if not self.context.is_hidden:
            shown = self.context.of(params, self._phase)
            self._shown = shown.astype(self.observation_space.dtype)
        return self._with_context(observation), {**info, **self._info(), "phase_changed": changed}

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Play one step; at a boundary the episode is truncated."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.clock.step += 1
        self.clock.phase_changed = False
        truncated = truncated or self.clock.step >= self.clock.boundary
        return self._with_context(observation), reward, terminated, truncated, info | self._info()

    def _info(self) -> dict[str, Any]:
        """Return what is reported of the episode."""
        return {**self.clock.info(self._params), "phase": self._phase}

    def _with_context(self, observation: Any) -> Any:
        """Return an observation with the context of the episode behind it."""
        if self.context.is_hidden:
            return observation
        return np.concatenate((observation, self._shown))


def _flat(space: gym.Space[Any], context: str) -> gym.spaces.Box:
    """Return the space of an environment to whose observations a context can be appended.

    Raises:
        ValueError: If it is another one.
    """
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or space.dtype.kind != "f":
        raise ValueError(
            f"context = {context!r} is appended to a row of numbers, but the observation space is "
            f"{space}: make it a Box of floats with one dimension first (gymnasium's "
            "FlattenObservation, DtypeObservation), or let the context be 'hidden'"
        )
    return space


class SwitchEnv(gym.Env[Any, Any]):
    """Several environments with equal spaces, one of which is played at a time.

    Args:
        envs: The environments, at least one; or specifications of them, also as plain data.

    Raises:
        ValueError: If there is none, or their spaces differ.
    """

    def __init__(self, envs: Sequence[AnyEnv | EnvSpec | Mapping[str, Any]]) -> None:
        if not envs:
            raise ValueError("there is no environment to switch to; give at least one")
        self.envs = [_made(env) for env in envs]
        first = self.envs[0]
        for index, env in enumerate(self.envs):
            for space in ("observation_space", "action_space"):
                if getattr(env, space) != getattr(first, space):
                    raise ValueError(
                        f"environment {index} has {space} {getattr(env, space)}, but environment 0 "
                        f"has {getattr(first, space)}: all must be equal"
                    )
        self.chosen = 0
        self.observation_space = first.observation_space
        self.action_space = first.action_space
        self.metadata = first.metadata
        self.render_mode = first.render_mode
        self.spec = _switch_spec(self.envs)

    @property
    def env(self) -> AnyEnv:
        """The environment that is played now."""
        return self.envs[self.chosen]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in the chosen environment; a seed is given to all of them."""
        seed = None if seed is None else plain_seed(seed)
        super().reset(seed=seed)
        if seed is not None:
            for env in self.envs:
                env.reset(seed=seed)
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Play one step of the chosen environment."""
        return self.env.step(action)

    def render(self) -> Any:
        """Draw the chosen environment."""
        return self.env.render()

    def close(self) -> None:
        """Close all environments."""
        for env in self.envs:
            env.close()


def switching(
    envs: Sequence[AnyEnv | EnvSpec | Mapping[str, Any]],
    schedule: Schedule | Mapping[str, Any] | str | Path,
    phase: int | str | None = None,
    context: ContextKind = HIDDEN,
) -> PhasedEnv:
    """Let a schedule select which of several environments is played.

    Args:
        envs: Environments with equal spaces, or specifications of them.
        schedule: A schedule of the parameter ``env``, the index of the environment.
        phase: Index or name of one phase of the schedule, to stay in it for ever.
        context: As in :class:`PhasedEnv`; with ``"params"`` it shows which environment is played.

    Raises:
        ValueError: If the spaces differ, or the schedule names an environment that is not there.
    """
    switch = SwitchEnv(envs)
    which = which_env(len(switch.envs))
    return PhasedEnv(switch, schedule, {"env": which}, _switch, phase, context)


def which_env(count: int) -> Tunable:
    """Return the parameter that says which of so many environments is played."""
    return Tunable(
        default=0,
        low=0,
        high=count - 1,
        unit="",
        harder="either",
        about="index of the environment that is played",
        integer=True,
    )


def _made(env: AnyEnv | EnvSpec | Mapping[str, Any]) -> AnyEnv:
    """Return an environment, which is made if it is a specification of one."""
    if isinstance(env, Mapping):
        env = EnvSpec.from_json(json.dumps(env))
    return gym.make(env) if isinstance(env, EnvSpec) else env


def _switch_spec(envs: Sequence[AnyEnv]) -> EnvSpec | None:
    """Return the specification of a switch, if there is one of each environment, as plain data."""
    try:
        # One that has none, or none that can be written as JSON, leaves the switch without, too.
        specs = [None if env.spec is None else json.loads(env.spec.to_json()) for env in envs]
    except (TypeError, ValueError):
        return None
    if None in specs:
        return None
    return EnvSpec(
        "ContinualArcade/Switch-v0",
        entry_point=f"{SwitchEnv.__module__}:{SwitchEnv.__name__}",
        order_enforce=False,
        disable_env_checker=True,
        kwargs={"envs": specs},
    )


def _switch(env: SwitchEnv, params: Params) -> None:
    env.chosen = int(params["env"])


CARTPOLE: Tunables = {
    "length": Tunable(
        default=0.5,
        low=0.05,
        high=5.0,
        unit="m",
        harder="lower",
        about="half the length of the pole",
    ),
    "masspole": Tunable(
        default=0.1, low=0.01, high=2.0, unit="kg", harder="higher", about="mass of the pole"
    ),
    "masscart": Tunable(
        default=1.0, low=0.1, high=10.0, unit="kg", harder="either", about="mass of the cart"
    ),
    "gravity": Tunable(
        default=9.8, low=1.0, high=30.0, unit="m/s²", harder="higher", about="pull on the pole"
    ),
    "force_mag": Tunable(
        default=10.0, low=1.0, high=50.0, unit="N", harder="either", about="push of an action"
    ),
}
"""What may drift in Gymnasium's CartPole-v1; see :func:`set_cartpole`."""


def set_cartpole(env: Any, params: Params) -> None:
    """Set the parameters of Gymnasium's CartPole-v1, and what it has derived from them."""
    for name, value in params.items():
        setattr(env, name, value)
    env.total_mass = env.masspole + env.masscart
    env.polemass_length = env.masspole * env.length
