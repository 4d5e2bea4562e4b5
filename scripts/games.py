"""The choice of a game on a command line: those of ``GAMES`` when the command is run."""

from typing import Annotated

import tyro

from continual_arcade.envs import GAMES

FIRST = next(iter(GAMES))
"""What is played where nobody says."""


def _hint(default: str) -> str:
    """Show a default as it is typed; tyro shows that of a type which is made late as a list."""
    plain = default.strip("[]'")
    return f"(default: {plain})"


GameName = Annotated[
    str,
    tyro.conf.arg(
        constructor_factory=lambda: tyro.extras.literal_type_from_choices(GAMES),
        help_behavior_hint=_hint,
    ),
]
"""Type of an argument that names a game."""
