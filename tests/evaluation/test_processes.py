"""Processes that work for another one: what they find, and what is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

import pytest
from processes import is_there, wait_for

from continual_arcade.evaluation import processes
from continual_arcade.evaluation.processes import WorkerDeathError, unordered

CHILD = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("processes", sys.argv[1])
processes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(processes)
if sys.argv[2] == "looks":
    processes.end_with_parent(int(sys.argv[3]))
print(os.getpid(), flush=True)
time.sleep(600)
"""
PARENT = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, "-c", *sys.argv[1:], str(os.getpid())])
time.sleep(600)
"""


@contextmanager
def family(child: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process, and its child, which looks for it or does not."""
    assert processes.__file__ is not None
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD, processes.__file__, child],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            yield parent, int(parent.stdout.readline())
        finally:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


@pytest.mark.parametrize("child", ["looks", "does not look"])
def test_a_child_ends_with_a_parent_that_is_killed(
    child: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with family(child) as (parent, pid):
        with family("looks") as (other, of_other):
            parent.kill()
            other.kill()
            wait_for(lambda: not is_there(of_other))
        if child == "looks":
            wait_for(lambda: not is_there(pid))
        else:  # so it would be
            assert is_there(pid)


def test_a_child_that_begins_after_its_parent_has_ended_does_nothing() -> None:
    code = f"import sys; sys.argv = {['', processes.__file__, 'looks', '1' * 7]!r}\n{CHILD}"
    ended = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert ended.returncode == 1


def square(number: int) -> tuple[int, int, str | None]:
    return os.getpid(), number**2, os.environ.get("OPENBLAS_NUM_THREADS")


def test_results_come_from_other_processes_as_items_are_taken_one_by_one() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(7):
            taken.append(number)
            yield number

    found = []
    for number, result in enumerate(unordered(square, items(), 2)):
        found.append(result)
        assert len(taken) <= number + 2  # nothing more while this one was not dealt with
    assert sorted(value for _, value, _ in found) == [number**2 for number in range(7)]
    assert os.getpid() not in {pid for pid, _, _ in found}
    assert {threads for _, _, threads in found} == {"1"}
    assert list(unordered(square, (), 2)) == []


def test_the_death_of_a_process_that_does_nothing_is_noticed() -> None:
    """It was waited for, for ever, by those who hand out work from callbacks."""
    results = unordered(square, count(), 2)
    pid, _, _ = next(results)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerDeathError, match="a process died over one of: "):
        for _ in results:
            pass
    # The next ones have processes of their own.
    assert [value for _, value, _ in unordered(square, [3], 2)] == [9]


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_what_a_process_died_over_is_named() -> None:
    found = []
    with pytest.raises(WorkerDeathError) as caught:
        found.extend(unordered(die, range(3, 9), 1))
    assert (found, caught.value.items) == ([], [3])


def fail(number: int) -> int:
    if number == 3:
        raise LookupError(number)
    return number


def test_processes_end_when_nobody_waits_for_them_any_more() -> None:
    with pytest.raises(LookupError):
        list(unordered(fail, range(9), 2))
    results = unordered(square, count(), 2)
    pids = {next(results)[0] for _ in range(20)}
    results.close()
    wait_for(lambda: not any(is_there(pid) for pid in pids))
