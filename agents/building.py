"""Makes an agent of a method, and the games it is trained in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import gymnasium as gym
import torch
from gymnasium.vector import VectorEnv

from continual_arcade.agents.arguments import SEED
from continual_arcade.agents.continual_dqn import ContinualDQN
from continual_arcade.agents.exploration import Exploration
from continual_arcade.agents.methods import METHODS, Method, Part
from continual_arcade.agents.networks import ACTIVATIONS, CONVOLUTIONS
from continual_arcade.agents.settings import (
    Convolutions,
    DQNSettings,
    LearnerSettings,
    Settings,
    check_tells,
)
from continual_arcade.agents.task_inference.inference import InferenceSettings
from continual_arcade.agents.task_inference.vec_env import InferringVecEnv
from continual_arcade.agents.vec_env import GymnasiumVecEnv
from continual_arcade.envs import IDS, Schedule, make_game
from continual_arcade.envs.checks import Instance, check_counts
from continual_arcade.envs.context import HIDDEN, INFERRED, ContextKind
from continual_arcade.envs.games import OTHER
from continual_arcade.envs.messages import unknown
from continual_arcade.envs.other_games import other_games
from continual_arcade.envs.other_vector_env import OtherVectorEnv

_OPTIMIZERS: Mapping[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}

SMALLEST_OF_NATURE = 36
"""Rows and columns that are left with a place after three convolutions [pixels]."""
STEP_OF_NATURE = 8
"""So many pixels more are one place more; those between would not be seen."""


def make_training_env(
    game: str,
    schedule: Schedule,
    num_envs: int,
    context: ContextKind = HIDDEN,
    settings: LearnerSettings | None = None,
    **options: Any,
) -> GymnasiumVecEnv:
    """Make the games that an agent is trained in.

    Args:
        game: Name of the game; ``OTHER`` for environments of other people, which options name.
        schedule: Their schedule.
        num_envs: Games that are played side by side.
        context: What of its phase an observation shows; see
            :class:`~continual_arcade.envs.context.Context`.
        settings: How the agent learns, which says how a task is inferred where the context is
            ``"inferred"``; as by default if not given.
        **options: Options of the game.

    Raises:
        ValueError: If a task is to be inferred, and the game or the agent cannot do so.
    """
    env: VectorEnv[Any, Any, Any]
    if game == OTHER:
        env = OtherVectorEnv(options, num_envs, schedule, context=context)
    else:
        env = gym.make_vec(
            IDS[game], num_envs=num_envs, schedule=schedule, context=context, **options
        )
    if context == INFERRED:
        return InferringVecEnv(env, inference_settings(settings or DQNSettings()))
    return GymnasiumVecEnv(env)


def inference_settings(settings: LearnerSettings) -> InferenceSettings:
    """Return how an agent infers its task.

    Raises:
        ValueError: If it is none that can.
    """
    if not isinstance(settings, DQNSettings):
        raise ValueError(
            f"context = 'inferred' is for a DQN, and {settings.algorithm} infers no task: choose "
            "another context, or algorithm = 'dqn'"
        )
    return InferenceSettings(
        tasks=settings.tasks,
        window=settings.task_window,
        hazard=settings.task_hazard,
        sure=settings.task_sure,
        memory=settings.task_memory,
    )


def training_schedule(
    method: Method, schedule: Schedule, context: ContextKind = HIDDEN
) -> Schedule:
    """Return the schedule that an agent of a method is trained with.

    Args:
        method: Most methods are trained with the schedule as it is; some with all of its phases at
            once, in turns.
        schedule: What the agent is evaluated by.
        context: What of its phase an observation shows.

    Raises:
        ValueError: If the context shows the index of a phase, and the phases in turns are others.
    """
    if not method.interleaved:
        return schedule
    mixed = schedule.interleaved()
    before, now = ([one.phases[phase.index].way for phase in one.told] for one in (schedule, mixed))
    if context == "one-hot" and before != now:
        raise ValueError(
            f"method {method.name!r} takes turns between pieces of phases, and those of a phase "
            f"whose parameters move, as in schedule {schedule.name!r}, are not the same phase: "
            "context = 'one-hot' has no index for them; choose context = 'params'"
        )
    return mixed


def settings_of(method: Method, settings: Settings, schedule: Schedule) -> Settings:
    """Return the settings with those that belong to a method.

    A setting that is not at its default was chosen on purpose, and stays.

    Args:
        method: The method.
        settings: What was set.
        schedule: The schedule; it says how much there is to remember.

    Raises:
        ValueError: If the method has a setting that there is not, or one was set that counts for
            nothing beside the others.
    """
    changes: dict[str, Any] = {}
    if isinstance(settings, DQNSettings):  # of which alone a method says something
        default = DQNSettings()
        known = {field.name for field in fields(default)}
        for name in method.settings:
            if name not in known:
                raise ValueError(f"method {method.name!r}: {unknown('setting', name, known)}")
        changes = {
            name: value
            for name, value in method.settings.items()
            if getattr(settings, name) == getattr(default, name)
        }
    if method.remembers_all and settings.takes("buffer_size"):
        changes["buffer_size"] = schedule.total_steps + settings.num_envs
    made = replace(settings, **changes)
    check_counts(made)
    return made


def build_agent(
    game: str,
    schedule: Schedule,
    settings: DQNSettings | None = None,
    seed: int = 0,
    method: Method = METHODS["finetune"],
    parts: Sequence[Part] = (),
    context: ContextKind = HIDDEN,
    **options: Any,
) -> ContinualDQN:
    """Make an agent, and the games it is trained in.

    Args:
        game: Name of the game.
        schedule: Their schedule.
        settings: How it learns; defaults that suit the games if not given.
        seed: Seed of everything that is random: games, network, exploration, replay, parts.
        method: The continual-learning method.
        parts: Parts to add to the method's, such as your own.
        context: What of its phase an observation shows.
        **options: Options of the game.

    Raises:
        TypeError: If the method is none.
        ValueError: If there is no such game, the seed is out of range, or the method does not suit
            the schedule.
    """
    facts = facts_of(game, options)
    if not isinstance(method, Method):
        raise TypeError(f"method = {method!r} is no method: use METHODS[...] or compose(...)")
    Instance((Schedule,))("schedule", schedule)
    seed = SEED("seed", seed)
    s = settings_of(method, settings or DQNSettings(), schedule)
    if s.loss != "td" and not facts.labelled:
        raise ValueError(
            f"loss = {s.loss!r} learns the right answers, and {game} has no labels: choose "
            "loss = 'td', or a stream of labelled examples"
        )
    if context == INFERRED and facts.labelled:
        raise ValueError(
            f"context = 'inferred' reads tasks off what actions do, and in {game} they do nothing: "
            "choose another context"
        )
    check_convolutions(game, facts.screen_size, s.convolutions)
    replay, replay_settings = method.make_replay()
    all_parts = [*method.make_parts(), *parts]
    method.check_turns(all_parts)
    told = check_told(s, all_parts, schedule, context)
    sees = {"features_extractor_class": CONVOLUTIONS[s.convolutions]}
    return ContinualDQN(
        "MlpPolicy" if facts.screen_size is None else "CnnPolicy",
        make_training_env(
            game, training_schedule(method, schedule, context), s.num_envs, context, s, **options
        ),
        parts=all_parts,
        double_q=s.double_q,
        loss=s.loss,
        exploration=Exploration(s.epsilon, facts.action_prior),
        replay_buffer_class=replay,
        replay_buffer_kwargs={"n_steps": s.n_steps, **replay_settings},
        policy_kwargs={
            **({} if facts.screen_size is None else sees),
            "net_arch": list(s.hidden),
            "activation_fn": ACTIVATIONS[s.activation],
            "layer_norm": s.layer_norm,
            "dropout": s.dropout,
            "initial": s.initial,
            **told,
            "optimizer_class": _OPTIMIZERS[s.optimizer],
        },
        learning_rate=s.learning_rate,
        buffer_size=s.buffer_size,
        learning_starts=s.learning_starts,
        batch_size=s.batch_size,
        gamma=s.gamma,
        train_freq=1,
        gradient_steps=s.gradient_steps,
        target_update_interval=s.target_update_interval,
        exploration_initial_eps=s.exploration_initial_eps,
        exploration_final_eps=s.exploration_final_eps,
        exploration_fraction=s.exploration_fraction,
        max_grad_norm=s.max_grad_norm,
        average=s.average,
        device="cpu",
        seed=seed,
        engine=s.engine,
    )


@dataclass(frozen=True)
class Facts:
    """What an agent must be made for."""

    labelled: bool = False
    """Whether there are right answers to learn."""
    screen_size: tuple[int, int] | None = None
    """Rows and columns of the pictures that are seen; None if it is features."""
    action_prior: tuple[float, ...] | None = None
    """Probability of each action in exploration; None for a uniform choice."""


def facts_of(game: str, options: Mapping[str, Any]) -> Facts:
    """Return the facts of a game, or of other people's."""
    if game == OTHER:
        games = other_games(options)
        _, *size = games.observation_space.shape
        return Facts(screen_size=(size[0], size[1]) if games.are_pictures else None)
    made = make_game(game, **options)
    size_of = None if made.pictures is None else made.pictures.screen_size
    return Facts(made.rules.labelled, size_of, made.action_prior)


def check_told(
    settings: DQNSettings, parts: Sequence[Part], schedule: Schedule, context: ContextKind
) -> dict[str, int]:
    """Return which options of the policy want to know of how many phases they are told.

    The phase is told by the environment, or inferred by the agent.

    Args:
        settings: How an agent learns.
        parts: Its parts.
        schedule: What it is trained in.
        context: What of its phase an observation shows.

    Raises:
        ValueError: If there are some, and no observation tells the phase, or there is but one; or a
            setting is for another context.
    """
    settings.check_context(context)
    phases = settings.tasks if context == INFERRED else len(schedule.told)
    who = {part.told: f"part {part.name!r}" for part in parts if part.told}
    if who:
        check_tells(next(iter(who.values())), context)
    if who and phases == 1:
        what = "tasks = 1" if context == INFERRED else f"schedule {schedule.name!r} has but one"
        raise ValueError(
            f"{next(iter(who.values()))} uses a part of the network for each phase, and {what}: "
            "choose more, or method 'finetune', which does the same there"
        )
    return dict.fromkeys([*who, *settings.told], phases)


def check_convolutions(
    game: str, screen_size: tuple[int, int] | None, convolutions: Convolutions
) -> None:
    """Check that what looks at pictures suits what is seen of a game.

    Args:
        game: Name of the game.
        screen_size: Rows and columns of the pictures; None if features are seen.
        convolutions: What looks at pictures.

    Raises:
        ValueError: If there are none, they are too small, or their edges would not be seen.
    """
    if screen_size is None:
        if convolutions != DQNSettings.convolutions:
            way_out = "" if game == OTHER else ", or choose observation = 'pixels'"
            raise ValueError(
                f"convolutions = {convolutions!r} look at pictures, and of {game} features are "
                f"seen: leave it out{way_out}"
            )
        return
    if convolutions != "nature":
        return
    rows, columns = screen_size
    if min(rows, columns) < SMALLEST_OF_NATURE:
        raise ValueError(
            f"convolutions = 'nature' needs pictures of at least {SMALLEST_OF_NATURE}x"
            f"{SMALLEST_OF_NATURE} pixels, and these have {rows}x{columns}: choose convolutions = "
            "'small', or a larger screen_size"
        )
    missed = [(side - SMALLEST_OF_NATURE) % STEP_OF_NATURE for side in (rows, columns)]
    if any(missed):
        # Silent in PyTorch; and Catcher's paddle is at the lower edge.
        raise ValueError(
            f"convolutions = 'nature' would not see the last {missed[0]} rows and {missed[1]} "
            f"columns of pictures of {rows}x{columns} pixels, since their strides do not reach "
            "them: choose convolutions = 'small', which sees all, or a screen_size of 36, 44, "
            "52, ..., 84"
        )
