"""Stream Q(lambda): whole runs by brute force, textbook tables, the bound, and planted errors."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from continual_arcade.agents import (
    METHODS,
    ContinualDQN,
    DivergedError,
    DQNSettings,
    build_agent,
    machine_memory,
)
from continual_arcade.agents.footprint import footprint
from continual_arcade.agents.methods import Part, base, make_part
from continual_arcade.agents.methods.rules import (
    count,
    declared,
    number,
    rule,
    tensor_rule,
    total,
    vector,
)
from continual_arcade.agents.methods.stream_q import StreamQ
from continual_arcade.agents.methods.streaming import Streaming
from continual_arcade.agents.replay import FIFOReplayBuffer, NoReplayBuffer
from continual_arcade.agents.replay.n_step import Transitions

GAMMA = 0.9
STEPS = 120


class Walk(gym.Env[np.ndarray, int]):
    """Features at random; episodes end by their rules or are cut off, and rewards may be large."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)
    action_space = gym.spaces.Discrete(3)

    def __init__(self, seed: int) -> None:
        self.draws = np.random.default_rng(seed)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.draws.uniform(-1, 1, 3).astype(np.float32), {}

    def step(self, action: int) -> Any:
        seen, chance = self.draws.uniform(-1, 1, 3).astype(np.float32), self.draws.random()
        return seen, float(action * seen[0] * 4), chance < 0.08, chance > 0.9, {}


@dataclass
class Recorded(Part):
    """Remembers all transitions as they came."""

    name: ClassVar[str] = "recorded"
    seen: list[Transitions] = field(default_factory=list)

    def completed(self, learner: Any, transitions: Transitions) -> None:
        self.seen.append(transitions.take(range(len(transitions))))


def walker(
    part: Part, engine: str = "torch", games: int = 2, hidden: Iterable[int] = (6,), **more: Any
) -> ContinualDQN:
    given: dict[str, Any] = {
        "replay_buffer_class": NoReplayBuffer,
        "learning_starts": 20,
        "exploration_final_eps": 0.4,
        "exploration_fraction": 0.0,
        "train_freq": 1,
        **more,
    }
    return ContinualDQN(
        "MlpPolicy",
        walks(games),
        parts=[part, Recorded()],
        gamma=GAMMA,
        policy_kwargs={"net_arch": [*hidden], "optimizer_class": torch.optim.SGD},
        seed=5,
        device="cpu",
        engine=engine,  # type: ignore[arg-type]
        **given,
    )


def flat(tensors: Iterable[torch.Tensor]) -> np.ndarray:
    return torch.cat([t.detach().reshape(-1).double() for t in tensors]).numpy()


def by_brute_force(agent: ContinualDQN, network: nn.Module, part: StreamQ) -> np.ndarray:
    """Parameters after what an agent has seen, in double precision; traces are written-out sums."""
    games, decay = agent.n_envs, GAMMA * part.lambda_
    seen = next(p for p in agent.parts if isinstance(p, Recorded)).seen
    since_cut: list[list[np.ndarray]] = [[] for _ in range(games)]
    row = 0
    for transitions in seen:
        for t in range(len(transitions)):
            game, row = row % games, row + 1
            if row <= agent.learning_starts:
                continue
            now, after = (
                network(torch.as_tensor(rows[t], dtype=torch.float64))
                for rows in (transitions.observations, transitions.next_observations)
            )
            action = int(transitions.actions[t, 0])
            slopes = torch.autograd.grad(now[action], list(network.parameters()))
            is_greedy = int(now.argmax()) == action
            if part.cut == "before" and not is_greedy:
                since_cut[game].clear()
            since_cut[game].append(flat(slopes))
            trace = sum(decay**k * g for k, g in enumerate(reversed(since_cut[game])))
            goes_on = 1.0 - float(transitions.dones[t])
            delta = float(transitions.rewards[t]) + GAMMA * goes_on * after.max().item()
            delta -= now[action].item()
            size = float(np.abs(trace).sum())
            step = min(part.alpha, 1 / (part.kappa * max(abs(delta), 1.0) * size))
            values = torch.from_numpy(flat(network.parameters()) + step * delta * trace)
            nn.utils.vector_to_parameters(values, network.parameters())
            assert transitions.ended is not None
            if transitions.ended[t] or (part.cut == "after" and not is_greedy):
                since_cut[game].clear()
    return flat(network.parameters())


def check(part: StreamQ, engine: str = "torch", **more: Any) -> None:
    """An agent's run is that of the oracle, which is told the part's settings and nothing more."""
    agent = walker(part, engine, **more)
    assert agent.runs_compiled == (engine == "compiled")
    network = torch.nn.Sequential(*[_double(layer) for layer in agent.q_net.q_net])
    agent.learn(STEPS)
    assert agent._n_updates == agent.num_timesteps - agent.learning_starts > 90
    wanted = by_brute_force(agent, network, part)
    np.testing.assert_allclose(flat(agent.q_net.parameters()), wanted, atol=2e-5)


def _double(layer: nn.Module) -> nn.Module:
    copy: Any = type(layer)(layer.in_features, layer.out_features) if _is_linear(layer) else layer
    if _is_linear(layer):
        copy.load_state_dict(layer.state_dict())
    return copy.double()  # type: ignore[no-any-return]


def _is_linear(layer: Any) -> bool:
    return isinstance(layer, nn.Linear)


@pytest.mark.one_in(3)
@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("games", [1, 3])
def test_a_run_is_that_of_written_out_sums(engine: str, cut: Any, games: int) -> None:
    check(StreamQ(cut=cut), engine, games=games, learning_starts=20 - 20 % games)


@tiny.EACH_ENGINE
def test_other_settings_too(engine: str) -> None:
    check(StreamQ(lambda_=1.0, kappa=1.5, alpha=0.01), engine)
    check(StreamQ(lambda_=0.0, kappa=3.0), engine, hidden=())
    check(StreamQ(), engine, train_freq=4)  # several steps wait, and are learnt from in their order


# Planted errors.


class NeverCut(StreamQ):
    name: ClassVar[str] = "never-cut"

    @count("on_td_gradient", writes="keep")
    def keeps(discount: Any, lambda_: Any) -> Any:
        return discount * lambda_


class GoesOn(StreamQ):
    """Traces go on into the next episode."""

    name: ClassVar[str] = "goes-on"

    @count("after_update", writes="over")
    def ends() -> Any:
        return 0.0


class OfErrors(StreamQ):
    """Small errors are not taken for 1."""

    name: ClassVar[str] = "of-errors"

    @count("on_td_gradient", writes="rate")
    def bound(td_error: Any, size: Any, alpha: Any, kappa: Any) -> Any:
        return alpha / max(1.0, alpha * kappa * abs(td_error) * size)


class Euclidean(StreamQ):
    """The L2 norm in place of the L1 norm."""

    name: ClassVar[str] = "euclidean"

    @total("on_td_gradient", writes="size")
    def sizes(trace: Any) -> Any:
        return trace * trace

    @count("on_td_gradient", writes="rate")
    def bound(td_error: Any, size: Any, alpha: Any, kappa: Any) -> Any:
        return alpha / max(1.0, alpha * kappa * max(abs(td_error), 1.0) * size**0.5)


class Undiscounted(StreamQ):
    name: ClassVar[str] = "undiscounted"

    @count("on_td_gradient", writes="keep")
    def keeps(lambda_: Any, greedy: Any) -> Any:
        return lambda_ * greedy


class Clipped(StreamQ):
    """The slope of the Huber loss in place of the error."""

    name: ClassVar[str] = "clipped"

    @count("on_td_gradient", writes="move")
    def moves(rate: Any, td_error: Any) -> Any:
        return rate * min(1.0, max(-1.0, td_error))


@pytest.mark.parametrize(
    "kind", [NeverCut, GoesOn, OfErrors, Euclidean, Undiscounted, Clipped], ids=lambda k: k.name
)
def test_another_step_is_found(kind: Any) -> None:
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(kind())


def test_one_trace_for_all_games_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Streaming.batches

    def of_one_game(*arguments: Any) -> Any:
        for batch in batches(*arguments):
            object.__setattr__(batch, "game", 0)
            yield batch

    monkeypatch.setattr(Streaming, "batches", of_one_game)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check(StreamQ())


# The textbook.


def watkins(rows: Iterable[Any], q: np.ndarray, alpha: float, lambda_: float) -> np.ndarray:
    """Watkins' Q(lambda) with a table (Sutton and Barto 1998, figure 7.14), for a given stream."""
    traces: dict[tuple[int, int], float] = {}
    for state, action, reward, after, terminated, ended in rows:
        if q[state].argmax() != action:
            traces.clear()
        error = reward + (0.0 if terminated else GAMMA * q[after].max()) - q[state, action]
        traces[state, action] = traces.get((state, action), 0.0) + 1.0
        for place, trace in traces.items():
            q[place] += alpha * error * trace
            traces[place] = GAMMA * lambda_ * trace
        if ended:
            traces.clear()
    return q


class Rooms(Walk):
    """Five rooms, told by one feature each."""

    observation_space = gym.spaces.Box(0.0, 1.0, (5,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self._room(), {}

    def _room(self) -> np.ndarray:
        self.room = int(self.draws.integers(5))
        return np.eye(5, dtype=np.float32)[self.room]

    def step(self, action: int) -> Any:
        chance = self.draws.random()
        return self._room(), 0.3 * action, chance < 0.08, chance > 0.9, {}


@pytest.mark.parametrize("lambda_", [pytest.param(0.0, marks=pytest.mark.slow), 0.7])
def test_a_table_is_learnt_as_in_the_textbook(lambda_: float) -> None:
    """With a step that is never bounded, and without biases, the parameters are the table."""
    agent = ContinualDQN(
        "MlpPolicy",
        Rooms(3),
        parts=[StreamQ(lambda_=lambda_, alpha=0.05, kappa=1.1), Recorded()],
        gamma=GAMMA,
        policy_kwargs={"net_arch": []},
        replay_buffer_class=NoReplayBuffer,
        learning_starts=0,
        exploration_final_eps=0.3,
        exploration_fraction=0.0,
        train_freq=1,
        seed=2,
        device="cpu",
    )
    layer: Any = agent.q_net.q_net[0]
    with torch.no_grad():
        layer.bias.zero_()
    layer.bias.requires_grad = False  # frozen, so that PyTorch computes
    table = layer.weight.detach().numpy().T.astype(np.float64)
    agent.learn(300)
    rows = [
        (
            int(t.observations[0].argmax()),
            int(t.actions[0, 0]),
            float(t.rewards[0]),
            int(t.next_observations[0].argmax()),
            bool(t.dones[0]),
            bool(t.ended[0]),  # type: ignore[index]
        )
        for t in agent.parts[1].seen  # type: ignore[attr-defined]
    ]
    wanted = watkins(rows, table.copy(), 0.05, lambda_)
    np.testing.assert_allclose(layer.weight.detach().numpy().T, wanted, atol=1e-5)
    assert not layer.bias.any()
    other = watkins(rows, table.copy(), 0.05, lambda_ + 0.2)
    assert np.abs(other - wanted).max() > 1e-2


# The bound.


@pytest.fixture(scope="module")
def linear() -> dict[str, ContinualDQN]:
    """Agents whose values are linear in what is seen."""
    return {engine: walker(StreamQ(), engine, 1, ()) for engine in ("torch", "compiled")}


def errors_after(agent: ContinualDQN, part: Any, seed: int, reward: float) -> list[Any]:
    """TD errors of transitions of one episode, before each is learnt from, and after."""
    draws = np.random.default_rng(seed)
    for tensor in part.trace:
        tensor.zero_()
    with torch.no_grad():
        for tensor in agent.q_net.parameters():
            tensor.copy_(torch.as_tensor(draws.normal(size=tuple(tensor.shape))))
    agent.num_timesteps, errors = 1_000, []
    for _ in range(4):
        now, after = (draws.uniform(-1, 1, (1, 3)).astype(np.float32) for _ in range(2))
        with torch.no_grad():
            values, target = (agent.q_net(torch.from_numpy(seen))[0] for seen in (now, after))
        action = int(values.argmax())
        wanted = reward + GAMMA * float(target.max())
        seen = Transitions(
            observations=now,
            actions=np.array([[action]]),
            rewards=np.array([reward], np.float32),
            next_observations=after,
            dones=np.zeros(1, np.float32),
            discounts=np.array([GAMMA], np.float32),
            phases=np.zeros(1, np.int64),
            ended=np.zeros(1, np.bool_),
        )
        part.completed(agent, seen)
        agent.train(1, 1)
        with torch.no_grad():
            left = wanted - float(agent.q_net(torch.from_numpy(now))[0, action])
        errors.append((wanted - float(values[action]), left))
    return errors


@tiny.EACH_ENGINE
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    reward=st.sampled_from([0.0, 0.5, -3.0, 100.0, -1e4]),
    kappa=st.floats(1.01, 5.0),
    alpha=st.sampled_from([0.01, 1.0, 1e6]),
)
def test_a_linear_value_never_overshoots(
    engine: str, linear: dict[str, ContinualDQN], seed: int, reward: float, kappa: float, alpha: Any
) -> None:
    """With features of at most 1, at most 1 / kappa of an error is closed, whatever the trace."""
    agent = linear[engine]
    part: Any = agent.parts[0]
    agent.set_logger(Logger(None, []))
    part.kappa, part.alpha = kappa, alpha
    for before, after in errors_after(agent, part, seed, reward):
        size = abs(before)
        assert after * before >= -1e-4 * size * size
        assert abs(before - after) <= min(size, 1.0) / kappa + 1e-4 * (size + 1)


def test_a_step_that_overshoots_is_found() -> None:
    agent = walker(Euclidean(kappa=1.01, alpha=1e6), "torch", 1, ())
    agent.set_logger(Logger(None, []))
    found = [errors_after(agent, agent.parts[0], seed, 0.0) for seed in range(20)]
    assert any(before * after < 0 for errors in found for before, after in errors)


# Files, memory, other runs.


@tiny.EACH_ENGINE
def test_what_is_resumed_ends_with_the_same_bits(engine: Any, tmp_path: Path) -> None:
    path = tmp_path / "half.zip"

    def fresh() -> ContinualDQN:
        its = DQNSettings(**{**vars(tiny.SETTINGS), "engine": engine, "learning_starts": 0})
        return build_agent("FlappyBird", tiny.CONFLICT, its, 3, METHODS["stream-q"])

    whole, same = tiny.live(fresh(), callback=tiny.SaveAt(200, path)), tiny.live(fresh())
    assert whole.runs_compiled == (engine == "compiled")
    assert tiny.bits(same) == tiny.bits(whole)
    resumed = ContinualDQN.load(path, tiny.life(), "cpu")
    part: Any = resumed.parts[0]
    assert len(part.trace) == tiny.NUM_ENVS * len(list(resumed.q_net.parameters()))
    assert all(bool(tensor.any()) for tensor in part.trace[::4])
    tiny.live(resumed, tiny.LIFE - resumed.num_timesteps, reset_num_timesteps=False)
    assert not list(tiny.differences(tiny.inside(whole), tiny.inside(resumed)))
    played = ContinualDQN.load(path)
    seen = np.random.default_rng(0).uniform(-1, 1, (9, *whole.observation_space.shape))  # type: ignore[misc]
    assert len(played.predict(seen.astype(np.float32), deterministic=True)[0]) == 9


class StopWhereOneEnded(BaseCallback):
    """Stops, and saves before, where what is not learnt yet has the end of an episode in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def _on_step(self) -> bool:
        waiting = self.model.parts[0]._completed  # type: ignore[attr-defined]
        if not len(waiting) or not waiting.all().ended.any():
            return True
        self.model.save(self.path)
        return False


def walks(games: int) -> DummyVecEnv:
    return DummyVecEnv([lambda i=i: Walk(i) for i in range(games)])


@tiny.EACH_ENGINE
def test_what_is_saved_between_steps_knows_where_episodes_ended(
    engine: str, tmp_path: Path
) -> None:
    path = tmp_path / "agent.zip"
    agent = walker(StreamQ(), engine, train_freq=4)
    agent.learn(STEPS, callback=StopWhereOneEnded(path))
    loaded = ContinualDQN.load(path, walks(2), parts=[StreamQ()])
    assert loaded.runs_compiled == (engine == "compiled")
    assert not list(tiny.differences(agent.parts[0].state_dict(), loaded.parts[0].state_dict()))
    for one in (agent, loaded):
        one.set_logger(Logger(None, []))
        one.train(1, 16)
    assert tiny.bits(loaded) == tiny.bits(agent)
    assert not list(tiny.differences(agent.parts[0].state_dict(), loaded.parts[0].state_dict()))


@tiny.EACH_ENGINE
@pytest.mark.parametrize("games", [1, 2, 3])
def test_other_games_begin_without_traces(engine: str, games: int, tmp_path: Path) -> None:
    """As many as there are now; what the last ones had not learnt from yet is dropped with them."""
    path = tmp_path / "agent.zip"
    agent = walker(StreamQ(), engine, train_freq=4)
    agent.learn(STEPS, callback=StopWhereOneEnded(path))
    loaded = ContinualDQN.load(path, walks(games), parts=[StreamQ()])
    part: Any = loaded.parts[0]
    before, updates = tiny.bits(loaded), loaded._n_updates
    loaded.learn(4 * games, reset_num_timesteps=False)
    assert loaded._n_updates == updates + 4 * games
    assert tiny.bits(loaded) != before
    assert len(part.trace) == games * len(list(loaded.q_net.parameters()))
    if games != 2:
        unlearnt: Any = ContinualDQN.load(path, walks(games), parts=[StreamQ()]).parts[0]
        assert not any(bool(tensor.any()) for tensor in unlearnt.trace)


@tiny.EACH_ENGINE
def test_both_engines_have_the_same_traces(engine: str) -> None:
    one, other = (tiny.live(tiny.agent(StreamQ(), engine=e)) for e in ("torch", engine))
    assert other.runs_compiled == (engine == "compiled")
    traces: list[Any] = [agent.parts[0].trace for agent in (one, other)]  # type: ignore[attr-defined]
    assert any(bool(tensor.any()) for tensor in traces[0])
    for a, b in zip(*traces, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


@tiny.EACH_ENGINE
def test_it_holds_one_transition_and_a_trace_for_each_game(engine: Any) -> None:
    its = DQNSettings(**{**vars(tiny.SETTINGS), "engine": engine})
    agent = build_agent("FlappyBird", tiny.CONFLICT, its, 3, METHODS["stream-q"])
    tiny.live(agent)
    held = footprint(agent)
    size = sum(tensor.numel() for tensor in agent.q_net.parameters())
    assert held["method_bytes"] == pytest.approx(4 * size * tiny.NUM_ENVS, abs=400)
    assert agent.replay.size() == 1
    assert held["replay_bytes"] < 300
    assert held["network_bytes"] == 3 * 4 * size  # its own, SB3's target, and the average
    assert held["earlier_observations"] == 0
    with pytest.raises(ValueError, match="no replay memory to draw from"):
        agent.sample(4)


@tiny.EACH_ENGINE
def test_another_run_begins_without_traces(engine: str) -> None:
    """Its episodes are others, although nothing has told that the last ones have ended."""
    agent = tiny.live(tiny.agent(StreamQ(lambda_=1.0), engine=engine), 100)
    part: Any = agent.parts[0]
    assert any(bool(tensor.any()) for tensor in part.trace)
    seen = []

    class Look(tiny.SaveAt):
        def _on_rollout_start(self) -> None:
            if not seen:
                seen.append([tensor.clone() for tensor in part.trace])

    tiny.live(agent, 100, callback=Look(0, Path()))
    assert not any(bool(tensor.any()) for tensor in seen[0])


def test_phases_do_not_cut_traces() -> None:
    agent = tiny.live(tiny.agent(StreamQ()), 100)
    part: Any = agent.parts[0]
    before = [tensor.clone() for tensor in part.trace]
    assert any(bool(tensor.any()) for tensor in before)
    part.phase_end(agent, 0)
    part.phase_start(agent, 1)
    assert all(map(torch.equal, part.trace, before))


# What is refused.


def test_what_it_cannot_honour_is_refused() -> None:
    for more, message in (
        ({"n_steps": 3}, "'stream-q' learns from single steps, and n_steps = 3"),
        ({"loss": "squared"}, "'stream-q' learns from TD errors, and loss = 'squared'"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny.agent(StreamQ(), **more)
    agent = tiny.agent(StreamQ())
    agent.loss = "squared"
    with pytest.raises(ValueError, match="learns from TD errors"):
        tiny.live(agent, 50)
    with pytest.raises(ValueError, match="replay 'none' keeps nothing to learn from"):
        tiny.agent(replay=NoReplayBuffer)
    assert tiny.agent(StreamQ(), replay=FIFOReplayBuffer).replay.buffer_size == 200
    for part in (StreamQ(), make_part("online")):
        with pytest.raises(ValueError, match=f"gradient_steps = 0 learns nothing.*{part.name!r}"):
            tiny.agent(part, gradient_steps=0)
    agent = tiny.agent(StreamQ())
    agent.gradient_steps = 0
    with pytest.raises(ValueError, match="gradient_steps = 0 learns nothing"):
        tiny.live(agent, 50)


def test_the_learning_rate_is_not_named_where_it_is_of_no_matter() -> None:
    with pytest.raises(DivergedError, match="diverged; let the settings of stream-q make smaller"):
        tiny.agent(StreamQ()).check_finite(False, np.nan, 1.0)


@dataclass
class CountsFirst(StreamQ):
    """Counts the transitions of each game, and ends of episodes, before anything else."""

    name: ClassVar[str] = "counts-first"
    counted: list[torch.Tensor] = vector(per_game=True)
    ends_seen: float = number(0.0)

    @rule("before_update", writes="counted")
    def more(counted: Any, game: Any) -> Any:
        return counted + game + 1.0

    @count("before_update", writes="ends_seen")
    def see(ends_seen: Any, ended: Any) -> Any:
        return ends_seen + ended


@tiny.EACH_ENGINE
def test_a_step_knows_its_game_from_its_beginning(engine: str) -> None:
    part = CountsFirst()
    agent = walker(part, engine, learning_starts=0)
    agent.learn(STEPS)
    seen = agent.parts[1].seen  # type: ignore[attr-defined]
    assert part.ends_seen == sum(int(t.ended.sum()) for t in seen) > 0
    half = len(part.counted) // 2
    first, other = set(flat(part.counted[:half])), set(flat(part.counted[half:]))
    assert first == {STEPS / 2}
    assert other == {float(STEPS)}


def test_streaming_parts_of_another_kind_are_refused() -> None:
    """By what they say only one engine would learn, or each something else."""

    @dataclass
    class Says(Part):
        name: ClassVar[str] = "says"
        streaming: ClassVar[bool] = True

    with pytest.raises(TypeError, match=r"part 'says' says that it is streaming.*derive it from"):
        tiny.agent(Says())
    for name in ("extent", "arrange"):
        with pytest.raises(TypeError, match=f"Twice overrides {name}, and streaming parts learn"):
            type("Twice", (StreamQ,), {name: None})


def test_whoever_acts_in_gradient_steps_is_refused_and_others_are_not() -> None:
    for other in ("ewc", "clear", "si", "packnet", "trac", "hare-tortoise"):
        with pytest.raises(
            ValueError, match=r"cannot be combined.*in which '[\w-]+' does its work"
        ):
            tiny.agent(StreamQ(), make_part(other))
    with pytest.raises(ValueError, match="cannot be combined: 'stream-q' makes a step of its own"):
        tiny.agent(tiny.Spy(), StreamQ())
    agent = tiny.agent(StreamQ(), make_part("best-return", {"steps": 40, "trial": 8}))
    assert tiny.live(agent).runs_compiled


def test_rules_of_other_parts_know_no_transition_and_no_game() -> None:
    @dataclass
    class Reads(Part):
        name: ClassVar[str] = "reads"
        mine: float = number(0.0)

        @count("after_update", writes="mine")
        def see(td_error: Any) -> Any:
            return td_error

    @dataclass
    class Each(Part):
        name: ClassVar[str] = "each"
        own: list[torch.Tensor] = vector(per_game=True)

    @dataclass
    class Named(Part):
        name: ClassVar[str] = "named"
        ended: float = 0.0

    @dataclass
    class OfLayers(Streaming):
        name: ClassVar[str] = "of-layers"
        own: list[torch.Tensor] = vector(per_game=True)
        most: float = number(0.0)

        @tensor_rule("project", writes="most")
        def largest(own: Any) -> Any:
            return own.max()

    for kind, message in (
        (Reads, "unknown state 'td_error'"),
        (Each, "has a vector for each game"),
        (Named, "has a field 'ended', which means something else"),
        (OfLayers, "names 'own', of which there is one for each game"),
    ):
        with pytest.raises(ValueError, match=message):
            declared(kind)
    assert declared(StreamQ).vectors["trace"].per_game


def test_traces_that_no_memory_holds_are_refused_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(base, "check_memory", lambda *given: asked.append(given))
    agent = tiny.agent(StreamQ())
    each = 2 * sum(tensor.nbytes for tensor in agent.q_net.parameters())
    games = agent.n_envs
    what = f"{games} vectors trace of part 'stream-q', one for each game,"
    assert asked == [(what, games * each, each)]
    monkeypatch.setattr(base, "check_memory", machine_memory.check_memory)
    monkeypatch.setattr(machine_memory, "available_memory", lambda: (games - 1) * each)
    with pytest.raises(ValueError, match=rf"{what} take .*: at most {games - 1} fit"):
        StreamQ().bind(agent, np.random.default_rng(0))
