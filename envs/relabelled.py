"""Relabelled games: the rules of another game, whose features are mirrored, or in another order.

The form of permuted MNIST (Goodfellow et al. 2013, arXiv 1312.6211) in reinforcement learning: from
phase to phase everything that an agent has learnt must be mapped anew, and nothing contradicts.
What happens is what happens in the bare game on the same seed; only what is seen of it differs.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.envs import catcher, flappy_bird
from continual_arcade.envs.compiling import rebind, rule
from continual_arcade.envs.game import Feature, Game, Rules
from continual_arcade.envs.tunables import Tunable

ORDERS = ("as they are", "rotated", "reversed")
"""In which order features are shown: as they are; from the middle one on, and then from the first;
from the last to the first."""
LABELS = tuple(
    name
    for order in ORDERS
    for name in (order, "mirrored" if order == ORDERS[0] else f"{order}, mirrored")
)
"""The values of the parameter ``labels``, by number. Mirrored: each with its sign turned."""

CONFLICT = {
    "as they are": {"labels": 0.0},
    "mirrored": {"labels": 1.0},
    "permuted": {"labels": float(LABELS.index("rotated"))},
}

REWARDS = {**flappy_bird.REWARDS, **catcher.REWARDS}
"""Those of the bare games, which agree where both have one."""


def places(num_features: int) -> npt.NDArray[np.int64]:
    """Return which feature each slot shows, shape ``(labels, num_features)``."""
    as_is = np.arange(num_features)
    orders = (as_is, np.roll(as_is, -(num_features // 2)), as_is[::-1])
    return np.repeat(orders, 2, axis=0).astype(np.int64)


def signs() -> npt.NDArray[np.float64]:
    """Return by what each feature is multiplied, shape ``(labels,)``."""
    return np.tile([1.0, -1.0], len(ORDERS))


def _stand_in(*_: Any) -> None:
    raise NotImplementedError("a template runs only with the rules of a game")


bare_begin: Callable[..., None] = _stand_in
bare_observe: Callable[..., None] = _stand_in
num_tunables = 0
num_features = 0
PLACES, SIGNS = places(0), signs()


def _begin(block: Any, lane: int, constants: Any, params: Any, row: int, velocity: float) -> None:
    """Start an episode; ``labels`` comes last in ``params``."""
    bare_begin(block, lane, constants, params, row, velocity)
    block.labels[lane] = params[row, num_tunables]


def _observe(block: Any, lane: int, constants: Any, out: Any, at: int) -> None:
    """Write the lane's features, each in the slot and with the sign that ``labels`` says.

    Args:
        block: The block of the lane.
        lane: Which lane of it.
        constants: What all lanes share.
        out: Flat float32 array to write to.
        at: Where in it the features of this lane begin.
    """
    plain = block.plain[:, lane]
    bare_observe(block, lane, constants, plain, 0)
    label = int(block.labels[lane])
    for slot in range(num_features):
        out[at + slot] = SIGNS[label] * plain[PLACES[label, slot]]


def relabelled(game: Game, maker: Callable[..., Game]) -> Game:
    """Return a game whose features are shown in other slots and with other signs.

    Args:
        game: The bare game.
        maker: The function that makes the relabelled one, from the same options.
    """
    count = len(game.features)
    labels = Tunable(
        default=0,
        low=0,
        high=len(LABELS) - 1,
        unit="",
        harder="either",
        about="how features are shown: "
        + ", ".join(f"{number} {label}" for number, label in enumerate(LABELS)),
        integer=True,
    )
    return replace(
        game,
        name=f"Relabelled{game.name}",
        tunables={**game.tunables, "labels": labels},
        features=_slots(game),
        lane_fields={**game.lane_fields, "plain": (count,)},
        rules=_rules(game.rules, len(game.tunables), count),
        phases=(),
        colours={},
        seen_where={},
        num_backdrops=0,
        shapes=(),  # labels of features change nothing in a picture
        conflict=CONFLICT,
        maker=maker,
    )


@cache
def _rules(bare: Rules, num_tunables: int, num_features: int) -> Rules:
    """Return the rules of a game, relabelled; always the same, lest they be compiled again."""
    names = {
        "bare_begin": bare.begin,
        "bare_observe": bare.observe,
        "num_tunables": num_tunables,
        "num_features": num_features,
        "PLACES": places(num_features),
    }
    begin, observe = (rule(rebind(template, names)) for template in (_begin, _observe))
    return bare._replace(begin=begin, observe=observe, scene=None)


def _slots(game: Game) -> tuple[Feature, ...]:
    """Describe what each slot shows, whatever the labels."""
    slots = []
    for slot, column in enumerate(places(len(game.features)).T):
        shown = [game.features[place] for place in column]
        bounds = [
            sign * bound
            for feature, sign in zip(shown, signs(), strict=True)
            for bound in (feature.low, feature.high)
        ]
        names = ", ".join(dict.fromkeys(feature.name for feature in shown))
        slots.append(Feature(f"slot_{slot}", min(bounds), max(bounds), f"one of {names}"))
    return tuple(slots)


def relabelled_flappy_bird(rewards: Mapping[str, float] | None = None) -> Game:
    """Return relabelled Flappy Bird; options as of :func:`~flappy_bird.flappy_bird`."""
    return relabelled(flappy_bird.flappy_bird(rewards), relabelled_flappy_bird)


def relabelled_catcher(
    size: tuple[int, int] = catcher.DEFAULT_SIZE,
    lives: int = catcher.DEFAULT_LIVES,
    rewards: Mapping[str, float] | None = None,
) -> Game:
    """Return relabelled Catcher; options as of :func:`~catcher.catcher`."""
    return relabelled(catcher.catcher(size, lives, rewards), relabelled_catcher)
