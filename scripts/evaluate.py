"""Play the checkpoints of a run again, and compute its table and matrix anew.

python -m continual_arcade.scripts.evaluate runs/FlappyBird-shrink__finetune__0__20261121T120000Z
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from tqdm import tqdm

from continual_arcade.evaluation.protocol import Protocol
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.showing import show
from continual_arcade.evaluation.table import append, read, rows, same
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.players import load_agent


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
    protocol = Protocol.from_config(config)
    asked = {"episodes": args.episodes, "max_steps": args.max_steps}
    judging = replace(protocol.judging, **{k: v for k, v in asked.items() if v is not None})
    evaluator = replace(protocol, judging=judging).make_evaluator()
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
        played = evaluator.play(load_agent(path))
        new = rows(
            evaluator,
            played,
            run=folder.name,
            seed=config["seed"],
            step=step,
            trained_phase=int(stages[step]),
        )
        append(table, new)
    console = Console()
    show(folder, table, console)
    if judging == protocol.judging:
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
