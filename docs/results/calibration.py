"""Writes the tables of docs/calibration.md: what papers report, beside what the suite measures.

    python docs/results/calibration.py

It reads the published runs of the studies in ``STUDIES`` and prints the tables.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from scipy.stats import t

HERE = Path(__file__).parent
STUDIES = (
    "calibration",
    "calibration-gem",
    "calibration-many",
    "calibration-split",
    "calibration-split-large",
    "calibration-ten",
    "calibration-projection",
)
RETAINED, LEARNT, WORST = "acc@gem", "la@mer", "worst-phase@end"
QUESTIONS = 1_000
"""Of an exam, of which a score is the number answered right."""
CLOSE = 2.0
"""How far off a number may be beyond the interval [percentage points]."""
WIDE = 20.0
"""Width from which an interval tells nothing [percentage points]."""

MER = {"5120": 89.6, "500": 81.8, "200": 77.4}, {"5120": 85.5, "500": 77.5, "200": 73.5}
"""Of rotations and of permutations; one number for each memory, whichever algorithm it is of."""
PAPER: Mapping[str, Mapping[str, float]] = {
    "rotated-digits": {
        "online": 53.4,
        "independent": 60.7,
        "ewc": 58.0,
        "gem-5120": 87.1,
        "gem-500": 74.9,
        "gem-200": 67.4,
        "er-5120": 88.3,
        "er-500": 76.6,
        "er-200": 70.3,
        **{f"mer-{k}-{memory}": it for k in (1, 6, 7) for memory, it in MER[0].items()},
    },
    "permuted-digits": {
        "online": 55.4,
        "independent": 55.8,
        "ewc": 62.3,
        "gem-5120": 82.5,
        "gem-500": 69.3,
        "gem-200": 55.4,
        "er-5120": 83.9,
        "er-500": 74.0,
        "er-200": 69.7,
        **{f"mer-{k}-{memory}": it for k in (1, 6, 7) for memory, it in MER[1].items()},
    },
    "many-permuted-digits": {
        "online": 32.6,
        "ewc": 33.5,
        "er-5120": 59.8,
        "er-500": 42.4,
        **{f"mer-{k}-5120": 61.8 for k in (1, 6, 7)},
        **{f"mer-{k}-500": 47.4 for k in (1, 6, 7)},
    },
}
"""Retained accuracy in Riemer et al. 2019, as remembered [%]."""
SPLIT: Mapping[str, Mapping[str, float]] = {
    "split-digits-task": {
        "online": 84.3,
        "ewc": 99.1,
        "si": 99.2,
        "agem": 98.6,
        "er": 99.0,
    },
    "split-digits-domain": {
        "online": 60.1,
        "ewc": 63.0,
        "si": 66.9,
        "lwf": 72.2,
        "agem": 87.7,
        "er": 93.8,
    },
    "split-digits-class": {
        "online": 19.9,
        "ewc": 20.6,
        "si": 21.2,
        "lwf": 21.9,
        "agem": 65.1,
        "er": 88.8,
    },
    "split-small-digits": {"online": 19.9, "generative-replay": 91.3, "er": 88.8},
    "large-split-digits-domain": {"si": 66.9, "lwf": 72.2, "agem": 87.7},
    "large-split-digits-class": {"si": 21.2, "lwf": 21.9, "lwf-authors": 21.9, "agem": 65.1},
}
"""Retained accuracy in van de Ven et al. 2022, as remembered [%]; of MNIST."""
TEN: Mapping[str, Mapping[str, float | None]] = {
    "ten-permuted-digits": {
        "online": None,
        "dropout": 77.0,
        "ewc": 94.0,
        "ewc-empirical": None,
        "ewc-batches": None,
        "si": 97.0,
    }
}
"""The same after ten permutations in Kirkpatrick et al. 2017 (figure 2B) and Zenke et al. 2017, as
remembered [%]; None where no number is known."""
PROJECTION: Mapping[str, Mapping[str, float | None]] = {
    "seventeen-permuted-digits": {"online": None, "agem": 81.0},
    "twenty-permuted-digits": {"online": None, "gem": 83.0},
}
"""The same that continual-learning-baselines reaches [%]."""
STREAMS = {
    "rotated-digits": "Rotations",
    "permuted-digits": "Permutations",
    "many-permuted-digits": "Many permutations",
    "split-digits-task": "Task",
    "split-digits-domain": "Domain",
    "split-digits-class": "Class",
    "split-small-digits": "Class, 8 x 8 pixels",
    "large-split-digits-domain": "Domain, large",
    "large-split-digits-class": "Class, large",
    "ten-permuted-digits": "Ten permutations",
    "seventeen-permuted-digits": "Seventeen permutations",
    "twenty-permuted-digits": "Twenty permutations",
}
TITLES = {
    "online": "Online",
    "independent": "Independent",
    "dropout": "Online, dropout",
    "ewc": "EWC",
    "ewc-empirical": "EWC, empirical",
    "ewc-batches": "EWC, batches",
    "gem": "GEM",
    "er": "Experience replay",
    "mer-1": "MER, algorithm 1",
    "mer-6": "MER, algorithm 6",
    "mer-7": "MER, algorithm 7",
    "si": "SI",
    "lwf": "LwF",
    "lwf-authors": "LwF, their strength",
    "agem": "A-GEM",
    "generative-replay": "Generative replay",
}
HEADINGS = (
    "stream",
    "method",
    "memory",
    "paper [%]",
    "retained [%]",
    "learnt [%]",
    "change [%]",
    "verdict",
)


class Estimate(NamedTuple):
    """A mean over seeds, with its interval [%]."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"


def verdict(found: Estimate, paper: float) -> str:
    """Say how a number compares with that of a paper."""
    if found.high - found.low > WIDE:
        return "seeds differ too much to say"
    if found.low <= paper <= found.high:
        return "within the interval"
    off = found.mean - paper
    return f"within {CLOSE:g} points" if abs(off) <= CLOSE else f"off by {off:+.1f}"


def estimate(scores: Sequence[float]) -> Estimate:
    """Return the mean of some runs, with Student's interval.

    The intervals of reports allow for rare runs that were not seen, down to no right answer at all,
    and with five seeds hold nearly any paper's number. Here the number is a mean over twenty tasks,
    and seeds differ by a point.
    """
    shares = [100 * score / QUESTIONS for score in scores]
    half = t.ppf(0.975, len(shares) - 1) * stdev(shares) / len(shares) ** 0.5
    return Estimate(mean(shares), mean(shares) - half, mean(shares) + half)


class Measured(NamedTuple):
    """What a method comes to in a scenario: right answers of an exam, run by run."""

    retained: list[float]
    """Mean over all tasks at the end."""
    learnt: list[float]
    """Mean over all tasks, each just after it was learnt."""
    worst: list[float]
    """In the worst task at the end."""

    def of_each(self) -> "Measured":
        """Return the same of a network for each task, which begins as a copy of the last one.

        Nothing changes it after its task: what this one network knew then is what is retained.
        """
        return self._replace(retained=self.learnt)


@cache
def measured() -> dict[tuple[str, str], Measured]:
    """Read what was measured, by scenario and method."""
    found: dict[tuple[str, str], Measured] = {}
    for study in STUDIES:
        with (HERE / f"{study}-runs.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                key = row["in"].partition(", ")[2], row["method"]
                runs = found.setdefault(key, Measured([], [], []))
                for column, scores in zip((RETAINED, LEARNT, WORST), runs, strict=True):
                    scores.append(float(row[column]))
    return found


def rows(papers: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Return what was measured beside what papers have, as text."""
    for scenario, of_paper in papers.items():
        for method, paper in of_paper.items():
            if (scenario, method) not in measured():
                continue
            name, _, memory = method.rpartition("-")
            if not memory.isdigit():
                name, memory = method, "none"
            found = measured()[scenario, method]
            if method == "independent":
                found = found.of_each()
            retained, learnt = estimate(found.retained), estimate(found.learnt)
            yield (
                STREAMS[scenario],
                TITLES[name],
                memory,
                "-" if paper is None else f"{paper:.1f}",
                str(retained),
                f"{learnt.mean:.1f}",
                f"{retained.mean - learnt.mean:+.1f}",
                "-" if paper is None else verdict(retained, paper),
            )


def table() -> str:
    """Return MER's table as Markdown."""
    return markdown(HEADINGS, ("---",) * 2 + ("---:",) * 5 + ("---",), rows(PAPER))


def small_table(papers: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table of split digits, or of some permutations, without memories."""
    lines = ((*row[:2], *row[3:]) for row in rows(papers))
    headings = (*HEADINGS[:2], *HEADINGS[3:])
    return markdown(headings, ("---",) * 2 + ("---:",) * 4 + ("---",), lines)


def markdown(
    headings: Sequence[str], aligned: Sequence[str], lines: Iterator[tuple[str, ...]]
) -> str:
    """Return a table as Markdown: headings, how columns are aligned, and rows."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (headings, aligned, *lines))


if __name__ == "__main__":
    print("\n\n".join((table(), *map(small_table, (SPLIT, TEN, PROJECTION)))))
