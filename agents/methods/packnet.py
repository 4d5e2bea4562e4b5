"""PackNet: each phase gets a part of the weights of its own, and sees those of earlier ones."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch.nn import functional

from continual_arcade.agents.methods.base import Learner, begin_from
from continual_arcade.agents.methods.isolation import Isolation
from continual_arcade.agents.methods.mask import HardMask
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.tensors import check_free, parameters
from continual_arcade.agents.told_networks import SubnetworksQNetwork
from continual_arcade.envs.checks import Whole


@dataclass
class PackNet(Isolation, HardMask):
    """Prunes what a phase has learnt to its share of the weights, retrains that, and freezes it.

    At the end of a phase the largest of the weights that are still free become its own, in each
    layer as many as leave all later phases as many; the others become 0 and are free again. What
    was kept is retrained, to give the values from before pruning on the phase's replay, and never
    moves again. Later phases see it, too.
    Biases belong to the first phase. The last phase has all that is left.

    An observation of a finished phase sees the weights of that phase and of earlier ones: so what
    the agent does there is what it did at the end of its retraining, to the bit. For that it must
    be told the phase whenever it acts.
    """

    name: ClassVar[str] = "packnet"
    told: ClassVar[str] = "subnetworks"
    conflicts: ClassVar[frozenset[str]] = frozenset({"reptile", "reset"})

    retrain: Annotated[int, Whole(0)] = 10_000
    """Gradient steps on what was kept, after the rest was pruned."""

    def __post_init__(self) -> None:
        self.check_settings()

    def finish(self, learner: Learner) -> None:
        """Prune, retrain and freeze.

        Raises:
            ValueError: If somebody else has frozen a parameter: pruning changes all of them.
        """
        network = _network(learner)
        check_free(network, self.name)
        finished, phases = int(network.finished), network.phases
        # It teaches the network what that was.
        begin_from(learner, target=True, optimizer=True)
        with torch.no_grad():
            for weight, owner in zip(network.weights, network.owners, strict=True):
                _keep_largest(weight, owner, finished, 1 / (phases - finished))
        self._retrain(learner, finished)
        network.finished += 1
        taken = [owner >= 0 for owner in network.owners]
        self.freeze(learner, _of_all(network, taken, others=True))

    def log(self, learner: Learner) -> None:
        """Record which share of the weights belongs to no phase yet."""
        owners = torch.cat([owner.flatten() for owner in _network(learner).owners])
        learner.logger.record(f"{self.name}/free", float((owners < 0).float().mean()))

    def _retrain(self, learner: Learner, phase: int) -> None:
        """Learn the values from before pruning again, by what the phase has kept and no more.

        Of all actions: what replay holds was played greedily, so that TD targets, which are of the
        actions that were taken, would leave all others to chance.
        """
        network = _network(learner)
        own = [owner == phase for owner in network.owners]
        moves = _of_all(network, own, others=phase == 0)
        for _ in range(self.retrain):
            seen = learner.sample(learner.batch_size).samples.observations
            with torch.no_grad():
                values = learner.q_net_target(seen)
            loss = functional.mse_loss(network(seen), values)
            learner.optimizer.zero_grad()
            torch.autograd.backward(loss)
            before = [tensor.detach().clone() for tensor in parameters(learner)]
            for tensor, free in zip(parameters(learner), moves, strict=True):
                assert tensor.grad is not None
                tensor.grad *= free
            learner.optimizer.step()
            with torch.no_grad():  # to the bit, whatever the optimiser is
                for tensor, free, there in zip(parameters(learner), moves, before, strict=True):
                    tensor.copy_(torch.where(free, tensor, there))


def _network(learner: Learner) -> SubnetworksQNetwork:
    assert isinstance(learner.q_net, SubnetworksQNetwork)
    return learner.q_net


def _keep_largest(weight: torch.Tensor, owner: torch.Tensor, phase: int, share: float) -> None:
    """Give a share of the free weights to a phase, the largest of them; the others become 0."""
    flat, owners = weight.view(-1), owner.view(-1)
    free = torch.nonzero(owners < 0).flatten()
    order = torch.argsort(flat[free].abs(), descending=True, stable=True)
    kept = free[order[: round(share * len(free))]]
    owners[kept] = phase
    flat[owners < 0] = 0.0


def _of_all(
    network: SubnetworksQNetwork, of_weights: list[torch.Tensor], *, others: bool
) -> list[torch.Tensor]:
    """Return booleans for all parameters, those of the weights of linear layers being given."""
    given = dict(zip(map(id, network.weights), of_weights, strict=True))
    every = network.parameters()
    return [given.get(id(one), torch.full_like(one, others, dtype=torch.bool)) for one in every]


PRESETS = (
    Preset(
        "packnet",
        "Each phase gets a part of the weights of its own, which is frozen at its end.",
        source="Mallya and Lazebnik 2018; Wolczyk et al. 2021 for RL",
        parts=("packnet",),
    ),
)
