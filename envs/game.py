"""What a game is to the rest of the suite: all facts about it, without state."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pkgutil import resolve_name
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.checks import ByName, Number
from continual_arcade.envs.lanes import block_dtype
from continual_arcade.envs.messages import shown, unknown
from continual_arcade.envs.picture_format import PictureFormat
from continual_arcade.envs.tunables import Params, Tunables, check_tunables, resolve

_REWARDS = ByName(Number())


class Rules(NamedTuple):
    """The rules of a game, each a function over one lane of a block."""

    constants: Callable[..., Any]
    """``constants(block)``: read what all lanes share."""
    begin: Callable[..., None]
    """``begin(block, lane, constants, params, row, velocity)``: start an episode, with the tunables
    in ``params[row]`` and what the player moves at this velocity [px/step]."""
    advance: Callable[..., None]
    """``advance(block, lane, constants)``: play one step; sets ``reward`` and ``event``, and adds
    to ``score``, which starts at 0 and never falls."""
    settle: Callable[..., None]
    """``settle(block, lane, constants)``: make the random draws that a step has asked for."""
    observe: Callable[..., None]
    """``observe(block, lane, constants, out, at)``: write the features to ``out[at:]``."""
    advance_all: Callable[..., None] | None = None
    """``advance_all(block, used, constants)``: play one step in every lane of a block, of which the
    first ``used`` are environments and the others padding; ``advance`` in one lane after the other,
    if not given. For rules that become vector code only if something is known of all lanes."""
    scene: Callable[..., None] | None = None
    """``scene(block, lane, constants, out, at)``: write what a picture shows to ``out[at:]``: left,
    top, right and bottom edge of each of ``Game.shapes`` [px], not cut to the picture; one whose
    edges coincide is not seen."""
    labelled: bool = False
    """Whether what is observed is an example with a right answer, the *label*: the lane's field
    ``label`` holds the action that is right. It is told in ``info["label"]`` of the step that
    answers, and agents may learn it."""


@dataclass(frozen=True)
class Feature:
    """One number of the observation."""

    name: str
    low: float
    """Smallest value that play can reach, whatever the tunables."""
    high: float
    """Largest value that play can reach, whatever the tunables."""
    about: str
    """What it measures, and in what unit."""


@dataclass(frozen=True)
class Keys:
    """How a person plays a game on a keyboard."""

    actions: Mapping[str, int]
    """What a key does, by pygame's name of the key (``"space"``, ``"left"``, ``"a"``)."""
    idle: int
    """The action while no key is pressed."""
    about: str
    """What the keys do, in a few words."""
    repeat: bool | tuple[int, ...] = True
    """Whether a key that is held acts in each step, otherwise once each time it is pressed; or the
    actions of which that is so."""

    def repeats(self, action: int) -> bool:
        """Return whether the key of an action acts in each step while it is held."""
        return self.repeat if isinstance(self.repeat, bool) else action in self.repeat


Lanes = Mapping[str, npt.NDArray[np.float64]]
"""What lanes hold, by field, shape ``(lanes,)`` each."""
HowMany = int | Callable[[Lanes], npt.NDArray[np.float64]]
"""How many things there are; or a function that says it of lanes, from the tunables in them."""


@dataclass(frozen=True, kw_only=True)
class Game:
    """A game: everything about it that does not change while it is played.

    What has a default is needed for some purpose only, which is refused to a game that lacks it. A
    ``"module:attribute"`` is imported when it is first needed, so that training loads no drawing.

    Raises:
        ValueError: If facts contradict each other; the message names game and fact.
    """

    name: str
    actions: tuple[str, ...]
    """What action 0, 1, ... does."""
    tunables: Tunables
    features: tuple[Feature, ...]
    constants: Mapping[str, float]
    """What all lanes share: size of the field, rewards."""
    lane_fields: Mapping[str, tuple[int, ...]]
    """State of a lane beside the tunables, with shapes."""
    indices: Mapping[str, HowMany] = field(default_factory=dict)
    """Those by which rules find something in memory, and among how many things: whole numbers from
    0 to one less. A state with another number is refused, because rules do not look again."""
    rules: Rules
    size: tuple[int, int]
    """Width and height of the picture [px]."""
    points: str
    """What the score counts."""
    maker: Callable[..., "Game"]
    """The function that makes the game."""
    options: Mapping[str, Any]
    """The arguments it was given."""
    evaluated_with: Mapping[str, Any] = field(default_factory=dict)
    """Options with which agents are evaluated in it, in place of those of training."""
    phases: tuple[Params, ...] = ()
    """Phases of increasing difficulty, each the same parameters, of which ``shrink``, ``grow``,
    ``cycle``, ``shuffle`` and ``drift`` are made; at least two, or none."""
    conflict: Mapping[str, Params] = field(default_factory=dict)
    """Phases by name in which the same observation asks for different actions."""
    action_prior: tuple[float, ...] | None = None
    """Probability of each action in exploration; None for equal ones."""
    keys: Keys | None = None
    """How a person plays it."""
    colours: Mapping[str, int] = field(default_factory=dict)
    """Colours of the pictures that agents see, ``0xRRGGBB`` by name; the first one is that of the
    background."""
    shapes: tuple[str, ...] = ()
    """The rectangles of these pictures, from back to front, each by the name of its colour. A thing
    that distracts is of the colour of the last one."""
    num_backdrops: int = 0
    """How many of them, the first ones, are behind a thing that distracts, too; else it would be
    hidden."""
    seen_where: Mapping[str, Params] = field(default_factory=dict)
    """What it takes for a colour to be seen at all, by its name: values of tunables."""
    finest: tuple[float, float] = (1.0, 1.0)
    """Width and height of the finest thing that a picture must show [px]."""
    frame_skip: int = 1
    """Frames that a step plays with the same action."""
    pictures: PictureFormat | None = None
    """What these pictures are like, of a game that is seen in pictures and not in features."""
    painter: str = ""
    """Module that draws it: ``paint(surface, state, scale)``, and ``HUD_EDGE``, the edge of the
    picture (``"top"`` or ``"bottom"``) that the heads-up display hides."""
    oracle: str = ""
    """``"module:attribute"``: a policy that sees the state and solves every phase. Called with the
    :class:`~continual_arcade.envs.core.Core` it returns a function to the actions."""
    unbeatable: str = ""
    """``"module:attribute"``: one that changes the state before each step, so that nobody can score
    more."""

    def __post_init__(self) -> None:
        check_name(self.name)
        try:
            check_tunables(self.tunables)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error
        places = {f"phases[{index}]": params for index, params in enumerate(self.phases)}
        places |= {f"conflict[{name!r}]": params for name, params in self.conflict.items()}
        for place, params in places.items():
            try:
                resolve(self.tunables, params)
            except ValueError as error:
                raise ValueError(f"{place} of {self.name}: {error}") from error
        if len({frozenset(params) for params in self.phases}) > 1 or len(self.phases) == 1:
            raise ValueError(
                f"phases of {self.name} must be at least two, and all set the same parameters"
            )
        if (self.rules.scene is not None) != bool(self.shapes):
            raise ValueError(f"{self.name}: what a picture shows takes a rule scene and shapes")
        for shape in self.shapes:
            if shape not in self.colours:
                raise ValueError(f"shapes of {self.name}: {unknown('colour', shape, self.colours)}")
        for colour in self.seen_where:
            if colour not in self.colours:
                raise ValueError(
                    f"seen_where of {self.name}: {unknown('colour', colour, self.colours)}"
                )
        for name in self.indices:
            if self.lane_fields.get(name) != ():
                raise ValueError(
                    f"indices of {self.name}: {name!r} is no field of a lane, of shape (): "
                    f"{', '.join(self.lane_fields)}"
                )
        if not 0 <= self.num_backdrops <= len(self.shapes):
            raise ValueError(
                f"num_backdrops = {shown(self.num_backdrops)} of {self.name}: it has "
                f"{len(self.shapes)} shapes"
            )
        prior = self.action_prior
        if prior is not None and (
            len(prior) != self.num_actions or min(prior) < 0 or abs(sum(prior) - 1) > 1e-9
        ):
            raise ValueError(
                f"action_prior = {shown(prior)} of {self.name} must be {self.num_actions} "
                "probabilities that add up to 1"
            )
        if self.keys is not None:
            for key, action in {**self.keys.actions, "idle": self.keys.idle}.items():
                if action not in range(self.num_actions):
                    raise ValueError(
                        f"keys of {self.name}: {key} = {shown(action)} is no action; it has "
                        f"actions 0 to {self.num_actions - 1}"
                    )

    def __reduce__(self) -> tuple[Any, ...]:
        # Compiled rules do not travel well between processes; the recipe does.
        return partial(self.maker, **self.options), ()

    @property
    def bare(self) -> "Game":
        """The game itself, if this is one that is seen in pictures or several frames at a time."""
        within = self.options.get("game")
        return within.bare if isinstance(within, Game) else self

    @property
    def title(self) -> str:
        """The name as people write it: ``"Flappy Bird"``."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.name)

    def require(self, fact: str) -> None:
        """Refuse a purpose that cannot do without a fact.

        Args:
            fact: As in :meth:`needed`.

        Raises:
            ValueError: If the game has no such fact.
        """
        if not getattr(self, fact):
            raise ValueError(f"{self.name} has no {fact}: {_WAY_OUT[fact]}")

    def needed(self, fact: str) -> Any:
        """Return a fact that a purpose cannot do without; imported, where it is a name.

        Args:
            fact: ``"keys"``, ``"shapes"``, ``"painter"``, ``"oracle"`` or ``"unbeatable"``.

        Raises:
            ValueError: If the game has no such fact, or what it names cannot be imported.
        """
        self.require(fact)
        value = getattr(self, fact)
        return located(value, f"{fact} of {self.name}") if isinstance(value, str) else value

    @property
    def num_actions(self) -> int:
        """Number of actions."""
        return len(self.actions)

    def dtype(self, lanes: int) -> np.dtype[np.void]:
        """Describe a block of the game's state."""
        tunables: dict[str, tuple[int, ...]] = dict.fromkeys(self.tunables, ())
        return block_dtype(
            {**self.lane_fields, **tunables}, tuple(self.constants), len(self.features), lanes
        )

    def feature_bounds(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return the lower and upper bounds of the features, shape ``(num_features,)`` each."""
        low = np.array([feature.low for feature in self.features], np.float32)
        high = np.array([feature.high for feature in self.features], np.float32)
        return low, high


def check_name(name: object) -> None:
    """Make sure that a game can be called so: the name is a part of identifiers and folders.

    Raises:
        ValueError: If there is anything in it beside letters and digits.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", name):
        raise ValueError(f"game = {shown(name)} must be a name of letters and digits")


_WAY_OUT = {
    "shapes": "agents cannot see it in pictures; make it with observation='features', or give its "
    "Game colours and shapes, and its Rules a scene",
    "keys": "nobody can play it at the keyboard; give its Game keys=Keys(...)",
    "painter": "it cannot be drawn; give its Game painter='module'",
    "oracle": "let random play or an agent play it, or give its Game oracle='module:attribute'",
    "unbeatable": "its highest score is not known; give its Game unbeatable='module:attribute'",
}


def rewards(
    defaults: Mapping[str, float], overrides: Mapping[str, float] | None
) -> dict[str, float]:
    """Return a game's rewards with some of them replaced.

    Raises:
        WrongTypeError: If the replacements are no table of numbers.
        ValueError: If the game has no such reward, or one is NaN or infinite.
    """
    given = {} if overrides is None else _REWARDS("rewards", overrides)
    for name in given:
        if name not in defaults:
            raise ValueError(unknown("reward", name, defaults))
    return {**defaults, **given}


def located(name: str, what: str) -> Any:
    """Import what a name says.

    Args:
        name: ``"module"`` or ``"module:attribute"``.
        what: What it is, for the message.

    Raises:
        ValueError: If there is no such module or attribute.
    """
    try:
        return resolve_name(name if ":" in name else f"{name}:")
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{what}, {name!r}, cannot be imported: {error}") from error
