"""Re-running a sample of a study, to verify that what is published can be reproduced."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import special

from continual_arcade.evaluation.metrics.catalogue import METRICS
from continual_arcade.evaluation.metrics.results import Context
from continual_arcade.evaluation.runs import Run
from continual_arcade.studies.executors import Executor, train_all
from continual_arcade.studies.folder import StudyFolder
from continual_arcade.studies.grid import Cell
from continual_arcade.studies.work import Job

Verdict = Literal["same bits", "other bits", "within", "outside", "failed"]
METRIC = "acc@gem"
"""What runs of another kind of machine are compared by: the mean over all phases at the end."""
CONFIDENCE = 0.99
"""Of the interval in which a run is expected; one in a hundred is outside by chance if runs are
normal, two to five in a hundred where they crowd at the floor or the cap."""


@dataclass(frozen=True)
class Check:
    """How a run that was re-run compares with what it was."""

    run: str
    verdict: Verdict
    detail: str

    @property
    def is_good(self) -> bool:
        """Whether it is as it should be."""
        return self.verdict in ("same bits", "within")


def draw(folder: StudyFolder, share: float, seed: int) -> list[Cell]:
    """Draw some of the runs that are finished, at least one.

    Args:
        folder: The study.
        share: Which part of them, above 0 and at most 1.
        seed: Seed of the draw.

    Raises:
        ValueError: If the share makes no sense, or no run is finished.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share = {share} must be above 0 and at most 1")
    states = folder.states()
    finished = [cell for cell in folder.cells if states[cell.name] == "finished"]
    if not finished:
        raise ValueError(f"no run of {folder.path} is finished: there is nothing to verify")
    count = math.ceil(share * len(finished))
    chosen = np.random.default_rng(seed).choice(len(finished), count, replace=False)
    return [finished[index] for index in sorted(chosen.tolist())]


def verify(
    folder: StudyFolder, chosen: Sequence[Cell], executor: Executor, out: Path
) -> Iterator[Check]:
    """Re-run some runs, and compare them with what they were.

    On the same kind of machine, with the same versions, every bit of the table of evaluations must
    be the same. Elsewhere the result must be where another run of the same method is expected.

    Args:
        folder: The study.
        chosen: The runs.
        executor: What runs the jobs.
        out: Where they are written.

    Returns:
        How each compares; fewer than were chosen if one failed as all others would.

    Raises:
        RuntimeError: If workers die again and again over the same runs.
    """
    by_name = {cell.name: cell for cell in chosen}

    def job_of(name: str) -> Job:
        # No state is kept to resume from: nothing but the numbers is wanted.
        spec = replace(by_name[name].make(), save_every=0)
        return Job(name, out / name, spec.to_config(), folder.about[0])

    for outcome in train_all(executor, by_name, job_of):
        cell = by_name[outcome.run]
        if outcome.state == "failed":
            yield Check(outcome.run, "failed", outcome.reason)
            continue
        before = Run.load(folder.place(cell))
        again = Run.load(out / cell.name)
        if before.config.get("machine") == again.config["machine"]:
            same = before.folder.table.read_bytes() == again.folder.table.read_bytes()
            detail = "" if same else f"{before.folder.table} and {again.folder.table} differ"
            yield Check(outcome.run, "same bits" if same else "other bits", detail)
        else:
            yield _within(folder, cell, again)


def _within(folder: StudyFolder, cell: Cell, again: Run) -> Check:
    """See whether a run is where others of its method let it be expected."""
    states = folder.states()
    others = np.array(
        [
            _result(Run.load(folder.place(other)))
            for other in folder.cells
            if other.name_without_seed == cell.name_without_seed
            and states[other.name] == "finished"
        ]
    )
    if len(others) < 3:
        return Check(cell.name, "failed", f"{len(others)} runs are too few to expect anything of")
    value = _result(again)
    # A prediction interval of one more run: Student's t, with the spread of the runs themselves.
    half = float(special.stdtrit(len(others) - 1, 0.5 + CONFIDENCE / 2)) * float(
        others.std(ddof=1) * math.sqrt(1 + 1 / len(others))
    )
    low, high = float(others.mean()) - half, float(others.mean()) + half
    detail = f"{METRIC} {value:.2f}, expected from {low:.2f} to {high:.2f} (another machine)"
    return Check(cell.name, "within" if low <= value <= high else "outside", detail)


def _result(run: Run) -> float:
    return float(METRICS[METRIC].compute(run.scores, Context()).value)
