"""What becomes of commands whose terminal is closed: with ``nohup`` nothing, else they resume."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from processes import children, is_there, started, wait_for
from small_studies import run, write

from continual_arcade.evaluation.runs import Run
from continual_arcade.scripts import cli, train
from continual_arcade.studies.folder import StudyFolder

LONG = {
    "--schedule": "conflict",
    "--phase-steps": "40000",
    "--save-every": "2000",
    "--eval-every": "0",
    "--eval-at-end": "1",
    "--eval-episodes": "1",
    "--eval-max-steps": "50",
    "--dqn.hidden": "8",
}
"""Runs that take some seconds, and keep a state soon."""


def test_what_is_ignored_stays_ignored() -> None:
    """``nohup`` is nothing else; everything that asks a command to end does as Ctrl-C."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        for given in (signal.SIG_IGN, signal.SIG_DFL):
            for number in before:
                signal.signal(number, given)
            within: set[Any] = set()
            cli.run(lambda: within.update(map(signal.getsignal, before)))  # noqa: B023
            (then,) = within
            if given is signal.SIG_IGN:
                assert then is given
            else:
                with pytest.raises(KeyboardInterrupt):
                    then(signal.SIGTERM, None)
            assert {signal.getsignal(number) for number in before} == {given}
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_TAKES_THE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@dataclass
class Terminal:
    """A terminal, whose process is told when it closes."""

    process: subprocess.Popen[str]
    other_end: int
    _open: bool = field(default=True, repr=False)

    def shows(self) -> None:
        """Read what was written to it, so that nobody waits for that."""
        with suppress(OSError):  # there is nothing, or nobody who writes
            while os.read(self.other_end, 4096):
                pass

    def close(self) -> None:
        if self._open:
            os.close(self.other_end)
        self._open = False


@contextmanager
def terminal(command: Sequence[str], folder: Path) -> Iterator[Terminal]:
    other_end, end = pty.openpty()
    os.set_blocking(other_end, False)
    with started(
        [sys.executable, "-I", "-S", "-c", _TAKES_THE_TERMINAL, *command],
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
        cwd=folder,
    ) as process:
        os.close(end)
        opened = Terminal(process, other_end)
        try:
            yield opened
        finally:
            opened.close()


def closed_in_the_middle(
    command: Sequence[str], folder: Path, there: Callable[[], bool]
) -> tuple[int, list[int]]:
    """Close the terminal of a command when something is there.

    Returns:
        How the command ended, and which processes it had.
    """
    with terminal(command, folder) as opened:

        def is_there_now() -> bool:
            opened.shows()
            return there()

        wait_for(is_there_now, opened.process)
        of_it = list(children(opened.process.pid))
        assert opened.process.poll() is None
        opened.close()
        return opened.process.wait(timeout=240), of_it


def test_one_that_undoes_nohup_ends_with_its_terminal(tmp_path: Path) -> None:
    code = (
        "import pathlib, signal, time; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "pathlib.Path('there').touch(); time.sleep(600)"
    )
    command = ["nohup", sys.executable, "-c", code]
    ended, _ = closed_in_the_middle(command, tmp_path, (tmp_path / "there").exists)
    assert ended == -signal.SIGHUP


NOHUP = pytest.mark.parametrize("nohup", [True, False], ids=["nohup", "without"])


def command_of(script: str, *arguments: str, nohup: bool) -> list[str]:
    command = [sys.executable, "-m", f"continual_arcade.scripts.{script}", *arguments]
    return ["nohup", *command] if nohup else command


def states(folder: Path) -> list[Path]:
    return list(folder.rglob("checkpoints/training.zip"))


@NOHUP
@pytest.mark.parametrize("seeds", [["--seed=0"], ["--seeds=0,1", "--jobs=2"]], ids=["one", "many"])
@pytest.mark.slow
def test_training(nohup: bool, seeds: list[str], tmp_path: Path) -> None:
    words = [word for option in LONG.items() for word in option]
    command = command_of("train", *words, *seeds, "--out=runs", nohup=nohup)
    count = 1 if seeds == ["--seed=0"] else 2
    code, of_it = closed_in_the_middle(command, tmp_path, lambda: len(states(tmp_path)) == count)
    runs = sorted((tmp_path / "runs").glob("*__*"))
    assert len(runs) == count
    # Beside two workers there is who cleans up after them.
    assert not of_it if count == 1 else len(of_it) >= 2
    wait_for(lambda: not any(map(is_there, of_it)))
    if nohup:
        assert code == 0
        assert str(runs[0].name) in (tmp_path / "nohup.out").read_text("utf-8")
    else:
        assert code != 0
        assert all(Run.load(path).unfinished for path in runs)
        for path in runs:
            train.main(["--resume", str(path), "--no-progress"])
    assert [Run.load(path).unfinished for path in runs] == [""] * count


@NOHUP
@pytest.mark.parametrize("cluster", ["loky", "ray"])
@pytest.mark.slow
def test_a_study(nohup: bool, cluster: str, tmp_path: Path) -> None:
    write(tmp_path / "file.toml", phase_steps=40_000, save_every=2_000)
    how = ("--out=runs", "--jobs=2", f"--cluster={cluster}")
    command = command_of("study", "run", "file.toml", *how, nohup=nohup)
    code, of_it = closed_in_the_middle(command, tmp_path, lambda: len(states(tmp_path)) == 2)
    folder = StudyFolder.open(tmp_path / "runs" / "small")
    assert len(of_it) >= 2
    wait_for(lambda: not any(map(is_there, of_it)))
    if nohup:
        assert code == 0
        assert "all 2 runs are finished" in (tmp_path / "nohup.out").read_text("utf-8")
    else:
        assert code != 0
        assert "finished" not in folder.states().values()
        assert "all 2 runs are finished" in run("resume", folder.path, "--jobs=2")
    assert set(folder.states().values()) == {"finished"}
