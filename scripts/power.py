"""What so many seeds can show, as commands print it; from the cards of scenarios."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Console

from continual_arcade.evaluation.comparison import smallest_p
from continual_arcade.evaluation.power import (
    LEVEL,
    POWER,
    detectable_difference,
    pairs_needed,
    pairs_to_decide,
    spread_factors,
)
from continual_arcade.evaluation.terminal import TerminalTable
from continual_arcade.reports.text import counted, listed
from continual_arcade.studies import cards
from continual_arcade.studies.scenario import Scenario
from continual_arcade.studies.spread import PairSpread, Spread, measured_methods
from continual_arcade.studies.study import Study

_MOST = 15
"""Pairs that are listed; of more, those that differ least, middling and most between seeds."""


def say_power(study: Study, difference: float | None, console: Console) -> None:
    """Print what the seeds of a study can show, scenario by scenario.

    Args:
        study: The study.
        difference: A difference that is wanted, in the unit of each scenario's score; None for
            none.
        console: Where it is printed.
    """
    methods = [
        [entry.method.name for entry in study.entries_in(scenario)] for scenario in study.scenarios
    ]
    most = max(map(len, methods))
    console.out(least_seeds(len(study.seeds), most))
    if most < 2:
        return
    for scenario, names in zip(study.scenarios, methods, strict=True):
        try:
            cards.check_game(scenario)
        except ValueError as error:
            console.out(f"{error}; what its seeds differ by is not known")
            continue
        if (path := cards.place(scenario)) is None:
            console.out(
                f"{scenario.name} has no card, since it is in no file of its own: what its seeds "
                "differ by is not known",
            )
            continue
        try:
            spread = cards.read_spread(path, scenario)
        except FileNotFoundError:
            console.out(
                f"{scenario.name} has no card, {path}: what its seeds differ by is not known; to "
                f"measure it: {cards.how_to_measure(scenario)}",
            )
            continue
        except (OSError, ValueError) as error:
            console.out(f"what the seeds of {scenario.name} differ by is not known: {error}")
            continue
        measured = measured_methods(study, scenario, spread)
        if lacking := [name for name in names if name not in measured]:
            console.out(
                f"not on the card of {scenario.name}, or with other settings there: "
                f"{listed(lacking)}",
            )
        if replace(study.evaluation, every=cards.EVALUATION.every) != cards.EVALUATION:
            console.out(
                f"the card of {scenario.name} is of default evaluations at phase ends, and this "
                "study evaluates in another way: its spreads will be others",
            )
        print_spread(scenario, spread, measured, len(study.seeds), len(names), console, difference)


def least_seeds(seeds: int, methods: int) -> str:
    """Say whether a number of seeds can decide anything, whatever the effects are.

    Args:
        seeds: Of each method.
        methods: Each two of which are compared.
    """
    if methods < 2:
        return "one method alone: there is no difference to show"
    pairs, smallest = math.comb(methods, 2), smallest_p(seeds)
    of_it = f"the smallest p of the paired sign-flip test with {counted(seeds, 'seed')} is"
    if smallest >= LEVEL:
        decides = "no difference can be decided, not even a single one"
    else:
        most = math.ceil(LEVEL / smallest) - 1
        decides = (
            f"no correction over more than {counted(most, 'pair')} of methods leaves anything "
            "significant"
        )
    least = pairs_to_decide(LEVEL / pairs)
    if least is None:
        way_out = "no number of seeds does: compare fewer methods"
    elif smallest * pairs < LEVEL:
        way_out = "so it can decide them"
    else:
        way_out = f"so nothing can be decided over all of them; it takes {least} seeds at least"
    return (
        f"{of_it} {smallest:.2g}: {decides}. {counted(methods, 'method')} here are "
        f"{counted(pairs, 'pair')}: {way_out}."
    )


def print_spread(
    scenario: Scenario,
    spread: Spread,
    methods: Sequence[str],
    seeds: int,
    compared: int,
    console: Console,
    difference: float | None = None,
) -> None:
    """Print which differences a number of seeds shows in a scenario.

    Args:
        scenario: The scenario.
        spread: What its seeds differ by.
        methods: Of these the pairs are listed.
        seeds: How many there are of each method.
        compared: How many methods are compared, each two of them.
        console: Where it is printed.
        difference: A difference that is wanted, in the unit of the spread; None for none.
    """
    found = spread.among(methods)
    if not found:
        return
    rows = found if len(found) <= _MOST else [found[0], found[len(found) // 2], found[-1]]
    pairs = math.comb(compared, 2)
    levels = {"alone": LEVEL, f"all {pairs} pairs": LEVEL / pairs} if pairs > 1 else {"": LEVEL}
    tails = {f", {name}" if name else "": level for name, level in levels.items()}
    wanted = [] if difference is None else [f"seeds for {difference:g}{tail}" for tail in tails]
    table = TerminalTable(
        f"{scenario.name}: differences in {spread.metric} [{spread.unit}] that "
        f"{counted(seeds, 'seed')} show with {POWER:.0%} probability",
        texts=["methods"],
        numbers=["sd of the difference", *(f"shown{tail}" for tail in tails), *wanted],
        caption="\n".join(_caption(spread, len(found), len(rows), pairs)),
    )
    for pair in rows:
        table.add_row(
            f"{pair.ours} less {pair.theirs}",
            f"{pair.sd:.2f}",
            *(_shown(seeds, pair, level) for level in tails.values()),
            *(_needed(difference, pair, level) for level in tails.values() if difference),
        )
    console.print(table)


def _caption(spread: Spread, found: int, rows: int, pairs: int) -> Iterator[str]:
    yield f"two-sided paired sign flips at {LEVEL:g}, computed as for the paired t test"
    if pairs > 1:
        yield f"all {pairs} pairs: at {LEVEL:g} / {pairs}, the first step of Holm's correction"
    low, high = spread_factors(spread.seeds)
    yield (
        f"sd of {counted(spread.seeds, 'seed')} on the card: the true one may well be {low:.2f} "
        f"to {high:.2f} times as large"
    )
    if rows < found:
        yield (
            f"of {found} pairs on the card those whose differences vary least, middling and most"
        )


def _shown(seeds: int, pair: PairSpread, level: float) -> str:
    found = detectable_difference(seeds, pair.sd, level=level) if seeds > 1 else math.inf
    return "none" if math.isinf(found) else f"{found:.2f}"


def _needed(difference: float, pair: PairSpread, level: float) -> str:
    found = pairs_needed(difference, pair.sd, level=level)
    return "none" if found is None else f"{found:,}"
