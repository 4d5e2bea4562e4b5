"""What a worker does: train one run, or resume it, and return its outcome."""

import errno
import hashlib
import json
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from continual_arcade.agents.continual_dqn import DivergedError
from continual_arcade.evaluation import costs
from continual_arcade.evaluation.atomic_files import write_text_whole
from continual_arcade.evaluation.run_folder import NoRoomError, RunFolder
from continual_arcade.studies.provenance import machine, other_versions
from continual_arcade.studies.run_spec import RunSpec, Training
from continual_arcade.studies.streams import enduring_streams

FINISHED = "finished.json"
"""What a run that a worker has trained to its end has beside what all runs have."""
_MARKED = ("state", "seconds", "host", "digest")


@dataclass(frozen=True)
class Job:
    """A run that is to be trained."""

    name: str
    """Name of the run, and of its folder."""
    folder: Path
    spec: Mapping[str, Any]
    """As :meth:`RunSpec.to_config` returns it."""
    about: Mapping[str, Any]
    """What else its configuration says: the command, and what the study was begun with."""
    finish: Callable[[Path], None] | None = None
    """Called with the folder, on the worker, once the run is trained; the run counts as finished
    when it has returned."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    run: str
    state: Literal["finished", "failed"]
    seconds: float
    """Training and evaluation [s], as its table of costs has them: of a run that was resumed less
    what passed between its last evaluation and where it was cut off."""
    host: str
    digest: str
    """SHA-256 of the table of evaluations."""
    reason: str = ""
    """Why it failed."""
    fatal: bool = False
    """Whether others would fare no better: the disk is full, or the worker is unfit for all."""
    diverged: bool = False
    """Whether it failed because learning diverged."""


class _UnfitError(ValueError):
    """This worker would fail every run that it is given, as fast as they come."""


@enduring_streams()
def work(job: Job) -> Outcome:
    """Train a run to its end, from wherever it stands; a run that is finished stays as it is.

    Nothing but an interruption is raised: what goes wrong with one run is no concern of others.
    """
    host = socket.gethostname()
    try:
        if found := other_versions(job.about):
            raise _UnfitError(
                f"this worker ({host}) has other versions than the study was begun with: "
                f"{'; '.join(found)}: install those, or begin a new study"
            )
        spec = RunSpec.from_config(job.spec)
        if outcome := _finished(job, spec):
            return outcome
        command = f"a worker of {job.about.get('command', 'a study')}"
        # Another one may be writing it, such as that of another study which shares its references.
        with RunFolder(job.folder).lock.hold(wait=True, command=command, report=_say):
            return _finished(job, spec) or _train(job, spec, host)
    except Exception as error:
        full = isinstance(error, NoRoomError) or (
            isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        )
        kind = (
            ""
            if isinstance(error, (ValueError, OSError, DivergedError))
            else f"{type(error).__name__}: "
        )
        return Outcome(
            job.name,
            "failed",
            seconds=0.0,
            host=host,
            digest="",
            reason=f"{kind}{error}",
            fatal=full or isinstance(error, _UnfitError),
            diverged=isinstance(error, DivergedError),
        )


def _finished(job: Job, spec: RunSpec) -> Outcome | None:
    mark = read_mark(job.folder)
    if mark is None:
        return None
    check_is(job.folder, spec)
    return Outcome(job.name, **mark)


def _train(job: Job, spec: RunSpec, host: str) -> Outcome:
    training = _begin(job, spec)
    if not training.is_over:
        training.train()
    if job.finish is not None:
        job.finish(job.folder)
    table = costs.read(training.folder.costs)
    outcome = Outcome(
        job.name,
        "finished",
        round(float((table["training_seconds"] + table["evaluation_seconds"]).sum()), 3),
        host,
        digest(training.folder.table),
    )
    _write_mark(job.folder, outcome)
    return outcome


def _begin(job: Job, spec: RunSpec) -> Training:
    """Resume what is there, or begin."""
    folder = RunFolder(job.folder)
    if (job.folder / "config.json").exists():
        check_is(job.folder, spec)
        return Training.resume(folder)
    # Cut off before it was written down what it is: there is nothing in it.
    folder.clear()
    training = Training.prepare(spec, folder)
    # The machine is the one that trains it, which need not be the one that hands it out.
    training.write({**job.about, "machine": machine()})
    return training


def check_is(folder: Path, spec: RunSpec) -> None:
    """See that a folder holds the run that it should hold.

    Raises:
        ValueError: If it holds another one, or is damaged.
        FileNotFoundError: If it holds none.
    """
    config = RunFolder.open(folder).read_config()
    if not spec.matches(config):
        asked, there = spec.identity, RunSpec.from_config(config).identity
        both = {**asked, **there}  # only other algorithms than the DQN are named
        other = ", ".join(name for name in both if asked.get(name) != there.get(name))
        raise ValueError(
            f"{folder} holds another run, which is not written over: it has another {other}; move "
            "it away"
        )
    if found := other_versions(config):
        raise ValueError(
            f"{folder} holds a run that was made with other versions: {'; '.join(found)}. Runs of "
            "both are not comparable: install those, or move it away"
        )


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, as hex digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_mark(folder: Path) -> dict[str, Any] | None:
    """Return what a run that a worker has trained to its end says of that; None if it has not.

    Raises:
        ValueError: If it is damaged.
    """
    path = folder / FINISHED
    try:
        mark = json.loads(path.read_text("utf-8"))
        return {name: mark[name] for name in _MARKED}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged: remove it, and `study resume --remake`, or the same `train "
            "--seeds`, resumes the run"
        ) from error


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _write_mark(folder: Path, outcome: Outcome) -> None:
    mark = {name: value for name, value in asdict(outcome).items() if name in _MARKED}
    write_text_whole(folder / FINISHED, json.dumps(mark, indent=2) + "\n")
