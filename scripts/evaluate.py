"""Play the checkpoints of a run again, and compute its tables and matrix anew.

python -m continual_arcade.scripts.evaluate runs/FlappyBird-shrink__finetune__0__20261121T120000Z
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from tqdm import tqdm

from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation import diagnostics
from continual_arcade.evaluation.evaluator import Evaluator
from continual_arcade.evaluation.experience import KEEP
from continual_arcade.evaluation.report import show
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.table import append, read, rows, same
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.players import load_agent
from continual_arcade.scripts.probes import PROBES


@dataclass(frozen=True)
class Evaluate:
    """Play the checkpoints of a run again, and compute its table and matrix anew."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    episodes: int | None = None
    """Episodes in each phase; as in the run if not given."""
    max_steps: int | None = None
    """Limit of an episode [steps]; as in the run if not given."""
    out: Path | None = None
    """New folder for the table and the pictures; one inside the run if not given."""


def evaluate(args: Evaluate) -> Path:
    """Evaluate a run again.

    Returns:
        The folder with the new table.

    Raises:
        ValueError: If the run or a checkpoint is damaged.
        OSError: If there is no such run, or the results cannot be written.
    """
    torch.set_num_threads(1)
    folder = RunFolder.open(args.folder)
    config = folder.read_config()
    schedule = Schedule.from_dict(config["schedule"])
    recorded = config["evaluation"]
    episodes = recorded["episodes"] if args.episodes is None else args.episodes
    max_steps = recorded["max_steps"] if args.max_steps is None else args.max_steps
    evaluator = Evaluator(config["game"], schedule, episodes=episodes, max_steps=max_steps)
    checkpoints = folder.checkpoints()
    before = read(folder.table)
    # A checkpoint was trained in the phase that the table of the run says.
    stages = before.drop_duplicates("lifetime_step").set_index("lifetime_step")["trained_phase"]

    utc = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    out = args.out or folder.path / f"evaluated_{utc}"
    out.mkdir(parents=True)
    table = out / folder.table.name
    for step, path in tqdm(checkpoints.items(), unit="checkpoint", disable=None):
        if step not in stages:
            continue  # killed between the checkpoint and its rows
        agent = load_agent(path)
        played = evaluator.play(agent, KEEP)
        whose: dict[str, Any] = {
            "run": folder.name,
            "seed": config["seed"],
            "step": step,
            "trained_phase": int(stages[step]),
        }
        append(table, rows(evaluator, played, **whose))
        assert played.experience is not None
        readings = [one for probe in PROBES for one in probe.measure(agent, played.experience)]
        diagnostics.append(out / folder.diagnostics.name, diagnostics.rows(readings, **whose))
    console = Console()
    show(folder, table, console)
    if (episodes, max_steps) == (recorded["episodes"], recorded["max_steps"]):
        equal = same(before, read(table))
        console.print(
            "every episode came out as it did in the run"
            if equal
            else "[bold]episodes came out differently than in the run[/bold]: libraries of other "
            "versions, or another kind of processor"
        )
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = tyro.cli(Evaluate, args=arguments, description=__doc__)
    run(lambda: print(f"the results are in {evaluate(args)}"))


if __name__ == "__main__":
    main()
