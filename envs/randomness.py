"""Random draws inside compiled rules: every lane carries its own generator in its state.

The generator is SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators", figure 13): 64 bits of state, passes BigCrush, and needs nothing but the state itself,
so that a game's state can be copied, stored and resumed with its future in it.
"""

from typing import Any

import numpy as np

from continual_arcade.envs.compiling import rule

# numba promotes mixed widths to float64 or int64: every constant is a uint64 of its own.
_GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_27 = np.uint64(27)
_SHIFT_30 = np.uint64(30)
_SHIFT_31 = np.uint64(31)
_SHIFT_32 = np.uint64(32)
_LOW_32 = np.uint64(0xFFFFFFFF)
_TWO_32 = np.uint64(0x100000000)


@rule
def next_word(block: Any, lane: int) -> Any:
    """Advance the lane's generator and return its next 32 random bits as a uint64."""
    state = block.random[lane] + _GOLDEN_GAMMA
    block.random[lane] = state
    word = (state ^ (state >> _SHIFT_30)) * _MIX_1
    word = (word ^ (word >> _SHIFT_27)) * _MIX_2
    word = word ^ (word >> _SHIFT_31)
    return word >> _SHIFT_32


@rule
def draw(block: Any, lane: int, first: float, stride: float, count: float) -> float:
    """Draw uniformly from ``first, first + stride, ...``, ``count`` values in all.

    Exactly uniform: multiply and shift with rejection (Lemire 2019, "Fast random integer generation
    in an interval", algorithm 5).
    """
    span = np.uint64(count)
    product = next_word(block, lane) * span
    threshold = (_TWO_32 - span) % span
    while (product & _LOW_32) < threshold:
        product = next_word(block, lane) * span
    return first + stride * float(product >> _SHIFT_32)
