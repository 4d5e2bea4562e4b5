"""Quantile regression DQN."""

from dataclasses import dataclass
from typing import Any, ClassVar

from continual_arcade.agents.algorithms.algorithm import Algorithm
from continual_arcade.agents.algorithms.settings import AlgorithmSettings
from continual_arcade.agents.settings import DQNSettings, StepSize, check_learns
from continual_arcade.envs.checks import AtOnce, Count, Positive, Share

_DQN = DQNSettings()


@dataclass(frozen=True)
class QRDQNSettings(AlgorithmSettings):
    """How an agent learns by QR-DQN.

    The defaults are those of the DQN of this suite, so that what differs is the algorithm.
    Exploratory actions are uniform.

    Raises:
        ValueError: If a setting makes no sense; the message says which.
    """

    algorithm: ClassVar[str] = "qrdqn"
    carried: ClassVar[frozenset[str]] = AlgorithmSettings.carried | {"buffer_size"}

    n_quantiles: AtOnce = 50
    """Quantiles of the return of each action; the paper has 200, and the time of an update grows
    with their square."""
    learning_rate: StepSize = _DQN.learning_rate
    """Step size of the optimiser."""
    batch_size: AtOnce = _DQN.batch_size
    """Transitions of an update."""
    gradient_steps: AtOnce = _DQN.gradient_steps
    """Updates after each step of all games."""
    buffer_size: Count = _DQN.buffer_size
    """Transitions that replay remembers; the oldest are forgotten first."""
    learning_starts: int = _DQN.learning_starts
    """Lifetime steps before the first update."""
    n_steps: Count = _DQN.n_steps
    """Length of the returns that values are learnt from [steps]."""
    target_update_interval: Count = _DQN.target_update_interval
    """Lifetime steps between copies of the network to the target network."""
    exploration_initial_eps: Share = _DQN.exploration_initial_eps
    """Probability of an exploratory action at the beginning of the run."""
    exploration_final_eps: Share = _DQN.exploration_final_eps
    """Probability of an exploratory action once exploration is over."""
    exploration_fraction: Share = _DQN.exploration_fraction
    """Part of the whole run in which it falls from one to the other; of each phase with method
    from-scratch."""
    max_grad_norm: Positive = _DQN.max_grad_norm
    """Norm to which gradients are clipped."""

    def __post_init__(self) -> None:
        """Check each setting by itself, and what they say together."""
        super().__post_init__()
        if self.buffer_size < max(self.batch_size, self.num_envs):
            raise ValueError(
                f"{self.algorithm}: buffer_size = {self.buffer_size} is smaller than batch_size = "
                f"{self.batch_size} or num_envs = {self.num_envs}: there would never be enough to "
                "learn from"
            )
        if self.target_update_interval < self.num_envs:
            raise ValueError(
                f"{self.algorithm}: target_update_interval = {self.target_update_interval} is less "
                f"than one step of num_envs = {self.num_envs} games: choose as many at least"
            )

    def check_length(self, total_steps: int) -> None:
        """Check that learning starts before the end.

        Raises:
            ValueError: If not.
        """
        check_learns(self.learning_starts, total_steps, f"{self.algorithm}: ")

    @property
    def memory(self) -> int:
        """Transitions that replay remembers."""
        return self.buffer_size

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the constructor, but for those that say what the network is."""
        arguments = super().arguments()
        del arguments["n_quantiles"]
        return {**arguments, "train_freq": 1}

    def policy_arguments(self) -> dict[str, Any]:
        """Return what else the network is told."""
        return {"n_quantiles": self.n_quantiles}


ALGORITHM = Algorithm(
    about="Quantile regression DQN: the distribution of returns, from replay",
    source="Dabney et al. 2018",
    settings=QRDQNSettings,
    learner="sb3_contrib:QRDQN",
    counters=("_n_calls", "exploration_rate"),
    extra="contrib",
)
