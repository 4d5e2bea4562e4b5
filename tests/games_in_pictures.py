"""Games that can be seen in pictures, and schedules in which each thing has a pure colour."""

from dataclasses import replace
from typing import Any

from pictures_by_hand import BLUE, GREEN, RED
from schedules_of_games import PAIRS

from continual_arcade.envs import GAMES, Schedule, make_game, shipped

PICTURED = [game for game in GAMES if make_game(game).shapes]
PICTURED_PAIRS = [(game, name) for game, name in PAIRS if game in PICTURED]

PURE_BIRD = {"sky_rgb": 0, "pipe_rgb": GREEN, "ground_rgb": BLUE, "bird_rgb": RED}
PURE_CATCHER = {"field_rgb": 0, "paddle_rgb": GREEN, "pellet_rgb": RED}


def plays_bird(game: str, params: Any) -> bool:
    """Return whether Flappy Bird is played, on its own or in Tour."""
    return game == "FlappyBird" or (game == "Tour" and params.get("which_game", 0.0) == 0.0)


def pure(game: str, params: Any) -> dict[str, float]:
    """Return colours that each channel shows alone: red, green and blue, and black behind."""
    if not plays_bird(game, params):
        return dict(PURE_CATCHER)
    return {**PURE_BIRD, "wall_rgb": 0} if game == "Tour" else dict(PURE_BIRD)


def pure_schedule(game: str, name: str, steps: int) -> Schedule:
    """Return a shipped schedule whose phases have such colours, and so many steps each."""
    schedule = shipped(name, make_game(game)).with_steps(steps)
    phases = []
    for phase in schedule.phases:
        colours = pure(game, phase.params)
        until = None if phase.until is None else {**phase.until, **colours}
        phases.append(replace(phase, params={**phase.params, **colours}, until=until))
    return Schedule(schedule.name, tuple(phases))


def steady(game: str, env: Any, rng: Any) -> int:
    """Return an action that keeps a bird between pipes for a while, or plays at random."""
    state = env.unwrapped.state
    if not plays_bird(game, state):
        return int(rng.integers(env.unwrapped.game.num_actions))
    ahead = int(state["pipe_x"][0] + 26 <= 57)
    middle = state["pipe_top"][ahead] + state["gap"] / 2 - 12
    below = state["bird_y"] + state["bird_velocity"] > middle + 8
    flaps = below if state["gravity"] > 0 else state["bird_y"] < middle - 8
    return 0 if flaps else 1
