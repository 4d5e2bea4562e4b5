"""Play a game yourself, through phases that change under your hands.

python -m continual_arcade.scripts.play FlappyBird

python -m continual_arcade.scripts.play Catcher --schedule conflict
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import gymnasium as gym
import tyro

from continual_arcade.envs import IDS, ArcadeEnv, make_game
from continual_arcade.envs.arcade_env import FRAMES_PER_SECOND
from continual_arcade.envs.curricula import as_schedule
from continual_arcade.scripts.cli import run

_AGAIN = "press space to play again, escape to stop"


@dataclass(frozen=True)
class Play:
    """Play a game yourself, through phases that change under your hands.

    Flappy Bird: space, w or arrow up flaps. Catcher: arrows, or a and d, push the paddle while they
    are held. Escape or closing the window ends the game.
    """

    game: Annotated[Literal["FlappyBird", "Catcher"], tyro.conf.Positional] = "FlappyBird"
    """What is played."""
    schedule: str = "shrink"
    """The schedule: a name, or a .toml or .json file."""
    phase_seconds: float = 30.0
    """How long each phase lasts [s]."""
    seed: int | None = None
    """Seed of the first game; by chance if not given."""
    hud: bool = True
    """Show phase, parameters, score and lifetime step."""


def play(args: Play) -> list[int]:
    """Let a person play until the window is closed.

    Returns:
        The score of each game that was played to its end.

    Raises:
        ValueError: If an argument makes no sense.
        RuntimeError: If there is no display to open a window on.
    """
    if not args.phase_seconds > 0:
        raise ValueError(f"phase_seconds = {args.phase_seconds} must be positive")
    game = make_game(args.game)
    schedule = as_schedule(args.schedule, game)
    schedule = schedule.with_steps(max(1, round(args.phase_seconds * FRAMES_PER_SECOND)))
    env = gym.make(IDS[args.game], schedule=schedule, render_mode="human", hud=args.hud)
    bare = env.unwrapped
    assert isinstance(bare, ArcadeEnv)
    env.reset(seed=args.seed)
    bare.require_display()
    keyboard = _Keyboard(args.game)
    scores: list[int] = []
    print(f"{args.game}: {_CONTROLS[args.game]}; escape ends the game")
    while not (bare.window_closed or keyboard.escaped):
        if bare.title:  # over: wait for the player
            bare.render()
            keyboard.read()
            if keyboard.again:
                bare.title = ""
                env.reset()
            continue
        _, _, terminated, truncated, info = env.step(keyboard.read())
        if terminated:
            scores.append(int(info["score"]))
            print(f"game {len(scores)}: {scores[-1]} {game.points}")
            bare.title = _AGAIN
        elif truncated:  # a new phase
            env.reset()
            print(f"phase {bare.clock.phase.index + 1}: {bare.clock.phase.name}")
    env.close()
    return scores


_CONTROLS = {
    "FlappyBird": "space, w or arrow up flaps",
    "Catcher": "arrows, or a and d, push the paddle",
}


class _Keyboard:
    """Turns keys into actions."""

    def __init__(self, game: str) -> None:
        import pygame

        self._pygame = pygame
        self._flaps = {pygame.K_SPACE, pygame.K_w, pygame.K_UP}
        self._lefts = {pygame.K_LEFT, pygame.K_a}
        self._rights = {pygame.K_RIGHT, pygame.K_d}
        self._game = game
        self._held: list[int] = []
        self.escaped = False
        self.again = False

    def read(self) -> int:
        """Return the action that the player means now."""
        pygame = self._pygame
        pressed: set[int] = set()
        for event in pygame.event.get([pygame.KEYDOWN, pygame.KEYUP]):
            if event.type == pygame.KEYDOWN:
                pressed.add(event.key)
                self._held.append(event.key)
            elif event.key in self._held:
                self._held.remove(event.key)
        self.escaped |= pygame.K_ESCAPE in pressed
        self.again = pygame.K_SPACE in pressed
        if self._game == "FlappyBird":
            return 0 if pressed & self._flaps else 1
        # Of two keys that are held, the later one counts; a tap between two frames counts as well.
        for key in (*reversed(self._held), *pressed):
            if key in self._lefts:
                return 0
            if key in self._rights:
                return 1
        return 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = tyro.cli(Play, args=arguments)
    run(lambda: _print_best(play(args)))


def _print_best(scores: list[int]) -> None:
    if scores:
        print(f"best of {len(scores)}: {max(scores)}")


if __name__ == "__main__":
    main()
