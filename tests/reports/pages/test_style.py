import math
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from continual_arcade.agents import METHODS
from continual_arcade.reports.pages import style
from continual_arcade.reports.pages.page_model import Band
from continual_arcade.reports.pages.style import DARK, LIGHT, Theme

THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])

# Machado et al. 2009, severity 1, for linear RGB.
DICHROMACY = {
    "none": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    "protanopia": [
        *(0.152286, 1.052583, -0.204868),
        *(0.114503, 0.786281, 0.099216),
        *(-0.003882, -0.048116, 1.051998),
    ],
    "deuteranopia": [
        *(0.367322, 0.860646, -0.227968),
        *(0.280085, 0.672501, 0.047413),
        *(-0.011820, 0.042940, 0.968881),
    ],
    "tritanopia": [
        *(1.255528, -0.076749, -0.178779),
        *(-0.078411, 0.930809, 0.147602),
        *(0.004733, 0.691367, 0.303900),
    ],
}
_LMS = [
    *(0.4122214708, 0.5363325363, 0.0514459929),
    *(0.2119034982, 0.6806995451, 0.1073969566),
    *(0.0883024619, 0.2817188376, 0.6299787005),
]
_LAB = [
    *(0.2104542553, 0.7936177850, -0.0040720468),
    *(1.9779984951, -2.4285922050, 0.4505937099),
    *(0.0259040371, 0.7827717662, -0.8086757660),
]


def linear(colour: str) -> npt.NDArray[np.float64]:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    light = [float(linear(c) @ (0.2126, 0.7152, 0.0722)) + 0.05 for c in (one, other)]
    return max(light) / min(light)


def apart(colours: Sequence[str]) -> float:
    """The least distance of two colours in Oklab (Ottosson 2020), however they are seen."""

    def times(matrix: Sequence[float], vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.reshape(matrix, (3, 3)) @ vector

    seen = [
        [times(_LAB, np.cbrt(times(_LMS, np.clip(times(eye, linear(c)), 0, 1)))) for c in colours]
        for eye in DICHROMACY.values()
    ]
    return min(float(np.linalg.norm(a - b)) for eyes in seen for a, b in combinations(eyes, 2))


@THEMES
def test_methods_stand_out_from_the_background(theme: Theme) -> None:
    assert min(contrast(colour, theme.background) for colour in theme.methods) >= 3


@THEMES
def test_methods_are_told_apart_by_the_colour_blind(theme: Theme) -> None:
    assert len(theme.methods) == 8
    assert apart(theme.methods) > 0.065


def test_matplotlibs_own_colours_would_not_be_told_apart() -> None:
    own = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f"]
    assert apart(own) < 0.065


@THEMES
def test_letters_are_legible(theme: Theme) -> None:
    for colour in (theme.text, theme.muted, theme.accent, theme.warning):
        for behind in (theme.background, theme.surface, theme.band):
            assert contrast(colour, behind) >= 4.5


@THEMES
@pytest.mark.parametrize("diverging", [False, True])
def test_numbers_are_legible_on_every_colour(theme: Theme, diverging: bool) -> None:
    scale = theme.diverging if diverging else theme.sequential
    for place in np.linspace(0, 1, 201).tolist():
        ink = style.ink(place, diverging=diverging)
        if theme is DARK:
            ink = style.dark_for_light()[ink]
        assert contrast(ink, style.blend(scale, [place])[0]) >= 4.5


@THEMES
def test_scales_go_one_way(theme: Theme) -> None:
    def steps(scale: Sequence[str]) -> npt.NDArray[np.float64]:
        return np.diff([float(linear(c) @ (0.2126, 0.7152, 0.0722)) for c in scale])

    middle = len(theme.diverging) // 2
    sign = 1 if theme is DARK else -1
    assert (sign * steps(theme.sequential) > 0).all()
    assert (sign * steps(theme.diverging[middle:]) > 0).all()
    assert (sign * steps(theme.diverging[: middle + 1]) < 0).all()


def test_no_two_methods_look_alike() -> None:
    styles = style.method_styles(tuple(map(str, range(style.MOST_METHODS))))
    assert len({(s.light, s.stroke) for s in styles.values()}) == style.MOST_METHODS
    assert len({(s.shape, s.stroke) for s in styles.values()}) == style.MOST_METHODS
    assert len(METHODS) <= style.MOST_METHODS  # a page may show all that there are
    for which in (style.SHAPES, style.STROKES):
        for name in vars(which[0]):
            assert len({getattr(one, name) for one in which}) == len(which)


def test_more_methods_than_looks() -> None:
    with pytest.raises(ValueError, match="49 methods cannot be distinguished"):
        style.method_styles(tuple(map(str, range(49))))


def test_every_colour_has_one_in_the_dark() -> None:
    pairs = style.dark_for_light()
    for name, value in vars(LIGHT).items():
        for colour in (value,) if isinstance(value, str) else value:
            # What the style sheet colours needs no other.
            assert name in ("accent", "warning") or colour in pairs
    for light, dark in zip(LIGHT.methods, DARK.methods, strict=True):
        assert pairs[light] == dark


def test_blending() -> None:
    assert style.blend(("#000000", "#ffffff"), [0, 0.5, 1]) == ("#000000", "#808080", "#ffffff")
    assert style.layer_colours(1) == style.layer_colours(2)[:1]
    assert len(set(style.layer_colours(12))) == 12


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, "\u2013"),
        (0.0, "0"),
        (-0.0, "0"),
        (3.0, "3"),
        (-3.0, "\u22123"),
        (1234567.0, "1,234,567"),
        (0.012345678, "0.01235"),
        (-12.3456, "\u221212.35"),
        (12345.6, "12,346"),
        (math.inf, "∞"),
        (-math.inf, "\u2212∞"),
        (1e-7, "1e-07"),
    ],
)
def test_numbers_for_reading(value: float, written: str) -> None:
    assert style.number(value) == written


def test_numbers_with_decimals_and_intervals() -> None:
    assert style.fixed(-0.04, 1) == "0.0"
    assert style.fixed(-0.06, 1) == "\u22120.1"
    assert style.fixed(math.nan, 1) == "\u2013"
    assert style.interval(1.5, 1, 2) == "1.5 (1 to 2)"
    assert style.interval(1.5, math.nan, math.nan) == "1.5"
    assert style.interval(math.nan, 1, 2) == "\u2013"
    assert [style.thousands(v) for v in (0, 200, 40_000, 1.2e6)] == ["0", "200", "40k", "1.2M"]


def test_the_end_of_a_band_belongs_to_it() -> None:
    bands = (Band(0, 10, "one"), Band(10, 20, "two"))
    named = [style.during(x, bands) for x in (0, 5, 10, 11, 20, 21)]
    assert named == ["", "one", "one", "two", "two", ""]


@given(st.lists(st.sampled_from([1.0, math.nan]), max_size=12))
def test_runs_without_gaps(values: list[float]) -> None:
    array = np.array(values, np.float64)
    runs = style.finite_runs(array)
    inside = {i for run in runs for i in range(run.start, run.stop)}
    assert inside == set(np.flatnonzero(~np.isnan(array)).tolist())
    assert all(run.start < run.stop for run in runs)
    assert all(one.stop < other.start for one, other in pairwise(runs))
