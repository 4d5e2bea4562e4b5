"""Generative replay: the mixture against what is known of it, and what is replayed of it."""

import copy
import warnings
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from tiny import EACH_ENGINE, LIFE, PHASE, History, agent, bits, live

from continual_arcade.agents import METHODS, ContinualDQN, DQNSettings, build_agent
from continual_arcade.agents.methods import Part, gaussian_mixture
from continual_arcade.agents.methods.base import q_values
from continual_arcade.agents.methods.clone import Clone
from continual_arcade.agents.methods.gaussian_mixture import GaussianMixture, fit
from continual_arcade.agents.methods.generative_replay import GenerativeReplay
from continual_arcade.envs import make_game, shipped

ENGINES = ("torch", "compiled")
SMALL: dict[str, Any] = {"states": 60, "samples": 80, "components": 3, "batch": 8}


# --- the mixture --------------------------------------------------------------------------------


def known(count: int, seed: int = 0) -> tuple[Any, Any]:
    """Rows of a mixture that is known, and which component each comes from."""
    rng = np.random.default_rng(seed)
    which = rng.choice(3, size=count, p=[0.5, 0.3, 0.2])
    middles = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 8.0]])
    turned = np.array([[[1.0, 0.0], [0.8, 0.6]], [[0.3, 0.0], [0.0, 1.5]], [[1.0, 0], [0, 1.0]]])
    drawn = rng.normal(size=(count, 2, 1))
    return middles[which] + (turned[which] @ drawn)[..., 0], which


def even(rows: Any) -> Any:
    return np.full(len(rows), 1 / len(rows))


def test_densities_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    turned = rng.normal(size=(2, 3, 3))
    covariances = turned @ turned.transpose(0, 2, 1) + 0.1 * np.eye(3)
    mixture = GaussianMixture(np.array([0.3, 0.7]), rng.normal(size=(2, 3)), covariances)
    rows = rng.normal(size=(20, 3))
    expected = [
        np.log(weight) + multivariate_normal(mean, covariance).logpdf(rows)
        for weight, mean, covariance in zip(
            mixture.weights, mixture.means, mixture.covariances, strict=True
        )
    ]
    np.testing.assert_allclose(mixture.densities(rows), np.transpose(expected), rtol=1e-9)


def test_a_known_mixture_is_found_again() -> None:
    rows, which = known(4000)
    mixture = fit(rows, even(rows), 3, np.random.default_rng(0), tolerance=1e-8)
    middles = [rows[which == k].mean(0) for k in (0, 1, 2)]
    order = [int(((mixture.means - middle) ** 2).sum(1).argmin()) for middle in middles]
    assert sorted(order) == [0, 1, 2]
    for k, found in enumerate(order):
        own = rows[which == k]
        assert mixture.weights[found] == pytest.approx(len(own) / len(rows), abs=0.01)
        np.testing.assert_allclose(mixture.means[found], own.mean(0), atol=0.05)
        np.testing.assert_allclose(mixture.covariances[found], np.cov(own.T), atol=0.1)


def test_one_component_has_the_moments_of_the_weighted_rows() -> None:
    rows, _ = known(500)
    shares = np.random.default_rng(2).random(500)
    shares /= shares.sum()
    mixture = fit(rows, shares, 1, np.random.default_rng(0))
    np.testing.assert_allclose(mixture.means[0], np.average(rows, axis=0, weights=shares))
    expected = np.cov(rows.T, aweights=shares, ddof=0)
    np.testing.assert_allclose(mixture.covariances[0], expected, rtol=1e-9)


def test_what_is_sampled_has_the_moments_of_the_mixture() -> None:
    rows, _ = known(2000)
    mixture = fit(rows, even(rows), 3, np.random.default_rng(0))
    made = mixture.sample(40_000, np.random.default_rng(3))
    np.testing.assert_allclose(made.mean(0), rows.mean(0), atol=0.06)
    np.testing.assert_allclose(np.cov(made.T), np.cov(rows.T), rtol=0.03, atol=0.2)
    # Each component by itself, which a mistake in its axes would show.
    alone = GaussianMixture(np.ones(1), mixture.means[:1], mixture.covariances[:1])
    made = alone.sample(40_000, np.random.default_rng(4))
    np.testing.assert_allclose(np.cov(made.T), mixture.covariances[0], atol=0.05)


def rises(rows: Any, components: int, floor: float) -> float:
    """Return the smallest rise of the likelihood from one step to the next."""
    rng = np.random.default_rng(components)
    mixture = fit(rows, even(rows), components, rng, floor=floor, tolerance=-np.inf)
    assert len(mixture.likelihoods) == 101
    expected = np.log(np.exp(mixture.densities(rows)).sum(1)).mean()
    assert mixture.likelihoods[-1] == pytest.approx(expected)
    return float(np.diff(mixture.likelihoods).min())


@pytest.mark.parametrize("floor", [1e-4, 0.3, 5.0])
def test_the_likelihood_never_falls(floor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the floor holds, and of rows that repeat; of which adding the floor is no part."""
    rows, _ = known(200)
    repeated = np.repeat(rows[:7], 20, 0)
    for each in (rows, repeated):
        for components in (1, 2, 5, 9):
            assert rises(each, components, floor) > -1e-9

    def padded(rows: Any, shares: Any, floor: float) -> Any:
        away = rows - shares @ rows
        return (away * shares[:, None]).T @ away + floor * np.eye(rows.shape[1])

    monkeypatch.setattr(gaussian_mixture, "_covariance", padded)
    if floor == 0.3:
        assert min(rises(rows, components, floor) for components in (2, 5, 9)) < -1e-6


def test_as_many_components_as_there_are_rows_and_more() -> None:
    for rows in (np.zeros((5, 2)), np.eye(3)):
        mixture = fit(rows, even(rows), 8, np.random.default_rng(0))
        assert np.isfinite(mixture.likelihoods).all()
        assert mixture.weights.sum() == pytest.approx(1)
        assert np.isfinite(mixture.sample(50, np.random.default_rng(0))).all()


# --- what is replayed ---------------------------------------------------------------------------


@dataclass
class Perfect(GenerativeReplay):
    """Its generator is a memory: what it makes up is what was observed."""

    name: ClassVar[str] = "perfect"

    def generated(self, real: Any, old: Any) -> Any:
        return real if old is None else np.concatenate([old, real])


@dataclass
class Relabelled(Clone):
    """Cloning that gives all that it keeps the values of the latest phase end."""

    name: ClassVar[str] = "relabelled"

    def phase_end(self, learner: Any, phase: int) -> None:
        super().phase_end(learner, phase)
        assert self.observations is not None
        empty = learner.replay.stored(np.zeros(len(self.observations), np.int64))
        object.__setattr__(empty, "observations", self.observations)
        self.values = q_values(learner, empty)


@EACH_ENGINE
def test_a_perfect_generator_is_cloning(engine: Any) -> None:
    """Bit for bit; of several phases with the values of the latest end, by the latest network."""
    settings: dict[str, Any] = {"alpha": 3.0, "states": 50, "batch": 8}
    for steps, kind in ((2 * PHASE, Clone), (LIFE, Relabelled)):
        one = live(agent(Perfect(**settings), engine=engine), steps)
        other = live(agent(kind(**settings), engine=engine), steps)
        assert one.runs_compiled == (engine == "compiled")
        assert bits(one) == bits(other)
    assert bits(one) != bits(live(agent(Clone(**settings), engine=engine)))


@EACH_ENGINE
def test_before_a_phase_has_ended_and_without_alpha_it_is_the_dqn(engine: Any) -> None:
    def after(steps: int, *alpha: float) -> Any:
        parts = [GenerativeReplay(alpha=each, **SMALL) for each in alpha]
        return bits(live(agent(*parts, engine=engine), steps))

    assert after(PHASE, 9.0) == after(PHASE)
    assert after(LIFE, 0.0) == after(LIFE) != after(LIFE, 9.0)


@dataclass
class Fitted(GenerativeReplay):
    """Notes what it was given, and what it made of it."""

    name: ClassVar[str] = "fitted"
    noted: list[Any] = field(default_factory=list)

    def phase_end(self, learner: Any, phase: int) -> None:
        super().phase_end(learner, phase)
        self.network = copy.deepcopy(learner.q_net).eval()

    def generated(self, real: Any, old: Any) -> Any:
        made = super().generated(real, old)
        self.noted.append((real, old, made))
        return made


@dataclass
class Forgetful(Fitted):
    """A mistake: the phases before are not fitted again."""

    name: ClassVar[str] = "forgetful"

    def generated(self, real: Any, old: Any) -> Any:
        made = GenerativeReplay.generated(self, real, None)
        self.noted.append((real, old, made))
        return made


def check_moments(kind: type[Fitted]) -> Any:
    part = kind(states=100, samples=20_000, components=4)
    live(agent(part, History(), n_steps=1), LIFE)
    assert len(part.noted) == 2
    before = None
    for finished, (real, old, made) in enumerate(part.noted):
        assert old is before
        assert made.shape == (20_000, 8)
        assert made.dtype == np.float32
        rows = real if old is None else np.concatenate([real, old])
        each = np.full(len(real), 1 / len(real) / (finished + 1))
        shares = each if old is None else np.concatenate([each, np.full(len(old), 0.5 / len(old))])
        middle = shares @ rows
        spread = np.sqrt(shares @ (rows - middle) ** 2)
        np.testing.assert_allclose(made.mean(0), middle, atol=0.05 * spread.max() + 0.02)
        # Clipped to what was seen, which is a little narrower.
        np.testing.assert_allclose(made.std(0), spread, rtol=0.2, atol=0.02)
        assert (made >= rows.min(0)).all()
        assert (made <= rows.max(0)).all()
        before = made
    return part


def test_generated_states_have_the_moments_of_what_they_are_made_of() -> None:
    part = check_moments(Fitted)
    seen = torch.from_numpy(part.observations)
    with torch.no_grad():
        values = part.network(seen).numpy()
    np.testing.assert_allclose(part.values, values, rtol=1e-4, atol=1e-5)
    assert part.finished == 2
    # Nothing that was observed is among what is kept.
    real = {row.tobytes() for row in np.concatenate([noted[0] for noted in part.noted])}
    assert not real & {row.tobytes() for row in part.observations}
    assert part.recent.keys() == {2}  # of the phase that has not ended
    with pytest.raises(AssertionError):
        check_moments(Forgetful)


@pytest.mark.parametrize("mistake", ["shrunk", "one", None])
def test_a_generator_that_collapses_is_warned_of(
    mistake: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gaussian_mixture.fit

    def collapsed(*args: Any) -> GaussianMixture:
        mixture = whole(*args)
        if mistake == "shrunk":
            mixture.means[:] = mixture.means.mean(0)
            mixture.covariances *= 1e-4
        elif mistake == "one":
            mixture.weights[:] = 0.001
            mixture.weights[0] = 1 - 0.001 * (len(mixture.weights) - 1)
        return mixture

    monkeypatch.setattr("continual_arcade.agents.methods.generative_replay.fit", collapsed)
    part = GenerativeReplay(samples=300, components=4)
    part.rng = np.random.default_rng(0)
    rows = known(300)[0].astype(np.float32)
    if mistake is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            part.generated(rows, None)
        assert part.spread > 0.8
        return
    message = "a feature varies 0.0" if mistake == "shrunk" else "one of 4 components makes up 99."
    with pytest.warns(UserWarning, match=f"has collapsed after phase 0: .*{message}"):
        part.generated(rows, None)


def test_features_that_never_change_and_whole_numbers_stay_so() -> None:
    part = GenerativeReplay(samples=500, components=3)
    part.rng = np.random.default_rng(0)
    rows = np.random.default_rng(1).integers(0, 9, (200, 1, 3)).astype(np.uint8)
    rows[..., 1] = 7
    made = part.generated(rows, None)
    assert made.shape == (500, 1, 3)
    assert made.dtype == np.uint8
    assert (made[..., 1] == 7).all()
    assert set(made[..., 0].ravel().tolist()) == set(range(9))


def apart(one: ContinualDQN, other: ContinualDQN) -> float:
    pairs = zip(one.q_net.parameters(), other.q_net.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def test_both_engines_learn_the_same() -> None:
    lives = [live(agent(GenerativeReplay(alpha=5.0, **SMALL), engine=engine)) for engine in ENGINES]
    held: list[Any] = [model.parts[0] for model in lives]
    assert [model.runs_compiled for model in lives] == [False, True]
    np.testing.assert_array_equal(held[0].observations, held[1].observations)
    np.testing.assert_allclose(held[0].values, held[1].values, atol=1e-5)
    assert held[0].rng.bit_generator.state == held[1].rng.bit_generator.state
    assert apart(*lives) < 1e-5


def test_what_is_logged() -> None:
    part = GenerativeReplay(**SMALL)
    model = live(agent(part), PHASE + 40)
    part.log(model)
    logged = model.logger.name_to_value
    assert logged["generative-replay/spread"] == part.spread > 0.5
    assert logged["generative-replay/log_likelihood"] == part.likelihood != 0


def test_pictures_and_many_features_are_refused_by_name() -> None:
    seen: dict[str, Any] = {"observation": "pixels", "screen_size": 21, "stack": 2}
    schedule = shipped("conflict", make_game("Catcher", **seen)).with_steps(80)
    method = METHODS["generative-replay"]
    with pytest.raises(ValueError, match=r"part 'generative-replay' .* sees pictures.*'clone'"):
        build_agent("Catcher", schedule, DQNSettings(), method=method, **seen)


def test_settings_that_make_no_sense() -> None:
    part: type[Part] = GenerativeReplay
    for settings, message in (
        ({"alpha": -1.0}, "generative-replay: alpha = -1"),
        ({"states": 0}, "generative-replay: states = 0"),
        ({"samples": 0}, "generative-replay: samples = 0"),
        ({"components": 0}, "generative-replay: components = 0"),
        ({"batch": 0}, "generative-replay: batch = 0"),
    ):
        with pytest.raises(ValueError, match=message):
            part(**settings)
