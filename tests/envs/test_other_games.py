"""Other people's environments as data: they play what they play alone, padded, mapped, resumed."""

import builtins
import itertools
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import registry

from continual_arcade.envs import PhaseSpec, Schedule
from continual_arcade.envs import other_vector_env as vectors
from continual_arcade.envs.other_games import (
    OtherGame,
    OtherGames,
    Scored,
    ids_of,
    of_phases,
    other_games,
    phase_env,
)
from continual_arcade.envs.other_vector_env import OtherVectorEnv
from continual_arcade.envs.wrappers import WRAPPERS, WrapperSpec, overlaps

CARTPOLE = {"id": "CartPole-v1"}
SWAPPED = {"id": "CartPole-v1", "actions": [1, 0]}
SPARSE = {"id": "CartPole-v1", "kwargs": {"sutton_barto_reward": True}}
ACROBOT = {"id": "Acrobot-v1"}
MOUNTAIN = {"id": "MountainCar-v0", "wrappers": [{"name": "time_limit", "steps": 30}]}


def schedule_of(*envs: int, steps: int = 40) -> Schedule:
    phases = (PhaseSpec(name=f"p{i}", steps=steps, params={"env": e}) for i, e in enumerate(envs))
    return Schedule("of-others", tuple(phases))


def vector(*envs: dict[str, Any], count: int = 2, steps: int = 40, **more: Any) -> OtherVectorEnv:
    schedule = schedule_of(*range(len(envs)), steps=steps)
    return OtherVectorEnv({"envs": list(envs)}, count, schedule, **more)


def actions(env: Any, count: int, seed: int = 0) -> Iterator[Any]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.integers(env.single_action_space.n, size=env.num_envs)


def assert_same(one: Any, other: Any) -> None:
    """Compare what a step has returned."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert_same(value, other[key])
    elif isinstance(one, tuple):
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("data", [CARTPOLE, SPARSE, ACROBOT], ids=str)
def test_each_plays_what_gymnasium_plays_with_its_seed(data: dict[str, Any]) -> None:
    env = vector(data, steps=1_000)
    alone = [gym.make(data["id"], **data.get("kwargs", {})) for _ in range(2)]
    seen, _ = env.reset(seed=7)
    expected = [each.reset(seed=7 + i)[0] for i, each in enumerate(alone)]
    np.testing.assert_array_equal(seen, np.stack(expected))
    ended, scores = 0, np.zeros(2)
    for chosen in actions(env, 80):
        seen, rewards, terminated, truncated, infos = env.step(chosen)
        for i, each in enumerate(alone):
            last, reward, *ends, _ = each.step(int(chosen[i]))
            scores[i] += float(reward)
            assert (rewards[i], terminated[i], truncated[i]) == (reward, *ends)
            if any(ends):
                ended += 1
                np.testing.assert_array_equal(infos["final_obs"][i], last)
                final = infos["final_info"]
                assert final["score"][i] == scores[i]
                of_all = (infos["_final_obs"], final["_score"], final["params"]["_env"])
                assert [mask.tolist() for mask in of_all] == [(terminated | truncated).tolist()] * 3
                assert infos["_score"].all()
                scores[i] = 0.0
                last, _ = each.reset()
            np.testing.assert_array_equal(seen[i], last)
            assert infos["score"][i] == scores[i]
    assert ended > 2 or data is ACROBOT


def test_rows_are_padded_with_zeros_and_actions_mapped() -> None:
    games = OtherGames(tuple(map(OtherGame.from_dict, (CARTPOLE, ACROBOT, SWAPPED))))
    assert games.observation_space.shape == (6,)
    assert games.observation_space.dtype == np.float32
    assert [games.actions_of(i) for i in range(3)] == [(0, 1, 0), (0, 1, 2), (1, 0, 0)]
    low = games.observation_space.low
    acrobot = gym.make("Acrobot-v1").observation_space
    assert isinstance(acrobot, gym.spaces.Box)
    np.testing.assert_array_equal(low[4:], acrobot.low[4:])
    assert (low[:4] <= acrobot.low[:4]).all()
    for action in range(3):
        for index, own in ((0, (0, 1, 0)), (2, (1, 0, 0))):
            fitted, alone = games.make(index), gym.make("CartPole-v1")
            assert fitted.reset(seed=3)[0].tolist()[:4] == alone.reset(seed=3)[0].tolist()
            seen, *_ = fitted.step(action)
            expected, *_ = alone.step(own[action])
            assert seen.tolist() == [*expected.tolist(), 0.0, 0.0]
            assert fitted.observation_space.contains(seen)
    with pytest.raises(ValueError, match="3 is no action: there are 3"):
        fitted.step(3)


def test_the_clock_counts_transitions_and_a_boundary_truncates() -> None:
    env = vector(CARTPOLE, ACROBOT, count=2, steps=12)
    seen, infos = env.reset(seed=0)
    assert infos["lifetime_step"].tolist() == [0, 0]
    assert not infos["phase_changed"].any()
    for number, chosen in enumerate(actions(env, 6), start=1):
        seen, _, _terminated, truncated, infos = env.step(chosen)
        assert truncated.all() == (number == 6)
    assert infos["phase"].tolist() == [1, 1]
    assert infos["phase_changed"].all()
    assert infos["params"]["env"].tolist() == [1.0, 1.0]
    assert infos["score"].tolist() == [0.0, 0.0]
    final = infos["final_info"]
    assert final["phase"].tolist() == [0, 0]
    assert final["params"]["env"].tolist() == [0.0, 0.0]
    assert final["score"].tolist() == [6.0, 6.0]
    assert not infos["final_obs"][:, 4:].any()  # the last one of CartPole
    assert seen[:, 4:].any()  # the first one of Acrobot
    _, infos = env.reset()
    assert infos["lifetime_step"].tolist() == [12, 12]
    assert infos["phase"].tolist() == [1, 1]
    _, infos = env.reset(seed=0)
    assert infos["lifetime_step"].tolist() == [0, 0]
    assert infos["phase"].tolist() == [0, 0]


def test_the_score_is_that_before_rewards_are_clipped() -> None:
    clipped = {"id": "Acrobot-v1", "wrappers": [{"name": "clip_reward", "low": -0.25}]}
    env = vector(clipped, steps=900)
    env.reset(seed=0)
    for number, chosen in enumerate(actions(env, 5), start=1):
        _, rewards, *_, infos = env.step(chosen)
        assert rewards.tolist() == [-0.25] * 2
        assert infos["score"].tolist() == [-number] * 2


def test_a_seed_decides_about_everything() -> None:
    def played() -> list[Any]:
        env = vector(CARTPOLE, ACROBOT, SWAPPED)
        return [env.reset(seed=5), *map(env.step, actions(env, 60))]

    for one, other in zip(played(), played(), strict=True):
        assert_same(one, other)
    env = vector(CARTPOLE)
    assert (env.reset(seed=1)[0] != env.reset(seed=2)[0]).any()


def test_a_context_stands_behind_the_numbers() -> None:
    env = vector(CARTPOLE, SWAPPED, steps=8, context="one-hot")
    assert env.single_observation_space.shape == (6,)
    seen, _ = env.reset(seed=0)
    assert seen[:, 4:].tolist() == [[1, 0]] * 2
    for chosen in actions(env, 4):
        seen, *_, infos = env.step(chosen)
        assert env.observation_space.contains(seen)
    assert infos["final_obs"][:, 4:].tolist() == [[1, 0]] * 2
    assert seen[:, 4:].tolist() == [[0, 1]] * 2
    frozen = phase_env({"envs": [CARTPOLE, SWAPPED]}, schedule_of(0, 1), 1, "one-hot")
    assert frozen.reset(seed=0)[0][4:].tolist() == [0, 1]


@pytest.mark.parametrize("reseed_after", [5_000, 15])
def test_it_resumes_in_the_middle_of_an_episode(
    reseed_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "RESEED_AFTER", reseed_after)
    made: tuple[Any, ...] = (CARTPOLE, MOUNTAIN, SWAPPED)
    env = vector(*made, steps=90)
    env.reset(seed=4)
    for number, chosen in enumerate(actions(env, 160)):
        if number in (0, 1, 17, 44, 45, 71, 120):
            other = vector(*made, steps=90)
            other.load_state_dict(env.state_dict())
            later = list(itertools.islice(actions(env, 60, seed=number), 60))
            copy = vector(*made, steps=90)
            copy.load_state_dict(env.state_dict())
            for one in later:
                assert_same(other.step(one), copy.step(one))
        env.step(chosen)
    # And as one that was never interrupted.
    straight, cut = vector(*made, steps=90), vector(*made, steps=90)
    straight.reset(seed=9)
    cut.reset(seed=9)
    for chosen in actions(env, 130):
        after = vector(*made, steps=90)
        after.load_state_dict(cut.state_dict())
        cut.close()
        cut = after
        assert_same(straight.step(chosen), cut.step(chosen))


def test_a_state_that_does_not_fit_is_refused() -> None:
    env = vector(CARTPOLE)
    with pytest.raises(gym.error.ResetNeeded):
        env.state_dict()
    env.reset(seed=0)
    for chosen in actions(env, 5):
        env.step(chosen)
    state = env.state_dict()
    fresh = vector(CARTPOLE)
    for planted, message in (
        ({"made": {**state["made"], "num_envs": 3}}, "num_envs = 3"),
        ({"seeds": [0]}, "are not 2"),
        ({"seeds": ["0", 1]}, "whole number"),
        ({"actions": [np.array([0, 9]), state["actions"][1]]}, "from 0 to 1"),
        ({"actions": [1 - state["actions"][0], state["actions"][1]]}, "does not come to where"),
        ({"seen": state["seen"] + np.float32(1e-6)}, "does not come to where"),
        ({"seen": state["seen"][:1]}, "shape"),
    ):
        with pytest.raises(ValueError, match=message):
            fresh.load_state_dict({**state, **planted})
        with pytest.raises(gym.error.ResetNeeded):  # it is as it was
            fresh.step(np.zeros(2, int))
    lacking = {name: value for name, value in state.items() if name != "seeds"}
    with pytest.raises(ValueError, match="has no seeds"):
        fresh.load_state_dict(lacking)
    with pytest.raises(ValueError, match="envs = "):
        vector(SWAPPED).load_state_dict(state)


class Forgetful(gym.Env[Any, Any]):
    """A planted error: its seed does not decide about everything."""

    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    draws = np.random.default_rng(0)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.draws.random(1, np.float32), {}

    def step(self, action: Any) -> Any:
        return self.draws.random(1, np.float32), 0.0, False, False, {}


@pytest.fixture
def forgetful() -> Iterator[str]:
    gym.register("Forgetful-v0", entry_point=Forgetful)
    yield "Forgetful-v0"
    del registry["Forgetful-v0"]


def test_one_whose_seed_does_not_decide_is_found_out(forgetful: str) -> None:
    env = vector({"id": forgetful})
    env.reset(seed=0)
    env.step(np.zeros(2, int))
    with pytest.raises(ValueError, match="cannot be resumed bit for bit"):
        vector({"id": forgetful}).load_state_dict(env.state_dict())


# What is refused.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"id": "CartPole-v9"}, "not registered with Gymnasium: .*v9"),
        ({"id": "CartPoll-v1"}, "not registered with Gymnasium: .*CartPole"),
        ({"id": "CartPole"}, "has no version, write 'CartPole-v0' or 'CartPole-v1'"),
        ({"id": "os:CartPole-v1"}, "names a module, and reading data runs no code"),
        ({"id": "ContinualArcade/Catcher-v0"}, "game of this suite"),
        ({"id": 3}, "id = 3 must be an instance of str"),
        ({}, "lacks 'id'"),
        ({**CARTPOLE, "wrapper": []}, "unknown key of an environment 'wrapper'"),
        ({**CARTPOLE, "kwargs": {"gravty": 3.0}}, "unknown keyword argument .*'gravty'"),
        ({**CARTPOLE, "kwargs": {"render_mode": "human"}}, "set by the suite itself"),
        ({**CARTPOLE, "kwargs": {"sutton_barto_reward": {1}}}, "must be plain data"),
        ({**CARTPOLE, "kwargs": {"max_episode_steps": "x"}}, "cannot be made with kwargs"),
        ({**CARTPOLE, "wrappers": ["flaten"]}, "unknown wrapper 'flaten': did you mean 'flatten'"),
        ({**CARTPOLE, "wrappers": ["gymnasium.wrappers.TimeLimit"]}, "unknown wrapper"),
        ({**CARTPOLE, "wrappers": "flatten"}, "must be a list"),
        ({**CARTPOLE, "wrappers": [3]}, "3 is no wrapper"),
        ({**CARTPOLE, "wrappers": [{"name": "time_limit"}]}, "lacks its argument 'steps'"),
        ({**CARTPOLE, "wrappers": [{"name": "time_limit", "steps": 0}]}, "steps = 0"),
        ({**CARTPOLE, "wrappers": [{"name": "stack", "length": 2}]}, "unknown argument of wrapper"),
        ({**CARTPOLE, "wrappers": [{"name": "max_and_skip", "skip": 1}]}, "skip = 1 .*at least 2"),
        ({**CARTPOLE, "wrappers": [{"name": "scale", "by": 0}]}, "by = 0 makes every number 0"),
        ({**CARTPOLE, "wrappers": [{"name": "scale", "by": 1e-60}]}, "makes every number 0"),
        ({**CARTPOLE, "wrappers": [{"name": "scale", "by": 1e300}]}, "by = 1e.300 must be from"),
        ({**CARTPOLE, "wrappers": [{"name": "scale", "by": -1e38}]}, "by = -1e.38 takes its bound"),
        ({**CARTPOLE, "wrappers": ["resize"]}, "CartPole-v1: wrapper resize does not fit"),
        ({**CARTPOLE, "wrappers": ["unit"]}, "wrapper unit does not fit .*finite bounds"),
        ({**CARTPOLE, "wrappers": ["stack"]}, "supported: rows of numbers"),
        ({**CARTPOLE, "actions": [0, 2]}, "name 2, and its own are 0 to 1"),
        ({**CARTPOLE, "actions": [0, -1]}, "-1"),
        ({"id": "Pendulum-v1"}, r"has the actions Box\(.*supported: Discrete"),
        ({"id": "FrozenLake-v1"}, "only a Box can be seen"),
    ],
    ids=str,
)
def test_bad_input_is_refused_by_name(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        other_games({"envs": [data]})


def test_spaces_that_do_not_fit_are_refused() -> None:
    pictured = {"id": "CartPole-v1", "wrappers": [{"name": "stack", "size": 2}, "flatten"]}
    games = other_games({"envs": [CARTPOLE, pictured]})  # rows, after all
    assert games.observation_space.shape == (8,)
    with pytest.raises(ValueError, match="must be a list of environments"):
        other_games({"envs": []})
    with pytest.raises(ValueError, match="unknown option of Gymnasium 'lives'"):
        other_games({"envs": [CARTPOLE], "lives": 3})
    with pytest.raises(ValueError, match="env"):
        OtherVectorEnv({"envs": [CARTPOLE]}, 2, schedule_of(0, 1))
    moving = Schedule("m", (PhaseSpec(name="p", steps=9, params={"env": 0}, until={"env": 0}),))
    with pytest.raises(ValueError, match="moves its parameters"):
        OtherVectorEnv({"envs": [CARTPOLE]}, 2, moving)
    frozen = phase_env({"envs": [CARTPOLE, ACROBOT]}, schedule_of(0, 1), 0)
    with pytest.raises(ValueError, match="only environment 0 is"):
        frozen.reset(options={"params": {"env": 1}})


@pytest.mark.parametrize(
    ("module", "id_", "way_out"),
    [
        ("ale_py", "ALE/Freeway-v5", r"needs ale-py.*pip install 'continual-arcade\[atari\]'"),
        ("Box2D", "LunarLander-v3", r"needs Box2D.*pip install 'continual-arcade\[box2d\]'"),
        ("minigrid", "MiniGrid-Empty-5x5-v0", r"needs minigrid.*continual-arcade\[minigrid\]'"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(
    module: str, id_: str, way_out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    game = OtherGame(id_)  # to name it takes none
    with pytest.raises(ValueError, match=way_out):
        game.make()


def test_reading_data_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    plain: Callable[..., Any] = builtins.__import__

    def noted(name: str, *more: Any, **others: Any) -> Any:
        imported.append(name)
        return plain(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", noted)
    for name in ("antigravity:CartPole-v1", "this:Foo-v0"):
        with pytest.raises(ValueError, match="names a module"):
            OtherGame.from_dict({"id": name})
    with pytest.raises(ValueError, match="unknown wrapper"):
        OtherGame.from_dict({**CARTPOLE, "wrappers": ["this:that", {"name": "antigravity"}]})
    assert not {"antigravity", "this"} & {*imported, *sys.modules}


# As data.


def test_data_is_what_it_was() -> None:
    data = {**CARTPOLE, "kwargs": {"a": [1, {"b": 2.5}]}, "wrappers": ["flatten"], "actions": [1]}
    assert OtherGame.from_dict(data).to_dict() == data
    with_arguments = {**CARTPOLE, "wrappers": [{"name": "scale", "by": 0.5}, "flatten"]}
    assert OtherGame.from_dict(with_arguments).to_dict() == with_arguments
    envs, played = of_phases([CARTPOLE, SWAPPED, {**CARTPOLE, "wrappers": []}, ACROBOT])
    assert envs == [CARTPOLE, SWAPPED, ACROBOT]
    assert played == [0.0, 1.0, 0.0, 2.0]
    assert ids_of({"envs": envs}) == "CartPole-v1, Acrobot-v1"


# Wrappers, each beside what it says that it does.


class Still(gym.Env[Any, Any]):
    """Shows what it is told to, one after the other."""

    action_space = gym.spaces.Discrete(2)

    def __init__(self, shown: Any, space: Any) -> None:
        self.shown, self.observation_space = list(shown), space

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.at = 0
        return self.shown[0], {}

    def step(self, action: Any) -> Any:
        self.at += 1
        return self.shown[self.at], 3.0 * self.at, False, False, {}


def still(shape: tuple[int, ...], count: int = 6, seed: int = 0) -> Still:
    pictures = np.random.default_rng(seed).integers(256, size=(count, *shape), dtype=np.uint8)
    return Still(pictures, gym.spaces.Box(0, 255, shape, np.uint8))


@pytest.mark.parametrize(("rows", "columns"), [(2, 3), (4, 5), (7, 5), (9, 11)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_resizing_averages_areas(rows: int, columns: int, channels: tuple[int, ...]) -> None:
    env = still((7, 5, *channels))
    small = WrapperSpec("resize", {"rows": rows, "columns": columns}).wrap(env)
    seen, _ = small.reset()
    assert small.observation_space.shape == seen.shape == (rows, columns, *channels)
    assert seen.dtype == np.uint8
    picture = env.shown[0].reshape(7, 5, -1)
    for r, c, k in np.ndindex(rows, columns, picture.shape[2]):
        mean = Fraction(0)
        for i, j in np.ndindex(7, 5):
            share = Fraction(1)
            for at, before, to, after in ((i, 7, r, rows), (j, 5, c, columns)):
                begin = max(Fraction(at, before), Fraction(to, after))
                end = min(Fraction(at + 1, before), Fraction(to + 1, after))
                share *= max(Fraction(0), end - begin) * after
            mean += share * int(picture[i, j, k])
        # Rounded; where it lies in the middle, single precision decides.
        assert abs(Fraction(int(seen.reshape(rows, columns, -1)[r, c, k])) - mean) <= Fraction(
            50_001, 100_000
        )
    assert (overlaps(210, 84).sum(axis=1) == 210).all()


def test_the_other_wrappers_do_what_they_say() -> None:
    def first(name: str, shape: tuple[int, ...], **arguments: Any) -> tuple[Any, Any]:
        env = still(shape)
        seen, _ = (wrapped := WrapperSpec(name, arguments).wrap(env)).reset()
        assert wrapped.observation_space.contains(seen)
        return env.shown, seen

    shown, seen = first("scale", (4,), by=-0.5)
    np.testing.assert_array_equal(seen, shown[0] * np.float32(-0.5))
    shown, seen = first("unit", (4,))
    np.testing.assert_allclose(seen, shown[0] / 255, rtol=1e-6)
    shown, seen = first("channels_first", (4, 5, 3))
    np.testing.assert_array_equal(seen, np.transpose(shown[0], (2, 0, 1)))
    shown, seen = first("flatten", (2, 3))
    np.testing.assert_array_equal(seen, shown[0].reshape(-1))

    env = still((2,))
    stacked = WrapperSpec("stack", {"size": 3}).wrap(env)
    np.testing.assert_array_equal(stacked.reset()[0], [env.shown[0]] * 3)
    np.testing.assert_array_equal(stacked.step(0)[0], [env.shown[0], env.shown[0], env.shown[1]])

    clipped = WrapperSpec("clip_reward", {"high": 4.0}).wrap(still((2,)))
    clipped.reset()
    assert [clipped.step(0)[1] for _ in range(2)] == [3.0, 4.0]
    with pytest.raises(ValueError, match="low = 5 must be below high = 1"):
        WrapperSpec("clip_reward", {"low": 5.0}).wrap(still((2,)))

    limited = WrapperSpec("time_limit", {"steps": 2}).wrap(still((2,)))
    limited.reset()
    assert [limited.step(0)[3] for _ in range(2)] == [False, True]
    assert all(kind.about for kind in WRAPPERS.values())


def test_pictures_have_their_channels_first() -> None:
    gym.register("Still-v0", entry_point=lambda: still((20, 16, 3)))
    try:
        with pytest.raises(ValueError, match=r"\(20, 16, 3\): channels must come first"):
            other_games({"envs": [{"id": "Still-v0"}]})
        first = {"id": "Still-v0", "wrappers": ["channels_first"]}
        games = other_games({"envs": [first]})
        assert games.are_pictures
        assert games.observation_space.shape == (3, 20, 16)
        with pytest.raises(ValueError, match="context = 'one-hot' is appended to rows"):
            vector(first, context="one-hot")
        with pytest.raises(ValueError, match="must be equal"):
            other_games({"envs": [first, CARTPOLE]})
        resized = {"id": "Still-v0", "wrappers": [{"name": "resize", "rows": 9}, "channels_first"]}
        with pytest.raises(ValueError, match="must be equal"):
            other_games({"envs": [first, resized]})
        for wrappers, message in (
            (["unit", "channels_first"], "leave unit and scale out"),
            ([{"name": "scale", "by": 0.5}, "channels_first"], "leave unit and scale out"),
            (["channels_first", "unit"], "leave unit and scale out"),
            (["channels_first", "resize"], "put resize before channels_first or stack"),
            (["channels_first", "channels_first"], "leave channels_first out"),
        ):
            with pytest.raises(ValueError, match=message):
                other_games({"envs": [{"id": "Still-v0", "wrappers": wrappers}]})
    finally:
        del registry["Still-v0"]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.int64])
def test_what_comes_first_keeps_the_type_of_its_numbers(dtype: Any) -> None:
    space = gym.spaces.Box(0, 9, (5, 6, 3), dtype)
    env = WrapperSpec("channels_first").wrap(Still([np.full((5, 6, 3), 7, dtype)], space))
    assert env.observation_space == gym.spaces.Box(0, 9, (3, 5, 6), dtype)
    assert env.observation_space.contains(env.reset()[0])


@pytest.mark.parametrize("shape", [(4, 210, 160), (3, 20, 20)])
def test_channels_that_come_first_are_not_taken_for_rows(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="put resize before channels_first or stack"):
        WrapperSpec("resize").wrap(still(shape))
    with pytest.raises(ValueError, match="leave channels_first out"):
        WrapperSpec("channels_first").wrap(still(shape))


def test_grids_with_many_channels_are_still_resized() -> None:
    """As those of MiniGrid: square, and with more channels than rows."""
    small = WrapperSpec("resize", {"rows": 14, "columns": 14}).wrap(still((7, 7, 20)))
    assert small.reset()[0].shape == (14, 14, 20)


@pytest.mark.parametrize(
    ("shown", "space", "wrappers"),
    [
        # Of a picture from 0 to 1 a memory of uint8 keeps zeros.
        (np.full((3, 8, 8), 0.5, np.float32), gym.spaces.Box(0, 255, (3, 8, 8), np.uint8), []),
        (np.full((8, 8), 0.5), gym.spaces.Box(0, 255, (8, 8), np.uint8), ["resize", "stack"]),
        (np.full((3, 8, 8), 300), gym.spaces.Box(0, 255, (3, 8, 8), np.uint8), []),
        # A single number would be seen four times.
        (np.ones(1, np.float32), gym.spaces.Box(-1, 1, (4,), np.float32), []),
        # What flattens makes whole numbers of them.
        (np.full((2, 2), 0.5), gym.spaces.Box(-1, 1, (2, 2), np.int64), ["flatten"]),
    ],
)
def test_one_that_shows_something_else_than_it_says_is_found_out(
    shown: Any, space: Any, wrappers: list[str]
) -> None:
    gym.register("Lies-v0", entry_point=lambda: Still([shown] * 9, space))
    try:
        # In a later phase, too, before anything is played.
        for envs in ([{"id": "Lies-v0", "wrappers": wrappers}], [CARTPOLE, {"id": "Lies-v0"}]):
            if len(envs) == 1 or space.shape == (4,):
                with pytest.raises(
                    ValueError, match=r"Lies-v0.* says that it shows Box.*, and sho"
                ):
                    other_games({"envs": envs})
    finally:
        del registry["Lies-v0"]
    if space.shape == (4,):
        honest = gym.spaces.Box(-1, 1, (1,), np.float32)
        env = Scored(Still([shown, shown.astype(np.float64), np.ones(2)], honest))
        env.reset()
        env.step(0)  # float64 in a space of float32 harms nothing
        with pytest.raises(ValueError, match=r"shows float64 of shape \(2,\)"):
            env.step(0)


class Ends(Still):
    """Ends an episode after so many steps, and writes each picture over the one before."""

    def __init__(self, shown: Any, space: Any, lengths: list[int]) -> None:
        super().__init__(shown, space)
        self.lengths, self.buffer = list(lengths), np.zeros_like(self.shown[0])

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.length = self.lengths.pop(0)
        self.buffer[...], info = super().reset()
        return self.buffer, info

    def step(self, action: Any) -> Any:
        self.buffer[...], reward, *_, info = super().step(action)
        return self.buffer, reward, self.at == self.length, False, info


def skipped(make: Callable[[Any, int], Any], skip: int, lengths: list[int]) -> list[Any]:
    """Play episodes that end after so many frames, and return what steps show and earn."""
    rng = np.random.default_rng(5)
    shown = rng.integers(256, size=(20, 3), dtype=np.uint8)
    env = make(Ends(shown, gym.spaces.Box(0, 255, (3,), np.uint8), lengths), skip)
    found = []
    for length in lengths:
        env.reset()
        for first in range(1, length + 1, skip):
            last = min(first + skip - 1, length)
            seen, reward, terminated, *_ = env.step(0)
            assert terminated == (last == length)
            right = shown[last] if last == first else np.maximum(shown[last - 1], shown[last])
            found.append(
                (seen.tolist() == right.tolist(), reward == sum(range(first, last + 1)) * 3)
            )
    return found


@pytest.mark.parametrize("skip", [2, 3, 4])
def test_a_step_shows_the_last_two_frames_that_were_played(skip: int) -> None:
    lengths = [*range(1, 3 * skip + 1), 1]
    ours = skipped(lambda env, n: WrapperSpec("max_and_skip", {"skip": n}).wrap(env), skip, lengths)
    assert ours == [(True, True)] * len(ours)
    # Gymnasium's own, which this one replaces, is found out.
    theirs = skipped(gym.wrappers.MaxAndSkipObservation, skip, lengths)
    assert (False, True) in theirs
    assert theirs.count((True, True)) > len(theirs) // 2


def test_bounds_that_are_too_far_apart_have_no_unit() -> None:
    largest = float(np.finfo(np.float32).max)
    space = gym.spaces.Box(-largest, largest, (2,), np.float32)
    with pytest.raises(ValueError, match=r"wrapper unit does not fit .*finite bounds"):
        WrapperSpec("unit").wrap(Still([np.zeros(2, np.float32)], space))


@pytest.mark.parametrize("action", [0.9, "0", None, np.float64(1.0)])
def test_an_action_is_a_whole_number(action: Any) -> None:
    env = other_games({"envs": [CARTPOLE]}).make(0)
    env.reset(seed=0)
    with pytest.raises(TypeError, match="an action is a whole number, not"):
        env.step(action)
    env.step(np.int64(1))


# Those that are installed on demand.


def test_lunar_lander_is_that_of_gymnasium() -> None:
    pytest.importorskip("Box2D", reason="the extra [box2d] is not installed")
    kwargs = {"gravity": -4.0, "enable_wind": True, "wind_power": 12.0}
    env = vector({"id": "LunarLander-v3", "kwargs": kwargs}, steps=1_000)
    alone = gym.make("LunarLander-v3", **kwargs)
    seen, _ = env.reset(seed=11)
    np.testing.assert_array_equal(seen[0], alone.reset(seed=11)[0])
    for chosen in actions(env, 60):
        seen, rewards, *_ = env.step(chosen)
        expected, reward, *_ = alone.step(int(chosen[0]))
        np.testing.assert_array_equal(seen[0], expected)
        assert rewards[0] == reward
    after = vector({"id": "LunarLander-v3", "kwargs": kwargs}, steps=1_000)
    after.load_state_dict(env.state_dict())
    for chosen in actions(env, 60, seed=1):
        assert_same(env.step(chosen), after.step(chosen))


def test_atari_is_that_of_the_arcade_learning_environment() -> None:
    pytest.importorskip("ale_py", reason="the extra [atari] is not installed")
    ram = {"obs_type": "ram"}
    freeway = {"id": "ALE/Freeway-v5", "kwargs": {**ram, "mode": 3}, "wrappers": ["unit"]}
    invaders = {"id": "ALE/SpaceInvaders-v5", "kwargs": ram, "wrappers": ["unit"]}
    made = (freeway, invaders)
    env = vector(*made, count=1, steps=60)
    assert env.single_action_space.n == 6
    alone = gym.make("ALE/Freeway-v5", obs_type="ram", mode=3)
    seen, _ = env.reset(seed=2)
    np.testing.assert_array_equal(seen[0], alone.reset(seed=2)[0] / np.float32(255))
    for chosen in actions(env, 59):
        seen, rewards, *_ = env.step(chosen)
        expected, reward, *_ = alone.step(int(chosen[0]) if chosen[0] < 3 else 0)
        np.testing.assert_array_equal(seen[0], expected / np.float32(255))
        assert rewards[0] == reward
    for _ in range(3):  # in the first phase, at its end, and in the second one
        after = vector(*made, count=1, steps=60)
        after.load_state_dict(env.state_dict())
        for chosen in actions(env, 20):
            assert_same(env.step(chosen), after.step(chosen))


@pytest.mark.parametrize(
    ("module", "data"),
    [
        ("ale_py", {"id": "ALE/SpaceInvaders-v5", "kwargs": {"obs_type": "ram", "mode": 2}}),
        ("Box2D", {"id": "LunarLander-v3", "kwargs": {"enable_wind": True}}),
        ("minigrid", {"id": "MiniGrid-LavaGapS5-v0", "wrappers": ["minigrid_image", "flatten"]}),
    ],
)
def test_an_episode_is_that_of_its_seed_whatever_was_played_before(
    module: str, data: dict[str, Any]
) -> None:
    """So the evaluator, which plays on in its environments, plays what new ones would."""
    pytest.importorskip(module, reason=f"{module} is not installed")
    env, fresh = (phase_env({"envs": [data]}, schedule_of(0), 0) for _ in range(2))

    def episode(one: Any, seed: int) -> list[Any]:
        rng = np.random.default_rng(seed)
        found = [one.reset(seed=seed)[0]]
        for _ in range(60):
            seen, reward, terminated, truncated, info = one.step(rng.integers(3))
            found.append((seen, reward, terminated, truncated, info["score"]))
            if terminated or truncated:
                break
        return found

    first = episode(env, 5)
    episode(env, 6)
    for again in (episode(env, 5), episode(fresh, 5)):
        assert len(again) == len(first)
        assert_same(tuple(again), tuple(first))


def test_what_atari_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ale_py = pytest.importorskip("ale_py", reason="the extra [atari] is not installed")
    kwargs = {"obs_type": "ram", "mode": 77}
    with pytest.raises(ValueError, match=r"'mode': 77.*has the modes \[0, 1, 2, 3, 4, 5, 6, 7\]"):
        OtherGame("ALE/Freeway-v5", kwargs).make()
    with pytest.raises(ValueError, match=r"unknown keyword argument .*'moed': did you mean 'mode'"):
        OtherGame("ALE/Freeway-v5", {"moed": 1}).make()
    with pytest.raises(ValueError, match="not registered"):
        OtherGame("ALE/Freeways-v5").make()
    monkeypatch.setattr(ale_py.roms, "get_rom_path", lambda game: None)
    with pytest.raises(ValueError, match=r"the ROM of ALE/Freeway-v5 is missing: .*pip install"):
        OtherGame("ALE/Freeway-v5").make()


def test_minigrid_is_seen_as_ones_and_zeros() -> None:
    pytest.importorskip("minigrid", reason="the extra [minigrid] is not installed")
    one_hot = ["minigrid_one_hot", "minigrid_image", "flatten"]
    data = {"id": "MiniGrid-DoorKey-5x5-v0", "wrappers": one_hot}
    env = vector(data, steps=1_000)
    alone = gym.make("MiniGrid-DoorKey-5x5-v0")
    seen, _ = env.reset(seed=1)
    assert seen.shape == (2, 7 * 7 * 20)
    assert set(np.unique(seen)) == {0.0, 1.0}
    image = alone.reset(seed=1)[0]["image"]
    objects = seen[0].reshape(7, 7, 20)[..., :11].argmax(axis=-1)
    np.testing.assert_array_equal(objects, image[..., 0])
    with pytest.raises(ValueError, match=r"shows Dict\(.*minigrid_image"):
        other_games({"envs": [{"id": "MiniGrid-DoorKey-5x5-v0"}]})
    with pytest.raises(ValueError, match="wrapper minigrid_image does not fit"):
        other_games({"envs": [{**CARTPOLE, "wrappers": ["minigrid_image"]}]})
