"""Random play and the oracle, played: what scores are measured against."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from continual_arcade.envs import GAMES, IDS, PhaseSpec, Schedule, make_game
from continual_arcade.envs.oracles import Oracle
from continual_arcade.envs.tunables import Params
from continual_arcade.evaluation.evaluator import FIRST_SEED, MAX_STEPS, Evaluator
from continual_arcade.evaluation.policies import Policy
from continual_arcade.evaluation.protocol import Protocol
from continual_arcade.evaluation.record import Value
from continual_arcade.evaluation.references import (
    Outcome,
    Player,
    Reference,
    References,
    changes_of_play,
    params_of_play,
)

EPISODES = 200
"""Ten times those of an evaluation: the standard error of a mean is below 0.1 points."""


@dataclass
class RandomPlayer:
    """Chooses actions uniformly.

    Args:
        actions: The action space.
        seed: Seed of the choices.
    """

    actions: spaces.Discrete
    seed: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def predict(self, observation: Any, *, deterministic: bool = True) -> tuple[Any, None]:
        """Return an action for each observation."""
        shape = np.shape(observation)
        shape = shape[:-1] if len(shape) <= 2 else shape[:1]  # features; pictures, one for each
        return self._rng.integers(self.actions.n, size=shape), None


def measure(
    game: str,
    params: Params,
    *,
    max_steps: int = MAX_STEPS,
    episodes: int = EPISODES,
    first_seed: int = FIRST_SEED,
    random_seed: int = 0,
    making: dict[str, Any],
) -> Reference:
    """Let random play and the oracle play some parameters.

    Nothing else is played beside them, so that the outcome depends on nothing else.

    Args:
        game: Name of the game.
        params: Its parameters.
        max_steps: Limit of an episode [steps].
        episodes: How many.
        first_seed: Seed of the first; each one has the next.
        random_seed: Seed of random play.
        making: What made it.

    Raises:
        ValueError: If the game has no oracle.
    """
    alone = Schedule("reference", (PhaseSpec(name="reference", steps=1, params=params),))
    evaluator = Evaluator(
        game, alone, episodes=episodes, max_steps=max_steps, first_seed=first_seed
    )
    actions = evaluator.env.single_action_space
    assert isinstance(actions, spaces.Discrete)
    players: dict[Player, Policy] = {
        "random": RandomPlayer(actions, random_seed),
        "oracle": Oracle(evaluator.env),
    }
    return Reference(
        env=IDS[game],
        max_steps=max_steps,
        params=params,
        episodes=episodes,
        first_seed=first_seed,
        random_seed=random_seed,
        outcomes={player: outcomes(evaluator, policy) for player, policy in players.items()},
        making=making,
    )


def outcomes(evaluator: Evaluator, policy: Policy) -> dict[Value, Outcome]:
    """Play the only phase of an evaluator, and return the result."""
    played = evaluator.play(policy)
    values: dict[Value, list[float]] = {
        "score": played.scores[0].tolist(),
        "return": played.returns[0].tolist(),
    }
    # The exact sums of the standard library: the same bits on every machine.
    return {
        value: Outcome(statistics.fmean(each), statistics.stdev(each))
        for value, each in values.items()
    }


def completed(
    known: References, protocols: Iterable[Protocol], making: Mapping[str, Any]
) -> References:
    """Return the references of all phases of some protocols; what is not known is played.

    A game without an oracle has none.

    Args:
        known: References that are there.
        protocols: Which phases, and how long an episode is.
        making: What makes those that are not known.
    """
    found: dict[Any, Reference] = {}
    for protocol in protocols:
        if protocol.game not in GAMES or changes_of_play(protocol.options):
            continue  # there is no scale without an oracle, and reports say so
        game = make_game(protocol.game)
        if not game.oracle:
            continue
        limit = protocol.evaluation.max_steps
        for phase in protocol.schedule.distinct:
            params = params_of_play(game, phase.params)
            reference = known.find(protocol.env, limit, params)
            if reference is None:
                reference = measure(protocol.game, params, max_steps=limit, making={**making})
                known = known.merged([reference])
            found[reference.key] = reference
    return References(found.values())
