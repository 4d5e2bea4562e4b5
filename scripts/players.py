"""Who plays: an agent from a run, the oracle, or chance."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from continual_arcade.agents.continual_dqn import ContinualDQN
from continual_arcade.envs.oracles import Oracle
from continual_arcade.evaluation.evaluator import Policy


@dataclass
class RandomPlayer:
    """Chooses actions uniformly.

    Args:
        actions: The action space.
        seed: Seed of the choices.
    """

    actions: spaces.Discrete
    seed: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def predict(self, observation: Any, *, deterministic: bool = True) -> tuple[Any, None]:
        """Return an action for each observation."""
        shape = np.shape(observation)[:-1]
        return self._rng.integers(self.actions.n, size=shape), None


def load_agent(path: Path) -> ContinualDQN:
    """Load an agent from a checkpoint, to play and not to learn.

    Raises:
        ValueError: If the file is damaged, or none of ours.
    """
    return ContinualDQN.load(path, device="cpu")


def scripted(name: str, env: Any, seed: int) -> Policy:
    """Return the oracle or the random player for an environment.

    Args:
        name: ``"oracle"`` or ``"random"``.
        env: The environment it plays in.
        seed: Seed of the random player.
    """
    return Oracle(env) if name == "oracle" else RandomPlayer(env.action_space, seed)


SCRIPTED = ("oracle", "random")
