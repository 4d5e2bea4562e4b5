"""Watch an agent, the oracle or chance play any phase: in a window, or recorded to a film.

python -m continual_arcade.scripts.watch oracle --game Catcher --schedule shrink --phase 5

python -m continual_arcade.scripts.watch runs/RUN --phase 0 --record first_phase.gif
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium as gym
import tyro

from continual_arcade.envs import IDS, ArcadeEnv
from continual_arcade.envs.arcade_env import FRAMES_PER_SECOND
from continual_arcade.envs.curricula import ScheduleLike
from continual_arcade.envs.drawing import film
from continual_arcade.evaluation.evaluator import FIRST_SEED, Policy
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.players import SCRIPTED, agent_at, load_agent, scripted

GIF_SECONDS = 20.0
"""Length of a GIF where nothing else is said: longer ones grow beyond what a page wants to load."""


@dataclass(frozen=True)
class Watch:
    """Watch an agent, the oracle or chance play any phase: in a window, or recorded to a film."""

    player: Annotated[str, tyro.conf.Positional] = "oracle"
    """Who plays: oracle, random, the folder of a run, or a checkpoint (.zip)."""
    game: Literal["FlappyBird", "Catcher"] | None = None
    """What is played; that of the run if there is one, else FlappyBird."""
    schedule: str | None = None
    """The schedule; that of the run if there is one, else shrink."""
    phase: str = "0"
    """Index or name of the phase."""
    checkpoint: int | None = None
    """Lifetime step of the checkpoint of a run; the last one if not given."""
    episodes: int = 1
    """Episodes to watch."""
    seconds: float | None = None
    """Stop after so many seconds of play; 20 for a GIF if not given."""
    seed: int = FIRST_SEED
    """Seed of the first episode; the default is the first episode of an evaluation."""
    record: Path | None = None
    """New .gif or .mp4 file to write instead of opening a window."""
    hud: bool = True
    """Show phase, parameters, score and lifetime step over the picture."""


@dataclass(frozen=True)
class _Scene:
    """Who plays what."""

    game: str
    schedule: ScheduleLike
    title: str
    agent: Policy | None
    """None for a scripted player, which is made when there is an environment."""


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
    scene = _scene(args)
    env = gym.make(
        IDS[scene.game],
        schedule=scene.schedule,
        phase=int(args.phase) if args.phase.isdecimal() else args.phase,
        render_mode="human" if args.record is None else "rgb_array",
        hud=args.hud,
    )
    bare = env.unwrapped
    assert isinstance(bare, ArcadeEnv)
    bare.title = scene.title
    sees = getattr(scene.agent, "observation_space", env.observation_space)
    if sees != env.observation_space:
        raise ValueError(
            f"{args.player} learnt to play what shows {sees}, {scene.game} shows "
            f"{env.observation_space}: choose its game with --game"
        )
    policy = scene.agent or scripted(args.player, env, args.seed)
    pictures = _pictures(env, policy, args)
    if args.record is None:
        for _ in pictures:
            bare.require_display()
            if bare.window_closed:
                break
    else:
        count = film.write(args.record, pictures, FRAMES_PER_SECOND)
        print(f"{count} pictures are in {args.record}")
    env.close()


def _scene(args: Watch) -> _Scene:
    """Find out who plays what."""
    if args.player in SCRIPTED:
        return _Scene(args.game or "FlappyBird", args.schedule or "shrink", args.player, None)
    path = Path(args.player)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist: the player is {', '.join(SCRIPTED)}, the folder of a run or a "
            "checkpoint"
        )
    if path.is_dir():
        folder = RunFolder.open(path)
        agent, step = agent_at(folder, args.checkpoint)
        config = folder.read_config()
        title = f"{config['method']} after {step:,} steps"
        schedule = args.schedule or config["schedule"]
        return _Scene(args.game or config["game"], schedule, title, agent)
    agent = load_agent(path)
    game, schedule = args.game or "FlappyBird", args.schedule or "shrink"
    above = path.absolute().parent
    # A checkpoint lies in a run, unless somebody moved it; nothing else above it is looked at.
    if (args.game is None or args.schedule is None) and above.name == "checkpoints":
        with suppress(FileNotFoundError):
            config = RunFolder.open(above.parent).read_config()
            game, schedule = args.game or config["game"], args.schedule or config["schedule"]
    return _Scene(game, schedule, path.stem, agent)


def _pictures(env: gym.Env[Any, Any], policy: Policy, args: Watch) -> Iterator[Any]:
    """Play; yield a picture of each step (None in a window, which shows it already)."""
    seconds = args.seconds
    if seconds is None and args.record is not None and args.record.suffix == ".gif":
        seconds = GIF_SECONDS
    left = None if seconds is None else round(seconds * FRAMES_PER_SECOND)
    for episode in range(args.episodes):
        # Later episodes go on with the random draws of the first.
        observation, _ = env.reset(seed=args.seed if episode == 0 else None)
        over = False
        yield env.render()
        while not over:
            action, _ = policy.predict(observation, deterministic=True)
            observation, _, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
            yield env.render()
            if left is not None:
                left -= 1
                if left <= 0:
                    return


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = tyro.cli(Watch, args=arguments, description=__doc__)
    run(lambda: watch(args))


if __name__ == "__main__":
    main()
