"""Watch agents, the oracle or chance play any phase: in a window, or recorded to a film.

python -m continual_arcade.scripts.watch oracle --game Catcher --schedule shrink --phase 5

python -m continual_arcade.scripts.watch runs/RUN --phase 0 --checkpoints first,learnt,last
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Literal

import tyro

from continual_arcade.envs.arcade_env import FRAMES_PER_SECOND
from continual_arcade.envs.drawing import film
from continual_arcade.envs.drawing.film import Picture
from continual_arcade.envs.drawing.window import Window
from continual_arcade.envs.games import make_game
from continual_arcade.evaluation.evaluator import FIRST_SEED
from continual_arcade.evaluation.filming import HUD, Camera, Shot, side_by_side
from continual_arcade.evaluation.policies import Policy
from continual_arcade.scripts.cast import Cast, Member, cast
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.players import load_agent, scripted

FILM_SECONDS = {".gif": 20.0, ".mp4": 60.0}
"""Longest films where nothing else is said. Longer GIFs grow beyond what a page wants to load; an
episode of an evaluation is no longer than a minute."""

WIDEST = 1_280
"""Games that stand side by side share so much width [px]."""
NARROWEST = 120
"""A game that were narrower could not be followed [px]."""


@dataclass(frozen=True)
class Watch:
    """Watch agents, the oracle or chance play any phase: in a window, or recorded to a film.

    Several of them play side by side, the same episodes.
    """

    players: Annotated[tuple[str, ...], tyro.conf.Positional] = ("oracle",)
    """Who plays: oracle, random, folders of runs, or checkpoints (.zip)."""
    game: Literal["FlappyBird", "Catcher"] | None = None
    """What is played; that of the run if there is one, else FlappyBird."""
    schedule: str | None = None
    """The schedule; that of the run if there is one, else shrink."""
    phase: str = "0"
    """Index or name of the phase."""
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
    record: Path | None = None
    """New .gif or .mp4 file to write instead of opening a window."""
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
    playing = cast(
        args.players,
        game=args.game,
        schedule=args.schedule,
        phase=args.phase,
        checkpoints=args.checkpoints,
    )
    pictures = _pictures(playing, args)
    seconds = args.seconds
    if seconds is None and args.record is not None:
        seconds = FILM_SECONDS[args.record.suffix]
    if seconds is not None:
        pictures = islice(pictures, max(1, round(seconds * FRAMES_PER_SECOND)))
    if args.record is None:
        _show(pictures, f"Continual Arcade: {playing.game}")
    else:
        count = film.write(args.record, pictures, FRAMES_PER_SECOND)
        print(f"{count} pictures are in {args.record}")


def _show(pictures: Iterator[Picture], title: str) -> None:
    """Show pictures in a window, until they end or the user closes it."""
    first = next(pictures)
    height, width, _ = first.shape
    window = Window((width, height), title, FRAMES_PER_SECOND)
    try:
        window.require_display()
        for picture in chain([first], pictures):
            window.show(picture)
            if window.closed:
                break
    finally:
        window.close()


def _pictures(playing: Cast, args: Watch) -> Iterator[Picture]:
    """Make everything ready; return what there is to see, which is played as it is asked for."""
    members = playing.members
    if len(members) == 1:
        camera = _camera(playing, hud="full" if args.hud else "none", title=members[0].title)
        policy = _policy(members[0], camera, args)
        seeds = range(args.seed, args.seed + args.episodes)
        return chain.from_iterable(camera.film(policy, seed=seed) for seed in seeds)
    width = WIDEST // len(members)
    if width < NARROWEST:
        raise ValueError(
            f"{len(members)} games side by side would be too narrow to follow: choose at most "
            f"{WIDEST // NARROWEST}"
        )
    width = min(width, make_game(playing.game).size[0])
    shared = len({member.name for member in members}) == 1
    shots = []
    for member in members:
        # A name that all share stands above all of them, and over each when it played.
        camera = _camera(playing, hud="none", width=width, title=member.name if shared else "")
        after = f"after {member.step:,} steps" if member.step else ""
        moment = [words for words in (member.moment, after) if words]
        headline, *detail = moment if shared and moment else [member.name, *moment]
        policy = _policy(member, camera, args)
        shots.append(Shot(camera, policy, headline, ", ".join(detail)))
    return side_by_side(shots, seed=args.seed, episodes=args.episodes)


def _camera(playing: Cast, *, hud: HUD, title: str = "", width: int | None = None) -> Camera:
    phase = playing.phase.index
    return Camera(playing.game, playing.schedule, phase, width=width, hud=hud, title=title)


def _policy(member: Member, camera: Camera, args: Watch) -> Policy:
    """Let a player take its seat.

    Raises:
        ValueError: If it learnt from other observations, or its file is damaged.
    """
    if member.path is None:
        return scripted(member.name, camera.env, args.seed)
    agent = load_agent(member.path)
    shown = camera.env.observation_space
    if agent.observation_space != shown:
        raise ValueError(
            f"{member.path} learnt to play what shows {agent.observation_space}, the game shows "
            f"{shown}: choose its game with --game"
        )
    return agent


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = tyro.cli(Watch, args=arguments, description=__doc__)
    run(lambda: watch(args))


if __name__ == "__main__":
    main()
