"""A run on disk: its configuration, its table of evaluations and its checkpoints."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from continual_arcade.evaluation.atomic_files import write_text_whole, write_whole
from continual_arcade.evaluation.csv_table import read_csv
from continual_arcade.evaluation.locks import Lock

_ROOM = 200 * 1024 * 1024
"""Free space that a run needs before it starts [bytes]; a long one with many evaluations
takes a tenth of it."""

LONGEST = 100
"""Of a name [bytes]; that of a folder is put together from several, and file systems take 255."""

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "game": (),
    "env": (),
    "schedule": (),
    "fingerprint": (),
    "method": (),
    "method_spec": ("replay", "parts", "remembers_all", "interleaved"),
    "seed": (),
    "settings": (),
    "save_every": (),
    "evaluation": ("every", "at_end", "spacing", "episodes", "max_steps", "first_seed"),
}
"""What the configuration of a run cannot do without, and the tables in it."""


class NoRoomError(OSError):
    """The disk is too full to start a run."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    ``config.json`` says what was run, ``evaluations.csv`` is the tidy table, ``diagnostics.csv``
    has the network diagnostics, ``costs.csv`` the cost of evaluation, ``footprints.csv`` what the
    agent takes and keeps, ``progress.csv`` the log of training, and ``checkpoints/`` holds the
    agent at each evaluation.
    """

    path: Path

    @classmethod
    def new(cls, root: Path, game: str, schedule: str, method: str, seed: int) -> "RunFolder":
        """Name a new folder after what is run and when; :meth:`make` puts it on the disk.

        Names that are too long for a folder are cut, and end in a digest of the whole: what was run
        is in the configuration.

        Args:
            root: Where runs are kept.
            game: Name of the game.
            schedule: Name of the schedule.
            method: Name of the method.
            seed: Seed of the run.
        """
        utc = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        parts = (f"{game}-{schedule}", method, str(seed), utc)
        return cls(root / "__".join(_as_file_name(part) for part in parts))

    def make_root(self) -> None:
        """Make the folder in which runs are kept, and those above it.

        Raises:
            OSError: If no folder can be made there, or the disk is nearly full.
        """
        root = self.path.parent
        with _said_how_to_mend(root):
            root.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(root).free
            if free < _ROOM:
                raise NoRoomError(
                    f"only {free / 2**20:.0f} MiB are free under {root}, a run wants "
                    f"{_ROOM / 2**20:.0f}: make room, or choose another folder with --out"
                )

    def make(self) -> None:
        """Make the folder, and those above it.

        Raises:
            OSError: If no folder can be made there, the disk is nearly full, or the run exists.
        """
        self.make_root()
        with _said_how_to_mend(self.path.parent):
            self.path.mkdir(exist_ok=self.lock.held)  # to be locked it must be there
            (self.path / "checkpoints").mkdir()

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open the folder of an existing run.

        Raises:
            FileNotFoundError: If there is no run.
        """
        if not (path / "config.json").is_file():
            raise FileNotFoundError(f"{path} is no run: it has no config.json")
        return cls(path)

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.name

    @property
    def lock(self) -> Lock:
        """The right to write into it: one process has it at a time, and one thread of that."""
        return Lock.of_folder(self.path)

    @property
    def table(self) -> Path:
        """The tidy table of evaluations."""
        return self.path / "evaluations.csv"

    @property
    def diagnostics(self) -> Path:
        """The tidy table of network diagnostics."""
        return self.path / "diagnostics.csv"

    @property
    def costs(self) -> Path:
        """The table of what evaluation has cost."""
        return self.path / "costs.csv"

    @property
    def footprints(self) -> Path:
        """The table of what the agent takes and keeps."""
        return self.path / "footprints.csv"

    @property
    def training_state(self) -> Path:
        """What training needs to be resumed, as last saved."""
        return self.path / "checkpoints" / "training.zip"

    def progress_from(self, step: int) -> Path:
        """Return the log of the training that begins at a lifetime step."""
        return self.path / (f"progress_from_{step:012d}.csv" if step else "progress.csv")

    @property
    def was_resumed(self) -> bool:
        """Whether training was cut off and went on from where its state was saved."""
        return any(self.path.glob("progress_from_*.csv"))

    def read_progress(self) -> pd.DataFrame | None:
        """Read the log of training, that of a resumed run put together; None if there is none.

        Raises:
            ValueError: If it is damaged.
        """
        logs = []
        for path in sorted(self.path.glob("progress*.csv")):
            data = path.read_bytes()
            lines = data[: data.rfind(b"\n") + 1]  # the last one may just be being written
            if lines.count(b"\n") < 2:
                continue  # a run that has only just started
            try:
                logs.append(read_csv(BytesIO(lines)))
            except (pd.errors.ParserError, UnicodeDecodeError) as error:
                raise ValueError(f"{path} is damaged: {error}") from error
        if not logs:
            return None
        log = pd.concat(logs, ignore_index=True)
        for name in ("time/total_timesteps", *log.columns):
            if name not in log or log[name].dtype.kind not in "if":
                raise ValueError(f"the log of {self.path} is damaged: {name} is no number")
        return log.sort_values("time/total_timesteps", kind="stable", ignore_index=True)

    def clear(self) -> None:
        """Remove all that is in the folder; whoever does so holds its lock."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self.lock.file:
                path.unlink()

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write down what is run."""
        text = json.dumps(config, indent=2) + "\n"
        write_text_whole(self.path / "config.json", text)

    def read_config(self) -> dict[str, Any]:
        """Read what was run.

        Raises:
            ValueError: If the file is damaged, or of another version.
        """
        path = self.path / "config.json"
        try:
            config = json.loads(path.read_text("utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        if not isinstance(config, dict):
            raise ValueError(f"{path} is damaged: it holds no table")
        lacking = []
        for name, needed in _NEEDED.items():
            if name not in config:
                lacking.append(name)
            elif name == "method_spec" and config[name] is None:
                continue  # an agent of another library, of which that is not known
            elif needed and not isinstance(config[name], dict):
                raise ValueError(f"{path} is damaged: {name} is no table")
            else:
                lacking += [f"{name}.{key}" for key in needed if key not in config[name]]
        for name, kind in (("settings", dict), ("seed", int), ("game", str), ("schedule", dict)):
            if not isinstance(config.get(name, kind()), kind):
                raise ValueError(f"{path} is damaged: {name} is {config[name]!r}")
        if lacking:
            raise ValueError(
                f"{path} lacks {', '.join(lacking)}: the run was made by another version, which "
                "can read it"
            )
        return config

    def save_checkpoint(self, step: int, save: Callable[[Path], object]) -> Path:
        """Keep the agent of a lifetime step; there is all of it or nothing.

        Args:
            step: The lifetime step.
            save: Writes the agent to a ``.zip`` file.
        """
        path = self._checkpoint(step)
        write_whole(path, save)
        return path

    def checkpoint(self, step: int) -> Path | None:
        """Return the checkpoint of a lifetime step, None if there is none."""
        path = self._checkpoint(step)
        return path if path.exists() else None

    def _checkpoint(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step_{step:012d}.zip"

    def checkpoints(self) -> dict[int, Path]:
        """Return the checkpoints by lifetime step, in order.

        Raises:
            FileNotFoundError: If there is none.
        """
        found = sorted((self.path / "checkpoints").glob("step_*.zip"))
        if not found:
            raise FileNotFoundError(f"{self.path} has no checkpoint yet")
        return {int(path.stem.removeprefix("step_")): path for path in found}


def _as_file_name(text: str) -> str:
    name = re.sub(r"[^\w.+-]", "-", text)
    if len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{name.encode()[: LONGEST - 1 - len(digest)].decode(errors='ignore')}-{digest}"


@contextmanager
def _said_how_to_mend(root: Path) -> Iterator[None]:
    """Let errors that come of the place of a run say what to do about it."""
    try:
        yield
    except FileExistsError as error:
        raise FileExistsError(
            f"{error.filename} exists, and nothing is overwritten: choose another folder with "
            "--out, or wait a second"
        ) from error
    except (PermissionError, NotADirectoryError) as error:
        raise type(error)(
            f"no run can be written under {root} ({error.strerror}): choose another folder "
            "with --out"
        ) from error
