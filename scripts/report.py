"""Write one page about runs: tables, curves, matrices and films, and every table as a file.

python -m continual_arcade.scripts.report runs/FlappyBird-conflict__* -o report.html
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console

from continual_arcade.evaluation import reference_files
from continual_arcade.evaluation.runs import LeftOut, gather
from continual_arcade.evaluation.terminal import plain_console
from continual_arcade.reports.page import NO_RUNS, build_page
from continual_arcade.reports.pages.files import write
from continual_arcade.scripts.cli import NOTICE, run
from continual_arcade.scripts.films import Films, why_not_filmed

LARGEST = 15_000_000
"""What a page may have [bytes] without a warning."""


@dataclass(frozen=True)
class Report:
    """Write one page about runs: tables, curves, matrices and films."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html")
    """Page to write; pictures and tables as files go to a folder beside it."""
    against: str | None = None
    """Method to take the differences of the others from; if not given: finetune, or the first."""
    baselines: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Folder of a run in a single phase (train --only-phase), for the metrics that need
    one; may be given several times."""
    references: Path | None = None
    """Scores of random play and of the oracle; those that come with the suite if not given."""
    mixed: bool = False
    """Take runs of different protocols. Each protocol has its own sections, and nothing is computed
    over several."""
    unfinished: bool = False
    """Take runs that did not come to their end, too. What they lack is missing in all that they are
    part of."""
    title: str | None = None
    """Heading of the page; game and schedule if not given."""
    about: str = ""
    """What the runs are for, in a sentence below the heading."""
    film_seconds: float = 4.0
    """Length of each film [s]; 0 for none."""


def report(args: Report, console: Console) -> list[LeftOut]:
    """Write the report.

    Returns:
        The runs that are not in it, each with its reason.

    Raises:
        ValueError: If there is nothing to report, or runs of different protocols are given.
        OSError: If there is no such run, or the page cannot be written.
    """
    begun = time.perf_counter()
    torch.set_num_threads(1)
    Films(args.film_seconds)  # a mistake is said before anything is read
    references = (
        reference_files.load(args.references)
        if args.references
        else reference_files.shipped_references()
    )
    gathered = gather(args.folders, unfinished=args.unfinished)
    baselines = gather(args.baselines) if args.baselines else NO_RUNS
    left_out = [*gathered.left_out, *baselines.left_out]
    for left in left_out:
        console.out(f"left out: {left.path}: {left.reason}")
    if not gathered.comparisons:
        raise ValueError(
            "no run was trained to its end: there is nothing to report (--unfinished takes them as "
            "they are)"
        )
    if not args.mixed:
        gathered.check_comparable()
    for game in dict.fromkeys(each.protocol.game for each in gathered.comparisons):
        if args.film_seconds and (why := why_not_filmed(game)):
            console.out(f"films are left out: {why}")
    page = build_page(
        gathered,
        references=references,
        baselines=baselines,
        against=args.against,
        film=Films(args.film_seconds, len(gathered.comparisons)).of,
        title=args.title or "",
        about=args.about,
    )
    write(page, args.out)
    if (size := args.out.stat().st_size) > LARGEST:
        console.out(
            f"warning: the page has {size / 1e6:.0f} MB, which some viewers refuse: "
            "give fewer runs, or --film-seconds 0"
        )
    for section in page.verdicts:
        where = f"{section.title}: " if len(page.verdicts) > 1 else ""
        console.out(f"{where}{section.headline}")
    for warning in page.warnings:
        console.out(f"warning: {warning}")
    console.out(f"written in {time.perf_counter() - begun:.0f} s")
    return left_out


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""

    def command() -> int | None:
        args = tyro.cli(Report, args=arguments, description=__doc__)
        left_out = report(args, plain_console())
        print(f"the report is in {args.out}")
        return NOTICE if left_out else None

    run(command)


if __name__ == "__main__":
    main()
