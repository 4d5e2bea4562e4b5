"""What the settings of all algorithms have in common; nothing here needs PyTorch."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, Self

from continual_arcade.agents.settings import Convolutions, StepSize
from continual_arcade.envs.checks import (
    AtOnce,
    Count,
    Instance,
    NotNegative,
    Number,
    Positive,
    Share,
    check_fields,
)
from continual_arcade.envs.messages import unknown

Clip = Annotated[float, Number(above=0)]
"""How far something may move within an update."""
_OF_ALL = ("num_envs", "hidden", "activation", "convolutions")
"""What is said in words of this suite, and not in those of the constructor."""


@dataclass(frozen=True)
class AlgorithmSettings:
    """How an agent of Stable-Baselines3 learns.

    Every further field is an argument of the constructor of the algorithm, under its name.

    Raises:
        ValueError: If a setting makes no sense; the message says which.
    """

    algorithm: ClassVar[str]
    """Name of the algorithm."""
    carried: ClassVar[frozenset[str]] = frozenset({*_OF_ALL, "gamma"})
    """Settings of a DQN that mean the same here: where a scenario, or a study for all of its
    methods, decides about one of them, it does so for this algorithm, too."""

    num_envs: AtOnce = 8
    """Games that are played side by side."""
    hidden: tuple[Count, ...] = (64, 64)
    """Units of each hidden layer."""
    activation: Literal["relu", "tanh"] = "relu"
    """What follows each hidden layer."""
    convolutions: Convolutions = "small"
    """What looks at pictures: two small convolutions, or the three of Mnih et al. 2015 (nature);
    only of agents that see pictures."""
    gamma: Share = 0.99
    """Discount of a step."""

    def __post_init__(self) -> None:
        """Check each setting by itself."""
        try:
            check_fields(self)
        except ValueError as error:
            raise type(error)(f"{self.algorithm}: {error}") from None

    def takes(self, name: str) -> bool:
        """Say whether it is concerned where a setting of a DQN is decided about."""
        return name in self.carried

    def check_length(self, total_steps: int) -> None:
        """Check that something is learnt in so many steps.

        Raises:
            ValueError: If not.
        """
        raise NotImplementedError

    @property
    def memory(self) -> int:
        """Transitions that are remembered at a time."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the constructor, but for those that say what the network is."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _OF_ALL}

    def policy_arguments(self) -> dict[str, Any]:
        """Return what else the network is told."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read the settings that a run wrote down.

        Raises:
            ValueError: If they are those of another version, or make no sense.
        """
        known = {f.name for f in fields(cls)}
        for name in Instance((Mapping,))("settings", data):
            if name not in known:
                raise ValueError(unknown(f"setting of {cls.algorithm}", name, known))
        if lacking := sorted(known - data.keys()):
            raise ValueError(
                f"the settings lack {', '.join(lacking)}: they were written by another version"
            )
        return cls(**data)


@dataclass(frozen=True)
class OnPolicySettings(AlgorithmSettings):
    """How an agent learns that forgets what it has learnt from: rollout by rollout."""

    learning_rate: StepSize = 3e-4
    """Step size of the optimiser."""
    n_steps: AtOnce = 256
    """Steps of each game in a rollout, which is what it learns from at a time."""
    gae_lambda: Share = 0.95
    """How far advantages look ahead: 0 for a step, 1 for returns (Schulman et al. 2016)."""
    normalize_advantage: bool = True
    """Whether advantages are normalised where they are learnt from."""
    ent_coef: NotNegative = 0.0
    """Weight of the entropy of the policy in the loss."""
    vf_coef: NotNegative = 0.5
    """Weight of the values in the loss."""
    max_grad_norm: Positive = 0.5
    """Norm to which gradients are clipped."""

    @property
    def rollout(self) -> int:
        """Transitions of a rollout."""
        return self.n_steps * self.num_envs

    @property
    def memory(self) -> int:
        """Transitions that are remembered at a time: those of a rollout."""
        return self.rollout

    def check_length(self, total_steps: int) -> None:
        """Check that a rollout is learnt from before the end.

        Raises:
            ValueError: If not.
        """
        if self.rollout >= total_steps:
            raise ValueError(
                f"{self.algorithm}: n_steps = {self.n_steps:,} of num_envs = {self.num_envs} games "
                f"make a rollout of {self.rollout:,} steps, but the schedule ends after "
                f"{total_steps:,}: nothing would be learnt before; make its phases longer "
                "(phase_steps), or n_steps or num_envs smaller"
            )
