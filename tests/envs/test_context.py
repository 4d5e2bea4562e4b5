"""Context: what of its phase an observation shows, computed here by other means, in every loop."""

import math
import pickle
import warnings
from copy import deepcopy
from itertools import product
from typing import Any, get_args

import gymnasium as gym
import numpy as np
import pytest
import tiny
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from schedules_of_games import CLASSIC, or_conflict
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from continual_arcade.agents import (
    METHODS,
    ContinualDQN,
    DQNSettings,
    build_agent,
    make_training_env,
)
from continual_arcade.envs import (
    GAMES,
    IDS,
    ArcadeEnv,
    ArcadeVectorEnv,
    PhaseSpec,
    Schedule,
    Tunable,
    make_game,
    shipped,
)
from continual_arcade.envs.context import CONTEXTS, Context, ContextKind, scaled
from continual_arcade.envs.phased_env import CARTPOLE, PhasedEnv, set_cartpole, switching

EVERY_GAME = pytest.mark.parametrize("game", GAMES)
SHOWN = pytest.mark.parametrize("context", ["params", "one-hot"])
OWN = {
    "FlappyBird": 8,
    "Catcher": 4,
    "Tour": 10,
    "RelabelledFlappyBird": 8,
    "RelabelledCatcher": 4,
}
SCALES: dict[str, dict[str, tuple[float, float]]] = {
    # As the pages of the games have them: smallest and largest value.
    "FlappyBird": {
        "gap": (60, 200),
        "gravity": (-2, 2),
        "flap": (-14, 14),
        "scroll": (2, 8),
        "spacing": (110, 220),
    },
    "Catcher": {
        "fall_speed": (1, 80),
        "paddle_width": (32, 320),
        "push": (-26.88, 26.88),
        "friction": (0.02, 0.5),
    },
}
for _bare in ("FlappyBird", "Catcher"):
    SCALES[f"Relabelled{_bare}"] = {**SCALES[_bare], "labels": (0, 5)}
SCALES["Tour"] = {"which_game": (0, 1), **SCALES["FlappyBird"], **SCALES["Catcher"]}


def by_hand(game: str, context: str, schedule: Schedule, params: Any, phase: int) -> list[float]:
    """Return what an episode must show, from what ``info`` says of it."""
    if context in ("hidden", "inferred"):  # what infers the phase sees the game alone
        return []
    if context == "params":
        middles = {name: (low + high) / 2 for name, (low, high) in SCALES[game].items()}
        halves = {name: (high - low) / 2 for name, (low, high) in SCALES[game].items()}
        return [(params[name] - middles[name]) / halves[name] for name in SCALES[game]]
    kinds: list[set[tuple[str, float, float]]] = []
    numbers = []
    for spec in schedule.phases:
        ends = spec.until or spec.params
        kind = {(name, value, ends[name]) for name, value in spec.params.items()}
        if kind not in kinds:
            kinds.append(kind)
        numbers.append(kinds.index(kind))
    return [float(number == numbers[phase]) for number in range(len(kinds))]


def check_shown(env: Any, schedule: Schedule, seen: Any, params: Any, phase: int) -> None:
    game, context = env.game.name, env.context.kind
    wanted = by_hand(game, context, schedule, params, phase)
    assert len(seen) == OWN[game] + len(wanted)
    assert seen[OWN[game] :] == pytest.approx(wanted, abs=1e-6)


def infos_of(infos: dict[str, Any], index: int) -> tuple[dict[str, float], int]:
    params = {name: float(v[index]) for name, v in infos["params"].items() if name[0] != "_"}
    return params, int(infos["phase"][index])


@st.composite
def schedules(draw: Any, game: str) -> Schedule:
    """Draw a schedule: some of its phases move, some come back."""
    phases: list[PhaseSpec] = []
    for index in range(draw(st.integers(1, 4))):
        steps = draw(st.integers(6, 40))
        if phases and draw(st.booleans()):
            again = draw(st.sampled_from(phases))
            params, until = again.params, again.until
            if until is not None:  # as it was, or the way back, or at rest in the middle
                back = (until, params)
                rest = (again.params_at(0.5), None)
                params, until = draw(st.sampled_from([(params, until), back, rest]))
            phases.append(PhaseSpec(name="x", steps=steps, params=params, until=until))
            continue
        played = game.removeprefix("Relabelled")
        if game == "Tour":
            played = draw(st.sampled_from(["FlappyBird", "Catcher"]))
        names = draw(st.lists(st.sampled_from([*SCALES[played]]), unique=True, max_size=3))
        which = {"which_game": float(played == "Catcher")} if game == "Tour" else {}
        if game.startswith("Relabelled"):
            which = {"labels": float(draw(st.integers(0, 5)))}
        first, last = (
            which
            | {
                name: float(draw(st.integers(*map(math.ceil, SCALES[played][name]))))
                if played == "FlappyBird"
                else draw(st.sampled_from(_SOME[name]))
                for name in names
            }
            for _ in range(2)
        )
        moves = draw(st.booleans()) and "paddle_width" not in names
        phases.append(
            PhaseSpec(name=f"{index}", steps=steps, params=first, until=last if moves else None)
        )
    return Schedule("drawn", tuple(phases))


_SOME = {
    "fall_speed": [4.0, 20.0, 33.5],
    "paddle_width": [64.0, 128.0, 200.0],
    "push": [-13.0, 5.0, 20.0],
    "friction": [0.03, 0.1, 0.4],
}


def play_single(env: ArcadeEnv, schedule: Schedule, seed: int, steps: int = 90) -> list[Any]:
    """Play, checking each observation; return what was seen and received."""
    rng = np.random.default_rng(seed)
    seen, info = env.reset(seed=seed)
    track: list[Any] = []
    while len(track) < steps:
        check_shown(env, schedule, seen, info["params"], info["phase"])
        held = seen[OWN[env.game.name] :].tolist()
        over = False
        while not over and len(track) < steps:
            action = int(rng.integers(env.game.num_actions))
            seen, reward, terminated, truncated, info = env.step(action)
            # The last observation of a phase, too, shows what held in the episode.
            assert seen[OWN[env.game.name] :].tolist() == held
            check_shown(env, schedule, seen, info["params"], info["phase"])
            track.append((seen[: OWN[env.game.name]].tolist(), reward, terminated, truncated))
            over = terminated or truncated
        seen, info = env.reset()
    return track


def play_many(env: ArcadeVectorEnv, schedule: Schedule, seed: int, steps: int = 90) -> list[Any]:
    rng = np.random.default_rng(seed)
    own = OWN[env.game.name]
    seen, infos = env.reset(seed=seed)
    track: list[Any] = []
    for _ in range(steps):
        for index in range(env.num_envs):
            check_shown(env, schedule, seen[index], *infos_of(infos, index))
        actions = rng.integers(env.game.num_actions, size=env.num_envs)
        seen, rewards, terminated, truncated, infos = env.step(actions)
        over = terminated | truncated
        if "final_obs" in infos:
            for index in np.flatnonzero(over).tolist():
                last, info = infos["final_obs"][index], infos["final_info"]
                check_shown(env, schedule, last, *infos_of(info, index))
                track.append(last[:own].tolist())
        track.append((seen[:, :own].tolist(), rewards.tolist(), over.tolist()))
        if env.autoreset_mode.value == "Disabled" and over.any():
            seen, infos = env.reset(options={"reset_mask": over})
    return track


MODES = ["SameStep", "NextStep", "Disabled"]


def test_a_way_and_its_middle_do_not_look_alike() -> None:
    """They are evaluated alike, but who has learnt one of them has not learnt the others."""
    ways = ((140.0, 60.0), (60.0, 140.0), (100.0, None))
    schedule = Schedule(
        "ways",
        tuple(
            PhaseSpec(
                name="x", steps=20, params={"gap": a}, until=None if b is None else {"gap": b}
            )
            for a, b in (*ways, ways[1])
        ),
    )
    assert len(schedule.distinct) == 1
    for phase, place in enumerate((0, 1, 2, 1)):
        seen, _ = ArcadeEnv("FlappyBird", schedule, phase, context="one-hot").reset(seed=0)
        assert seen[8:].tolist() == np.eye(3)[place].tolist()


@pytest.mark.parametrize("game", CLASSIC)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_loop_shows_what_info_says(game: str, data: Any) -> None:
    every_loop_shows_what_info_says(game, data)


@pytest.mark.parametrize("game", [game for game in GAMES if game not in CLASSIC])
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_so_does_every_loop_of_games_made_of_others(game: str, data: Any) -> None:
    every_loop_shows_what_info_says(game, data)


def every_loop_shows_what_info_says(game: str, data: Any) -> None:
    schedule = data.draw(schedules(game))
    context = data.draw(st.sampled_from(CONTEXTS))
    seed = data.draw(st.integers(0, 2**32))
    shows = play_single(ArcadeEnv(game, schedule, context=context), schedule, seed)
    hides = play_single(ArcadeEnv(game, schedule), schedule, seed)
    assert shows == hides  # and changes nothing else
    mode, count = data.draw(st.sampled_from(MODES)), data.draw(st.integers(1, 6))
    made: dict[str, Any] = {"schedule": schedule, "autoreset_mode": mode, "max_episode_steps": 25}
    many = play_many(ArcadeVectorEnv(game, count, context=context, **made), schedule, seed)
    assert many == play_many(ArcadeVectorEnv(game, count, **made), schedule, seed)


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("game", "context", "count"),
    [
        *product(["FlappyBird"], ["params", "one-hot"], [63, 65, 130]),
        *((game, "params", 65) for game in GAMES if game != "FlappyBird"),
    ],
)
def test_more_than_a_block_of_them(game: str, context: ContextKind, count: int) -> None:
    schedule = shipped(or_conflict(game, "cycle"), make_game(game)).with_steps(500)
    made: dict[str, Any] = {"schedule": schedule, "max_episode_steps": 9}
    many = play_many(ArcadeVectorEnv(game, count, context=context, **made), schedule, 3, 40)
    assert many == play_many(ArcadeVectorEnv(game, count, **made), schedule, 3, 40)


def test_as_many_phases_as_one_likes() -> None:
    """More numbers than are copied at a time, and a row of them that ends anywhere."""
    for number in (7, 8, 9, 16, 19):
        phases = [PhaseSpec(name="p", steps=40, params={"gap": 80.0 + n}) for n in range(number)]
        schedule = Schedule("many", tuple(phases))
        for count in (1, 3):
            env = ArcadeVectorEnv("FlappyBird", count, schedule=schedule, context="one-hot")
            play_many(env, schedule, 0, 40 * number // count)


@SHOWN
@pytest.mark.parametrize("fault", ["previous phase", "another scale", "at the boundary"])
def test_the_check_finds_planted_errors(
    context: ContextKind, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = shipped("conflict", make_game("FlappyBird")).with_steps(30)
    env, many = (
        kind("FlappyBird", schedule=schedule, context=context)
        for kind in (ArcadeEnv, ArcadeVectorEnv)
    )
    rows = Context.rows

    def wrong(self: Context, params: Any, phases: Any) -> Any:
        right = rows(self, params, phases)
        shown = right[:, 5:]
        if fault == "previous phase":
            phases = [max(0, phase - 1) for phase in phases]
            params = np.roll(params, 1, axis=1)
            return np.column_stack([right[:, :5], rows(self, params, phases)[:, 5:]])
        return np.column_stack([right[:, :5], 0.5 * shown])

    if fault == "at the boundary":  # the context of the next episode, one step too early
        step = env.step

        def early(action: Any) -> Any:
            seen, reward, terminated, truncated, info = step(action)
            if truncated:
                seen = deepcopy(env).reset()[0]
            return seen, reward, terminated, truncated, info

        env.step = early  # type: ignore[method-assign]
    else:
        monkeypatch.setattr(Context, "rows", wrong)
    with pytest.raises(AssertionError):
        play_single(env, schedule, 0)
    if fault != "at the boundary":
        with pytest.raises(AssertionError):
            play_many(many, schedule, 0)


class Watcher(BaseCallback):
    """Checks what a learner sees, wherever Python is entered."""

    def __init__(self, schedule: Schedule, due: int) -> None:
        super().__init__()
        self.schedule, self.due, self.ends = schedule, due, 0

    def next_due(self, num_timesteps: int) -> int | None:
        return num_timesteps + self.due

    def _on_step(self) -> bool:
        games: Any = self.training_env.env  # type: ignore[attr-defined]
        phases, rows = games.conditions
        for index, seen in enumerate(self.locals["new_obs"]):
            params = dict(zip(games.game.tunables, rows[index], strict=True))
            check_shown(games, self.schedule, seen, params, int(phases[index]))
        for info in self.locals["infos"]:
            if "terminal_observation" in info:
                last = info["terminal_observation"]
                check_shown(games, self.schedule, last, info["params"], info["phase"])
                self.ends += 1
        return True


def learner(schedule: Schedule, context: ContextKind, engine: Any = "compiled") -> ContinualDQN:
    return build_agent(
        "FlappyBird", schedule, DQNSettings(**{**vars(tiny.SETTINGS), "engine": engine}), 0,
        context=context,
    )  # fmt: skip


@settings(max_examples=8, deadline=None)
@given(
    schedule=schedules("FlappyBird"),
    context=st.sampled_from([context for context in CONTEXTS if context != "inferred"]),
    due=st.integers(1, 99),
)
def test_a_compiled_run_sees_it(schedule: Schedule, context: ContextKind, due: int) -> None:
    agent = learner(schedule, context)
    assert agent.runs_compiled
    agent.learn(200, Watcher(schedule, due))


@SHOWN
def test_both_engines_remember_the_same(context: ContextKind) -> None:
    agents = {}
    for engine in ("torch", "compiled"):
        agents[engine] = learner(tiny.CONFLICT, context, engine)
        watcher = Watcher(tiny.CONFLICT, 1)
        agents[engine].learn(tiny.LIFE, watcher)
        assert watcher.ends
    torchs, compiled = (agent.replay for agent in agents.values())
    assert torchs.observations.shape[-1] > OWN["FlappyBird"]
    for name in ("observations", "next_observations", "actions", "rewards"):
        np.testing.assert_array_equal(getattr(torchs, name), getattr(compiled, name))


def test_what_a_compiled_run_sees_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = learner(tiny.CONFLICT, "one-hot")
    env: Any = agent.get_env()
    rows = env.env.context.rows

    def late(params: Any, phases: Any) -> Any:
        return rows(params, np.maximum(np.asarray(phases) - 1, 0))

    monkeypatch.setattr(env.env.context, "rows", late)
    with pytest.raises(AssertionError):
        agent.learn(tiny.LIFE, Watcher(tiny.CONFLICT, 1))


@EVERY_GAME
@SHOWN
def test_spaces_and_checkers(game: str, context: ContextKind) -> None:
    schedule = shipped("conflict", make_game(game)).with_steps(60)
    env: Any = gym.make(IDS[game], schedule=schedule, context=context).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)
        check_env_sb3(env)
    own = make_game(game).feature_bounds()
    space = env.observation_space
    assert space.dtype == np.float32
    count = {"params": len(make_game(game).tunables), "one-hot": len(schedule)}[context]
    low = {"params": -1.0, "one-hot": 0.0}[context]
    assert space.low.tolist() == [*own[0].tolist(), *[low] * count]
    assert space.high.tolist() == [*own[1].tolist(), *[1.0] * count]
    assert [feature.name for feature in env.context.features] == {
        "params": [*make_game(game).tunables],
        "one-hot": [f"phase_{index}" for index in range(len(schedule))],
    }[context]
    many: Any = gym.make_vec(IDS[game], num_envs=3, schedule=schedule, context=context)
    assert many.single_observation_space == space
    assert many.observation_space.contains(many.reset(seed=0)[0])
    assert gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json())).unwrapped.context.kind == context  # type: ignore[attr-defined]  # noqa: E501  # fmt: skip


@EVERY_GAME
def test_hidden_is_what_there_was(game: str) -> None:
    env = ArcadeEnv(game)
    assert env.context.kind == "hidden"
    assert env.context.features == ()
    assert env.observation_space.shape == (OWN[game],)
    assert env.core.observation is not None
    assert env.core.held.size == 0


@EVERY_GAME
def test_phases_of_conflict_look_different(game: str) -> None:
    """As far apart as other features are: a third of what one runs through, at least."""
    schedule = shipped("conflict", make_game(game))
    shows = []
    for phase in range(len(schedule)):
        env = ArcadeEnv(game, schedule, phase, context="params")
        shows.append(env.reset(seed=0)[0][OWN[game] :])
    for one in range(len(schedule)):
        for other in range(one):
            assert np.abs(shows[one] - shows[other]).max() >= 0.24


@pytest.mark.parametrize("game", CLASSIC)
@SHOWN
def test_a_phase_that_comes_back_looks_as_before(game: str, context: ContextKind) -> None:
    schedule = shipped("cycle", make_game(game))
    shows = [
        ArcadeEnv(game, schedule, phase, context=context).reset(seed=0)[0][OWN[game] :].tolist()
        for phase in range(len(schedule))
    ]
    assert shows[0] == shows[3] == shows[6]
    assert shows[1] == shows[4]
    assert shows[0] != shows[1] != shows[2] != shows[0]


def test_what_moves_shows_where_it_is_or_which_phase_it_is() -> None:
    schedule = shipped("drift", make_game("FlappyBird")).with_steps(200)
    shows: dict[str, list[Any]] = {}
    for context in get_args(ContextKind)[1:]:
        env = ArcadeEnv("FlappyBird", schedule, context=context)
        seen, _ = env.reset(seed=0)
        shows[context] = [tuple(seen[8:])]
        for _ in range(1_300):
            _, _, terminated, truncated, _ = env.step(1)
            if terminated or truncated:
                shows[context].append(tuple(env.reset()[0][8:]))
    gaps = [show[0] for show in shows["params"]]
    assert gaps == sorted(gaps, reverse=True)
    assert len(set(gaps)) > 12
    phases = [show.index(1.0) for show in shows["one-hot"]]
    assert phases == sorted(phases)
    assert set(phases) == set(range(6))


def test_one_phase_is_one_feature_that_says_nothing() -> None:
    env = ArcadeEnv("Catcher", context="one-hot")
    assert env.reset(seed=0)[0][4:].tolist() == [1.0]


@SHOWN
def test_pinned_episodes_show_what_is_pinned(context: ContextKind) -> None:
    schedule = shipped("conflict", make_game("FlappyBird")).with_steps(300)
    single = ArcadeEnv("FlappyBird", schedule, context=context)
    many = ArcadeVectorEnv("FlappyBird", 3, schedule=schedule, context=context)
    single.reset(seed=0)
    many.reset(seed=0)
    options: Any
    for options in ({"params": {"gap": 150.0}}, {"phase": 2}, {"phase": "light", "params": {"scroll": 3.0}}):  # noqa: E501  # fmt: skip
        seen, info = single.reset(options=options)
        check_shown(single, schedule, seen, info["params"], info["phase"])
        all_seen, infos = many.reset(options=options)
        for index in range(3):
            params, phase = infos_of(infos, index)
            check_shown(many, schedule, all_seen[index], params, phase)
            assert (params, phase) == (info["params"], info["phase"])
            assert bool(infos["phase_changed"][index]) == info["phase_changed"]
    all_seen, infos = many.reset(options={"phase": [2, 0, 1]})
    assert infos["phase"].tolist() == [2, 0, 1]
    assert infos["params"]["gravity"].tolist() == [0.5, 1.0, -1.0]
    for index in range(3):
        check_shown(many, schedule, all_seen[index], *infos_of(infos, index))
    # The next episode is played in the phase of the clock again.
    seen, info = single.reset()
    assert (info["phase"], info["phase_changed"]) == (0, True)
    check_shown(single, schedule, seen, info["params"], info["phase"])


def test_phases_that_there_are_not_are_refused() -> None:
    schedule = shipped("conflict", make_game("FlappyBird")).with_steps(300)
    single = ArcadeEnv("FlappyBird", schedule)
    many = ArcadeVectorEnv("FlappyBird", 3, schedule=schedule)
    for env in (single, many):
        with pytest.raises(ValueError, match=r"phase 3 .* it has phases 0 to 2"):
            env.reset(options={"phase": 3})
        with pytest.raises(ValueError, match="unknown phase of schedule 'conflict' 'ligth'"):
            env.reset(options={"phase": "ligth"})
    with pytest.raises(ValueError, match=r"phase has shape \(2,\)"):
        many.reset(options={"phase": [0, 1]})
    with pytest.raises(TypeError, match="phase must be an index or a name"):
        many.reset(options={"phase": [0, 1, 0.5]})


@SHOWN
def test_state_and_copies_go_on(context: ContextKind) -> None:
    schedule = shipped("conflict", make_game("Catcher")).with_steps(40)
    made: dict[str, Any] = {"schedule": schedule, "context": context}
    single, many = ArcadeEnv("Catcher", **made), ArcadeVectorEnv("Catcher", 3, **made)
    single.reset(seed=0)
    many.reset(seed=0)
    for _ in range(15):
        single.step(2)
        many.step(np.array([0, 1, 2]))
    resumed, all_resumed = ArcadeEnv("Catcher", **made), ArcadeVectorEnv("Catcher", 3, **made)
    resumed.load_state_dict(single.state_dict())
    all_resumed.load_state_dict(many.state_dict())
    for other in (resumed, deepcopy(single), pickle.loads(pickle.dumps(single))):
        one = deepcopy(single)
        for _ in range(60):
            step, other_step = one.step(1), other.step(1)
            assert step[0].tolist() == other_step[0].tolist()
            check_shown(other, schedule, step[0], step[4]["params"], step[4]["phase"])
            if step[2] or step[3]:
                assert one.reset()[0].tolist() == other.reset()[0].tolist()
    for _ in range(60):
        step, other_step = many.step(np.ones(3, int)), all_resumed.step(np.ones(3, int))
        assert step[0].tolist() == other_step[0].tolist()
        for index in range(3):
            check_shown(
                all_resumed, schedule, other_step[0][index], *infos_of(other_step[4], index)
            )
    for kind in (c for c in CONTEXTS if c != context):
        other = ArcadeEnv("Catcher", schedule, context=kind)
        with pytest.raises(ValueError, match=f"context = '{context}', this one has context"):
            other.load_state_dict(single.state_dict())


def test_states_from_before_there_was_a_context_are_read() -> None:
    env = ArcadeEnv("Catcher")
    env.reset(seed=0)
    state = env.state_dict()
    del state["made"]["context"]
    ArcadeEnv("Catcher").load_state_dict(state)
    with pytest.raises(ValueError, match="context = 'hidden', this one has context = 'params'"):
        ArcadeEnv("Catcher", context="params").load_state_dict(state)


def test_unknown_contexts_are_refused_everywhere() -> None:
    message = "unknown context 'parms': did you mean 'params'. known are hidden, params, one-hot, "
    wrong: Any = "parms"
    with pytest.raises(ValueError, match=message):
        ArcadeEnv("Catcher", context=wrong)
    with pytest.raises(ValueError, match=message):
        gym.make_vec(IDS["Catcher"], num_envs=2, context=wrong)
    with pytest.raises(ValueError, match=message):
        make_training_env("FlappyBird", tiny.CONFLICT, 2, wrong)
    with pytest.raises(ValueError, match=message):
        PhasedEnv(gym.make("CartPole-v1"), POLES, CARTPOLE, set_cartpole, context=wrong)
    with pytest.raises(TypeError, match="unknown context 3"):
        ArcadeEnv("Catcher", context=3)  # type: ignore[arg-type]


def test_agents_of_another_context_are_refused() -> None:
    agent = learner(tiny.CONFLICT, "params", "torch")
    with pytest.raises(
        ValueError, match=r"another context .*'hidden', 'params', 'one-hot' or 'inferred'"
    ):
        agent.set_env(make_training_env("FlappyBird", tiny.CONFLICT, tiny.NUM_ENVS))


def test_joint_training_shows_the_same_phases_or_is_refused() -> None:
    joint = METHODS["joint"]
    for name in ("conflict", "cycle"):
        schedule = shipped(name, make_game("FlappyBird")).with_steps(4_000)
        agent = build_agent("FlappyBird", schedule, tiny.SETTINGS, 0, joint, context="one-hot")
        env: Any = agent.get_env()
        names = [feature.about for feature in env.env.context.features]
        assert names == [f.about for f in Context("one-hot", schedule, {}).features]
    drift = shipped("drift", make_game("FlappyBird")).with_steps(4_000)
    with pytest.raises(ValueError, match=r"'joint' .* 'drift'.* choose context = 'params'"):
        build_agent("FlappyBird", drift, tiny.SETTINGS, 0, joint, context="one-hot")
    build_agent("FlappyBird", drift, tiny.SETTINGS, 0, joint, context="params")


def test_scales_of_wide_and_missing_bounds() -> None:
    def tunable(default: float, low: float, high: float) -> Tunable:
        return Tunable(
            default=default, low=low, high=high, unit="m", harder="either", about="something"
        )

    wide = tunable(1, 0.01, 100)
    assert scaled(wide, np.array([0.01, 0.1, 1, 10, 100])).tolist() == pytest.approx(
        [-1, -0.5, 0, 0.5, 1]
    )
    assert scaled(tunable(1, 1, 99), np.array([50.0])).tolist() == [0.0]
    endless = tunable(2, 0, math.inf)
    assert scaled(endless, np.array([0, 2, 4, 8, 2e9])).tolist() == pytest.approx(
        [-0.5, 0, 0.5, 0.75, 1]
    )
    around_zero = tunable(0, -math.inf, math.inf)
    assert scaled(around_zero, np.array([-1.0, 0.0, 1.0])).tolist() == [-0.5, 0.0, 0.5]
    assert scaled(tunable(3, 3, 3), np.array([3.0])).tolist() == [0.0]


POLES = Schedule(
    "poles",
    (
        PhaseSpec(name="short", steps=40, params={"length": 0.25}),
        PhaseSpec(name="long", steps=40, params={"length": 2.0, "gravity": 15.5}),
        PhaseSpec(name="short again", steps=40, params={"length": 0.25}),
    ),
)


@SHOWN
def test_any_environment_shows_its_phase(context: ContextKind) -> None:
    env = PhasedEnv(gym.make("CartPole-v1"), POLES, CARTPOLE, set_cartpole, context=context)
    hidden = PhasedEnv(gym.make("CartPole-v1"), POLES, CARTPOLE, set_cartpole)
    with warnings.catch_warnings():
        for known in ("is different from the unwrapped version", "is -?infinity"):  # of CartPole
            warnings.filterwarnings("ignore", f".*{known}.*")
        check_env(env, skip_render_check=True)
    seen, info = env.reset(seed=0)
    other, _ = hidden.reset(seed=0)
    shown = []
    for step in range(118):
        if context == "params":
            length, gravity = info["params"]["length"], info["params"]["gravity"]
            wanted = [2 * math.log10(length / 0.05) / 2 - 1, (gravity - 15.5) / 14.5]
            assert seen[[4, 7]].tolist() == pytest.approx(wanted, abs=1e-6)
        else:
            assert seen[4:].tolist() == ([0, 1] if info["phase"] == 1 else [1, 0])
        assert env.observation_space.contains(seen)
        assert seen[:4].tolist() == other.tolist()
        shown.append(tuple(seen[4:]))
        seen, _, terminated, truncated, info = env.step(step % 2)
        other, *_ = hidden.step(step % 2)
        assert tuple(seen[4:]) == shown[-1]
        if terminated or truncated:
            (seen, info), (other, _) = env.reset(), hidden.reset()
    assert len(set(shown)) == 2
    assert env.spec is not None
    again: Any = gym.make(gym.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    assert again.get_wrapper_attr("context").kind == context


def test_nothing_can_be_appended_to_other_observations() -> None:
    image = gym.make("CartPole-v1")
    for space in (gym.spaces.Discrete(4), gym.spaces.Box(0, 1, (2, 2)), gym.spaces.Box(0, 255, (4,), np.uint8)):  # noqa: E501  # fmt: skip
        image.unwrapped.observation_space = space
        wrapped = gym.Wrapper(image.unwrapped)
        with pytest.raises(ValueError, match=r"context = 'params' .* observation space is"):
            PhasedEnv(wrapped, POLES, CARTPOLE, set_cartpole, context="params")
        PhasedEnv(wrapped, POLES, CARTPOLE, set_cartpole)


def test_a_switch_shows_which_environment_is_played() -> None:
    which = Schedule(
        "which",
        tuple(PhaseSpec(name=f"{i}", steps=20, params={"env": float(i % 2)}) for i in range(3)),
    )
    for context, wanted in (("params", [[-1], [1], [-1]]), ("one-hot", [[1, 0], [0, 1], [1, 0]])):
        kind: Any = context
        for phase in range(3):
            envs = [gym.make("CartPole-v1") for _ in range(2)]
            env = switching(envs, which, phase, kind)
            assert env.reset(seed=0)[0][4:].tolist() == wanted[phase]
