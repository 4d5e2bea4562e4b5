"""When the next episode begins where one has ended: as in Gymnasium's own vector environments."""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from games_in_pictures import PICTURED
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.envs import IDS, ArcadeVectorEnv, PhaseSpec, Schedule, arcade_vector_env

EVERY_ID = pytest.mark.parametrize("env_id", IDS.values(), ids=IDS.keys())
EVERY_MODE = pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.value)
FLAPPY, CATCHER = IDS["FlappyBird"], IDS["Catcher"]
TOLD = ("phase", "score", "phase_changed")
PHASES = Schedule(
    "three",
    tuple(PhaseSpec(name=str(i), steps=150, params={"gap": 100.0 - 20 * i}) for i in range(3)),
)


def ours(env_id: str, num_envs: int, mode: AutoresetMode, limit: int, **kwargs: Any) -> Any:
    return gym.make_vec(
        env_id, num_envs, autoreset_mode=mode.value, max_episode_steps=limit, **kwargs
    )


def theirs(env_id: str, num_envs: int, mode: AutoresetMode, limit: int, **kwargs: Any) -> Any:
    return SyncVectorEnv(
        [lambda: gym.make(env_id, limit, disable_env_checker=True, **kwargs)] * num_envs,
        autoreset_mode=mode,
    )


def play(env: Any, seed: int, steps: int, resets: float = 0.0) -> Iterator[tuple[Any, ...]]:
    """Play with actions, and resets of some sub-environments, that depend on nothing but a seed."""
    rng = np.random.default_rng(seed)
    yield env.reset(seed=seed)
    ended = np.zeros(env.num_envs, np.bool_)
    for _ in range(steps):
        mask = rng.random(env.num_envs) < resets
        if env.metadata["autoreset_mode"] is AutoresetMode.DISABLED:
            mask |= ended
        if mask.any():
            observations, infos = env.reset(options={"reset_mask": mask})
            yield observations, {name: infos[name] for name in TOLD}, mask
        step = env.step(rng.integers(env.single_action_space.n, size=env.num_envs))
        ended = step[2] | step[3]
        yield step


def assert_alike(one: Any, other: Any) -> None:
    """Assert that what two vector environments say is the same."""
    reset_mask = one[2] if len(one) == 3 else None
    for a, b in zip(one, other, strict=True):
        if not isinstance(a, dict):
            np.testing.assert_array_equal(a, b)
            continue
        told = reset_mask if reset_mask is not None else np.ones(len(one[0]), np.bool_)
        for name in TOLD:  # Gymnasium's tell nothing of those that play on
            np.testing.assert_array_equal(a[name][told], b[name][told])
        assert ("final_obs" in a) == ("final_obs" in b)
        if "final_obs" in a:
            at = a["_final_obs"]
            np.testing.assert_array_equal(at, b["_final_obs"])
            np.testing.assert_array_equal(a["final_obs"][at], np.stack(b["final_obs"][at]))
            mine, its = a["final_info"], b["final_info"]
            for name in TOLD:
                np.testing.assert_array_equal(mine[name][at], its[name][at])
            assert_masks_alike(mine, its)


def assert_masks_alike(one: Any, other: Any) -> None:
    """Assert that infos are of the same sub-environments, by all of their masks."""
    assert {name for name in one if name[0] == "_"} == {name for name in other if name[0] == "_"}
    for name, value in one.items():
        if name[0] == "_":
            np.testing.assert_array_equal(value, other[name])
        elif isinstance(value, dict):
            assert_masks_alike(value, other[name])


def assert_played_alike(one: Any, other: Any, *how: Any) -> None:
    for a, b in zip(play(one, *how), play(other, *how), strict=True):
        assert_alike(a, b)


@EVERY_MODE
@settings(max_examples=6, deadline=None)
@given(
    env_id=st.sampled_from(list(IDS.values())),
    num_envs=st.sampled_from([1, 3, 66]),
    limit=st.integers(1, 60),
    seed=st.integers(0, 2**32),
    resets=st.sampled_from([0.0, 0.05]),
)
def test_each_mode_is_that_of_gymnasium(
    mode: AutoresetMode, env_id: str, num_envs: int, limit: int, seed: int, resets: float
) -> None:
    one, other = (make(env_id, num_envs, mode, limit) for make in (ours, theirs))
    assert_played_alike(one, other, seed, 90 if num_envs < 66 else 40, resets)


@EVERY_MODE
@settings(max_examples=6, deadline=None)
@given(
    game=st.sampled_from(PICTURED),
    num_envs=st.sampled_from([1, 3, 66]),
    limit=st.integers(1, 60),
    seed=st.integers(0, 2**32),
    resets=st.sampled_from([0.0, 0.05]),
    frame_skip=st.sampled_from([1, 3]),
    pictures=st.fixed_dictionaries(
        {
            "screen_size": st.sampled_from([21, (30, 24)]),
            "stack": st.integers(1, 4),
            "colour": st.booleans(),
            "channels": st.sampled_from(["first", "last"]),
        }
    ),
)
def test_each_mode_is_that_of_gymnasium_in_pictures(
    mode: AutoresetMode,
    game: str,
    num_envs: int,
    limit: int,
    seed: int,
    resets: float,
    frame_skip: int,
    pictures: dict[str, Any],
) -> None:
    """What is seen last of an episode is what a single environment shows last."""
    options = {"observation": "pixels", "frame_skip": frame_skip, **pictures}
    one, other = (make(IDS[game], num_envs, mode, limit, **options) for make in (ours, theirs))
    # More than a block of them need not be watched for as long.
    assert_played_alike(one, other, seed, 70 if num_envs < 66 else 25, resets)


def lost_draws(env: ArcadeVectorEnv) -> None:
    """Plant an error: those that wait for their reset lose what they drew."""
    seed, seeded = env.core.seed, []

    def forget(words: Any) -> None:
        if not seeded:
            seed(words)
            seeded.append(words)

    env.core.seed = forget  # type: ignore[method-assign]


def counted_on(env: ArcadeVectorEnv) -> None:
    """Plant an error: the step of a reset is a step of the next episode."""
    reset = env.core.reset

    def late(rows: Any, velocity: float = 0.0, begins: Any = None) -> Any:
        observations = reset(rows, velocity, begins)
        env.core.blocks["steps"] += 1
        return observations

    env.core.reset = late  # type: ignore[method-assign]


@pytest.mark.parametrize("plant", [lost_draws, counted_on])
def test_the_comparison_finds_what_is_wrong(plant: Callable[[ArcadeVectorEnv], None]) -> None:
    one, other = (make(CATCHER, 8, AutoresetMode.NEXT_STEP, 70) for make in (ours, theirs))
    plant(one)
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_played_alike(one, other, 5, 800)


def test_the_comparison_finds_masks_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arcade_vector_env, "masked", lambda infos, mask: infos)
    one, other = (make(FLAPPY, 8, AutoresetMode.SAME_STEP, 70) for make in (ours, theirs))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_played_alike(one, other, 5, 800)


def transitions(env: ArcadeVectorEnv, seed: int, count: int) -> list[list[tuple[Any, ...]]]:
    """The first transitions of each sub-environment, whose actions depend on nothing else."""
    rngs = [np.random.default_rng((seed, i)) for i in range(env.num_envs)]
    played: list[list[tuple[Any, ...]]] = [[] for _ in rngs]
    observations, infos = env.reset(seed=seed)
    waiting = np.zeros(env.num_envs, np.bool_)
    while min(map(len, played)) < count:
        if env.autoreset_mode is AutoresetMode.DISABLED and waiting.any():
            observations, infos = env.reset(options={"reset_mask": waiting})
            waiting[:] = False
        resets = waiting if env.autoreset_mode is AutoresetMode.NEXT_STEP else waiting & False
        actions = [0 if r else int(rng.integers(2)) for r, rng in zip(resets, rngs, strict=True)]
        before, held = observations, infos
        observations, rewards, terminated, truncated, infos = env.step(np.array(actions))
        waiting = terminated | truncated
        after = np.where(waiting[:, None], infos.get("final_obs", observations), observations)
        for i in np.flatnonzero(~resets).tolist():
            played[i].append(
                (
                    before[i].tobytes(),
                    held["params"]["gap"][i],
                    actions[i],
                    rewards[i],
                    after[i].tobytes(),
                    terminated[i],
                )
            )
    return [each[:count] for each in played]


def test_all_modes_play_the_same() -> None:
    """Without a schedule: with one, the clock of NEXT_STEP counts no resets."""
    runs = [transitions(ours(FLAPPY, 5, mode, 80), 7, 300) for mode in AutoresetMode]
    assert runs[0] == runs[1] == runs[2]
    same, disabled = (
        transitions(ours(FLAPPY, 5, mode, 80, schedule=PHASES), 7, 89)
        for mode in (AutoresetMode.SAME_STEP, AutoresetMode.DISABLED)
    )
    assert same == disabled
    assert {gap for each in same for _, gap, *_ in each} == {100.0, 80.0, 60.0}


@EVERY_MODE
def test_the_clock_counts_transitions(mode: AutoresetMode) -> None:
    env = ours(FLAPPY, 6, mode, 20, schedule=PHASES)
    counted, waiting = 0, np.zeros(6, np.bool_)
    for each in play(env, 11, 120):
        if len(each) != 5:
            continue
        _, rewards, terminated, truncated, infos = each
        resets = waiting if mode is AutoresetMode.NEXT_STEP else waiting & False
        counted += 6 - int(resets.sum())
        waiting = terminated | truncated
        assert (infos["lifetime_step"] == counted).all()
        assert not rewards[resets].any()
        assert not waiting[resets].any()
    assert counted == env.clock.step


@EVERY_MODE
def test_a_boundary_ends_every_episode_that_is_played(mode: AutoresetMode) -> None:
    env = ours(FLAPPY, 4, mode, 17, schedule=PHASES)
    phases, waiting, crossed = np.zeros(4, np.int64), np.zeros(4, np.bool_), 0
    before = 0
    for each in play(env, 3, 160):
        infos = each[-1] if len(each) != 3 else each[1]
        begun = infos["phase"] != phases
        np.testing.assert_array_equal(infos["phase_changed"], begun)
        phases = infos["phase"]
        if len(each) != 5:
            continue
        _, _, terminated, truncated, _ = each
        resets = waiting if mode is AutoresetMode.NEXT_STEP else waiting & False
        waiting = terminated | truncated
        if any(before < end <= env.clock.step for end in PHASES.ends[:-1]):
            crossed += 1
            assert truncated[~resets].all()
            # What begins in the step that crosses begins in the next phase, and is no part of it.
            assert (phases[resets] == crossed).all()
        before = env.clock.step
    assert crossed == 2
    assert (phases == 2).all()


@EVERY_ID
@EVERY_MODE
def test_a_state_goes_on_in_the_same_mode_only(env_id: str, mode: AutoresetMode) -> None:
    env = ours(env_id, 3, mode, 15)
    steps = play(env, 2, 60)
    for _ in range(31):
        next(steps)
    again, state = ours(env_id, 3, mode, 15), env.state_dict()
    again.load_state_dict(state)
    actions = np.ones(3, np.int64)
    if mode is AutoresetMode.DISABLED and env._waiting.any():
        for each in (env, again):
            with pytest.raises(ResetNeeded):
                each.step(actions)
            each.reset(options={"reset_mask": state["waiting"]})
    for _ in range(14):
        one, other = env.step(actions), again.step(actions)
        assert_alike(one, other)
        if mode is AutoresetMode.DISABLED and (one[2] | one[3]).any():
            break
    for wrong in set(AutoresetMode) - {mode}:
        with pytest.raises(ValueError, match="autoreset_mode = "):
            ours(env_id, 3, wrong, 15).load_state_dict(state)


@EVERY_MODE
def test_the_mode_is_told_where_others_look_for_it(mode: AutoresetMode) -> None:
    env = gym.make_vec(CATCHER, 2, autoreset_mode=mode)  # the enumeration does as well
    assert env.metadata["autoreset_mode"] is mode
    assert env.autoreset_mode is mode  # type: ignore[attr-defined]
    assert ArcadeVectorEnv.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    for named in (mode, mode.value):
        made = gym.make_vec(CATCHER, 2, autoreset_mode=named).spec
        assert made is not None
        again = gym.make_vec(gym.envs.registration.EnvSpec.from_json(made.to_json()))
        assert again.metadata["autoreset_mode"] is mode


def test_unknown_modes() -> None:
    with pytest.raises(ValueError, match=r"unknown autoreset mode 'Same'.*did you mean 'SameStep'"):
        gym.make_vec(CATCHER, 2, autoreset_mode="Same")


def test_without_autoreset_a_reset_is_asked_for() -> None:
    env = ours(FLAPPY, 3, AutoresetMode.DISABLED, 5)
    env.reset(seed=0)
    for _ in range(4):
        env.step(np.ones(3, np.int64))
    env.reset(options={"reset_mask": np.array([True, False, False])})
    env.step(np.ones(3, np.int64))
    before = env.core.blocks.copy()
    with pytest.raises(ResetNeeded, match=r"sub-environments \[1, 2\] have ended.*reset_mask"):
        env.step(np.ones(3, np.int64))
    assert env.core.blocks.tobytes() == before.tobytes()
    env.reset(options={"reset_mask": np.array([False, True, True])})
    env.step(np.ones(3, np.int64))


@pytest.mark.parametrize(
    ("options", "seed", "error", "message"),
    [
        ([True, False], None, ValueError, r"reset_mask has shape \(2,\).*\(3,\)"),
        ([1, 0, 1], None, TypeError, "truth values, not int64"),
        ([False] * 3, None, ValueError, "no sub-environment"),
        ([True, False, True], 5, ValueError, "a seed resets the lifetime clock of all"),
        ([True, False, True], [1, 2, 3], ValueError, "a seed resets the lifetime clock of all"),
    ],
)
def test_masks_that_make_no_sense(
    options: Any, seed: Any, error: type[Exception], message: str
) -> None:
    env = gym.make_vec(FLAPPY, 3)
    env.reset(seed=0)
    before = env.core.blocks.copy()  # type: ignore[attr-defined]
    with pytest.raises(error, match=message):
        env.reset(seed=seed, options={"reset_mask": options})
    assert env.core.blocks.tobytes() == before.tobytes()  # type: ignore[attr-defined]


def test_the_first_reset_is_one_of_all() -> None:
    env = gym.make_vec(FLAPPY, 2)
    with pytest.raises(ResetNeeded, match="without a reset_mask"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(options={"reset_mask": np.array([True, True])}, seed=3)
    np.testing.assert_array_equal(env.reset(seed=3)[0], gym.make_vec(FLAPPY, 2).reset(seed=3)[0])


def test_some_are_reset_with_parameters_of_their_own() -> None:
    env: Any = gym.make_vec(FLAPPY, 3, schedule=PHASES)
    env.reset(seed=0)
    for _ in range(5):
        observations, *_ = env.step(np.ones(3, np.int64))
    given = {"reset_mask": np.array([False, True, True]), "params": {"gap": [70, 80, 90]}}
    seen, infos = env.reset(options=given)
    assert set(given) == {"reset_mask", "params"}  # Gymnasium's own take the mask out
    np.testing.assert_array_equal(infos["params"]["gap"], [100, 80, 90])
    np.testing.assert_array_equal(seen[0], observations[0])
    assert env.core.field("gap").tolist() == [100, 80, 90]
    assert env.core.field("steps").tolist() == [5, 0, 0]
    for name in ("lifetime_step", "phase"):
        assert len(set(infos[name].tolist())) == 1


def test_the_action_of_one_that_waits_does_not_matter() -> None:
    env = ours(CATCHER, 2, AutoresetMode.NEXT_STEP, 3)
    env.reset(seed=0)
    for _ in range(3):
        *_, truncated, _ = env.step(np.zeros(2, np.int64))
    assert truncated.all()
    env.step(np.array([99, -1]))
    with pytest.raises(ValueError, match="sub-environment 1: there is no action -1"):
        env.step(np.array([0, -1]))


@EVERY_MODE
def test_lists_of_pictures_are_those_of_gymnasium(mode: AutoresetMode) -> None:
    kwargs = {"render_mode": "rgb_array_list", "hud": False}  # it shows the clock, which is shared
    one, other = (make(FLAPPY, 2, mode, 6, **kwargs) for make in (ours, theirs))
    counts = set()
    for n, (a, b) in enumerate(zip(play(one, 9, 25, 0.1), play(other, 9, 25, 0.1), strict=True)):
        assert_alike(a, b)
        if n % 4:
            continue
        for ours_, theirs_ in zip(one.render(), other.render(), strict=True):
            counts.add(len(ours_))
            np.testing.assert_array_equal(ours_, theirs_)
    assert len(counts) > 2
