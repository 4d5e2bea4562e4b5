"""A learner for tests of parts: any network, any loss, and a step that can be read at a glance."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from torch import nn

from continual_arcade.agents.methods import Batch, Part
from continual_arcade.agents.replay import FIFOReplayBuffer
from continual_arcade.agents.replay.n_step import Transitions

Tensors = list[torch.Tensor]
Loss = Callable[[Any, Any], torch.Tensor]
NOTHING = np.zeros(0, np.int64)


class FakeLearner:
    """What parts may use of an agent, around any network and any loss.

    A gradient step calls the hooks in the order that ``parts.part`` tells; nothing is clipped.

    Args:
        network: What is learnt.
        loss: Of the network and the samples of a batch.
        parts: Are bound to it.
        optimizer: Makes the optimiser.
        draw: What ``sample`` returns; batches without samples if not given.
        seed: Seed of the generators of the parts.
        **settings: Of the optimiser.
    """

    loss = "td"
    averaged = None

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        parts: Sequence[Part] = (),
        optimizer: type[torch.optim.Optimizer] = torch.optim.SGD,
        draw: Callable[[int], Batch] | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        self.q_net: Any = network
        self.q_net_target: Any = deepcopy(network)
        self.optimizer = optimizer(network.parameters(), **{"lr": 0.1, **settings})
        self.logger = Logger(None, [])
        self.replay: Any = replay()
        self.num_timesteps = self.lifetime_step = 1
        self.learning_starts, self.batch_size = 0, 16
        self.measures, self.last_td_loss = False, 0.0
        self.learnt: list[Batch] = []
        """Every batch so far."""
        self._loss, self._draw = loss, draw
        self.parts = list(parts)
        for index, part in enumerate(self.parts):
            part.bind(self, np.random.default_rng([seed, index]))

    def sample(self, batch_size: int) -> Batch:
        return Batch(None) if self._draw is None else self._draw(batch_size)  # type: ignore[arg-type]

    def td_loss(self, samples: Any) -> torch.Tensor:
        return self._loss(self.q_net, samples)

    def td_targets(self, samples: Any) -> torch.Tensor:
        return samples.rewards  # type: ignore[no-any-return]

    def ends_with(self, phase: int) -> int:
        return phase

    def place_of(self, phase: int) -> int:
        return phase

    def reinitialise(self, network: bool, optimizer: bool, replay: bool) -> None:
        raise NotImplementedError

    def train(self, steps: int, batch_size: int = 1) -> None:
        """Make the gradient steps that follow a step of the environments."""
        planned = [part for part in self.parts if part.plans_batches]
        if planned:
            for batch in planned[0].batches(self, steps, batch_size):
                self.update(batch)
            return
        for _ in range(steps):
            self.update(self.sample(batch_size))

    def update(self, batch: Batch) -> None:
        """Make one gradient step."""
        self.learnt.append(batch)
        for part in self.parts:
            part.before_update(self)
        loss = batch.weight * self.td_loss(batch.samples)
        self.last_td_loss = loss.item()
        self.optimizer.zero_grad()
        loss.backward()
        for part in self.parts:
            part.on_td_gradient(self)
        for part in self.parts:
            extra = part.loss(self, batch)
            if extra is not None:
                extra.backward()
        for part in self.parts:
            part.add_gradient(self)
        for part in self.parts:
            part.project(self)
        self.optimizer.step()
        for part in self.parts:
            part.project_update(self)
        for part in self.parts:
            part.constrain(self)
        for part in self.parts:
            part.interpolate(self)
        for part in self.parts:
            part.after_update(self)

    def end_phase(self, phase: int = 0) -> None:
        """Go on to the next phase."""
        for part in self.parts:
            part.phase_end(self, phase)
        for part in self.parts:
            part.phase_start(self, phase + 1)

    def play(self, transitions: Transitions) -> None:
        """Tell the parts of transitions; they are not stored."""
        for part in self.parts:
            part.stored(self, transitions, NOTHING, NOTHING)

    def put(self, *values: torch.Tensor) -> None:
        """Set the parameters."""
        with torch.no_grad():
            for tensor, value in zip(self.q_net.parameters(), values, strict=True):
                tensor.copy_(value.reshape(tensor.shape))

    def gradient_of(self, part: Part) -> Tensors:
        """What a part adds to a gradient of 0."""
        for tensor in self.q_net.parameters():
            tensor.grad = torch.zeros_like(tensor)
        part.add_gradient(self)
        return [tensor.grad.clone() for tensor in self.q_net.parameters()]


class Point(nn.Module):
    """Parameters, and nothing that is made of them."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        super().__init__()
        self.tensors = nn.ParameterList(tensor.detach().clone() for tensor in tensors)

    def flat(self) -> torch.Tensor:
        return torch.cat([tensor.flatten() for tensor in self.tensors])


def replay(features: int = 3) -> FIFOReplayBuffer:
    """A memory whose samples are in double precision."""
    observations = spaces.Box(-np.inf, np.inf, (features,), np.float64)
    return FIFOReplayBuffer(10, observations, spaces.Discrete(2), "cpu")


def transitions(observations: np.ndarray, rewards: np.ndarray | None = None) -> Transitions:
    """Transitions with these observations, and with targets as rewards."""
    count = len(observations)
    zeros = np.zeros(count, np.float32)
    return Transitions(
        observations=observations,
        actions=np.zeros((count, 1), np.int64),
        rewards=zeros if rewards is None else rewards,
        next_observations=observations,
        dones=zeros,
        discounts=zeros,
        phases=np.zeros(count, np.int64),
    )


def normal(seed: int, *shape: int) -> torch.Tensor:
    """Normal numbers in double precision."""
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def now(network: nn.Module) -> Tensors:
    """Copies of the parameters."""
    return [tensor.detach().clone() for tensor in network.parameters()]


def same_bits(one: Any, other: Any) -> bool:
    """Whether two lists of tensors are the same, bit for bit."""
    pairs = list(zip(one, other, strict=True))
    return all(a.detach().numpy().tobytes() == b.detach().numpy().tobytes() for a, b in pairs)
