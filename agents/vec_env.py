"""Gymnasium's vector environments as what Stable-Baselines3 calls a VecEnv."""

import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from continual_arcade.envs.checks import Array, Each, Instance, OrNone, Whole

_SPACES = ("single_observation_space", "single_action_space")
_ROWS = (
    "they are rows of one env. Give arguments when making it, pin parameters of the next episodes "
    "with set_options({'params': {...}}) before reset(), or let a schedule say what holds when"
)


class GymnasiumVecEnv(VecEnv):
    """Hands a Gymnasium vector environment to Stable-Baselines3.

    Stable-Baselines3 resets a sub-environment in the step in which its episode ends, so the vector
    environment must do the same. The info of a step that ends an episode is that of the episode
    that ended, with ``terminal_observation``, ``TimeLimit.truncated`` and the sums of the episode,
    as Stable-Baselines3 expects them.

    Args:
        env: The vector environment; its autoreset mode must be ``SAME_STEP``.

    Raises:
        ValueError: If it resets in any other way.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"the vector env has autoreset mode {mode}, but Stable-Baselines3 expects the next "
                "episode in the step in which one ends (SAME_STEP): make it with "
                "autoreset_mode='SameStep', or one of Gymnasium's with "
                "vector_kwargs={'autoreset_mode': 'SameStep'}"
            )
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self._actions: Any = None
        self.episode_returns = np.zeros(self.num_envs)
        self.episode_lengths = np.zeros(self.num_envs, np.int64)
        self._start = time.time()

    def reset(self) -> Any:
        """Start an episode in every sub-environment; return the observations."""
        seeds = self._seeds
        seeded = None if any(seed is None for seed in seeds) else seeds
        options = _joined(self._options)
        observations, infos = self.env.reset(seed=seeded, options=options or None)  # type: ignore[arg-type]
        self.reset_infos = _by_env(infos, self.num_envs)
        self.episode_returns[:] = 0.0
        self.episode_lengths[:] = 0
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Take note of the actions."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Play one step in every sub-environment."""
        observations, rewards, terminated, truncated, infos = self.env.step(self._actions)
        dones = terminated | truncated
        self.episode_returns += rewards
        self.episode_lengths += 1
        final_obs, final_info = infos.pop("final_obs", None), infos.pop("final_info", {})
        by_env = _by_env(infos, self.num_envs)
        if dones.any():
            finals = _by_env(final_info, self.num_envs)
            for i in np.flatnonzero(dones).tolist():
                self.reset_infos[i] = by_env[i]
                by_env[i] = {
                    **finals[i],
                    "terminal_observation": final_obs[i],
                    "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
                    "episode": {
                        "r": float(self.episode_returns[i]),
                        "l": int(self.episode_lengths[i]),
                        "t": self.elapsed(),
                    },
                }
                self.episode_returns[i] = 0.0
                self.episode_lengths[i] = 0
        return observations, rewards.astype(np.float32), dones, by_env

    def elapsed(self) -> float:
        """Return for how long this has been there [s]."""
        return round(time.time() - self._start, 6)

    def state_dict(self) -> dict[str, Any]:
        """Return all that decides what follows, between two steps.

        The clock on the wall is not in it: ``t`` of an episode's sums counts from the making of
        each adapter.

        Returns:
            A tree of plain values and arrays, none of which changes with the environment.

        Raises:
            NotImplementedError: If the vector environment has no state to give.
        """
        return deepcopy(
            {
                "returns": self.episode_returns,
                "lengths": self.episode_lengths,
                "reset_infos": self.reset_infos,
                "seeds": self._seeds,
                "options": self._options,
                "env": self._stateful().state_dict(),
            }
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume exactly where another adapter was.

        Args:
            state: What :meth:`state_dict` returned there.

        Raises:
            ValueError: If its vector environment was another one, or made with other options, or
                the state is damaged; then nothing has changed.
            NotImplementedError: If the vector environment cannot take a state.
        """
        state = deepcopy(dict(state))
        count = len(state["returns"])
        if count != self.num_envs:
            raise ValueError(
                f"the state belongs to {count} sub-environments, this has {self.num_envs}: make as "
                "many"
            )
        for name in ("reset_infos", "seeds", "options"):
            if len(Instance((list,))(name, state[name])) != count:
                raise ValueError(f"{name} of the state are not {count}: it is damaged")
        Array((count,), np.float64)("returns", state["returns"])
        Array((count,), np.int64, low=0)("lengths", state["lengths"])
        Each(OrNone(Whole()))("seeds", state["seeds"])
        for table in (*state["reset_infos"], *state["options"]):
            Instance((dict,))("reset_infos or options", table)
        for info in state["reset_infos"]:
            for name in info.keys() & {"phase", "lifetime_step"}:
                Whole()(name, info[name])
        self._stateful().load_state_dict(state["env"])
        self.episode_returns, self.episode_lengths = state["returns"], state["lengths"]
        self.reset_infos = state["reset_infos"]
        self._seeds, self._options = state["seeds"], state["options"]

    def _stateful(self) -> Any:
        # Of the class: a wrapper might hand on what its env has, and leave its own state out.
        if not hasattr(type(self.env), "state_dict"):
            raise NotImplementedError(
                f"{type(self.env).__name__} has no state_dict(), so that training in it cannot be "
                "resumed: use one of this suite's own vector environments, unwrapped"
            )
        return self.env

    def close(self) -> None:
        """Close the vector environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray[Any, Any] | None]:
        """Return a picture of each sub-environment."""
        images: Any = self.env.render()
        return [None] * self.num_envs if images is None else list(images)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the vector environment, once for each index.

        A space is that of one sub-environment.
        """
        of_one = f"single_{attr_name}"
        value = getattr(self.env, of_one if of_one in _SPACES else attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse: the sub-environments are no objects of their own."""
        raise NotImplementedError(f"cannot set {attr_name!r} of single sub-environments: {_ROWS}")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Refuse: the sub-environments are no objects of their own."""
        raise NotImplementedError(
            f"cannot call {method_name!r} of single sub-environments: {_ROWS}"
        )

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Say that no sub-environment is wrapped, except in a Monitor: what that tells is told."""
        return [wrapper_class is Monitor for _ in self._get_indices(indices)]


def _joined(options: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the options of all sub-environments as those of the vector environment.

    Raises:
        ValueError: If they differ in anything but the values of parameters.
    """
    first = dict(options[0])
    if all(given == first for given in options):
        return first
    params = [given.get("params", {}) for given in options]
    names = params[0].keys()
    if any(given.keys() != {"params"} for given in options) or any(
        pinned.keys() != names for pinned in params
    ):
        raise ValueError(
            f"the options of the sub-environments differ: {list(options)}. They are rows of one "
            "env, whose options may only differ in the values of the same parameters: "
            "{'params': {...}}"
        )
    return {"params": {name: [pinned[name] for pinned in params] for name in names}}


def _by_env(infos: dict[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Turn a dict of arrays into a dict for each sub-environment, leaving the masks out."""
    by_env: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for name, values in infos.items():
        if name.startswith("_"):
            continue
        rows = (
            _by_env(values, num_envs)
            if isinstance(values, dict)
            else values.tolist()
            if isinstance(values, np.ndarray)
            else list(values)
        )
        present = infos.get(f"_{name}")
        for i, row in enumerate(rows):
            if present is None or present[i]:
                by_env[i][name] = row
    return by_env
