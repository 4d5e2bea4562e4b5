"""Arcade games whose rules drift by schedule, as Gymnasium environments.

Importing this package registers an id ``ContinualArcade/<game>-v0`` for every game in ``GAMES``
and every stream of labelled examples in ``STREAMS``.
"""

from continual_arcade.envs.arcade_env import ArcadeEnv
from continual_arcade.envs.arcade_vector_env import ArcadeVectorEnv
from continual_arcade.envs.curricula import SHIPPED, shipped
from continual_arcade.envs.drawing.schedule import draw as draw_schedule
from continual_arcade.envs.games import ENVIRONMENTS, GAMES, STREAMS, make_game
from continual_arcade.envs.registration import IDS, register, register_game
from continual_arcade.envs.schedule_files import load, save
from continual_arcade.envs.schedules import Phase, PhaseSpec, Schedule
from continual_arcade.envs.tunables import Tunable

__all__ = [
    "ENVIRONMENTS",
    "GAMES",
    "IDS",
    "SHIPPED",
    "STREAMS",
    "ArcadeEnv",
    "ArcadeVectorEnv",
    "Phase",
    "PhaseSpec",
    "Schedule",
    "Tunable",
    "draw_schedule",
    "load",
    "make_game",
    "register_game",
    "save",
    "shipped",
]

register()
