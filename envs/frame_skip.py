"""Games that are played several frames at a time: each action is repeated, and rewards add up."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from continual_arcade.envs.checks import Whole
from continual_arcade.envs.compiling import rebind, rule
from continual_arcade.envs.game import Game, Rules
from continual_arcade.envs.lanes import DRAW, OVER

MOST_FRAMES = 100
"""Frames of a step."""


def _stand_in(*_: Any) -> None:
    raise NotImplementedError("a template runs only with the rules of a game")


bare_advance: Callable[..., None] = _stand_in
bare_settle: Callable[..., None] = _stand_in
num_frames = 0


def _advance(block: Any, lane: int, constants: Any) -> None:
    """Play the frames of one step; the draws that the last one asks for are left to the loop."""
    action = block.action[lane]
    reward = 0.0
    for frame in range(num_frames):
        block.action[lane] = action  # whatever the rules of the frame before have made of it
        if frame and block.event[lane] & DRAW:
            bare_settle(block, lane, constants)
        bare_advance(block, lane, constants)
        reward += block.reward[lane]
        if block.event[lane] & OVER:
            break
    block.reward[lane] = reward


def skipping(game: Game, frames: int) -> Game:
    """Return a game of which a step plays several frames with the same action.

    Rewards of the frames add up, and an episode that ends within a step ends with it. What counts
    steps (limits of episodes, schedules) counts those of the agent. Players that know the rules
    think frame by frame, so that the game has none.

    Args:
        game: The bare game.
        frames: Frames of a step, from 1 to ``MOST_FRAMES``.

    Raises:
        WrongTypeError: If that is no whole number.
        ValueError: If it is out of bounds, or nothing can be skipped: a labelled example is a whole
            episode.
    """
    frames = Whole(1, MOST_FRAMES)("frame_skip", frames)
    if frames == 1:
        return game
    if game.rules.labelled:
        raise ValueError(
            f"frame_skip = {frames}: {game.name} asks once and is over; leave frame_skip out"
        )
    rules = _rules(game.rules, frames)
    return replace(
        game,
        rules=rules,
        frame_skip=frames,
        oracle="",
        unbeatable="",
        maker=skipping,
        options={"game": game, "frames": frames},
    )


@cache
def _rules(bare: Rules, frames: int) -> Rules:
    """Return the rules of a game, some frames at a time; always the same, as they are compiled."""
    names = {"bare_advance": bare.advance, "bare_settle": bare.settle, "num_frames": frames}
    return bare._replace(advance=rule(rebind(_advance, names)), advance_all=None)
