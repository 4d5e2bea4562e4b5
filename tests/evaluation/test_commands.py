"""Commands as anybody can run them: nothing of the machine they were given on is left."""

import shlex
from pathlib import Path

import pytest
import tyro

from continual_arcade.evaluation.commands import command_of, for_anybody, without
from continual_arcade.scripts.options import Run, Train

STUDY = "python -m continual_arcade.scripts.study"
TRAIN = "python -m continual_arcade.scripts.train"


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ([], []),
        (["--seeds", "0..3", "--jobs", "2"], []),
        (["--seeds=0..3", "--game", "Catcher", "--jobs=2"], ["--game", "Catcher"]),
        (["--dqn.hidden", "16", "16", "--seeds", "1"], ["--dqn.hidden", "16", "16"]),
        (["--part=a", "--seeds", "1", "--part=b"], ["--part=a", "--part=b"]),
    ],
)
def test_the_other_arguments_are_handed_on(given: list[str], left: list[str]) -> None:
    assert without(("--seeds", "--jobs"), given) == left


@pytest.mark.parametrize(
    ("written", "published"),
    [
        (f"{STUDY} run classic --out /a/runs", f"{STUDY} run classic"),
        (f"{STUDY} run classic --out=runs --jobs 2", f"{STUDY} run classic"),
        (f"{STUDY} run /a/studies/shipped/reasons.toml --out /b", f"{STUDY} run reasons"),
        (
            f"{STUDY} run '/my files/mine.toml' --cluster ray --address x:1",
            f"{STUDY} run mine.toml",
        ),
        (f"{STUDY} run mine.toml --remake", f"{STUDY} run mine.toml --remake"),
        (
            f"{TRAIN} --schedule=/a/b.toml --part ewc:lam=10",
            f"{TRAIN} --schedule=b.toml --part ewc:lam=10",
        ),
        (["/a/scripts/train.py", "--seed", "1", "--out", "/b"], f"{TRAIN} --seed 1"),
        (
            ["/a/bin/continual-arcade-train", "--schedule", "/c/my own.toml"],
            f"{TRAIN} --schedule 'my own.toml'",
        ),
        ("", ""),
        ([], ""),
    ],
)
def test_a_published_command_says_nothing_of_a_machine(
    written: str | list[str], published: str
) -> None:
    assert for_anybody(written) == published
    assert for_anybody(published) == published


def test_it_asks_for_the_same_run() -> None:
    """As the commands themselves read it."""
    given = [
        "--schedule",
        "conflict",
        "--part",
        "ewc:lam=10",
        "--seed",
        "3",
        "--dqn.hidden",
        "8",
        "9",
    ]
    written = command_of("train", [*given, "--out", "/a/b c", "--no-progress"])
    words = shlex.split(for_anybody(written))[3:]
    before = tyro.cli(Train, args=[*given, "--no-progress"])
    assert tyro.cli(Train, args=words) == before
    assert tyro.cli(Train, args=[*words, "--seed", "4"]) != before
    study = tyro.cli(Run, args=shlex.split(for_anybody(f"{STUDY} run memory --jobs 3"))[4:])
    assert (study.file, study.jobs, study.out) == ("memory", None, Path("runs"))
