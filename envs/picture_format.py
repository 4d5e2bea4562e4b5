"""What the pictures are like that an agent sees, as settings."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.checks import Each, Whole, WrongTypeError, check_fields
from continual_arcade.envs.messages import shown

ObservationKind = Literal["features", "pixels"]
OBSERVATIONS: tuple[ObservationKind, ...] = get_args(ObservationKind)
FEATURES, PIXELS = OBSERVATIONS

Channels = Literal["first", "last"]
LARGEST = 4096
"""Rows and columns that a picture can have."""
DEEPEST = 64
"""Pictures that can lie behind each other."""


@dataclass(frozen=True, kw_only=True)
class PictureFormat:
    """How large pictures are, and how they are laid out.

    Raises:
        WrongTypeError: If a setting is of the wrong type.
        ValueError: If one is out of bounds.
    """

    screen_size: tuple[int, int] = (84, 84)
    """Rows and columns [pixels]; one number for both."""
    colour: bool = False
    """Whether pictures have red, green and blue; otherwise they are grey, the luminance."""
    channels: Channels = "first"
    """Where the axis of the channels is: ``"first"``, as PyTorch wants it and fastest, or
    ``"last"``."""
    stack: Annotated[int, Whole(1, DEEPEST)] = 4
    """Pictures that are seen at once, that of the last step and those before it, oldest first."""

    def __post_init__(self) -> None:
        size = self.screen_size
        if isinstance(size, np.ndarray):
            size = size.tolist()
        sides = (size, size) if isinstance(size, int | np.integer) else size
        if not isinstance(sides, list | tuple) or len(sides) != 2:
            kind = ValueError if isinstance(sides, list | tuple) else WrongTypeError
            raise kind(f"screen_size = {shown(size)} must be rows and columns, or one whole number")
        sides = Each(Whole(1, LARGEST))("screen_size", sides)
        object.__setattr__(self, "screen_size", tuple(sides))
        check_fields(self)

    @property
    def planes(self) -> int:
        """Channels of one picture: 1 if it is grey, else 3."""
        return 3 if self.colour else 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of what is seen."""
        rows, columns = self.screen_size
        depth = self.stack * self.planes
        return (rows, columns, depth) if self.channels == "last" else (depth, rows, columns)

    def describe(self) -> str:
        """Return all settings in words."""
        rows, columns = self.screen_size
        kind = "colour" if self.colour else "grey"
        return f"{self.stack} {kind} pictures of {rows}x{columns} pixels, channels {self.channels}"

    def frames(self, seen: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the pictures that are seen at once, oldest first.

        Args:
            seen: An observation, of :attr:`shape`, or what belongs to each number of it.

        Returns:
            Shape ``(stack, rows, columns, 1 or 3)``.
        """
        first = np.moveaxis(seen, -1, 0) if self.channels == "last" else seen
        apart = first.reshape(self.stack, self.planes, *self.screen_size)
        return np.moveaxis(apart, 1, -1)

    def newest(self, seen: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the newest picture of what is seen, shape ``(rows, columns, 1 or 3)``."""
        newest: npt.NDArray[Any] = self.frames(seen)[-1]
        return newest


SETTINGS = tuple(field.name for field in fields(PictureFormat))
"""Names of the settings."""
