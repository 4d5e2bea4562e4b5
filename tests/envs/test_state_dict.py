"""The state of an environment: another one resumes from it exactly, or refuses it as it was."""

import copy
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from games_in_pictures import PICTURED
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from continual_arcade.agents import GymnasiumVecEnv
from continual_arcade.agents.files.state_files import load_state, save_state
from continual_arcade.envs import (
    GAMES,
    ArcadeEnv,
    ArcadeVectorEnv,
    PhaseSpec,
    Schedule,
    make_game,
    shipped,
)

SCHEDULED = [
    *(("FlappyBird", scheduled) for scheduled in (None, "shrink", "drift", "frozen")),
    ("Catcher", "drift"),
    ("Tour", "frozen"),
    *((game, "conflict") for game in GAMES),
]
"""All games, and every way to give a schedule: what one has to do with the other is the clock."""
EVERY_GAME_AND_SCHEDULE = pytest.mark.parametrize(("game", "scheduled"), SCHEDULED)
STEPS = 300
COUNT = 5


def options(game: str, scheduled: str | None) -> dict[str, Any]:
    """Phases are so short that many steps, and many episodes, cross them."""
    if scheduled is None:
        return {}
    if scheduled == "frozen":
        return {"schedule": shipped("conflict", make_game(game)).with_steps(90), "phase": 1}
    # As a file would give it: another object in each environment.
    return {"schedule": shipped(scheduled, make_game(game)).with_steps(90).to_dict()}


def pins(game: str, rng: np.random.Generator) -> dict[str, Any] | None:
    """Sometimes pin a parameter of the next episode."""
    if rng.random() < 0.7:
        return None
    name = {"FlappyBird": "gap", "Catcher": "fall_speed", "Tour": "which_game"}.get(game, "labels")
    if name in ("which_game", "labels"):
        return {"params": {name: float(rng.integers(2))}}
    tunable = make_game(game).tunables[name]
    return {"params": {name: tunable.low + rng.random() * (tunable.default - tunable.low)}}


def play(env: ArcadeEnv, seed: int, steps: int) -> list[Any]:
    """Play, and begin an episode where one has ended, with actions and pins of a seed."""
    rng = np.random.default_rng(seed)
    seen: list[Any] = []
    for _ in range(steps):
        if env._ended:
            seen.append(env.reset(options=pins(env.game.name, rng)))
        seen.append(env.step(int(rng.random() < 0.9)))
        seen.append(env.state)
    return seen


def play_many(env: ArcadeVectorEnv, seed: int, steps: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    seen: list[Any] = []
    for _ in range(steps):
        if rng.random() < 0.02:
            seen.append(env.reset(options=pins(env.game.name, rng)))
        seen.append(env.step((rng.random(env.num_envs) < 0.9).astype(np.int64)))
    return [*seen, *(env.state(i) for i in range(env.num_envs))]


def adapted(game: str, scheduled: str | None, count: int = COUNT) -> GymnasiumVecEnv:
    return GymnasiumVecEnv(ArcadeVectorEnv(game, count, 60, **options(game, scheduled)))


def play_adapted(env: GymnasiumVecEnv, seed: int, steps: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    seen: list[Any] = []
    for _ in range(steps):
        *step, infos = env.step((rng.random(env.num_envs) < 0.9).astype(np.int64))
        for info in infos:
            if "episode" in info:
                del info["episode"]["t"]  # by the clock on the wall
        seen.append([*step, infos, list(env.reset_infos)])
    return seen


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.flags.writeable == other.flags.writeable
        assert np.array_equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (tuple, list)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


def through_a_file(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    save_state(folder / "state", state, "environment")
    return load_state(folder / "state", "environment")


@pytest.mark.one_in(3)
@EVERY_GAME_AND_SCHEDULE
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_single_environment_resumes(
    game: str, scheduled: str | None, seed: int, tmp_path: Path
) -> None:
    env = ArcadeEnv(game, **options(game, scheduled))
    env.reset(seed=seed)
    play(env, seed, int(np.random.default_rng(seed).integers(400)))
    state = env.state_dict()
    expected = play(env, seed + 1, STEPS)
    for kept in (state, through_a_file(state, tmp_path)):
        other = ArcadeEnv(game, **options(game, scheduled))
        other.load_state_dict(kept)
        assert_same(other.state_dict(), state)  # and `state` did not change meanwhile
        assert_same(play(other, seed + 1, STEPS), expected)
    # An environment that was played, too, takes it over.
    env.load_state_dict(state)
    assert_same(play(env, seed + 1, STEPS), expected)


@pytest.mark.one_in(3)
@EVERY_GAME_AND_SCHEDULE
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_many_environments_resume(
    game: str, scheduled: str | None, seed: int, tmp_path: Path
) -> None:
    env = ArcadeVectorEnv(game, COUNT, 70, **options(game, scheduled))
    env.reset(seed=seed)
    play_many(env, seed, int(np.random.default_rng(seed).integers(100)))
    state = env.state_dict()
    expected = play_many(env, seed + 1, STEPS)
    for kept in (state, through_a_file(state, tmp_path)):
        other = ArcadeVectorEnv(game, COUNT, 70, **options(game, scheduled))
        other.load_state_dict(kept)
        assert_same(other.state_dict(), state)
        assert_same(play_many(other, seed + 1, STEPS), expected)
    env.load_state_dict(state)
    assert_same(play_many(env, seed + 1, STEPS), expected)


@pytest.mark.one_in(2)
@EVERY_GAME_AND_SCHEDULE
def test_what_stable_baselines3_sees_resumes(
    game: str, scheduled: str | None, tmp_path: Path
) -> None:
    env = adapted(game, scheduled)
    env.seed(3)
    env.reset()
    play_adapted(env, 3, 77)
    state = env.state_dict()
    expected = play_adapted(env, 4, STEPS)
    assert any("terminal_observation" in info for step in expected for info in step[3])
    for kept in (state, through_a_file(state, tmp_path)):
        other = adapted(game, scheduled)
        other.load_state_dict(kept)
        assert_same(other.state_dict(), state)
        assert_same(play_adapted(other, 4, STEPS), expected)


@pytest.mark.parametrize("place", range(36, 56))
def test_at_and_around_a_boundary(place: int) -> None:
    """Also where an episode ends at the boundary, and where the schedule is over."""
    phases = (
        PhaseSpec(name="rest", steps=40, params={"gap": 100.0}),
        PhaseSpec(name="move", steps=5, params={"gap": 100.0}, until={"gap": 90.0}),
        PhaseSpec(name="on", steps=5, params={"gap": 90.0}, until={"gap": 90.0}),
        PhaseSpec(name="stay", steps=5, params={"gap": 90.0}),
    )
    env, other = (ArcadeEnv("FlappyBird", Schedule("s", phases)) for _ in range(2))
    many, others = (ArcadeVectorEnv("FlappyBird", 4, 3, Schedule("s", phases)) for _ in range(2))
    env.reset(seed=0)
    play(env, 0, place)
    other.load_state_dict(env.state_dict())
    assert_same(play(other, 1, 40), play(env, 1, 40))
    many.reset(seed=0)
    play_many(many, 0, place // 4)
    others.load_state_dict(many.state_dict())
    assert_same(play_many(others, 1, 40), play_many(many, 1, 40))


def test_pinned_parameters_of_a_running_episode_go_on() -> None:
    gaps = np.array([100.0, 90.0, 80.0])
    env = ArcadeVectorEnv("FlappyBird", 3)
    env.reset(seed=0, options={"params": {"gap": gaps}})
    other = ArcadeVectorEnv("FlappyBird", 3)
    other.load_state_dict(env.state_dict())
    assert other.step(np.ones(3, np.int64))[-1]["params"]["gap"].tolist() == gaps.tolist()
    single = ArcadeEnv("FlappyBird")
    single.reset(seed=0, options={"params": {"gap": 77.0}})
    fresh = ArcadeEnv("FlappyBird")
    fresh.load_state_dict(single.state_dict())
    assert fresh.step(1)[-1]["params"]["gap"] == fresh.state["gap"] == 77.0


def test_before_the_first_reset() -> None:
    for make in (lambda: ArcadeEnv("Catcher"), lambda: ArcadeVectorEnv("Catcher", 2)):
        env, other = make(), make()
        env.reset(seed=1)
        env.load_state_dict(other.state_dict())
        with pytest.raises(gym.error.ResetNeeded):
            env.step(1)
        assert_same(env.state_dict(), other.state_dict())
        env.np_random, other.np_random = np.random.default_rng(5), np.random.default_rng(5)
        assert_same(env.reset(), other.reset())


def test_unseeded_generators_go_on() -> None:
    env, other = ArcadeEnv("Catcher"), ArcadeEnv("Catcher")
    env.reset()
    other.load_state_dict(env.state_dict())
    assert other.np_random_seed == env.np_random_seed
    assert other.np_random.random() == env.np_random.random()


def test_a_wait_for_seeds_and_options_goes_on() -> None:
    env, other = adapted("FlappyBird", None), adapted("FlappyBird", None)
    env.seed(9)
    env.set_options({"params": {"gap": 66.0}})
    other.load_state_dict(env.state_dict())
    np.testing.assert_array_equal(env.reset(), other.reset())
    assert_same(env.reset_infos, other.reset_infos)
    assert other.reset_infos[0]["params"]["gap"] == 66.0


SHRINK = options("FlappyBird", "shrink")
OTHERS: list[tuple[Any, str]] = [
    (ArcadeVectorEnv("Catcher", 2, 50), "game = 'FlappyBird', this one has game = 'Catcher'"),
    (ArcadeVectorEnv("FlappyBird", 3, 50, **SHRINK), "num_envs = 2, this one has num_envs = 3"),
    (ArcadeVectorEnv("FlappyBird", 2, **SHRINK), "max_episode_steps = 50.*= inf"),
    (ArcadeVectorEnv("FlappyBird", 2, 50, **SHRINK, rewards={"loss": -1.0}), "loss = -5.0"),
    (ArcadeVectorEnv("FlappyBird", 2, 50), "run with schedule [0-9a-f]{16}.*same schedule"),
    (ArcadeVectorEnv("FlappyBird", 2, 50, **SHRINK, phase=2), "phase None, this one has phase 2"),
    (ArcadeEnv("FlappyBird", **SHRINK), "kind = 'ArcadeVectorEnv'"),
]


@pytest.mark.parametrize(("other", "message"), OTHERS)
def test_what_does_not_fit_is_refused_and_changes_nothing(other: Any, message: str) -> None:
    env = ArcadeVectorEnv("FlappyBird", 2, 50, **SHRINK)
    env.reset(seed=0)
    play_many(env, 0, 60)
    other.reset(seed=4)
    before = other.state_dict()
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(env.state_dict())
    assert_same(other.state_dict(), before)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("blocks", np.zeros(3), "'blocks' of the state is laid out in another way"),
        ("rows", np.zeros((3, 5)), "'rows' of the state"),
        ("generator", {"bit_generator": "MT19937"}, "generator of another kind"),
        ("clock", {"step": 3, "read_at": 4}, "at step 3 it holds what was read at step 4"),
        ("phases", None, "has no 'phases'"),
    ],
)
def test_damaged_states_change_nothing(entry: str, value: Any, message: str) -> None:
    env = ArcadeVectorEnv("FlappyBird", 2)
    env.reset(seed=0)
    before = env.state_dict()
    state = env.state_dict()
    if value is None:
        del state[entry]
    else:
        state[entry] = {**state[entry], **value} if isinstance(value, dict) else value
    with pytest.raises(ValueError, match=message):
        env.load_state_dict(state)
    assert_same(env.state_dict(), before)


def test_parameters_are_known_by_their_names() -> None:
    """In whatever order a file has them: they were held in that order, and shown by a context."""
    env, other = (ArcadeEnv("Catcher", context="params") for _ in range(2))
    env.reset(seed=0, options={"params": {"friction": 0.05}})
    state = env.state_dict()
    other.load_state_dict({**state, "params": dict(reversed(state["params"].items()))})
    assert_same(other.state_dict(), state)
    assert list(other.state_dict()["params"]) == list(env.game.tunables)
    assert_same(other.step(1), env.step(1))


@pytest.mark.parametrize(("name", "value"), [("score", -1.0), ("score", 1e300), ("steps", -2.0)])
@pytest.mark.parametrize("vector", [False, True])
def test_counts_that_nobody_can_reach_are_refused(name: str, value: float, vector: bool) -> None:
    env: Any = ArcadeVectorEnv("Catcher", 2) if vector else ArcadeEnv("Catcher")
    env.reset(seed=0)
    state = env.state_dict()
    state["blocks"][name][0, -1 if not vector else 1] = value
    with pytest.raises(ValueError, match=f"the state is damaged: {name} must be from 0 to"):
        env.load_state_dict(state)


def test_an_adapter_refuses_before_anything_changes() -> None:
    env, more, scheduled = (
        adapted("Catcher", None),
        adapted("Catcher", None, 6),
        adapted("Catcher", "drift"),
    )
    env.seed(0)
    env.reset()
    play_adapted(env, 0, 50)
    for other, message in ((more, "5 sub-environments, this has 6"), (scheduled, "schedule")):
        before = other.state_dict()
        with pytest.raises(ValueError, match=message):
            other.load_state_dict(env.state_dict())
        assert_same(other.state_dict(), before)


def test_environments_without_a_state_say_so() -> None:
    env = GymnasiumVecEnv(
        SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    )
    with pytest.raises(NotImplementedError, match=r"SyncVectorEnv has no state_dict\(\)"):
        env.state_dict()
    with pytest.raises(NotImplementedError, match="SyncVectorEnv"):
        env.load_state_dict(adapted("Catcher", None, 2).state_dict())


# --- in pictures, and several frames at a time ----------------------------------------------------

PICTURES: dict[str, Any] = {
    "observation": "pixels",
    "screen_size": (24, 30),
    "stack": 3,
    "colour": True,
    "channels": "last",
}
WITH_LOOKS = {
    name: Schedule(
        "looks",
        (
            PhaseSpec(name="plain", steps=90),
            PhaseSpec(name="other", steps=90, params={"noise": 20.0, "mirrored": 1.0}),
            PhaseSpec(name="square", steps=90, params={"distractor": 50.0, "inverted": 1.0}),
        ),
    )
    for name in PICTURED
}
IN_PICTURES = pytest.mark.parametrize(
    ("game", "how"),
    [
        *((game, {**PICTURES, "schedule": WITH_LOOKS[game]}) for game in PICTURED),
        ("FlappyBird", {"observation": "pixels", "screen_size": 21, "frame_skip": 5}),
        ("Catcher", {"observation": "pixels", "screen_size": 21, "stack": 1}),
        *((game, {"frame_skip": 2}) for game in PICTURED),
    ],
)


@pytest.mark.one_in(3)
@IN_PICTURES
@pytest.mark.parametrize("seed", [0, 1])
def test_a_single_environment_in_pictures_resumes(
    game: str, how: dict[str, Any], seed: int, tmp_path: Path
) -> None:
    env = ArcadeEnv(game, **how)
    env.reset(seed=seed)
    play(env, seed, 50 + 37 * seed)
    state, kept = env.state_dict(), pickle.dumps(env)
    others = [copy.deepcopy(env), pickle.loads(kept)]
    for each in (state, through_a_file(state, tmp_path)):
        others.append(ArcadeEnv(game, **how))
        others[-1].load_state_dict(each)
        assert_same(others[-1].state_dict(), state)
    expected = play(env, seed + 1, 200)
    for other in others:
        assert_same(play(other, seed + 1, 200), expected)
    env.load_state_dict(state)
    assert_same(play(env, seed + 1, 200), expected)


@pytest.mark.one_in(3)
@IN_PICTURES
@pytest.mark.parametrize("mode", ["SameStep", "NextStep"])
def test_many_environments_in_pictures_resume(
    game: str, how: dict[str, Any], mode: str, tmp_path: Path
) -> None:
    def make() -> ArcadeVectorEnv:
        return ArcadeVectorEnv(game, COUNT, 70, autoreset_mode=mode, **how)

    env = make()
    env.reset(seed=3)
    play_many(env, 3, 40)
    state = env.state_dict()
    others = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    for each in (state, through_a_file(state, tmp_path)):
        others.append(make())
        others[-1].load_state_dict(each)
        assert_same(others[-1].state_dict(), state)
    expected = play_many(env, 4, 150)
    for other in others[2:]:
        assert_same(play_many(other, 4, 150), expected)
    for other in others[:2]:  # in a copy, what is shared may be written to
        for (seen, *_), (wanted, *_) in zip(
            play_many(other, 4, 150)[:-COUNT], expected, strict=False
        ):
            np.testing.assert_array_equal(seen, wanted)
        assert_same(other.state_dict(), env.state_dict())
    env.load_state_dict(state)
    assert_same(play_many(env, 4, 150), expected)


def test_a_resumed_stack_shows_what_was_seen_before() -> None:
    """Not only what comes: the pictures of the past are part of what is seen."""
    env = ArcadeEnv("FlappyBird", **PICTURES)
    env.reset(seed=0)
    seen = [env.step(1)[0] for _ in range(10)]
    other = ArcadeEnv("FlappyBird", **PICTURES)
    other.load_state_dict(env.state_dict())
    after = other.step(1)[0]
    np.testing.assert_array_equal(after[..., :6], seen[-1][..., 3:])


MADE_OTHERWISE = [
    ({}, "observation = '3 colour pictures of 24x30 .*', this one has observation = 'features'"),
    ({**PICTURES, "screen_size": (30, 24)}, "24x30 pixels.*this one .* 30x24 pixels"),
    ({**PICTURES, "stack": 4}, "observation = '3 colour.*observation = '4 colour"),
    ({**PICTURES, "colour": False}, "3 colour pictures.*3 grey pictures"),
    ({**PICTURES, "channels": "first"}, "channels last.*channels first"),
    ({**PICTURES, "frame_skip": 2}, "frame_skip = 1, this one has frame_skip = 2"),
]


@pytest.mark.parametrize(("how", "message"), MADE_OTHERWISE)
@pytest.mark.parametrize("vector", [False, True])
def test_states_of_other_pictures_are_refused_by_name(
    how: dict[str, Any], message: str, vector: bool
) -> None:
    def make(**options: Any) -> Any:
        return (
            ArcadeVectorEnv("FlappyBird", 2, **options)
            if vector
            else ArcadeEnv("FlappyBird", **options)
        )

    env, other = make(**PICTURES), make(**how)
    env.reset(seed=0)
    other.reset(seed=1)
    before = other.state_dict()
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(env.state_dict())
    assert_same(other.state_dict(), before)
    before = env.state_dict()
    with pytest.raises(ValueError, match="make it as that one was made"):
        env.load_state_dict(other.state_dict())
    assert_same(env.state_dict(), before)


@pytest.mark.parametrize("vector", [False, True])
def test_states_of_older_versions_are_those_of_features(vector: bool) -> None:
    def make(**options: Any) -> Any:
        return (
            ArcadeVectorEnv("Catcher", 2, **options) if vector else ArcadeEnv("Catcher", **options)
        )

    env = make()
    env.reset(seed=0)
    old = env.state_dict()
    for name in ("observation", "frame_skip", "context"):
        del old["made"][name]
    assert "scenes" not in old
    make().load_state_dict(old)
    for how, message in (
        (PICTURES, "observation = 'features', this one has observation = '3 colour"),
        ({"frame_skip": 2}, "frame_skip = 1, this one has frame_skip = 2"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**how).load_state_dict(old)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, np.nan, "scenes are not finite"),
        (-1, np.inf, "scenes are not finite"),
        (-1, -1.0, r"noise_seed of a scene must be from 0"),
        (-2, 65.0, r"noise of a scene must be from 0 to 64"),
        (-3, 2.0**24, r"bird_rgb of a scene must be from 0 to"),
    ],
)
@pytest.mark.parametrize("vector", [False, True])
def test_damaged_scenes_are_refused(place: int, value: float, message: str, vector: bool) -> None:
    env: Any = (
        ArcadeVectorEnv("FlappyBird", 2, **PICTURES)
        if vector
        else ArcadeEnv("FlappyBird", **PICTURES)
    )
    env.reset(seed=0)
    before, state = env.state_dict(), env.state_dict()
    state["scenes"][-1, 1, place] = value
    with pytest.raises(ValueError, match=message):
        env.load_state_dict(state)
    state["scenes"] = state["scenes"][:, :2]
    with pytest.raises(ValueError, match="'scenes' of the state is laid out in another way"):
        env.load_state_dict(state)
    del state["scenes"]
    with pytest.raises(ValueError, match="has no 'scenes'"):
        env.load_state_dict(state)
    assert_same(env.state_dict(), before)
