"""What the command ``report`` does, once its arguments are read."""

import time
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from continual_arcade.evaluation import reference_files
from continual_arcade.evaluation.runs import LeftOut, gather
from continual_arcade.reports.page import NO_RUNS, build_page
from continual_arcade.reports.pages.files import write
from continual_arcade.reports.provenance import unused_baselines
from continual_arcade.scripts.films import Films, why_not_filmed
from continual_arcade.scripts.options import Report

LARGEST = 15_000_000
"""What a page may have [bytes] without a warning."""


def report(args: Report, console: Console) -> list[LeftOut]:
    """Write the report.

    Returns:
        The runs that are not in it, or of no use to it as baselines, each with its reason.

    Raises:
        ValueError: If there is nothing to report, or runs of different protocols are given.
        OSError: If there is no such run, or the page cannot be written.
    """
    begun = time.perf_counter()
    # A mistake is said before anything is read.
    films = Films(args.film_seconds, saliency=args.saliency)
    references = (
        reference_files.load(args.references)
        if args.references
        else reference_files.shipped_references()
    )
    gathered = gather(args.folders, unfinished=args.unfinished)
    baselines = gather(args.baselines) if args.baselines else NO_RUNS
    left_out = [*gathered.left_out, *baselines.left_out]
    _say(left_out, console)
    if not gathered.comparisons:
        way_out = " (--unfinished takes those that did not finish as they are)"
        raise ValueError(
            f"{gathered.why_empty}: there is nothing to report"
            f"{way_out if any(left.unfinished for left in gathered.left_out) else ''}"
        )
    if not args.mixed:
        gathered.check_comparable()
    unused = unused_baselines(gathered.comparisons, baselines)
    _say(unused, console)
    for game in dict.fromkeys(each.protocol.game for each in gathered.comparisons):
        if args.film_seconds and (why := why_not_filmed(game)):
            console.out(f"films are left out: {why}")
    page = build_page(
        gathered,
        references=references,
        baselines=baselines,
        against=args.against,
        film=replace(films, comparisons=len(gathered.comparisons)).of,
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
    return [*left_out, *unused]


def _say(left_out: Sequence[LeftOut], console: Console) -> None:
    for left in left_out:
        console.out(str(left))
