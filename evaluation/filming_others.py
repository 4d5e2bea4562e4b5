"""Films of agents that play environments of other people, which draw themselves."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pygame

from continual_arcade.envs.context import HIDDEN, ContextKind
from continual_arcade.envs.drawing.film import Picture
from continual_arcade.envs.drawing.pixels import as_array, as_surface
from continual_arcade.envs.drawing.status import Status
from continual_arcade.envs.other_games import phase_env
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.evaluator import FIRST_SEED
from continual_arcade.evaluation.filming import PhaseCamera, Weighs


class OthersCamera(PhaseCamera):
    """Films episodes of one phase of a scenario of other people's environments.

    An episode of a seed is the one that the evaluator plays with that seed. What it looks like is
    what the environment draws.

    Args:
        options: The options of the run, which name the environments.
        schedule: The schedule of the run.
        phase: Index of the phase.
        width: Width of the pictures [px]; the height follows. As large as they are drawn if not
            given, or larger.
        title: Name of the policy.
        context: What of its phase an observation shows, as in the run.

    Raises:
        ValueError: If the environment cannot be made, or draws nothing.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        schedule: Schedule,
        phase: int,
        *,
        width: int | None = None,
        title: str = "",
        context: ContextKind = HIDDEN,
    ) -> None:
        super().__init__()
        self.context = context
        self.env = env = phase_env(options, schedule, phase, context, render_mode="rgb_array")
        self.played = "this environment" if env.spec is None else env.spec.id
        self._clock, self._title = env.clock, title
        env.reset(seed=FIRST_SEED)
        height, drawn, *_ = self._drawn().shape
        wide = drawn if width is None else min(width, drawn)
        # Films want even numbers.
        self._size = _even(wide), _even(round(height * wide / drawn))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures [px]."""
        return self._size

    @property
    def points(self) -> str:
        """What the score counts."""
        return "score"

    @property
    def status(self) -> Status:
        """The state of the episode, for what stands over it."""
        phases = self._clock.schedule.phases
        index = int(self._info["phase"])
        return Status(
            float(self._info["score"]),
            None,
            index,
            len(phases),
            phases[index].name,
            title=self._title,
        )

    def _drawn(self) -> Picture:
        picture: Any = self.env.render()
        if not isinstance(picture, np.ndarray) or picture.ndim != 3:
            raise ValueError(f"{self.played} draws no pictures: it has nothing to film")
        return picture

    def _picture(self, observation: Any, seen: npt.NDArray[Any], weighs: Weighs | None) -> Picture:
        picture = self._drawn()
        if picture.shape[1::-1] == self._size:
            return picture
        return as_array(pygame.transform.smoothscale(as_surface(picture), self._size))


def _even(length: int) -> int:
    return max(2, length // 2 * 2)
