"""Where the parts of an agent meet compiled code: shared vectors, and numbers that are handed over.

A binding serves one kind of part. ``before`` brings all that compiled code reads up to date, and
``after`` what it has changed; vectors are shared, so that only their place is checked. Parts that
the agent does not have are bound to nothing, in the same types.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from continual_arcade.agents.engines.flat import FlatVector
from continual_arcade.agents.kernels import parts as kernels
from continual_arcade.agents.kernels import update
from continual_arcade.agents.kernels.random import Stream, stream_of
from continual_arcade.agents.methods.agem import AGEM
from continual_arcade.agents.methods.base import Part
from continual_arcade.agents.methods.cloning import Clear, Clone
from continual_arcade.agents.methods.mask import HardMask
from continual_arcade.agents.methods.meta import MER, Reptile
from continual_arcade.agents.methods.penalties import SI
from continual_arcade.agents.methods.phase_memory import Remembering
from continual_arcade.agents.methods.quadratic import QuadraticPenalty

BOUND: tuple[type[Part], ...] = (
    QuadraticPenalty,
    SI,
    Clear,
    Clone,
    AGEM,
    HardMask,
    Reptile,
    MER,
    Remembering,
    Part,
)
"""The parts whose hooks have a compiled form, here and in :mod:`~continual_arcade.agents.kernels`.
Whoever leaves the hooks of a gradient step to these is compiled, with whatever it does between."""
ONCE: Mapping[tuple[type[Part], ...], str] = {
    (SI,): "paths of synaptic intelligence",
    (Clear, Clone): "kinds of cloning",
    (AGEM,): "projections",
    (HardMask,): "masks",
    (Reptile, MER): "parts that interpolate",
}
"""Kinds of which compiled code has room for one."""
_NOWHERE = Stream(0, 0, 0)
"""For parts that do not draw."""
_COMPARED = {"q": kernels.Q, "advantage": kernels.ADVANTAGE, "policy": kernels.POLICY}
_PLANS = {
    "batched": update.BATCHED,
    "1": update.ALGORITHM_1,
    "6": update.ALGORITHM_6,
    "7": update.ALGORITHM_7,
}


def only(parts: Sequence[Part], kind: type[Any]) -> Any:
    """Return the part of a kind, of which there is one at most, or None."""
    return next((part for part in parts if isinstance(part, kind)), None)


def nothing() -> kernels.Vector:
    """Return a vector of no elements."""
    return np.zeros(0, np.float32)


class PenaltyBinding:
    """Shares anchors, importances and averages with quadratic penalties."""

    def __init__(self, parts: Sequence[Part], like: Sequence[torch.Tensor]) -> None:
        self.parts = [part for part in parts if isinstance(part, QuadraticPenalty)]
        count, size = len(self.parts), sum(tensor.numel() for tensor in like)
        self.compiled = kernels.Penalties(
            strength=np.zeros(count),
            constant=np.zeros(count),
            omega=np.zeros((count, size), np.float32),
            center=np.zeros((count, size), np.float32),
            average=np.zeros((count, size), np.float32),
            decay=np.ones(count),
            shares=np.zeros((count, 3)),
        )
        of = self.compiled
        self._vectors = [
            [FlatVector(like, array[i]) for array in (of.omega, of.center, of.average)]
            for i in range(count)
        ]

    def before(self) -> None:
        """Adopt what the parts hold."""
        of = self.compiled
        for i, (part, vectors) in enumerate(zip(self.parts, self._vectors, strict=True)):
            omega, center, average = vectors
            of.strength[i] = part.lam if part.omega else 0.0
            of.constant[i] = part.constant
            if part.omega:
                part.omega, part.center = omega.adopt(part.omega), center.adopt(part.center)
            of.decay[i] = part.ema_decay if part.average else 1.0
            if part.average:
                part.average = average.adopt(part.average)

    def after(self) -> None:
        """Hand over what was measured."""
        for part, shares in zip(self.parts, self.compiled.shares, strict=True):
            part.shares += shares
            shares[:] = 0.0


class PathBinding:
    """Shares the way of synaptic intelligence."""

    def __init__(self, parts: Sequence[Part], like: Sequence[torch.Tensor]) -> None:
        self.part: SI | None = only(parts, SI)
        if self.part is None:
            self.compiled = kernels.Path(nothing(), nothing(), nothing())
            return
        self._path = FlatVector(like)
        size = len(self._path.array)
        self.compiled = kernels.Path(
            self._path.array, np.zeros(size, np.float32), np.zeros(size, np.float32)
        )

    def before(self) -> None:
        """Adopt the way so far."""
        if self.part is not None:
            self.part.path = self._path.adopt(self.part.path)


class CloningBinding:
    """Shows kept states and their values."""

    def __init__(self, parts: Sequence[Part], features: int, actions: int) -> None:
        self._shown: Any = None
        self._features, self._actions = features, actions
        self.part: Clear | Clone | None = only(parts, (Clear, Clone))  # type: ignore[arg-type]
        self.compiled = kernels.Cloning(
            alpha=np.zeros(2),
            what=kernels.Q,
            batch=0,
            states=np.zeros((0, features), np.float32),
            values=np.zeros((0, actions), np.float32),
            draws=_NOWHERE,
        )
        part = self.part
        if part is not None:
            self.compiled.alpha[:] = part.alpha, part.temperature
            self.compiled = self.compiled._replace(what=_COMPARED[part.what])
        if isinstance(part, Clone):
            self.compiled.alpha[0] = 0.0
            self.compiled = self.compiled._replace(draws=stream_of(part.rng))

    def before(self, batch_size: int) -> None:
        """Look at what is kept now; a batch is as large as the learner's unless the part says."""
        part = self.part
        if isinstance(part, Clone) and self.compiled.batch != (part.batch or batch_size):
            self.compiled = self.compiled._replace(batch=part.batch or batch_size)
        if isinstance(part, Clone) and part.values is not None and part.observations is not None:
            self.compiled.alpha[0] = part.alpha
            if part.values is not self._shown:
                self._shown = part.values
                states = _rows(part.observations, len(part.observations))
                _check(part, "values", part.values.shape, (len(states), self._actions))
                _check(part, "states", states.shape, (len(states), self._features))
                self.compiled = self.compiled._replace(states=states, values=_own(part.values))
        elif part is not None:
            self.compiled.alpha[0] = part.alpha if isinstance(part, Clear) else 0.0


class RememberedBinding:
    """Shows the transitions that A-GEM keeps."""

    def __init__(
        self, parts: Sequence[Part], like: Sequence[torch.Tensor], features: int, actions: int
    ) -> None:
        self._features, self._actions = features, actions
        self.part: AGEM | None = only(parts, AGEM)
        size = sum(tensor.numel() for tensor in like) if self.part is not None else 0
        self.compiled = kernels.Remembered(
            batch=0,
            projects_update=self.part is not None and self.part.what == "update",
            observations=np.zeros((0, features), np.float32),
            actions=np.zeros(0, np.int64),
            rewards=nothing(),
            next_observations=np.zeros((0, features), np.float32),
            dones=nothing(),
            discounts=nothing(),
            reference=np.zeros(size, np.float32),
            before=np.zeros(size, np.float32),
            tally=np.zeros(2, np.int64),
            draws=_NOWHERE if self.part is None else stream_of(self.part.rng),
        )
        self._shown: Any = None

    def before(self, batch_size: int) -> None:
        """Look at what is kept now; a batch is as large as the learner's unless the part says."""
        if self.part is None or not self.part.kept:
            return
        kept, batch = self.part.kept, self.part.batch or batch_size
        if kept["rewards"] is self._shown and self.compiled.batch == batch:
            return
        count = len(kept["rewards"])
        observations = _rows(kept["observations"], count)
        next_observations = _rows(kept["next_observations"], count)
        for name, array in (("observations", observations), ("next ones", next_observations)):
            _check(self.part, name, array.shape, (count, self._features))
        for name in ("actions", "dones", "discounts"):
            _check(self.part, name, (kept[name].size,), (count,))
        if kept["actions"].min() < 0 or kept["actions"].max() >= self._actions:
            raise ValueError(f"part {self.part.name!r}: it keeps actions that do not exist")
        self._shown = kept["rewards"]
        self.compiled = self.compiled._replace(
            batch=batch,
            observations=observations,
            actions=kept["actions"].reshape(count).astype(np.int64),
            rewards=_own(kept["rewards"]),
            next_observations=next_observations,
            dones=_own(kept["dones"]),
            discounts=_own(kept["discounts"]),
        )

    def after(self) -> None:
        """Hand over how often was projected."""
        if self.part is not None:
            self.part.tally += self.compiled.tally
            self.compiled.tally[:] = 0


def _rows(observations: Any, count: int) -> Any:
    return _own(observations.reshape(count, -1).astype(np.float32, copy=False))


def _check(part: Part, what: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Check a shape, by which compiled code reads without looking again."""
    if found != expected:
        raise ValueError(
            f"part {part.name!r}: {what} has shape {found}, and it must be {expected}: its state "
            "is damaged, or that of another network"
        )


def _own(array: Any) -> Any:
    """Return an array of the one layout that is compiled for."""
    return np.require(array, requirements=["C", "W"])


class MaskBinding:
    """Shows which parameters must not move."""

    def __init__(self, parts: Sequence[Part], like: Sequence[torch.Tensor]) -> None:
        self.part: HardMask | None = only(parts, HardMask)
        self._like = like
        self._none = kernels.Mask(np.zeros(0, np.bool_), nothing())
        self.compiled = self._none
        self._shown: Any = None

    def before(self) -> None:
        """Look at what is frozen now."""
        if self.part is None or self.part.frozen is self._shown:
            return
        self._shown = self.part.frozen
        self.compiled = self._none
        if self.part.frozen:
            frozen = torch.cat([tensor.reshape(-1) for tensor in self.part.frozen])
            held = torch.cat([tensor.reshape(-1) for tensor in self.part.held])
            size = (sum(tensor.numel() for tensor in self._like),)
            _check(self.part, "what is frozen", tuple(frozen.shape), size)
            _check(self.part, "what is held", tuple(held.shape), size)
            self.compiled = kernels.Mask(frozen.numpy(), held.numpy())


class InterpolationBinding:
    """Shares where Reptile and MER draw the parameters back to."""

    def __init__(self, parts: Sequence[Part], like: Sequence[torch.Tensor], control: Any) -> None:
        self.reptile: Reptile | None = only(parts, Reptile)
        self.mer: MER | None = only(parts, MER)
        self._outer = FlatVector(like)
        self.outer = self._outer.array
        self.inner = np.zeros(len(self.outer), np.float32)
        self.plans = _NOWHERE if self.mer is None else stream_of(self.mer.rng)
        self._control = control
        if self.reptile is not None:
            control["reptile_every"] = self.reptile.every
            control["reptile_eps"] = self.reptile.eps
        if self.mer is not None:
            control["plan"] = _PLANS[self.mer.algorithm]
            control["memories"] = self.mer.memories
            control["repeats"] = self.mer.repeats
            control["mer_beta"] = self.mer.beta
            control["mer_gamma"] = self.mer.gamma

    def before(self) -> None:
        """Adopt where the steps began."""
        if self.reptile is not None:
            self.reptile.base = self._outer.adopt(self.reptile.base)
            self._control["reptile_steps"] = self.reptile.steps

    def after(self) -> None:
        """Hand over how many steps were made since."""
        if self.reptile is not None:
            self.reptile.steps = int(self._control["reptile_steps"])
