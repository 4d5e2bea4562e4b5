"""Continual-learning methods, one file each, as parts of a learner.

``base.py`` says what a part may do, ``rules.py`` how it says what happens in a gradient step, and
``catalogue.py`` finds the methods in this folder.
"""

import os

# Before anything is looked for in it.
__path__ += filter(None, os.environ.get("CONTINUAL_ARCADE_METHODS", "").split(os.pathsep))

from continual_arcade.agents.methods.base import Batch, Learner, Part  # noqa: E402
from continual_arcade.agents.methods.catalogue import MISSING, PARTS, make_part, parse_part  # noqa: E402
from continual_arcade.agents.methods.method import METHODS, REPLAYS, Method, compose  # noqa: E402

__all__ = [
    "METHODS",
    "MISSING",
    "PARTS",
    "REPLAYS",
    "Batch",
    "Learner",
    "Method",
    "Part",
    "compose",
    "make_part",
    "parse_part",
]
