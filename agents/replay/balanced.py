"""Equally much of each phase."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from continual_arcade.agents.kernels.replay import BALANCED
from continual_arcade.agents.replay.buffer import Ints, TransitionReplayBuffer
from continual_arcade.agents.replay.n_step import MOST_PHASES, Transitions
from continual_arcade.envs.checks import Array, Whole
from continual_arcade.envs.schedules import LONGEST


class BalancedReplayBuffer(TransitionReplayBuffer):
    """Remembers equally much of each phase, a uniform sample of it; draws uniformly from all.

    Each of ``k`` phases has ``buffer_size // k`` slots. When a new phase comes, the older ones drop
    members at random until they fit; what stays moves together then, with its columns, so slots
    noted earlier (``placed``, ``sampled``) no longer hold. A phase with fewer transitions than its
    share leaves the rest of it empty.

    Unlike the other memories this one must be told the phase, in the infos.
    """

    kind: ClassVar[int] = BALANCED

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._forget_phases()

    def _forget_phases(self) -> None:
        self.members: Ints = np.zeros((0, 1), np.int64)
        """Slots of each phase, used up to what the phase has, shape ``(phases, share)``."""
        self.member_phases: Ints = np.zeros(0, np.int64)
        """Which phases these are, in the order of their first transitions."""
        self.members_seen: Ints = np.zeros(0, np.int64)
        """Transitions of each that were offered so far."""

    def _members(self) -> tuple[Ints, Ints, Ints]:
        return self.members, self.member_phases, self.members_seen

    @property
    def share(self) -> int:
        """Slots of each phase."""
        return self.buffer_size // max(len(self.member_phases), 1)

    def _held(self) -> Ints:
        """Return how many transitions of each phase are stored."""
        return np.minimum(self.members_seen, self.share)

    def size(self) -> int:
        """Return how many transitions are stored."""
        return int(self._held().sum())

    def reset(self) -> None:
        """Forget everything, the phases too; the generators keep their state."""
        self._forget_phases()
        super().reset()

    def _place(self, transitions: Transitions) -> tuple[Ints, Ints]:
        self.make_room_for(transitions.phases.tolist())
        return super()._place(transitions)

    def make_room_for(self, offered: Sequence[int]) -> None:
        """Shrink the older phases to the share that is theirs beside new ones.

        Args:
            offered: Phases of transitions that are about to be stored.

        Raises:
            ValueError: If there are more phases than slots.
        """
        known = self.member_phases.tolist()
        arrivals = [phase for phase in dict.fromkeys(offered) if phase not in known]
        if not arrivals:
            return
        phases = len(known) + len(arrivals)
        share = self.buffer_size // phases
        if share == 0:
            raise ValueError(
                f"buffer_size = {self.buffer_size} cannot hold a transition of each of {phases} "
                "phases"
            )
        kept = [
            self.placement_rng.permutation(slots[:held])[:share]
            for slots, held in zip(self.members, self._held().tolist(), strict=True)
        ]
        slots = np.sort(np.concatenate([np.zeros(0, np.int64), *kept]))
        for array in (*self._arrays().values(), *self.columns.values()):
            array[: len(slots)] = array[slots]
        self.members = np.zeros((phases, share), np.int64)
        for row, of_phase in zip(self.members, kept, strict=False):
            row[: len(of_phase)] = np.searchsorted(slots, of_phase)
        self.member_phases = np.array([*known, *arrivals], np.int64)
        self.members_seen = np.concatenate([self.members_seen, np.zeros(len(arrivals), np.int64)])

    def _own_state(self) -> dict[str, Any]:
        names = [str(phase) for phase in self.member_phases.tolist()]
        return {
            "seen_of": dict(zip(names, self.members_seen.tolist(), strict=True)),
            "members": dict(zip(names, self.members.copy(), strict=True)),
        }

    def _slots_after(self, state: Mapping[str, Any]) -> Ints:
        seen_of, members = state["own"]["seen_of"], state["own"]["members"]
        share = self.buffer_size // max(len(seen_of), 1)
        total = 0
        if seen_of.keys() != members.keys() or share == 0:
            raise ValueError("members and phases do not match in what was saved; it is damaged")
        used = []
        for phase, seen in seen_of.items():
            Whole(0, MOST_PHASES - 1)("phase", int(phase))
            total += Whole(0, LONGEST)(f"seen of phase {phase}", seen)
            held = Array((share,), np.int64, 0, self.buffer_size - 1)(
                f"slots of phase {phase}", members[phase]
            )
            used.append(held[: min(seen, share)])
        slots = np.sort(np.concatenate([np.zeros(0, np.int64), *used]))
        if total != state["seen"] or not np.array_equal(slots, np.arange(len(slots))):
            raise ValueError("the slots of phases overlap in what was saved; it is damaged")
        return slots

    def _load_own_state(self, state: Mapping[str, Any]) -> None:
        self._forget_phases()
        if state["seen_of"]:
            self.member_phases = np.array([int(phase) for phase in state["seen_of"]], np.int64)
            self.members_seen = np.array(list(state["seen_of"].values()), np.int64)
            self.members = np.stack([state["members"][phase] for phase in state["seen_of"]])
