"""Digits: what is seen is the image of the label, turned as Pillow turns it, and then permuted."""

import gzip
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.envs.registration import EnvSpec
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_images import idx, write_folder

from continual_arcade.envs import IDS, PhaseSpec, Schedule, digits, images, make_game, tables
from continual_arcade.envs.digits import QUESTIONS


def seen(pixels: npt.NDArray[np.uint8], angle: float, permutation: int, square: int = 0) -> Any:
    """What is to be seen of an image, by Pillow and NumPy."""
    side = round(len(pixels) ** 0.5)
    turned = np.asarray(Image.fromarray(pixels.reshape(side, side)).rotate(angle)).reshape(-1)
    order = np.arange(side**2)
    if permutation:
        order = np.random.default_rng(permutation).permutation(side**2)
    if square:
        first = (side - square) // 2
        grid = np.arange(side**2).reshape(side, side)
        middle = grid[first : first + square, first : first + square].reshape(-1)
        permuted = order[np.isin(order, middle)]
        order = grid.reshape(-1).copy()
        order[middle] = permuted
    return turned[order].astype(np.float32) * np.float32(1 / 255)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path)


@pytest.fixture(scope="module")
def exam() -> Any:
    return gym.make(IDS["Digits"], exam=True).unwrapped


@settings(max_examples=60, deadline=None)
@given(
    angle=st.one_of(
        st.sampled_from([-360.0, -90.0, 0.0, 45.0, 90.0, 180.0, 270.0, 360.0]),
        st.floats(-360, 360),
    ),
    permutation=st.integers(0, 99),
    square=st.sampled_from([0, *range(2, 28)]),
    question=st.integers(0, 20),
)
def test_images_are_turned_and_permuted_exactly(
    exam: Any, angle: float, permutation: int, square: int, question: int
) -> None:
    found = images.load(digits.SOURCE)
    params = {"angle": angle, "permutation": permutation, "square": square}
    if square and not permutation:
        with pytest.raises(ValueError, match="does not act where permutation = 0"):
            exam.reset(seed=0, options={"params": params})
        params["square"] = square = 0
    observation, _ = exam.reset(seed=0, options={"params": params})
    for _ in range(question):
        observation, *_ = exam.step(0)
    assert np.array_equal(observation, seen(found.test[question], angle, permutation, square))
    *_, info = exam.step(0)
    assert info["label"] == found.test_labels[question]


def test_the_comparison_finds_a_wrong_turn(exam: Any) -> None:
    found = images.load(digits.SOURCE)
    observation, _ = exam.reset(seed=0, options={"params": {"angle": 10.0}})
    assert not np.array_equal(observation, seen(found.test[0], -10.0, 0))
    assert not np.array_equal(observation, seen(found.test[0], 10.0, 1))
    assert not np.array_equal(observation, seen(found.test[0], 10.0, 1, 8))


@pytest.mark.parametrize(("split", "classes"), [(0, range(10)), (1, (0, 1)), (5, (8, 9))])
def test_an_exam_asks_about_all_images_of_its_classes_alike(split: int, classes: Any) -> None:
    env = gym.make(IDS["Digits"], exam=True)
    env.reset(seed=0, options={"params": {"split": split}})
    labels = []
    for question in range(QUESTIONS):
        *_, over, _, info = env.step(0)
        labels.append(info["label"])
        assert over == (question == QUESTIONS - 1)
    values, counts = np.unique(labels, return_counts=True)
    assert values.tolist() == list(classes)
    assert counts.tolist() == [QUESTIONS // len(classes)] * len(classes)


def test_training_never_shows_what_is_tested_with() -> None:
    found = images.load(digits.SOURCE)
    trained = {row.tobytes() for row in found.train}
    env = gym.make_vec(IDS["Digits"], num_envs=64)
    observations, _ = env.reset(seed=0)
    pictures = set()
    for _ in range(30):
        labels = []
        for row in observations:
            pixels = np.rint(row * 255).astype(np.uint8)
            pictures.add(pixels.tobytes())
            (at,) = np.flatnonzero((found.train == pixels).all(axis=1))[:1]
            labels.append(int(found.train_labels[at]))
        observations, _, _, _, infos = env.step(np.zeros(64, np.int64))
        assert infos["final_info"]["label"].tolist() == labels
    assert pictures <= trained
    assert len(pictures) > 1400  # of 1,920 draws from 4,000: 1,525 are expected


def test_a_split_beyond_the_classes_is_refused() -> None:
    env = gym.make(IDS["Digits"])
    with pytest.raises(ValueError, match="split = 6"):
        env.reset(options={"params": {"split": 6}})


@pytest.mark.parametrize("split", [1, 5])
def test_split_digits_ask_for_the_first_or_the_second_class(split: int) -> None:
    found = images.load(digits.SOURCE)
    classes = [2 * split - 2, 2 * split - 1]
    shown_of = np.isin(found.test_labels, classes)
    labels = {}
    for name in ("SplitDigits", "Digits"):
        env = gym.make(IDS[name], exam=True)
        observation, _ = env.reset(seed=0, options={"params": {"split": split}})
        assert np.array_equal(observation, seen(found.test[shown_of][0], 0.0, 0))
        labels[name] = [env.step(0)[-1]["label"] for _ in range(QUESTIONS)]
    expected = np.repeat(found.test_labels[shown_of].astype(int), QUESTIONS // shown_of.sum())
    assert np.array_equal(labels["Digits"], expected)
    assert np.array_equal(labels["SplitDigits"], expected - classes[0])


@pytest.mark.parametrize("game", ["Digits", "SplitDigits"])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"square": 4}, "square = 4 does not act where permutation = 0: leave square out, or set"),
        ({"square": 4, "permutation": 0}, "square = 4 does not act where permutation = 0"),
        ({"square": 1, "permutation": 3}, "square = 1 px is no value of it: a single pixel stays"),
        ({"square": 28, "permutation": 3}, "square = 28 px is no value of it: .* what 0 says"),
    ],
    ids=str,
)
def test_a_square_that_changes_nothing_is_refused(
    game: str, params: dict[str, float], message: str
) -> None:
    phases = Schedule("s", (PhaseSpec(name="a", steps=9, params=params),))
    for make in (gym.make, lambda id_, **kwargs: gym.make_vec(id_, 2, **kwargs)):
        with pytest.raises(ValueError, match=message):
            make(IDS[game], schedule=phases)
        env: Any = make(IDS[game])
        with pytest.raises(ValueError, match=message):
            env.reset(seed=0, options={"params": params})
        env.reset(seed=0, options={"params": {**params, "permutation": 3, "square": 0}})


def test_each_square_shows_something_of_its_own() -> None:
    """By the oracle above: those that are refused change nothing, and all others do."""
    pixels = np.random.default_rng(0).integers(256, size=784, dtype=np.uint8)
    square = make_game("Digits").tunables["square"]
    shown = {size: seen(pixels, 0.0, 3, size).tobytes() for size in range(int(square.high) + 1)}
    assert square.excluded == (1.0, 28.0)
    assert shown[1] == seen(pixels, 0.0, 0).tobytes()
    assert shown[28] == shown[0]
    assert len(set(shown.values())) == 28


def test_split_digits_without_a_split_are_refused() -> None:
    env = gym.make(IDS["SplitDigits"])
    with pytest.raises(ValueError, match="split = 0"):
        env.reset(options={"params": {"split": 0}})


def test_two_sources_do_not_get_in_each_others_way(folder: Path) -> None:
    ours = gym.make(IDS["Digits"], images=str(folder), exam=True)
    others = gym.make(IDS["Digits"], exam=True)
    found = images.load(str(folder))
    for env, one in ((ours, found), (others, images.load(digits.SOURCE)), (ours, found)):
        observation, _ = env.reset(seed=0)
        assert np.array_equal(observation, seen(one.test[0], 0.0, 0))


def test_a_state_of_other_images_is_refused(folder: Path) -> None:
    ours = gym.make(IDS["Digits"], images=str(folder)).unwrapped
    ours.reset(seed=0)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    theirs = gym.make(IDS["Digits"], images=str(folder)).unwrapped
    with pytest.raises(ValueError, match="pixels_key"):
        theirs.load_state_dict(ours.state_dict())  # type: ignore[attr-defined]


def test_a_folder_that_has_changed_is_read_again(folder: Path) -> None:
    first = images.load(str(folder)).test[0]
    before = gym.make(IDS["Digits"], images=str(folder), exam=True)
    packed = gzip.compress(idx(np.full((6, 4, 4), 9)))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(packed)
    after = gym.make(IDS["Digits"], images=str(folder), exam=True)
    assert np.array_equal(after.reset(seed=0)[0], seen(np.full(16, 9, np.uint8), 0.0, 0))
    assert np.array_equal(before.reset(seed=0)[0], seen(first, 0.0, 0))


def test_a_folder_is_the_same_wherever_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, colour in (("a", 5), ("b", 6)):
        (tmp_path / name / "images").mkdir(parents=True)
        here = write_folder(tmp_path / name / "images")
        packed = gzip.compress(idx(np.full((6, 4, 4), colour)))
        (here / "t10k-images-idx3-ubyte.gz").write_bytes(packed)
    shown = {}
    monkeypatch.chdir(tmp_path / "a")
    env = gym.make(IDS["Digits"], images="images", exam=True)
    vector = gym.make_vec(IDS["Digits"], 2, images="./images", exam=True)
    specs = [env.spec, vector.spec]
    monkeypatch.chdir(tmp_path / "b")
    other = gym.make(IDS["Digits"], images="images", exam=True)
    for name, one in (("a", env), ("b", other)):
        shown[name] = one.reset(seed=0)[0].max()
    by_hand = {name: np.full(16, ink, np.uint8) for name, ink in (("a", 5), ("b", 6))}
    assert shown == {name: seen(pixels, 0.0, 0)[0] for name, pixels in by_hand.items()}
    for spec in specs:
        assert spec is not None
        assert spec.kwargs["images"] == str(tmp_path / "a" / "images")
        again = EnvSpec.from_json(spec.to_json())
        made: Any = gym.make_vec(again) if "num_envs" in again.kwargs else gym.make(again)
        assert made.reset(seed=0)[0].max() == shown["a"]
    travelled: Any = pickle.loads(pickle.dumps(env.unwrapped))
    assert travelled.reset(seed=0)[0].max() == shown["a"]
    named = gym.make(IDS["Digits"], images="small-digits")
    assert named.spec is not None
    assert named.spec.kwargs["images"] == "small-digits"


CHILD = """
import numpy as np
from continual_arcade.envs import tables
tables.share(np.full(5_000_000, 7, np.uint8))  # so that others lie elsewhere
import gymnasium as gym
import continual_arcade.envs
env = gym.make("ContinualArcade/Digits-v0", exam=True)
observation, _ = env.reset(seed=0)
print(observation.tobytes().hex())
"""


def test_machine_code_of_another_process_finds_the_tables_of_this_one() -> None:
    """It is kept on disk, where a place in memory means nothing."""
    found = images.load(digits.SOURCE)
    output = subprocess.run(
        [sys.executable, "-c", CHILD],
        env={**os.environ},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    observation = np.frombuffer(bytes.fromhex(output.strip()), np.float32)
    assert np.array_equal(observation, seen(found.test[0], 0.0, 0))


def test_tables_are_known_by_their_contents() -> None:
    one = np.arange(9, dtype=np.uint8)
    key = tables.share(one)
    assert tables.share(one.copy()) == key == int(key) > 0
    one[0] = 1  # which is another table, and changes nothing about the first
    assert tables.share(one) != key


def test_there_is_room_for_no_more_tables_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST", len(tables._kept))
    with pytest.raises(ValueError, match="a process can have"):
        tables.share(np.array([123, 45], np.uint8))


def test_what_is_asked_for_is_made_as_usual() -> None:
    game = make_game("Digits")
    assert game.options == {"images": "mnist-5k", "exam": False}
    assert len(game.features) == 784
