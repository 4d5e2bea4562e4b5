"""How something was made: command, versions, commit and machine."""

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_VERSIONS = (
    "continual-arcade",
    "gymnasium",
    "stable-baselines3",
    "torch",
    "numpy",
    "numba",
    "scipy",  # its BLAS is that of compiled code
)


def provenance() -> dict[str, Any]:
    """Return the versions of what computes, the commit of the code, and the kind of machine."""
    return {**versions(), "git_commit": _git_commit(), "machine": machine()}


@cache
def versions() -> dict[str, Any]:
    """Return the version of Python and those of the libraries that decide about last bits."""
    return {
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _VERSIONS},
    }


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of packages, as far as they are installed."""
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def other_versions(then: Mapping[str, Any]) -> list[str]:
    """Say which versions differ from those that something was made with.

    Args:
        then: What :func:`versions` or :func:`provenance` returned there, with the ``packages`` that
            were needed beside those.
    """
    packages = then.get("packages", {})
    before = {"python": then.get("python"), **then.get("versions", {}), **packages}
    now = {"python": versions()["python"], **versions()["versions"], **installed(packages)}
    return [
        f"{name} {now.get(name)} instead of {before.get(name)}"
        for name in dict.fromkeys((*before, *now))
        if before.get(name) != now.get(name)
    ]


@cache
def machine() -> str:
    """Return the kind of processor; libraries choose their ways by it, and last bits follow."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    return f"{platform.machine()} {model or platform.processor()}".strip()


def _git_commit() -> str | None:
    """Return the commit of the checkout this runs from, with a + if it was changed since."""
    here = Path(__file__).resolve()
    # What says of another checkout that it is meant, as in a hook of git, does not mean this one.
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    try:
        # The first one fails for an installed package, though it may lie in somebody's checkout.
        _, commit, changes = (
            subprocess.run(
                ["git", *arguments],
                cwd=here.parent,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for arguments in (
                ["ls-files", "--error-unmatch", here.name],
                ["rev-parse", "HEAD"],
                ["status", "--porcelain"],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return None  # an installed package, not a checkout
    return f"{commit}+" if changes else commit
