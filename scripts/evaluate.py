"""Play the checkpoints of a run again, and compute its table and matrix anew.

python -m continual_arcade.scripts.evaluate runs/FlappyBird-shrink__finetune__0__20261121T120000Z
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import tyro

from continual_arcade.evaluation import diagnostics
from continual_arcade.evaluation.replaying import replay_phases
from continual_arcade.evaluation.runs import Run
from continual_arcade.evaluation.showing import show
from continual_arcade.evaluation.table import append, read, same
from continual_arcade.evaluation.terminal import plain_console
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.players import load_agent
from continual_arcade.studies.probes import PROBES


@dataclass(frozen=True)
class Evaluate:
    """Play the checkpoints of a run again, and compute its table and matrix anew."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    episodes: int | None = None
    """Episodes in each phase; as in the run if not given."""
    max_steps: int | None = None
    """Limit of an episode [steps]; as in the run if not given."""
    jobs: int = 1
    """Checkpoints at a time, each in a process of its own."""
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
    before = Run.load(args.folder)
    folder, protocol = before.folder, before.protocol
    asked = {"episodes": args.episodes, "max_steps": args.max_steps}
    judging = replace(protocol.judging, **{k: v for k, v in asked.items() if v is not None})
    evaluated = set(before.table["lifetime_step"])
    # One that was not evaluated was killed before its rows were there.
    checkpoints = {step: path for step, path in folder.checkpoints().items() if step in evaluated}

    utc = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    out = args.out or folder.path / f"evaluated_{utc}"
    out.mkdir(parents=True)
    table = out / folder.table.name
    try:
        replayed = replay_phases(
            checkpoints,
            replace(protocol, judging=judging),
            load=load_agent,
            late=before.num_envs,
            run=folder.name,
            seed=before.seed,
            probes=PROBES,
            jobs=args.jobs,
            progress=True,
        )
    except BaseException:
        out.rmdir()  # as if nothing had been asked for
        raise
    append(table, replayed.rows)
    diagnostics.append(out / folder.diagnostics.name, replayed.diagnostics)
    console = plain_console()
    again = replace(before, protocol=replace(protocol, judging=judging), table=read(table))
    show(again, out, console)
    console.out(f"evaluated {replayed.steps:,} steps in {replayed.seconds:.1f} s")
    if judging == protocol.judging:
        if missing := sorted(evaluated - checkpoints.keys()):
            steps = ", ".join(f"{step:,}" for step in missing)
            console.out(f"not played again, because there is no checkpoint: step {steps}")
        played = before.table[before.table["lifetime_step"].isin(checkpoints)]
        equal = same(played, again.table)
        console.out(
            "every episode came out as it did in the run"
            if equal
            else "episodes came out differently than in the run: libraries of other "
            "versions, or another kind of processor"
        )
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    run(lambda: _run(tyro.cli(Evaluate, args=arguments, description=__doc__)))


def _run(args: Evaluate) -> None:
    print(f"the results are in {evaluate(args)}")


if __name__ == "__main__":
    main()
