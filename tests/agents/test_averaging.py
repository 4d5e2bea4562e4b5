"""The average of an agent's weights: what it is, that nothing learns from it, and its files."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.callbacks import BaseCallback

from continual_arcade.agents import METHODS, ContinualDQN, DQNSettings, build_agent
from continual_arcade.agents.averaging import WeightAverage
from continual_arcade.agents.files.saving import KIND
from continual_arcade.agents.files.state_files import load_state, save_state
from continual_arcade.agents.kernels.arithmetic import share_of_average

ENGINES = ("torch", "compiled")
Weights = list[np.ndarray[Any, Any]]


def weights(network: Any) -> Weights:
    return [tensor.detach().numpy().astype(np.float64) for tensor in network.parameters()]


class Watch(BaseCallback):
    """Keeps the weights at each step, and how many updates had been made."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, Weights]] = []

    def look(self) -> None:
        agent: Any = self.model
        self.seen.append((agent._n_updates, [w.copy() for w in weights(agent.q_net)]))

    def _on_step(self) -> bool:
        self.look()
        return True

    def _on_training_end(self) -> None:
        self.look()


def by_hand(seen: list[tuple[int, Weights]], decay: float) -> Weights:
    """Each weight counted by how many updates it is old, as if all of a step were the last one."""
    sums: Any = [np.zeros_like(w) for w in seen[0][1]]
    total, last = 0.0, seen[-1][0]
    for (before, _), (after, now) in pairwise(seen):
        share = sum(decay ** (last - update) for update in range(before + 1, after + 1))
        total += share
        for sum_, w in zip(sums, now, strict=True):
            sum_ += share * w
    return [sum_ / total for sum_ in sums]


def furthest(ones: Weights, others: Weights) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(ones, others, strict=True))


@pytest.fixture(scope="module")
def finetuned() -> Callable[[Any], tuple[ContinualDQN, Watch]]:
    """An agent without a method, of each engine; to be looked at only."""
    return cache(trained)


def trained(engine: Any, method: str = "finetune", **changes: Any) -> tuple[ContinualDQN, Watch]:
    settings: dict[str, Any] = {
        "hidden": (8,),
        "batch_size": 16,
        "num_envs": 4,
        "gradient_steps": 3,
        "learning_starts": 32,
        "buffer_size": 200,
        "target_update_interval": 40,
        "average": 0.95,
        "engine": engine,
        **changes,
    }
    agent = build_agent("FlappyBird", tiny.CONFLICT, DQNSettings(**settings), 0, METHODS[method])
    watch = Watch()
    agent.learn(tiny.LIFE, watch)
    return agent, watch


@pytest.mark.parametrize(
    ("method", "engine"),
    [
        ("finetune", "torch"),
        *product(["finetune", "mer", "ewc", "mer-faithful"], ["compiled"]),
        # Of the last one 4,000 single examples.
        *(
            pytest.param(method, "torch", marks=pytest.mark.slow)
            for method in ("mer", "ewc", "mer-faithful")
        ),
    ],
)
def test_it_is_the_mean_of_the_weights_along_the_way(
    method: str, engine: str, finetuned: Any
) -> None:
    agent, watch = finetuned(engine) if method == "finetune" else trained(engine, method)
    assert agent.engine_report.startswith(engine)
    average = agent.weight_average
    assert average is not None
    assert average.updates == agent._n_updates > 100
    found, expected = weights(average.network), by_hand(watch.seen, 0.95)
    assert furthest(found, expected) < 2e-6
    # Whatever is easily got wrong is seen: another decay, last weights, no normalisation at first.
    assert furthest(found, by_hand(watch.seen, 0.94)) > 2e-5
    assert furthest(found, weights(agent.q_net)) > 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_learns_from_it(engine: str, finetuned: Any) -> None:
    with_it, without = finetuned(engine)[0], trained(engine, average=0.0)[0]
    assert without.weight_average is None
    assert without.averaged is None
    assert [w.tobytes() for w in weights(with_it.q_net)] == [
        w.tobytes() for w in weights(without.q_net)
    ]
    assert np.array_equal(with_it.replay.actions, without.replay.actions)


def test_where_compiled_code_is_entered_makes_no_difference(finetuned: Any) -> None:
    whole = finetuned("compiled")[0]
    pieces = build_agent("FlappyBird", tiny.CONFLICT, replace_of(whole), 0)
    pieces.learn(tiny.LIFE)
    assert bits(whole) == bits(pieces)


def replace_of(agent: ContinualDQN) -> DQNSettings:
    return DQNSettings(
        hidden=(8,),
        batch_size=16,
        num_envs=4,
        gradient_steps=3,
        learning_starts=32,
        buffer_size=200,
        target_update_interval=40,
        average=agent.average,
        engine="compiled",
    )


def bits(agent: ContinualDQN) -> list[bytes]:
    assert agent.weight_average is not None
    return [tensor.detach().numpy().tobytes() for tensor in agent.weight_average.parameters]


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_saved_and_resumed_bit_for_bit(engine: Any, tmp_path: Path) -> None:
    whole = tiny.agent(engine=engine, average=0.9)
    whole.learn(tiny.LIFE, tiny.SaveAt(tiny.LIFE // 2, tmp_path / "half.zip"))
    second = ContinualDQN.load(tmp_path / "half.zip", tiny.life())
    half = bits(second)
    second.learn(tiny.LIFE - second.num_timesteps, reset_num_timesteps=False)
    assert bits(second) == bits(whole) != half
    assert second.weight_average is not None
    assert whole.weight_average is not None
    assert second.weight_average.updates == whole.weight_average.updates


@pytest.mark.parametrize("engine", ENGINES)
def test_it_plays_by_the_average_and_the_agent_by_the_last_weights(engine: Any) -> None:
    agent = tiny.agent(engine=engine, average=0.9)
    agent.learn(tiny.LIFE)
    seen = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)
    averaged = agent.averaged
    assert averaged is not None
    assert averaged.observation_space == agent.observation_space
    for player, network in ((agent, agent.q_net), (averaged, averaged.q_net)):
        with torch.no_grad():
            best = network(torch.from_numpy(seen)).argmax(1).numpy()
        assert np.array_equal(player.predict(seen, deterministic=True)[0], best)  # type: ignore[attr-defined]
        assert player.predict(seen[0], deterministic=True)[0] == best[0]  # type: ignore[attr-defined]
    assert np.any(averaged.predict(seen)[0] != agent.predict(seen, deterministic=True)[0])
    with pytest.raises(ValueError, match="plays greedily"):
        averaged.predict(seen, deterministic=False)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_that_was_changed_by_hand_begins_a_new_average(engine: Any) -> None:
    agent, other = tiny.agent(engine=engine, average=0.9), tiny.agent(seed=1, average=0.9)
    agent.learn(tiny.LIFE // 2)
    agent.set_parameters(other.get_parameters())
    assert agent.averaged is not None
    assert furthest(weights(agent.averaged.q_net), weights(other.q_net)) == 0.0
    agent.set_parameters(other.get_parameters())
    updates = agent._n_updates
    agent.learn(40, reset_num_timesteps=False)  # seen also where nobody has looked in between
    assert agent.weight_average is not None
    assert agent.weight_average.updates == agent._n_updates - updates
    with torch.no_grad():
        next(agent.q_net.parameters()).data.mul_(0.0)  # what no version of a tensor tells
    assert furthest(weights(agent.averaged.q_net), weights(agent.q_net)) == 0.0
    agent.learn(40, reset_num_timesteps=False)
    agent.reinitialise(network=True, optimizer=False, replay=False)
    assert agent.weight_average.updates == 0
    assert furthest(weights(agent.weight_average.network), weights(agent.q_net)) == 0.0


def test_any_network_has_one() -> None:
    agent = ContinualDQN(
        "MlpPolicy",
        gym.make("CartPole-v1"),
        learning_starts=10,
        average=0.9,
        policy_kwargs={"net_arch": [8], "layer_norm": True, "dropout": 0.2},
    )
    watch = Watch()
    agent.learn(200, watch)
    assert agent.weight_average is not None
    assert furthest(weights(agent.weight_average.network), by_hand(watch.seen, 0.9)) < 2e-6
    assert agent.averaged is not None
    first, again = (agent.averaged.predict(np.ones((50, 4), np.float32))[0] for _ in range(2))
    assert np.array_equal(first, again)  # without dropout


@given(st.floats(0, 0.9999), st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_shares_are_those_of_a_weighted_mean(decay: float, updates: list[int]) -> None:
    share_of = [1.0]
    before = 0
    for made in updates:
        share = share_of_average(decay, before, made)
        share_of = [old * (1 - share) for old in share_of] + [share]
        before += made
    assert share_of[0] == 0.0  # the weights at first
    assert np.isclose(sum(share_of), 1.0)
    ends = np.cumsum(updates)
    expected = [
        sum(decay ** int(before - update) for update in range(int(end - made) + 1, int(end) + 1))
        for end, made in zip(ends, updates, strict=True)
    ]
    assert np.allclose(share_of[1:], np.array(expected) / sum(expected), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("wrong", [1.0, -0.1, 1.5, float("nan"), "much", True])
def test_an_average_that_makes_no_sense(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="average"):
        tiny.agent(average=wrong)
    with pytest.raises((TypeError, ValueError), match="average"):
        DQNSettings(average=wrong)
    agent = tiny.agent()
    agent.average = wrong
    with pytest.raises((TypeError, ValueError), match="average"):
        agent.learn(8)


def test_it_may_be_asked_for_later() -> None:
    agent = tiny.agent(engine="compiled")
    agent.learn(80)
    agent.average = 0.9
    agent.learn(80, reset_num_timesteps=False)
    assert agent.weight_average is not None
    assert agent.weight_average.updates == 20
    agent.average = 0.0
    agent.learn(8, reset_num_timesteps=False)
    assert agent.averaged is None


class Settings(BaseCallback):
    """Sets ``average`` at some steps."""

    def __init__(self, values: dict[int, Any]) -> None:
        super().__init__()
        self.values = values

    def _on_step(self) -> bool:
        agent: Any = self.model
        agent.average = self.values.get(self.num_timesteps, agent.average)
        return True


def test_what_is_set_in_the_middle_of_a_run_holds_from_there_on() -> None:
    values = {80: 0.9, 160: 0.0, 200: 0.8, 240: 0.95}
    agents = [tiny.agent(engine=engine) for engine in ENGINES]  # type: ignore[arg-type]
    for agent in agents:
        agent.learn(tiny.LIFE, Settings(values))
    torchs, compiled = (agent.weight_average for agent in agents)
    assert torchs is not None
    assert compiled is not None
    assert agents[1].engine_report == "compiled"
    # From what was seen at step 200 on, with what is learnt after that step.
    assert torchs.updates == compiled.updates == (tiny.LIFE - 200) // 4 + 1
    assert furthest(weights(torchs.network), weights(compiled.network)) < 1e-5
    wrong = tiny.agent(engine="compiled", average=0.9)
    with pytest.raises(ValueError, match=r"average = 1\.5"):
        wrong.learn(tiny.LIFE, Settings({80: 1.5}))


def test_settings_of_runs_without_one_are_read() -> None:
    kept = {name: value for name, value in vars(DQNSettings()).items() if name != "average"}
    assert DQNSettings.from_dict(kept).average == 0.0


def test_damage(tmp_path: Path) -> None:
    agent = tiny.agent(average=0.9)
    average = WeightAverage(agent.q_net)
    for updates in (-1, 2**63 - 1):
        with pytest.raises(ValueError, match="updates"):
            average.load_state_dict({"updates": updates, "network": {}}, agent.q_net)
    save_state(tmp_path / "whole.zip", state := load_state(saved(agent, tmp_path), KIND), KIND)
    assert ContinualDQN.load(tmp_path / "whole.zip").weight_average is not None
    del state["average"]
    save_state(tmp_path / "lost.zip", state, KIND)
    with pytest.raises(ValueError, match=r"lost\.zip: it lacks the average of the weights"):
        ContinualDQN.load(tmp_path / "lost.zip")


def saved(agent: ContinualDQN, folder: Path) -> Path:
    agent.save(folder / "agent.zip")
    return folder / "agent.zip"
