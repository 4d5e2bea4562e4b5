"""Checkpoints are found by name, and those that are not there are not replaced by others."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from continual_arcade.envs import IDS, PhaseSpec, Schedule
from continual_arcade.evaluation import EvaluationSettings
from continual_arcade.evaluation.checkpoints import Checkpoints
from continual_arcade.evaluation.run_folder import RunFolder

CYCLE = Schedule(
    "there and back",
    tuple(
        PhaseSpec(name=name, steps=100, params={"gap": gap})
        for name, gap in (("wide", 100.0), ("narrow", 80.0), ("wide again", 100.0))
    ),
)
WIDE, NARROW, AGAIN = (CYCLE.frozen(index) for index in range(3))


def run(root: Path, steps: list[int], num_envs: int = 8) -> Checkpoints:
    """A run of which nothing but the names of files matters here."""
    (root / "checkpoints").mkdir()
    for step in steps:
        (root / "checkpoints" / f"step_{step:012d}.zip").touch()
    config: dict[str, Any] = {
        "game": "FlappyBird",
        "env": IDS["FlappyBird"],
        "schedule": CYCLE.to_dict(),
        "fingerprint": CYCLE.fingerprint,
        "method": "finetune",
        "method_spec": {
            "replay": "fifo",
            "parts": [],
            "remembers_all": False,
            "interleaved": False,
        },
        "seed": 0,
        "settings": {"num_envs": num_envs},
        "save_every": 0,
        "evaluation": asdict(EvaluationSettings()),
    }
    RunFolder(root).write_config(config)
    return Checkpoints.of(RunFolder.open(root))


WHOLE = [0, 56, 104, 160, 200, 256, 304]
"""Of eight games at once: the first phase has ended at step 104, not at 100."""


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("first", 0),
        ("last", 304),
        ("end:0", 104),
        ("end:1", 200),
        ("end:2", 304),
        ("56", 56),
        ("304", 304),
        ("0", 0),
    ],
)
def test_every_name_means_one_step(tmp_path: Path, name: str, step: int) -> None:
    assert run(tmp_path, WHOLE).find(name, WIDE) == step


def test_learnt_is_the_end_of_the_first_training_of_what_is_played(tmp_path: Path) -> None:
    checkpoints = run(tmp_path, WHOLE)
    assert checkpoints.find("learnt", WIDE) == 104
    assert checkpoints.find("learnt", NARROW) == 200
    assert checkpoints.find("learnt", AGAIN) == 104  # it came back: the first time counts
    other = Schedule("other", (PhaseSpec(name="wide", steps=5, params={"gap": 99.0}),)).frozen(0)
    with pytest.raises(ValueError, match="has no checkpoint 'learnt'"):
        checkpoints.find("learnt", other)


@pytest.mark.parametrize(
    "name", ["frist", "", "end:3", "end:-1", "end:", "end:wide", "57", "-1", "1e2", "²", "100"]
)
def test_others_are_refused_and_those_that_are_there_are_named(tmp_path: Path, name: str) -> None:
    message = (
        f"{tmp_path} has no checkpoint {name!r}: it has first, end:0, end:1, end:2, learnt, last "
        "and those of steps 0, 56, 104, 160, 200, 256, 304"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run(tmp_path, WHOLE).find(name, WIDE)


@pytest.mark.parametrize("name", ["first", "end:0", "end:2", "learnt"])
def test_what_is_missing_is_not_replaced_by_the_next(tmp_path: Path, name: str) -> None:
    """The run is not over, and somebody has removed two checkpoints."""
    checkpoints = run(tmp_path, [56, 160, 200, 256])
    with pytest.raises(
        ValueError, match=r"it has end:1, last and those of steps 56, 160, 200, 256"
    ):
        checkpoints.find(name, WIDE)
    assert checkpoints.find("last", WIDE) == 256


def test_an_end_is_as_late_as_the_games_were_many(tmp_path: Path) -> None:
    checkpoints = run(tmp_path, [100, 201, 300], num_envs=1)
    assert checkpoints.find("end:0", WIDE) == 100
    with pytest.raises(ValueError, match="it has end:0, end:2, learnt, last"):
        checkpoints.find("end:1", WIDE)


@pytest.mark.parametrize(
    ("step", "played", "moment"),
    [
        (0, WIDE, "before training"),
        (56, WIDE, "while learning wide"),
        (104, WIDE, "just learnt"),
        (104, NARROW, "after wide"),
        (160, WIDE, "while learning narrow"),
        (200, NARROW, "just learnt"),
        (200, WIDE, "after narrow"),
        (304, WIDE, "at the end"),
        (304, NARROW, "at the end"),
    ],
)
def test_moments_of_a_life(tmp_path: Path, step: int, played: Any, moment: str) -> None:
    assert run(tmp_path, WHOLE).moment(step, played) == moment


def test_a_run_without_checkpoints_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no checkpoint yet"):
        run(tmp_path, [])


def test_a_damaged_run_says_so(tmp_path: Path) -> None:
    run(tmp_path, WHOLE)
    (tmp_path / "config.json").write_text(json.dumps({"game": "FlappyBird"}))
    with pytest.raises(ValueError, match="lacks env, schedule"):
        Checkpoints.of(RunFolder.open(tmp_path))
