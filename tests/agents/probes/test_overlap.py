"""Overlap of Fisher informations, against the distance written out and what must come out."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from continual_arcade.agents.methods.importance import fisher_gauss, fisher_policy
from continual_arcade.agents.probes.overlap import fisher_informations, overlaps

SIZES = st.lists(st.floats(1e-6, 1e6), min_size=6, max_size=6)


def tensors(values: Any) -> list[torch.Tensor]:
    """Two parameters of a layer."""
    flat = torch.tensor(values, dtype=torch.float64)
    return [flat[:4].reshape(2, 2), flat[4:]]


def by_matrices(one: Any, other: Any) -> float:
    """1 - d^2, with whole matrices and a matrix root."""
    f, g = (np.diag(np.array(each) / np.sum(each)) for each in (one, other))
    root = np.real(scipy.linalg.sqrtm(f @ g))
    return float(1 - 0.5 * np.trace(f + g - 2 * root))


@settings(max_examples=40, deadline=None)
@given(SIZES, SIZES)
def test_it_is_one_less_the_frechet_distance(one: Any, other: Any) -> None:
    found = overlaps([tensors(one), tensors(other)])
    assert found[0, 1] == found[1, 0] == pytest.approx(by_matrices(one, other), abs=1e-6)
    np.testing.assert_allclose(np.diag(found), 1)


def test_what_is_not_divided_by_its_trace_would_be_found() -> None:
    one, other = [4.0, 1, 9, 0.1, 1, 2], [0.5, 3, 1, 0.1, 5, 7]
    wrong = np.sqrt(np.array(one) * np.array(other)).sum()
    assert wrong != pytest.approx(by_matrices(one, other), abs=0.1)


def test_bounds_and_factors() -> None:
    one, other = [1.0, 2, 0, 0, 0, 0], [0.0, 0, 3, 0, 1, 0]
    found = overlaps([tensors(one), tensors(other), tensors([1e-30 * x for x in one])])
    np.testing.assert_allclose(found, [[1, 0, 1], [0, 1, 0], [1, 0, 1]], atol=1e-12)


@pytest.mark.parametrize("bad", [[0.0] * 6, [math.inf, 1.0, 1, 1, 1, 1], [math.nan] + [1.0] * 5])
def test_what_has_no_overlap_is_undefined(bad: Any) -> None:
    found = overlaps([tensors([1.0] * 6), tensors(bad)])
    assert found[0, 0] == 1
    assert np.isnan([found[0, 1], found[1, 1]]).all()


def test_it_is_of_what_the_loss_takes_the_network_for() -> None:
    agent = tiny.agent()
    states = np.random.default_rng(0).normal(size=(9, *(agent.observation_space.shape or ())))
    states = states.astype(np.float32)
    for loss, rate in (("td", fisher_gauss), ("squared", fisher_gauss), ("cross_entropy", None)):
        agent.loss = loss
        (layers,) = fisher_informations(agent, [states])
        given_states = torch.as_tensor(states)
        right = rate(agent.q_net, given_states) if rate else None
        right = right or fisher_policy(agent.q_net, given_states, 1.0)
        flat = [tensor for layer in layers for tensor in layer]
        assert all(torch.equal(a, b) for a, b in zip(flat, right, strict=True))
        assert [len(layer) for layer in layers] == [2] * len(layers)
