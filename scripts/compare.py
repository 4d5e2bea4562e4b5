"""Put runs that differ only by their seed together: what is kept, and how sure that is.

python -m continual_arcade.scripts.compare runs/FlappyBird-conflict__*
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from continual_arcade.envs.messages import unknown
from continual_arcade.evaluation.runs import Comparison, LeftOut, gather
from continual_arcade.evaluation.statistics import mean_over_runs
from continual_arcade.evaluation.terminal import TerminalTable, plain_console
from continual_arcade.reports.cautions import cautions
from continual_arcade.reports.method_results import (
    MethodResults,
    change,
    collect_results,
    differences,
)
from continual_arcade.reports.text import ENDS, UNSEEN, Notes, played_by
from continual_arcade.scripts.cli import NOTICE, run


@dataclass(frozen=True)
class Compare:
    """Put runs that differ only by their seed together: what is kept, and how sure that is."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs."""
    against: str | None = None
    """Method to take the differences of the others from, seed by seed; one of several settings as
    the table names it, "ewc, learning_rate=0.001". If not given: finetune, if it is there."""
    mixed: bool = False
    """Take runs of different protocols. Each protocol has its own tables, and nothing is computed
    over several."""


_RESULTS = ("when just learnt", "at the end", "change")
_CAPTION = (
    "mean over runs [95 % interval, within what a score can be where that is known].\n"
    f"{ENDS}\n"
    "change: at the end less when just learnt; negative is forgetting.\n"
    "all: each run's mean over its phases; changes over those that another followed."
)


def compare(args: Compare, console: Console) -> list[LeftOut]:
    """Print a table for each set of runs that differ only by their seed, and one over methods.

    Returns:
        The runs that are in no table, each with its reason.

    Raises:
        ValueError: If there is nothing to compare, runs of different protocols are given, a seed
            was run twice, or no run is of the method to compare with.
        OSError: If there is no such run.
    """
    gathered = gather(args.folders)
    for left in gathered.left_out:
        console.out(str(left))
    if not gathered.comparisons:
        raise ValueError(f"{gathered.why_empty}: there is nothing to compare")
    if not args.mixed:
        gathered.check_comparable()
    comparisons = [(each, collect_results(each, None, {})) for each in gathered.comparisons]
    bases = [_base(results, args.against or "finetune") for _, results in comparisons]
    if args.against is not None and not any(bases):
        labelled = "," in args.against
        names = {one.label if labelled else one.group.method for _, js in comparisons for one in js}
        raise ValueError(unknown("method", args.against, sorted(names)))
    for (comparison, results), base in zip(comparisons, bases, strict=True):
        notes = Notes()
        for one in results:
            console.print(_table(comparison, one, notes))
        if len(results) > 1:
            console.print(_summary(comparison, results, notes))
            if base is not None:
                console.print(_differences(comparison, results, base, notes))
        for line in notes.lines():
            console.out(line)
        console.out(played_by({one.label: one.runs[0].network for one in results}))
        for caution in cautions(results):
            console.out(f"warning: {caution}")
    return gathered.left_out


def _base(results: Sequence[MethodResults], name: str) -> MethodResults | None:
    """Find the method to take differences from: the first that has the name, or is so labelled."""
    return next((one for one in results if name in (one.group.method, one.label)), None)


def _table(comparison: Comparison, one: MethodResults, notes: Notes) -> TerminalTable:
    """Lay out the score of each phase when it was just learnt and at the end."""
    record = one.records[0]
    table = TerminalTable(
        title=f"{comparison.title}, {one.label}: mean {comparison.points}",
        texts=["phase played"],
        numbers=_RESULTS,
        caption=f"seeds {', '.join(map(str, one.group.runs))}; {_CAPTION}",
    )
    last = len(record.ends) - 1
    for column, (phase, row) in enumerate(zip(record.labels, record.learnt(), strict=True)):
        learnt, end = one.matrices[:, row, column], one.matrices[:, last, column]
        within, place = one.ranges[column], f"{one.label}, {phase}"
        cells = [
            notes.cell(mean_over_runs(learnt, within=within), ".1f", f"{place}, when just learnt"),
            notes.cell(mean_over_runs(end, within=within), ".1f", f"{place}, at the end"),
            # What no other phase followed cannot have changed, for which there is no number.
            notes.cell(change(end, learnt, within), "+.1f", place) if row < last else "-",
        ]
        table.add_row(phase, *cells)
    table.end_section()
    table.add_row("all", *_over_all(one, notes))
    return table


def _over_all(one: MethodResults, notes: Notes) -> list[str]:
    """Write the results of a method over all phases."""
    return [
        notes.cell(one.estimate(metric), spec, f"{one.label}, all, {heading}")
        for metric, spec, heading in zip(
            ("la@mer", "acc@gem", "bwt@gem"), (".1f", ".1f", "+.1f"), _RESULTS, strict=True
        )
    ]


def _summary(
    comparison: Comparison, results: Sequence[MethodResults], notes: Notes
) -> TerminalTable:
    """Lay out the results of the methods over all phases."""
    table = TerminalTable(
        title=f"{comparison.title}: mean {comparison.points} over all phases",
        texts=["method"],
        numbers=["runs", *_RESULTS, "worst"],
        caption=f"{_CAPTION}\nworst: at the end, in the phase that each run plays worst.",
    )
    for one in results:
        worst = notes.cell(one.estimate("worst-phase@end"), ".1f", f"{one.label}, worst")
        table.add_row(one.label, str(len(one.runs)), *_over_all(one, notes), worst)
    return table


def _differences(
    comparison: Comparison, results: Sequence[MethodResults], base: MethodResults, notes: Notes
) -> TerminalTable:
    """Lay out how much better the methods are than one of them."""
    table = TerminalTable(
        title=f"{comparison.title}: mean {comparison.points} over all phases at the end, "
        f"less {base.label}",
        texts=["method"],
        numbers=["pairs", "difference", "p", "p (Holm)"],
        caption="mean difference of runs with equal seeds [95 % interval].\n"
        "p: of the sign-flip test; Holm: corrected for the number of methods.\n"
        f"{UNSEEN}",
    )
    for one, difference in differences(results, base, "acc@gem"):
        where = f"{one.label} less {base.label}"
        table.add_row(
            one.label,
            str(difference.pairs),
            notes.cell(difference.estimate, "+.1f", where),
            notes.number(difference.p, ".3f", difference.reason, where),
            notes.number(difference.adjusted_p, ".3f", difference.reason, where),
        )
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""

    def command() -> int | None:
        args = tyro.cli(Compare, args=arguments, description=__doc__)
        return NOTICE if compare(args, plain_console()) else None

    run(command)


if __name__ == "__main__":
    main()
