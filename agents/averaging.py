"""An average of a network's weights along the way, which is what an agent is evaluated by.

The greedy policy of the last weights swings from update to update, by tens of pipes. The mean of
the weights of some time swings less, and is better than nearly all of them. It never takes part in
learning.

Source:
    Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging", which
    averages over all steps; here the weights of the past fade exponentially, and are normalised as
    the moments of Adam are (Kingma and Ba 2015, algorithm 1), so that the weights that the network
    began with have no part in it.
"""

from collections.abc import Mapping
from copy import copy, deepcopy
from typing import Any

import torch
from torch import nn

from continual_arcade.agents.kernels.arithmetic import drawn_back, share_of_average
from continual_arcade.envs.checks import Whole
from continual_arcade.envs.schedules import LONGEST


class WeightAverage:
    """The exponential moving average of a network's weights.

    It is brought up to date when the updates that follow a step of the environments have been made,
    as if nothing had changed before the last of them. If the network is changed by anything else
    than learning (``set_parameters``, a part at a phase's end), the average begins again from what
    it is then; if a part changes single weights between two updates, theirs alone does.

    Args:
        network: The network that learns.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = deepcopy(network).eval().requires_grad_(requires_grad=False)
        """Has the average of the weights as its weights."""
        self.updates = 0
        """Updates that it is an average over."""
        self.seen = [tensor.detach().clone() for tensor in network.parameters()]
        """The weights of the network when it last learnt."""

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The averages, in the order of the network's parameters."""
        return list(self.network.parameters())

    def fold(self, network: nn.Module, updates: int, decay: float) -> None:
        """Take the weights in.

        Args:
            network: The network, after these updates.
            updates: How many were made since the last call.
            decay: How much of the average is kept after each.
        """
        share = share_of_average(decay, self.updates, updates)
        self.updates += updates
        with torch.no_grad():
            for average, now in zip(self.network.parameters(), network.parameters(), strict=True):
                average.copy_(drawn_back(now, average, share))
        self._look(network)

    def restart(self, network: nn.Module) -> None:
        """Begin again from the weights of the network."""
        self.updates = 0
        self.network.load_state_dict(network.state_dict())
        self._look(network)

    def jump(self, network: nn.Module) -> None:
        """Follow single weights that something else than learning has changed.

        Of these the average begins again from what they are; that of all others goes on.
        """
        with torch.no_grad():
            for average, seen, now in zip(
                self.network.parameters(), self.seen, network.parameters(), strict=True
            ):
                average.copy_(torch.where(now == seen, average, now))
        self._look(network)

    def suits(self, network: nn.Module) -> bool:
        """Return whether it is an average of networks like this one."""
        now = [tensor.shape for tensor in network.parameters()]
        return now == [tensor.shape for tensor in self.seen]

    def follow(self, network: nn.Module) -> None:
        """Begin again if the network is not as learning has left it."""
        if not all(map(torch.equal, network.parameters(), self.seen)):
            self.restart(network)
        self._take_buffers(network)

    def _take_buffers(self, network: nn.Module) -> None:
        for kept, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            kept.copy_(buffer)

    def _look(self, network: nn.Module) -> None:
        with torch.no_grad():
            for seen, now in zip(self.seen, network.parameters(), strict=True):
                seen.copy_(now)
            self._take_buffers(network)

    def state_dict(self) -> dict[str, Any]:
        """Return how many updates it is over, and the weights."""
        return {"updates": self.updates, "network": self.network.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], network: nn.Module) -> None:
        """Become what was saved beside a network, which has its weights already.

        Raises:
            ValueError: If the number of updates makes no sense.
        """
        self.updates = Whole(0, LONGEST)("updates", state["updates"])
        self.network.load_state_dict(state["network"])
        for seen, now in zip(self.seen, network.parameters(), strict=True):
            seen.copy_(now.detach())


class Averaged:
    """An agent that plays by the average of its weights, greedily.

    Args:
        agent: A :class:`~.continual_dqn.ContinualDQN` that keeps an average.
    """

    def __init__(self, agent: Any) -> None:
        self.average_of = agent
        """The agent."""
        self.observation_space = agent.observation_space
        self.action_space = agent.action_space

    @property
    def q_net(self) -> nn.Module:
        """The network whose weights are the average."""
        self.average_of.follow_network()
        network: nn.Module = self.average_of.weight_average.network
        return network

    def predict(
        self,
        observation: Any,
        state: tuple[Any, ...] | None = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[Any, tuple[Any, ...] | None]:
        """Choose the best actions.

        Args:
            observation: One observation, or a batch of them.
            state: Not used.
            episode_start: Not used.
            deterministic: Must be set: what is averaged is what an agent is evaluated by, and
                exploration belongs to training.

        Returns:
            The actions, and ``state``.

        Raises:
            ValueError: If it is to explore.
        """
        if not deterministic:
            raise ValueError(
                "the average of the weights plays greedily: predict(..., deterministic=True), or "
                "explore with the agent itself"
            )
        if self.average_of.weight_average is None:  # it was asked for a moment ago
            self.average_of.follow_network()
        actions = self.average_of.compiled_actions(observation, averaged=True)
        if actions is not None:
            return actions, state
        network = self.q_net
        policy = copy(self.average_of.policy)
        policy._modules = {**policy._modules, "q_net": network}
        chosen: tuple[Any, Any] = policy.predict(
            observation, state, episode_start, deterministic=True
        )
        return chosen
