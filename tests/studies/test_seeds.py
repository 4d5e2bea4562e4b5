"""Seeds as text: what is written is read, and what is no seed is refused by name."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_studies import refused, run, small, write

from continual_arcade.evaluation import Run
from continual_arcade.studies.seeds import check_seed, parse_seeds, write_seeds


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6))
def test_seeds_are_read_as_they_are_written(pieces: list[tuple[int, int]]) -> None:
    written, expected, first = [], [], 0
    for gap, more in pieces:
        first += gap
        last = first + more
        written.append(f"{first}..{last}" if more else str(first))
        expected += range(first, last + 1)
        first = last + 1
    assert parse_seeds(",".join(written)) == tuple(expected)
    assert parse_seeds(f" {' , '.join(written)} ") == tuple(expected)


@given(st.sets(st.one_of(st.integers(0, 30), st.integers(0, 2**32 - 1)), min_size=1))
def test_seeds_are_written_as_they_are_read(seeds: set[int]) -> None:
    text = write_seeds(list(seeds))
    assert parse_seeds(text) == tuple(sorted(seeds))
    # As short as can be: two pieces never touch.
    ends = [[int(end) for end in piece.split("..")] for piece in text.split(",")]
    assert all(after[0] > before[-1] + 1 for before, after in pairwise(ends))


@given(st.text(st.sampled_from("0123456789.,- x٣²"), max_size=12))
def test_any_text_is_read_or_refused_by_name(text: str) -> None:
    refused = ""
    try:
        seeds = parse_seeds(text)
        assert seeds
        assert all(0 <= seed < 2**32 for seed in seeds)
    except ValueError as error:
        refused = str(error)
    assert not refused or refused.startswith(f"seeds = {text!r}")


@pytest.mark.parametrize("seed", [-1, 2**32, 2**64, True, 1.5, "3", None, np.float64(3)])
def test_what_is_no_seed_of_a_run_is_refused(seed: Any, tmp_path: Path) -> None:
    message = re.escape(f"seed = {seed!r} must be a whole number from 0 to 4294967295")
    with pytest.raises(ValueError, match=message):
        check_seed(seed)
    study = small(tmp_path)
    spec = study.spec(study.scenarios[0], study.entries[0], 0)
    with pytest.raises(ValueError, match=message):
        replace(spec, seed=seed)
    with pytest.raises(ValueError, match=message):
        replace(study, seeds=(0, seed)).check()


def test_a_seed_of_numpy_is_a_seed(tmp_path: Path) -> None:
    study = small(tmp_path)
    spec = study.spec(study.scenarios[0], study.entries[0], np.uint32(2**32 - 1))
    assert json.loads(json.dumps(spec.to_config()))["seed"] == 2**32 - 1


def test_seeds_of_episodes_that_no_table_can_hold_are_refused_before_anything_is_run(
    tmp_path: Path,
) -> None:
    for first, episodes in ((2**64, 1), (2**63, 1), (2**63 - 1, 2)):
        file = write(tmp_path / "file.toml")
        text = file.read_text().replace("episodes = 1", f"episodes = {episodes}")
        file.write_text(text.replace("[evaluation]", f"[evaluation]\nfirst_seed = {first}"))
        said = refused("run", file, "--out", tmp_path, "--jobs=1")
        assert f"first_seed = {first} must be a whole number" in said
        assert f"at most {2**63 - episodes:,}" in said
        assert not (tmp_path / "small").exists()
    # The largest one is run and read.
    last = {"first_seed": 2**63 - 1}
    run("run", write(file, seeds="0", evaluation=last), "--out", tmp_path, "--jobs=1")
    (path,) = (tmp_path / "small" / "runs").iterdir()
    assert Run.load(path).table["eval_seed"].unique().tolist() == [2**63 - 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "seeds = '' names no seed: write 0..19"),
        ("0,,2", "'' is no seed and no range"),
        ("0...3", "'0...3' is no seed and no range"),
        ("1.5", "'1.5' is no seed and no range"),
        ("three", "'three' is no seed and no range"),
        ("-1", "-1 must be from 0 to 4294967295"),
        ("-1..3", "-1 must be from 0 to 4294967295"),
        ("5..2", "5..2 runs backwards: write 2..5 instead"),
        ("0..3,2", "2 is there twice"),
        ("4294967296", "4294967296 must be from 0"),
        ("9" * 5000, "must be from 0 to 4294967295"),
        ("0..4294967295", "are more than 10,000 runs"),
    ],
)
def test_what_is_no_seed_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        parse_seeds(text)
