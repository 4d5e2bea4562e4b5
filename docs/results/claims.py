"""Test the claims of the MER and EWC papers on the published runs, and print the verdicts.

python docs/results/claims.py

reads the CSV files beside it: no run is needed. Every number is a difference of runs with equal
seeds, with its 95 % interval; p is that of the sign-flip test, Holm's correction over the lines of
a table.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from continual_arcade.evaluation.comparison import Difference, adjusted, paired_difference

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
Numbers = dict[int, float]
Line = tuple[str, Numbers, Numbers]


def main() -> None:
    """Print all tables."""
    memory, classic, lives, reasons = (
        pd.read_csv(HERE / f"{name}-runs.csv") for name in ("memory", "classic", "lives", "reasons")
    )
    worlds = [*LIVES, *LIVES.values()]
    for metric, title in ((END, "at the end"), (CHANGE, "change since learnt")):
        for rival in ("reservoir", "fifo"):
            table(
                f"MER less a DQN with the same memory ({rival}), {title}",
                [
                    (
                        f"{world}, {size}",
                        of(memory, world, f"mer-{size}", metric),
                        of(memory, world, f"{rival}-{size}", metric),
                    )
                    for world in worlds
                    for size in (50_000, 5_000, 500)
                ],
            )
        lead = advantage(memory, metric)
        table(
            f"Is its lead over reservoir larger with 500 than with 50,000 transitions? {title}",
            [(world, lead(world, 500), lead(world, 50_000)) for world in worlds],
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


def of(runs: pd.DataFrame, world: str, method: str, metric: str) -> Numbers:
    """Return a metric of each run by its seed."""
    found = runs[(runs["in"] == world) & (runs["method"] == method)]
    return dict(zip(found["seed"].tolist(), found[metric].tolist(), strict=True))


def advantage(runs: pd.DataFrame, metric: str) -> Callable[[str, int], Numbers]:
    """Return how much more MER has than reservoir, by seed, of a world and a memory."""

    def lead(world: str, size: int) -> Numbers:
        mer = of(runs, world, f"mer-{size}", metric)
        rival = of(runs, world, f"reservoir-{size}", metric)
        return {seed: mer[seed] - rival[seed] for seed in mer.keys() & rival.keys()}

    return lead


def less(
    ours: str, rival: str, metric: str, runs: pd.DataFrame, *, named: bool = False
) -> Iterator[Line]:
    """Go through the worlds in which two methods have lived."""
    for world in dict.fromkeys(runs["in"]):
        name = f"{world}, `{ours}` less `{rival}`" if named else world
        yield name, of(runs, world, ours, metric), of(runs, world, rival, metric)


def table(title: str, lines: list[Line]) -> None:
    """Print one table of differences."""
    found = adjusted([paired_difference(ours, theirs) for _, ours, theirs in lines])
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
