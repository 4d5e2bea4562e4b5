"""How fast the environments are, beside their peers, measured in the same run on one core.

Run it as ``python benchmarks/env_speed.py``. Peers that are not installed are left out. Every
contestant plays actions drawn beforehand, uniformly, and its episodes are reset where they end, as
its users would have it; what a reset costs is part of the game.
"""

import os

from measuring import (
    ONE_THREAD,
    Contestant,
    Result,
    Run,
    Verdict,
    in_turn,
    machine,
    pin_to_one_core,
    race,
    table,
)

os.environ.update(ONE_THREAD, JAX_PLATFORMS="cpu", PYGAME_HIDE_SUPPORT_PROMPT="1")

import contextlib
import importlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import tyro

from continual_arcade.envs import IDS

SEED = 0
LIFE = 150_000
"""Steps after which a single environment is seeded again: the length of the ``shrink`` schedule."""
DRAWN = 4_096
"""Actions drawn for a single environment, then repeated."""
DRAWN_BATCHES = 64
"""Batches of actions drawn for a vector environment, then repeated."""
PROMISED_NUM_ENVS = 1_024
"""Size of the batch for which speed is promised."""
CONTEXT = "context params"
"""Environments that show the parameters of their phase."""
PICTURED = [IDS[game] for game in ("FlappyBird", "Catcher", "Tour")]
"""Games that can be seen in pictures."""
FORMATS: dict[str, dict[str, Any]] = {
    "84x84, 4 grey": {"screen_size": 84, "stack": 4},
    "84x84, 1 grey": {"screen_size": 84, "stack": 1},
    "21x21, 4 grey": {"screen_size": 21, "stack": 4},
}
"""Pictures that are measured, the usual ones first."""
USUAL, *_ = FORMATS
PROMISED_PICTURES = dict(zip(FORMATS, (150_000, 350_000, 1_000_000), strict=True))
"""Steps per second of ``PROMISED_NUM_ENVS`` games in such pictures."""
PROMISED_ONE_PICTURED = 60_000
"""Of one game in the usual ones."""

CARTPOLE = "CartPole-v1"
PEER_FEATURES = "flappy-bird-gymnasium, features"
PEER_LIDAR = "flappy-bird-gymnasium, default (lidar)"
ATARI = "ALE/Breakout-v5"
ONE_ATARI = f"{ATARI}, preprocessed, stacked"
NUM_ATARI = 64
"""Atari games of a batch: a thousand take minutes to set up, and on one core are no faster."""
MANY_ATARI = f"{ATARI}, {NUM_ATARI} x AtariVectorEnv"
COPY = "a plain copy of as many bytes"
PUFFER = "PufferLib Pong (C; reuses its arrays)"
IMPORT = "import continual_arcade.envs"

PACKAGES = (
    "continual-arcade",
    "gymnasium",
    "numpy",
    "numba",
    "flappy-bird-gymnasium",
    "envpool",
    "gymnax",
    "jax",
    "pufferlib",
    "ale-py",
)


@dataclass(frozen=True)
class Args:
    """Measure the speed of the environments and of their peers."""

    rounds: int = 7
    """How often everything is measured, in turn."""
    seconds: float = 0.5
    """About how long one measurement of speed takes [s]."""
    num_envs: tuple[int, ...] = (PROMISED_NUM_ENVS,)
    """Sizes of vector environments, a table for each."""
    pictures_only: bool = False
    """Measure games in pictures alone."""
    json: Path | None = None
    """Where to write the raw numbers."""


# --- one environment ------------------------------------------------------------------------------


def one_env(env_id: str, module: str | None = None, **options: Any) -> Run:
    """Set up one environment with the default wrappers of ``gym.make``.

    Args:
        env_id: Its id.
        module: The module that registers it.
        **options: What ``gym.make`` is given.
    """
    if module is not None:
        peer(module)
    env = gym.make(env_id, **options)
    actions = list(drawn(env.action_space, DRAWN))
    reset, step = env.reset, env.step

    def run(num_steps: int) -> int:
        for played in range(0, num_steps, LIFE):
            reset(seed=SEED)
            for action in islice(cycle(actions), min(LIFE, num_steps - played)):
                _, _, terminated, truncated, _ = step(action)
                if terminated or truncated:
                    reset()
        return num_steps

    return run


def single_contestants() -> list[Contestant]:
    """Return who plays as one environment; the first is what all are compared with."""
    install = "pip install --no-deps flappy-bird-gymnasium; it needs matplotlib and pygame-ce"
    peer_env = partial(one_env, "FlappyBird-v0", module="flappy_bird_gymnasium")
    return [
        Contestant(name=CARTPOLE, make=partial(one_env, CARTPOLE)),
        *(
            Contestant(
                name=f"{env_id}, {schedule}", make=partial(one_env, env_id, schedule=schedule)
            )
            for env_id in IDS.values()
            for schedule in ("stationary", "shrink")
        ),
        *(
            Contestant(name=f"{env_id}, {CONTEXT}", make=partial(one_env, env_id, context="params"))
            for env_id in IDS.values()
        ),
        Contestant(name=PEER_FEATURES, make=partial(peer_env, use_lidar=False), install=install),
        Contestant(name=PEER_LIDAR, make=peer_env, install=install),
    ]


# --- many environments ----------------------------------------------------------------------------


def batches(step: Callable[[Any], Any], actions: Sequence[Any], num_envs: int) -> Run:
    """Return a run that plays batch after batch.

    Args:
        step: Plays one batch.
        actions: Batches of actions, repeated in this order.
        num_envs: Steps that ``step`` makes.
    """

    def run(num_steps: int) -> int:
        count = max(1, num_steps // num_envs)
        for batch in islice(cycle(actions), count):
            step(batch)
        return count * num_envs

    return run


def gymnasium_batch(env_id: str, num_envs: int, **options: Any) -> Run:
    """Set up the vector environment that an id has of its own.

    Args:
        env_id: The id.
        num_envs: Size of the batch.
        **options: What else it is made with.
    """
    env = gym.make_vec(
        env_id, num_envs=num_envs, vectorization_mode="vector_entry_point", **options
    )
    env.reset(seed=SEED)
    actions = list(drawn(env.single_action_space, DRAWN_BATCHES, num_envs))
    return batches(env.step, actions, num_envs)


def envpool_catch(num_envs: int) -> Run:
    """Set up EnvPool's Catch."""
    env = peer("envpool").make(
        "Catch-v0", env_type="gymnasium", num_envs=num_envs, num_threads=1, seed=SEED
    )
    env.reset()
    actions = drawn(env.action_space, DRAWN_BATCHES, num_envs).astype(np.int32)
    return batches(env.step, list(actions), num_envs)


def gymnax_catch(num_envs: int, scanned: bool) -> Run:
    """Set up gymnax's Catch, compiled.

    Args:
        num_envs: Size of the batch.
        scanned: Whether the loop over ``DRAWN_BATCHES`` steps is compiled too; it then returns only
            sums, as if the learner sat inside. If not, Python calls each step and waits for it.
    """
    jax = peer("jax")
    env, params = peer("gymnax").make("Catch-bsuite")

    def step(carry: Any, actions: Any) -> Any:
        key, states = carry
        key, subkey = jax.random.split(key)
        keys = jax.random.split(subkey, num_envs)
        seen, states, *outcome, _ = jax.vmap(env.step, (0, 0, 0, None))(
            keys, states, actions, params
        )
        return (key, states), (seen, outcome)

    def scan(carry: Any, actions: Any) -> Any:
        def summed(carry: Any, actions: Any) -> Any:
            carry, outcome = step(carry, actions)
            return carry, jax.tree.map(jax.numpy.sum, outcome)

        return jax.lax.scan(summed, carry, actions)

    keys = jax.random.split(jax.random.key(SEED), num_envs)
    _, states = jax.vmap(env.reset, (0, None))(keys, params)
    carry = (jax.random.key(SEED), states)
    play = jax.jit(scan if scanned else step)
    actions = jax.numpy.asarray(drawn(env.action_space(params), DRAWN_BATCHES, num_envs))

    def play_on(batch: Any) -> None:
        nonlocal carry
        carry, outcome = play(carry, batch)
        jax.block_until_ready(outcome)

    if scanned:
        return batches(play_on, [actions], actions.size)
    return batches(play_on, list(actions), num_envs)


def puffer_pong(num_envs: int) -> Run:
    """Set up PufferLib's Pong, which is written in C."""
    env = peer("pufferlib.ocean.pong.pong").Pong(num_envs=num_envs)
    env.reset()
    actions = drawn(env.single_action_space, DRAWN_BATCHES, num_envs)
    return batches(env.step, list(actions), num_envs)


def vector_contestants(num_envs: int) -> list[Contestant]:
    """Return who plays as a batch; the first is what all are compared with."""

    def own(env_id: str) -> Contestant:
        return Contestant(name=env_id, make=partial(gymnasium_batch, env_id, num_envs))

    def other(name: str, make: Callable[..., Run], install: str, **options: Any) -> Contestant:
        return Contestant(
            name=name, make=partial(make, num_envs, **options), install=f"pip install {install}"
        )

    gymnax = "--no-deps gymnax; it needs jax, flax, six, seaborn and pyyaml"
    return [
        own(CARTPOLE),
        *(own(env_id) for env_id in IDS.values()),
        *(
            Contestant(
                name=f"{env_id}, {CONTEXT}",
                make=partial(gymnasium_batch, env_id, num_envs, context="params"),
            )
            for env_id in IDS.values()
        ),
        other("EnvPool Catch", envpool_catch, "envpool"),
        other("gymnax Catch, step by step", gymnax_catch, gymnax, scanned=False),
        other("gymnax Catch, compiled scan, sums only", gymnax_catch, gymnax, scanned=True),
        other(PUFFER, puffer_pong, "pufferlib"),
    ]


# --- games in pictures ----------------------------------------------------------------------------


def one_atari() -> Run:
    """Set up one Atari game as agents usually see it: 84x84, grey, four frames stacked.

    Without ``frame_skip`` in the id, as its preprocessing skips four frames and takes the larger of
    the last two.
    """
    ale = peer("ale_py")
    gym.register_envs(ale)
    env: Any = gym.make(ATARI, frameskip=1)
    env = gym.wrappers.FrameStackObservation(gym.wrappers.AtariPreprocessing(env), 4)
    actions = drawn(env.action_space, DRAWN)
    env.reset(seed=SEED)

    def run(num_steps: int) -> int:
        for action in islice(cycle(actions), num_steps):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return num_steps

    return run


def atari_batch(num_envs: int) -> Run:
    """Set up the vector environment of ale-py, with its own preprocessing, on one thread."""
    ale = peer("ale_py")
    gym.register_envs(ale)
    env = gym.make_vec(ATARI, num_envs=num_envs, num_threads=1)
    env.reset(seed=SEED)
    actions = list(drawn(env.single_action_space, DRAWN_BATCHES, num_envs))
    return batches(env.step, actions, num_envs)


def copying(num_envs: int, screen_size: int, stack: int) -> Run:
    """Copy pictures from one array to another: what the memory of the machine can do."""
    source = np.ones((num_envs, stack, screen_size, screen_size), np.uint8)
    return batches(partial(np.copyto, source.copy()), [source], num_envs)


def pictured(env_id: str, kind: str) -> str:
    """Return what a game in pictures is called in tables."""
    return f"{env_id}, {kind}"


def single_pictures() -> list[Contestant]:
    """Return who plays as one environment in the usual pictures; the first is the first game."""
    return [
        *(
            Contestant(
                name=pictured(env_id, USUAL),
                make=partial(one_env, env_id, observation="pixels", **FORMATS[USUAL]),
            )
            for env_id in PICTURED
        ),
        Contestant(
            name=ONE_ATARI,
            make=one_atari,
            install="pip install ale-py opencv-python-headless",
        ),
    ]


def vector_pictures(num_envs: int) -> list[Contestant]:
    """Return who plays as a batch in pictures, and what copying them takes."""
    return [
        *(
            contestant
            for kind, settings in FORMATS.items()
            for contestant in (
                Contestant(name=f"{COPY}: {kind}", make=partial(copying, num_envs, **settings)),
                *(
                    Contestant(
                        name=pictured(env_id, kind),
                        make=partial(
                            gymnasium_batch, env_id, num_envs, observation="pixels", **settings
                        ),
                    )
                    for env_id in PICTURED
                ),
            )
        ),
        Contestant(
            name=MANY_ATARI, make=partial(atari_batch, NUM_ATARI), install="pip install ale-py"
        ),
    ]


# --- what contestants share -----------------------------------------------------------------------


def drawn(space: Any, *shape: int) -> Any:
    """Draw actions from a discrete space, uniformly."""
    return np.random.default_rng(SEED).integers(int(space.n), size=shape)


def peer(module: str) -> Any:
    """Import a peer in silence, and where it can leave nothing behind.

    PufferLib puts a link into the current folder, and the Gym it imports prints a notice.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        return importlib.import_module(module)


# --- start-up -------------------------------------------------------------------------------------

IMPORTING = """
import json, sys, time
start = time.perf_counter()
import continual_arcade.envs
seconds = time.perf_counter() - start
print(json.dumps([seconds, [name for name in ("pygame", "torch") if name in sys.modules]]))
"""

STEPPING = """
import gymnasium as gym
import continual_arcade.envs
env = {env}
env.reset(seed=0)
env.step(env.action_space.sample())
print(flush=True)
"""

STARTED = {env_id: f"gym.make({env_id!r})" for env_id in IDS.values()} | {
    f"{env_id} x {PROMISED_NUM_ENVS:,}": f"gym.make_vec({env_id!r}, {PROMISED_NUM_ENVS})"
    for env_id in IDS.values()
}
"""Expressions that make an environment, by name."""


@dataclass(frozen=True, kw_only=True)
class StartUp:
    """What was measured of fresh processes, in seconds."""

    importing: Result
    cold: list[Result]
    """The first step of an environment whose code must be compiled."""
    warm: list[Result]
    """The first step in a later process."""
    unwanted: list[str]
    """What the import pulled in that it should not."""

    @property
    def results(self) -> list[Result]:
        """All times."""
        return [self.importing, *self.cold, *self.warm]


def start_up(rounds: int) -> StartUp:
    """Measure fresh processes."""
    unwanted: set[str] = set()

    def importing() -> float:
        seconds, names = json.loads(subprocess.check_output([sys.executable, "-c", IMPORTING]))
        unwanted.update(names)
        return float(seconds)

    importing()  # not counted: it may compile Python files and fill the disk cache
    measures: dict[str, Callable[[], float]] = {IMPORT: importing}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, env) in enumerate(STARTED.items()):
            cache = Path(folder) / str(number)
            measures[f"{name}, cold cache"] = partial(first_step, env, cache, cold=True)
            measures[f"{name}, warm cache"] = partial(first_step, env, cache, cold=False)
        values = in_turn(measures, rounds)
    importing_, *steps = (Result(name=name, values=times) for name, times in values.items())
    return StartUp(
        importing=importing_, cold=steps[::2], warm=steps[1::2], unwanted=sorted(unwanted)
    )


def first_step(env: str, cache: Path, cold: bool) -> float:
    """Return the time from the start of a process to the end of the first step [s].

    Args:
        env: Expression that makes the environment.
        cache: Where compiled code is kept.
        cold: Whether to empty that folder first.
    """
    if cold:
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir()
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", STEPPING.format(env=env)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        stepped = process.stdout.readline()
        seconds = time.perf_counter() - start
    if not stepped:
        raise RuntimeError(f"{env} made no step; see above")
    return seconds


# --- promises -------------------------------------------------------------------------------------


def verdicts(
    single: Sequence[Result], batch: Sequence[Result], started: StartUp
) -> Iterator[Verdict]:
    """Judge every promise.

    Args:
        single: Speed of single environments.
        batch: Speed of ``PROMISED_NUM_ENVS`` environments.
        started: What was measured of fresh processes.
    """
    one = {result.name: result for result in single}
    many = {result.name: result for result in batch}
    ours = [result for result in single if result.name.startswith(tuple(IDS.values()))]
    flappy = [result for result in ours if result.name.startswith(IDS["FlappyBird"])]
    games = [many[env_id] for env_id in IDS.values()]
    yield from faster("one env", ours, one[CARTPOLE], 5)
    for env_id in IDS.values():
        shows, hides = one[f"{env_id}, {CONTEXT}"], one[f"{env_id}, stationary"]
        yield from faster("one env", [shows], hides, 0.95)
        shows = many[f"{env_id}, {CONTEXT}"]
        yield from faster(f"{PROMISED_NUM_ENVS:,} envs", [shows], many[env_id], 0.95)
    yield from tour_of(f"{PROMISED_NUM_ENVS:,} envs", many)
    yield from faster("one env", flappy, one[PEER_FEATURES], 5)
    yield from faster("one env", flappy, one[PEER_LIDAR], 300)
    yield from faster(f"{PROMISED_NUM_ENVS:,} envs", games, many[CARTPOLE], 5)
    yield from faster(f"{PROMISED_NUM_ENVS:,} envs", games, many[PUFFER], 1)
    yield sooner(started.importing, 1.5)
    yield Verdict(
        promise=f"{IMPORT}: no pygame, no torch",
        measured=", ".join(started.unwanted) or "neither",
        met=not started.unwanted,
    )
    for result in started.warm:
        yield sooner(result, 1.0)


def verdicts_of_pictures(single: Sequence[Result], batch: Sequence[Result]) -> Iterator[Verdict]:
    """Judge every promise about games in pictures.

    Args:
        single: Speed of single environments.
        batch: Speed of ``PROMISED_NUM_ENVS`` environments.
    """
    one = {result.name: result for result in single}
    many = {result.name: result for result in batch}
    for env_id in PICTURED:
        yield reaches("one env", one[pictured(env_id, USUAL)], PROMISED_ONE_PICTURED)
    where = f"{PROMISED_NUM_ENVS:,} envs"
    for kind, wanted in PROMISED_PICTURES.items():
        for env_id in PICTURED:
            yield reaches(where, many[pictured(env_id, kind)], wanted)
    ours = [many[pictured(env_id, USUAL)] for env_id in PICTURED]
    yield from faster(where, ours, many[MANY_ATARI], 40)


def tour_of(where: str, speeds: Mapping[str, Result]) -> Iterator[Verdict]:
    """Judge whether Tour is about as fast as the slower of its games."""
    games = [speeds[IDS[name]] for name in ("FlappyBird", "Catcher")]
    slower = min(games, key=lambda result: result.median)
    yield from faster(where, [speeds[IDS["Tour"]]], slower, 0.9)


def faster(where: str, ours: Sequence[Result], peer: Result, factor: float) -> Iterator[Verdict]:
    """Judge whether each of ours is so many times as fast as a peer."""
    for mine in ours:
        promise = f"{where}: {mine.name} >= {factor:g} x {peer.name}"
        if peer.absent:
            yield Verdict(promise=promise, measured="-", met=None)
        else:
            ratio = mine.ratio_to(peer)
            yield Verdict(promise=promise, measured=f"{ratio:.2f} x", met=ratio >= factor)


def reaches(where: str, mine: Result, wanted: float) -> Verdict:
    """Judge whether one makes so many steps per second."""
    return Verdict(
        promise=f"{where}: {mine.name} >= {wanted:,} steps/s",
        measured=f"{mine.median:,.0f}",
        met=mine.median >= wanted,
    )


def sooner(result: Result, seconds: float) -> Verdict:
    """Judge whether something takes less than so many seconds."""
    return Verdict(
        promise=f"{result.name} < {seconds:g} s",
        measured=f"{result.median:.3f} s",
        met=result.median < seconds,
    )


# --- report ---------------------------------------------------------------------------------------


def main(args: Args) -> None:
    """Measure, print tables and verdicts, and save the raw numbers if asked to."""
    gym.logger.min_level = gym.logger.ERROR  # peers break rules that the checker complains about
    core = pin_to_one_core()
    about: dict[str, Any] = machine(PACKAGES) | {"core": core}
    print(f"{about['cpu']}, {about['cores']} cores; pinned to core: {core}; load {about['load']}")
    print(
        f"Python {about['python']};",
        ", ".join(f"{k} {v}" for k, v in about["packages"].items() if v),
    )
    print(f"Medians of {args.rounds} rounds of {args.seconds:g} s, everyone in turn; ratios too.")

    pictures = {
        "one_env": race(single_pictures(), args.rounds, args.seconds),
        "vector": race(vector_pictures(PROMISED_NUM_ENVS), args.rounds, args.seconds),
    }
    one_pictured, many_pictured = pictures.values()
    head = "one env in pictures, through gym.make"
    print("\n" + table(head, "steps/s", one_pictured, one_pictured[0]))
    head = f"{PROMISED_NUM_ENVS:,} envs in pictures"
    for kind, of_kind in by_format(many_pictured).items():
        print("\n" + table(f"{head}, {kind}; x a copy", "steps/s", of_kind, of_kind[0]))
    judged = list(verdicts_of_pictures(one_pictured, many_pictured))
    data: dict[str, Any] = {
        "machine": about,
        "rounds": args.rounds,
        "seconds": args.seconds,
        "pictures": {name: [asdict(one) for one in results] for name, results in pictures.items()},
    }
    if not args.pictures_only:
        judged += features(args, data)
    print("\n" + "\n".join(map(str, judged)))
    if args.json is not None:
        data["verdicts"] = [asdict(verdict) for verdict in judged]
        args.json.write_text(json.dumps(data, indent=1) + "\n")


def by_format(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Return what was measured of each format, the copy first, and peers with the usual one."""
    found: dict[str, list[Result]] = {kind: [] for kind in FORMATS}
    for result in results:
        kind = next((kind for kind in FORMATS if result.name.endswith(kind)), USUAL)
        found[kind].append(result)
    return found


def features(args: Args, data: dict[str, Any]) -> list[Verdict]:
    """Measure environments that show features, and fresh processes; print tables.

    Args:
        args: How long.
        data: Where the raw numbers are added.

    Returns:
        What became of each promise.
    """
    single = race(single_contestants(), args.rounds, args.seconds)
    print("\n" + table("one env through gym.make", "steps/s", single, single[0]))
    vectors: dict[int, list[Result]] = {}
    for size in sorted({PROMISED_NUM_ENVS, *args.num_envs}):
        vectors[size] = race(vector_contestants(size), args.rounds, args.seconds)
        print("\n" + table(f"{size:,} envs", "steps/s", vectors[size], vectors[size][0]))
    started = start_up(args.rounds)
    print("\n" + table("fresh processes: import, start to first step", "seconds", started.results))
    data |= {
        "one_env": [asdict(result) for result in single],
        "vectors": {
            size: [asdict(result) for result in results] for size, results in vectors.items()
        },
        "start_up": asdict(started),
    }
    return list(verdicts(single, vectors[PROMISED_NUM_ENVS], started))


if __name__ == "__main__":
    main(tyro.cli(Args))
