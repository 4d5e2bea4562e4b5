"""Makes an agent of Stable-Baselines3, and the games it is trained in."""

from typing import Any

from continual_arcade.agents.algorithms.catalogue import check_method, find
from continual_arcade.agents.algorithms.settings import AlgorithmSettings
from continual_arcade.agents.building import (
    check_convolutions,
    facts_of,
    make_training_env,
    training_schedule,
)
from continual_arcade.agents.methods import METHODS, Method
from continual_arcade.agents.sb3.agent import SB3Agent, agent_class
from continual_arcade.envs import Schedule
from continual_arcade.envs.context import HIDDEN, ContextKind


def build_sb3_agent(
    game: str,
    schedule: Schedule,
    settings: AlgorithmSettings,
    seed: int = 0,
    method: Method = METHODS["finetune"],
    context: ContextKind = HIDDEN,
    **options: Any,
) -> SB3Agent:
    """Make an agent, and the games it is trained in.

    Args:
        game: Name of the game.
        schedule: Their schedule.
        settings: By which algorithm it learns, and how.
        seed: Seed of everything that is random.
        method: One that adds nothing to the algorithm: finetune, from-scratch or joint.
        context: What of its phase an observation shows.
        **options: Options of the game.

    Raises:
        ValueError: If something makes no sense, or the library of the algorithm is not installed.
    """
    check_method(settings.algorithm, method)
    kind = agent_class(find(settings.algorithm))
    facts = facts_of(game, options)
    check_convolutions(game, facts.screen_size, settings.convolutions)
    env = make_training_env(
        game,
        training_schedule(method, schedule, context),
        settings.num_envs,
        context,
        settings,
        **options,
    )
    return kind(
        settings,
        env,
        seed=seed,
        sees_pictures=facts.screen_size is not None,
        from_scratch=bool(method.parts),
    )
