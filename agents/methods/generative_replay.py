"""Generative replay: states of earlier phases are made up by a model of them, not kept."""

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space

from continual_arcade.agents.methods.base import Learner, q_values
from continual_arcade.agents.methods.cloning import KeptCloning
from continual_arcade.agents.methods.gaussian_mixture import fit
from continual_arcade.agents.methods.phase_memory import PhaseMemory
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import number
from continual_arcade.envs.checks import AtOnce, Count

Observations = npt.NDArray[Any]
MOST_FEATURES = 64
"""A covariance of more takes longer to fit than a phase to learn."""
_TAKES_ALL, _HAS_SHRUNK = 0.99, 0.5
"""Share of one component, and spread beside that of what was fitted, that are warned of."""


@dataclass
class GenerativeReplay(PhaseMemory, KeptCloning):
    """Holds the values of generated states of all finished phases.

    At each phase end a mixture of Gaussians is fitted to what the phase looked like, and to states
    that the last mixture has made up of the phases before. States drawn from it get the values that
    the network has then, and later phases are learnt together with a batch of them (Shin et al.
    2017; Atkinson et al. 2021 for DQN). No observation is kept once its phase has ended.
    """

    name: ClassVar[str] = "generative-replay"
    needs_boundaries: ClassVar[bool] = True
    fixed: ClassVar[frozenset[str]] = frozenset({"states"})

    states: Count = 2_000
    """Newest observations of a phase that the mixture is fitted to."""
    samples: Count = 5_000
    """States that are generated at a phase end."""
    components: AtOnce = 16
    """Gaussians of the mixture."""

    finished: int = number(0)
    """Phases that have ended."""
    likelihood: float = number(0.0)
    """Mean log-likelihood of what was fitted last, per feature, in units of its spread."""
    spread: float = number(0.0)
    """Standard deviation of what was generated last beside that, of the narrowest feature."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.remember(self.states)

    def bind(self, learner: Learner, rng: np.random.Generator) -> None:
        """Refuse observations that Gaussians are no model of."""
        space = learner.q_net.observation_space
        width = math.prod(space.shape or (0,))
        if not isinstance(space, spaces.Box) or is_image_space(space) or width > MOST_FEATURES:
            raise ValueError(
                f"part {self.name!r} makes states up of at most {MOST_FEATURES} features, and the "
                f"agent sees {'pictures' if is_image_space(space) else 'others'}, {space}: choose "
                "observation = 'features' if there are any, or 'clone', which keeps the states"
            )
        super().bind(learner, rng)

    def phase_end(self, learner: Learner, phase: int) -> None:
        """Fit, generate, and ask the network."""
        played = self.played(phase)
        made = self.observations = self.generated(played.observations, self.observations)
        nothing_else = played.take(np.zeros(len(made), np.int64))
        self.values = q_values(learner, replace(nothing_else, observations=made))
        self.finished += 1

    def generated(self, real: Observations, old: Observations | None) -> Observations:
        """Return states like those of a phase and the old ones of all before, each as often."""
        seen = real if old is None else np.concatenate([real, old])
        rows = seen.reshape(len(seen), -1).astype(np.float64)
        shares = np.full(len(rows), 1 / len(rows))
        if old is not None:
            shares[: len(real)] = 1 / (self.finished + 1) / len(real)
            shares[len(real) :] = self.finished / (self.finished + 1) / len(old)
        middle = shares @ rows
        scale = np.sqrt(shares @ (rows - middle) ** 2)
        varies = rows.max(0) > rows.min(0)
        unit = np.where(varies, scale, 1.0)
        mixture = fit((rows - middle) / unit, shares, self.components, self.rng)
        # Tails of Gaussians reach where no state can be.
        made = middle + mixture.sample(self.samples, self.rng) * unit
        made = np.clip(made, rows.min(0), rows.max(0))
        self.likelihood = mixture.likelihoods[-1] / rows.shape[1]
        self.spread = float((made.std(0) / unit)[varies].min(initial=1.0))
        self._look(float(mixture.weights.max()))
        made = made if np.issubdtype(real.dtype, np.floating) else np.rint(made)
        return made.astype(real.dtype).reshape(-1, *real.shape[1:])

    def _look(self, largest: float) -> None:
        """Warn of a generator that has collapsed."""
        why = []
        if self.spread < _HAS_SHRUNK:
            why.append(f"a feature varies {self.spread:.2f} times as much as what was observed")
        if self.components > 1 and largest > _TAKES_ALL:
            why.append(f"one of {self.components} components makes up {largest:.1%} of the states")
        if why:
            warnings.warn(
                f"{self.name}: the generator has collapsed after phase {self.finished}: "
                f"{', and '.join(why)}; what is replayed is not what was observed",
                stacklevel=3,
            )

    def log(self, learner: Learner) -> None:
        """Record how well the mixture fits, and whether it is as wide as what it was fitted to."""
        if self.finished:
            learner.logger.record(f"{self.name}/log_likelihood", self.likelihood)
            learner.logger.record(f"{self.name}/spread", self.spread)


PRESETS = (
    Preset(
        "generative-replay",
        "States of finished phases are generated, and keep the values they had then.",
        source="Shin et al. 2017; Atkinson et al. 2021 for DQN",
        parts=("generative-replay:alpha=0.001",),
    ),
)
