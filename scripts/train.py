"""Train an agent through a whole life, and show what it forgot.

python -m continual_arcade.scripts.train --game FlappyBird --schedule shrink --seed 0
"""

import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import configure
from tqdm import tqdm

from continual_arcade.agents.settings import DQNSettings, build_dqn
from continual_arcade.envs import make_game
from continual_arcade.envs.curricula import as_schedule
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.callback import EvaluationCallback
from continual_arcade.evaluation.evaluator import EPISODES, MAX_STEPS, Evaluator, Played
from continual_arcade.evaluation.report import show
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.scripts.cli import run

METHOD = "dqn"
_VERSIONS = ("continual-arcade", "gymnasium", "stable-baselines3", "torch", "numpy", "numba")


@dataclass(frozen=True)
class Train:
    """Train a DQN through a whole life; evaluate it on the way; show what it forgot."""

    game: Literal["FlappyBird", "Catcher"] = "FlappyBird"
    """What is played."""
    schedule: str = "shrink"
    """What drifts: shrink, grow, cycle, shuffle:SEED, drift, conflict, or a .toml or .json file."""
    phase_steps: int | None = None
    """Make every phase this long [lifetime steps]."""
    seed: int = 0
    """Seed of everything that is random."""
    out: Path = Path("runs")
    """Folder in which the run gets a folder of its own."""
    eval_every: int = 12_500
    """Interval between evaluations beside those at phase ends [lifetime steps]; 0 for none."""
    eval_episodes: int = EPISODES
    """Episodes of an evaluation in each phase."""
    eval_max_steps: int = MAX_STEPS
    """Limit of an evaluation episode [steps]."""
    progress: bool = True
    """Show a progress bar, and each evaluation."""
    dqn: Annotated[DQNSettings, tyro.conf.arg(name="dqn")] = field(default_factory=DQNSettings)
    """How the agent learns."""


def train(args: Train) -> RunFolder:
    """Train one agent.

    Returns:
        The folder of the run.

    Raises:
        ValueError: If an argument makes no sense; said before anything is written.
        OSError: If the run cannot be written.
    """
    # Networks of this size gain nothing from a second thread, and lose much when cores are shared.
    torch.set_num_threads(1)
    game = make_game(args.game)
    schedule = as_schedule(args.schedule, game)
    if args.phase_steps is not None:
        schedule = schedule.with_steps(args.phase_steps)
    evaluator = Evaluator(
        args.game, schedule, episodes=args.eval_episodes, max_steps=args.eval_max_steps
    )
    agent = build_dqn(args.game, schedule, args.dqn, args.seed)
    folder = RunFolder.new(args.out, args.game, schedule.name, METHOD, args.seed)
    progress = _Progress(schedule, evaluator, shown=args.progress)
    evaluation = EvaluationCallback(
        evaluator, schedule, folder, seed=args.seed, every=args.eval_every, report=progress.report
    )
    # Made last, so that a mistake in the arguments leaves nothing behind.
    folder.make()
    folder.write_config(_config(args, schedule))
    logger = configure(str(folder.path), ["csv"])
    agent.set_logger(logger)
    begun = time.perf_counter()
    with closing(logger), closing(progress.bar):
        agent.learn(schedule.total_steps, callback=CallbackList([evaluation, progress]))
    elapsed = time.perf_counter() - begun
    console = Console()
    show(folder, folder.table, console)
    console.print(
        f"trained {schedule.total_steps:,} steps in {elapsed - evaluation.seconds:.0f} s, "
        f"evaluated {evaluation.steps:,} steps in {evaluation.seconds:.0f} s"
    )
    return folder


def _config(args: Train, schedule: Schedule) -> dict[str, Any]:
    return {
        "game": args.game,
        "schedule": schedule.to_dict(),
        "fingerprint": schedule.fingerprint,
        "method": METHOD,
        "seed": args.seed,
        "settings": asdict(args.dqn),
        "evaluation": {
            "every": args.eval_every,
            "episodes": args.eval_episodes,
            "max_steps": args.eval_max_steps,
        },
        "command": sys.argv,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _VERSIONS},
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Return the commit of the checkout this runs from, with a + if it was changed since."""
    here = Path(__file__).resolve().parent
    try:
        commit, changes = (
            subprocess.run(
                ["git", *arguments], cwd=here, capture_output=True, text=True, check=True
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # an installed package, not a checkout
    return f"{commit}+" if changes else commit


class _Progress(BaseCallback):
    """A bar that shows how far the life has come, and how the last evaluation went."""

    def __init__(self, schedule: Schedule, evaluator: Evaluator, *, shown: bool) -> None:
        super().__init__()
        self.schedule = schedule
        self.evaluator = evaluator
        self.shown = shown
        # None: no bar where the output is no terminal; the evaluations are printed there, too.
        self.bar: tqdm[Any] = tqdm(
            total=schedule.total_steps, unit="step", disable=None if shown else True
        )
        self._phase = -1

    def _on_step(self) -> bool:
        phase = self.schedule.index_at(max(0, self.num_timesteps - 1))
        if phase != self._phase:
            self._phase = phase
            name = self.schedule.stretches[phase].name
            self.bar.set_description(f"phase {phase + 1}/{len(self.schedule)}: {name}")
        self.bar.update(min(self.num_timesteps, self.schedule.total_steps) - self.bar.n)
        return True

    def report(self, step: int, played: Played) -> None:
        """Show the mean score in each phase."""
        means = ", ".join(f"{mean:.1f}" for mean in played.scores.mean(axis=1))
        if self.shown:
            self.bar.write(f"step {step:>9,}  mean {self.evaluator.env.game.points}: {means}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = tyro.cli(Train, args=arguments, description=__doc__)
    run(lambda: print(f"the run is in {train(args).path}"))


if __name__ == "__main__":
    main()
