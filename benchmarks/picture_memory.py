"""What replay of pictures takes: frames kept once beside whole stacks, in memory and in files.

Each is measured in a process of its own: an agent plays until its replay is full, and is saved and
loaded. The number of transitions is the same, and so is what would be drawn.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from continual_arcade.agents import ContinualDQN, DQNSettings, build_agent
from continual_arcade.agents.footprint import footprint
from continual_arcade.agents.replay import FIFOReplayBuffer
from continual_arcade.envs import make_game, shipped


def taken() -> int:
    """Return the most memory that this process has had so far [bytes]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measured(game: str, size: int, stack: int, transitions: int, by_frames: bool) -> dict[str, Any]:
    """Fill a replay, save it and load it.

    Args:
        game: Which game is played.
        size: Rows and columns of pictures.
        stack: Pictures of an observation.
        transitions: Of the replay.
        by_frames: Whether frames are kept once.
    """
    FIFOReplayBuffer.keeps_frames = by_frames
    seen: dict[str, Any] = {"observation": "pixels", "screen_size": size, "stack": stack}
    schedule = shipped("conflict", make_game(game, **seen)).with_steps(transitions)
    settings = DQNSettings(
        num_envs=8, buffer_size=transitions, learning_starts=2 * transitions, hidden=(64,)
    )

    def agent() -> ContinualDQN:
        return build_agent(game, schedule, settings, 0, **seen)

    player = agent()
    player.learn(settings.num_envs)  # so that all is compiled
    before = taken()
    player.learn(transitions + 100 * settings.num_envs, reset_num_timesteps=False)
    found: dict[str, Any] = {
        "replay": footprint(player)["replay_bytes"],
        "process": taken() - before,
        "stored": player.replay.size(),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.zip"
        begun = time.perf_counter()
        player.save_training(path)
        found["save"] = time.perf_counter() - begun
        found["file"] = path.stat().st_size
        env = agent().env
        begun = time.perf_counter()
        ContinualDQN.load(path, env, "cpu")
        found["load"] = time.perf_counter() - begun
    return found


def main() -> None:
    """Measure both ways, and print a row of a table for each."""
    parser = argparse.ArgumentParser(description="Measure what replay of pictures takes.")
    parser.add_argument("--game", default="FlappyBird")
    parser.add_argument("--size", type=int, default=84)
    parser.add_argument("--stack", type=int, default=4)
    parser.add_argument("--transitions", type=int, default=20_000)
    parser.add_argument("--only", choices=["frames", "stacks"])
    args = parser.parse_args()
    given = (args.game, args.size, args.stack, args.transitions)
    if args.only:
        print(json.dumps(measured(*given, args.only == "frames")))
        return
    print(
        "| kept | replay [MB] | process grew by [MB] | file [MB] | saved in [s] | loaded in [s] |"
    )
    print("|---|---:|---:|---:|---:|---:|")
    for kept in ("stacks", "frames"):
        command = [sys.executable, __file__, *sys.argv[1:], "--only", kept]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        sizes = [found[name] / 1e6 for name in ("replay", "process", "file")]
        times = [found[name] for name in ("save", "load")]
        print(f"| {kept} | {' | '.join(f'{x:,.1f}' for x in [*sizes, *times])} |")


if __name__ == "__main__":
    main()
