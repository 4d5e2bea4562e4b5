"""Who knows all answers to labelled examples; nobody can be right more often."""

import numpy as np

from continual_arcade.envs.core import Core
from continual_arcade.envs.oracles import Actions


class Answers:
    """Gives the right answer."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def __call__(self) -> Actions:
        """Return what to do in each game."""
        return self._core.field("label").astype(np.int64)
