"""What the command ``report`` does, once its arguments are read."""

import time
from dataclasses import replace

from rich.console import Console

from continual_arcade.evaluation import reference_files
from continual_arcade.evaluation.runs import LeftOut, gather
from continual_arcade.reports.page import NO_RUNS, build_page
from continual_arcade.reports.pages.files import write
from continual_arcade.scripts.films import Films, why_not_filmed
from continual_arcade.scripts.options import Report

LARGEST = 15_000_000
"""What a page may have [bytes] without a warning."""


def report(args: Report, console: Console) -> list[LeftOut]:
    """Write the report.

    Returns:
        The runs that are not in it, each with its reason.

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
    return left_out
