"""Relabelled games are the bare ones, whose features are shown elsewhere and with other signs."""

from typing import Any

import numpy as np
import pytest

from continual_arcade.envs import ArcadeEnv, ArcadeVectorEnv, make_game, relabelled, shipped

BARE = ("FlappyBird", "Catcher")
EVERY = pytest.mark.parametrize("bare", BARE)
ORDERS = {
    "FlappyBird": ([0, 1, 2, 3, 4, 5, 6, 7], [4, 5, 6, 7, 0, 1, 2, 3], [7, 6, 5, 4, 3, 2, 1, 0]),
    "Catcher": ([0, 1, 2, 3], [2, 3, 0, 1], [3, 2, 1, 0]),
}
"""As the page has them."""


def expected(bare: str, label: int, features: Any) -> Any:
    order, mirrored = divmod(label, 2)
    shown = features[..., ORDERS[bare][order]]
    return -shown if mirrored else shown


def check(bare: str, label: int, steps: int = 300) -> None:
    env, plain = ArcadeEnv(f"Relabelled{bare}"), ArcadeEnv(bare)
    rng = np.random.default_rng(label)
    options = {"params": {"labels": label}}
    seen, features = env.reset(seed=5, options=options)[0], plain.reset(seed=5)[0]
    for _ in range(steps):
        np.testing.assert_array_equal(seen, expected(bare, label, features))
        assert env.observation_space.contains(seen)
        np.testing.assert_array_equal(env.state["plain"].astype(np.float32), features)
        action = int(rng.integers(env.game.num_actions))
        seen, *step, info = env.step(action)
        features, *other, plain_info = plain.step(action)
        assert step == other
        assert info["score"] == plain_info["score"]
        if step[1]:
            np.testing.assert_array_equal(seen, expected(bare, label, features))
            seen, features = env.reset(options=options)[0], plain.reset()[0]


@EVERY
@pytest.mark.parametrize("label", range(6))
def test_only_what_is_seen_differs(bare: str, label: int) -> None:
    check(bare, label)


@EVERY
def test_another_label_is_found(bare: str) -> None:
    for label in range(1, 6):
        with pytest.raises(AssertionError):
            check_against(bare, label, label - 1)


def check_against(bare: str, label: int, other: int) -> None:
    env, plain = ArcadeEnv(f"Relabelled{bare}"), ArcadeEnv(bare)
    seen = env.reset(seed=5, options={"params": {"labels": label}})[0]
    np.testing.assert_array_equal(seen, expected(bare, other, plain.reset(seed=5)[0]))


@EVERY
def test_each_game_of_a_batch_has_labels_of_its_own(bare: str) -> None:
    count = 70
    labels = np.arange(count) % 6
    env = ArcadeVectorEnv(f"Relabelled{bare}", count, autoreset_mode="Disabled")
    plain = ArcadeVectorEnv(bare, count, autoreset_mode="Disabled")
    options: dict[str, Any] = {"params": {"labels": labels}}
    seen, features = env.reset(seed=1, options=options)[0], plain.reset(seed=1)[0]
    rng = np.random.default_rng(0)
    for _ in range(120):
        for label in range(6):
            here = labels == label
            np.testing.assert_array_equal(seen[here], expected(bare, label, features[here]))
        actions = rng.integers(env.game.num_actions, size=count)
        seen, rewards, over, *_ = env.step(actions)
        features, others, *_ = plain.step(actions)
        np.testing.assert_array_equal(rewards, others)
        if over.any():
            seen = env.reset(options={**options, "reset_mask": over})[0]
            features = plain.reset(options={"reset_mask": over})[0]


@EVERY
def test_every_label_shows_each_feature_once_and_none_twice_alike(bare: str) -> None:
    count = len(make_game(bare).features)
    places, signs = relabelled.places(count), relabelled.signs()
    assert [sorted(row) for row in places.tolist()] == [list(range(count))] * 6
    shown = {(*row, sign) for row, sign in zip(places.tolist(), signs.tolist(), strict=True)}
    assert len(shown) == len(relabelled.LABELS) == 6
    phases = shipped("conflict", make_game(f"Relabelled{bare}")).phases
    assert [phase.params["labels"] for phase in phases] == [0.0, 1.0, 2.0]
    assert [phase.name for phase in phases] == ["as they are", "mirrored", "permuted"]
    # Everything is remapped: no slot shows in a later phase what it showed before.
    assert (places[0] != places[2]).all()


def test_rules_are_made_once_and_options_are_those_of_the_bare_game() -> None:
    one, other = (make_game("RelabelledCatcher", size=size) for size in ((640, 640), (64, 64)))
    assert one.rules is not make_game("RelabelledFlappyBird").rules
    assert one.rules == other.rules
    assert other.size == (64, 64)
    assert other.conflict == one.conflict
    bare = make_game("Catcher", size=(64, 64))
    assert (other.painter, other.oracle, other.keys) == (bare.painter, bare.oracle, bare.keys)
