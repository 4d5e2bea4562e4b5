"""What the choice of an agent depends on: the gradient of the chosen value by what is seen."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.dqn.policies import QNetwork

from continual_arcade.agents.networks import evaluation_mode


def saliency(network: QNetwork, observations: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Compute how much the value of the best action changes with each number that is seen.

    That is ``|d max_a Q(o, a) / d o|``, by what enters the network: pictures from 0 to 1, features
    as they are. It says what a small change would do, not what the agent would do without it.

    Source: Simonyan et al. (2014), Deep inside convolutional networks (arXiv 1312.6034), section 3;
    of Q-networks Wang et al. (2016), Dueling network architectures (arXiv 1511.06581), section 4.2.

    Args:
        network: The network, which stays as it was.
        observations: Shape ``(count, *obs)``.

    Returns:
        The same shape, at least 0.

    Raises:
        ValueError: If the observations do not suit the network.
    """
    space = network.observation_space
    states = torch.as_tensor(np.asarray(observations), device=network.device)
    if states.shape[1:] != space.shape or not len(states):
        raise ValueError(
            f"observations have shape {tuple(states.shape)}: it must be (count, "
            f"{', '.join(map(str, space.shape or ()))}), with at least one"
        )
    with evaluation_mode(network), torch.enable_grad():
        seen: Any = preprocess_obs(states, space, normalize_images=network.normalize_images)
        seen = seen.detach().requires_grad_()
        if states.ndim == 2:  # features: they may tell the phase, by which it is chosen who answers
            values = network(seen)
        else:
            values = network.q_net(network.features_extractor(seen))
        (slopes,) = torch.autograd.grad(values.amax(1).sum(), seen)
    found: npt.NDArray[np.float64] = np.abs(slopes.cpu().numpy().astype(np.float64))
    return found
