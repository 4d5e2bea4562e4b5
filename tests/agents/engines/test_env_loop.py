"""Between two steps of any environments: the same bits, and the same view, as SB3's own loop."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import tiny
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.vec_env import DummyVecEnv, VecCheckNan, VecEnvWrapper

from continual_arcade.agents import (
    ContinualDQN,
    Exploration,
    GymnasiumVecEnv,
    continual_dqn,
    make_training_env,
)
from continual_arcade.agents.engines.env_loop import EnvLoop
from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.l2 import L2
from continual_arcade.agents.methods.reptile import Reptile
from continual_arcade.agents.replay import (
    BalancedReplayBuffer,
    MixReplayBuffer,
    ReservoirReplayBuffer,
)
from continual_arcade.envs import make_game, shipped

STEPS = 240
LIMIT = 13
"""Steps after which an episode is cut off, so that some are and others end by themselves."""


def cartpole(count: int = 1) -> DummyVecEnv:
    return DummyVecEnv(
        [lambda: Monitor(gym.make("CartPole-v1", max_episode_steps=LIMIT)) for _ in range(count)]
    )


def phased() -> VecCheckNan:
    """Games with phases, in a wrapper that the loop of their own does not know."""
    return VecCheckNan(tiny.life())


def labelled() -> VecCheckNan:
    schedule = shipped("conflict", make_game("AdditionFacts")).with_steps(80)
    return VecCheckNan(make_training_env("AdditionFacts", schedule, 2))


class Doubles(VecEnvWrapper):
    """Gives rewards, and observations, of kinds that are not stored as they are."""

    def __init__(self, env: Any, kind: Any) -> None:
        super().__init__(env)
        self.kind = kind

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations.astype(self.kind), 0.1 * rewards.astype(np.float64), dones, infos


class Notes(BaseCallback):
    """Notes all that it is shown at each step, and how the agent stands then."""

    def __init__(self, stop: int = 10**9) -> None:
        super().__init__()
        self.stop = stop
        self.seen: list[Any] = []

    def _on_step(self) -> bool:
        agent: Any = self.model
        names = set(self.locals) - {"callback", "self", "env", "replay_buffer", "writer"}
        shown = {name: self.locals[name] for name in names if name in LOCALS}
        assert self.locals["self"] is agent
        assert self.locals["env"] is agent.env
        assert self.locals["replay_buffer"] is agent.replay_buffer
        self.seen.append(
            copy.deepcopy(
                {
                    "calls": (self.num_timesteps, self.n_calls),
                    "shown": {name: plain(value) for name, value in sorted(shown.items())},
                    "stands": (agent._n_updates, agent._n_calls, agent._episode_num),
                    "rates": (agent.exploration_rate, agent._current_progress_remaining),
                    "last": (plain(agent._last_obs), plain(agent._last_original_obs)),
                    "replay": (agent.replay.seen, agent.replay.pos, agent.replay.full),
                    "stored": plain(vars_of(agent.replay.latest)),
                    "placed": plain(agent.replay.placed),
                    "log": plain(dict(agent.logger.name_to_value)),
                    "bits": tiny.bits(agent),
                    "training": agent.policy.training,
                    "phase": (agent.phase_tracker.step, plain(agent.phase_tracker.phases)),
                }
            )
        )
        return self.num_timesteps < self.stop


class Ends(Notes):
    """Watches the ends of rollouts, too."""

    def _on_rollout_end(self) -> None:
        self.seen.append(("end", self.model._n_updates, tiny.bits(self.model)))  # type: ignore[attr-defined,arg-type]


LOCALS = frozenset(
    {
        *("action_noise", "learning_starts", "log_interval", "num_collected_steps"),
        *("num_collected_episodes", "continue_training", "actions", "buffer_actions", "new_obs"),
        *("rewards", "dones", "infos", "idx", "done"),
    }
)


def vars_of(transitions: Any) -> list[Any]:
    return [getattr(transitions, name) for name in type(transitions).__slots__]


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: plain(each) for key, each in sorted(value.items()) if key not in ("t", "time/fps")
        }
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray):  # as bytes: NaN is to equal NaN
        return value.shape, value.dtype.name, value.tobytes()
    return value


def made(env: Any, **changes: Any) -> ContinualDQN:
    return tiny.agent(env=env, engine=changes.pop("engine", "compiled"), **changes)


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Do something in the quick way, and in the ordinary one."""

    def results(do: Callable[[], Any]) -> list[Any]:
        quick = do()
        with monkeypatch.context() as patch:
            patch.setattr(continual_dqn, "is_served_between", lambda agent: False)
            return [quick, do()]

    return results


def assert_same(quick: ContinualDQN, ordinary: ContinualDQN) -> None:
    assert isinstance(quick._fused, EnvLoop)
    assert ordinary._fused is None
    assert [*tiny.differences(tiny.inside(quick), tiny.inside(ordinary))] == []
    assert plain(vars_of(quick.replay.latest)) == plain(vars_of(ordinary.replay.latest))


CASES: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "one": (cartpole, {}),
    "three": (lambda: cartpole(3), {"gradient_steps": -1, "train_freq": 2}),
    "four steps": (cartpole, {"train_freq": 4, "gradient_steps": 2}),
    "episodes": (cartpole, {"train_freq": (2, "episode"), "gradient_steps": -1}),
    "nothing learnt": (cartpole, {"gradient_steps": 0}),
    "a moving target": (cartpole, {"tau": 0.01, "target_update_interval": 1}),
    "an average": (lambda: cartpole(2), {"average": 0.99}),
    "reservoir": (lambda: cartpole(2), {"replay": ReservoirReplayBuffer, "buffer_size": 50}),
    "mix": (cartpole, {"replay": MixReplayBuffer, "buffer_size": 60}),
    "phases": (phased, {"replay": BalancedReplayBuffer}),
    "parts": (phased, {"parts": (L2(lam=0.5), Reptile(every=5, eps=0.4))}),
    "labels": (labelled, {"loss": "cross_entropy", "n_steps": 1}),
    "single rewards": (cartpole, {"n_steps": 1, "optimizer": torch.optim.SGD}),
    "double rewards": (lambda: Doubles(cartpole(2), np.float32), {}),
    "other observations": (lambda: Doubles(cartpole(2), np.float64), {}),
    "a vector environment": (
        lambda: GymnasiumVecEnv(
            gym.make_vec(
                "CartPole-v1",
                num_envs=2,
                vectorization_mode="sync",
                vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
            )
        ),
        {},
    ),
    "per phase": (phased, {"epsilon": "per_phase"}),
    "prior": (cartpole, {"prior": (0.8, 0.2)}),
}


def trained(name: str, callback: Any = None, log_interval: int | None = 3) -> ContinualDQN:
    make, changes = CASES[name]
    changes = copy.deepcopy(changes)
    parts = changes.pop("parts", ())
    optimizer = changes.pop("optimizer", None)
    explores = {key: changes.pop(key) for key in ("epsilon", "prior") if key in changes}
    if optimizer is not None:
        changes["policy"] = {"optimizer_class": optimizer}
    agent = tiny.agent(*parts, env=make(), engine="compiled", **changes)
    agent.exploration = Exploration(**explores)
    agent.learn(STEPS, callback, log_interval=log_interval)  # type: ignore[arg-type]
    agent.learn(40, callback, log_interval=log_interval, reset_num_timesteps=False)  # type: ignore[arg-type]
    return agent


SEEN_AT_EACH_STEP = ("reservoir", "other observations", "episodes", "parts", "prior")
"""Cases that callbacks look at in a quick test, too."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in SEEN_AT_EACH_STEP else ())
        for name in CASES
    ],
)
def test_the_bits_are_those_of_the_ordinary_loop(name: str, both: Any) -> None:
    quick, ordinary = both(lambda: trained(name))
    assert_same(quick, ordinary)
    assert quick._n_updates > 0 or name == "nothing learnt"


@pytest.mark.one_in(7)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", [Notes, Ends])
def test_callbacks_see_the_same(name: str, kind: type[Notes], both: Any) -> None:
    noted = []

    def do() -> ContinualDQN:
        callback = kind()
        noted.append(callback)
        return trained(name, CallbackList([callback]))

    assert_same(*both(do))
    quick, ordinary = (callback.seen for callback in noted)
    assert len(quick) == len(ordinary)
    for step, (one, other) in enumerate(zip(quick, ordinary, strict=True)):
        assert one == other, step
    infos = [info for note in quick if "shown" in note for info in note["shown"]["infos"]]
    assert any("terminal_observation" in info for info in infos)


def test_episodes_end_in_both_ways() -> None:
    callback = Notes()
    trained("one", callback)
    ends = [info for note in callback.seen for info in note["shown"]["infos"] if "episode" in info]
    assert {info["TimeLimit.truncated"] for info in ends} == {True, False}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("stop", [7, 101])
@pytest.mark.parametrize("name", ["one", "three", "four steps", "episodes"])
def test_a_callback_may_stop_it(name: str, stop: int, both: Any) -> None:
    quick, ordinary = both(lambda: trained(name, Notes(stop)))
    assert quick.num_timesteps < STEPS
    assert_same(quick, ordinary)


def test_the_log_is_the_same(tmp_path: Any, both: Any) -> None:
    folders = iter(("quick", "ordinary"))

    def do() -> list[Any]:
        folder = tmp_path / next(folders)
        agent = made(cartpole(2), engine="compiled")
        agent.set_logger(configure(str(folder), ["json"]))
        agent.learn(STEPS, log_interval=2)
        agent.logger.close()
        lines = (folder / "progress.json").read_text().splitlines()
        return [
            {key: value for key, value in json.loads(line).items() if "time/" not in key}
            for line in lines
        ]

    quick, ordinary = both(do)
    assert len(quick) > 5
    assert any("train/loss" in line for line in quick)
    assert quick == ordinary


def test_the_ordinary_loop_is_not_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    entered = []
    theirs = OffPolicyAlgorithm.collect_rollouts

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        entered.append(self.num_timesteps)
        return theirs(self, *args, **kwargs)

    monkeypatch.setattr(OffPolicyAlgorithm, "collect_rollouts", counted)
    made(cartpole()).learn(STEPS)
    assert not entered
    made(cartpole(), engine="torch").learn(20)
    assert len(entered) == 20


# What is done to an agent while it lives.


def new_head(agent: Any) -> None:
    head = torch.nn.Linear(8, 2)
    with torch.no_grad():
        for i, tensor in enumerate(head.parameters()):
            tensor.copy_(torch.linspace(-0.1, 0.2 + i, tensor.numel()).reshape(tensor.shape))
    agent.q_net.q_net[2] = head
    agent.policy.optimizer = torch.optim.Adam(agent.q_net.parameters(), lr=1e-3)


def own_log(agent: Any) -> None:
    agent.dump_logs = lambda: agent.logger.record("own", 1.0)


def shrunk_moments(agent: Any) -> None:
    state = copy.deepcopy(agent.optimizer.state_dict())
    for moments in state["state"].values():
        moments["exp_avg"].mul_(-3.0)
    agent.optimizer.load_state_dict(state)


DONE_TO_IT: dict[str, Callable[[Any], object]] = {
    "head": new_head,
    "frozen": lambda agent: agent.q_net.q_net[0].requires_grad_(False),
    "weights": lambda agent: agent.q_net.load_state_dict(
        {key: 0.5 * tensor for key, tensor in agent.q_net.state_dict().items()}
    ),
    "moments": shrunk_moments,
    "generators": lambda agent: setattr(agent, "_exploration_rng", np.random.default_rng(5)),
    "rate": lambda agent: setattr(agent, "lr_schedule", lambda left: 0.01),
    "exploration rate": lambda agent: setattr(agent, "exploration_schedule", lambda left: left),
    "exploration": lambda agent: setattr(agent, "exploration", Exploration(prior=(0.9, 0.1))),
    "their exploration": lambda agent: setattr(agent, "exploration", None),
    "batch": lambda agent: setattr(agent, "batch_size", 5),
    "gradient steps": lambda agent: setattr(agent, "gradient_steps", 3),
    "frequency": lambda agent: setattr(agent, "train_freq", TrainFreq(2, TrainFrequencyUnit.STEP)),
    "starts": lambda agent: setattr(agent, "learning_starts", 150),
    "engine": lambda agent: setattr(agent, "engine", "torch"),
    "replay forgotten": lambda agent: agent.reinitialise(False, False, True),
    "column": lambda agent: agent.replay.add_column("mine", (), np.float32, 7.0),
    "parts": lambda agent: setattr(agent, "parts", []),
    "actions": lambda agent: agent.env.reset(),
    "training": lambda agent: agent.policy.set_training_mode(True),
    "log": own_log,
    "copy": lambda agent: (copy.deepcopy(agent.replay), pickle.dumps(agent.replay)),
}


class Does(Notes):
    """Does something to the agent, once."""

    def __init__(self, do: Callable[[Any], object], when: int) -> None:
        super().__init__()
        self.do: Callable[[Any], object] | None = do
        self.when = when

    def _on_step(self) -> bool:
        if self.do is not None and self.num_timesteps >= self.when:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                self.do(self.model)
            self.do = None
        return super()._on_step()


@pytest.mark.one_in(7)
@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("name", DONE_TO_IT)
def test_what_is_done_to_it_is_seen_as_in_the_ordinary_loop(
    name: str, every: int, both: Any
) -> None:
    def do() -> ContinualDQN:
        agent = tiny.agent(Reptile(every=5), env=cartpole(), engine="auto", train_freq=every)
        callback = Does(DONE_TO_IT[name], 102)
        agent.set_random_seed(0)  # of what the parent draws from
        agent.learn(STEPS, callback, log_interval=4)
        notes.append(callback.seen)
        return agent

    notes: list[Any] = []
    quick, ordinary = both(do)
    assert [*tiny.differences(tiny.inside(quick), tiny.inside(ordinary))] == []
    for step, (one, other) in enumerate(zip(*notes, strict=True)):
        assert one == other, step


class Moves(BaseCallback):
    """Sets another environment in the middle of a rollout."""

    def __init__(self, env: Any) -> None:
        super().__init__()
        self.env = env

    def _on_step(self) -> bool:
        if self.num_timesteps == 102:
            self.model.set_env(self.env, force_reset=False)
        return True


def test_another_environment_may_be_set_in_the_middle(both: Any) -> None:
    def do() -> ContinualDQN:
        agent = made(cartpole(), train_freq=4)
        other = cartpole()
        other.seed(3)
        other.reset()
        agent.learn(STEPS, Moves(other))
        return agent

    quick, ordinary = both(do)
    assert [*tiny.differences(tiny.inside(quick), tiny.inside(ordinary))] == []


# What others override.


class Counts(ContinualDQN):
    """Overrides what is called once a rollout."""

    rollouts = 0
    told = 0

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> Any:
        self.rollouts += 1
        return super().collect_rollouts(*args, **kwargs)

    def _tell_phases(self) -> None:
        self.told += 1
        super()._tell_phases()


def test_who_overrides_what_is_called_once_a_rollout_is_called_as_often(both: Any) -> None:
    quick, ordinary = both(lambda: tiny.live(made(cartpole(), kind=Counts), STEPS))
    assert_same(quick, ordinary)
    assert (quick.rollouts, quick.told) == (STEPS, STEPS)


class Watches(Part):
    """A part that is told of each step."""

    name = "watches"
    steps = 0

    def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
        self.steps += 1


def test_parts_that_want_to_be_told_are_told_in_the_ordinary_loop() -> None:
    part = Watches()
    agent = tiny.live(tiny.agent(part, env=cartpole(), engine="compiled"), 50)
    assert agent._fused is None
    assert part.steps == 50


class Broken(VecEnvWrapper):
    """Gives what is no number, once."""

    def __init__(self, env: Any, what: str, value: float) -> None:
        super().__init__(env)
        self.what, self.value, self.steps = what, value, 0

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = self.venv.step_wait()
        self.steps += 1
        if self.steps == 60:
            (observations if self.what == "observation" else rewards)[0] = self.value
        return observations, rewards, dones, infos


@pytest.mark.parametrize("what", ["observation", "reward"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_before_it_is_stored(what: str, value: float) -> None:
    agent = made(Broken(cartpole(2), what, value))
    with pytest.raises(ValueError, match=rf"at step 120 sub-environment 0 gave the {what}"):
        agent.learn(STEPS)
    assert isinstance(agent._fused, EnvLoop)
    pending = agent.replay.accumulator.pending
    assert agent.replay.seen + pending == 118


def test_a_large_number_is_none_the_less_one(both: Any) -> None:
    quick, ordinary = both(
        lambda: tiny.live(made(Broken(cartpole(), "observation", 1e30), learning_starts=100), 90)
    )
    assert_same(quick, ordinary)


def test_what_diverges_is_said() -> None:
    agent = made(cartpole(), learning_rate=1e30)
    with pytest.raises(continual_dqn.DivergedError, match="learning has diverged"):
        agent.learn(STEPS)


def test_a_copy_goes_on_as_the_original_does() -> None:
    agent = tiny.live(made(cartpole()), 100)
    twin = copy.deepcopy(agent)
    for one in (agent, twin):
        tiny.live(one, 100, reset_num_timesteps=False)
    assert [*tiny.differences(tiny.inside(agent), tiny.inside(twin))] == []
    with pytest.raises(TypeError, match="a compiled loop holds addresses"):
        copy.copy(agent._fused)
