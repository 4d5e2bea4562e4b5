"""How far phases use the same parameters: what their Fisher informations have in common."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from continual_arcade.agents.continual_dqn import ContinualDQN
from continual_arcade.agents.methods import importance
from continual_arcade.agents.methods.importance import Parameters


def fisher_informations(
    agent: ContinualDQN, batches: Sequence[npt.NDArray[np.generic]]
) -> list[list[Parameters]]:
    """Compute the diagonal Fisher information of a network for several batches of states.

    Of what the loss of the agent takes the network for: of the classifier softmax(Q) if that is
    the cross-entropy, else of a normal distribution with mean Q (``fisher_policy``,
    ``fisher_gauss``).

    Args:
        agent: The agent.
        batches: Observations, each of shape ``(count, *obs)`` with at least one; such as those of
            each phase.

    Returns:
        For each batch that of each layer, one tensor for each of its parameters.

    Raises:
        ValueError: If observations do not suit the agent.
    """
    network = agent.q_net
    found = []
    for batch in batches:
        states = torch.as_tensor(np.asarray(batch), device=agent.device)
        if agent.loss == "cross_entropy":
            rated = importance.fisher_policy(network, states, 1.0)
        else:
            rated = importance.fisher_gauss(network, states)
        found.append(list(importance.by_layer(network, rated).values()))
    return found


def overlaps(informations: Sequence[Parameters]) -> npt.NDArray[np.float64]:
    """Compute how far each two diagonal Fisher informations lie on the same parameters.

    That is 1 - d^2 with the Frechet distance d^2 = 1/2 tr(F + G - 2 (F G)^(1/2)) of both divided by
    their traces, so that it is the sum over parameters of sqrt(f_i g_i): 1 for equal ones up to a
    factor, 0 for those that have no parameter in common.

    Source: Kirkpatrick et al. (2017), supplementary, on the overlap of Fisher informations, as
    remembered.

    Args:
        informations: Of each one tensor for each parameter, of numbers from 0 on.

    Returns:
        From 0 to 1, shape ``(informations, informations)``; NaN where one of both is 0 everywhere,
        or not finite.
    """
    roots = np.array(
        [
            torch.cat([tensor.double().flatten() for tensor in each]).sqrt().cpu().numpy()
            for each in informations
        ]
    )
    lengths = np.linalg.norm(roots, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        roots /= np.where(np.isfinite(lengths), lengths, np.nan)
    found: npt.NDArray[np.float64] = np.minimum(roots @ roots.T, 1.0)
    return found
