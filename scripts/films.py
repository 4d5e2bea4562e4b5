"""Small films for a report: the agents of each method, after each phase, playing each phase."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from continual_arcade.envs import GAMES, STREAMS, make_game
from continual_arcade.envs.arcade_env import FRAMES_PER_SECOND
from continual_arcade.envs.drawing import film
from continual_arcade.envs.games import OTHER
from continual_arcade.evaluation.filming import Camera
from continual_arcade.evaluation.runs import Comparison, Run
from continual_arcade.reports.method_results import MethodResults
from continual_arcade.reports.pages.page_model import Clip, FilmStrip
from continual_arcade.reports.text import PLAYED, TRAINED
from continual_arcade.scripts.policies import load_agent, no_saliency, saliency_of

THREADS = 2
"""Films that are made at a time: encoders are processes of their own."""
WIDTH = 144
"""Of a film [px]."""
WIDTH_WITH_SALIENCY = 288
"""Of the game in a film in which what the agent sees stands beside it [px]."""
_LARGER = 4
"""So many times the room a film then takes."""
EVERY = 2
"""A film shows every second step: it is half as large, and moves smoothly enough."""
MOST_SECONDS = 880.0
"""All films of a page together [s]: 220 films of four seconds take up to 9 MB of it."""
LONGEST = 20.0
"""A film [s]: whole episodes are for ``watch --record``."""


def why_not_filmed(game: str) -> str:
    """Say why a game cannot be drawn here; empty if it can."""
    if game == OTHER:
        return "environments of other people are filmed by watch --record alone"
    if game in STREAMS:
        return f"{game} is a stream of labelled examples, of which there is nothing to film"
    if game not in GAMES:
        return f"there is no game {game} here"
    return "" if make_game(game).painter else f"{game} has no painter"


_MARKED = (
    " Beside the game stands what the agent sees; red is how much its choice depends on it (the "
    "gradient of the value that it chooses)."
)


@dataclass(frozen=True)
class Films:
    """Films the agents of a report.

    Args:
        seconds: Length of a film [s]; 0 for none.
        comparisons: How many there are on the page, which share it.
        saliency: Whether what the agent sees stands beside the game, and what its choice depends on
            is marked there.

    Raises:
        ValueError: If the length is negative, too long or not finite.
    """

    seconds: float
    comparisons: int = 1
    saliency: bool = False

    def __post_init__(self) -> None:
        if self.saliency and not self.seconds:
            raise ValueError(
                "saliency is shown in films, and film_seconds = 0 leaves them out: leave one out"
            )
        if not 0 <= self.seconds <= LONGEST:
            raise ValueError(
                f"film_seconds = {self.seconds} must be from 0, for no films, to {LONGEST:g}: "
                "longer ones make the page too large, `watch --record` films whole episodes"
            )

    def of(self, comparison: Comparison, results: Sequence[MethodResults]) -> list[FilmStrip]:
        """Film the run of the lowest seed of each method.

        Where all stages would be more films than a page can hold, there are those before training,
        after the first phase, and at the end of training; where these are too many, the last
        methods have none.

        Args:
            comparison: The game and schedule in which they were trained.
            results: The methods.

        Raises:
            ValueError: If saliency is to be shown of an agent that has none.
        """
        # What opens the agents of others is not known here.
        results = [one for one in results if not one.runs[0].is_external]
        if not self.seconds or not results or why_not_filmed(comparison.protocol.game):
            return []
        without = [one.label for one in results if one.runs[0].settings["algorithm"] != "dqn"]
        if self.saliency and without:
            raise ValueError(no_saliency(", ".join(without)))
        schedule = comparison.protocol.schedule
        record = results[0].runs[0].scores
        names = record.stage_labels
        stages = dict(enumerate(("before", *names)))
        phases = len(schedule.distinct)
        left_out = ""
        marked = _MARKED if self.saliency else ""
        room = _LARGER if self.saliency else 1
        most = int(MOST_SECONDS / self.seconds / self.comparisons / room)
        if len(results) * len(stages) * phases > most:
            stages = {stage: stages[stage] for stage in (0, 1, len(names))}
            left_out = " The agents after other phases are left out: the page would be too large."
        filmed = results[: max(1, most // (len(stages) * phases))]
        if len(filmed) < len(results):
            left_out += " So are the methods that are not shown."
        cameras = [
            Camera(
                comparison.protocol.game,
                schedule,
                phase.index,
                width=WIDTH_WITH_SALIENCY if self.saliency else WIDTH,
                shows_observation=self.saliency,
                hud="brief",
                context=comparison.protocol.context,
                **comparison.protocol.options,
            )
            for phase in schedule.distinct
        ]
        strips: list[FilmStrip] = []
        for one in filmed:
            run = one.runs[0]
            # A row is a phase played, a column what was trained before, as in the matrix.
            clips = tuple(zip(*(self._column(run, row, cameras) for row in stages), strict=True))
            if any(clip for of_phase in clips for clip in of_phase):
                strips.append(
                    FilmStrip(
                        key=f"films-{len(strips)}",
                        title=one.label,
                        caption=f"Seed {run.seed}, the first evaluation episode. Below each film: "
                        f"mean {comparison.points} of that agent in that phase.{marked}{left_out}",
                        label=one.label,
                        rows=record.labels,
                        columns=tuple(stages.values()),
                        rows_label=PLAYED,
                        columns_label=TRAINED,
                        clips=clips,
                    )
                )
        for camera in cameras:
            camera.env.close()
        return strips

    def _column(self, run: Run, row: int, cameras: Sequence[Camera]) -> tuple[Clip | None, ...]:
        """Film the agent after one phase of training in all phases; ``row`` is of the matrix."""
        record = run.scores
        if not len(record.ends[row]):
            return (None,) * len(cameras)
        last = int(record.ends[row][-1])
        path = run.folder.checkpoint(int(record.steps[last]))
        if path is None:
            return (None,) * len(cameras)
        try:
            agent = load_agent(path)
        except ValueError as error:
            raise ValueError(f"{error}; without films: --film-seconds 0") from error
        weighs = saliency_of(agent) if self.saliency else None
        stage = "before training" if row == 0 else f"after {record.stage_labels[row - 1]}"

        def clip(column: int, camera: Camera) -> Clip:
            evaluation = run.protocol.evaluation
            pictures = camera.film(
                agent,
                seed=evaluation.first_seed,
                seconds=min(self.seconds, evaluation.max_steps / FRAMES_PER_SECOND),
                every=EVERY,
                weighs=weighs,
            )
            data = film.clip(pictures, FRAMES_PER_SECOND // EVERY)
            mean = record.means[last, column]
            name = record.labels[column]
            alt = f"{run.method}, {stage}, plays {name}: {mean:.1f} {camera.points} on average"
            return Clip(data, "video/mp4", alt, f"{mean:.1f}", camera.size)

        # Each phase has a camera of its own; while one film is encoded the next is drawn.
        with ThreadPoolExecutor(THREADS) as threads:
            return tuple(threads.map(clip, range(len(cameras)), cameras))
