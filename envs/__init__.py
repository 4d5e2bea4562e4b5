"""The world: two arcade games whose rules drift by schedule, as Gymnasium environments.

Importing this package registers ``ContinualArcade/FlappyBird-v0`` and
``ContinualArcade/Catcher-v0``.
"""

from continual_arcade.envs.arcade_env import ArcadeEnv
from continual_arcade.envs.arcade_vector_env import ArcadeVectorEnv
from continual_arcade.envs.curricula import SHIPPED, shipped
from continual_arcade.envs.drawing.schedule import draw as draw_schedule
from continual_arcade.envs.games import GAMES, make_game
from continual_arcade.envs.registration import IDS, register
from continual_arcade.envs.schedule_files import load, save
from continual_arcade.envs.schedules import Phase, PhaseSpec, Schedule
from continual_arcade.envs.tunables import Tunable

__all__ = [
    "GAMES",
    "IDS",
    "SHIPPED",
    "ArcadeEnv",
    "ArcadeVectorEnv",
    "Phase",
    "PhaseSpec",
    "Schedule",
    "Tunable",
    "draw_schedule",
    "load",
    "make_game",
    "save",
    "shipped",
]

register()
