"""A mixture of Gaussians, fitted to weighted rows by expectation and maximisation.

The covariances are full. None of their eigenvalues may be smaller than a floor, and each maximising
step is the best one under that condition (eigenvalues below the floor are raised to it), so that
the likelihood of what is fitted never falls.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]
_LEAST = 1e-12
"""A component that is responsible for less than this share of all stays where it is."""


@dataclass
class GaussianMixture:
    """A mixture of Gaussians over rows of numbers.

    Args:
        weights: Shares of the components, shape ``(components,)``.
        means: Shape ``(components, features)``.
        covariances: Shape ``(components, features, features)``.
    """

    weights: Rows
    means: Rows
    covariances: Rows
    likelihoods: list[float] = field(default_factory=list)
    """Mean log-likelihood of the fitted rows before each step of the fit, and after the last."""

    def densities(self, rows: Rows) -> Rows:
        """Return the log-density of each component times its weight, ``(rows, components)``."""
        found = np.empty((len(rows), len(self.weights)))
        constant = rows.shape[1] * np.log(2 * np.pi)
        with np.errstate(divide="ignore"):  # a weight may have come down to 0
            shares = np.log(self.weights)
        for k, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            values, axes = np.linalg.eigh(covariance)
            whitened = (rows - mean) @ (axes / np.sqrt(values))
            distances = (whitened**2).sum(1)
            found[:, k] = shares[k] - 0.5 * (constant + np.log(values).sum() + distances)
        return found

    def sample(self, count: int, rng: np.random.Generator) -> Rows:
        """Draw rows, shape ``(count, features)``."""
        chosen = rng.choice(len(self.weights), size=count, p=self.weights)
        drawn = rng.normal(size=(count, self.means.shape[1]))
        for k, covariance in enumerate(self.covariances):
            values, axes = np.linalg.eigh(covariance)
            of_it = chosen == k
            drawn[of_it] = self.means[k] + drawn[of_it] * np.sqrt(values) @ axes.T
        return drawn


def fit(
    rows: Rows,
    shares: Rows,
    components: int,
    rng: np.random.Generator,
    steps: int = 100,
    floor: float = 1e-4,
    tolerance: float = 1e-4,
) -> GaussianMixture:
    """Fit a mixture.

    Args:
        rows: What it is fitted to, shape ``(count, features)``.
        shares: How much each row counts; they sum to 1.
        components: Gaussians.
        rng: Where the first means are drawn, among the rows, far from each other.
        steps: Most steps.
        floor: Smallest variance in any direction.
        tolerance: Rise of the mean log-likelihood below which it is done.
    """
    means = _spread_out(rows, shares, components, rng)
    every = np.broadcast_to(_covariance(rows, shares, floor), (components, *2 * rows.shape[1:]))
    mixture = GaussianMixture(np.full(components, 1 / components), means, every.copy())
    for _ in range(steps):
        _step(mixture, rows, shares, floor)
        found = mixture.likelihoods
        if len(found) > 1 and found[-1] - found[-2] < tolerance:
            break
    mixture.likelihoods.append(float(shares @ _sums(mixture.densities(rows))))
    return mixture


def _step(mixture: GaussianMixture, rows: Rows, shares: Rows, floor: float) -> None:
    densities = mixture.densities(rows)
    sums = _sums(densities)
    mixture.likelihoods.append(float(shares @ sums))
    responsible = np.exp(densities - sums[:, None]) * shares[:, None]
    mixture.weights = responsible.sum(0)
    mixture.weights /= mixture.weights.sum()
    for k, weight in enumerate(responsible.sum(0)):
        if weight > _LEAST:
            of_it = responsible[:, k] / weight
            mixture.means[k] = of_it @ rows
            mixture.covariances[k] = _covariance(rows, of_it, floor)


def _sums(densities: Rows) -> Rows:
    """Return the logarithm of the sum over components, row by row."""
    most = densities.max(1)
    sums: Rows = most + np.log(np.exp(densities - most[:, None]).sum(1))
    return sums


def _covariance(rows: Rows, shares: Rows, floor: float) -> Rows:
    away = rows - shares @ rows
    values, axes = np.linalg.eigh((away * shares[:, None]).T @ away)
    covariance: Rows = (axes * np.maximum(values, floor)) @ axes.T
    return covariance


def _spread_out(rows: Rows, shares: Rows, count: int, rng: np.random.Generator) -> Rows:
    """Choose rows as means: each drawn by its squared distance to the nearest one (k-means++)."""
    chosen = [rng.choice(len(rows), p=shares)]
    nearest = np.full(len(rows), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((rows - rows[chosen[-1]]) ** 2).sum(1))
        odds = nearest * shares
        total = odds.sum()
        chosen.append(rng.choice(len(rows), p=odds / total if total > 0 else shares))
    return rows[chosen].copy()
