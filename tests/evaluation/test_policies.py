"""A policy sees what it saw in training, keeps its state, or is refused with what it lacks.

The expected result is what Stable-Baselines3's own vector environments and wrappers play.
"""

import io
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector as vector_wrappers
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecCheckNan,
    VecEnv,
    VecEnvWrapper,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
)

from continual_arcade.agents import ContinualDQN, GymnasiumVecEnv
from continual_arcade.envs import IDS, PhaseSpec, Schedule, make_game, shipped
from continual_arcade.envs.phased_env import PhasedEnv
from continual_arcade.evaluation import Evaluator, FunctionPolicy, GymEvaluator, replay_phases
from continual_arcade.evaluation.filming import Camera
from continual_arcade.evaluation.preprocessing import _names_in, wrapper_names

Wrap = Callable[[VecEnv], VecEnv]
SCHEDULE = shipped("conflict", make_game("Catcher"))
LIMIT = 120
EPISODES = 2
ONE = Schedule("one", (PhaseSpec(name="only", steps=50),))


def game(phase: int | None = None, **options: Any) -> gym.Env[Any, Any]:
    return gym.make(
        IDS["Catcher"],
        disable_env_checker=True,
        schedule=SCHEDULE,
        phase=phase,
        max_episode_steps=LIMIT,
        **options,
    )


def make_evaluator() -> Evaluator:
    return Evaluator("Catcher", SCHEDULE, episodes=EPISODES, max_steps=LIMIT)


def learnt(kind: type[BaseAlgorithm], wrap: Wrap, steps: int = 96, **options: Any) -> Any:
    """A model that has learnt a little, in a wrapped environment of eight games."""
    env = wrap(DummyVecEnv([game for _ in range(8)]))
    settings: dict[str, Any] = (
        {"n_steps": 16, "batch_size": 64}
        if kind is PPO
        else {"learning_starts": 8, "buffer_size": 100}
    )
    model = kind("MlpPolicy", env, seed=3, device="cpu", **settings, **options)  # type: ignore[call-arg]
    return model.learn(steps)


def raw(model: Any) -> FunctionPolicy:
    """The model, shown the observations as they are."""
    return FunctionPolicy(lambda seen: model.predict(seen, deterministic=True)[0])


def normalised(env: VecEnv) -> VecEnv:
    return VecNormalize(env, norm_reward=False)


WRAPS: dict[str, Wrap] = {
    "normalised": normalised,
    "stacked": lambda env: VecFrameStack(env, 3),
    "normalised, then stacked": lambda env: VecFrameStack(normalised(env), 2),
    "stacked, then normalised": lambda env: VecMonitor(normalised(VecFrameStack(env, 2))),
    "watched": lambda env: VecCheckNan(VecMonitor(env)),
    "normalised rewards": lambda env: VecNormalize(env, norm_obs=False),
}


@cache
def a_model(name: str) -> Any:
    return learnt(PPO, WRAPS[name])


def statistics_at_rest(env: VecEnv, like: VecEnv) -> None:
    """Give an environment the statistics of another one, and do not move them."""
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecNormalize):
            assert isinstance(like, VecNormalize)
            if env.norm_obs:
                env.obs_rms = pickle.loads(pickle.dumps(like.obs_rms))
            env.training = env.norm_reward = False
        assert isinstance(like, VecEnvWrapper)
        env, like = env.venv, like.venv


def by_stable_baselines(model: Any, wrap: Wrap, phase: int, seed: int) -> tuple[float, int]:
    """One episode, played in environments of Stable-Baselines3 alone."""
    env = wrap(DummyVecEnv([lambda: game(phase)]))
    statistics_at_rest(env, model.get_env())
    env.seed(seed)
    observations, total, steps, over = env.reset(), 0.0, 0, False
    while not over:
        actions, _ = model.predict(observations, deterministic=True)
        observations, rewards, dones, _ = env.step(actions)
        total, steps, over = total + float(rewards[0]), steps + 1, bool(dones[0])
    return total, steps


@pytest.mark.one_in(2)
@pytest.mark.parametrize("name", WRAPS)
def test_it_sees_what_it_saw_in_training(name: str) -> None:
    model, evaluator = a_model(name), make_evaluator()
    played = evaluator.play(model)
    for position, phase in enumerate(evaluator.phases):
        for episode, seed in enumerate(evaluator.seeds):
            expected = by_stable_baselines(model, WRAPS[name], phase.index, seed)
            assert expected == (
                pytest.approx(played.returns[position, episode]),
                played.lengths[position, episode],
            )
    again = evaluator.play(model)  # with nothing left over from before
    np.testing.assert_array_equal(played.returns, again.returns)
    if name == "normalised":  # and seeing what is not normalised would be found out
        assert (evaluator.play(raw(model)).returns != played.returns).any()


def test_statistics_stay_as_they_are_and_are_those_of_the_moment() -> None:
    model = learnt(PPO, normalised)
    before = model.policy.state_dict()
    statistics = model.get_vec_normalize_env().obs_rms
    mean, count = statistics.mean.copy(), statistics.count
    played = make_evaluator().play(model)
    assert (statistics.mean == mean).all()
    assert statistics.count == count
    assert all((before[name] == value).all() for name, value in model.policy.state_dict().items())
    statistics.mean = mean + 0.5
    assert (make_evaluator().play(model).returns != played.returns).any()


def saved(model: Any, folder: Path) -> Path:
    model.save(folder / "model.zip")
    if (normalizer := model.get_vec_normalize_env()) is not None:
        normalizer.save(folder / "statistics.pkl")
    return folder / "model.zip"


def test_a_model_that_comes_without_its_statistics_is_refused(tmp_path: Path) -> None:
    model = a_model("normalised")
    path = saved(model, tmp_path)
    env = DummyVecEnv([game])
    lacking = (
        r"PPO was trained on observations normalised by VecNormalize, and comes without its "
        r"statistics: .*PPO\.load\(path, env=VecNormalize\.load\('vecnormalize\.pkl', env\)\)"
    )
    for loaded in (PPO.load(path, device="cpu"), PPO.load(path, env=env, device="cpu")):
        with pytest.raises(ValueError, match=lacking):
            make_evaluator().play(loaded)
    with pytest.raises(ValueError, match="has a new one, without its statistics"):
        make_evaluator().play(PPO.load(path, env=VecNormalize(env), device="cpu"))
    with pytest.raises(ValueError, match=rf"step 50,000 \(.*\): {lacking}"):
        replay_phases({50_000: path}, SCHEDULE, game="Catcher", load=PPO.load)
    whole = VecNormalize.load(str(tmp_path / "statistics.pkl"), env)
    np.testing.assert_array_equal(
        make_evaluator().play(PPO.load(path, env=whole, device="cpu")).returns,
        make_evaluator().play(model).returns,
    )


def test_what_was_not_normalised_needs_no_statistics(tmp_path: Path) -> None:
    for kind, model in ((PPO, a_model("watched")), (DQN, learnt(DQN, lambda env: env))):
        loaded = kind.load(saved(model, tmp_path), device="cpu")
        np.testing.assert_array_equal(
            make_evaluator().play(loaded).returns, make_evaluator().play(model).returns
        )


def test_an_off_policy_model_is_refused_by_what_it_saw_last(tmp_path: Path) -> None:
    model = learnt(DQN, normalised)
    assert not all(model.observation_space.contains(one) for one in model._last_obs)
    with pytest.raises(ValueError, match="DQN was trained on observations normalised"):
        make_evaluator().play(DQN.load(saved(model, tmp_path), device="cpu"))


@pytest.mark.parametrize("norm_obs", [True, False])
def test_an_agent_of_the_suite_writes_down_that_it_was_normalised(norm_obs: bool) -> None:
    model = learnt(ContinualDQN, lambda env: VecNormalize(env, norm_obs=norm_obs), engine="torch")
    make_evaluator().play(model)
    file, twice = io.BytesIO(), io.BytesIO()
    model.save(file)
    file.seek(0)
    loaded = ContinualDQN.load(file, device="cpu")
    loaded.save(twice)
    twice.seek(0)
    for agent in (loaded, ContinualDQN.load(twice, device="cpu")):
        if norm_obs:
            with pytest.raises(ValueError, match="ContinualDQN was trained on observations norm"):
                make_evaluator().play(agent)
        else:
            make_evaluator().play(agent)


def test_other_observations_are_refused_with_both_spaces(tmp_path: Path) -> None:
    path = saved(a_model("stacked"), tmp_path)
    with pytest.raises(ValueError, match=r"space is Box\(.*\(12,\).*\(4,\).*VecFrameStack\(env, n"):
        make_evaluator().play(PPO.load(path, device="cpu"))
    with pytest.raises(ValueError, match=r"PPO cannot play FlappyBird: its obs.*\(4,\).*\(8,\)"):
        Evaluator("FlappyBird", shipped("conflict", make_game("FlappyBird"))).play(
            a_model("normalised")
        )


class Shift(VecEnvWrapper):
    """Does something to observations that nobody knows."""

    def reset(self) -> Any:
        return np.asarray(self.venv.reset()) + 1

    def step_wait(self) -> Any:
        observations, *others = self.venv.step_wait()
        return (np.asarray(observations) + 1, *others)


class Upward(VecNormalize):
    """A normaliser that does more in each step than others do."""

    def step_wait(self) -> Any:
        observations, *others = super().step_wait()
        return (np.asarray(observations) + 1, *others)


class Softer(VecNormalize):
    """A normaliser that normalises in its own way."""

    def normalize_obs(self, obs: Any) -> Any:
        return super().normalize_obs(obs) / 2


@pytest.mark.parametrize("kind", [Shift, Upward])
def test_an_unknown_wrapper_is_refused_by_name(kind: Any) -> None:
    name = kind.__name__
    with pytest.raises(ValueError, match=f"wrapped in {name}, of which it is not known.*Function"):
        make_evaluator().play(learnt(PPO, kind))


def test_a_normaliser_of_ones_own_normalises_in_its_way() -> None:
    model = learnt(PPO, Softer)
    by = model.get_vec_normalize_env().normalize_obs
    expected = make_evaluator().play(FunctionPolicy(lambda seen: raw(model).function(by(seen))))
    np.testing.assert_array_equal(make_evaluator().play(model).returns, expected.returns)


class SwappedKeys(gym.Wrapper[Any, Any, Any, Any]):
    """The spaces are as they were, and everything is different."""

    def step(self, action: Any) -> Any:
        return self.env.step({0: 1, 1: 0, 2: 2}[int(action)])


class Doubled(gym.RewardWrapper[Any, Any]):
    def reward(self, reward: Any) -> Any:
        return 2 * reward


class Quiet(gym.Wrapper[Any, Any, Any, Any]):
    def render(self) -> None:
        return None


def in_games(wrap: Callable[[Any], Any]) -> Any:
    """A model that has learnt in single games that were wrapped."""
    env = DummyVecEnv([lambda: wrap(game()) for _ in range(2)])
    return PPO("MlpPolicy", env, n_steps=8, batch_size=16, seed=0, device="cpu").learn(16)


def test_wrappers_of_single_environments_must_be_there_again() -> None:
    model = in_games(SwappedKeys)
    message = (
        r"PPO was trained in an environment wrapped in SwappedKeys, but Catcher is wrapped in "
        r"nothing here.*use a GymEvaluator"
    )
    with pytest.raises(ValueError, match=message):
        make_evaluator().play(model)
    with pytest.raises(ValueError, match="wrapped in SwappedKeys, but Catcher"):
        next(Camera("Catcher", SCHEDULE, 0, width=16).film(model))
    limits = {"episodes": EPISODES, "max_steps": LIMIT}
    wrapped = GymEvaluator(lambda phase: SwappedKeys(game(phase)), SCHEDULE, **limits)
    swapped = FunctionPolicy(lambda seen: np.array([1, 0, 2])[raw(model).function(seen)])
    np.testing.assert_array_equal(
        wrapped.play(model).returns, make_evaluator().play(swapped).returns
    )
    bare = in_games(lambda env: env)
    with pytest.raises(ValueError, match=r"wrapped in nothing, but .* is wrapped in SwappedKeys"):
        wrapped.play(bare)


@pytest.mark.parametrize(
    "wrap",
    [
        Doubled,
        Quiet,
        lambda env: gym.wrappers.TimeLimit(gym.wrappers.RecordEpisodeStatistics(env), 10),
        lambda env: gym.wrappers.NormalizeReward(env),
        lambda env: PhasedEnv(env, ONE, {}, lambda bare, params: None),
    ],
    ids=["custom rewards", "no step", "gymnasium", "rewards", "phases"],
)
def test_wrappers_beside_the_play_do_not_matter(wrap: Callable[[Any], Any]) -> None:
    assert wrapper_names(wrap(game())) == []
    make_evaluator().play(in_games(wrap))


def test_wrappers_of_vector_environments_of_gymnasium_are_found() -> None:
    mode = {"autoreset_mode": AutoresetMode.SAME_STEP}
    each = gym.make_vec(
        IDS["Catcher"], 2, vectorization_mode="sync", wrappers=[SwappedKeys], vector_kwargs=mode
    )
    suite = gym.make_vec(IDS["Catcher"], 2)
    swaps = vector_wrappers.TransformAction(suite, lambda actions: actions)
    for env, name in ((each, "SwappedKeys"), (swaps, "TransformAction")):
        with pytest.raises(ValueError, match=f"wrapped in {name}, but Catcher"):
            make_evaluator().play(
                PPO("MlpPolicy", GymnasiumVecEnv(env), n_steps=8, batch_size=8, device="cpu")
            )
    counts = GymnasiumVecEnv(vector_wrappers.RecordEpisodeStatistics(suite))
    make_evaluator().play(PPO("MlpPolicy", counts, n_steps=8, batch_size=8, device="cpu"))


@pytest.mark.parametrize("wrap", [SwappedKeys, Doubled, lambda env: SwappedKeys(Quiet(env))])
def test_wrappers_in_another_process_are_read_off_their_names(wrap: Callable[[Any], Any]) -> None:
    env = gym.wrappers.TimeLimit(wrap(game()), 10)
    ours = {"Doubled", "Quiet"}  # of which only a process that has them knows what they do
    assert [name for name in _names_in(str(env)) if name not in ours] == wrapper_names(env)
    bare = gym.wrappers.TimeLimit(wrap(game().unwrapped), 10)
    assert [name for name in _names_in(str(bare)) if name not in ours] == wrapper_names(bare)


@pytest.mark.slow  # two processes that import everything
def test_wrappers_in_other_processes_are_found() -> None:
    for wrap, refused in ((SwappedKeys, True), (lambda env: env, False)):
        env = SubprocVecEnv([lambda wrap=wrap: wrap(game())] * 2, start_method="spawn")  # type: ignore[misc]
        model = PPO("MlpPolicy", env, n_steps=8, batch_size=8, device="cpu")
        if refused:
            with pytest.raises(ValueError, match="wrapped in SwappedKeys, but Catcher"):
                make_evaluator().play(model)
        else:
            make_evaluator().play(model)
        env.close()


def test_statistics_that_move_while_they_are_evaluated_are_refused() -> None:
    def moving(phase: int) -> Any:
        return gym.wrappers.NormalizeObservation(game(phase))

    def resting(phase: int) -> Any:
        env = moving(phase)
        env.update_running_mean = False
        return env

    with pytest.raises(ValueError, match="NormalizeObservation updates its statistics"):
        GymEvaluator(moving, SCHEDULE)
    with pytest.raises(ValueError, match="NormalizeReward updates its statistics"):
        GymEvaluator(lambda phase: gym.wrappers.NormalizeReward(game(phase)), SCHEDULE)
    evaluator = GymEvaluator(resting, SCHEDULE, episodes=1, max_steps=20)
    evaluator.play(in_games(gym.wrappers.NormalizeObservation))


# State.


class Rhythm:
    """Flaps every so many steps, which it counts in its state, and begins with each episode."""

    def __init__(self, every: int = 16) -> None:
        self.every = every

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]:
        assert deterministic
        assert episode_start.shape == (len(observation),)
        assert (state is None) == bool(episode_start.all())
        count = np.where(episode_start, 0, 0 if state is None else state[0])
        return np.where(count % self.every == 0, 0, 1), (count + 1,)


class PassesOn:
    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def predict(self, observation: Any, **options: Any) -> Any:
        return self.policy.predict(observation, **options)


class WithoutStarts:
    """Takes a state, and nothing else: it begins where there is none."""

    def predict(self, observation: Any, state: Any = None, *, deterministic: bool = True) -> Any:
        starts = np.full(len(observation), state is None)
        return Rhythm().predict(observation, state, starts, deterministic)


def flaps_by_hand(every: int, phase: int, seed: int, limit: int) -> tuple[float, int]:
    env = gym.make(IDS["FlappyBird"], schedule="conflict", phase=phase, max_episode_steps=limit)
    env.reset(seed=seed)
    total, steps, over = 0.0, 0, False
    while not over:
        _, reward, terminated, truncated, _ = env.step(0 if steps % every == 0 else 1)
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    return total, steps


@pytest.mark.parametrize("policy", [Rhythm(), PassesOn(Rhythm()), WithoutStarts()])
def test_a_recurrent_policy_keeps_its_state(policy: Any) -> None:
    schedule = shipped("conflict", make_game("FlappyBird"))
    evaluator = Evaluator("FlappyBird", schedule, episodes=3, max_steps=90)
    for _ in range(2):  # and from scratch
        played = evaluator.play(policy)
        for position, phase in enumerate(evaluator.phases):
            for episode, seed in enumerate(evaluator.seeds):
                expected = flaps_by_hand(16, phase.index, seed, 90)
                assert expected == (
                    pytest.approx(played.returns[position, episode]),
                    played.lengths[position, episode],
                )
    assert len(set(played.lengths.ravel().tolist())) > 1
    # One that forgot its state would flap in every step, and be found out.
    always = evaluator.play(FunctionPolicy(lambda seen: np.zeros(len(seen), int)))
    assert (always.lengths != played.lengths).any()


def test_a_recurrent_policy_is_filmed_as_it_is_evaluated() -> None:
    schedule = shipped("conflict", make_game("FlappyBird"))
    evaluator = Evaluator("FlappyBird", schedule, episodes=1, max_steps=10_000)
    length = evaluator.play(Rhythm()).lengths[2, 0]
    camera = Camera("FlappyBird", schedule, 2, width=16, hud="none")
    assert sum(1 for _ in camera.film(Rhythm())) == length + 1
    # As is a function of a batch, and a model that sees normalised observations.
    flaps = FunctionPolicy(lambda seen: np.where(seen[:, 0] > 0.5, 0, 1))
    pictures = sum(1 for _ in camera.film(flaps))
    assert pictures == evaluator.play(flaps).lengths[2, 0] + 1
    evaluator = Evaluator("Catcher", SCHEDULE, episodes=1, max_steps=10_000)
    model = a_model("normalised, then stacked")
    pictures = sum(1 for _ in Camera("Catcher", SCHEDULE, 0, width=16, hud="none").film(model))
    assert pictures == evaluator.play(model).lengths[0, 0] + 1


# Actions.


class Masked(gym.Env[Any, Any]):
    """Only the action that has the number of the step, modulo three, is valid."""

    observation_space = gym.spaces.Box(0.0, 9.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def action_masks(self) -> Any:
        return np.arange(3) == self.count % 3

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        valid = bool(self.action_masks()[action])
        self.count += 1
        return np.zeros(1, np.float32), float(valid), self.count == 9, False, {}


class Maskable:
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
        action_masks: Any = None,
    ) -> tuple[Any, None]:
        return action_masks.argmax(axis=1), None


def test_masks_of_actions_are_handed_over_or_refused() -> None:
    evaluator = GymEvaluator(lambda phase: gym.wrappers.TimeLimit(Masked(), 100), ONE, episodes=2)
    assert evaluator.name == "Masked"
    assert evaluator.play(Maskable()).returns.tolist() == [[9.0, 9.0]]
    first = FunctionPolicy(lambda seen: np.zeros(len(seen), int))
    assert evaluator.play(first).returns.tolist() == [[3.0, 3.0]]
    with pytest.raises(ValueError, match="Maskable takes action_masks, which Catcher does not"):
        make_evaluator().play(Maskable())


def test_noise_that_depends_on_the_state_plays_no_part() -> None:
    model = PPO("MlpPolicy", "Pendulum-v1", use_sde=True, n_steps=16, batch_size=16, device="cpu")
    model.learn(32)
    evaluator = GymEvaluator(lambda phase: gym.make("Pendulum-v1"), ONE, episodes=2, max_steps=30)
    before = torch.get_rng_state()
    one = evaluator.play(model)
    assert torch.equal(before, torch.get_rng_state())
    model.policy.reset_noise()
    np.testing.assert_array_equal(one.returns, evaluator.play(model).returns)


class Pictures(gym.Env[Any, Any]):
    """Shows random pictures, and rewards who says how bright their left half is."""

    observation_space = gym.spaces.Box(0, 255, (6, 8, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def _picture(self) -> Any:
        self.shown = self.np_random.integers(0, 256, (6, 8, 3), np.uint8)
        return self.shown.copy()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.count = 0
        return self._picture(), {}

    def step(self, action: Any) -> Any:
        right = int(action) == int(self.shown[:, :4].mean() > 127)
        self.count += 1
        return self._picture(), float(right), self.count == 20, False, {}


def test_pictures_are_transposed_as_in_training(tmp_path: Path) -> None:
    model = PPO("MlpPolicy", Pictures(), n_steps=16, batch_size=16, seed=0, device="cpu")
    assert model.observation_space.shape == (3, 6, 8)
    evaluator = GymEvaluator(lambda phase: Pictures(), ONE, episodes=3)
    env, expected = Pictures(), []
    for seed in evaluator.seeds:
        seen, total, over = env.reset(seed=seed)[0], 0.0, False
        while not over:
            turned = np.transpose(seen, (2, 0, 1))
            seen, reward, over, _, _ = env.step(model.predict(turned, deterministic=True)[0])
            total += reward
        expected.append(total)
    assert len(set(expected)) > 1
    assert evaluator.play(model).returns.tolist() == [expected]
    model.save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", device="cpu")
    assert evaluator.play(loaded).returns.tolist() == [expected]


def test_what_is_kept_of_a_play_is_what_the_policy_saw() -> None:
    model, evaluator = a_model("stacked"), make_evaluator()
    experience = evaluator.play(model, keep=30).experience
    assert experience is not None
    assert experience.observations.shape == (3, 30, 12)
    steps = experience.of(0)
    actions, _ = model.predict(steps.observations, deterministic=True)
    np.testing.assert_array_equal(actions, steps.actions)
    # The next one holds the last two of this one, at the end of an episode, too.
    np.testing.assert_array_equal(steps.observations[:, 4:], steps.next_observations[:, :8])
