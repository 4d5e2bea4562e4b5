"""The games as Gymnasium ids."""

import gymnasium as gym

from continual_arcade.envs.games import GAMES

MAX_EPISODE_STEPS = 10_000
"""About 265 pipes, or 260 pellets at their slowest: an agent that never loses must be stopped."""

IDS = {game: f"ContinualArcade/{game}-v0" for game in GAMES}
"""The Gymnasium id of each game."""


def register() -> None:
    """Register every game. Called when ``continual_arcade.envs`` is imported; harmless again."""
    for game, env_id in IDS.items():
        if env_id not in gym.registry:
            gym.register(
                env_id,
                entry_point="continual_arcade.envs.arcade_env:ArcadeEnv",
                vector_entry_point="continual_arcade.envs.arcade_vector_env:ArcadeVectorEnv",
                max_episode_steps=MAX_EPISODE_STEPS,
                # The environments refuse a step before a reset, or after the end, by themselves.
                order_enforce=False,
                kwargs={"game": game},
            )
