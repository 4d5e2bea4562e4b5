"""Small films for a report: the agents of each method, after each phase, playing each phase."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from continual_arcade.envs.arcade_env import FRAMES_PER_SECOND
from continual_arcade.envs.drawing import film
from continual_arcade.evaluation.filming import Camera
from continual_arcade.evaluation.pages.content import Clip, FilmStrip
from continual_arcade.evaluation.reporting.judged import Judged
from continual_arcade.evaluation.runs import Run, World
from continual_arcade.scripts.players import load_agent

WIDTH = 144
"""Of a film [px]."""
EVERY = 2
"""A film shows every second step: it is half as large, and moves smoothly enough."""
MOST = 300
"""Films on a page: with 30 kB each they take 12 MB of it, written as text."""


@dataclass(frozen=True)
class Films:
    """Films the agents of a report.

    Args:
        seconds: Length of a film [s]; 0 for none.

    Raises:
        ValueError: If the length is negative or not finite.
    """

    seconds: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.seconds) and 0 <= self.seconds <= 20):
            raise ValueError(
                f"film_seconds = {self.seconds} must be from 0, for no films, to 20: longer ones "
                "make the page too large, `watch --record` films whole episodes"
            )

    def of(self, world: World, judged: Sequence[Judged]) -> list[FilmStrip]:
        """Film the run of the lowest seed of each method.

        Where all stages would be more films than a page can hold, there are those at the end of
        life only; where these are too many, the last methods have none.

        Args:
            world: Where they lived.
            judged: The methods.
        """
        if not self.seconds:
            return []
        schedule = world.protocol.schedule
        record = judged[0].runs[0].record()
        names = record.stage_labels
        rows = {0: "before training"} | {
            row: f"after {name}" for row, name in enumerate(names, start=1)
        }
        columns = len(schedule.distinct)
        left_out = ""
        if len(judged) * len(rows) * columns > MOST:
            rows = {row: rows[row] for row in (0, 1, len(names))}
            left_out = " The agents after other phases are left out: the page would be too large."
        filmed = judged[: max(1, MOST // (len(rows) * columns))]
        if len(filmed) < len(judged):
            left_out += " So are the methods that are not shown."
        cameras = [
            Camera(world.protocol.game, schedule, phase.index, width=WIDTH, hud="brief")
            for phase in schedule.distinct
        ]
        strips: list[FilmStrip] = []
        for one in filmed:
            run = one.runs[0]
            clips = tuple(self._row(run, row, cameras) for row in rows)
            if any(clip for of_stage in clips for clip in of_stage):
                strips.append(
                    FilmStrip(
                        key=f"films-{len(strips)}",
                        title=one.label,
                        caption=f"Seed {run.seed}, the first evaluation episode. Below each film: "
                        f"mean {world.points} of that agent in that phase.{left_out}",
                        label=one.label,
                        rows=tuple(rows.values()),
                        columns=record.labels,
                        clips=clips,
                    )
                )
        for camera in cameras:
            camera.env.close()
        return strips

    def _row(self, run: Run, row: int, cameras: Sequence[Camera]) -> tuple[Clip | None, ...]:
        """Film the agent of one stage in all phases."""
        record = run.record()
        if not len(record.ends[row]):
            return (None,) * len(cameras)
        last = int(record.ends[row][-1])
        path = run.folder.checkpoint(int(record.steps[last]))
        if path is None:
            return (None,) * len(cameras)
        agent = load_agent(path)
        clips = []
        for column, camera in enumerate(cameras):
            name = record.labels[column]
            pictures = camera.film(
                agent, seed=run.protocol.judging.first_seed, seconds=self.seconds, every=EVERY
            )
            data = film.clip(pictures, FRAMES_PER_SECOND // EVERY)
            mean = record.means[last, column]
            stage = "before training" if row == 0 else f"after {record.stage_labels[row - 1]}"
            alt = f"{run.method}, {stage}, plays {name}: {mean:.1f} {camera.points} on average"
            clips.append(Clip(data, "video/mp4", alt, f"{mean:.1f}"))
        return tuple(clips)
