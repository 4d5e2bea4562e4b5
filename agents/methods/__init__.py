"""Continual-learning methods as parts of a learner.

``base.py`` says what a part may do; the others are the parts that come with the suite.
"""

from continual_arcade.agents.methods.agem import AGEM
from continual_arcade.agents.methods.base import Batch, Learner, Part
from continual_arcade.agents.methods.catalogue import PARTS, make_part, parse_part
from continual_arcade.agents.methods.cloning import Clear, Clone
from continual_arcade.agents.methods.meta import MER, Reptile
from continual_arcade.agents.methods.penalties import EWC, L2, MAS, SI, OnlineEWC
from continual_arcade.agents.methods.presets import METHODS, REPLAYS, Method, compose
from continual_arcade.agents.methods.reset import Reset

__all__ = [
    "AGEM",
    "EWC",
    "L2",
    "MAS",
    "MER",
    "METHODS",
    "PARTS",
    "REPLAYS",
    "SI",
    "Batch",
    "Clear",
    "Clone",
    "Learner",
    "Method",
    "OnlineEWC",
    "Part",
    "Reptile",
    "Reset",
    "compose",
    "make_part",
    "parse_part",
]
