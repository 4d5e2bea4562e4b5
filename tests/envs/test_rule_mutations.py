"""Each rule matters: change one, and a shipped trace notices, or it is shown why none can.

A mutation replaces a piece of the rules' source. The mutated rules run uncompiled on the traces.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import golden_replay
import numpy as np
import pytest

from continual_arcade.envs import catcher, flappy_bird, kernels
from continual_arcade.envs.compiling import rebind
from continual_arcade.envs.kernels import SingleKernels

GOLDEN = Path(__file__).parents[1] / "golden"

FLAPPY_BIRD = [
    ("GROUND = 0.79 * HEIGHT", "GROUND = 0.78 * HEIGHT"),
    ("BIRD_WIDTH, BIRD_HEIGHT = 34.0, 24.0", "BIRD_WIDTH, BIRD_HEIGHT = 35.9, 24.0"),
    ("BIRD_WIDTH, BIRD_HEIGHT = 34.0, 24.0", "BIRD_WIDTH, BIRD_HEIGHT = 34.0, 23.0"),
    ("START_Y = 256.0", "START_Y = 255.0"),
    ("MAX_FALL = 10.0", "MAX_FALL = 11.0"),
    ("PIPE_WIDTH = 52.0", "PIPE_WIDTH = 54.0"),
    ("RECYCLED_X = WIDTH + PIPE_WIDTH + 0.2", "RECYCLED_X = WIDTH + PIPE_WIDTH + 0.21"),
    ("LAST_PIPE_X = -PIPE_WIDTH", "LAST_PIPE_X = -PIPE_WIDTH - 4.0"),
    ("LETHAL_FROM = BIRD_X - REACH", "LETHAL_FROM = BIRD_X - REACH - 4.0"),
    ("+ REACH - 0.5", "+ REACH - 3.0"),
    ("+ REACH - 0.5", "+ REACH + 0.5"),
    ("PASSED_AT = BIRD_X + REACH", "PASSED_AT = BIRD_X + REACH - 4.0"),
    ("highest = np.floor(gap / 4.0)", "highest = np.floor(gap / 3.9)"),
    ("lowest = np.floor(0.474 * HEIGHT", "lowest = np.floor(0.46 * HEIGHT"),
    ("velocity\n    block.wings[lane] = ABOUT", "0.0\n    block.wings[lane] = ABOUT"),
    ("block.wings[lane] = ABOUT_TO_FLAP", "block.wings[lane] = GLIDING"),
    ("velocity = 0.0 if flap else velocity", "velocity = velocity"),
    ("hits_top = in_pipe & (y <= top)", "hits_top = in_pipe & (y < top)"),
    ("(y + BIRD_HEIGHT > top", "(y + BIRD_HEIGHT >= top"),
    ("not_yet = PASSED_AT - scroll", "not_yet = PASSED_AT - 2 * scroll"),
    ("(near_x <= PASSED_AT)", "(near_x <= PASSED_AT - 2.0)"),
    ("y >= GROUND - BIRD_HEIGHT else", "y > GROUND - BIRD_HEIGHT + 1 else"),
    ("lives -= 1.0 if y <= 0.0 else 0.0", "lives -= 1.0 if y < 0.0 else 0.0"),
    ("free = wings != FLAPPING", "free = wings != GLIDING"),
    ("falls = free & slow", "falls = slow"),
    ("slow = velocity < MAX_FALL if", "slow = velocity <= MAX_FALL if"),
    ("kicks = free & (flap | (wings == ABOUT_TO_FLAP))", "kicks = free & flap"),
    ("kicks = free & (flap", "kicks = (flap"),
    ("block.bird_y[lane] = y + velocity", "block.bird_y[lane] = y + 0.5 * velocity"),
    ("leaves = near_x < LAST_PIPE_X", "leaves = near_x <= LAST_PIPE_X + 0.5"),
    ("block.pipe_x[1, lane] = next_x - scroll", "block.pipe_x[1, lane] = next_x"),
    ("dead = lives <= 0.0", "dead = lives < 0.0"),
    ("detour - block.scroll[lane]", "detour"),
    ("(constants.loss if dead else 0.0)", "0.0"),
    ("ahead = near_x + REACH > BIRD_X", "ahead = near_x + REACH > BIRD_X + 4"),
]

FLAPPY_BIRD_EQUIVALENT = [
    # Above y = -11.5 no pipe is touched; the bird is dead by then, and a life more or less that it
    # loses there would need a pipe in the same step: its top edge is at y >= 18, so y <= top too.
    # The traces hold no bird that high inside a pipe; test_flappy_bird.py shows the rule.
    ("& (y > HIGHEST_OVERLAP)", ""),
    # With gravity at 1 the branch for an upside-down game is never taken.
    ("else velocity > -MAX_FALL", "else velocity > MAX_FALL"),
    # Pipes stand at whole multiples of 4, or 1.6 beside one: none is between 99.1 and 99.5.
    ("+ REACH - 0.5", "+ REACH - 0.9"),
    # A pipe is worth 1 in every trace; test_flappy_bird.py gives it another worth.
    ("passed * constants.positive", "passed"),
    # With the default spacing the detour is 0.
    ("detour = 3.0 *", "detour = 2.0 *"),
]

SHOWN_BY = {
    "LETHAL_FROM = BIRD_X - REACH - 4.0": "flappy_gap090_plan",
    "+ REACH - 3.0": "flappy_gap080_rule",
    "(y + BIRD_HEIGHT >= top": "flappy_edges_gap100",
    "(near_x <= PASSED_AT - 2.0)": "flappy_gap080_rule",
    "y > GROUND - BIRD_HEIGHT + 1 else": "flappy_edges_gap100",
}
"""Traces that are replayed first: it takes many others to come to them. By the mutation."""

CATCHER = [
    ("if fraction >= 0.5 else whole", "if fraction > 0.5 else whole"),
    ("draw(block, lane, 2.0 * side, side, columns)", "draw(block, lane, side, side, columns)"),
    ("np.ceil((constants.width - 4.0 * side)", "np.ceil((constants.width - 5.0 * side)"),
    ("np.floor(constants.height / 2.0) - side", "np.floor(constants.height / 2.0) - 2 * side"),
    ("block.pellet_y[lane] = -draw(", "block.pellet_y[lane] = draw("),
    ("constants.width / 2.0 - params[row, 1] / 2.0", "constants.width / 2.0"),
    ("block.lives[lane] = constants.lives", "block.lives[lane] = 2.0"),
    ("missed = pellet_y >= constants.height", "missed = pellet_y > constants.height"),
    ("paddle_left = x - np.floor(width / 2.0)", "paddle_left = x"),
    ("pellet_left = pellet_x - np.floor(constants.pellet / 2.0)", "pellet_left = pellet_x"),
    ("CLEARANCE = 3.0", "CLEARANCE = 2.0"),
    ("pellet_top = pellet_y - np.floor(constants.pellet / 2.0)", "pellet_top = pellet_y"),
    ("(paddle_left < pellet_left", "(paddle_left <= pellet_left"),
    ("(pellet_left < paddle_left + width)", "(pellet_left <= paddle_left + width)"),
    ("(paddle_top < pellet_top", "(paddle_top <= pellet_top"),
    ("over = lives == 0.0", "over = lives == 1.0"),
    ("force = 0.0 - push if action == LEFT", "force = push if action == LEFT"),
    ("force = push if action == RIGHT", "force = 2.0 * push if action == RIGHT"),
    (
        "(velocity + force) * (1.0 - block.friction[lane])",
        "velocity * (1.0 - block.friction[lane]) + force",
    ),
    ("x = 0.0 if at_left else x", "x = x if at_left else x"),
    ("at_right = x + width >= constants.width", "at_right = x >= constants.width"),
    ("x = constants.width - width if at_right", "x = constants.width if at_right"),
    ("0.0 if at_left | at_right else velocity", "velocity"),
    ("block.paddle_x[lane] = rounded(x)", "block.paddle_x[lane] = x"),
    (
        "rounded(pellet_y + block.fall_speed[lane])\n    block.lives",
        "pellet_y + block.fall_speed[lane]\n    block.lives",
    ),
    ("(constants.positive if caught else 0.0)", "0.0"),
    ("(constants.negative if missed else 0.0)", "0.0"),
    ("(constants.loss if over else 0.0)", "0.0"),
    ("DRAW if missed | caught else 0", "DRAW if missed else 0"),
    ("rounded(block.pellet_y[lane] + block.fall_speed[lane])", "block.pellet_y[lane]"),
]

CATCHER_EQUIVALENT = [
    # No trace has a pellet that falls half a pixel above the field; test_catcher.py has.
    ("if fraction <= -0.5 else whole", "if fraction < -0.5 else whole"),
    # A pellet is missed below the field, far under the paddle, where it overlaps nothing.
    ("        & (not missed)\n", ""),
]


def mutant(module: ModuleType, old: str, new: str) -> ModuleType:
    """A copy of a module with one piece of its source replaced."""
    source = Path(str(module.__file__)).read_text("utf-8")
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times"
    copy = ModuleType(f"mutant_of_{module.__name__}")
    # The sides of a field and the start of a life are computed by the rules' own module.
    exec(compile(source.replace(old, new), str(module.__file__), "exec"), copy.__dict__)
    return copy


def loops_of(module: ModuleType, num_actions: int) -> Callable[[Any], SingleKernels]:
    """The code that moves a single game, with the rules of a module, as plain Python."""

    def loops(cells: Any) -> SingleKernels:
        cell = cells.view(np.recarray)
        rules = golden_replay.taped(module, finish=lambda function: function)
        names = {**rules._asdict(), "num_actions": num_actions, "cell_at": lambda _: cell[0]}
        return SingleKernels(
            reset=rebind(kernels._reset_single, names), step=rebind(kernels._step_single, names)
        )

    return loops


class _NoticedError(Exception):
    """A comparison came out differently."""


class _FirstMismatch(golden_replay.Tally):
    def complain(self, message: str) -> None:
        raise _NoticedError(message)


def notices(module: ModuleType, game: str, num_actions: int, first: str = "") -> bool:
    """Whether a shipped trace of the game comes out differently."""
    loops = loops_of(module, num_actions)
    paths = sorted(GOLDEN.glob(f"{game}*.npz"), key=lambda path: path.stat().st_size)
    for path in sorted(paths, key=lambda path: path.stem != first):
        with np.load(path) as file:
            trace = dict(file)
        assert json.loads(str(trace["meta"]))["game"] == game
        try:
            golden_replay.replay_trace(trace, _FirstMismatch(), loops)
        except _NoticedError:
            return True
    return False


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("old", "new"), FLAPPY_BIRD)
def test_flappy_bird_traces_notice(old: str, new: str) -> None:
    assert notices(mutant(flappy_bird, old, new), "flappy", 2, SHOWN_BY.get(new, ""))


@pytest.mark.one_in(3)
@pytest.mark.parametrize(("old", "new"), CATCHER)
def test_catcher_traces_notice(old: str, new: str) -> None:
    assert notices(mutant(catcher, old, new), "catcher", 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "game", "old", "new"),
    [
        *((flappy_bird, "flappy", old, new) for old, new in FLAPPY_BIRD_EQUIVALENT),
        *((catcher, "catcher", old, new) for old, new in CATCHER_EQUIVALENT),
    ],
)
def test_equivalent_changes_change_nothing(
    module: ModuleType, game: str, old: str, new: str
) -> None:
    assert not notices(mutant(module, old, new), game, 3)
