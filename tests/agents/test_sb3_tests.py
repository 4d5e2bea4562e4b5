"""Stable-Baselines3's own tests of its DQN, with ours in its place.

They come from the source distribution of the version that constraints.txt pins, which is fetched
when the tests run. A planted error: a deviation that is no longer one fails, too.
"""

import json
import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PINNED = re.search(r"^stable_baselines3==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M)
TESTED = 67
"""Tests that concern a DQN and are not skipped."""

DEVIATIONS = {
    "test_save_load.py::test_save_load_no_target_params": (
        "a file whose optimiser holds the target network, too, as before Stable-Baselines3 2.4, "
        "gives a warning there; files of ours never were like that"
    ),
}
"""What is not as there, and why."""
COMPILED = {
    "test_run.py::test_offpolicy_multi_env[DQN]": (
        "from a replay of this suite nothing is learnt before it holds as much as a batch"
    ),
}
"""What is not as there with a replay of this suite."""
UNTRIED = {
    "test_utils.py": "imports ale_py, which is no package of the tests; it tests helpers of theirs"
}
ONCE = {
    "test_her.py::test_performance_her[10]": "takes a minute, and Dict observations run on torch"
}
"""What is run with one engine only."""


@pytest.fixture(scope="session")
def their_tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests of the pinned version, fetched and unpacked."""
    assert PINNED is not None
    if (installed := version("stable_baselines3")) != PINNED[1]:
        pytest.skip(f"what deviates was noted for {PINNED[1]}, but {installed} is installed")
    folder = tmp_path_factory.mktemp("sb3")
    command = ["pip", "download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
    fetched = subprocess.run(
        [sys.executable, "-m", *command, f"stable_baselines3=={PINNED[1]}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode:
        pytest.skip(f"the source distribution cannot be fetched: {fetched.stderr.strip()[-300:]}")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        # Not the package beside the tests: it is the installed one that is tested.
        wanted = [
            each
            for each in tar.getmembers()
            if "/tests/" in each.name or re.fullmatch(r"[^/]+/pyproject\.toml", each.name)
        ]
        tar.extractall(folder, wanted, filter="data")
    (tests,) = folder.glob("*/tests")
    return tests.parent


def run(folder: Path, agent: str, tests: list[str], *arguments: str) -> dict[str, dict[str, Any]]:
    """Run some tests with one of the agents in place of theirs; return what came of each."""
    report = folder / f"{agent}.json"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "sb3_substitution"),
            *("-p", "no:cacheprovider", "-p", "no:xdist", *arguments, *tests),
        ],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "tests"),
            "SB3_AGENT": agent,
            "SB3_REPORT": str(report),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, dict[str, Any]] = json.loads(report.read_text("utf-8"))
    return {name.removeprefix("tests/"): outcome for name, outcome in found.items()}


def verdict(
    found: dict[str, dict[str, Any]], expected: dict[str, str], not_ours: set[str] = frozenset()
) -> list[str]:
    """Say what is not as it was noted."""
    failed = {name for name, each in found.items() if each["outcome"] == "failed"}
    return [
        *(
            f"{name} fails, and is not noted: {found[name]['why']}"
            for name in sorted(failed - expected.keys() - not_ours)
        ),
        *(
            f"{name} is noted ({expected[name]}), but "
            + ("passes: take it off the list" if name in found else "there is no such test")
            for name in sorted(expected.keys() - failed)
        ),
    ]


def fail_with_theirs(folder: Path, names: set[str]) -> set[str]:
    """Return which tests fail with their own DQN, too: those say nothing of ours."""
    if not names:
        return set()
    found = run(folder, "theirs", [f"tests/{name}" for name in sorted(names)])
    return {name for name, each in found.items() if each["outcome"] == "failed"}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_ours_passes_what_theirs_passes(their_tests: Path, engine: str) -> None:
    expected = {**DEVIATIONS, **(COMPILED if engine == "compiled" else {})}
    once = ONCE if engine == "compiled" else {}
    left_out = [f"--ignore=tests/{name}" for name in UNTRIED]
    left_out += [f"--deselect=tests/{name}" for name in once]
    found = run(their_tests, engine, ["tests"], *left_out)
    tried = {name for name, each in found.items() if each["outcome"] != "skipped"}
    assert len(tried) == TESTED - len(once)
    failed = {name for name in tried if found[name]["outcome"] == "failed"}
    not_ours = fail_with_theirs(their_tests, failed - expected.keys())
    assert not verdict(found, expected, not_ours)
    compiled = [name for name, each in found.items() if each["compiled"]]
    assert len(compiled) == 0 if engine == "torch" else len(compiled) > 15


def test_what_is_noted_wrongly_is_reported() -> None:
    found = {
        name: {"outcome": outcome, "why": "because"}
        for name, outcome in {"a": "passed", "b": "failed", "c": "failed", "d": "passed"}.items()
    }
    noted = {"b": "known", "d": "known once", "e": "no test"}
    assert verdict(found, {"b": "known", "c": "known"}) == []
    assert verdict(found, noted, {"c"}) == [
        "d is noted (known once), but passes: take it off the list",
        "e is noted (no test), but there is no such test",
    ]
    assert verdict(found, {"b": "known"}) == ["c fails, and is not noted: because"]
