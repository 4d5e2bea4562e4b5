"""Print a schedule, check it, and write it as a picture or a file.

python -m continual_arcade.scripts.schedule shrink --game FlappyBird --out shrink.png
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from continual_arcade.envs import make_game
from continual_arcade.envs.checks import check_new
from continual_arcade.envs.drawing.schedule import draw
from continual_arcade.envs.schedule_files import SUFFIXES, save
from continual_arcade.envs.schedules import Schedule
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.games import GameName
from continual_arcade.scripts.schedules import game_for, schedule_for


@dataclass(frozen=True)
class Show:
    """Print a schedule, check it, and write it as a picture or a file."""

    schedule: Annotated[str, tyro.conf.Positional] = "shrink"
    """Name of a schedule, or of a scenario; or a .toml or .json file."""
    game: GameName | None = None
    """The game it is for; that of a scenario, or the first of these, if not given."""
    phase_steps: int | None = None
    """Make every phase this long [lifetime steps]."""
    out: Path | None = None
    """New file to write: .png (or .svg, .pdf) for a picture, .toml or .json for the schedule."""


def show(args: Show) -> None:
    """Print a schedule and write it where that is asked for.

    Raises:
        ValueError: If the schedule is unknown, damaged, or does not suit the game.
        OSError: If the file exists or cannot be written.
    """
    game = make_game(game_for(args.game, args.schedule))
    schedule = schedule_for(game, args.schedule)
    if args.phase_steps is not None:
        schedule = schedule.with_steps(args.phase_steps)
    schedule.check(game.tunables)
    print(schedule)
    if args.out is not None:
        write(schedule, args.out, {suffix: partial(save, schedule) for suffix in SUFFIXES})


def write(schedule: Schedule, out: Path, as_data: Mapping[str, Callable[[Path], None]]) -> None:
    """Write a picture of a schedule, or something as data, to a new file, and say so.

    Args:
        schedule: What a picture shows.
        out: The file.
        as_data: What writes data, by the suffix of the file; with any other it is a picture.

    Raises:
        OSError: If the file exists or cannot be written.
        ValueError: If there is no picture of this kind.
    """
    check_new(out)
    as_data.get(out.suffix, partial(draw, schedule))(out)
    print(f"written to {out}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    run(lambda: show(tyro.cli(Show, args=arguments, description=__doc__)))


if __name__ == "__main__":
    main()
