"""Many lives that differ by their seed, side by side, each in a process of its own.

``train --seeds 0..19 --jobs 4`` runs ``train --seed 0``, ``train --seed 1`` and so on, four at a
time.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import joblib
from tqdm import tqdm

from continual_arcade.agents.machine_memory import available_memory
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.terminal import plain_console
from continual_arcade.scripts.cli import NOTICE
from continual_arcade.scripts.compare import Compare, compare
from continual_arcade.studies.seeds import write_seeds

LIFE_MEMORY = 410 * 1024 * 1024
"""What a life at the default settings takes for itself [bytes], beside the 180 MiB of libraries
that all lives share."""
FOLDER_IS = "the run will be in "
"""How a life begins the line that names its folder."""

PARENT = "CONTINUAL_ARCADE_PARENT"
"""Variable by which a life is told which process it ends with."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_EVERY = 0.2
"""Interval at which the processes are looked at [s]."""
_SHOWN_LINES = 30
"""How much is shown of what a life that failed had to say."""


def cores() -> int:
    """Return how many cores this process may use: of the machine, or of its container."""
    return int(joblib.cpu_count())


def live(
    seeds: Sequence[int], jobs: int, arguments: Sequence[str], steps: int, *, shown: bool = True
) -> int | None:
    """Train a life for each seed, a number of them at a time, and compare what came out.

    A life that fails does not keep the others from going on.

    Args:
        seeds: Seeds of the lives.
        jobs: Lives at a time.
        arguments: What ``train`` is told of each of them, beside its seed; they were checked.
        steps: Length of a life [lifetime steps].
        shown: Show a progress bar, if there is a terminal.

    Returns:
        ``NOTICE`` if a run could not be compared with the others.

    Raises:
        RuntimeError: If a life failed; the message says which and why.
        SystemExit: If it was stopped by a signal, after it has stopped all lives.
        OSError: If no process can be started.
    """
    jobs = min(jobs, len(seeds))
    warn_of_memory(jobs)
    waiting = deque(seeds)
    running: list[_Life] = []
    over: list[_Life] = []
    with (
        TemporaryDirectory(prefix="lives-") as outputs,
        _noted_signals() as signals,
        # None: no bar where the output is no terminal.
        tqdm(total=len(seeds) * steps, unit="step", disable=None if shown else True) as bar,
    ):
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    running.append(_Life(waiting.popleft(), arguments, Path(outputs)))
                time.sleep(_LOOK_EVERY)
                lines = [line for life in running if (line := life.look())]
                # Ctrl-C reaches all processes at once: a life that it ended has not failed.
                if signals:
                    break
                over += [life for life in running if life.over]
                running = [life for life in running if not life.over]
                for line in lines:
                    bar.write(line)
                sys.stdout.flush()  # a file should tell at once, too
                bar.update(sum(life.lived(steps) for life in (*over, *running)) - bar.n)
                bar.set_description(_standing(running, over, len(seeds)))
        finally:
            # A run survives this at any moment, see `train --resume`.
            for life in running:
                life.process.kill()
            for life in running:
                life.process.wait()
        if signals:
            for life in running:
                life.look()
    failures = [life.reason for life in over if life.failed]
    if signals:
        _say_how_to_go_on(signals[0], running, waiting, jobs, arguments)
        for failure in failures:
            print(failure, file=sys.stderr)
        sys.exit(128 + signals[0])
    left_out = []
    if paths := [life.path for life in over if life.path and not life.failed]:
        left_out = compare(Compare(tuple(paths)), plain_console())
    if failures:
        count = f"{len(failures)} of {len(seeds)} lives failed"
        mend = "one that was only cut off goes on with --resume"
        raise RuntimeError("\n".join([f"{count}; {mend}", *failures]))
    return NOTICE if left_out else None


class _Life:
    """A life in a process of its own.

    Args:
        seed: Its seed.
        arguments: What ``train`` is told beside that.
        outputs: Folder for what the process prints; nobody need read it while it runs.
    """

    def __init__(self, seed: int, arguments: Sequence[str], outputs: Path) -> None:
        self.seed = seed
        self.path: Path | None = None
        """Folder of the run, once it is there."""
        self.over = False
        """Whether its process has ended."""
        self.reason = ""
        """How it ended, in its own words."""
        self._output, self._errors = outputs / f"{seed}.out", outputs / f"{seed}.err"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            # Of the same process group: what the terminal sends (Ctrl-C, Ctrl-Z, its own end)
            # reaches all of them.
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "continual_arcade.scripts.train", *arguments),
                    *("--seed", str(seed), "--no-progress"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                # Read when the libraries are loaded, so they cannot be set any later.
                env={**os.environ, **dict.fromkeys(_THREADS, "1"), PARENT: str(os.getpid())},
            )

    def look(self) -> str:
        """Find out what became of it since the last look; return a line that says so, if any."""
        # Asked first: what it printed before it ended is then there to be read.
        over = self.process.poll() is not None
        begins = self.path is None
        if begins:
            self.path = self._announced()
        if over and not self.over:
            self.over = True
            self.reason = self._reason()
            word = "failed" if self.failed else "is done"
            return f"seed {self.seed} {word}: {self.path or 'it wrote no run'}"
        return f"seed {self.seed} begins: {self.path}" if begins and self.path else ""

    def lived(self, steps: int) -> int:
        """Return how far the life has come: to its last evaluation, at least.

        Args:
            steps: Length of a life.
        """
        if self.over and not self.failed:
            return steps
        if self.path is None:
            return 0
        try:
            return min(steps, max(RunFolder(self.path).checkpoints()))
        except FileNotFoundError:
            return 0

    @property
    def failed(self) -> bool:
        """Whether it ended in another way than it should."""
        return self.process.returncode not in (None, 0)

    def _announced(self) -> Path | None:
        for line in os.fsdecode(self._output.read_bytes()).splitlines(keepends=True):
            if line.startswith(FOLDER_IS) and line.endswith("\n"):
                return Path(line.removeprefix(FOLDER_IS)[:-1])
        return None

    def _reason(self) -> str:
        code = self.process.returncode
        how = (
            f"ended by signal {-code}, {signal.strsignal(-code)}"
            if code < 0
            else f"exit status {code}"
        )
        where = f"its run is in {self.path}" if self.path else "it wrote no run"
        lines = self._errors.read_text("utf-8", "replace").splitlines()[-_SHOWN_LINES:]
        return "\n  ".join([f"seed {self.seed}: {how}; {where}", *lines])


def _standing(running: Sequence[_Life], over: Sequence[_Life], count: int) -> str:
    """Say in few words how many lives are over, and which ones are not."""
    failed = sum(life.failed for life in over)
    failures = f", {failed} failed" if failed else ""
    seeds = write_seeds([life.seed for life in running])
    return f"{len(over) - failed} of {count} done{failures}; running: {seeds or 'none'}"


@contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """Note the signals that ask the process to end, in a list, instead of ending at once.

    To end in the middle of starting a process would leave it behind.
    """
    noted: list[int] = []

    def note(number: int, _: Any) -> None:
        noted.append(number)

    # One that is ignored stays so: that is what nohup is for.
    before = {
        number: signal.signal(number, note)
        for number in _STOPPING
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_how_to_go_on(
    number: int,
    stopped: Sequence[_Life],
    waiting: Sequence[int],
    jobs: int,
    arguments: Sequence[str],
) -> None:
    """Say what was stopped, and the commands that go on with it."""
    train = ["python", "-m", "continual_arcade.scripts.train"]
    begun = [life.path for life in stopped if life.path is not None]
    anew = [*(life.seed for life in stopped if life.path is None), *waiting]
    lines = [f"\ninterrupted by {signal.Signals(number).name}; what was written so far is intact"]
    if begun:
        lines += ["to go on with the lives that had begun:"]
        lines += [f"  {shlex.join([*train, '--resume', str(path)])}" for path in begun]
    if anew:
        told = ["--seeds", write_seeds(anew), "--jobs", str(jobs), *arguments]
        lines += ["to begin those that had not:", f"  {shlex.join([*train, *told])}"]
    print("\n".join(lines), file=sys.stderr)


def warn_of_memory(jobs: int) -> None:
    """Say so if there is less memory than the lives will want."""
    available = available_memory()
    if available is not None and jobs * LIFE_MEMORY > available:
        fewer = max(1, available // LIFE_MEMORY)
        print(
            f"warning: {jobs} lives at a time want {jobs * LIFE_MEMORY / 2**30:.1f} GiB of memory, "
            f"and {available / 2**30:.1f} GiB are available: --jobs {fewer} is safer",
            file=sys.stderr,
        )
