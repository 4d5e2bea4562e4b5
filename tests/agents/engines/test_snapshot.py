"""What is done to an agent is seen by the compiled engine, at once, or it says that it does not."""

import copy
import importlib
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partialmethod, wraps
from itertools import pairwise
from typing import Any, ClassVar
from unittest.mock import Mock

import numpy as np
import pytest
import tiny
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn

from continual_arcade.agents import METHODS, ContinualDQN, Exploration, build_agent
from continual_arcade.agents.engines.eligibility import changed
from continual_arcade.agents.engines.snapshot import Snapshot
from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.catalogue import PARTS, make_part
from continual_arcade.agents.methods.clear import Clear
from continual_arcade.agents.methods.clone import Clone
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.l2 import L2
from continual_arcade.agents.methods.reptile import Reptile
from continual_arcade.agents.replay import FIFOReplayBuffer, MixReplayBuffer

WHEN = 120
"""Lifetime step of a change: in the middle of one call of ``learn``."""


class At(BaseCallback):
    """Does something to the agent, once, and goes on."""

    def __init__(self, do: Callable[[Any], object]) -> None:
        super().__init__()
        self.do: Callable[[Any], object] | None = do

    def _on_rollout_start(self) -> None:
        if self.do is not None and self.num_timesteps >= WHEN:
            self.do(self.model)
            self.do = None

    def _on_step(self) -> bool:
        return True


def adam(agent: ContinualDQN) -> None:
    agent.policy.optimizer = torch.optim.Adam(agent.q_net.parameters(), lr=1e-3)


def set_head(agent: ContinualDQN) -> None:
    head = nn.Linear(8, 2)
    with torch.no_grad():
        for i, tensor in enumerate(head.parameters()):
            tensor.copy_(torch.linspace(-0.1, 0.2 + i, tensor.numel()).reshape(tensor.shape))
    agent.q_net.q_net[2] = head
    adam(agent)


def set_network(agent: ContinualDQN) -> None:
    network = agent.policy.make_q_net()
    network.load_state_dict({key: 0.5 * t for key, t in agent.q_net.state_dict().items()})
    agent.q_net = agent.policy.q_net = network
    adam(agent)


def set_wider(agent: ContinualDQN) -> None:
    """Give both networks another hidden layer, of other widths."""
    for network in (agent.q_net, agent.q_net_target):
        widths = [8, 5, 7, 2]
        layers: list[Any] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        network.q_net = nn.Sequential(*layers[:-1])
        with torch.no_grad():
            for tensor in network.parameters():
                tensor.copy_(torch.linspace(-0.3, 0.4, tensor.numel()).reshape(tensor.shape))
    adam(agent)


def set_tanh(agent: ContinualDQN) -> None:
    """The same layers, with another activation between them."""
    for network in (agent.q_net, agent.q_net_target):
        network.q_net[1] = nn.Tanh()


def set_sgd(agent: ContinualDQN) -> None:
    agent.policy.optimizer = torch.optim.SGD(agent.q_net.parameters(), lr=1e-3)


def set_momentum(agent: ContinualDQN) -> None:
    agent.policy.optimizer = torch.optim.SGD(agent.q_net.parameters(), lr=1e-3, momentum=0.9)


def set_generators(agent: ContinualDQN) -> None:
    agent._exploration_rng = np.random.default_rng(5)
    agent.replay.rng = np.random.default_rng(6)
    agent.replay.placement_rng = np.random.default_rng(7)
    for part in agent.parts:
        part.rng = np.random.default_rng(8)


def set_rewards(agent: ContinualDQN) -> None:
    agent.replay.rewards = 2 * agent.replay.rewards + 1


def tie(agent: ContinualDQN) -> None:
    agent.q_net.q_net[2].weight = agent.q_net_target.q_net[2].weight
    adam(agent)


def forget_one(agent: ContinualDQN) -> None:
    del agent.optimizer.state[next(agent.q_net.parameters())]


def forget_all(agent: ContinualDQN) -> None:
    agent.optimizer.state.clear()


def reload_moments(agent: ContinualDQN) -> None:
    agent.optimizer.load_state_dict(copy.deepcopy(agent.optimizer.state_dict()))


def turn_moments(agent: ContinualDQN) -> None:
    state = copy.deepcopy(agent.optimizer.state_dict())
    for moments in state["state"].values():
        moments["exp_avg"].mul_(-3.0)
    agent.optimizer.load_state_dict(state)


def double_td_loss(agent: Any) -> None:
    agent.td_loss = lambda samples: 2 * ContinualDQN.td_loss(agent, samples)


def double_layer(agent: Any) -> None:
    layer = agent.q_net.q_net[0]
    layer.forward = lambda inputs: 2 * nn.Linear.forward(layer, inputs)


def double_features(agent: Any) -> None:
    extractor = agent.q_net.features_extractor
    extractor.forward = lambda inputs: 2 * type(extractor).forward(extractor, inputs)


class Doubling(nn.Flatten):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


class Flapping(Exploration):
    def draw(self, rng: Any, actions: int, size: int) -> Any:
        return np.ones(size, np.int64)


def own_actions(agent: Any) -> None:
    agent.policy._predict = lambda observation, deterministic=True: torch.zeros(
        len(observation), dtype=torch.int64
    )


def own_samples(agent: Any) -> None:
    agent.replay.sample = lambda size, env=None: MixReplayBuffer.sample(agent.replay, size, env)


def own_step(agent: Any) -> None:
    env = agent.env
    env.step = lambda actions: type(env).step(env, 1 - np.asarray(actions))


def set_rate(agent: Any, rate: float) -> None:
    agent.optimizer.param_groups[0]["betas"] = (rate, 0.99)


SEEN: dict[str, Callable[[Any], object]] = {
    "head": set_head,
    "network": set_network,
    "activation": set_tanh,
    "SGD": set_sgd,
    "generators": set_generators,
    "rewards": set_rewards,
    "all moments forgotten": forget_all,
    "moments loaded": reload_moments,
    "other moments loaded": turn_moments,
    "betas": lambda agent: set_rate(agent, 0.5),
    "data": lambda agent: setattr(
        agent.q_net.q_net[0].weight, "data", 0.5 * agent.q_net.q_net[0].weight.data
    ),
    "target": lambda agent: agent.q_net_target.load_state_dict(agent.q_net.state_dict()),
    "strength": lambda agent: setattr(agent.parts[0], "lam", 3.0),
    "rate of interpolation": lambda agent: setattr(agent.parts[1], "eps", 0.9),
    "weight of cloning": lambda agent: setattr(agent.parts[2], "alpha", 0.5),
    "what is cloned": lambda agent: setattr(agent.parts[2], "what", "policy"),
    "parts": lambda agent: agent.parts.pop(),
    "another list of parts": lambda agent: setattr(agent, "parts", agent.parts[1:]),
    "share of the long term": lambda agent: setattr(agent.replay, "long_term_fraction", 0.1),
    "exploration": lambda agent: setattr(agent, "exploration", Exploration(prior=(0.9, 0.1))),
    "exploration rate": lambda agent: setattr(agent, "exploration_schedule", lambda left: left),
    "batch": lambda agent: setattr(agent, "batch_size", 7),
    "steps": lambda agent: setattr(agent, "gradient_steps", 3),
    "clipping": lambda agent: setattr(agent, "max_grad_norm", 0.01),
    "synchronisation": lambda agent: setattr(agent, "target_update_interval", 8),
}
"""Changes that the compiled engine goes along with."""


def hook_in_another_table(agent: Any) -> None:
    """Forget all hooks as some do, by an empty table, and register one."""
    agent.q_net._forward_hooks = OrderedDict()
    agent.q_net.register_forward_hook(lambda *given: 2 * given[-1])


SAID: dict[str, tuple[Callable[[Any], object], str]] = {
    "frozen": (lambda agent: agent.q_net.q_net[0].requires_grad_(False), "a parameter is frozen"),
    "another network": (
        lambda agent: setattr(agent, "q_net", copy.deepcopy(agent.q_net)),
        "q_net of the agent and of its policy are two networks",
    ),
    "momentum": (set_momentum, "the optimizer has momentum"),
    "shared": (lambda agent: agent.policy.share_memory(), r"shared with other processes \(share_"),
    "tied": (tie, "two layers share one tensor"),
    "one moment": (forget_one, "the optimizer has moments of several ages"),
    "gradient hook": (
        lambda agent: agent.q_net.q_net[0].weight.register_hook(lambda gradient: 2 * gradient),
        "a parameter has a hook on its gradient",
    ),
    "accumulation hook": (
        lambda agent: agent.q_net.q_net[0].weight.register_post_accumulate_grad_hook(
            lambda parameter: setattr(parameter, "grad", 2 * parameter.grad)
        ),
        "a parameter has a hook on its gradient",
    ),
    "module hook": (
        lambda agent: agent.q_net.register_forward_hook(lambda *given: 2 * given[-1]),
        "the network has hooks",
    ),
    "module hook in a table of its own": (hook_in_another_table, "the network has hooks"),
    "other list of parameters": (
        lambda agent: agent.optimizer.param_groups[0].update(
            params=list(agent.q_net.parameters())[:-1]
        ),
        "the optimizer moves other tensors",
    ),
    "optimizer hook": (
        lambda agent: agent.optimizer.register_step_pre_hook(
            lambda optimizer, *_: optimizer.param_groups[0].update(lr=0.05)
        ),
        "the optimizer has hooks",
    ),
    "some parameters": (
        lambda agent: agent.optimizer.param_groups[0]["params"].pop(),
        "the optimizer moves other tensors",
    ),
    "groups": (
        lambda agent: setattr(
            agent.policy,
            "optimizer",
            torch.optim.SGD([{"params": [t]} for t in agent.q_net.parameters()], lr=0.1),
        ),
        "4 groups of parameters",
    ),
    "decay": (
        lambda agent: agent.optimizer.param_groups[0].update(weight_decay=0.5),
        "the optimizer has weight_decay",
    ),
    "loss": (double_td_loss, r"td_loss\(\) of the agent was changed"),
    "layer": (double_layer, r"forward\(\) of a layer was changed"),
    "features": (double_features, r"forward\(\) of the features was changed"),
    "flattening": (
        lambda agent: setattr(agent.q_net.features_extractor, "flatten", Doubling()),
        "features are not flattened as they are",
    ),
    "exploration": (
        lambda agent: setattr(agent, "exploration", Flapping()),
        "exploration is a Flapping; supported: Exploration as it is",
    ),
    "actions": (own_actions, r"_predict\(\) of the policy was changed"),
    "samples": (own_samples, r"sample\(\) of replay was changed"),
    "timeouts": (
        lambda agent: setattr(agent.replay, "handle_timeout_termination", False),
        "handle_timeout_termination is off",
    ),
    "hook of a part": (
        lambda agent: setattr(agent.parts[0], "add_gradient", lambda learner: None),
        r"add_gradient\(\) of part 'l2' was changed",
    ),
    "engine": (lambda agent: setattr(agent, "engine", "torch"), "it was asked for"),
}
"""Changes after which PyTorch goes on, with the reason."""


def trained(engine: Any, do: Callable[[Any], object], steps: int = 2 * WHEN) -> ContinualDQN:
    parts = (L2(lam=0.5), Reptile(every=5, eps=0.4), Clear(after=40, alpha=0.3))
    agent = tiny.agent(*parts, engine=engine, replay=MixReplayBuffer)
    agent.learn(steps, At(do), log_interval=None)  # type: ignore[arg-type]
    return agent


def distance(one: ContinualDQN, other: ContinualDQN) -> float:
    """Largest difference of the parameters, infinite where their number or shapes differ."""
    if len(one.policy.state_dict()) != len(other.policy.state_dict()):
        return float("inf")
    pairs = zip(one.policy.state_dict().values(), other.policy.state_dict().values(), strict=True)
    return max(float((a - b).abs().max()) if a.shape == b.shape else float("inf") for a, b in pairs)


@pytest.fixture(scope="module")
def unchanged() -> ContinualDQN:
    """To be looked at only."""
    return trained("torch", lambda agent: None)


@pytest.fixture(scope="module")
def without_parts() -> ContinualDQN:
    """To be looked at only."""
    return tiny.live(tiny.agent(engine="torch"))


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", SEEN)
def test_a_change_is_seen_at_once(name: str, unchanged: ContinualDQN) -> None:
    torchs, compiled = (trained(engine, SEEN[name]) for engine in ("torch", "auto"))
    assert compiled.runs_compiled
    assert distance(torchs, compiled) < 1e-5
    assert_acts_as_its_network(compiled)
    if name != "moments loaded":  # which are those that there were
        assert distance(torchs, unchanged) > 2e-5


def test_another_number_of_layers_is_seen() -> None:
    agents = [tiny.agent(engine=engine) for engine in ("torch", "compiled")]
    for agent in agents:
        agent.learn(2 * WHEN, At(set_wider), log_interval=None)  # type: ignore[arg-type]
    assert agents[1].runs_compiled
    assert distance(*agents) < 1e-5


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", SAID)
def test_or_pytorch_goes_on_and_it_is_said(name: str) -> None:
    do, why = SAID[name]
    steps = WHEN + 60
    torchs, compiled = (trained(engine, do, steps) for engine in ("torch", "auto"))
    assert not compiled.runs_compiled
    assert compiled.engine_report.startswith("torch, because ")
    assert distance(torchs, compiled) < 1e-5
    with pytest.raises(ValueError, match=f"the compiled engine does not support .*{why}"):
        refuse(do)


def test_under_autocast_pytorch_computes() -> None:
    agents = []
    for engine in ("torch", "auto"):
        agent = tiny.live(tiny.agent(engine=engine), 60)
        with torch.autocast("cpu", torch.bfloat16):
            agent.train(1, 16)
            assert not agent.runs_compiled
            tiny.live(agent, 100, reset_num_timesteps=False)
        agents.append(agent)
    assert "torch.autocast is on; supported: float32" in agents[1].engine_report
    assert distance(*agents) < 1e-5


def refuse(do: Callable[[Any], object]) -> None:
    agent = trained("compiled", do)
    if agent.engine == "torch":  # by the change itself
        raise ValueError(f"the compiled engine does not support this agent: {agent.engine_report}")


def assert_acts_as_its_network(agent: ContinualDQN) -> None:
    space = agent.observation_space
    space.seed(0)
    observations = np.stack([space.sample() for _ in range(200)])
    found, _ = agent.predict(observations, deterministic=True)
    with torch.no_grad():
        expected = agent.policy.q_net(torch.as_tensor(observations)).argmax(1)
    assert found.tolist() == expected.tolist()


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", ["head", "SGD", "generators", "frozen", "shared"])
def test_an_engine_that_does_not_look_is_found_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    do = SEEN[name] if name in SEEN else SAID[name][0]
    torchs = trained("torch", do)
    monkeypatch.setattr(Snapshot, "holds", lambda self, agent: True)
    try:
        compiled = trained("auto", do)
    except KeyError:  # SGD has no betas
        return
    assert distance(torchs, compiled) > 1e-4


def test_what_an_environment_of_ones_own_does_is_done(unchanged: ContinualDQN) -> None:
    found = [trained(engine, own_step).replay.observations for engine in ("torch", "auto")]
    assert (found[0] == found[1]).all()
    assert (found[0] != unchanged.replay.observations).any()


def test_a_network_that_is_exchanged_is_the_one_that_acts_and_is_saved(tmp_path: Any) -> None:
    agent = tiny.live(tiny.agent(), WHEN)
    for change in (set_network, set_head):
        change(agent)
        assert_acts_as_its_network(agent)
        assert agent.q_net is agent.policy.q_net
        tiny.live(agent, 40, reset_num_timesteps=False)
        agent.save(tmp_path / "agent.zip")
        again = ContinualDQN.load(tmp_path / "agent.zip", device="cpu")
        assert tiny.bits(again) == tiny.bits(agent)
        assert_acts_as_its_network(again)


@pytest.mark.parametrize("engine", ["torch", "auto", "compiled"])
def test_a_network_without_an_optimizer_of_its_own_is_refused(engine: str) -> None:
    agent = tiny.live(tiny.agent(engine=engine), 60)
    agent.q_net.q_net[2] = nn.Linear(8, 2)
    with pytest.raises(ValueError, match=r"and not q_net\.2\.weight, q_net\.2\.bias, which would"):
        agent.learn(60, reset_num_timesteps=False)
    adam(agent)
    tiny.live(agent, 60, reset_num_timesteps=False)


@pytest.mark.parametrize("engine", ["torch", "auto", "compiled"])
@pytest.mark.parametrize("name", ["q_net", "q_net_target"])
def test_two_networks_where_there_should_be_one_are_refused(name: str, engine: str) -> None:
    agent = tiny.live(tiny.agent(engine=engine), 60)
    setattr(agent.policy, name, copy.deepcopy(getattr(agent.policy, name)))
    with pytest.raises(ValueError, match=r"set both, agent\.q_net = agent\.policy\.q_net = "):
        agent.learn(60, reset_num_timesteps=False)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("batch_size", 0, "batch_size = 0 must be a whole number, at least 1"),
        ("gamma", 0.5, r"gamma = 0\.5 was set, but replay sums its returns with 0\.99"),
        ("batch_size", -1, "batch_size = -1 must be a whole number, at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused_later_too(name: str, value: Any, why: str) -> None:
    for engine in ("torch", "auto"):
        agent = tiny.agent(engine=engine)
        with pytest.raises(ValueError, match=why):  # in the middle
            agent.learn(2 * WHEN, At(lambda agent: setattr(agent, name, value)))
        with pytest.raises(ValueError, match=why):
            agent.learn(40)


def memory(agent: Any, actions: int = 2, features: int = 8, num_envs: int = 4) -> FIFOReplayBuffer:
    """An empty memory like the agent's, without what parts keep in it, or one that does not fit."""
    seen, acts = Box(-1, 1, (features,), np.float32), Discrete(actions)
    return FIFOReplayBuffer(200, seen, acts, agent.device, num_envs, n_steps=3)


UNFIT: dict[str, tuple[Callable[[Any], object], str]] = {
    "no column": (
        lambda agent: setattr(agent, "replay_buffer", memory(agent)),
        r"part 'clear' needs a column 'q_values' in replay.* has none: add it, such as by agent\.",
    ),
    "narrow column": (
        lambda agent: agent.replay.columns.update(q_values=np.zeros((200, 1), np.float32)),
        r"replay has one of shape \(200, 1\): add it",
    ),
    "spaces": (
        lambda agent: setattr(agent, "replay_buffer", memory(agent, features=3)),
        r"replay was made for observations of shape \(3,\), and the agent has \(8,\)",
    ),
    "actions": (
        lambda agent: setattr(agent, "replay_buffer", memory(agent, actions=5)),
        "replay was made for a number of actions of 5, and the agent has 2",
    ),
    "games": (
        lambda agent: setattr(agent, "replay_buffer", memory(agent, num_envs=2)),
        "replay was made for a number of sub-environments of 2, and the agent has 4",
    ),
    "other kind": (
        lambda agent: setattr(
            agent,
            "replay_buffer",
            ReplayBuffer(200, agent.observation_space, agent.action_space, n_envs=4),
        ),
        "ReplayBuffer does not tell where transitions are stored",
    ),
    "few rows": (
        lambda agent: setattr(agent.replay, "observations", np.zeros((50, 1, 8), np.float32)),
        r"observations of replay must be a contiguous array of shape \(200, 1, 8\)",
    ),
    "prior": (
        lambda agent: setattr(agent, "exploration", Exploration(prior=(0.3, 0.3, 0.4))),
        "must give each of the 2 actions a probability",
    ),
}
"""What compiled code would read or write beyond the end of."""
WRITTEN: dict[str, tuple[Callable[[Any], object], str]] = {
    "unknown action": (lambda agent: agent.replay.actions.fill(7), "they must be from 0 to 1"),
    "no phase": (
        lambda agent: agent.replay.phases.fill(-1),
        r"info\['phase'\] = -1 must be from 0",
    ),
    "read-only": (
        lambda agent: agent.replay.rewards.setflags(write=False),
        r"rewards of replay must be .* that can be written to",
    ),
}
"""Of what is written by hand, no engine sees more than at the beginning of ``learn``."""


@pytest.mark.parametrize("name", [*UNFIT, *WRITTEN])
def test_what_does_not_fit_is_refused_before_it_is_learnt_from(name: str) -> None:
    do, why = (UNFIT | WRITTEN)[name]
    for engine in ("torch", "auto"):
        agent = tiny.live(tiny.agent(Clear(after=40), engine=engine), 60)
        do(agent)
        with pytest.raises(ValueError, match=why):
            agent.learn(60, reset_num_timesteps=False)
        agent.predict(np.zeros((3, 8), np.float32), deterministic=True)  # it may still play
    if name in UNFIT:  # the compiled engine looks again in the middle, too
        with pytest.raises(ValueError, match=why):
            tiny.agent(Clear(after=40)).learn(2 * WHEN, At(do))


def test_a_column_that_is_added_as_the_message_says_is_learnt_from() -> None:
    agent = tiny.live(tiny.agent(Clear(after=40)), 60)
    agent.replay_buffer = memory(agent)
    agent.replay.add_column("q_values", (2,), np.float32, np.nan)
    tiny.live(agent, 60, reset_num_timesteps=False)
    assert agent.runs_compiled
    assert np.isfinite(agent.replay.columns["q_values"][: agent.replay.size()]).all()


def test_an_action_that_there_is_not_is_not_stored() -> None:
    replay = memory(tiny.agent())
    seen, nothing = np.zeros((4, 8)), np.zeros(4)
    with pytest.raises(ValueError, match="actions from 0 to 7 cannot be replayed: they must be"):
        replay.add(seen, seen, np.array([0, 7, 1, 1]), nothing, nothing, [{}] * 4)
    assert replay.accumulator.pending == 0


SETTINGS = [
    (0, "samples", 20, r"ewc: samples = 20 was set, and what it keeps is that of samples = 2048"),
    (0, "batch", 4, r"ewc: batch = 4 counts only with fisher = 'td'"),
    (1, "anchor", "ema", r"l2: anchor = 'ema' was set, and what it keeps is that of anchor = 'las"),
    (1, "lam", "3", r"l2: lam = '3' must be a number"),
    (1, "lam", -1.0, r"l2: lam = -1\.0 must be finite and at least 0"),
    (2, "margin", 0.2, r"gem: margin = 0\.2 is a share of gradients"),
    (3, "algorithm", 1, r"mer: algorithm 1 learns single examples by plain SGD, not by Adam"),
]


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_settings_and_parts_that_cannot_be_honoured_are_refused(engine: str, tmp_path: Any) -> None:
    agent = tiny.agent(EWC(), L2(), make_part("gem"), make_part("mer"), engine=engine)
    tiny.live(agent, WHEN)

    def refuses(do: Callable[[Any], object], why: str) -> None:
        with pytest.raises(ValueError, match=why):  # in the middle of a run
            agent.learn(40, At(do), reset_num_timesteps=False)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=why):
            agent.learn(40, reset_num_timesteps=False)
        with pytest.raises(ValueError, match=why):
            agent.save_training(tmp_path / "agent.zip")

    for i, name, value, why in SETTINGS:
        part: Any = agent.parts[i]
        before = getattr(part, name)
        refuses(lambda _, part=part, name=name, value=value: setattr(part, name, value), why)  # type: ignore[misc]
        setattr(part, name, before)
    refuses(lambda _: agent.parts.append(Reptile()), "part 'reptile' was added after the agent")
    agent.parts.pop()
    agent.parts[1].lam = 4  # type: ignore[attr-defined]
    tiny.live(agent, 40, reset_num_timesteps=False)
    assert type(agent.parts[1].lam) is float  # type: ignore[attr-defined]
    agent.save_training(tmp_path / "agent.zip")
    assert ContinualDQN.load(tmp_path / "agent.zip", device="cpu").parts[1].lam == 4  # type: ignore[attr-defined]


def test_an_optimizer_that_a_part_has_no_use_for_is_refused_later_too() -> None:
    agent = tiny.agent(
        make_part("mer", {"algorithm": "1"}), policy={"optimizer_class": torch.optim.SGD}
    )
    adam(agent)
    with pytest.raises(ValueError, match="single examples by plain SGD, not by Adam"):
        agent.learn(20)


def test_an_engine_that_does_not_exist_is_refused_later_too() -> None:
    agent = tiny.agent()
    agent.engine = "compield"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="unknown engine 'compield'"):
        agent.learn(20)


# What counts as changed.


class Renamed(FIFOReplayBuffer):
    def sample(self, *args: Any, **kwargs: Any) -> Any:
        return super().sample(*args, **kwargs)


def test_a_method_may_be_changed_in_many_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    space = tiny.life().observation_space
    kinds: dict[str, Any] = {"action_space": tiny.life().action_space, "device": "cpu"}
    plain = FIFOReplayBuffer(10, space, **kinds)
    none: frozenset[str] = frozenset()
    assert changed(plain, FIFOReplayBuffer, none) is None
    assert changed(Renamed(10, space, **kinds), FIFOReplayBuffer, none) == "sample"
    assert changed(Renamed(10, space, **kinds), FIFOReplayBuffer, frozenset({"sample"})) is None
    own: Any = FIFOReplayBuffer(10, space, **kinds)
    own.gather = own.gather
    assert changed(own, FIFOReplayBuffer, none) == "gather"
    draw = FIFOReplayBuffer._draw
    for other in (
        lambda self, size: np.zeros(size, np.int64),
        wraps(draw)(lambda self, size: np.zeros(size, np.int64)),
        partialmethod(draw),
        Mock(side_effect=draw),
    ):
        monkeypatch.setattr(FIFOReplayBuffer, "_draw", other)
        assert changed(plain, FIFOReplayBuffer, none) == "_draw"
    monkeypatch.undo()
    for owner, name, why in (
        (Exploration, "draw", "draw() of exploration was changed"),
        (nn.ReLU, "forward", "forward() of a layer was changed"),
        (Part, "add_gradient", "part 'between' overrides add_gradient()"),
        (torch.optim.Adam, "step", "step() of the optimizer was changed"),
    ):
        monkeypatch.setattr(owner, name, wraps(getattr(owner, name))(lambda *given: None))
        assert why in tiny.agent(Between()).engine_report
        monkeypatch.undo()
    assert tiny.agent(Between()).engine_report == "compiled"


def test_what_pytorch_puts_around_its_own_methods_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its compiler does so with methods of all optimisers, once anybody has imported it."""
    importlib.import_module("torch._dynamo.eval_frame").TorchPatcher.patch()
    assert tiny.agent().engine_report == "compiled"
    own = importlib.import_module("torch._dynamo").disable(lambda *given: None)
    monkeypatch.setattr(torch.optim.Adam, "_init_group", own)
    assert "_init_group() of the optimizer was changed" in tiny.agent().engine_report


# Parts.


@dataclass
class Between(Part):
    """Acts only between gradient steps."""

    name: ClassVar[str] = "between"

    def phase_start(self, learner: Any, phase: int) -> None:
        if phase:
            with torch.no_grad():
                for tensor in learner.q_net.parameters():
                    tensor.mul_(0.5)


class Listed(L2):
    """As if somebody had written a part, and forgotten its kernel."""

    name: ClassVar[str] = "listed"

    def before_update(self, learner: Any) -> None:
        with torch.no_grad():
            for tensor in learner.q_net.parameters():
                tensor.mul_(0.999)


class Second(Clone):
    name: ClassVar[str] = "second"
    conflicts: ClassVar[frozenset[str]] = frozenset()


class Described(L2):
    """Replaces a method by something that is no function."""

    name: ClassVar[str] = "described"
    add_gradient = property(lambda self: lambda learner: None)  # type: ignore[assignment]


def test_a_part_that_acts_between_gradient_steps_is_compiled(without_parts: ContinualDQN) -> None:
    torchs, compiled = (tiny.live(tiny.agent(Between(), engine=e)) for e in ("torch", "compiled"))
    assert compiled.engine_report == "compiled"
    assert distance(torchs, compiled) < 1e-5
    assert distance(torchs, without_parts) > 1e-2


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((Listed(),), r"part 'listed' overrides before_update\(\)"),
        ((Described(),), r"part 'described' overrides add_gradient\(\)"),
        ((tiny.Spy(),), r"part 'spy' overrides \w+\(\), which only Python can run"),
    ],
)
def test_what_only_python_can_run_is_not_compiled(parts: tuple[Part, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        tiny.agent(*map(copy.deepcopy, parts), engine="compiled")
    assert not tiny.agent(*map(copy.deepcopy, parts)).runs_compiled


def test_two_parts_of_a_kind() -> None:
    parts = [Clone(batch=4), Second(what="policy", batch=9), Reptile(every=7)]
    torchs, compiled = (
        tiny.live(tiny.agent(*copy.deepcopy(parts), engine=e)) for e in ("torch", "compiled")
    )
    assert distance(torchs, compiled) < 1e-5
    assert distance(torchs, tiny.live(tiny.agent(*parts[:1], engine="torch"))) > 1e-4


def test_a_part_that_is_listed_and_has_no_kernel_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PARTS, "listed", Listed)  # type: ignore[arg-type]
    with_it = tiny.live(tiny.agent(make_part("listed")))
    assert not with_it.runs_compiled
    assert distance(with_it, tiny.live(tiny.agent(make_part("l2")))) > 1e-3


IN_PRESETS = {part.partition(":")[0] for method in METHODS.values() for part in method.parts}
"""Parts that ``test_parity.py`` trains with in both engines, in the presets of their methods."""


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=pytest.mark.slow if n in IN_PRESETS else ())
        for n in PARTS
        if n not in tiny.UNCOMPILED
    ],
)
def test_every_part_there_is_does_the_same_in_both_engines(
    name: str, without_parts: ContinualDQN
) -> None:
    settings = {
        "best-return": {"steps": 40, "trial": 8},
        "clear": {"after": 60},
        "reptile": {"every": 7},
        "agem": {"batch": 2},
        "gem": {"batch": 2},
        "generative-replay": {"alpha": 5.0, "components": 3},
        "lwf": {"alpha": 5.0},
        "benna-fusi": {"every": 40, "beakers": 4, "pace": 0.1},
        "pt-dqn": {"every": 40, "updates": 5, "batch": 16},
        "hare-tortoise": {"every": 40, "decay": 0.9},
        "drop-and-grow": {"every": 40, "over": 200},
        "redo": {"every": 40, "tau": 0.5},
        "spectral": {"lam": 1.0},
        "neurogenesis": {"every": 40, "rate": 0.1},
        "continual-backprop": {"every": 40, "rate": 0.01, "maturity": 9},
    }.get(name, {})
    agents = []
    for engine in ("torch", "compiled"):
        agents.append(tiny.live(tiny.agent(make_part(name, settings), engine=engine)))
    assert distance(*agents) < 1e-5
    assert distance(agents[0], without_parts) > 1e-4


# Copies.

COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda agent: pickle.loads(pickle.dumps(agent)),
}


@pytest.mark.one_in(3)
@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(
    "method", ["finetune", "ewc", "si", "mer-lazy", "clone", "agem", "gem", "clear"]
)
def test_a_copy_trains_on_as_the_original_does(method: str, how: str) -> None:
    agent = build_agent("FlappyBird", tiny.CONFLICT, tiny.SETTINGS, 0, METHODS[method])
    tiny.live(agent, 160)
    twin = COPIES[how](agent)
    assert twin.runs_compiled
    assert agent.runs_compiled
    before = tiny.bits(agent)
    assert tiny.bits(twin) == before
    for one in (twin, agent):  # and neither works on the other's memory
        tiny.live(one, 120, reset_num_timesteps=False)
        if one is twin:
            assert tiny.bits(agent) == before
    assert [*tiny.differences(tiny.inside(twin), tiny.inside(agent))] == []
    assert twin.env is not agent.env
    assert_acts_as_its_network(twin)


def test_what_holds_addresses_is_not_copied_with_them() -> None:
    agent = tiny.live(tiny.agent(), 60)
    for thing, what in ((agent._compiled, "engine"), (agent._fused, "loop")):
        assert thing is not None
        for way in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match=f"a compiled {what} holds addresses"):
                way(thing)


def test_two_agents_may_share_their_networks() -> None:
    agent = tiny.live(tiny.agent(EWC()), 60)
    shallow = copy.copy(agent)
    for one in (shallow, agent, shallow):
        tiny.live(one, 40, reset_num_timesteps=False)
    assert shallow.policy is agent.policy
    assert_acts_as_its_network(agent)
