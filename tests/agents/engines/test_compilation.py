"""Compiling the learner: announced, cached for this machine only, and not harmed by a kill."""

import io
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from processes import started

from continual_arcade.agents.engines import compilation
from continual_arcade.envs.compiling import kernel

ACT = """
import numpy as np
from continual_arcade.agents.engines.compiled import _acting_entry
from continual_arcade.agents.kernels.network import Shape
shape = Shape(np.array([2, 2]), np.array([0]))
entry = _acting_entry()
act = entry.prepared((shape, np.ones(6, "f4"), np.ones((1, 2), "f4"), np.zeros(2, "f4")))
print(act(shape, np.arange(6, dtype="f4"), np.ones((1, 2), "f4"), np.zeros(2, "f4")))
"""
LEARN = """
from continual_arcade.agents import DQNSettings, build_agent
from continual_arcade.envs import make_game, shipped
schedule = shipped("shrink", make_game("FlappyBird")).with_steps(400)
settings = DQNSettings(engine="compiled", learning_starts=200, hidden=(8,), num_envs=2)
build_agent("FlappyBird", schedule, settings).learn(600)
"""


def run(code: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache), **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def machine_code(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*.nbc"))


@pytest.mark.slow  # four processes, two of which compile
def test_machine_code_of_another_machine_is_not_trusted(tmp_path: Path) -> None:
    assert run(ACT, tmp_path).stdout == "[1]\n"
    here = machine_code(tmp_path)
    run(ACT, tmp_path)
    assert machine_code(tmp_path) == here
    # Another processor sees the same folder, and finds nothing there that is for it.
    run(ACT, tmp_path, NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="")
    both = machine_code(tmp_path)
    assert len(both) == len(here) + 1
    run(ACT, tmp_path)
    assert machine_code(tmp_path) == both


def slowly(array: object) -> int:
    """Be compiled."""
    return 1


class Heard(io.StringIO):
    """A standard error that tells when something was written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def write(self, text: str) -> int:
        self.written.set()
        return super().write(text)


def test_whoever_waits_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = kernel(slowly, {}, "test")
    compile_it = compiled.compile
    quiet, heard = Heard(), Heard()
    monkeypatch.setattr(sys, "stderr", quiet)
    monkeypatch.setattr(compilation, "_PATIENCE", 600.0)
    entry = compilation.Entry(compiled)
    assert entry.prepared((np.zeros(1),))(np.zeros(1)) == 1  # nobody had to wait for long

    def take_long(signature: object) -> object:
        assert heard.written.wait(60)
        return compile_it(signature)

    monkeypatch.setattr(compiled, "compile", take_long)
    entry.prepared((np.zeros(1),))  # it is there already
    assert not quiet.written.is_set()
    monkeypatch.setattr(sys, "stderr", heard)
    monkeypatch.setattr(compilation, "_PATIENCE", 0.0)
    entry.prepared((np.zeros((1, 1)),))
    said = "compiling the learner for this machine; it is kept for next time"
    assert re.fullmatch(rf"{said} \.\.\.\n{said}: done in \d+ s\n", heard.getvalue())


@pytest.mark.slow  # the learner is compiled twice
def test_a_compilation_that_was_killed_leaves_nothing_that_harms(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    with started([sys.executable, "-c", LEARN], env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert "compiling the learner" in process.stderr.readline()
        process.send_signal(signal.SIGKILL)
    run(LEARN, tmp_path)
    kept = machine_code(tmp_path)
    assert kept
    run(LEARN, tmp_path)
    assert machine_code(tmp_path) == kept


@pytest.mark.slow  # the learner is compiled
def test_without_a_folder_for_it_it_is_compiled_all_the_same(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way", "utf-8")
    code = "import warnings; warnings.simplefilter('always')\n" + LEARN
    site = tmp_path / "site"
    site.mkdir()
    # No locator of numba finds a folder: neither the one asked for, nor one beside the sources.
    (site / "sitecustomize.py").write_text(
        "import numba.core.caching as c\nc.CacheImpl._locator_classes = []\n", "utf-8"
    )
    result = run(code, blocked, PYTHONPATH=str(site))
    assert "NUMBA_CACHE_DIR" in result.stderr
