"""Which commit a run says it was made by: that of this code, or none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from continual_arcade.studies import provenance

ROOT = Path(__file__).parents[2]


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=me", "-c", "user.email=me@example.com"]
    command = ["git", *who, *arguments]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return result.stdout.strip()


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A checkout of somebody else's, with a commit."""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "mine")
    return tmp_path


def commit_of(source: Path) -> str:
    """What a copy of the module says."""
    code = f"import runpy; print(runpy.run_path({str(source)!r})['_git_commit']())"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_an_installed_package_has_no_commit_though_it_lies_in_a_checkout(elsewhere: Path) -> None:
    """As in the virtual environment of somebody's project."""
    source = Path(str(provenance.__file__))
    copy = elsewhere / ".venv" / source.name
    copy.parent.mkdir()
    shutil.copy(source, copy)
    assert commit_of(copy) == "None"
    git(elsewhere, "add", ".")
    git(elsewhere, "commit", "--quiet", "-m", "tracked")
    assert commit_of(copy) == git(elsewhere, "rev-parse", "HEAD")
    (elsewhere / "new").touch()
    assert commit_of(copy) == git(elsewhere, "rev-parse", "HEAD") + "+"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no checkout")
def test_a_hook_of_another_checkout_is_not_believed(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ROOT / "studies" / "provenance.py"
    expected = git(ROOT, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", os.fspath(elsewhere / ".git"))
    assert git(ROOT, "rev-parse", "HEAD") != expected
    assert commit_of(source).removesuffix("+") == expected
