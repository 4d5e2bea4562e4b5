"""Makes an agent of a method, and the games it is trained in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import gymnasium as gym
import torch

from continual_arcade.agents.continual_dqn import SEED, ContinualDQN
from continual_arcade.agents.exploration import Exploration
from continual_arcade.agents.methods import METHODS, Method, Part
from continual_arcade.agents.networks import ACTIVATIONS, CONVOLUTIONS
from continual_arcade.agents.settings import Convolutions, DQNSettings
from continual_arcade.agents.vec_env import GymnasiumVecEnv
from continual_arcade.envs import IDS, Schedule, make_game
from continual_arcade.envs.checks import Instance
from continual_arcade.envs.context import HIDDEN, ContextKind
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


def make_training_env(
    game: str,
    schedule: Schedule,
    num_envs: int,
    context: ContextKind = HIDDEN,
    **options: Any,
) -> GymnasiumVecEnv:
    """Make the games that an agent is trained in.

    Args:
        game: Name of the game; ``OTHER`` for environments of other people, which options name.
        schedule: Their schedule.
        num_envs: Games that are played side by side.
        context: What of its phase an observation shows; see
            :class:`~continual_arcade.envs.context.Context`.
        **options: Options of the game.
    """
    if game == OTHER:
        return GymnasiumVecEnv(OtherVectorEnv(options, num_envs, schedule, context=context))
    env = gym.make_vec(IDS[game], num_envs=num_envs, schedule=schedule, context=context, **options)
    return GymnasiumVecEnv(env)


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
    before, now = ([phase.params for phase in one.distinct] for one in (schedule, mixed))
    if context == "one-hot" and before != now:
        raise ValueError(
            f"method {method.name!r} takes turns between pieces of phases, and those of a phase "
            f"whose parameters move, as in schedule {schedule.name!r}, are not the same phase: "
            "context = 'one-hot' has no index for them; choose context = 'params'"
        )
    return mixed


def settings_of(method: Method, settings: DQNSettings, schedule: Schedule) -> DQNSettings:
    """Return the settings with those that belong to a method.

    A setting that is not at its default was chosen on purpose, and stays.

    Args:
        method: The method.
        settings: What was set.
        schedule: The schedule; it says how much there is to remember.
    """
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
    if method.remembers_all:
        changes["buffer_size"] = schedule.total_steps + settings.num_envs
    return replace(settings, **changes)


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
    facts = _facts(game, options)
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
    if facts.screen_size is None and s.convolutions != DQNSettings.convolutions:
        way_out = "" if game == OTHER else ", or choose observation = 'pixels'"
        raise ValueError(
            f"convolutions = {s.convolutions!r} look at pictures, and of {game} features are seen: "
            f"leave it out{way_out}"
        )
    replay, replay_settings = method.make_replay()
    sees = {} if facts.screen_size is None else _sees(s.convolutions, facts.screen_size)
    return ContinualDQN(
        "MlpPolicy" if facts.screen_size is None else "CnnPolicy",
        make_training_env(
            game, training_schedule(method, schedule, context), s.num_envs, context, **options
        ),
        parts=[*method.make_parts(), *parts],
        double_q=s.double_q,
        loss=s.loss,
        exploration=Exploration(s.epsilon, facts.action_prior),
        replay_buffer_class=replay,
        replay_buffer_kwargs={"n_steps": s.n_steps, **replay_settings},
        policy_kwargs={
            **sees,
            "net_arch": list(s.hidden),
            "activation_fn": ACTIVATIONS[s.activation],
            "layer_norm": s.layer_norm,
            "dropout": s.dropout,
            "initial": s.initial,
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
class _Facts:
    """What an agent must be made for."""

    labelled: bool = False
    """Whether there are right answers to learn."""
    screen_size: tuple[int, int] | None = None
    """Rows and columns of the pictures that are seen; None if it is features."""
    action_prior: tuple[float, ...] | None = None
    """Probability of each action in exploration; None for a uniform choice."""


def _facts(game: str, options: Mapping[str, Any]) -> _Facts:
    """Return the facts of a game, or of other people's."""
    if game == OTHER:
        games = other_games(options)
        _, *size = games.observation_space.shape
        return _Facts(screen_size=(size[0], size[1]) if games.are_pictures else None)
    made = make_game(game, **options)
    size_of = None if made.pictures is None else made.pictures.screen_size
    return _Facts(made.rules.labelled, size_of, made.action_prior)


def _sees(convolutions: Convolutions, screen_size: tuple[int, int]) -> dict[str, Any]:
    """Return which part of a policy looks at pictures.

    Raises:
        ValueError: If they are too small for it.
    """
    if convolutions == "nature" and min(screen_size) < SMALLEST_OF_NATURE:
        rows, columns = screen_size
        raise ValueError(
            f"convolutions = 'nature' needs pictures of at least {SMALLEST_OF_NATURE}x"
            f"{SMALLEST_OF_NATURE} pixels, and these have {rows}x{columns}: choose convolutions = "
            "'small', or a larger screen_size"
        )
    return {"features_extractor_class": CONVOLUTIONS[convolutions]}
