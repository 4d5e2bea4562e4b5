"""The whole way once: train through harder and harder phases, see what was forgotten, report.

Run it with ``python -m continual_arcade.scripts.demo``.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from continual_arcade.envs import make_game
from continual_arcade.envs.curricula import as_schedule
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.terminal import plain_console
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.report import Report, report
from continual_arcade.scripts.train import Train, train
from continual_arcade.scripts.watch import Watch, watch


@dataclass(frozen=True)
class Demo:
    """Train a DQN through harder and harder phases, show what it forgot, film it, report."""

    out: Path = Path("runs")
    """Folder in which the run gets a folder of its own."""
    seed: int = 0
    """Seed of everything that is random."""
    phase_steps: int | None = None
    """Make every phase this long [lifetime steps]; 25,000 if not given."""


def demo(args: Demo) -> None:
    """Train, evaluate, film and report.

    Raises:
        ValueError: If an argument makes no sense.
        OSError: If the run cannot be written.
    """
    begun = time.perf_counter()
    args_of_run = Train(seed=args.seed, out=args.out, phase_steps=args.phase_steps)
    game = make_game(args_of_run.game)
    phases = as_schedule(args_of_run.schedule, game).phases
    print(f"{game.title}, {len(phases)} phases, from {phases[0].name} to {phases[-1].name}.")
    print("Training takes seconds; compiling the learner, once on a machine, about a minute.")
    folder = train(args_of_run)
    last = len(Schedule.from_dict(folder.read_config()["schedule"])) - 1
    for name, phase in (("first", 0), ("last", last)):
        film = folder.path / f"{name}_phase.gif"
        watch(Watch(players=(str(folder.path),), phase=str(phase), record=film))
    report(Report((folder.path,), out=folder.path / "report.html"), plain_console())
    seconds = time.perf_counter() - begun
    print(f"done in {seconds / 60:.1f} minutes; everything is in {folder.path}")
    print("open report.html there in a browser")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    run(lambda: demo(tyro.cli(Demo, args=arguments, description=__doc__)))


if __name__ == "__main__":
    main()
