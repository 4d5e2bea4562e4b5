"""Settings of the DQN that suit these games; nothing here needs PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeVar, get_args

from continual_arcade.agents.exploration import EpsilonRule
from continual_arcade.envs.checks import (
    COUNTS_WITH,
    AtOnce,
    Count,
    Instance,
    Number,
    Positive,
    Share,
    Whole,
    check_fields,
)
from continual_arcade.envs.context import INFERRED, ContextKind
from continual_arcade.envs.messages import unknown

Engine = Literal["auto", "torch", "compiled"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
Initial = Literal["default", "xavier", "sparse"]
Convolutions = Literal["small", "nature"]
Heads = Literal["shared", "per_phase"]
"""Of layers that all phases may share, or have one of their own each."""
Loss = Literal["td", "cross_entropy", "squared"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
"""In the order of their numbers, which control records of compiled code hold."""
DECAY = Number(0, below=1)
"""How much of the average of weights is kept after an update; 0 for no average."""
LARGEST_STEP = 1e30
"""Of step sizes, and of what else an optimiser multiplies parameters and gradients by: with more,
PyTorch leaves single precision in the middle of a step, and says nothing that helps."""
StepSize = Annotated[float, Number(above=0, high=LARGEST_STEP)]
"""Of an optimiser."""
PROBABILITY = Number(0, below=1)
"""Of leaving a unit out: one of them must remain."""

Tasks = Annotated[int, Whole(1, 1_000)]
"""Most tasks that may be told apart; more would be told apart by chance."""
Hazard = Annotated[float, Number(above=0, below=1)]
"""Probability that something ends."""
Sure = Annotated[float, Number(above=0.5, below=1)]
"""Probability with which something is declared: of what is more probable than all else."""
Memory = Annotated[float, Number(1)]
"""How much of what was counted last is remembered."""

BEFORE = {
    "average": 0.0,
    "activation": "relu",
    "loss": "td",
    "initial": "default",
    "convolutions": "small",
    "heads": "shared",
    "inputs": "shared",
    "tasks": 4,
    "task_window": 200,
    "task_hazard": 1e-3,
    "task_sure": 0.99,
    "task_memory": 20.0,
}
"""What there was before there were the settings, which older files lack."""
_OF_TD = {COUNTS_WITH: ("loss", ("td",))}
"""What is refused of an agent that learns labels."""
_FADING = {COUNTS_WITH: ("epsilon", ("global", "per_phase"))}
"""What is refused where exploration is constant."""
_OF_INFERENCE = ("tasks", "task_window", "task_hazard", "task_sure", "task_memory")
"""Settings that say how a task is inferred."""


def check_tells(who: str, context: ContextKind) -> None:
    """Check that observations tell the phase to who must know it.

    Raises:
        ValueError: If not.
    """
    if context not in ("one-hot", INFERRED):
        raise ValueError(
            f"{who} must be told the phase whenever the agent acts, and with context = {context!r} "
            "no observation says which one it is: choose context = 'one-hot', or 'inferred', which "
            "features have, and pictures do not"
        )


def check_learns(learning_starts: int, total_steps: int, who: str = "") -> None:
    """Check that learning starts before the schedule ends.

    Args:
        learning_starts: When it starts [lifetime steps].
        total_steps: When the schedule ends [lifetime steps].
        who: Whose settings these are, for the message.

    Raises:
        ValueError: If it does not.
    """
    if learning_starts >= total_steps:
        raise ValueError(
            f"{who}learning_starts = {learning_starts:,}, but the schedule ends after "
            f"{total_steps:,} steps: nothing would be learnt; make its phases longer "
            "(phase_steps), or learning_starts smaller"
        )


class LearnerSettings(Protocol):
    """What the settings of every algorithm have."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    algorithm: ClassVar[str]
    """Name of the algorithm."""

    @property
    def num_envs(self) -> int:
        """Games that are played side by side."""
        ...

    def takes(self, name: str) -> bool:
        """Say whether it is concerned where a setting of a DQN is decided about."""
        ...

    def check_length(self, total_steps: int) -> None:
        """Check that something is learnt in so many steps.

        Raises:
            ValueError: If not.
        """
        ...


Settings = TypeVar("Settings", bound=LearnerSettings)
"""Settings of some algorithm, the same that were given."""


@dataclass(frozen=True)
class DQNSettings:
    """How the agent learns.

    Raises:
        ValueError: If a setting makes no sense; the message says which.
    """

    algorithm: ClassVar[str] = "dqn"
    """Name of the algorithm."""

    engine: Engine = "auto"
    """What computes: torch serves everything; compiled serves networks without layer_norm,
    dropout, crelu, large convolutions and inputs per_phase, many times as fast; auto is compiled
    where that can serve."""
    num_envs: AtOnce = 8
    """Games that are played side by side."""
    hidden: tuple[Count, ...] = (64, 64)
    """Units of each hidden layer."""
    activation: Literal["relu", "tanh", "crelu"] = "relu"
    """What follows each hidden layer; crelu doubles the inputs of the next one."""
    convolutions: Convolutions = "small"
    """What looks at pictures, before the hidden layers: two small convolutions, or the three of
    Mnih et al. 2015 with their 512 units (nature); only of agents that see pictures."""
    heads: Heads = "shared"
    """Whether all phases share one output layer, or each has one of its own (per_phase), which the
    observation chooses: only with the context one-hot or inferred."""
    inputs: Heads = "shared"
    """The same of the first hidden layer; PyTorch alone computes it."""
    layer_norm: bool = False
    """Normalise each hidden layer."""
    dropout: Annotated[float, PROBABILITY] = 0.0
    """Probability that a hidden unit is left out in training."""
    loss: Loss = "td"
    """What an update makes smaller: the TD loss; or, to learn the labels of a stream of labelled
    examples, cross_entropy or squared."""
    initial: Initial = "default"
    """How weights are drawn: as PyTorch does by default; or xavier, with biases of 0; or sparse,
    as by default but for nine in ten weights of each unit, and all biases, which are 0."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """What makes the gradient steps; ``sgd`` is plain, without momentum."""
    learning_rate: StepSize = 1.25e-3
    """Step size of the optimiser."""
    batch_size: AtOnce = 32
    """Transitions of an update."""
    gradient_steps: AtOnce = 2
    """Updates after each step of all games."""
    buffer_size: Count = 50_000
    """Transitions that replay remembers."""
    learning_starts: int = 1_000
    """Lifetime steps before the first update."""
    n_steps: Count = 3
    """Length of the returns that values are learnt from [steps]."""
    gamma: Share = field(default=0.99, metadata=_OF_TD)
    """Discount of a step."""
    double_q: bool = field(default=True, metadata=_OF_TD)
    """Let the online network choose the action whose value the target network gives."""
    target_update_interval: Count = field(default=1_000, metadata=_OF_TD)
    """Lifetime steps between copies of the network to the target network."""
    epsilon: EpsilonRule = "global"
    """Whether exploration fades over the whole run, over each phase, or is constant (the final
    one)."""
    exploration_initial_eps: Share = field(default=0.5, metadata=_FADING)
    """Probability of an exploratory action at the beginning of the run."""
    exploration_final_eps: Share = 0.01
    """Probability of an exploratory action once exploration is over."""
    exploration_fraction: Share = field(default=0.15, metadata=_FADING)
    """Part of the whole run, or of each phase, in which it falls from one to the other."""
    max_grad_norm: Positive = 10.0
    """Norm to which gradients are clipped."""
    average: Annotated[float, DECAY] = 0.999
    """How much of the average of the network's weights is kept after an update; agents are
    evaluated by this average, which takes no part in learning. 0 for none."""
    tasks: Tasks = 4
    """Most tasks that the agent may tell apart; this and what follows only with the context
    inferred."""
    task_window: AtOnce = 200
    """Transitions of all games together that are counted before the task is inferred anew."""
    task_hazard: Hazard = 1e-3
    """Probability that a task ends after a window."""
    task_sure: Sure = 0.99
    """Probability with which a switch of tasks is declared."""
    task_memory: Memory = 20.0
    """Windows of a task that its counts remember."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "DQNSettings":
        """Read the settings that a run wrote down.

        Raises:
            ValueError: If they are those of another version, or make no sense.
        """
        known = {f.name for f in fields(cls)}
        for name in Instance((Mapping,))("settings", data):
            if name not in known:
                raise ValueError(unknown("setting", name, known))
        data = {**BEFORE, **data}
        if lacking := sorted(known - data.keys()):
            raise ValueError(
                f"the settings lack {', '.join(lacking)}: they were written by another version"
            )
        return cls(**data)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.buffer_size < self.batch_size:
            raise ValueError(
                f"buffer_size = {self.buffer_size} is smaller than batch_size = "
                f"{self.batch_size}: there would never be enough to learn from"
            )

    def takes(self, name: str) -> bool:
        """Say whether it is concerned where a setting of a DQN is decided about: of any."""
        return True

    @property
    def told(self) -> list[str]:
        """Names of settings by which something of the network is of one phase alone."""
        return [name for name in ("heads", "inputs") if getattr(self, name) != "shared"]

    def check_context(self, context: ContextKind) -> None:
        """Check that they are for what an observation shows of its phase.

        Raises:
            ValueError: If one is for another context.
        """
        if context == INFERRED and self.epsilon == "per_phase":
            raise ValueError(
                "epsilon = 'per_phase' knows when phases end, which with context = 'inferred' "
                "nobody tells the agent: choose epsilon = 'global' or 'constant'"
            )
        changed = [name for name in _OF_INFERENCE if getattr(self, name) != BEFORE[name]]
        if context != INFERRED and changed:
            raise ValueError(
                f"{changed[0]} = {getattr(self, changed[0])} says how a task is inferred, and with "
                f"context = {context!r} none is: leave it out, or choose context = 'inferred'"
            )
        for name in self.told:
            check_tells(f"{name} = {getattr(self, name)!r}", context)

    def check_length(self, total_steps: int) -> None:
        """Check that learning starts before the end.

        Raises:
            ValueError: If not.
        """
        check_learns(self.learning_starts, total_steps)
