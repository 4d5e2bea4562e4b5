"""Who solves Tour: the oracle of each game, in the lanes that play it."""

import numpy as np
import numpy.typing as npt

from continual_arcade.envs import flappy_bird as bird
from continual_arcade.envs.core import Core
from continual_arcade.envs.oracles import Actions, catcher, flappy_bird
from continual_arcade.envs.tour import FLAP, FLAPPY_BIRD, LEFT, NOOP


class Guide:
    """Searches ahead where Flappy Bird is played, and chases where Catcher is."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._search, self._chase = _Searcher(core), catcher.Chaser(core)

    def __call__(self) -> Actions:
        """Return what to do in each game."""
        flaps = np.where(self._search() == bird.FLAP, FLAP, NOOP)
        plays_bird = self._core.field("which_game") == FLAPPY_BIRD
        return np.where(plays_bird, flaps, LEFT + self._chase()).astype(np.int64)


class _Searcher(flappy_bird.Searcher):
    """Searches only where Flappy Bird is played."""

    def cells(self) -> npt.NDArray[np.void]:
        """Return a copy of each game, without a life where there is no bird to search for."""
        cells = super().cells()
        cells["lives"][cells["which_game"] != FLAPPY_BIRD] = 0.0
        return cells


class Unbeatable:
    """Has lives without end in both games, and the paddle under the pellet."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._cheat = catcher.Unbeatable(core)

    def __call__(self) -> Actions:
        """Change every game, and return what to do in it."""
        self._cheat()  # a bird needs no more than lives
        return np.full(self._core.num_envs, NOOP, np.int64)
