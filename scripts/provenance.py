"""How something was made: command, versions and commit."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

_VERSIONS = ("continual-arcade", "gymnasium", "stable-baselines3", "torch", "numpy", "numba")


def provenance() -> dict[str, Any]:
    """Return the versions of what computes, and the commit of the code."""
    return {
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _VERSIONS},
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """Return the commit of the checkout this runs from, with a + if it was changed since."""
    here = Path(__file__).resolve().parent
    try:
        commit, changes = (
            subprocess.run(
                ["git", *arguments], cwd=here, capture_output=True, text=True, check=True
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # an installed package, not a checkout
    return f"{commit}+" if changes else commit
