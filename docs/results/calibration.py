"""Writes the table of docs/calibration.md: what papers report, beside what the suite measures.

    python docs/results/calibration.py

It reads the published results of the studies ``calibration-*`` and prints a table.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

from scipy.stats import t

HERE = Path(__file__).parent
STUDIES = {"permutations": "MNIST Permutations", "rotations": "MNIST Rotations"}
RETAINED, LEARNT = "acc@gem", "la@mer"
QUESTIONS = 1_000
"""Of an exam, of which a score is the number answered right."""
CLOSE = 2.0
"""How far off a number may be beyond the interval [percentage points]."""
PAPER = {
    ("permutations", "online"): 55.4,
    ("permutations", "er-200"): 69.7,
    ("permutations", "er-500"): 74.0,
    ("permutations", "er-5120"): 83.9,
    ("permutations", "mer-1-200"): 73.5,
    ("permutations", "mer-1-500"): 77.5,
    ("permutations", "mer-6-200"): 73.5,
    ("rotations", "online"): 53.4,
    ("rotations", "er-200"): 70.3,
    ("rotations", "er-500"): 76.6,
    ("rotations", "er-5120"): 88.3,
    ("rotations", "mer-1-200"): 77.4,
    ("rotations", "mer-1-500"): 81.8,
    ("rotations", "mer-6-200"): 77.4,
}
"""Retained accuracy in Riemer et al. 2019, as remembered [%]; one number for MER, whichever of its
algorithms."""
TITLES = {
    "online": "Online",
    "er": "Experience replay",
    "mer-1": "MER, algorithm 1",
    "mer-6": "MER, algorithm 6",
}
HEADINGS = ("stream", "method", "memory", "paper [%]", "retained [%]", "learnt [%]", "verdict")


class Estimate(NamedTuple):
    """A mean over seeds, with its interval [%]."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"


def verdict(found: Estimate, paper: float) -> str:
    """Say how a number compares with that of a paper."""
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


def estimates(study: str) -> dict[tuple[str, str], Estimate]:
    """Read what a study has measured, by method and metric; empty if it is not published."""
    path = HERE / f"calibration-{study}-runs.csv"
    if not path.exists():
        return {}
    scores: dict[tuple[str, str], list[float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            for metric in (RETAINED, LEARNT):
                scores.setdefault((row["method"], metric), []).append(float(row[metric]))
    return {key: estimate(runs) for key, runs in scores.items()}


def rows() -> Iterator[tuple[str, ...]]:
    """Return the rows of the table, as text."""
    for study, stream in STUDIES.items():
        found = estimates(study)
        for (its, method), paper in PAPER.items():
            if its != study or (method, RETAINED) not in found:
                continue
            name, _, memory = method.rpartition("-") if method != "online" else (method, "", "none")
            retained, learnt = found[method, RETAINED], found[method, LEARNT]
            yield (
                stream,
                TITLES[name],
                memory,
                f"{paper:.1f}",
                str(retained),
                f"{learnt.mean:.1f}",
                verdict(retained, paper),
            )


def table() -> str:
    """Return the table as Markdown."""
    lines = [HEADINGS, ("---",) * 2 + ("---:",) * 4 + ("---",), *rows()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    print(table())
