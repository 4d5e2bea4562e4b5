"""Continual-learning methods as parts of a learner.

``part.py`` says what a part may do; the others are the parts that come with the suite.
"""

from continual_arcade.agents.parts.catalogue import PARTS, make_part, parse_part
from continual_arcade.agents.parts.cloning import Clear, Clone
from continual_arcade.agents.parts.meta import MER, Reptile
from continual_arcade.agents.parts.part import Batch, Learner, Part
from continual_arcade.agents.parts.penalties import EWC, L2, MAS, SI, OnlineEWC
from continual_arcade.agents.parts.projection import AGEM
from continual_arcade.agents.parts.reset import Reset

__all__ = [
    "AGEM",
    "EWC",
    "L2",
    "MAS",
    "MER",
    "PARTS",
    "SI",
    "Batch",
    "Clear",
    "Clone",
    "Learner",
    "OnlineEWC",
    "Part",
    "Reptile",
    "Reset",
    "make_part",
    "parse_part",
]
