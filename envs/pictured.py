"""Pictured games: the rules of another game, observed as scenes, with looks that may drift.

A scene (``raster.py``) says what a picture shows: rectangles from back to front, and colours. It is
a few dozen numbers where the picture has thousands, so it is what states and loops carry about; the
environments draw it (``pictures.py``). What happens is what happens in the bare game on the same
seed; only what is seen of it differs.

Looks are parameters as all others: a schedule may change what is seen, what happens, or both.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from continual_arcade.envs.compiling import rebind, rule
from continual_arcade.envs.context import HIDDEN
from continual_arcade.envs.game import Feature, Game, Rules
from continual_arcade.envs.picture_format import PictureFormat
from continual_arcade.envs.raster import NOISE, SIDES
from continual_arcade.envs.tunables import COLOUR, Tunable, Tunables

WHITE = 0xFFFFFF
LOUDEST = 64.0
"""Standard deviation of the loudest noise [grey levels]."""
_SEEDS = np.uint64(2**24 - 1)
"""Seeds of noise that a float32 holds exactly, as bits."""
_LAP = np.uint64(40)
_MIX = np.uint64(0xD1342543DE82EF95)


def looks(game: Game) -> Tunables:
    """Return what may drift about the looks of a game.

    Args:
        game: The game, with colours.
    """
    colours = {
        f"{name}_rgb": Tunable(
            default=float(colour),
            low=0.0,
            high=float(WHITE),
            unit=COLOUR,
            harder="either",
            about=f"colour of the {name}, 0xRRGGBB as a number",
            integer=True,
            acts_where=dict(game.seen_where.get(name, {})),
        )
        for name, colour in game.colours.items()
    }
    switches = {
        name: Tunable(
            default=0.0,
            low=0.0,
            high=1.0,
            unit="",
            harder="either",
            about=f"1 for pictures that are {what}",
            integer=True,
        )
        for name, what in (
            ("inverted", "negatives, each colour less that from white"),
            ("mirrored", "the wrong way round, left and right exchanged"),
        )
    }
    return {
        **colours,
        **switches,
        "noise": Tunable(
            default=0.0,
            low=0.0,
            high=LOUDEST,
            unit="grey levels",
            harder="higher",
            about="standard deviation of the noise in each pixel",
        ),
        "distractor": Tunable(
            default=0.0,
            low=0.0,
            high=float(min(game.size) // 4),
            unit="px",
            harder="higher",
            about="side of a square that drifts about behind all things and does nothing",
        ),
    }


def check_context_of(game: Game, context: str) -> None:
    """Make sure that what is to be shown of a phase can be shown.

    Args:
        game: The game.
        context: What is to be shown.

    Raises:
        ValueError: If a context is to be shown in pictures.
    """
    if game.pictures is not None and context != HIDDEN:
        raise ValueError(
            f"context = {context!r} appends numbers to features, and there are none with "
            "observation = 'pixels': leave it out, and let the looks tell phases apart (each "
            f"phase may set {', '.join(looks(game))})"
        )


def check_channels_of(game: Game) -> None:
    """Make sure that a run can be made of training in a game.

    Raises:
        ValueError: If its pictures have their channels last: Stable-Baselines3 turns them in a
            wrapper of its own, which has no state that could be saved.
    """
    if game.pictures is not None and game.pictures.channels == "last":
        raise ValueError(
            "channels = 'last': pictures would be turned by a wrapper of Stable-Baselines3 that "
            "cannot be saved, so that the run could not be resumed; leave it out"
        )


def _stand_in(*_: Any) -> None:
    raise NotImplementedError("a template runs only with the rules of a game")


bare_begin: Callable[..., None] = _stand_in
scene: Callable[..., None] = _stand_in
before: Callable[..., None] = _stand_in
begin_colours: Callable[..., None] = _stand_in
show_colours: Callable[..., None] = _stand_in
NAME, PLACE = "", 0
"""A tunable, and the place of its value."""
num_tunables = 0
num_shapes = 0
num_backdrops = 0
num_colours = 0
field_width = 0.0
field_height = 0.0


@rule
def _nothing(block: Any, lane: int, values: Any, at: int) -> None:
    """Begin a chain of rules, one for each of several names."""


def _begin_colour(block: Any, lane: int, params: Any, row: int) -> None:
    before(block, lane, params, row)
    block[NAME][lane] = params[row, PLACE]


def _show_colour(block: Any, lane: int, out: Any, at: int) -> None:
    before(block, lane, out, at)
    colour = block[NAME][lane]
    out[at + PLACE] = WHITE - colour if block.inverted[lane] > 0.0 else colour


def _begin(block: Any, lane: int, constants: Any, params: Any, row: int, velocity: float) -> None:
    """Start an episode; the looks come last in ``params``."""
    bare_begin(block, lane, constants, params, row, velocity)
    begin_colours(block, lane, params, row)
    others = num_tunables + num_colours
    block.inverted[lane] = params[row, others]
    block.mirrored[lane] = params[row, others + 1]
    block.noise[lane] = params[row, others + 2]
    block.distractor[lane] = params[row, others + 3]
    # Drawn from nothing: the bare game must find its generator as it left it.
    block.wanders_from[lane] = float((block.random[lane] * _MIX) >> _LAP)


@rule
def _to_and_fro(way: float, span: float) -> float:
    """Return where somebody is who walks to and fro, after a way."""
    way = way % (2.0 * span)
    return way if way < span else 2.0 * span - way


def _observe(block: Any, lane: int, constants: Any, out: Any, at: int) -> None:
    """Write the lane's scene: rectangles, the distractor behind all things; the palette; the noise.

    Args:
        block: The block of the lane.
        lane: Which lane of it.
        constants: What all lanes share.
        out: Flat float32 array to write to.
        at: Where in it the scene begins.
    """
    scene(block, lane, constants, out, at + SIDES)
    drifter = at + SIDES * num_backdrops
    for k in range(at, drifter):
        out[k] = out[k + SIDES]
    side = block.distractor[lane]
    start, steps = block.wanders_from[lane], block.steps[lane]
    left = _to_and_fro(start + 3.0 * steps, field_width - side)
    top = _to_and_fro(0.61 * start + 2.0 * steps, field_height - side)
    out[drifter], out[drifter + 1] = left, top
    out[drifter + 2], out[drifter + 3] = left + side, top + side
    if block.mirrored[lane] > 0.0:
        for k in range(at, at + SIDES * (num_shapes + 1), SIDES):
            out[k], out[k + 2] = field_width - out[k + 2], field_width - out[k]
    palette = at + SIDES * (num_shapes + 1)
    show_colours(block, lane, out, palette)
    last = palette + num_colours
    out[last] = block.noise[lane]
    drawn = (block.random[lane] + np.uint64(block.steps[lane])) * _MIX
    out[last + 1] = float((drawn >> _LAP) & _SEEDS)


def pictured(game: Game, pictures: PictureFormat) -> Game:
    """Return a game that is seen in pictures; what is observed of it here is a scene.

    Args:
        game: The bare game.
        pictures: What they are like.

    Raises:
        ValueError: If it does not say what it looks like, or the pictures are too small for it.
    """
    game.require("shapes")
    _check_size(game, pictures)
    kinds = looks(game)
    return replace(
        game,
        tunables={**game.tunables, **kinds},
        features=_numbers(game),
        lane_fields={**game.lane_fields, "wanders_from": ()},
        rules=_rules(
            game.rules,
            len(game.tunables),
            tuple(game.colours),
            len(game.shapes),
            game.num_backdrops,
            game.size,
        ),
        pictures=pictures,
        maker=pictured,
        options={"game": game, "pictures": pictures},
    )


def _check_size(game: Game, pictures: PictureFormat) -> None:
    """Make sure that the finest thing is at least as large as a pixel."""
    rows, columns = pictures.screen_size
    width, height = game.finest
    least = math.ceil(game.size[1] / height), math.ceil(game.size[0] / width)
    if rows < least[0] or columns < least[1]:
        raise ValueError(
            f"screen_size = {rows}x{columns} is too small for {game.name}, whose finest thing, "
            f"{width:g}x{height:g} px of {game.size[0]}x{game.size[1]}, would be less than a "
            f"pixel: take at least {least[0]} rows and {least[1]} columns"
        )


@cache
def _rules(
    bare: Rules,
    num_tunables: int,
    colours: tuple[str, ...],
    num_shapes: int,
    num_backdrops: int,
    size: tuple[int, int],
) -> Rules:
    """Return the rules of a game, pictured; always the same, lest they be compiled again."""
    begins, shows = _nothing, _nothing
    for place, colour in enumerate(colours):
        name = f"{colour}_rgb"
        of_row = {"before": begins, "NAME": name, "PLACE": num_tunables + place}
        begins = rule(rebind(_begin_colour, of_row))
        shows = rule(rebind(_show_colour, {"before": shows, "NAME": name, "PLACE": place}))
    names = {
        "bare_begin": bare.begin,
        "scene": bare.scene,
        "begin_colours": begins,
        "show_colours": shows,
        "num_tunables": num_tunables,
        "num_shapes": num_shapes,
        "num_backdrops": num_backdrops,
        "num_colours": len(colours),
        "field_width": float(size[0]),
        "field_height": float(size[1]),
    }
    begin, observe = (rule(rebind(template, names)) for template in (_begin, _observe))
    return bare._replace(begin=begin, observe=observe)


def _numbers(game: Game) -> tuple[Feature, ...]:
    """Describe the numbers of a scene."""
    far = float("inf")
    behind, things = game.shapes[: game.num_backdrops], game.shapes[game.num_backdrops :]
    sides = [
        Feature(f"{side}_{place}", -far, far, f"{side} edge of the {shape} [px]")
        for place, shape in enumerate((*behind, "distractor", *things))
        for side in ("left", "top", "right", "bottom")
    ]
    palette = [
        Feature(f"{name}_rgb", 0.0, float(WHITE), f"colour of the {name}") for name in game.colours
    ]
    noise = [
        Feature("noise", 0.0, LOUDEST, "standard deviation of the noise [grey levels]"),
        Feature("noise_seed", 0.0, float(_SEEDS), "what the noise is drawn from"),
    ]
    assert len(noise) == NOISE
    return (*sides, *palette, *noise)
