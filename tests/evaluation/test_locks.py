"""Locks: one writer at a time, who says who it is, and of whom nothing stays when it is dead."""

import errno
import fcntl
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest
from full_disks import files_of_at_most
from holders import HOLD, line, process

from continual_arcade.evaluation.locks import Lock, LockedError


def test_the_second_process_is_told_who_holds_it_since_when_and_how(tmp_path: Path) -> None:
    lock = Lock.of_folder(tmp_path)
    with process(HOLD, tmp_path, "--resume", "two words") as holder:
        assert line(holder) == "there"
        with pytest.raises(LockedError) as refused:
            lock.acquire()
        assert not lock.held
        said = str(refused.value)
        assert said.startswith(
            f"another process is at work in {tmp_path}: process {holder.pid} on {gethostname()} "
        )
        assert re.search(
            r" since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00: \S*python\S* \S*holder.py ", said
        )
        assert said.endswith(
            "--resume 'two words'. Wait until it is done, or stop it; nothing of it is lost"
        )
        # However it ends, it holds nothing any more; a lock that is a mere file would be there.
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert lock.file.read_text()
        with lock.hold():
            assert f"process {os.getpid()} on" in lock.file.read_text()
    assert lock.file.read_text() == ""


FORK = """
lock.acquire()
inherits = "{inherits}"
if inherits:
    # As it would be without what the module does when a process forks.
    descriptor = locks._holds[lock._key].descriptor
    os.dup2(descriptor, 99)
child = os.fork()
if child == 0:
    os.write(1, b"held\\n" if lock.held else b"free\\n")
    time.sleep(600)
subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
os.write(1, b"there\\n")
time.sleep(600)
"""


@pytest.mark.parametrize("inherits", ["", "yes"])
def test_children_of_a_killed_process_do_not_keep_its_lock(inherits: str, tmp_path: Path) -> None:
    lock = Lock.of_folder(tmp_path)
    with process(FORK.format(inherits=inherits), tmp_path) as holder:
        assert {line(holder), line(holder)} == {"there", "free"}
        with pytest.raises(LockedError):
            lock.acquire()
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        if inherits:
            with pytest.raises(LockedError):
                lock.acquire()
        else:
            lock.acquire()
            lock.release()


def test_a_child_lets_go_of_nothing_that_its_parent_holds(tmp_path: Path) -> None:
    code = (
        "lock.acquire()\n"
        "if os.fork() == 0: lock.release(); os._exit(0)\n"
        "os.wait(); print('there', flush=True); sys.stdin.read()"
    )
    with process(code, tmp_path) as holder:
        assert line(holder) == "there"
        with pytest.raises(LockedError):
            Lock.of_folder(tmp_path).acquire()


def test_whoever_waits_is_told_for_whom_and_gets_it(tmp_path: Path) -> None:
    said: list[str] = []
    with process(HOLD, tmp_path) as holder:
        assert line(holder) == "there"

        def report(text: str) -> None:
            said.append(text)
            holder.kill()

        with Lock.of_folder(tmp_path).hold(wait=True, report=report):
            pass
    assert len(said) == 1
    assert said[0].startswith(f"waiting for {tmp_path}: process {holder.pid} on ")


def test_a_folder_that_is_removed_meanwhile_is_made_and_locked_anew(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with process(HOLD, folder) as holder:
        assert line(holder) == "there"

        def report(text: str) -> None:
            shutil.rmtree(folder)
            holder.kill()

        with Lock.of_folder(folder).hold(wait=True, report=report):
            assert f"process {os.getpid()} on" in (folder / ".lock").read_text()
            # And it is the lock that others meet.
            with process("lock.acquire(wait=False)", folder) as other:
                assert other.wait() == 1


# Within a process.


def elsewhere(act: Callable[[], Any]) -> Any:
    """Let another thread do something, and end."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(act).result()


def test_a_thread_has_what_it_has_and_others_do_not(tmp_path: Path) -> None:
    lock, same = Lock.of_folder(tmp_path), Lock.of_folder(tmp_path / ".." / tmp_path.name)
    with lock.hold():
        assert same.held
        with same.hold():
            pass
        same.acquire()
        same.release()  # that is left to the block
        assert lock.held
        assert not elsewhere(lambda: lock.held)
        with pytest.raises(LockedError, match="another thread of this process is at work in"):
            elsewhere(lock.acquire)
        elsewhere(lock.release)
        assert lock.held
    assert not lock.held
    elsewhere(lock.acquire)


def test_what_a_thread_held_that_has_ended_is_free_for_the_others(tmp_path: Path) -> None:
    lock = Lock.of_folder(tmp_path)
    elsewhere(lock.acquire)
    with lock.hold(), pytest.raises(LockedError):
        elsewhere(lock.acquire)
    elsewhere(lock.acquire)


def test_one_of_many_threads_has_it_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0
    gate = threading.Barrier(8)

    def work(_: int) -> None:
        nonlocal inside, most
        gate.wait()
        for _ in range(20):
            with Lock.of_folder(tmp_path / "run").hold(wait=True):
                inside += 1
                most = max(most, inside)
                inside -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    assert most == 1


def test_a_folder_that_is_removed_while_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, calls = Path.mkdir, 0

    def mkdir(folder: Path, *args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:  # as where it was there, and is gone when mkdir looks whether it is a folder
            raise FileExistsError(folder)
        make(folder, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    lock = Lock.of_folder(tmp_path / "run")
    with lock.hold():
        assert lock.held
    assert calls == 2


@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_folder_is_not_locked(tmp_path: Path, link: bool) -> None:
    path = tmp_path / "run"
    if link:
        path.symlink_to(tmp_path / "missing")
    else:
        path.write_text("a file")
    with pytest.raises(FileExistsError), Lock.of_folder(path).hold():
        pass


# What stays on the disk.


def test_nothing_stays_of_a_folder_in_which_nothing_was_written(tmp_path: Path) -> None:
    lock = Lock.of_folder(tmp_path / "deep" / "run")
    with lock.hold():
        assert lock.file.exists()
    assert [*tmp_path.rglob("*")] == [tmp_path / "deep"]
    with lock.hold():
        (lock.file.parent / "a").touch()
    assert sorted(path.name for path in lock.file.parent.iterdir()) == [".lock", "a"]
    # One that was there before is somebody's.
    (tmp_path / "empty").mkdir()
    with Lock.of_folder(tmp_path / "empty").hold():
        pass
    assert (tmp_path / "empty").is_dir()


def test_a_lock_of_one_file_lets_others_beside_it_be_written(tmp_path: Path) -> None:
    one, other = (Lock.of_file(tmp_path / name) for name in ("a.json", "b.json"))
    with one.hold():
        elsewhere(other.acquire)
        with pytest.raises(LockedError, match=r"at work in .*a\.json: "):
            elsewhere(one.acquire)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    lock = Lock.of_folder(tmp_path)
    descriptors = len(os.listdir("/dev/fd"))
    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", flock)
        message = rf"{tmp_path} cannot be locked \({os.strerror(number)}\).* choose a folder of"
        with pytest.raises(OSError, match=message):
            lock.acquire()
    assert not lock.held
    assert len(os.listdir("/dev/fd")) == descriptors
    lock.acquire()
    lock.release()


def test_a_disk_without_room_for_the_name_is_said_and_nothing_stays_locked(tmp_path: Path) -> None:
    lock = Lock.of_folder(tmp_path / "run")
    with files_of_at_most(0), pytest.raises(OSError, match=r"File too large: .*run/\.lock"):
        lock.acquire()
    assert not lock.held
    assert not lock.file.parent.exists()
    elsewhere(lock.acquire)
