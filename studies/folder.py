"""A study on the disk: what it is, what was done, and who is running it."""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from continual_arcade.evaluation.atomic_files import write_text_whole
from continual_arcade.evaluation.csv_table import TidyTable
from continual_arcade.evaluation.locks import Lock
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.studies.grid import Cell, cells
from continual_arcade.studies.provenance import other_versions
from continual_arcade.studies.study import Study, differences
from continual_arcade.studies.work import FINISHED, Outcome, check_is, digest, read_mark

State = Literal["finished", "failed", "begun", "waiting", "missing"]
"""``missing`` is a run that was finished, and whose folder is not there any more."""
STATES: tuple[State, ...] = ("finished", "begun", "waiting", "failed", "missing")


@dataclass(frozen=True)
class Done:
    """One line of the ledger: a run that was finished, or failed."""

    run: str
    state: str
    seconds: float
    """What its training and evaluation have cost, as :class:`Outcome` has it [s]."""
    host: str
    digest: str
    """SHA-256 of its table of evaluations."""
    utc: str
    """When."""
    reason: str
    """Why it failed; empty if it did not."""


_LEDGER = TidyTable[Done](
    name="ledger",
    row="run",
    columns=("run", "state", "seconds", "host", "digest", "utc", "reason"),
    texts=frozenset({"run", "state", "host", "digest", "utc", "reason"}),
    keys=("run", "utc"),
    undefined=frozenset({"digest", "reason"}),
)


@dataclass(frozen=True)
class StudyFolder:
    """The folder of a study, ``ROOT/NAME``.

    ``study.json`` says what the study is and what it was begun with, ``runs/`` holds its runs, and
    ``ledger.csv`` says what became of them. Runs that other studies use as well are in
    ``ROOT/references``.
    """

    path: Path

    @property
    def lock(self) -> Lock:
        """The right to run the study, or to take more into it: one process has it at a time."""
        return Lock.of_folder(self.path)

    @property
    def plan(self) -> Path:
        """What the study is, defaults and presets written out."""
        return self.path / "study.json"

    @property
    def ledger(self) -> Path:
        """What became of the runs, a line for each."""
        return self.path / "ledger.csv"

    @property
    def references(self) -> Path:
        """Random play and the oracle in all its phases."""
        return self.path / "references.json"

    @property
    def shared(self) -> Path:
        """Where the runs are that other studies use as well."""
        return self.path.parent / "references"

    def place(self, cell: Cell) -> Path:
        """Return the folder of a run."""
        return (self.shared if cell.is_shared else self.path / "runs") / cell.name

    @classmethod
    def open(cls, path: Path) -> "StudyFolder":
        """Open the folder of a study that was begun.

        Raises:
            FileNotFoundError: If there is none.
        """
        folder = cls(path)
        if not folder.plan.is_file():
            raise FileNotFoundError(
                f"{path} is no study: it has no {folder.plan.name}; `study run` begins one"
            )
        return folder

    def begin(self, study: Study, about: Mapping[str, Any]) -> None:
        """Write down what the study is, or see that it is the one that was begun here.

        Args:
            study: The study.
            about: What it is begun with: command, versions, commit.

        Raises:
            ValueError: If another study, or another version of this one, was begun here; the
                message shows in what they differ.
            OSError: If it cannot be written.
        """
        if self.plan.exists():
            self.check_same(study)
            return
        (self.path / "runs").mkdir(parents=True, exist_ok=True)
        self._write(study, [about])

    def extend(self, study: Study, about: Mapping[str, Any]) -> tuple["StudyFolder", list[str]]:
        """Let the study have more than it had: seeds, methods, schedules, references.

        Args:
            study: The study as it is to be.
            about: What it is extended with.

        Returns:
            The folder as it is now, and what is new in it; empty if nothing is.

        Raises:
            ValueError: If something that was there is not, or is another.
            OSError: If it cannot be written.
        """
        # What was there keeps its place: shared runs are named after the first that wants them.
        places = {scenario.name: place for place, scenario in enumerate(self.study.scenarios)}
        study = replace(
            study,
            scenarios=tuple(
                sorted(study.scenarios, key=lambda scenario: places.get(scenario.name, len(places)))
            ),
        )
        before, now = self.study.to_dict(), study.to_dict()
        grown = []
        for key in ("seeds", "references"):
            old, new = before.pop(key), now.pop(key)
            if lacking := [value for value in old if value not in new]:
                raise ValueError(self._changed([f"{key}: {lacking} are missing"]))
            if more := [value for value in new if value not in old]:
                grown.append(f"{key}: {more}")
        for key in ("worlds", "methods"):
            for name in [name for name in now[key] if name not in before[key]]:
                del now[key][name]
                grown.append(f"{key}: {name}")
        del before["about"], now["about"]
        if changes := list(differences(before, now)):
            raise ValueError(self._changed(changes))
        if grown:
            self._write(study, [*self.about, about])
        return StudyFolder(self.path), grown

    def check_same(self, study: Study) -> None:
        """See that a study is the one that was begun here.

        Raises:
            ValueError: If not; the message shows in what they differ.
        """
        before, now = self.study.to_dict(), study.to_dict()
        del before["about"], now["about"]
        if changes := list(differences(before, now)):
            raise ValueError(self._changed(changes))

    def check_versions(self) -> None:
        """See that the libraries are those that the study was begun with.

        Raises:
            ValueError: If not.
        """
        if found := [one for about in self.about for one in other_versions(about)]:
            raise ValueError(
                f"the study in {self.path} was begun with other versions: "
                f"{'; '.join(dict.fromkeys(found))}. "
                "Runs of both would not be comparable: install those of the study, or begin "
                "another one with --out"
            )

    @cached_property
    def study(self) -> Study:
        """What the study is.

        Raises:
            ValueError: If the file is damaged or of another version.
        """
        try:
            return Study.from_dict(self._data["study"])
        except ValueError as error:
            raise ValueError(f"{self.plan}: {error}") from error

    @property
    def about(self) -> list[dict[str, Any]]:
        """What the study was begun with, and what it was extended with."""
        return list(self._data["made"])

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All its runs."""
        return tuple(cells(self.study))

    def note(self, *outcomes: Outcome) -> None:
        """Write down what became of runs.

        Raises:
            OSError: If that cannot be written.
        """
        utc = datetime.now(UTC).isoformat(timespec="microseconds")
        _LEDGER.append(
            self.ledger,
            [
                Done(
                    outcome.run,
                    outcome.state,
                    outcome.seconds,
                    outcome.host,
                    outcome.digest,
                    utc,
                    " ".join(outcome.reason.split()),
                )
                for outcome in outcomes
            ],
        )

    def take_up(self) -> None:
        """Write down the runs that are finished, and of which nobody has said so.

        Those are runs that another study has trained, and runs whose study was killed at the moment
        at which they were finished. From here on it is known if they are lost.

        Raises:
            ValueError: If one of them is damaged, or is another run than it should be.
            OSError: If that cannot be written.
        """
        done = self.done()
        found = []
        for cell in self.cells:
            if cell.name in done and done[cell.name].state == "finished":
                continue
            place = self.place(cell)
            mark = read_mark(place)
            if mark is not None:
                check_is(place, cell.make())
                found.append(Outcome(cell.name, **mark))
        if found:
            self.note(*found)

    def check_unchanged(self, cell: Cell, done: Mapping[str, Done]) -> None:
        """See that a finished run has the evaluations that it had when it was finished.

        Args:
            cell: The run.
            done: What :meth:`done` returns.

        Raises:
            ValueError: If not, or if it is damaged.
        """
        run = RunFolder(self.place(cell))
        if cell.name in done and done[cell.name].state == "finished":
            expected = done[cell.name].digest
        else:
            check_is(run.path, cell.make())
            mark = read_mark(run.path)
            expected = "" if mark is None else mark["digest"]
        if not run.table.is_file() or digest(run.table) != expected:
            raise ValueError(
                f"{run.table} is not what it was when the run was finished: put it back, or remove "
                "the folder of the run, and `study resume --remake` re-runs it"
            )

    def done(self) -> dict[str, Done]:
        """Return what was written down last of each run.

        Raises:
            ValueError: If the ledger is damaged.
        """
        if not self.ledger.exists():
            return {}
        try:
            # Of a line that is cut off nothing is lost: whether its run was finished the run says.
            table = _LEDGER.read(self.ledger, mended=True)
        except ValueError as error:
            raise ValueError(
                f"{error}. Remove that line, or the whole ledger if its first line is wrong: "
                "whether a run was finished is known from the run"
            ) from error
        return {done.run: done for done in map(Done, *(table[name] for name in _LEDGER.columns))}

    def states(self) -> dict[str, State]:
        """Return where each run stands, by name.

        Raises:
            ValueError: If the ledger is damaged.
        """
        done = self.done()
        marked, begun = set(), set()
        for root in (self.path / "runs", self.shared):
            for entry in os.scandir(root) if root.is_dir() else ():
                begun.add(entry.name)
                if os.path.exists(os.path.join(entry.path, FINISHED)):
                    marked.add(entry.name)

        def state(name: str) -> State:
            last = done.get(name)
            if name in marked:
                return "finished"
            if last is not None and last.state == "finished":
                return "missing"
            if last is not None:
                return "failed"
            return "begun" if name in begun else "waiting"

        return {cell.name: state(cell.name) for cell in self.cells}

    def _changed(self, changes: Sequence[str]) -> str:
        lines = "\n  ".join(changes)
        return (
            f"the study in {self.path} was begun as another one:\n  {lines}\n"
            "`study add` takes more seeds, methods, schedules or references; for anything else "
            "give the study another name, or another folder with --out"
        )

    @cached_property
    def _data(self) -> dict[str, Any]:
        try:
            data: dict[str, Any] = json.loads(self.plan.read_text("utf-8"))
            if not isinstance(data["study"], dict) or not isinstance(data["made"], list):
                raise TypeError
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.plan} is damaged ({error!r}): remove it, and `study run` with the same "
                "file resumes the runs that are there"
            ) from error
        return data

    def _write(self, study: Study, made: Sequence[Mapping[str, Any]]) -> None:
        if packages := study.packages:
            made = [*made[:-1], {**made[-1], "packages": packages}]
        text = json.dumps({"study": study.to_dict(), "made": [*made]}, indent=2) + "\n"
        write_text_whole(self.plan, text)


def count(states: Mapping[str, State]) -> Counter[State]:
    """Return how many runs stand where."""
    return Counter(states.values())
