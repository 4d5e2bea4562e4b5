"""Print a schedule, check it, and write it as a picture or a file.

python -m continual_arcade.scripts.schedule shrink --game FlappyBird --out shrink.png
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from continual_arcade.envs import make_game
from continual_arcade.envs.curricula import as_schedule
from continual_arcade.envs.drawing.schedule import draw
from continual_arcade.envs.schedule_files import SUFFIXES, save
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.games import FIRST, GameName


@dataclass(frozen=True)
class Show:
    """Print a schedule, check it, and write it as a picture or a file."""

    schedule: Annotated[str, tyro.conf.Positional] = "shrink"
    """Name of a schedule, or a .toml or .json file."""
    game: GameName = FIRST
    """The game it is for."""
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
    game = make_game(args.game)
    schedule = as_schedule(args.schedule, game)
    if args.phase_steps is not None:
        schedule = schedule.with_steps(args.phase_steps)
    schedule.check(game.tunables)
    print(schedule)
    if args.out is None:
        return
    if args.out.exists():
        raise FileExistsError(f"{args.out} exists, and nothing is overwritten: choose another name")
    if args.out.suffix in SUFFIXES:
        save(schedule, args.out)
    else:
        draw(schedule, args.out)
    print(f"written to {args.out}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    run(lambda: show(tyro.cli(Show, args=arguments, description=__doc__)))


if __name__ == "__main__":
    main()
