"""Replay recorded traces of the reference games through our rules, and compare every column.

    python tests/golden_replay.py tests/golden

The rules that run here are the ones of the environments, compiled by the same loops. Only their
random draws are replaced: they come from the trace. Exits with 1 if a number differs, if a file
cannot be replayed, or if the folder holds no trace.
"""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.envs import catcher, flappy_bird
from continual_arcade.envs.compiling import plain, rule
from continual_arcade.envs.game import Game, Rules
from continual_arcade.envs.kernels import SingleKernels, single_kernels

Trace = dict[str, npt.NDArray[Any]]
Loops = Callable[[npt.NDArray[np.void]], SingleKernels]

LONGEST_TAPE = 64
"""Draws that one row may hold."""
TOLERANCE = 1e-9
"""A larger difference is a mismatch. With the default rewards every difference is exactly 0."""
THRUST = (1000 / 30) / 1000
"""What the reference's thrust counter holds in the frame of a flap."""

_UNUSED_DRAW = 0


def draw_from_tape(block: Any, lane: int, first: float, stride: float, count: float) -> float:
    """Stand in for ``randomness.draw``: the next recorded draw, which must be one we could make."""
    value = block.tape[block.taken]
    place = (value - first) / stride
    if place < 0.0 or place >= count or place != np.floor(place):
        block.strays += 1
    block.taken += 1
    return value


def taped(module: ModuleType, finish: Callable[[Any], Any] = rule) -> Rules:
    """Return the rules of a game with their random draws replaced by the tape.

    Args:
        module: The module of the game.
        finish: What to do with each function: compile it, or leave it plain.
    """
    names = dict(module.__dict__)
    for name, value in module.__dict__.items():
        function = plain(value) if callable(value) else None
        if isinstance(function, FunctionType) and function is not value:
            names[name] = finish(FunctionType(function.__code__, names, name))
    names["draw"] = finish(draw_from_tape)
    return Rules(**{name: names[name] for name in Rules._fields if name in names})


def taped_dtype(game: Game) -> np.dtype[np.void]:
    """Describe the state of one game with a tape of draws beside it."""
    tape = [("tape", np.float64, (LONGEST_TAPE,)), ("taken", np.int64), ("strays", np.int64)]
    return np.dtype([*game.dtype(1).descr, *tape])


@cache
def _kernels(name: str) -> SingleKernels:
    module, game = _MODULES[name]
    dtype = taped_dtype(game())
    return single_kernels(taped(module), f"{name}Replay", game().num_actions, dtype)


_MODULES: dict[str, tuple[ModuleType, Callable[..., Game]]] = {
    "FlappyBird": (flappy_bird, flappy_bird.flappy_bird),
    "Catcher": (catcher, catcher.catcher),
}


class Replay:
    """One game that is played by a trace.

    Args:
        game: The game.
        params: The tunables.
        loops: Makes the code to run for the state that it is given; without it that is the compiled
            one, with the rules on the tape.
    """

    def __init__(self, game: Game, params: list[float], loops: Loops | None = None) -> None:
        self.cell = np.zeros(1, taped_dtype(game))
        for name, value in game.constants.items():
            self.cell[name] = value
        self.address = self.cell.ctypes.data
        self.params = np.array([params])
        self.kernels = loops(self.cell) if loops else _kernels(game.name)

    def feed(self, draws: npt.NDArray[np.float64]) -> None:
        """Put the draws of the next row on the tape."""
        self.cell["tape"] = np.nan
        self.cell["tape"][0, : len(draws)] = draws
        self.cell["taken"] = self.cell["strays"] = 0

    def reset(self, velocity: float) -> None:
        """Start an episode with this velocity."""
        self.kernels.reset(self.address, self.params, velocity)

    def step(self, action: int) -> tuple[float, bool]:
        """Play one step; return the reward and whether the game is over."""
        reward, over, _ = self.kernels.step(self.address, action)
        return reward, over

    def value(self, name: str, index: int | None = None) -> float:
        """Return a field of the state."""
        values = self.cell[name][0]
        return float(values[0] if index is None else values[index, 0])


@dataclass
class Tally:
    """What the comparisons came to."""

    files: int = 0
    comparisons: int = 0
    mismatches: int = 0
    largest: float = 0.0
    complaints: list[str] = field(default_factory=list)

    def compare(self, where: str, ours: float, theirs: float) -> None:
        """Compare one number."""
        self.comparisons += 1
        difference = abs(ours - theirs)
        if not difference <= TOLERANCE:  # NaN is a mismatch too
            self.mismatches += 1
            self.complain(f"{where}: ours {ours!r}, recorded {theirs!r}")
        self.largest = max(self.largest, difference) if difference == difference else np.inf

    def complain(self, message: str) -> None:
        """Remember what is wrong, up to a point."""
        if len(self.complaints) < 20:
            self.complaints.append(message)

    def __str__(self) -> str:
        return (
            f"files {self.files}  comparisons {self.comparisons}  mismatches {self.mismatches}  "
            f"largest difference {self.largest:g}"
        )


def _flappy_bird_of(meta: dict[str, Any]) -> tuple[Game, list[float]]:
    if (meta["width"], meta["height"], meta["fps"]) != (288, 512, 30):
        raise ValueError("the reference's Flappy Bird is 288x512 at 30 fps only")
    game = flappy_bird.flappy_bird(_rewards(meta, flappy_bird.REWARDS))
    params = [tunable.default for tunable in game.tunables.values()]
    params[list(game.tunables).index("gap")] = float(meta["pipe_gap"])
    return game, params


def _catcher_of(meta: dict[str, Any]) -> tuple[Game, list[float]]:
    size = (meta["width"], meta["height"])
    rewards = _rewards(meta, catcher.REWARDS)
    game = catcher.catcher(size, meta["init_lives"], rewards)
    params = [tunable.default for tunable in game.tunables.values()]
    params[list(game.tunables).index("fall_speed")] = meta["fall_speed"] * (1000.0 / meta["fps"])
    return game, params


def _rewards(meta: dict[str, Any], known: dict[str, float]) -> dict[str, float]:
    # "win" exists in the reference, but neither game ever gives it.
    return {name: value for name, value in meta["rewards"].items() if name in known}


def _flappy_bird_columns(replay: Replay, recycled: int) -> Iterator[tuple[str, float]]:
    """Yield what the reference would have recorded of this state."""
    gap = replay.value("gap")
    xs = [replay.value("pipe_x", pipe) for pipe in range(3)]
    tops = [replay.value("pipe_top", pipe) for pipe in range(3)]
    ahead = 0 if xs[0] + 26.0 > 57.0 else 1
    wings = replay.value("wings")
    yield "player_y", replay.value("bird_y")
    yield "player_vel", replay.value("bird_velocity")
    for name, pipe in (("next", ahead), ("nextnext", ahead + 1)):
        yield f"{name}_dist", xs[pipe] + 26.0 - 57.0
        yield f"{name}_top", tops[pipe]
        yield f"{name}_bottom", tops[pipe] + gap
    for pipe in range(3):
        # The reference names pipes by creation; ours stand in the order in which they come.
        yield f"pipe{(pipe + recycled) % 3}_x", xs[pipe]
        yield f"pipe{(pipe + recycled) % 3}_gap_start", tops[pipe]
    yield "flapped", float(wings != flappy_bird.GLIDING)
    yield "thrust", THRUST if wings == flappy_bird.FLAPPING else 0.0
    yield "back_colour", replay.value("backdrop")
    yield "bird_colour", replay.value("plumage")
    yield "pipe_colour", replay.value("pipe_colour")
    yield "pipe_gap", gap
    yield "lives", replay.value("lives")


def _flappy_bird_features(row: dict[str, float]) -> list[float]:
    """Turn recorded columns into the documented features, in the units of the documentation."""
    height, width = 1 / 190.24, 1 / 144.0
    features = [row["player_y"] * height - 1.0, row["player_vel"] * 0.1]
    for name in ("next", "nextnext"):
        features += [
            row[f"{name}_dist"] * width - 1.0,
            row[f"{name}_top"] * height - 1.0,
            row[f"{name}_bottom"] * height - 1.0,
        ]
    return features


def _catcher_columns(replay: Replay, recycled: int) -> Iterator[tuple[str, float]]:
    """Yield what the reference would have recorded of this state."""
    yield "player_x", replay.value("paddle_x")
    yield "player_vel", replay.value("paddle_velocity")
    yield "fruit_x", replay.value("pellet_x")
    yield "fruit_y", replay.value("pellet_y")
    yield "cur_fall", replay.value("fall_speed")
    yield "lives", replay.value("lives")


def _catcher_features(row: dict[str, float], width: float, height: float) -> list[float]:
    """Turn recorded columns into the documented features, in the units of the documentation."""
    return [
        row["player_x"] * (2.0 / width) - 1.0,
        row["player_vel"] * (8.0 / width),
        row["fruit_x"] * (2.0 / width) - 1.0,
        row["fruit_y"] * (2.0 / height) - 1.0,
    ]


def replay_trace(trace: Trace, tally: Tally, loops: Loops | None = None) -> None:
    """Replay one trace and compare every row with it.

    Args:
        trace: The columns of a file.
        tally: Where to count.
        loops: As in :class:`Replay`.

    Raises:
        ValueError: If the trace is none of these games as the rules have them.
        KeyError: If a column is missing.
    """
    meta = json.loads(str(trace["meta"]))
    if meta["game"] not in ("flappy", "catcher"):
        raise ValueError(f"unknown game {meta['game']!r}")
    if meta["rect_mode"] != "round":
        raise ValueError(f"rect_mode {meta['rect_mode']!r}: the rules are those of 'round'")
    if len(trace["set_row"]):
        raise ValueError("parameters change during the run; an episode of ours never lets them")
    flappy = meta["game"] == "flappy"
    game, params = _flappy_bird_of(meta) if flappy else _catcher_of(meta)
    columns = _flappy_bird_columns if flappy else _catcher_columns
    actions = [game.actions.index({"noop": "no-op"}.get(name, name)) for name in meta["actions"]]
    noop = game.actions.index("no-op")
    replay = Replay(game, params, loops)

    numeric = {name: values.astype(np.float64) for name, values in trace.items() if name != "meta"}
    used = trace["draw_kind"] != _UNUSED_DRAW
    draw_rows, draws = trace["draw_row"][used], numeric["draw_value"][used]
    start_draws = 6 if flappy else 2
    recycled, score, over = 0, 0.0, False
    for row_number, action in enumerate(trace["action"].tolist()):
        row = {
            name: float(values[row_number])
            for name, values in numeric.items()
            if name in _ROW_COLUMNS
        }
        where = f"{meta['name']} row {row_number}"
        due = draws[draw_rows == row_number]
        starts = action == -1 or row_number == 0
        # The constructor draws for pipes and pellets that its own reset replaces at once.
        replay.feed(due[-start_draws:] if row_number == 0 else due)
        expected_draws = min(len(due), start_draws) if row_number == 0 else len(due)
        reward = 0.0
        if starts:
            replay.reset(replay.value("bird_velocity") if flappy and row_number else 0.0)
            recycled, score, over = 0, 0.0, False
        for _ in range(0 if starts else meta["frame_skip"]):
            for substep in range(0 if over else meta["num_steps"]):
                before = replay.value("pipe_x", 2) if flappy else 0.0
                gained, ended = replay.step(actions[action] if substep == 0 else noop)
                recycled += flappy and replay.value("pipe_x", 2) > before
                reward += gained
                over |= ended
        score += reward
        compare = tally.compare
        compare(f"{where} reward", reward, row["reward"])
        compare(f"{where} score", score, row["score"])
        compare(f"{where} game_over", float(over), row["game_over"])
        compare(f"{where} draws", replay.cell["taken"][0], expected_draws)
        compare(f"{where} draws that we never make", replay.cell["strays"][0], 0)
        if not flappy:
            row["cur_fall"] *= 1000.0 / meta["fps"]
        for name, value in columns(replay, recycled):
            compare(f"{where} {name}", value, row[name])
        features = (
            _flappy_bird_features(row)
            if flappy
            else _catcher_features(row, meta["width"], meta["height"])
        )
        for feature, ours, theirs in zip(
            game.features, replay.cell["features"][0], features, strict=True
        ):
            compare(f"{where} feature {feature.name}", float(ours), float(np.float32(theirs)))


_ROW_COLUMNS = frozenset(
    {
        "reward",
        "game_over",
        "lives",
        "score",
        "player_y",
        "player_vel",
        "next_dist",
        "next_top",
        "next_bottom",
        "nextnext_dist",
        "nextnext_top",
        "nextnext_bottom",
        "flapped",
        "thrust",
        "bird_colour",
        "pipe_colour",
        "back_colour",
        "pipe_gap",
        "pipe0_x",
        "pipe0_gap_start",
        "pipe1_x",
        "pipe1_gap_start",
        "pipe2_x",
        "pipe2_gap_start",
        "player_x",
        "fruit_x",
        "fruit_y",
        "cur_fall",
    }
)
"""Columns with a number for each row. Not compared: bird_frame and base_x, which are pictures only
and no state of ours."""


def replay_folder(folder: Path) -> Tally:
    """Replay every ``.npz`` file of a folder."""
    tally = Tally()
    for path in sorted(folder.glob("*.npz")):
        tally.files += 1
        try:
            # NumPy leaves open what it opens itself, and is no archive.
            with path.open("rb") as data, np.load(data, allow_pickle=False) as file:
                trace = {name: file[name] for name in file.files}
            replay_trace(trace, tally)
        except Exception as error:
            tally.mismatches += 1
            tally.complain(f"{path.name} cannot be replayed: {type(error).__name__}: {error}")
    return tally


def main(arguments: list[str]) -> int:
    """Replay a folder and print what came of it."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python tests/golden_replay.py FOLDER_OF_TRACES", file=sys.stderr)
        return 2
    tally = replay_folder(Path(arguments[0]))
    for complaint in tally.complaints:
        print(complaint, file=sys.stderr)
    if not tally.files:
        print(f"{arguments[0]} holds no .npz file", file=sys.stderr)
    print(tally)
    return 1 if tally.mismatches or not tally.files else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
