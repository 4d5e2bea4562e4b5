"""Nothing that belongs to the project says where on some machine it was made."""

import subprocess
from pathlib import Path

import pytest
from published import paths_in

ROOT = Path(__file__).parents[1]
PLANTED = "/".join(("", "work", "main", "runs"))  # so that it is not found in this file


def test_no_file_holds_a_path_of_somebody_s_machine() -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    names = [name for name in listed.decode().split("\0") if (ROOT / name).is_file()]
    assert {"README.md", "docs/results/classic.md", "evaluation/references.json"} <= set(names)
    found = {name: paths for name in names if (paths := paths_in((ROOT / name).read_bytes()))}
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        f"    study run classic --out {PLANTED}",
        f"--out={PLANTED}",
        f'"command": ["{PLANTED}/train.py"]',
        f"a,b,{PLANTED},c",
        f'<a href="file://{PLANTED}/report.html">',
        f"![x](file:{PLANTED}/x.png)",
        PLANTED.replace("work", "home"),
        PLANTED.replace("work", "Users"),
    ],
)
def test_a_planted_path_is_found(text: str) -> None:
    (found,) = paths_in(text.encode())
    assert "/main/runs" in found


@pytest.mark.parametrize(
    "text",
    ["https://example.org/home/x", "docs/work/x", "./tmp/x", "~/home/x", "/dev/null", "a /home b"],
)
def test_what_is_no_path_of_a_machine_is_not(text: str) -> None:
    assert paths_in(text.encode()) == []
