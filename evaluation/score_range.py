"""The possible scores of an evaluation: from the rules, not from what was observed."""

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.games import ENVIRONMENTS, make_game
from continual_arcade.envs.oracles import Unbeatable
from continual_arcade.envs.registration import IDS
from continual_arcade.evaluation.bounded import Range
from continual_arcade.evaluation.protocol import Protocol

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ScoreRange:
    """The lowest and the highest score of each episode that is played."""

    highest: Floats
    """What nobody exceeds, shape ``(phases played, episodes)``. The lowest score is 0: games only
    ever add to it."""

    @cached_property
    def of_phases(self) -> tuple[Range, ...]:
        """What the mean over the episodes can be in each phase."""
        return tuple(Range.of_score(0.0, high) for high in self.highest.mean(axis=1).tolist())

    def impossible(self, scores: Floats) -> npt.NDArray[np.bool_]:
        """Return where a score is impossible.

        Args:
            scores: Shape ``(evaluations, phases played, episodes)``; NaN is no impossible score.
        """
        return (scores < 0) | (scores > self.highest)


_known: dict[Hashable, ScoreRange] = {}


def score_range(protocol: Protocol) -> ScoreRange | None:
    """Find the possible scores of an evaluation, by playing it with an unbeatable player.

    It is played once for each protocol and process, in a tenth of a second.

    Args:
        protocol: Says what is played, on which seeds and for how long.

    Returns:
        The range; None if that is no game of this suite, one with other rules, or one for which
        nobody is known to be unbeatable.
    """
    if protocol.game not in ENVIRONMENTS or protocol.env != IDS[protocol.game]:
        return None
    if not make_game(protocol.game, **protocol.options).unbeatable:
        return None
    if protocol.key not in _known:
        evaluator = protocol.make_evaluator()
        highest = evaluator.play(Unbeatable(evaluator.env)).scores
        highest.setflags(write=False)
        _known[protocol.key] = ScoreRange(highest)
    return _known[protocol.key]
