"""How much each parameter of a Q-network matters for what the network says about given states.

Elastic weight consolidation and memory-aware synapses hold on to parameters in proportion to such
an importance. All functions take a network from a batch of states, shape ``(count, ...)``, to
values, shape ``(count, actions)``; Stable-Baselines3's ``QNetwork`` is one. They evaluate it in
evaluation mode and leave everything of it as it was. Frozen parameters are rated like all others.

Gradients are taken per state, then squared or made absolute, and only then averaged. The gradient
of the average would be cheaper, but in it the states cancel each other: its square is too small by
a factor near the number of states. Much public code has it nevertheless; where it is asked for, it
is a ``batch`` of more than one state.

Every estimate is made of two things: mixes, which are weighted sums of the values of a state, and
the size of their gradients, the square or the absolute value. In plain perceptrons there is a short
way to the mean size (``mlp.py``); all other networks are differentiated state by state.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.dqn.policies import QNetwork
from torch import nn
from torch.func import functional_call, jacrev, vmap

from continual_arcade.agents.methods.perceptron import Perceptron, as_perceptron
from continual_arcade.agents.networks import evaluation_mode

Parameters: TypeAlias = list[torch.Tensor]
"""One tensor per parameter of a network, in the order of ``network.parameters()``."""

Size: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""``torch.square`` or ``torch.abs``; the size of a product is the product of the sizes."""

CHUNK = 256
"""States whose gradients are in memory at a time."""


def _check_states(network: nn.Module, states: torch.Tensor, chunk: int) -> None:
    if chunk < 1:
        raise ValueError(f"chunk = {chunk} must be at least 1")
    shape = tuple(states.shape)
    if len(shape) < 2:
        raise ValueError(f"states have shape {shape}: it must be (count, ...)")
    if not len(states):
        raise ValueError(f"states have shape {shape}: there must be at least one")
    # A QNetwork flattens what it gets, and so would accept other shapes of the right size.
    space = network.observation_space if isinstance(network, QNetwork) else None
    if isinstance(space, spaces.Box) and shape[1:] != space.shape:
        raise ValueError(f"states have shape {shape}: each must be of shape {space.shape}")


def _check_values(values: torch.Tensor, count: int, least: int = 1) -> None:
    shape = tuple(values.shape)
    if len(shape) != 2 or shape[0] != count:
        raise ValueError(
            f"values of {count} states have shape {shape}: it must be (count, actions)"
        )
    if shape[1] < least:
        raise ValueError(f"values have shape {shape}: there must be at least {least} actions")


def _values(
    network: nn.Module, states: torch.Tensor, chunk: int, least_actions: int = 1
) -> torch.Tensor:
    """Compute the values of the states, shape ``(count, actions)``.

    Raises:
        ValueError: If there are no states, or they or the values have a wrong shape.
    """
    _check_states(network, states, chunk)
    values = []
    with evaluation_mode(network), torch.no_grad():
        for some in torch.split(states, chunk):
            values.append(network(some))
            _check_values(values[-1], len(some), least_actions)
    return torch.cat(values)


def _rate(
    network: nn.Module,
    states: torch.Tensor,
    mixes: torch.Tensor,
    size: Size,
    chunk: int,
    off_slope: float = 0.0,
    batch: int = 1,
) -> Parameters:
    """Rate parameters by the gradients of mixes of the values.

    Args:
        network: The Q-network.
        states: Observations, shape ``(count, ...)``.
        mixes: What each value weighs in each mix, shape ``(count, mixes, actions)``.
        size: What is taken of each gradient.
        chunk: States whose gradients are in memory at a time.
        off_slope: What the derivative of a ReLU counts as where it is off.
        batch: Consecutive states whose gradients are averaged before their size is taken.

    Returns:
        The mean over the states of sum_m size(sum_a mix_ma dQ_a/dtheta_i).
    """
    perceptron = as_perceptron(network)
    total = [torch.zeros_like(parameter) for parameter in network.parameters()]
    if batch > 1:
        chunk = batch
    chunks = zip(torch.split(states, chunk), torch.split(mixes, chunk), strict=True)
    with evaluation_mode(network), torch.no_grad(), leaky(network, 0 if perceptron else off_slope):
        for some, their_mixes in chunks:
            if batch > 1:
                sums = _size_of_mean(network, some, their_mixes, size, perceptron, off_slope)
            elif perceptron:
                sums = _sizes_in_perceptron(perceptron, some, their_mixes, size, off_slope)
            else:
                sums = _sizes(network, some, their_mixes, size)
            for entry, term in zip(total, sums, strict=True):
                entry += term
    return [entry / len(states) for entry in total]


def _sizes(network: nn.Module, states: torch.Tensor, mixes: torch.Tensor, size: Size) -> Parameters:
    """Sum up the sizes of all gradients, each of which is written out."""
    parameters = {name: tensor.detach() for name, tensor in network.named_parameters()}

    def mixed(
        parameters: dict[str, torch.Tensor], state: torch.Tensor, mixes: torch.Tensor
    ) -> torch.Tensor:
        values: torch.Tensor = functional_call(network, parameters, (state.unsqueeze(0),))[0]
        return mixes @ values

    gradients = vmap(jacrev(mixed), in_dims=(None, 0, 0))(parameters, states, mixes)
    return [size(gradients[name]).sum((0, 1)) for name in parameters]


def _sizes_in_perceptron(
    perceptron: Perceptron,
    states: torch.Tensor,
    mixes: torch.Tensor,
    size: Size,
    off_slope: float,
) -> Parameters:
    """Sum up the sizes of all gradients from those of their factors."""
    sums = []
    for slopes, inputs in perceptron.factors(states, mixes, off_slope):
        sizes = size(slopes).sum(1)
        sums += [sizes.T @ size(inputs), sizes.sum(0)]
    return sums


def _size_of_mean(
    network: nn.Module,
    states: torch.Tensor,
    mixes: torch.Tensor,
    size: Size,
    perceptron: Perceptron | None,
    off_slope: float,
) -> Parameters:
    """Return the sizes of the mean gradients, as often as there are states."""
    count = len(states)
    if perceptron:
        means = []
        for slopes, inputs in perceptron.factors(states, mixes, off_slope):
            means += [torch.einsum("smo,si->moi", slopes, inputs) / count, slopes.mean(0)]
        return [count * size(mean).sum(0) for mean in means]
    # Of copies, since layers may be frozen, and a gradient is asked of all.
    parameters = {name: one.detach().requires_grad_() for name, one in network.named_parameters()}
    every = list(parameters.values())
    sums = [torch.zeros_like(parameter) for parameter in every]
    with torch.enable_grad():
        values = functional_call(network, parameters, (states,))
        for mix in mixes.unbind(1):
            mean = (mix * values).sum() / count
            for entry, slope in zip(
                sums, torch.autograd.grad(mean, every, retain_graph=True), strict=True
            ):
                entry += count * size(slope)
    return sums


@contextmanager
def leaky(network: nn.Module, off_slope: float) -> Iterator[None]:
    """Give each ``nn.ReLU`` a derivative where it is off; what it computes stays the same.

    Args:
        network: Any network.
        off_slope: The derivative; with 0 nothing is done.
    """

    def add_slope(_module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        below: torch.Tensor = inputs[0].clamp(max=0)
        return output + off_slope * (below - below.detach())

    with ExitStack() as afterwards:
        for module in network.modules() if off_slope else ():
            if isinstance(module, nn.ReLU):
                afterwards.callback(module.register_forward_hook(add_slope).remove)
                afterwards.callback(setattr, module, "inplace", module.inplace)
                module.inplace = False  # else it overwrites what the hook reads
        yield


def median_gap(network: nn.Module, states: torch.Tensor, *, chunk: int = CHUNK) -> float:
    """Compute how far the best action typically is above the second best.

    Args:
        network: The Q-network.
        states: Observations, shape ``(count, ...)``.
        chunk: States that are evaluated at a time.

    Returns:
        The median over the states [reward].

    Raises:
        ValueError: If there are no states, or they or the values have a wrong shape.
    """
    return _median_gap(_values(network, states, chunk, least_actions=2))


def _median_gap(values: torch.Tensor) -> float:
    best = values.topk(2, dim=1).values
    return float(torch.quantile(best[:, 0] - best[:, 1], 0.5))


def fisher_gauss(
    network: nn.Module, states: torch.Tensor, *, off_slope: float = 0.0, chunk: int = CHUNK
) -> Parameters:
    """Rate parameters by the Fisher information of a network that predicts values.

    The model is a normal distribution with mean Q(s, .) and variance 1 for each action. The result,
    E_s sum_a (dQ_a/dtheta_i)^2, is the diagonal of its Fisher information, and of the Gauss-Newton
    matrix of half the squared error. Rewards and errors have no part in it.

    Source: Kirkpatrick et al. (2017), Overcoming catastrophic forgetting in neural networks, eq. 3,
    where the Fisher information is F. The paper does not say which model it belongs to.

    Args:
        network: The Q-network.
        states: Observations, shape ``(count, ...)``.
        off_slope: What the derivative of a ReLU counts as where it is off; 0 is the derivative.
        chunk: States whose gradients are in memory at a time.

    Returns:
        The importance of each parameter, in the parameter's shape [reward^2 / parameter^2].

    Raises:
        ValueError: If there are no states, or they or the values have a wrong shape.
    """
    values = _values(network, states, chunk)
    each = torch.diag_embed(torch.ones_like(values))
    return _rate(network, states, each, torch.square, chunk, off_slope)


def fisher_policy(
    network: nn.Module,
    states: torch.Tensor,
    temperature: float | None = None,
    *,
    off_slope: float = 0.0,
    chunk: int = CHUNK,
) -> Parameters:
    """Rate parameters by the Fisher information of a network that decides.

    The model is the policy pi = softmax(Q / T), and the result the diagonal of its Fisher
    information, E_s sum_a pi_a (d log pi_a/dtheta_i)^2. It protects decisions rather than values: a
    shift of all values of a state changes nothing. The temperature must suit the gaps between the
    values; one that is much smaller makes every decision certain, and all importance vanish.

    Source: Kirkpatrick et al. (2017), as in ``fisher_gauss``.

    Args:
        network: The Q-network, of at least two actions.
        states: Observations, shape ``(count, ...)``.
        temperature: T [reward]; None for the median gap over the states, ``median_gap``.
        off_slope: What the derivative of a ReLU counts as where it is off; 0 is the derivative.
        chunk: States whose gradients are in memory at a time.

    Returns:
        The importance of each parameter, in the parameter's shape [1 / parameter^2].

    Raises:
        ValueError: If the temperature, given or computed, is not positive and finite; if there are
            no states, or they or the values have a wrong shape.
    """
    policy, temperature = _policy(network, states, temperature, chunk)
    # d log pi_b/dQ_a = ([a = b] - pi_a) / T, and its square counts pi_b times.
    scores = (torch.diag_embed(torch.ones_like(policy)) - policy.unsqueeze(1)) / temperature
    mixes = policy.sqrt().unsqueeze(2) * scores
    return _rate(network, states, mixes, torch.square, chunk, off_slope)


def _policy(
    network: nn.Module, states: torch.Tensor, temperature: float | None, chunk: int
) -> tuple[torch.Tensor, float]:
    """Return the policy softmax(Q / T), shape ``(count, actions)``, and T."""
    values = _values(network, states, chunk, least_actions=2)
    origin = ""
    if temperature is None:
        temperature = _median_gap(values)
        origin = ", the median gap,"
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature = {temperature}{origin} must be positive and finite")
    return (values / temperature).softmax(dim=1), temperature


def fisher_sampled(
    network: nn.Module,
    states: torch.Tensor,
    temperature: float | None,
    rng: np.random.Generator,
    *,
    off_slope: float = 0.0,
    chunk: int = CHUNK,
) -> Parameters:
    """Estimate what :func:`fisher_policy` computes, from one drawn action for each state.

    E_s (d log pi_a/dtheta_i)^2 with a drawn from pi: the same in expectation, with as many
    gradients as there are states, whatever the number of actions.

    Source: Kirkpatrick et al. (2017), as in ``fisher_gauss``; van de Ven (2025), On the computation
    of the Fisher information in continual learning, who compares the estimates.

    Args:
        network: The Q-network, of at least two actions.
        states: Observations, shape ``(count, ...)``.
        temperature: T [reward]; None for the median gap over the states, ``median_gap``.
        rng: Draws the actions.
        off_slope: What the derivative of a ReLU counts as where it is off; 0 is the derivative.
        chunk: States whose gradients are in memory at a time.

    Returns:
        The importance of each parameter, in the parameter's shape [1 / parameter^2].

    Raises:
        ValueError: As :func:`fisher_policy`.
    """
    policy, temperature = _policy(network, states, temperature, chunk)
    below = rng.random((len(policy), 1)) < policy.double().cumsum(dim=1).cpu().numpy()
    below[:, -1] = True  # where rounding leaves the sum a little under 1
    drawn = torch.as_tensor(below.argmax(axis=1), device=policy.device)
    score = (torch.eye(policy.shape[1]).to(policy)[drawn] - policy) / temperature
    return _rate(network, states, score.unsqueeze(1), torch.square, chunk, off_slope)


def fisher_td(
    network: nn.Module,
    states: torch.Tensor,
    actions: torch.Tensor,
    targets: torch.Tensor,
    *,
    off_slope: float = 0.0,
    batch: int = 1,
    chunk: int = CHUNK,
) -> Parameters:
    """Rate parameters by the squared gradients of the loss that the network is trained with.

    The result, E (dl/dtheta_i)^2 with the Huber loss l of Q_a(s) - target, is the "empirical
    Fisher information", and that is no Fisher information: the targets are not drawn from the
    model. Beware: it falls with the square of the error, and so vanishes as a phase is learnt,
    just when there is something to protect. It is here because other implementations use it.

    Source: Kirkpatrick et al. (2017), as in ``fisher_gauss``; the loss is that of Mnih et al.
    (2015), Human-level control through deep reinforcement learning, with errors clipped to 1.

    Args:
        network: The Q-network.
        states: Observations, shape ``(count, ...)``.
        actions: Actions taken, whole numbers, shape ``(count,)``, or ``(count, 1)`` as in samples
            of Stable-Baselines3.
        targets: What the values of these actions should be, shape as for the actions [reward].
        off_slope: What the derivative of a ReLU counts as where it is off; 0 is the derivative.
        batch: Consecutive states whose gradients are averaged before they are squared; with more
            than one, what is estimated is too small by a factor near it.
        chunk: States whose gradients are in memory at a time.

    Returns:
        The importance of each parameter, in the parameter's shape [reward^4 / parameter^2, as the
        loss is in reward^2].

    Raises:
        ValueError: If there are no states; if they, the values, the actions or the targets have a
            wrong shape; if an action does not exist or a target is not finite.
    """
    values = _values(network, states, chunk)
    chosen = _chosen("actions", actions, values)
    _check_one_each("targets", targets, len(states))
    if not targets.isfinite().all():
        raise ValueError("targets must be finite")

    wanted = targets.detach().reshape(-1, 1)
    slopes = (values.gather(1, chosen) - wanted).clamp(-1, 1)
    loss = torch.zeros_like(values).scatter(1, chosen, slopes)
    return _rate(network, states, loss.unsqueeze(1), torch.square, chunk, off_slope, batch)


def _check_one_each(name: str, given: torch.Tensor, count: int) -> None:
    if tuple(given.shape) not in ((count,), (count, 1)):
        raise ValueError(
            f"{name} have shape {tuple(given.shape)}: it must be ({count},) or ({count}, 1), one "
            "for each state"
        )


def _chosen(name: str, given: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return actions, one for each row of values, shape ``(count, 1)``.

    Raises:
        ValueError: If there is not one for each, or there is no such action.
    """
    _check_one_each(name, given, len(values))
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise ValueError(f"{name} are of {given.dtype}: they must be whole numbers")
    chosen = given.reshape(-1, 1).long()
    for action in (int(chosen.min()), int(chosen.max())):
        if not 0 <= action < values.shape[1]:
            raise ValueError(f"{name} contain {action}: there are only {values.shape[1]} of them")
    return chosen


def fisher_labels(
    network: nn.Module,
    states: torch.Tensor,
    labels: torch.Tensor,
    loss: Literal["cross_entropy", "squared"],
    *,
    off_slope: float = 0.0,
    batch: int = 1,
    chunk: int = CHUNK,
) -> Parameters:
    """Rate parameters by the squared gradients of the loss of labelled examples.

    As :func:`fisher_td` for transitions: the "empirical Fisher information", E (dl/dtheta_i)^2, in
    which labels are those of the data and not drawn from the model.

    Source: Kirkpatrick et al. (2017), as in ``fisher_gauss``; on what it estimates, and how it
    differs from the Fisher information, van de Ven (2025), On the computation of the Fisher
    information in continual learning.

    Args:
        network: The network.
        states: Examples, shape ``(count, ...)``.
        labels: The right answers, whole numbers, shape ``(count,)`` or ``(count, 1)``.
        loss: Of what: cross-entropy, values being logits, or half the squared distance of the
            values from 1 for the label and 0 for all else.
        off_slope: What the derivative of a ReLU counts as where it is off; 0 is the derivative.
        batch: Consecutive states whose gradients are averaged before they are squared; with more
            than one, what is estimated is too small by a factor near it.
        chunk: States whose gradients are in memory at a time.

    Returns:
        The importance of each parameter, in the parameter's shape [1 / parameter^2].

    Raises:
        ValueError: If there are no states; if they, the values or the labels have a wrong shape; if
            a label does not exist.
    """
    values = _values(network, states, chunk)
    chosen = _chosen("labels", labels, values)
    wanted = torch.zeros_like(values).scatter(1, chosen, 1.0)
    said = values.softmax(dim=1) if loss == "cross_entropy" else values
    return _rate(
        network, states, (said - wanted).unsqueeze(1), torch.square, chunk, off_slope, batch
    )


def mas(
    network: nn.Module,
    states: torch.Tensor,
    target: Literal["q", "advantage"],
    *,
    chunk: int = CHUNK,
) -> Parameters:
    """Rate parameters by how strongly they change the length of the network's output.

    The result is E_s |d ||f(s)||^2 / dtheta_i|. With f = Q, the part of the values that all
    actions have in common counts most, which is large where staying alive is rewarded;
    f = Q - mean_a Q is without it.

    Source: Aljundi et al. (2018), Memory aware synapses, eq. 2, with the squared norm that they use
    where there is more than one output. Their public implementation takes the absolute value of the
    gradient of a whole batch, which is smaller.

    Args:
        network: The Q-network; of at least two actions for "advantage".
        states: Observations, shape ``(count, ...)``.
        target: f, either "q" or "advantage".
        chunk: States whose gradients are in memory at a time.

    Returns:
        The importance of each parameter, in the parameter's shape [reward^2 / parameter].

    Raises:
        ValueError: If the target is unknown; if there are no states, or they or the values have a
            wrong shape.
    """
    if target not in ("q", "advantage"):
        raise ValueError(f"target = {target!r} must be 'q' or 'advantage'")

    output = _values(network, states, chunk, least_actions=2 if target == "advantage" else 1)
    if target == "advantage":
        # The mean needs no derivative: what it adds is multiplied by sum_a f_a = 0.
        output = output - output.mean(dim=1, keepdim=True)
    return _rate(network, states, 2 * output.unsqueeze(1), torch.abs, chunk)


def by_layer(network: nn.Module, importance: Parameters) -> dict[str, Parameters]:
    """Lay the importances of parameters out by layer.

    Args:
        network: The network that was rated.
        importance: Importance of each parameter.

    Returns:
        Those of each module that has parameters of its own, by its name, in the order of
        ``network.parameters()``: in a plain perceptron one for each linear layer.
    """
    layers: dict[str, Parameters] = {}
    for (name, _), tensor in zip(network.named_parameters(), importance, strict=True):
        layers.setdefault(name.rpartition(".")[0], []).append(tensor)
    return layers


def zero_shares(network: nn.Module, importance: Parameters) -> list[float]:
    """Compute which share of each layer's parameters does not matter at all.

    A ReLU that is off in all states gets no gradient: the importances of all weights into it and
    out of it are 0, and whatever is in proportion to them leaves it free to be switched on.

    Args:
        network: The network that was rated.
        importance: Importance of each parameter.

    Returns:
        The share of importances that are exactly 0, layer by layer (:func:`by_layer`).
    """
    return [
        sum(int((tensor == 0).sum()) for tensor in layer) / sum(tensor.numel() for tensor in layer)
        for layer in by_layer(network, importance).values()
    ]


def normalise(importance: Parameters, how: Literal["mean", "trace", "none"]) -> Parameters:
    """Bring importance to a common scale, so that a strength suits all phases and all kinds of it.

    Source: Schwarz et al. (2018), Progress & compress, on online EWC: the Fisher information of
    each task is normalised, because a more certain policy has a larger one.

    Args:
        importance: Importance of each parameter.
        how: "mean" to divide by the mean over all parameters of the network, "trace" to divide by
            their sum, "none" to leave it as it is.

    Returns:
        New tensors.

    Raises:
        ValueError: If the way is unknown; if the importance is not finite, or zero everywhere.
    """
    if how not in ("mean", "trace", "none"):
        raise ValueError(f"how = {how!r} must be 'mean', 'trace' or 'none'")
    if not all(bool(tensor.isfinite().all()) for tensor in importance):
        raise ValueError("the importance is not finite")
    # In double precision, where a sum of tiny numbers is still a number to divide by.
    total = sum(float(tensor.double().sum()) for tensor in importance)
    if total == 0:
        raise ValueError("the importance is zero for all parameters")
    count = sum(tensor.numel() for tensor in importance)
    divisor = {"mean": total / count, "trace": total, "none": 1.0}[how]
    return [(tensor.double() / divisor).to(tensor.dtype) for tensor in importance]
