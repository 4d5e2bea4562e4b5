"""Random draws: the published generator, exactly uniform."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from continual_arcade.envs import make_game, randomness
from continual_arcade.envs.compiling import kernel, plain, rebind


def _draw_many_template(block: Any, first: float, stride: float, count: float, out: Any) -> None:
    for i in range(len(out)):
        out[i] = randomness.draw(block[0], 0, first, stride, count)


def _words(block: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = randomness.next_word(block[0], 0)


_draw_many = kernel(_draw_many_template, {}, "Test")


def block_with(state: int) -> Any:
    block = np.zeros(1, make_game("FlappyBird").dtype(1))
    block["random"] = np.uint64(state)
    return block


def draws(state: int, first: float, stride: float, count: float, number: int) -> Any:
    out = np.zeros(number)
    _draw_many(block_with(state), first, stride, count, out)
    return out


def test_the_words_are_those_of_splitmix64() -> None:
    # The first outputs for seed 1234567, as published with Vigna's C code (rosettacode.org,
    # "Pseudo-random numbers/Splitmix64"); a word is their upper half.
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    out = np.zeros(5, np.uint64)
    kernel(_words, {}, "Test")(block_with(1234567), out)
    assert out.tolist() == [word >> 32 for word in published]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 168, 170])
def test_draws_are_uniform(count: int) -> None:
    values = draws(42, 25.0, 2.0, float(count), 20_000 * min(count, 20))
    places = (values - 25.0) / 2.0
    assert places.min() == 0
    assert places.max() == count - 1
    assert np.array_equal(places, np.floor(places))
    if count > 1:
        counts = np.bincount(places.astype(int), minlength=count)
        assert stats.chisquare(counts).pvalue > 0.001


def test_rejection_makes_every_value_equally_likely() -> None:
    """With three quarters of 2**32 values, a plain multiply and shift favours one in three."""
    span = 3 * 2**30
    values = draws(7, 0.0, 1.0, float(span), 60_000).astype(np.int64)
    assert stats.chisquare(np.bincount(values % 3, minlength=3)).pvalue > 0.001

    def biased(block: Any, lane: int, first: float, stride: float, count: float) -> float:
        word = int(randomness.next_word(block, lane))
        return first + stride * float(word * int(count) >> 32)

    assert _chi(biased, span) < 1e-6


def _chi(rule: Callable[..., float], span: int) -> float:
    block = block_with(7).view(np.recarray)
    plain_word = plain(randomness.next_word)
    names = {"randomness": type("Module", (), {"next_word": staticmethod(plain_word)})}
    drawn = rebind(rule, names)
    with np.errstate(over="ignore"):
        values = [int(drawn(block[0], 0, 0.0, 1.0, float(span))) for _ in range(6_000)]
    return float(stats.chisquare(np.bincount(np.array(values) % 3, minlength=3)).pvalue)


def test_neighbouring_seeds_are_unrelated() -> None:
    """Sub-environments have seeds that count up."""
    first = np.array([draws(state, 0.0, 1.0, 1000.0, 1)[0] for state in range(2_000)])
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.06
    assert stats.chisquare(np.bincount((first // 100).astype(int))).pvalue > 0.001
