"""Play a game yourself, through phases that change under your hands.

python -m continual_arcade.scripts.play FlappyBird

python -m continual_arcade.scripts.play Catcher --schedule conflict
"""

import sys
from collections.abc import Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, Any

import gymnasium as gym
import tyro

from continual_arcade.envs import GAMES, IDS, ArcadeEnv, make_game
from continual_arcade.envs.arcade_env import FRAMES_PER_SECOND
from continual_arcade.envs.drawing.status import Notice
from continual_arcade.envs.game import Game, Keys
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.games import GameName
from continual_arcade.scripts.schedules import game_for, schedule_for

HOLD = FRAMES_PER_SECOND // 2
"""For so many frames a game that is over stays, whatever is pressed: a key that was pressed for the
lost game does not begin the next one."""


@dataclass(frozen=True)
class Play:
    """Play a game yourself, through phases that change under your hands.

    The keys of each game are listed above. The game begins with the first of them. p or escape
    pauses it; escape once more, or closing the window, quits.
    """

    game: Annotated[GameName | None, tyro.conf.Positional] = None
    """What is played; that of a scenario, or the first of these, if not given."""
    schedule: str = "shrink"
    """The schedule: its name, that of a scenario, or a .toml or .json file."""
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
        ValueError: If an argument makes no sense, or the game has no keys.
        RuntimeError: If there is no display to open a window on.
    """
    if not args.phase_seconds > 0:
        raise ValueError(f"phase_seconds = {args.phase_seconds} must be positive")
    game = make_game(game_for(args.game, args.schedule))
    game.require("keys")
    schedule = schedule_for(game, args.schedule)
    schedule = schedule.with_steps(max(1, round(args.phase_seconds * FRAMES_PER_SECOND)))
    env = gym.make(IDS[game.name], schedule=schedule, render_mode="human", hud=args.hud)
    scores: list[int] = []
    with closing(env):
        env.reset(seed=args.seed)
        person = _Person(env, game)
        print(f"{game.name}: {person.keys.about}; p pauses, escape quits")
        plays = person.waits_to_start()
        while plays and (score := person.play_game()) is not None:
            scores.append(score)
            result = f"{score:,} {game.points}"
            print(f"game {len(scores)}: {result}")
            best = f"best of {len(scores)} games: {max(scores):,}"
            plays = person.waits_after_a_game(result, best if len(scores) > 1 else "")
            if plays:
                env.reset()
    return scores


class _Person:
    """A person at the keyboard, who plays games and lets them wait.

    While a game waits it is drawn, and nothing else: it makes no step.

    Args:
        env: The environment, reset.
        game: Its game.

    Raises:
        ValueError: If the game has no keys, or one that is unknown.
        RuntimeError: If there is no display for the window.
    """

    def __init__(self, env: gym.Env[Any, Any], game: Game) -> None:
        bare = env.unwrapped
        assert isinstance(bare, ArcadeEnv)
        bare.require_display()
        self._env, self._bare, self._title = env, bare, game.title
        self.keys: Keys = game.needed("keys")
        self._keyboard = _Keyboard(self.keys)

    def waits_to_start(self) -> bool:
        """Show how to play, until a key starts the game; return whether one did."""
        lines = (self.keys.about, "press space to start", "p pauses, escape quits")
        keyboard = self._keyboard
        return self._waits(Notice(self._title, lines), keyboard.starting | keyboard.acting)

    def waits_after_a_game(self, *results: str) -> bool:
        """Show how a game ended, until a key starts another; return whether one did."""
        lines = (*filter(None, results), "press space to play again", "escape quits")
        return self._waits(Notice("Game over", lines), self._keyboard.starting, hold=HOLD)

    def _waits_in_a_game(self) -> bool:
        lines = (self.keys.about, "press space to continue", "escape quits")
        keyboard = self._keyboard
        return self._waits(Notice("Paused", lines), keyboard.starting | keyboard.continuing)

    def _waits(self, notice: Notice, keys: Set[int], *, hold: int = 0) -> bool:
        """Wait for some keys; return whether one was pressed, or else the game is to end.

        Args:
            notice: What is said meanwhile.
            keys: The keys.
            hold: For so many frames they have no effect.
        """
        bare, keyboard = self._bare, self._keyboard
        bare.notice = notice
        frames = 0
        while True:
            bare.render()
            frames += 1
            keyboard.read()
            ends = bare.window_closed or keyboard.ending
            if ends or (frames > hold and keyboard.pressed & keys):
                bare.notice = None
                return not ends

    def play_game(self) -> int | None:
        """Play a game to its end; return its score, or None if it was left."""
        bare, keyboard = self._bare, self._keyboard
        while True:
            _, _, terminated, truncated, info = self._env.step(keyboard.action)
            if terminated:
                return int(info["score"])
            if truncated:  # a new phase
                self._env.reset()
                print(f"phase {bare.clock.phase.index + 1}: {bare.clock.phase.name}")
            keyboard.read()
            if bare.window_closed or (keyboard.pausing and not self._waits_in_a_game()):
                return None


class _Keyboard:
    """Turns keys into actions.

    Args:
        keys: What the keys of the game do.

    Raises:
        ValueError: If pygame knows no key of a name.
    """

    def __init__(self, keys: Keys) -> None:
        import pygame

        self._pygame = pygame
        self._keys = keys
        self._actions: dict[int, int] = {}
        for name, action in keys.actions.items():
            try:
                self._actions[pygame.key.key_code(name)] = action
            except ValueError as error:
                raise ValueError(f"pygame knows no key {name!r}") from error
        self._held: list[int] = []
        self._left_alone = False
        self.acting = set(self._actions)
        """Keys that mean an action."""
        self.starting = {pygame.K_SPACE, pygame.K_RETURN, pygame.K_KP_ENTER}
        """Keys that start a game, and resume one that was paused."""
        self.continuing = {pygame.K_p}
        """Further keys that resume one that was paused."""
        self.pressed: set[int] = set()
        """Keys that went down between the last two reads."""

    def read(self) -> None:
        """Look at what was pressed and let go since the last read."""
        pygame = self._pygame
        self.pressed, self._left_alone = set(), False
        for event in pygame.event.get([pygame.KEYDOWN, pygame.KEYUP, pygame.WINDOWFOCUSLOST]):
            if event.type == pygame.KEYDOWN:
                self.pressed.add(event.key)
                self._held.append(event.key)
            elif event.type == pygame.WINDOWFOCUSLOST:
                self._held.clear()  # what is let go of elsewhere is not seen
                self._left_alone = True
            elif event.key in self._held:
                self._held.remove(event.key)

    @property
    def pausing(self) -> bool:
        """Whether the game is to wait: a key says so, or another window is looked at."""
        return self._left_alone or bool(self.pressed & {self._pygame.K_p, self._pygame.K_ESCAPE})

    @property
    def ending(self) -> bool:
        """Whether a game that waits is to be left."""
        return self._pygame.K_ESCAPE in self.pressed

    @property
    def action(self) -> int:
        """The action that the person means now."""
        # Of two keys that are held, the later one counts; a tap between two frames counts as well.
        held = [self._actions[key] for key in reversed(self._held) if key in self._actions]
        tapped = [self._actions[key] for key in self.pressed if key in self._actions]
        return [*filter(self._keys.repeats, held), *tapped, self._keys.idle][0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""

    def command() -> None:
        given = sys.argv[1:] if arguments is None else arguments
        listed = _listed() if {"-h", "--help"} & set(given) else ""
        _print_best(play(tyro.cli(Play, args=given, description=f"{__doc__}\n{listed}")))

    run(command)


def _listed() -> str:
    """List the keys of every game that has some, as text for the help."""
    lines = []
    for name in GAMES:
        try:
            game = make_game(name)
        except ValueError as error:  # the others can be played
            lines.append(str(error))
        else:
            lines += [f"{game.title}: {game.keys.about}."] if game.keys else []
    return "\n".join(lines)


def _print_best(scores: list[int]) -> None:
    if scores:
        print(f"best of {len(scores)}: {max(scores)}")


if __name__ == "__main__":
    main()
