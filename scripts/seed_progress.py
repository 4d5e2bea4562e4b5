"""What is shown of many runs that are trained side by side."""

import sys
import threading
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.studies.seeds import write_seeds
from continual_arcade.studies.work import Outcome

_LOOK_EVERY = 0.5
"""Interval at which the folders of the runs are looked at [s]."""


class SeedProgress:
    """Lines that say what becomes of each run, and a bar of how far they have come together.

    Args:
        count: How many runs there are.
        steps: Length of each [lifetime steps].
        shown: Whether there is a bar, if the output is a terminal.
    """

    def __init__(self, count: int, steps: int, *, shown: bool) -> None:
        self.count, self.steps = count, steps
        self.finished: dict[int, Path] = {}
        """Folders of the runs that are finished, by seed."""
        self.failures: list[str] = []
        """What is said of each that failed."""
        self._running: dict[int, Path] = {}
        # None: no bar where the output is no terminal.
        self._bar: tqdm[Any] = tqdm(
            total=count * self.steps, unit="step", disable=None if shown else True
        )
        self._closed = threading.Event()
        # Workers say nothing while they train: what they have written is looked at.
        self._looker = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        if not self._bar.disable:
            self._looker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._looker.is_alive():
            self._looker.join()
            self._show()
        self._bar.close()

    def was_finished(self, seed: int, folder: Path) -> None:
        """Say that a run was finished before."""
        self.finished[seed] = folder
        self._say(f"seed {seed} was finished before: {folder}")

    def begins(self, seed: int, folder: Path, resumed: bool) -> None:
        """Say that a run is handed out."""
        self._running[seed] = folder
        self._say(f"seed {seed} {'is resumed' if resumed else 'begins'}: {folder}")

    def ends(self, seed: int, outcome: Outcome) -> None:
        """Say how a run ended."""
        folder = self._running.pop(seed)
        if outcome.state == "finished":
            self.finished[seed] = folder
            self._say(f"seed {seed} is done: {folder}")
        else:
            where = f"its run is in {folder}" if folder.exists() else "it wrote no run"
            self.failures.append(f"seed {seed}: {outcome.reason}; {where}")
            self._say(f"seed {seed} failed: {outcome.reason}")

    def _say(self, line: str) -> None:
        self._bar.write(line)
        sys.stdout.flush()  # a file should tell at once, too

    def _look(self) -> None:
        while not self._closed.wait(_LOOK_EVERY):
            self._show()

    def _show(self) -> None:
        running = dict(self._running)
        failures = f", {len(self.failures)} failed" if self.failures else ""
        self._bar.set_description(
            f"{len(self.finished)} of {self.count} done{failures}; "
            f"running: {write_seeds(list(running)) or 'none'}",
            refresh=False,
        )
        done = len(self.finished) * self.steps + sum(map(self._come_to, running.values()))
        self._bar.update(done - self._bar.n)

    def _come_to(self, folder: Path) -> int:
        """Return how far a run has come: to its last evaluation, at least."""
        try:
            return min(self.steps, max(RunFolder(folder).checkpoints()))
        except FileNotFoundError:
            return 0
