"""Studies so small that tests can run many of them, from files as people write them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from continual_arcade.scripts import study as command
from continual_arcade.studies.executors import WorkerDiedError
from continual_arcade.studies.folder import StudyFolder
from continual_arcade.studies.provenance import provenance
from continual_arcade.studies.study import Study, load
from continual_arcade.studies.work import Job, Outcome, work

SMALL: Mapping[str, Any] = {
    "format": 1,
    "name": "small",
    "games": ["FlappyBird"],
    "schedules": ["conflict"],
    "phase_steps": 80,
    "seeds": "0..1",
    "references": [],
    "save_every": 60,
    "settings": {
        "num_envs": 4,
        "hidden": [8],
        "batch_size": 8,
        "buffer_size": 200,
        "learning_starts": 40,
    },
    "evaluation": {"every": 0, "at_end": 1, "episodes": 1, "max_steps": 30},
    "probes": False,
    "methods": {"finetune": {}},
}
"""Two runs of 240 steps in three phases; who asks what probes say says so."""
SCENARIO: Mapping[str, Any] = {
    "format": 1,
    "name": "tiny",
    "game": "FlappyBird",
    "schedule": "conflict",
    "phase_steps": 80,
    "context": "params",
    "settings": SMALL["settings"],
}
"""A scenario of that size."""


def made() -> dict[str, Any]:
    """What a study is begun with."""
    return {"command": "a test", "date": "2026-11-21T00:00:00+00:00", **provenance()}


def changed(**changes: Any) -> dict[str, Any]:
    """The small study, with other values; settings and evaluation are added to."""
    data = json.loads(json.dumps(SMALL))
    for key, value in changes.items():
        old = data.get(key)
        adds = key in ("settings", "evaluation") and isinstance(value, dict)
        data[key] = {**old, **value} if adds else value
    return {key: value for key, value in data.items() if value is not None}


def write(path: Path, **changes: Any) -> Path:
    """Write a study file; see :func:`changed`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(tomli_w.dumps(changed(**changes)), "utf-8")
    return path


def small(folder: Path, **changes: Any) -> Study:
    return load(write(folder / "study.toml", **changes))


def run(*arguments: object, status: int = 0) -> str:
    """Run the command in this process; return all that it prints.

    It must end with the status, or the test fails with what it printed.
    """
    said, found = StringIO(), 0
    with redirect_stdout(said), redirect_stderr(said):
        try:
            command.main([str(argument) for argument in arguments])
        except SystemExit as end:
            found = int(str(end.code))
    assert found == status, said.getvalue()
    return said.getvalue()


def refused(*arguments: object) -> str:
    """Run a command that must end with an error; return the error."""
    errors = StringIO()
    with (
        redirect_stdout(StringIO()),
        redirect_stderr(errors),
        pytest.raises(SystemExit, match=r"^2$"),
    ):
        command.main([str(argument) for argument in arguments])
    assert "Traceback" not in errors.getvalue()
    return errors.getvalue()


def tables(folder: Path) -> dict[str, bytes]:
    """The evaluations of all runs of a study, by name of the run."""
    study = StudyFolder.open(folder)
    return {
        cell.name: (study.place(cell) / "evaluations.csv").read_bytes()
        for cell in study.cells
        if (study.place(cell) / "evaluations.csv").exists()
    }


def everything(root: Path) -> dict[Path, bytes]:
    """All files there are."""
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@dataclass
class InTurn:
    """Trains runs one by one, in this process."""

    handed_out: list[str] = field(default_factory=list)

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        for job in jobs:
            self.handed_out.append(job.name)
            yield work(job)


@dataclass
class Dies:
    """Trains in this process; workers die over some runs, for a while or for ever."""

    over: str
    times: int
    deaths: int = 0

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        for job in jobs:
            if self.over in job.name and self.deaths < self.times:
                self.deaths += 1
                raise WorkerDiedError("a worker died")
            yield work(job)
