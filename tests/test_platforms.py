"""Other systems than Linux, as far as Linux can stand for them."""

import os
import subprocess
import sys

import pytest

from continual_arcade.agents import machine_memory
from continual_arcade.studies import provenance

LIBRARIES = (
    "import gymnasium, joblib, matplotlib, numba, pandas, plotly, stable_baselines3, torch\n"
)
"""What knows by itself which system it is on; all else comes after it."""


def said(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", LIBRARIES + code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


AS_ON_MACOS = """
import os, pathlib
del os.sched_getaffinity
read = pathlib.Path.read_text
def read_text(path, *arguments, **options):
    if path.parts[:2] in (("/", "proc"), ("/", "sys")):
        raise FileNotFoundError(path)
    return read(path, *arguments, **options)
pathlib.Path.read_text = read_text
from continual_arcade.agents.machine_memory import available_memory
from continual_arcade.studies.executors import jobs_at_a_time
from continual_arcade.studies import ray_executor
from continual_arcade.studies.provenance import machine
print(jobs_at_a_time(None), available_memory(), machine(), sep="\\n")
"""


@pytest.mark.slow
def test_macos_has_no_proc_and_no_affinity() -> None:
    cores, memory, machine = said(AS_ON_MACOS).splitlines()
    assert int(cores) >= 1
    there = machine_memory.available_memory()
    assert there is not None
    assert int(memory) >= there  # all there is, which is more than what is free
    assert provenance.machine().startswith(machine.split()[0])


AS_ON_WINDOWS = """
import importlib, os, pkgutil, signal, sys
for name in ("fcntl", "grp", "pty", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("SIGHUP", "SIGKILL", "pthread_sigmask"):
    delattr(signal, name)
for name in ("fork", "geteuid", "sched_getaffinity", "sysconf"):
    delattr(os, name)
for package in ("envs", "agents", "evaluation"):
    found = importlib.import_module(f"continual_arcade.{package}")
    for module in pkgutil.walk_packages(found.__path__, found.__name__ + "."):
        importlib.import_module(module.name)
from continual_arcade.evaluation.locks import Lock
try:
    Lock.of_folder(__import__("pathlib").Path()).acquire()
except OSError as error:
    print(error)
sys.platform = "win32"
for name in ("studies.run_spec", "scripts.train", "scripts.study"):
    try:
        importlib.import_module(f"continual_arcade.{name}")
    except ImportError as error:
        print(error)
"""


@pytest.mark.slow
def test_windows_is_refused_with_the_way_out() -> None:
    lines = said(AS_ON_WINDOWS).splitlines()
    assert "cannot be locked on this system" in lines[0]
    assert len(lines) == 4
    assert set(lines[1:]) == {lines[1]}
    assert "need a POSIX system" in lines[1]
    assert all("use WSL" in line for line in lines)


def test_a_notebook_s_backend_is_in_nobody_s_way() -> None:
    """Of another environment, such as that of Jupyter, from which a command is started."""
    result = subprocess.run(
        [sys.executable, "-m", "continual_arcade.scripts.schedule", "--help"],
        env={**os.environ, "MPLBACKEND": "module://not_installed_here"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_a_machine_that_does_not_count_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_memory, "_text", lambda path: "")
    assert machine_memory.available_memory()
    monkeypatch.delattr("os.sysconf")
    assert machine_memory.available_memory() is None
