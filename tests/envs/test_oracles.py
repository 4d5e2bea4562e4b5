"""Every phase of every shipped schedule can be solved: an oracle does."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from schedules_of_games import PAIRS

from continual_arcade.envs import GAMES, IDS, make_game, shipped
from continual_arcade.envs.game import Game
from continual_arcade.envs.oracles import Oracle, Unbeatable
from continual_arcade.envs.schedules import Phase

EPISODES = 3
STEPS = 1_800


def play(env: Any, policy: Any, **reset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Play one episode in each sub-environment; return scores and lengths."""
    env.reset(**reset)
    scores, lengths = np.zeros(env.num_envs), np.zeros(env.num_envs)
    running = np.ones(env.num_envs, np.bool_)
    while running.any():
        actions, _ = policy.predict(None)
        *_, terminated, truncated, infos = env.step(actions)
        lengths[running] += 1
        ends = running & (terminated | truncated)
        if ends.any():
            scores[ends] = infos["final_info"]["score"][ends]
            running &= ~ends
    return scores, lengths


def phases_of(game: Game) -> list[Phase]:
    """The phases of all shipped schedules, each once: most have the same in another order."""
    found: dict[tuple[tuple[str, float], ...], Phase] = {}
    for other, name in PAIRS:
        if other == game.name:
            for phase in shipped(name, game).distinct:
                found.setdefault(tuple(sorted(phase.params.items())), phase)
    return list(found.values())


@pytest.mark.parametrize("game", GAMES)
def test_every_phase_is_solved(game: str) -> None:
    made = make_game(game)
    phases = phases_of(made)
    env = gym.make_vec(IDS[game], num_envs=EPISODES * len(phases), max_episode_steps=STEPS)
    params = {
        key: np.repeat([phase.params.get(key, kind.default) for phase in phases], EPISODES)
        for key, kind in made.tunables.items()
    }
    seeds = list(range(EPISODES)) * len(phases)
    scores, lengths = play(env, Oracle(env), seed=seeds, options={"params": params})
    assert (lengths == STEPS).all(), dict(zip([p.name for p in phases], lengths, strict=False))
    if game.endswith("FlappyBird"):
        assert (scores == 47).all()
    if game.endswith("Catcher"):
        assert (scores >= 40).all()
    # Nobody is better than who cheats, and the oracle of Catcher hardly misses a step.
    highest, cheated = play(env, Unbeatable(env), seed=seeds, options={"params": params})
    assert (cheated == STEPS).all()
    assert (scores <= highest).all()
    assert (scores >= highest - 1).all()


def test_fifty_pipes_at_the_narrowest_gap() -> None:
    env = gym.make_vec(IDS["FlappyBird"], num_envs=3, max_episode_steps=1_920)
    scores, _ = play(env, Oracle(env), seed=1, options={"params": {"gap": 60.0}})
    assert (scores >= 50).all()


def test_the_search_is_what_solves_it() -> None:
    """The rule of thumb that the search tries first fails at the narrowest gap on its own."""
    env: Any = gym.make_vec(IDS["FlappyBird"], num_envs=10, max_episode_steps=STEPS)

    class RuleOfThumb:
        def predict(self, _: Any) -> tuple[np.ndarray, None]:
            y, velocity = env.core.field("bird_y"), env.core.field("bird_velocity")
            xs, tops = env.core.field("pipe_x"), env.core.field("pipe_top")
            top = np.where(xs[:, 0] > 31, tops[:, 0], tops[:, 1])
            flap = y + velocity > top + env.core.field("gap") - 24 - 10
            return np.where(flap, 0, 1), None

    scores, _ = play(env, RuleOfThumb(), seed=1, options={"params": {"gap": 75.0}})
    assert scores.mean() < 40


def test_the_search_does_not_see_what_will_be_drawn() -> None:
    """Another future behind the visible pipes must not change what is done now."""
    env: Any = gym.make_vec(IDS["FlappyBird"], num_envs=64)
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(30):
        env.step((rng.random(64) > 0.08).astype(np.int64))
    now = Oracle(env).predict()[0]
    env.core.seed(rng.integers(2**64, size=64, dtype=np.uint64))
    np.testing.assert_array_equal(Oracle(env).predict()[0], now)


@pytest.mark.parametrize("game", GAMES)
def test_the_oracle_plays_single_environments(game: str) -> None:
    env = gym.make(IDS[game], max_episode_steps=300)
    observation, _ = env.reset(seed=3)
    oracle = Oracle(env)
    for _ in range(300):
        action, _ = oracle.predict(observation)
        observation, _, terminated, truncated, info = env.step(action)
        assert not terminated
    assert truncated
    assert info["score"] >= 6


class Swaps:
    """Plays at random, and has the paddle elsewhere now and then: what is missed takes longer."""

    def __init__(self, env: Any, seed: int) -> None:
        self.env, self.rng = env, np.random.default_rng(seed)

    def predict(self, _: Any) -> tuple[np.ndarray, None]:
        core = self.env.core
        if "paddle_x" in core.game.lane_fields and self.rng.random() < 0.9:
            core.blocks["paddle_x"] = core.blocks["pellet_x"]
        core.blocks["lives"] = np.inf
        return self.rng.integers(core.game.num_actions, size=self.env.num_envs), None


@pytest.mark.parametrize("game", GAMES)
def test_nobody_exceeds_who_cheats(game: str) -> None:
    """Whatever the tunables, and whoever plays, if need be with lives without end."""
    tunables = make_game(game).tunables
    rng = np.random.default_rng(0)
    many = 200
    params = {
        key: np.round(rng.uniform(kind.low, kind.high, many))
        if kind.integer
        else rng.uniform(kind.low, kind.high, many)
        for key, kind in tunables.items()
    }
    for key, kind in tunables.items():
        for other, value in kind.acts_where.items():
            params[key][params[other] != value] = kind.default
    env: Any = gym.make_vec(IDS[game], num_envs=many, max_episode_steps=700)
    start = {"seed": list(range(many)), "options": {"params": params}}
    highest, lengths = play(env, Unbeatable(env), **start)
    assert (lengths == 700).all()
    assert np.median(highest) > 10
    for seed in range(3):
        scores, _ = play(env, Swaps(env, seed), **start)
        assert (scores <= highest).all()
        # Pipes come by themselves, and a pellet that was missed is not caught.
        assert (scores == highest).all() == game.endswith("FlappyBird")


def test_the_oracle_plays_nothing_else() -> None:
    with pytest.raises(TypeError, match="CartPoleEnv"):
        Oracle(gym.make("CartPole-v1"))
