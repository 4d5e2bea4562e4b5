"""Test the claims of the MER and EWC papers on the published runs, and print the verdicts.

python docs/results/claims.py

reads the CSV files beside it: no run is needed. Every number is a difference of runs with equal
seeds, with its 95 % interval within what it can be; p is that of the sign-flip test, Holm's
correction over the lines of a table.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import pandas as pd

from continual_arcade.evaluation.bounded import Range
from continual_arcade.evaluation.comparison import Difference, adjusted, paired_difference
from continual_arcade.evaluation.csv_table import read_csv
from continual_arcade.studies.publishing import Ranges, by_metric, possible

HERE = Path(__file__).parent
END, CHANGE = "acc@gem", "bwt@gem"
LIVES = {
    "FlappyBird, shrink": "FlappyBird, shrink-fast",
    "FlappyBird, conflict": "FlappyBird, conflict-fast",
    "Catcher, shrink": "Catcher, shrink-fast",
    "Catcher, conflict": "Catcher, conflict-fast",
}
"""Slow drift, and the same phases with fast drift."""
REASONS = {
    "MER and replay at equal step sizes": (
        ("mer", "reservoir-at-mers-step"),
        ("mer-at-reservoirs-step", "reservoir"),
        ("mer-gamma-0.3", "reservoir"),
        ("reservoir-at-mers-step", "reservoir"),
    ),
    "Penalties that are strong": (
        ("ewc-0.01", "finetune"),
        ("ewc-1", "finetune"),
        ("l2-0.001", "finetune"),
        ("ewc-0.01", "l2-0.001"),
    ),
}


class Sample(NamedTuple):
    """A number of each run, and what it can be."""

    by_seed: dict[int, float]
    within: Range

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return fmean(self.by_seed.values())


class Published(NamedTuple):
    """What was published of a study."""

    runs: pd.DataFrame
    ranges: Ranges


Line = tuple[str, Sample, Sample]


def main() -> None:
    """Print all tables."""
    memory, classic, lives, reasons = (
        Published(
            read_csv(HERE / f"{name}-runs.csv"),
            by_metric(read_csv(HERE / f"{name}-ranges.csv")),
        )
        for name in ("memory", "classic", "lives", "reasons")
    )
    scenarios = [*LIVES, *LIVES.values()]
    for metric, title in ((END, "at the end"), (CHANGE, "change since learnt")):
        for rival in ("reservoir", "fifo"):
            table(
                f"MER less a DQN with the same memory ({rival}), {title}",
                [
                    (
                        f"{scenario}, {size}",
                        of(memory, scenario, f"mer-{size}", metric),
                        of(memory, scenario, f"{rival}-{size}", metric),
                    )
                    for scenario in scenarios
                    for size in (50_000, 5_000, 500)
                ],
            )
        lead = advantage(memory, metric)
        table(
            f"Is its lead over reservoir larger with 500 than with 50,000 transitions? {title}",
            [(scenario, lead(scenario, 500), lead(scenario, 50_000)) for scenario in scenarios],
        )
        table(
            f"Is its lead over reservoir larger where the drift is faster? {title}",
            [
                (f"{slow}, {size}", lead(fast, size), lead(slow, size))
                for slow, fast in LIVES.items()
                for size in (50_000, 5_000, 500)
            ],
        )
        for ours, rival in (("mer", "reservoir"), ("ewc", "finetune"), ("ewc", "l2")):
            lines = [*less(ours, rival, metric, classic), *less(ours, rival, metric, lives)]
            table(f"`{ours}` less `{rival}`, {title}", lines)
        for kind, pairs in REASONS.items():
            lines = [line for pair in pairs for line in less(*pair, metric, reasons, named=True)]
            table(f"{kind}, {title}", lines)


def of(study: Published, scenario: str, method: str, metric: str) -> Sample:
    """Return a metric of each run of a method in a scenario."""
    runs = study.runs[(study.runs["in"] == scenario) & (study.runs["method"] == method)]
    within = possible(study.ranges, scenario, metric, runs)
    assert within is not None, f"{metric} in {scenario} is in no file of ranges"
    return Sample(dict(zip(runs["seed"].tolist(), runs[metric].tolist(), strict=True)), within)


def advantage(study: Published, metric: str) -> Callable[[str, int], Sample]:
    """Return how much more MER has than reservoir, by seed, of a scenario and a memory."""

    def lead(scenario: str, size: int) -> Sample:
        mer = of(study, scenario, f"mer-{size}", metric)
        rival = of(study, scenario, f"reservoir-{size}", metric)
        both = mer.by_seed.keys() & rival.by_seed.keys()
        return Sample(
            {seed: mer.by_seed[seed] - rival.by_seed[seed] for seed in sorted(both)},
            mer.within.less(rival.within, mer.mean, rival.mean),
        )

    return lead


def less(
    ours: str, rival: str, metric: str, study: Published, *, named: bool = False
) -> Iterator[Line]:
    """Iterate over the scenarios in which two methods were trained."""
    for scenario in dict.fromkeys(study.runs["in"]):
        name = f"{scenario}, `{ours}` less `{rival}`" if named else scenario
        yield name, of(study, scenario, ours, metric), of(study, scenario, rival, metric)


def table(title: str, lines: list[Line]) -> None:
    """Print one table of differences."""
    found = adjusted(
        [
            paired_difference(ours.by_seed, theirs.by_seed, within=(ours.within, theirs.within))
            for _, ours, theirs in lines
        ]
    )
    print(f"**{title}**\n\n| | pairs | difference | p (Holm) | verdict |\n|---|---:|---:|---:|---|")
    for (name, *_), one in zip(lines, found, strict=True):
        numbers = f"{one.pairs} | {one.estimate:+.1f} | {one.adjusted_p:.3f}"
        print(f"| {name} | {numbers} | {verdict(one)} |")
    print()


def verdict(one: Difference) -> str:
    """Say in a word what a difference shows, with Holm's correction."""
    if one.adjusted_p >= 0.05:
        return "undecided"
    return "**more**" if one.estimate.value > 0 else "**less**"


if __name__ == "__main__":
    main()
