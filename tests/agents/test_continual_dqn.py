"""The learner: the parent's bits without extras, and each extra against an oracle of its own."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args, get_type_hints

import gymnasium as gym
import numpy as np
import pytest
import tiny
import torch
from gymnasium import spaces
from scipy import stats
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from continual_arcade.agents import (
    ContinualDQN,
    DivergedError,
    DQNSettings,
    Exploration,
    GymnasiumVecEnv,
    build_agent,
    make_training_env,
)
from continual_arcade.agents.algorithms.catalogue import ALGORITHMS
from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.agem import AGEM
from continual_arcade.agents.methods.clear import Clear
from continual_arcade.agents.methods.clone import Clone
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.l2 import L2
from continual_arcade.agents.methods.mer import MER
from continual_arcade.agents.methods.pt_dqn import PTDQN
from continual_arcade.agents.methods.reptile import Reptile
from continual_arcade.agents.methods.si import SI
from continual_arcade.agents.networks import ACTIVATIONS
from continual_arcade.agents.replay import FIFOReplayBuffer, MixReplayBuffer
from continual_arcade.agents.settings import LARGEST_STEP
from continual_arcade.envs import GAMES, IDS, make_game, shipped
from continual_arcade.envs.schedules import stationary

FLAPPY = IDS["FlappyBird"]


def bits(model: DQN) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in model.policy.parameters())


# Without extras.


@pytest.mark.parametrize("num_envs", [1, 4])
def test_without_extras_it_is_the_parent_bit_for_bit(num_envs: int) -> None:
    results = []
    for cls in (DQN, ContinualDQN):
        env = GymnasiumVecEnv(gym.make_vec(FLAPPY, num_envs=num_envs, schedule="shrink"))
        model = cls(
            "MlpPolicy",
            env,
            seed=1,
            learning_starts=100,
            buffer_size=1_000,
            train_freq=2,
            gradient_steps=1,
            target_update_interval=200,
            exploration_fraction=0.5,
            device="cpu",
        )
        model.learn(600 if num_envs == 1 else 2_000)
        results.append((bits(model), model._n_updates, model.exploration_rate))
    assert results[0] == results[1]
    assert results[0][1] > 200


# Targets.


class Chain(gym.Env[Any, Any]):
    """Five states in a row; right leads to a reward of 1 at the end, left back to the first."""

    observation_space = spaces.Box(0.0, 1.0, (5,), np.float32)
    action_space = spaces.Discrete(2)
    slip = 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(5))
        return self.seen(), {}

    def seen(self) -> Any:
        return np.eye(5, dtype=np.float32)[self.state]

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action == 0:
            self.state = 0
            return self.seen(), 0.1, False, False, {}
        if self.state == 4:
            return self.seen(), 1.0, True, False, {}
        self.state += 1
        return self.seen(), 0.0, False, False, {}


def optimal(gamma: float) -> np.ndarray:
    """Value iteration, shape (states, actions)."""
    q = np.zeros((5, 2))
    for _ in range(1_000):
        v = q.max(axis=1)
        right = np.append(gamma * v[1:], 1.0)
        q = np.stack([np.full(5, 0.1 + gamma * v[0]), right], axis=1)
    return q


class Deadly(gym.wrappers.TimeLimit):
    """Calls a truncation a death."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, False, info


def chain_agent(double_q: bool, n_steps: int, limit: Any = gym.wrappers.TimeLimit) -> ContinualDQN:
    return ContinualDQN(
        "MlpPolicy",
        limit(Chain(), 10),
        double_q=double_q,
        exploration=Exploration("constant"),
        replay_buffer_class=FIFOReplayBuffer,
        n_steps=n_steps,
        gamma=0.9,
        learning_rate=2e-3,
        learning_starts=100,
        buffer_size=5_000,
        train_freq=1,
        target_update_interval=50,
        # All steps explore: then the returns of several steps are those of the uniform policy,
        # so only the one-step learner is asked for the optimal values.
        exploration_final_eps=1.0,
        policy_kwargs={"net_arch": [32]},
        seed=0,
        device="cpu",
    )


@pytest.mark.parametrize("double_q", [False, True])
def test_it_learns_the_values_of_a_chain(double_q: bool) -> None:
    model = chain_agent(double_q, n_steps=1)
    model.learn(2_500)
    with torch.no_grad():
        learnt = model.q_net(torch.eye(5)).numpy()
    # Episodes of 10 steps are truncated: were that taken for death, all values would be too low.
    np.testing.assert_allclose(learnt, optimal(0.9), atol=0.05)


def test_truncation_taken_for_death_fails_that_test() -> None:
    model = chain_agent(False, n_steps=1, limit=Deadly)
    model.learn(2_500)
    with torch.no_grad():
        learnt = model.q_net(torch.eye(5)).numpy()
    assert np.abs(learnt - optimal(0.9)).max() > 0.1


def linear(model: ContinualDQN, online: list[list[float]], target: list[list[float]]) -> None:
    """Make Q a table over the five states of the chain."""
    for network, table in ((model.q_net, online), (model.q_net_target, target)):
        with torch.no_grad():
            layer: Any = network.q_net[0]
            layer.weight.copy_(torch.tensor(table).T)
            layer.bias.zero_()


@pytest.mark.parametrize(("double_q", "value"), [(False, 5.0), (True, 2.0)])
def test_targets_by_hand(double_q: bool, value: float) -> None:
    model = ContinualDQN(
        "MlpPolicy", Chain(), double_q=double_q, policy_kwargs={"net_arch": []}, device="cpu"
    )
    zero = [0.0, 0.0]
    # In state 1 the online network likes action 1, whose target value is 2; the other's is 5.
    linear(model, [zero, [3.0, 4.0], zero, zero, zero], [zero, [5.0, 2.0], zero, zero, zero])
    states = torch.eye(5)
    samples = ReplayBufferSamples(
        observations=states[[0, 0]],
        actions=torch.tensor([[1], [1]]),
        next_observations=states[[1, 1]],
        dones=torch.tensor([[0.0], [1.0]]),
        rewards=torch.tensor([[0.5], [0.5]]),
        discounts=torch.tensor([[0.81], [0.81]]),
    )
    expected = [[0.5 + 0.81 * value], [0.5]]
    assert model.td_targets(samples).tolist() == [pytest.approx(row) for row in expected]
    # Q(0, 1) = 0; Huber with delta 1.
    errors = [abs(row[0]) for row in expected]
    huber = [e - 0.5 if e > 1 else 0.5 * e * e for e in errors]
    assert model.td_loss(samples).item() == pytest.approx(np.mean(huber))


def test_the_target_network_follows_at_its_interval() -> None:
    model = chain_agent(False, 1)
    seen = []
    on_step = model._on_step

    def spy() -> None:
        before = [p.clone() for p in model.q_net_target.parameters()]
        on_step()
        now = list(model.q_net_target.parameters())
        changed = any(not torch.equal(a, b) for a, b in zip(before, now, strict=True))
        same = all(torch.equal(a, b) for a, b in zip(model.q_net.parameters(), now, strict=True))
        if changed:
            assert same
            seen.append(model.num_timesteps)

    model._on_step = spy  # type: ignore[method-assign]
    model.learn(250)
    assert seen == [150, 200, 250]  # at 50 and 100 nothing has been learnt yet


# Exploration.


def agent(num_envs: int = 4, prior: Any = (0.1, 0.9), **kwargs: Any) -> ContinualDQN:
    env = GymnasiumVecEnv(gym.make_vec(FLAPPY, num_envs=num_envs))
    exploration = Exploration(prior=prior)
    seed = kwargs.pop("seed", 0)
    return ContinualDQN(
        "MlpPolicy", env, exploration=exploration, seed=seed, device="cpu", **kwargs
    )


def choices(model: DQN, rate: float, rounds: int) -> np.ndarray:
    """Actions in one and the same situation, shape (rounds, num_envs)."""
    model.exploration_rate = rate
    observations = np.zeros((4, 8), np.float32)
    return np.stack([model.predict(observations)[0] for _ in range(rounds)])


def coins(model: DQN) -> float:
    """How well the number of deviating sub-environments agrees with a coin for each: a p-value."""
    greedy = model.predict(np.zeros((4, 8), np.float32), deterministic=True)[0]
    deviating = (choices(model, 0.5, 4_000) != greedy).sum(axis=1)
    # Each deviates with probability 1/2 * 1/2, on its own: a binomial distribution.
    expected = 4_000 * stats.binom(4, 0.25).pmf(range(5))
    return float(stats.chisquare(np.bincount(deviating, minlength=5), expected).pvalue)


def test_each_sub_environment_tosses_its_own_coin() -> None:
    assert coins(agent(prior=(0.5, 0.5))) > 0.001


def test_plain_dqn_fails_that_test() -> None:
    """The parent tosses one coin for all: the reason why we have our own."""
    np.random.seed(0)  # noqa: NPY002  # the parent knows only the global generator
    model = DQN("MlpPolicy", GymnasiumVecEnv(gym.make_vec(FLAPPY, num_envs=4)), device="cpu")
    model.action_space.seed(0)
    assert coins(model) < 1e-9


@pytest.mark.parametrize(
    ("prior", "flaps"),
    [((0.1, 0.9), 0.1), (None, 0.5), pytest.param((1.0, 0.0), 1.0, marks=pytest.mark.slow)],
)
def test_exploration_follows_the_prior(prior: Any, flaps: float) -> None:
    actions = choices(agent(prior=prior), 1.0, 3_000)
    assert (actions == 0).mean() == pytest.approx(flaps, abs=0.01)


def test_warm_up_follows_the_prior() -> None:
    model = agent(learning_starts=10**9)
    actions = np.stack([model._sample_action(10**9, n_envs=4)[0] for _ in range(3_000)])
    assert (actions == 0).mean() == pytest.approx(0.1, abs=0.01)


def test_without_exploration_it_is_greedy() -> None:
    model = agent()
    observations = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    model.exploration_rate = 0.0
    for deterministic in (True, False):
        actions, _ = model.predict(observations, deterministic=deterministic)
        plain, _ = DQN.predict(model, observations, deterministic=True)
        np.testing.assert_array_equal(actions, plain)
    model.exploration_rate = 1.0
    np.testing.assert_array_equal(model.predict(observations, deterministic=True)[0], plain)


def test_single_observations() -> None:
    model = agent()
    model.exploration_rate = 0.5
    action, _ = model.predict(np.zeros(8, np.float32))
    assert np.shape(action) == ()
    assert action in (0, 1)


def test_exploration_leaves_the_global_generator_alone() -> None:
    model = agent()
    np.random.seed(5)  # noqa: NPY002  # it is what must not be touched
    before = np.random.get_state()[1].tobytes()  # type: ignore[union-attr, index]  # noqa: NPY002
    choices(model, 0.5, 100)
    assert np.random.get_state()[1].tobytes() == before  # type: ignore[union-attr, index]  # noqa: NPY002


def epsilons(rule: Any, schedule: str = "conflict") -> dict[int, float]:
    """Epsilon at each step of a life of three phases of 400 steps."""
    life = shipped(schedule, make_game("FlappyBird")).with_steps(400)
    settings = DQNSettings(
        num_envs=4,
        hidden=(4,),
        learning_starts=1_199,
        epsilon=rule,
        exploration_initial_eps=0.9,
        exploration_final_eps=0.1,
        exploration_fraction=0.5,
    )
    model = build_agent("FlappyBird", life, settings)
    found = {}
    on_step = model._on_step

    def spy() -> None:
        on_step()
        found[model.num_timesteps] = model.exploration_rate

    model._on_step = spy  # type: ignore[method-assign]
    model.learn(life.total_steps)
    return found


def test_epsilon_over_the_whole_life() -> None:
    found = epsilons("global")
    for step, epsilon in found.items():
        assert epsilon == pytest.approx(max(0.1, 0.9 - 0.8 * step / 600))


def test_epsilon_over_each_phase() -> None:
    found = epsilons("per_phase")
    for step, epsilon in found.items():
        # What was set after the last step of a phase is for the first one of the next; the last
        # phase of all has none.
        into = 400 if step == 1_200 else step % 400
        assert epsilon == pytest.approx(max(0.1, 0.9 - 0.8 * into / 200)), step


def test_epsilon_constant() -> None:
    assert set(epsilons("constant").values()) == {0.1}


def test_epsilon_per_phase_needs_phases() -> None:
    with pytest.raises(ValueError, match="phases that end, but this environment, which has no"):
        ContinualDQN("MlpPolicy", Chain(), exploration=Exploration("per_phase"))
    frozen = make_training_env("FlappyBird", tiny.CONFLICT, 2, phase=0)
    with pytest.raises(ValueError, match="schedule 'conflict' stays in one phase for ever"):
        ContinualDQN("MlpPolicy", frozen, exploration=Exploration("per_phase"))
    # An expert, which is trained in one phase alone, explores as others do in that phase.
    alone = make_training_env("FlappyBird", tiny.CONFLICT.single(1), 2)
    expert = ContinualDQN("MlpPolicy", alone, exploration=Exploration("per_phase"))
    assert expert.phase_tracker.progress_of_phase(ahead=tiny.PHASE // 2) == 0.5


@pytest.mark.parametrize("prior", [(0.5, 0.6), (-0.1, 1.1), (0.2, 0.3, 0.5), (0.5,)])
def test_priors_that_are_none(prior: Any) -> None:
    with pytest.raises(ValueError, match="prior"):
        agent(prior=prior)


# Learning.


def learnt(seed: int, **kwargs: Any) -> bytes:
    model = agent(seed=seed, learning_starts=50, train_freq=1, **kwargs)
    model.learn(300)
    return bits(model)


@pytest.mark.parametrize("replay", [None, MixReplayBuffer])
def test_same_seed_same_bits(replay: Any) -> None:
    kwargs = {"replay_buffer_class": replay, "buffer_size": 200}
    once, again, other = (learnt(seed, **kwargs) for seed in (3, 3, 4))
    assert once == again != other


def test_learning_leaves_the_global_generator_alone() -> None:
    model = agent(learning_starts=50, replay_buffer_class=FIFOReplayBuffer, buffer_size=500)
    np.random.seed(5)  # noqa: NPY002  # it is what must not be touched
    before = np.random.get_state()[1].tobytes()  # type: ignore[union-attr, index]  # noqa: NPY002
    model.learn(300)
    assert np.random.get_state()[1].tobytes() == before  # type: ignore[union-attr, index]  # noqa: NPY002


def test_a_loss_that_is_no_number_stops_before_the_parameters_change() -> None:
    model = agent(learning_starts=50, replay_buffer_class=FIFOReplayBuffer, buffer_size=500)
    model.learn(200)
    replay = model.replay
    replay.rewards[:] = np.nan
    before = bits(model)
    with pytest.raises(DivergedError, match="at step 224 the loss is nan"):
        model.learn(100, reset_num_timesteps=False)
    assert bits(model) == before


@pytest.mark.parametrize("options", [{"layer_norm": True}, {"dropout": 0.5}])
def test_policy_options(options: dict[str, Any]) -> None:
    model = agent(policy_kwargs={"net_arch": [16, 16], **options}, learning_starts=50, train_freq=1)
    kinds = [type(layer).__name__ for layer in model.q_net.q_net]
    name = "LayerNorm" if "layer_norm" in options else "Dropout"
    assert kinds == ["Linear", name, "ReLU", "Linear", name, "ReLU", "Linear"]
    model.learn(300)
    observations = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    states = torch.as_tensor(observations)
    # In play nothing is left out: the same values each time, and those of the greedy actions.
    model.policy.set_training_mode(False)
    with torch.no_grad():
        assert torch.equal(model.q_net(states), model.q_net(states))
        assert torch.equal(model.q_net_target(states), model.q_net_target(states))
    model.policy.set_training_mode(True)
    with torch.no_grad():
        assert torch.equal(model.q_net(states), model.q_net(states)) == (name == "LayerNorm")
        assert torch.equal(model.q_net_target(states), model.q_net_target(states))


def test_dropout_follows_an_activation_that_it_does_not_commute_with() -> None:
    policy = {"net_arch": [16], "activation_fn": nn.Tanh, "dropout": 0.5, "layer_norm": True}
    layers = agent(policy_kwargs=policy).q_net.q_net
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Linear", "LayerNorm", "Tanh", "Dropout", "Linear"]
    layers.train()
    states = torch.ones(200, 8)
    before, after = layers[:3](states), layers[:4](states)
    remain = after != 0
    # What remains is scaled up, beyond what tanh can be.
    torch.testing.assert_close(after[remain], 2 * before[remain])
    assert 0.4 < float(remain.float().mean()) < 0.6


@pytest.mark.parametrize("activation", [None, "", "Tanh", "gelu", 1, ("tanh",)])
def test_an_activation_that_there_is_not(activation: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="activation"):
        DQNSettings(activation=activation)
    assert set(get_args(get_type_hints(DQNSettings)["activation"])) == set(ACTIVATIONS)


def test_settings_of_runs_before_there_was_an_activation_are_read() -> None:
    kept = {name: value for name, value in vars(DQNSettings()).items() if name != "activation"}
    assert DQNSettings.from_dict(kept) == DQNSettings()
    assert DQNSettings().activation == "relu"
    assert DQNSettings.from_dict({**kept, "activation": "tanh"}).activation == "tanh"


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_dropout_out_of_range(dropout: float) -> None:
    with pytest.raises(ValueError, match="dropout"):
        agent(policy_kwargs={"dropout": dropout})


# Settings.


@pytest.mark.parametrize("game", GAMES)
def test_build_agent_uses_the_settings(game: str) -> None:
    settings = DQNSettings(num_envs=3, hidden=(16,), n_steps=5, batch_size=7, buffer_size=300)
    schedule = shipped("conflict", make_game(game))
    model = build_agent(game, schedule, settings, seed=1)
    assert model.n_envs == 3
    assert model.batch_size == 7
    assert model.replay.n_steps == 5
    assert next(model.q_net.parameters()).shape[0] == 16
    assert model.get_env().get_attr("clock")[0].schedule == schedule  # type: ignore[union-attr]
    assert model.exploration is not None
    assert (model.exploration.prior is None) == game.endswith("Catcher")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size = 0"),
        ({"buffer_size": 50, "batch_size": 64}, "buffer_size = 50 is smaller"),
        ({"n_steps": 0}, "n_steps = 0"),
        ({"gradient_steps": 0}, "gradient_steps = 0"),
        ({"num_envs": 0}, "num_envs = 0"),
        ({"gamma": 1.5}, "gamma = 1.5"),
        ({"learning_rate": float("nan")}, "learning_rate = nan"),
        ({"exploration_initial_eps": 2.0}, "exploration_initial_eps = 2"),
        ({"hidden": (0,)}, "hidden"),
        ({"dropout": 1.0}, "dropout = 1"),
        ({"optimizer": "adams"}, "did you mean 'adam'"),
        ({"epsilon": "per_fase"}, "did you mean 'per_phase'"),
    ],
)
def test_settings_that_make_no_sense(change: dict[str, Any], message: str) -> None:
    schedule = shipped("shrink", make_game("FlappyBird"))
    with pytest.raises(ValueError, match=message):
        build_agent("FlappyBird", schedule, DQNSettings(**change), seed=0)


def test_a_buffer_smaller_than_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="buffer_size = 20 is smaller than batch_size = 32"):
        agent(replay_buffer_class=FIFOReplayBuffer, buffer_size=20)


def test_memory_optimisation_is_refused() -> None:
    with pytest.raises(ValueError, match="optimize_memory_usage"):
        agent(replay_buffer_class=MixReplayBuffer, optimize_memory_usage=True, buffer_size=100)


def test_parts_and_observations_that_keep_changing_are_refused() -> None:
    env = VecNormalize(GymnasiumVecEnv(gym.make_vec(FLAPPY, num_envs=2, schedule="shrink")))
    with pytest.raises(ValueError, match="VecNormalize keeps changing"):
        ContinualDQN("MlpPolicy", env, parts=[L2()], device="cpu")


@pytest.mark.parametrize("part", [EWC(), MER(), AGEM(), Clone(), Clear()])
def test_parts_that_watch_replay_need_one_that_tells(part: Part) -> None:
    env = GymnasiumVecEnv(gym.make_vec(FLAPPY, num_envs=2, schedule="shrink"))
    with pytest.raises(ValueError, match="ReplayBuffer does not tell where transitions"):
        ContinualDQN("MlpPolicy", env, parts=[part], device="cpu")


# The target network.


def check_made_up_for(kind: type[ContinualDQN]) -> None:
    """A target that waits for four updates ends where four updates towards one place lead."""
    tau, every = 0.1, 5
    model = tiny.agent(
        Reptile(every=every, eps=1.0), kind=kind, tau=tau, target_update_interval=tiny.NUM_ENVS
    )
    tiny.live(model, tiny.LEARNING_STARTS)  # nothing is learnt yet
    expected = {name: t.clone() for name, t in model.q_net_target.state_dict().items()}
    tiny.live(model, every * tiny.NUM_ENVS, reset_num_timesteps=False)
    for _ in range(every - 1):  # the first one came before the first gradient step
        for name, tensor in model.q_net.state_dict().items():
            expected[name] = (1 - tau) * expected[name] + tau * tensor
    for name, tensor in model.q_net_target.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


def test_target_updates_that_had_to_wait_are_made_up_for() -> None:
    check_made_up_for(ContinualDQN)


def test_one_update_for_all_that_waited_fails_that_test() -> None:
    class Once(ContinualDQN):
        def _synchronise(self) -> None:
            self._syncs_due = min(self._syncs_due, 1)
            super()._synchronise()

    with pytest.raises(AssertionError):
        check_made_up_for(Once)


# What others bring along.


def test_callbacks_of_stable_baselines3_work(tmp_path: Path) -> None:
    model = tiny.agent()
    held_out = make_training_env("FlappyBird", tiny.CONFLICT, 2, phase=1, max_episode_steps=40)
    evaluation = EvalCallback(
        held_out, n_eval_episodes=2, eval_freq=30, log_path=str(tmp_path), verbose=0
    )
    checkpoints = CheckpointCallback(40, str(tmp_path), name_prefix="agent")
    model.learn(tiny.LIFE, callback=[evaluation, checkpoints])
    assert len(np.load(tmp_path / "evaluations.npz")["results"]) == 3
    found = sorted(tmp_path.glob("agent_*_steps.zip"))
    assert len(found) == 2
    loaded = ContinualDQN.load(found[-1], device="cpu")
    assert loaded.num_timesteps == 320


def test_learning_leaves_nothing_in_the_temporary_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each call of ``learn`` the parent makes a folder there, though it logs to no file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for verbose in (0, 1):
        plain = DQN("MlpPolicy", "CartPole-v1", device="cpu", verbose=verbose).learn(4)
        (left,) = tmp_path.glob("SB3-*")
        left.rmdir()
        before = set(tmp_path.iterdir())  # torch keeps an empty folder there, always the same
        model = tiny.agent(verbose=verbose)
        for _ in range(2):
            model.learn(8)
            assert set(tmp_path.iterdir()) == before
        shown = [type(output) for output in model.logger.output_formats]
        assert shown == [type(output) for output in plain.logger.output_formats]
        assert bool(shown) == bool(verbose)
    # The next call may log elsewhere, as in the parent.
    model.tensorboard_log = str(tmp_path / "log")
    model.learn(8)
    assert set(tmp_path.iterdir()) == {*before, tmp_path / "log"}


def test_tensorboard_is_written(tmp_path: Path) -> None:
    model = tiny.agent(EWC(samples=20), tensorboard_log=str(tmp_path))
    model.learn(tiny.LIFE, log_interval=1, tb_log_name="life")
    events = EventAccumulator(str(tmp_path / "life_1")).Reload()
    assert {"train/loss", "rollout/exploration_rate", "replay/stored_phase_0"} <= set(
        events.Tags()["scalars"]
    )
    losses = [event.value for event in events.Scalars("train/loss")]
    assert losses
    assert all(np.isfinite(losses))


def test_a_gradient_that_is_not_finite_stops_learning_without_parts_too() -> None:
    model = tiny.agent()
    model.q_net.q_net[-1].bias.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(DivergedError, match=f"at step {tiny.LEARNING_STARTS + 4} the loss is"):
        tiny.live(model)
    assert all(bool(p.isfinite().all()) for p in model.q_net.parameters())


# Mistakes.


@pytest.mark.parametrize(
    ("parts", "message"),
    [(["ewc"], "'ewc', which is no part: make one"), ([EWC], "which is no part: make one")],
)
def test_what_is_no_part(parts: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        ContinualDQN("MlpPolicy", Chain(), parts=parts)


def test_a_part_serves_one_agent() -> None:
    part = EWC()
    tiny.agent(part)
    with pytest.raises(ValueError, match=r"'ewc' serves another agent.*make a new part"):
        tiny.agent(part)


@dataclass
class Late(Part):
    """A part of somebody else that looks at the learner after it has taken its generator."""

    name: ClassVar[str] = "late"

    def bind(self, learner: Any, rng: np.random.Generator) -> None:
        super().bind(learner, rng)
        if learner.q_net.net_arch != [8, 8]:
            raise ValueError("two layers of 8, please")


def test_parts_of_an_agent_that_came_to_nothing_may_serve_another() -> None:
    drift = tiny.life(shipped("drift", make_game("FlappyBird")))
    sgd = {"optimizer_class": torch.optim.SGD}
    for parts, wrong, right, message in (
        ([EWC()], {"env": drift}, {}, "told where phases end"),
        ([SI(), MER(algorithm="1")], {}, {"policy": sgd}, "plain SGD"),
        ([Clear(), Late()], {}, {"policy": {"net_arch": [8, 8]}}, "two layers"),
        ([EWC()], {"replay": ReplayBuffer, "n_steps": 1}, {}, "does not tell where"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny.agent(*parts, **wrong)
        served = tiny.agent(*parts, **right)
        assert served.parts == parts
        # But what serves one is not set free by the failure of another.
        for _ in range(2):
            with pytest.raises(ValueError, match="serves another agent"):
                tiny.agent(*parts, **right)


def test_parts_that_were_refused_an_environment_may_serve_another(tmp_path: Path) -> None:
    tiny.agent(Late(), policy={"net_arch": [8, 8]}).save(tmp_path / "agent")
    drift, parts = tiny.life(shipped("drift", make_game("FlappyBird"))), [EWC(), Late()]
    with pytest.raises(ValueError, match="told where phases end"):
        ContinualDQN.load(tmp_path / "agent", drift, "cpu", parts=parts)
    assert ContinualDQN.load(tmp_path / "agent", tiny.life(), "cpu", parts=parts).parts == parts


def test_what_agents_cannot_be_built_of() -> None:
    with pytest.raises(ValueError, match="did you mean 'FlappyBird'"):
        build_agent("FlappyBrid", tiny.CONFLICT)
    with pytest.raises(TypeError, match=r"method = 'ewc' is no method: use METHODS\[...\]"):
        build_agent("FlappyBird", tiny.CONFLICT, method="ewc")  # type: ignore[arg-type]
    for wrong in ({"batch_size": 16.5}, {"learning_starts": -5}, {"learning_starts": 0.5}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"{name} = .* must be a whole number, at least"):
            DQNSettings(**wrong)  # type: ignore[arg-type]


def test_a_stationary_game_is_a_life_without_end() -> None:
    agent = build_agent("Catcher", stationary(), DQNSettings(num_envs=2, learning_starts=20))
    agent.learn(200)
    assert agent.num_timesteps == 200
    assert agent._n_updates > 0


def test_a_prior_that_sums_to_one_but_for_the_last_digits() -> None:
    prior = Exploration("global", (0.333333, 0.666666))
    drawn = prior.draw(np.random.default_rng(0), 2, 30_000)
    assert abs(drawn.mean() - 2 / 3) < 4 * np.sqrt(2 / 9 / 30_000)


def test_a_vector_environment_of_gymnasium_is_adapted(tmp_path: Path) -> None:
    games = gym.make_vec(FLAPPY, num_envs=4, schedule=tiny.CONFLICT)
    one, other = tiny.agent(env=games), tiny.agent()
    assert type(one.env) is GymnasiumVecEnv
    assert one.env.env is games
    for model in (one, other):
        tiny.live(model, tiny.PHASE)
    assert not list(tiny.differences(tiny.inside(one), tiny.inside(other)))
    one.set_env(gym.make_vec(FLAPPY, num_envs=4, schedule=tiny.CONFLICT))
    one.save(tmp_path / "agent")
    loaded = ContinualDQN.load(tmp_path / "agent", gym.make_vec(FLAPPY, num_envs=2), device="cpu")
    assert type(loaded.env) is GymnasiumVecEnv
    with pytest.raises(ValueError, match="SAME_STEP"):
        tiny.agent(env=gym.make_vec(FLAPPY, num_envs=4, autoreset_mode="NextStep"))


def test_its_seed_may_be_a_number_of_numpy() -> None:
    one, other = tiny.agent(seed=5), tiny.agent(seed=np.int64(5))  # type: ignore[arg-type]
    assert type(other.seed) is int
    assert not list(tiny.differences(tiny.inside(one), tiny.inside(other)))
    assert one.env is not None
    assert other.env is not None
    np.testing.assert_array_equal(one.env.reset(), other.env.reset())
    other.set_random_seed(np.uint8(5))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"seed = 1\.5 must be a whole number"):
        tiny.agent(seed=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [("eps", 1e300), ("eps", np.nan), ("weight_decay", 1e300), ("betas", (0.9, np.nan))],
)
def test_options_of_an_optimiser_that_pytorch_cannot_compute_with(name: str, value: Any) -> None:
    """Some of them PyTorch refuses, and the others end in the middle of a step."""
    with pytest.raises(ValueError, match=f"{name} of the optimizer|Invalid {name}|Invalid beta"):
        tiny.agent(policy={"optimizer_kwargs": {name: value}})


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (DQNSettings, "learning_rate"),
        *((each.settings, "learning_rate") for each in ALGORITHMS.values()),
        (PTDQN, "rate"),
    ],
)
def test_a_step_size_that_pytorch_cannot_compute_with(make: Any, name: str) -> None:
    """Wherever one is given to an optimiser."""
    make(**{name: LARGEST_STEP})
    with pytest.raises(ValueError, match=rf"{name} = 1e\+31 must be .*1e\+30"):
        make(**{name: 1e31})


def test_an_option_of_an_optimiser_may_be_a_tensor() -> None:
    learner = tiny.agent(policy={"optimizer_kwargs": {"eps": torch.tensor(1e-8)}})
    assert isinstance(learner.policy.optimizer.param_groups[0]["eps"], torch.Tensor)
    with pytest.raises(ValueError, match=r"eps of the optimizer = 1\.0[0-9]*e\+35 must be"):
        tiny.agent(policy={"optimizer_kwargs": {"eps": torch.tensor(1e35)}})
