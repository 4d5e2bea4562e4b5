"""Watch agents, the oracle or chance play any phase: in a window, or recorded to a film.

python -m continual_arcade.scripts.watch oracle --game Catcher --schedule shrink --phase 5

python -m continual_arcade.scripts.watch runs/RUN --phase 0 --checkpoints first,learnt,last
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import pygame
import tyro

from continual_arcade.envs.arcade_env import FRAMES_PER_SECOND
from continual_arcade.envs.context import ContextKind
from continual_arcade.envs.drawing import film
from continual_arcade.envs.drawing.film import Picture
from continual_arcade.envs.drawing.observation import panel_width
from continual_arcade.envs.drawing.panels import Panels
from continual_arcade.envs.drawing.screen import Screen
from continual_arcade.envs.drawing.status import Notice
from continual_arcade.envs.drawing.window import Window
from continual_arcade.envs.games import OTHER, make_game
from continual_arcade.envs.oracles import Oracle
from continual_arcade.envs.other_games import ids_of
from continual_arcade.evaluation.evaluator import FIRST_SEED
from continual_arcade.evaluation.filming import Camera, PhaseCamera, Shot, side_by_side
from continual_arcade.evaluation.filming_others import OthersCamera
from continual_arcade.evaluation.policies import Network, Policy
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.games import GameName
from continual_arcade.scripts.lineup import Lineup, Member, line_up
from continual_arcade.scripts.policies import load_agent, saliency_of, scripted

FILM_SECONDS = {".gif": 20.0, ".mp4": 60.0}
"""Longest films where nothing else is said. Longer GIFs grow beyond what a page wants to load; an
episode of an evaluation is no longer than a minute."""

WIDEST = 1_280
"""Games that stand side by side share so much width [px]."""
NARROWEST = 120
"""A game that were narrower could not be followed [px]."""

Say = Callable[[str], None]
"""Tells whoever waits what is being loaded."""


@dataclass(frozen=True)
class Watch:
    """Watch agents, the oracle or chance play any phase: in a window, or recorded to a film.

    Several of them play side by side, the same episodes. Escape, or closing the window, ends it.
    """

    players: Annotated[tuple[str, ...], tyro.conf.Positional] = ("oracle",)
    """Who plays: oracle, random, folders of runs, or checkpoints (.zip)."""
    game: GameName | None = None
    """What is played; that of the run if there is one, else of the scenario, else the first of
    these."""
    schedule: str | None = None
    """The schedule, by its name or that of a scenario, or as a file; that of the run if there is
    one, else shrink."""
    phase: str = "0"
    """Index or name of the phase."""
    context: ContextKind | None = None
    """What of the phase agents see: hidden, params, one-hot or inferred; what they saw in their run
    if not given."""
    checkpoints: str | None = None
    """Which agents of a run play, with commas between: first (before training), learnt (when it had
    just learnt the phase that is played), end:K (after phase K), last, or a lifetime step; the last
    one if not given."""
    episodes: int = 1
    """Episodes to watch."""
    seconds: float | None = None
    """Stop after so many seconds; 20 for a GIF and 60 for an MP4 if not given."""
    seed: int = FIRST_SEED
    """Seed of the first episode, each further one has the next; the default are the episodes of an
    evaluation."""
    network: Network | None = None
    """By which weights agents play: the average of those along the way, which they are evaluated
    by, or the last ones; the average if not given and they keep one."""
    record: Path | None = None
    """New .gif or .mp4 file to write instead of opening a window."""
    observation: bool = False
    """Show beside the game what the agent sees: its features, or its pictures."""
    saliency: bool = False
    """Show the same, and mark in it what the choice of the agent depends on: the gradient of the
    chosen value by what is seen."""
    hud: bool = True
    """Show phase, parameters, score and step over the picture; side by side they stand above."""


def watch(args: Watch) -> None:
    """Play, and show it or record it.

    Raises:
        ValueError: If an argument makes no sense; said before anything is played.
        OSError: If there is no such run, or the film cannot be written.
        RuntimeError: If there is no display to open a window on.
    """
    if args.record is not None:
        film.check_path(args.record)
    if args.episodes < 1:
        raise ValueError(f"episodes = {args.episodes} must be at least 1")
    if args.seconds is not None and not args.seconds > 0:
        raise ValueError(f"seconds = {args.seconds} must be positive")
    if args.seed < 0:
        raise ValueError(f"seed = {args.seed} must not be negative")
    playing = line_up(
        args.players,
        game=args.game,
        schedule=args.schedule,
        phase=args.phase,
        checkpoints=args.checkpoints,
        context=args.context,
    )
    if playing.game == OTHER:
        _check_others(playing, args)
    scripted = not any(member.path for member in playing.members)
    if args.network is not None and scripted:
        raise ValueError(
            f"--network says which network of an agent plays, and {playing.members[0].name} has "
            "none: name the folder of a run, or a checkpoint"
        )
    if args.context is not None and scripted and not args.observation:
        raise ValueError(
            f"--context says what of its phase an agent sees, and {playing.members[0].name} knows "
            "the game itself: name the folder of a run, or a checkpoint; or show with "
            "--observation what an agent would see"
        )
    if args.observation or args.saliency:
        player, *others = playing.members
        if others:
            raise ValueError(
                "--observation and --saliency show what one agent sees, and here several play: "
                "name one of them"
            )
        if args.saliency and player.path is None:
            raise ValueError(
                f"--saliency is of the network of an agent, and {player.name} has "
                "none: name the folder of a run, or a checkpoint"
            )
    if args.record is None:
        title = f"Continual Arcade: {playing.game}, {playing.schedule.name}"
        size = _size(playing, args)
        with closing(Window(size, title, FRAMES_PER_SECOND)) as window:
            window.require_display()

            def say(name: str) -> None:
                _say(name)
                window.say(Notice("Loading", (name,)))

            _show(_first(args.seconds, _pictures(playing, args, say)), window)
    else:
        pictures = _pictures(playing, args, _say)
        print(f"filming to {args.record} ...", file=sys.stderr, flush=True)
        seconds = args.seconds or FILM_SECONDS[args.record.suffix]
        count = film.write(args.record, _first(seconds, pictures), FRAMES_PER_SECOND)
        print(f"{count} pictures are in {args.record}")


def _check_others(playing: Lineup, args: Watch) -> None:
    """Refuse what is not there of environments of other people.

    Raises:
        ValueError: If that is asked for.
    """
    if args.observation or args.saliency:
        raise ValueError(
            "--observation and --saliency show features and pictures of games of this suite: of "
            f"{ids_of(playing.options)} there is only what they draw themselves"
        )
    if any(member.path is None and member.name != "random" for member in playing.members):
        raise ValueError(
            f"there is no oracle of {ids_of(playing.options)}: name random, a run or a checkpoint"
        )


def _say(name: str) -> None:
    print(f"loading {name} ...", file=sys.stderr, flush=True)


def _first(seconds: float | None, pictures: Iterator[Picture]) -> Iterator[Picture]:
    """Return the pictures of the first seconds; all of them if None."""
    return islice(pictures, None if seconds is None else max(1, round(seconds * FRAMES_PER_SECOND)))


def _show(pictures: Iterator[Picture], window: Window) -> None:
    """Show pictures until they end, or the user closes the window or presses escape."""
    for picture in pictures:
        window.show(picture)
        if window.closed or pygame.K_ESCAPE in window.pressed():
            break


def _size(playing: Lineup, args: Watch) -> tuple[int, int]:
    """Return width and height of the pictures [px], before anything is loaded to draw them."""
    count = len(playing.members)
    if playing.game == OTHER:
        camera = _others_camera(playing, playing.members[0], "")
        if count == 1 and not args.hud:
            return camera.size
        return Panels(camera.size, count, camera.points).size
    game = make_game(playing.game, **playing.options)
    if count == 1:
        width, height = Screen(game, hud=args.hud).size
        return width + (panel_width(height) if _shows(args) else 0), height
    screen = Screen(game, hud=False, width=_width(playing))
    return Panels(screen.size, count, game.points).size


def _shows(args: Watch) -> bool:
    """Return whether what the agent sees stands beside the game."""
    return args.observation or args.saliency


def _width(playing: Lineup) -> int:
    """Return the width of each of several games side by side [px].

    Raises:
        ValueError: If there are too many of them.
    """
    count = len(playing.members)
    width = WIDEST // count
    if width < NARROWEST:
        raise ValueError(
            f"{count} games side by side would be too narrow to follow: choose at most "
            f"{WIDEST // NARROWEST}"
        )
    if playing.game == OTHER:
        return width
    return min(width, make_game(playing.game, **playing.options).size[0])


def _pictures(playing: Lineup, args: Watch, say: Say) -> Iterator[Picture]:
    """Make everything ready; return what there is to see, which is played as it is asked for."""
    members = playing.members
    if any(member.path for member in members):
        say("PyTorch")
        import torch  # noqa: F401  # which takes seconds, in which this is what is said
    say(playing.game)
    if len(members) == 1 and (playing.game != OTHER or not args.hud):
        camera = _camera(playing, members[0], args)
        policy = _policy(members[0], camera, args, say)
        network = args.network if members[0].path else None
        weighs = saliency_of(policy, network) if args.saliency else None
        seeds = range(args.seed, args.seed + args.episodes)
        return chain.from_iterable(
            camera.film(policy, seed=seed, network=network, weighs=weighs) for seed in seeds
        )
    width = _width(playing)
    shared = len(members) > 1 and len({member.name for member in members}) == 1
    shots = []
    for member in members:
        # A name that all share stands above all of them, and over each when it played.
        camera = _narrow_camera(playing, member, member.name if shared else "", width)
        after = f"after {member.step:,} steps" if member.step else ""
        moment = [words for words in (member.moment, after) if words]
        headline, *detail = moment if shared and moment else [member.name, *moment]
        policy = _policy(member, camera, args, say)
        network = args.network if member.path else None
        shots.append(Shot(camera, policy, headline, ", ".join(detail), network))
    return side_by_side(shots, seed=args.seed, episodes=args.episodes)


def _others_camera(playing: Lineup, member: Member, title: str) -> OthersCamera:
    """Return what films one of those that play environments of other people."""
    return OthersCamera(
        playing.options,
        playing.schedule,
        playing.phase.index,
        width=_width(playing),
        title=title,
        context=member.context,
    )


def _camera(playing: Lineup, member: Member, args: Watch) -> PhaseCamera:
    """Return what films the only one that plays."""
    if playing.game == OTHER:
        return _others_camera(playing, member, member.title)
    return Camera(
        playing.game,
        playing.schedule,
        playing.phase.index,
        hud="full" if args.hud else "none",
        title=member.title,
        context=member.context,
        shows_observation=_shows(args),
        **playing.options,
    )


def _narrow_camera(playing: Lineup, member: Member, title: str, width: int) -> PhaseCamera:
    """Return what films one of several, in pictures of a width."""
    if playing.game == OTHER:
        return _others_camera(playing, member, title)
    return Camera(
        playing.game,
        playing.schedule,
        playing.phase.index,
        width=width,
        hud="none",
        title=title,
        context=member.context,
        **playing.options,
    )


def _policy(member: Member, camera: PhaseCamera, args: Watch, say: Say) -> Policy:
    """Let a player take its seat.

    Raises:
        ValueError: If it learnt from other observations, or its file is damaged.
    """
    say(member.title)
    if member.path is None:
        player = scripted(member.name, camera.env, args.seed)
        if isinstance(player, Oracle):
            # Compiled now, and not in the middle of the first episode; each begins with its seed.
            observation, _ = camera.env.reset(seed=args.seed)
            player.predict(observation)
        return player
    agent = load_agent(member.path)
    shown = camera.env.observation_space
    if (inference := getattr(agent, "task_inference", None)) is not None:
        shown = inference.extended(shown)
    if agent.observation_space != shown:
        raise ValueError(
            f"{member.path} learnt to play what shows {agent.observation_space}, the game shows "
            f"{shown}: choose its game with --game, or what it saw of its phase with --context"
        )
    return agent


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    run(lambda: watch(tyro.cli(Watch, args=arguments, description=__doc__)))


if __name__ == "__main__":
    main()
