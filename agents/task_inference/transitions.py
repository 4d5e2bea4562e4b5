"""Transitions as counts: how a feature changes, by the action and by what the change depends on.

Phases differ by what actions do, and not by what observations look like; so what is counted is the
change of each feature. It depends on the action and, as that of a position does on the velocity, on
another feature. Which one that is, and where bins end, is read off the first transitions, once.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.checks import Array

PARTS = 8
"""Bins of a feature on which a change depends: quantiles of the values that were seen first."""
OUTCOMES = 10
"""Bins of a change: around ``PARTS`` values that were seen first, and outside of them."""
_ENOUGH = 20
"""Fewer transitions of an action than this do not say how it changes a feature."""
_FAR = float(np.finfo(np.float64).max)
"""An edge that nothing reaches, so that all changes have as many edges."""

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


class TransitionBins:
    """Puts transitions into bins.

    A context is a feature, an action, and the bin of the feature that its change depends on most:
    of which, in the first transitions, the entropy of the change is smallest. An outcome is the bin
    of the change.

    Args:
        given: Edges of the features' bins ``(features, PARTS - 1)``; on which feature the change of
            each depends, ``(features,)``; edges of changes ``(features, actions, OUTCOMES - 1)``.
    """

    def __init__(self, given: tuple[Floats, Indices, Floats]) -> None:
        self._edges, self._depends, self._changes = given
        self.contexts = num_contexts(len(self._depends), self._changes.shape[1])
        """Number of contexts."""

    @classmethod
    def of_first(
        cls, observations: Floats, actions: Indices, next_observations: Floats, num_actions: int
    ) -> "TransitionBins":
        """Make bins that suit the first transitions.

        Args:
            observations: Shape ``(transitions, features)``.
            actions: Shape ``(transitions,)``.
            next_observations: Those that followed.
            num_actions: How many actions there are.
        """
        features = observations.shape[1]
        inner = np.arange(1, PARTS) / PARTS
        edges = np.array([np.quantile(_distinct(column), inner) for column in observations.T])
        moved = next_observations - observations
        changes = np.full((features, num_actions, OUTCOMES - 1), _FAR)
        for feature, action in np.ndindex(features, num_actions):
            by_action = moved[actions == action, feature]
            values = by_action if len(by_action) >= _ENOUGH else moved[:, feature]
            found = _edges_around(values, 1e-3 * float(moved[:, feature].std()) + 1e-5)
            changes[feature, action, : len(found)] = found
        depends = np.zeros(features, np.int64)
        for feature in range(features):
            entropies = []
            for other in range(features):
                bins = cls((edges, np.full(features, other), changes))
                counts = bins.count(observations, actions, next_observations)
                entropies.append(_entropy(counts.reshape(features, -1, OUTCOMES)[feature]))
            depends[feature] = int(np.argmin(np.round(entropies, 9)))
        return cls((edges, depends, changes))

    def places(
        self, observations: Floats, actions: Indices, next_observations: Floats
    ) -> tuple[Indices, Indices]:
        """Return contexts and outcomes, each of shape ``(transitions, features)``."""
        features = np.arange(len(self._depends))
        moved = next_observations - observations
        outcomes = (moved[:, :, None] > self._changes[:, actions].swapaxes(0, 1)).sum(axis=2)
        deciding = observations[:, self._depends]
        parts = (deciding[:, :, None] > self._edges[self._depends]).sum(axis=2)
        num_actions = self._changes.shape[1]
        return (features * num_actions + actions[:, None]) * PARTS + parts, outcomes

    def count(self, observations: Floats, actions: Indices, next_observations: Floats) -> Floats:
        """Return how often each outcome was there, shape ``(contexts, OUTCOMES)``."""
        contexts, outcomes = self.places(observations, actions, next_observations)
        cells = np.bincount(
            (contexts * OUTCOMES + outcomes).ravel(), minlength=self.contexts * OUTCOMES
        )
        return cells.reshape(-1, OUTCOMES).astype(np.float64)

    def state_dict(self) -> dict[str, Any]:
        """Return the bins."""
        return {"edges": self._edges, "depends": self._depends, "changes": self._changes}

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], features: int, num_actions: int
    ) -> "TransitionBins":
        """Return the bins that :meth:`state_dict` returned.

        Raises:
            ValueError: If they make no sense.
        """
        edges = Array((features, PARTS - 1), np.float64)("edges", state["edges"])
        depends = Array((features,), np.int64, 0, features - 1)("depends", state["depends"])
        shape = (features, num_actions, OUTCOMES - 1)
        return cls((edges, depends, Array(shape, np.float64)("changes", state["changes"])))


def _distinct(values: Floats) -> Floats:
    """Return values without repetitions, so that what rests for long is one value of many."""
    tolerance = 1e-3 * float(np.ptp(values)) + 1e-9
    return np.asarray(np.unique(np.round(values / tolerance)) * tolerance)


def num_contexts(features: int, num_actions: int) -> int:
    """Return how many contexts there are."""
    return features * num_actions * PARTS


def _edges_around(values: Floats, tolerance: float) -> Floats:
    """Return edges between values that stand for all, and beside the first and the last.

    Between them, since many changes are always the same but for rounding.
    """
    quantiles = np.quantile(_distinct(values), np.linspace(0.0, 1.0, PARTS))
    standing = [quantiles[0]]
    for value in quantiles[1:]:
        if value - standing[-1] > tolerance:
            standing.append(value)
    gaps = np.diff(standing)
    beside = max(tolerance, 0.5 * float(gaps.min())) if len(gaps) else tolerance
    between = standing[:-1] + 0.5 * gaps
    return np.concatenate([[standing[0] - beside], between, [standing[-1] + beside]])


def _entropy(counts: Floats) -> float:
    """Return the sum of the entropies of outcomes given their context, by counts [nats]."""
    whole = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(whole > 0, whole, 1.0)
    return float(-(counts * np.log(np.where(shares > 0, shares, 1.0))).sum())
