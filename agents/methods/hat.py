"""HAT: each phase learns which hidden units it attends to, and keeps what these need."""

import math
import warnings
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch

from continual_arcade.agents.kernels.arithmetic import choose, cosh
from continual_arcade.agents.methods.base import Learner, State
from continual_arcade.agents.methods.importance import Parameters
from continual_arcade.agents.methods.isolation import Isolation
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import count, number, rule, vector
from continual_arcade.envs.checks import Count, NotNegative, Number, Positive, Whole

COSH_50 = math.cosh(50.0)
"""What the hyperbolic cosine in the compensation of sharp gates is no larger than: its argument is
clipped at 50, as in the authors' code."""


@dataclass
class HAT(Isolation):
    r"""Hard attention to the task (Serra et al. 2018).

    Each hidden unit has a gate :math:`a = \sigma(s e)` for each phase. Its embedding :math:`e` is
    learnt while :math:`s` rises, in cycles, to where gates are nearly 0 or 1, by which the agent
    acts. Weights between units that finished phases attend to do not move.
    """

    name: ClassVar[str] = "hat"
    told: ClassVar[str] = "attention"
    sharpens: ClassVar[str] = "sharpness"
    fixed: ClassVar[frozenset[str]] = frozenset({"s_max"})
    conflicts: ClassVar[frozenset[str]] = frozenset(
        {"packnet", "progressive", "mer", "reptile", "reset", "shrink-perturb", "hare-tortoise"}
        | {"redo", "continual-backprop", "neurogenesis", "drop-and-grow", "spectral", "parseval"}
        | {"agem", "gem", "clone", "lwf", "generative-replay", "upgd", "trac", "best-return"}
        | {"l2", "l2-init", "ewc", "online-ewc", "mas", "si"}
    )

    c: NotNegative = 0.01
    """What attention costs to units that no finished phase attends to."""
    s_max: Annotated[float, Number(above=1)] = 400.0
    """The largest sharpness of gates, by which the agent acts."""
    cycle: Count = 2_000
    """Gradient steps in which the sharpness rises from 1 / s_max to s_max."""
    rate: Positive = 1.0
    """How many times as large a step of the optimiser embeddings make as all else."""
    binarise: bool = True
    """Make gates 0 or 1 at the end of a phase, without which its values are not kept to the bit."""

    free: Parameters = vector()
    """How far each parameter may move: 1 - min(a_i, a_j) of finished phases."""
    embedded: Parameters = vector()
    """1 for the embeddings of the phase that is being learnt, 0 for all else."""
    asked: Parameters = vector()  # what each of their gates costs, as a share of all
    before: Parameters = vector(kept=False)
    sharpness: float = number(0.0, kept=False)
    taken: int = number()  # gradient steps of the cycle

    def __post_init__(self) -> None:
        self.check_settings()

    def bind(self, learner: Learner, rng: Any) -> None:
        """Get ready for a network with gates."""
        super().bind(learner, rng)
        networks: Any = (learner.q_net, learner.q_net_target)
        for network in networks:
            network.sharpest.fill_(self.s_max)
        self._look_at(networks[0])

    @count("before_update", writes="sharpness")
    def anneal(taken: Any, cycle: Any, s_max: Any) -> Any:
        """Sharpen the gates."""
        share = choose(cycle > 1.0, taken / max(cycle - 1.0, 1.0), 1.0)
        return 1.0 / s_max + (s_max - 1.0 / s_max) * share

    @count("before_update", writes="taken")
    def go_on(taken: Any, cycle: Any) -> Any:
        """Count the steps of the cycle."""
        return (taken + 1.0) % cycle

    @rule("before_update", writes="before")
    def note(theta: Any) -> Any:
        """Note where all parameters are."""
        return theta

    @rule("project", where="embedded")
    def compensate(
        theta: Any, gradient: Any, asked: Any, c: Any, sharpness: Any, s_max: Any
    ) -> Any:
        """Add the gradient of c sum a (1 - a_old) / sum (1 - a_old), and make s_max of s."""
        far = abs(sharpness * theta)
        wide = cosh(choose(far > 80.0, 80.0, far))  # beyond, numbers are denormal, and slow
        cost = c * asked * sharpness * 0.5 / (wide + 1.0)
        most = choose(far > 50.0, COSH_50, wide)
        return (gradient + cost) * (s_max / sharpness) * ((most + 1.0) / (cosh(theta) + 1.0))

    @rule("project")
    def mask(gradient: Any, free: Any) -> Any:
        """Let what must not move have no gradient, and no part in its norm."""
        return choose(free, gradient, 0.0)

    @rule("constrain")
    def put_back(theta: Any, before: Any, free: Any) -> Any:
        """Scale the step, not the gradient: Adam would make up for a smaller one."""
        scaled = choose(free == 1.0, theta, before + free * (theta - before))
        return choose(free, scaled, before)

    @rule("constrain", where="embedded")
    def clamp(theta: Any, before: Any, rate: Any) -> Any:
        """Keep embeddings from -6 to 6."""
        moved = before + rate * (theta - before)
        return choose(moved > 6.0, 6.0, choose(moved < -6.0, -6.0, moved))

    def finish(self, learner: Learner) -> None:
        """Keep the gates, and protect the weights between units that they let through."""
        network: Any = learner.q_net
        network.finish(self.binarise)
        self.taken = 0
        self._look_at(network)
        if any(bool((used > 0.5).all()) for used in network.used()):
            warnings.warn(
                f"hat: after {int(network.finished)} phases all units of a hidden layer are used, "
                "and later ones can learn little: more units (hidden), or a larger c",
                stacklevel=2,
            )

    def _look_at(self, network: Any) -> None:
        self.free, self.embedded, self.asked = network.free(), network.current(), network.costs()

    def load_state_dict(self, state: State) -> None:
        """Put back where the cycle was."""
        super().load_state_dict(state)
        Whole(0, self.cycle - 1)("taken of hat", self.taken)

    def log(self, learner: Learner) -> None:
        """Record which share of the units finished phases, and this one, attend to."""
        network: Any = learner.q_net
        for what, gates in (("used", network.used()), ("open", network.gates(network.finished))):
            learner.logger.record(f"hat/{what}", float((torch.cat(gates) > 0.5).float().mean()))


PRESETS = (
    Preset(
        "hat",
        "Each phase learns which hidden units it uses; the weights between these are frozen.",
        source="Serra et al. 2018",
        parts=("hat",),
    ),
)
