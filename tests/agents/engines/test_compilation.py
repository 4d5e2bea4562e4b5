"""Compiling the learner: announced, cached for this machine only, and not harmed by a kill."""

import ctypes
import inspect
import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import tiny
from numba import njit
from numba.core.errors import TypingError
from processes import started

from continual_arcade.agents import METHODS, build_agent
from continual_arcade.agents.engines import compilation
from continual_arcade.agents.kernels import functions

TESTS = str(Path(__file__).parents[2])
ACT = """
import numpy as np
import tiny
print(tiny.agent(engine="compiled").predict(np.zeros((1, 8), "f4"), deterministic=True)[0].shape)
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
        env={**os.environ, "PYTHONPATH": TESTS, "NUMBA_CACHE_DIR": str(cache), **environment},
        capture_output=True,
        text=True,
        check=True,
    )


def machine_code(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*.nbc"))


@pytest.mark.slow  # four processes, two of which compile
def test_machine_code_of_another_machine_is_not_trusted(tmp_path: Path) -> None:
    assert run(ACT, tmp_path).stdout == "(1,)\n"
    here = machine_code(tmp_path)
    run(ACT, tmp_path)
    assert machine_code(tmp_path) == here
    # Another processor sees the same folder, and finds nothing there that is for it.
    run(ACT, tmp_path, NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="")
    both = machine_code(tmp_path)
    assert len(both) == len(here) + 1
    run(ACT, tmp_path)
    assert machine_code(tmp_path) == both


class Alone(NamedTuple):
    """What a function is called with."""

    array: Any


@njit
def slowly(given: Any) -> int:
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


def after_a_word(compile_it: Callable[[Any], Any], heard: Heard) -> Callable[[Any], Any]:
    """Return a compilation that lasts until a word was said about it."""

    def take_long(kind: object) -> object:
        assert heard.written.wait(60)
        return compile_it(kind)

    return take_long


def test_whoever_waits_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet, heard = Heard(), Heard()
    monkeypatch.setattr(sys, "stderr", quiet)
    monkeypatch.setattr(compilation, "_PATIENCE", 600.0)
    entry = compilation.Entry(slowly, "test")
    assert entry.prepared(Alone(np.zeros(1)))() == 1  # nobody had to wait for long
    monkeypatch.setattr(entry, "_compile", after_a_word(entry._compile, heard))
    assert entry.prepared(Alone(np.zeros(1)))() == 1  # it is there already
    assert not quiet.written.is_set()
    monkeypatch.setattr(sys, "stderr", heard)
    monkeypatch.setattr(compilation, "_PATIENCE", 0.0)
    entry.prepared(Alone(np.zeros((1, 1))))
    said = "compiling the learner for this machine; it is kept for next time"
    assert re.fullmatch(rf"{said} \.\.\.\n{said}: done in \d+ s\n", heard.getvalue())


class Pair(NamedTuple):
    """An array beside numbers of two kinds."""

    array: Any
    number: float
    flag: bool


class Given(NamedTuple):
    """Named tuples in a named tuple, and a plain one."""

    pair: Pair
    plain: tuple[Any, Any]
    alike: Alone


@njit
def summed(given: Any) -> Any:
    """Read three arrays and two numbers."""
    sign = 1.0 if given.pair.flag else -1.0
    first = given.pair.array.sum() + given.plain[1] * given.plain[0].sum()
    given.alike.array[0] += 1.0
    return sign * (given.pair.number + first)


def test_what_is_stored_is_what_is_called_with_and_is_seen_to_change() -> None:
    entry = compilation.Entry(summed, "test")
    first, second = np.arange(5.0), np.arange(12, dtype=np.int64).reshape(3, 4)
    count = np.zeros(1)
    calls = [
        entry.prepared(Given(Pair(first, 0.0, True), (second, 2.0), Alone(count))),
        entry.prepared(Given(Pair(second * 1.0, 7.0, False), (first, 1.0), Alone(count))),
    ]
    assert calls[1]() == -(7.0 + second.sum() + first.sum())
    calls[1] = entry.prepared(Given(Pair(second * 1.0, 0.0, True), (first, 1.0), Alone(count)))
    count[0] = 0.0
    for _ in range(1000):  # nothing counts who uses the arrays, or frees them
        assert calls[0]() == first.sum() + 2.0 * second.sum()
        assert calls[1]() == second.sum() + first.sum()
    assert count[0] == 2000.0
    first += 1.0
    assert calls[0]() == first.sum() + 2.0 * second.sum()
    references = sys.getrefcount(first)
    calls[0]()
    assert sys.getrefcount(first) == references
    calls.clear()
    assert sys.getrefcount(first) < references


@njit
def counts(given: Any) -> int:
    """Count how often it is called."""
    given.array[0] += 1.0
    return 1


def test_what_compiled_code_calls_by_its_address_is_told_by_its_own_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = Heard()
    monkeypatch.setattr(sys, "stderr", heard)
    monkeypatch.setattr(compilation, "_PATIENCE", 0.0)
    count, other = np.zeros(1), np.zeros(1)
    callee = compilation.Callee(counts, "Pong")
    monkeypatch.setattr(callee, "_compile", after_a_word(callee._compile, heard))
    ours, its = callee.prepared(Alone(count)), callee.prepared(Alone(other))
    assert ours.function == its.function  # compiled once
    call = ctypes.CFUNCTYPE(None, ctypes.c_int64)(ours.function)
    for _ in range(3):
        call(ours.arguments)
    call(its.arguments)
    assert (count[0], other[0]) == (3.0, 1.0)
    assert heard.getvalue().startswith("compiling the steps of Pong for this machine; it is kept")


FOREIGN = """
from typing import Any, NamedTuple
import numpy as np
from numba import njit
from continual_arcade.agents.engines.compilation import Entry

class Alone(NamedTuple):
    array: Any

def size(given):
    return given.array.size

print(Entry(njit(size), "test").prepared(Alone(np.zeros(3)))())
"""


def test_what_one_process_has_compiled_is_not_in_the_way_of_another(tmp_path: Path) -> None:
    (tmp_path / "foreign.py").write_text(FOREIGN, "utf-8")
    cache = tmp_path / "cache"
    assert run("import foreign", cache, PYTHONPATH=str(tmp_path)).stdout == "3\n"
    # The same name of a class, the same types, and no module to import it from.
    assert run(FOREIGN, cache, PYTHONPATH=TESTS).stdout == "3\n"


def build_all() -> None:
    """Make an agent of every method, and so the functions of all rules."""
    for method in METHODS.values():
        if method.name not in tiny.UNCOMPILED:
            context = tiny.context_of(method.make_parts())
            build_agent("FlappyBird", tiny.CONFLICT, tiny.SETTINGS, 0, method, context=context)


NAMES = f"""
import sys
from types import SimpleNamespace
import tiny
from continual_arcade.agents import METHODS, build_agent
from continual_arcade.agents.kernels import functions

def named(run):
    print(run.__qualname__.rpartition(".")[2])
    return SimpleNamespace(address=0)

functions._c_function = named
{inspect.getsource(build_all)}
build_all()
model = tiny.agent()
model.save(sys.argv[1])
type(model).load(sys.argv[1])
assert "torch._dynamo" not in sys.modules, "PyTorch's compiler takes a second to import"
"""


def test_each_process_finds_what_another_has_compiled(tmp_path: Path) -> None:
    """Else each would compile these rules again, and keep them under one more name."""
    ours = os.environ.get("PYTHONHASHSEED")  # of the order of sets; else Python draws it
    done = subprocess.run(
        [sys.executable, "-c", NAMES, str(tmp_path / "agent.zip")],
        env={**os.environ, "PYTHONPATH": TESTS, "PYTHONHASHSEED": "2" if ours == "1" else "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = set(done.stdout.split())
    assert len(found) > 30
    build_all()
    assert found <= functions._MADE.keys()


def test_a_name_that_has_an_address_in_it_would_be_found() -> None:
    """As constants are written by ``repr``: of the same code twice."""
    one, again = (compile("lambda x: x in {1, 2}", "here", "eval") for _ in range(2))
    assert functions._written(one) == functions._written(again)
    assert repr(one.co_consts) != repr(again.co_consts)


CONSTANTS = """
K = {}
def fourth(x): return x + {}
def third(x): return fourth(x)
def second(x): return third(x)
def rule(x): return second(x) * K * other.K * twice(x) * thrice(x)
"""


def content(
    constant: Any = "1.0", added: int = 1, elsewhere: float = 1.0, factors: Any = (2, 3)
) -> list[str]:
    def times(factor: int) -> Any:
        return lambda x: factor * x

    other = ModuleType("other")
    vars(other)["K"] = elsewhere
    names: dict[str, Any] = {"np": np, "other": other}
    names |= {"twice": times(factors[0]), "thrice": times(factors[1])}
    exec(CONSTANTS.format(constant, added), names)
    return functions.content(names["rule"])


@pytest.mark.parametrize(
    ("one", "another"),
    [
        ({"constant": "1.0"}, {"constant": "2.0"}),
        ({"constant": "np.float32(1)"}, {"constant": "np.float32(2)"}),
        ({"constant": "np.float32(1)"}, {"constant": "1.0"}),
        ({"constant": "np.arange(2)"}, {"constant": "np.arange(2) + 1"}),
        ({"constant": "(np.eye(99),)"}, {"constant": "(np.eye(99) - np.eye(99, k=40),)"}),
        ({"added": 1}, {"added": 2}),
        ({"elsewhere": 1.0}, {"elsewhere": 2.0}),
        ({"factors": (2, 3)}, {"factors": (2, 4)}),
    ],
)
def test_machine_code_is_not_that_of_another_constant(one: Any, another: Any) -> None:
    """What is kept under the name of a rule has in it whatever the rule found by name."""
    assert content(**one) == content(**one)
    assert content(**one) != content(**another)


@njit
def mistaken(given: Any) -> Any:
    """Read what there is not."""
    return given.arrays


def test_a_field_that_there_is_not_is_an_error_of_compilation() -> None:
    with pytest.raises(TypingError, match="Unknown attribute 'arrays'"):
        compilation.Entry(mistaken, "test").prepared(Alone(np.zeros(1)))


@pytest.mark.slow  # the learner is compiled twice
def test_a_compilation_that_was_killed_leaves_nothing_that_harms(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    with started([sys.executable, "-c", LEARN], env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert "for this machine; it is kept for next time" in process.stderr.readline()
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
