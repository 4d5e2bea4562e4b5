"""How fast the learner is, beside its peers, measured in the same run on one core.

Run it as ``python benchmarks/learner_speed.py``. Peers that are not installed are left out. Where
nothing else is said all learn alike: one game, an update of a batch of 32 after each of its steps,
a network of 64 and 64 units, Adam. Before anything is measured they have begun to learn, and all
code is compiled. Lines of the log fall due every four episodes, as is the default of all of them.
"""

import os

from measuring import (
    ONE_THREAD,
    Contestant,
    Result,
    Run,
    Verdict,
    at_least,
    at_most,
    in_turn,
    machine,
    pin_to_one_core,
    race,
    table,
    usable_cores,
)

os.environ.update(ONE_THREAD, JAX_PLATFORMS="cpu", PYGAME_HIDE_SUPPORT_PROMPT="1")

import importlib
import json
import math
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
import torch
import tyro
from arithmetic import BATCH, HIDDEN, MEMORY, OPERATIONS, PIECES
from peak import at_the_peak
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn

from continual_arcade.agents import METHODS, ContinualDQN, DQNSettings, Exploration, build_agent
from continual_arcade.agents.methods import Method, Part
from continual_arcade.agents.methods.rules import rule
from continual_arcade.agents.networks import SmallConvolutions
from continual_arcade.agents.replay import FIFOReplayBuffer
from continual_arcade.agents.settings import Engine
from continual_arcade.envs import IDS, make_game
from continual_arcade.envs.context import ContextKind
from continual_arcade.envs.curricula import as_schedule
from continual_arcade.envs.schedules import Schedule

SEED = 0
GAME = "FlappyBird"
CARTPOLE = "CartPole-v1"
SHRINK = as_schedule("shrink", make_game(GAME))
SHORT_PHASES = SHRINK.with_steps(3_000)
"""So that methods have phases to remember soon, and are measured in the last one."""
LONG = Schedule("long", SHRINK.phases * 11)
"""The same phases over and over: what differs between early and late is age alone."""
YOUNG, OLD = SHRINK.total_steps, 10 * SHRINK.total_steps
"""Ages that are compared [lifetime steps]; both stand at the beginning of ``shrink``."""

SETTINGS = DQNSettings(
    num_envs=1,
    hidden=(HIDDEN, HIDDEN),
    batch_size=BATCH,
    gradient_steps=1,
    buffer_size=MEMORY,
    learning_starts=100,
)
LIKE_SETTINGS: dict[str, Any] = {
    "buffer_size": MEMORY,
    "learning_starts": SETTINGS.learning_starts,
    "batch_size": BATCH,
    "train_freq": 1,
    "gradient_steps": 1,
    "seed": SEED,
    "device": "cpu",
}
"""The same for agents of Stable-Baselines3; all else is as they have it."""
MEMORY_OF_PICTURES = 5_000
"""Transitions in memory, of pictures."""
UNCOMPILED = ("progressive",)
"""Presets that PyTorch alone computes."""
GROWN_UP, BEGUN = 60_000, 300
"""Steps before a contestant is measured: replay is full then, or the slow ones learn from it."""
RUN_STEPS = 20_000
"""Steps of a run, of which several are trained side by side."""
SIDE_BY_SIDE = 8

SB3 = "stable-baselines3 DQN"
TORCH = "ours, engine torch"
LEAN = "lean loop in torch, by hand"
SBX = "sbx DQN (JAX)"
OURS = "ours, compiled"
CALLBACK = "ours, compiled, a callback at each step"
SINGLE_Q = "ours, compiled, without Double Q-learning, as SB3's DQN"
SB3_PICTURES = "stable-baselines3 DQN, CnnPolicy with the same network"
SB3_CARTPOLE = f"stable-baselines3 DQN, {CARTPOLE}"
OUR_CARTPOLE = f"ours, compiled, {CARTPOLE}"
MER = "mer-faithful, compiled"
MER_TORCH = "mer-faithful, engine torch"
PEAK = "the core's peak: multiply-adds alone"
OWN = "ours, compiled, with a part of one's own"
FINETUNE = "finetune"
TOLD_FINETUNE = "finetune, which sees the phase, too"
"""What methods that are told the phase are judged by: they see some features more than others."""
PENALTIES = ("l2", "ewc", "online-ewc", "si", "mas")
TWO_PASSES = ("agem", "clone")
"""Presets that take another batch through the network in each gradient step."""

TOLD: Mapping[str, Mapping[str, str]] = {
    "OPENBLAS_* unset": {},
    "OPENBLAS_CORETYPE=Haswell": {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "262144"},
}
"""What a BLAS is told, which is nothing to the compiled engine: it makes its own products."""

DEFAULTS = "the settings of train"
SMALL = f"{HIDDEN}-{HIDDEN}, batch {BATCH}, an update per step, one env"
WHOLE: Mapping[str, Sequence[str]] = {
    SMALL: (
        *("--dqn.num-envs", "1", "--dqn.hidden", str(HIDDEN), str(HIDDEN)),
        *("--dqn.batch-size", str(BATCH), "--dqn.gradient-steps", "1"),
    ),
    DEFAULTS: (),
}
"""Settings of whole runs."""

PACKAGES = (
    *("continual-arcade", "stable-baselines3", "torch", "numpy", "scipy", "numba", "gymnasium"),
    *("sbx-rl", "jax"),
)

PICTURES: Mapping[str, Mapping[str, Any]] = {
    f"{side}x{side}x{stack}": {"observation": "pixels", "screen_size": side, "stack": stack}
    for side, stack in ((21, 2), (42, 4))
}
"""Pictures that are learnt from, by their size and number."""

Section = Literal["learner", "pictures", "presets", "cores", "blas", "runs", "growth"]


@dataclass(frozen=True)
class Args:
    """Measure the speed of the learner and of its peers."""

    rounds: int = 5
    """How often everything is measured, in turn."""
    seconds: float = 2.0
    """About how long one measurement takes [s]."""
    runs: bool = False
    """Also train a whole run with each method, and one of 1.5 million steps: half an hour."""
    only: tuple[Section, ...] = ()
    """Measure these alone."""
    json: Path | None = None
    """Where to write the raw numbers."""

    @property
    def sections(self) -> tuple[Section, ...]:
        """What is measured."""
        default: tuple[Section, ...] = ("learner", "pictures", "presets", "cores", "blas")
        return self.only or (*default, *(("runs", "growth") if self.runs else ()))


# --- contestants ----------------------------------------------------------------------------------


class EachStep(BaseCallback):
    """A callback that does not say when it is due, and has nothing to do."""

    def _on_step(self) -> bool:
        return True


@dataclass
class Decay(Part):
    """A part of a user's own, with a rule: weight decay, added to the gradient."""

    name: ClassVar[str] = "decay"
    strength: float = 1e-6

    @rule("add_gradient")
    def decay(theta: Any, strength: Any) -> Any:
        """Pull each parameter towards 0."""
        return strength * theta


def begun(
    agent: Any, steps: int, callback: BaseCallback | None = None, log_interval: int | None = 4
) -> Run:
    """Train an agent for some steps, and return a run that continues to train it."""
    options: dict[str, Any] = {"callback": callback, "log_interval": log_interval}
    agent.learn(steps, **options)

    def run(num_steps: int) -> int:
        agent.learn(num_steps, **options, reset_num_timesteps=False)
        return num_steps

    return run


def ours(
    method: Method = METHODS[FINETUNE],
    schedule: Schedule = SHRINK,
    steps: int = GROWN_UP,
    torch_only: bool = False,
    callback: BaseCallback | None = None,
    log_interval: int | None = 4,
    parts: Sequence[type[Part]] = (),
    told: bool = False,
) -> Run:
    """Set up an agent of this suite."""
    settings = replace(SETTINGS, engine="torch" if torch_only else "compiled")
    context: ContextKind = "one-hot" if told else "hidden"
    own = [part() for part in parts]
    agent = build_agent(GAME, schedule, settings, SEED, method, own, context)
    run = begun(agent, BEGUN if torch_only else steps, callback, log_interval)
    if not torch_only and agent.engine_report != "compiled":
        raise RuntimeError(f"not compiled, but {agent.engine_report}")
    return run


def our_pictures(size: str, engine: Engine, **changes: Any) -> Run:
    """Set up an agent of this suite that sees pictures."""
    schedule = as_schedule("shrink", make_game(GAME, **PICTURES[size]))
    settings = replace(SETTINGS, engine=engine, buffer_size=MEMORY_OF_PICTURES, **changes)
    agent = build_agent(GAME, schedule, settings, SEED, **PICTURES[size])
    run = begun(agent, BEGUN if engine == "torch" else MEMORY_OF_PICTURES)
    if engine == "compiled" and agent.engine_report != "compiled":
        raise RuntimeError(f"not compiled, but {agent.engine_report}")
    return run


def sb3_pictures(size: str) -> Run:
    """Set up an agent of Stable-Baselines3 that sees pictures, with the same network."""
    schedule = as_schedule("shrink", make_game(GAME, **PICTURES[size]))
    policy = {"features_extractor_class": SmallConvolutions, "net_arch": [HIDDEN, HIDDEN]}
    env = gym.make(IDS[GAME], schedule=schedule, **PICTURES[size])
    options = {**LIKE_SETTINGS, "buffer_size": MEMORY_OF_PICTURES, "policy_kwargs": policy}
    return begun(DQN("CnnPolicy", env, **options), BEGUN)


def lookers(size: str) -> list[Contestant]:
    """Return who learns from pictures, and the core's peak."""
    return [
        Contestant(name=SB3_PICTURES, make=partial(sb3_pictures, size)),
        Contestant(name=TORCH, make=partial(our_pictures, size, "torch")),
        Contestant(name=OURS, make=partial(our_pictures, size, "compiled")),
        Contestant(name=SINGLE_Q, make=partial(our_pictures, size, "compiled", double_q=False)),
        Contestant(name=PEAK, make=partial(at_the_peak, picture_operations(size))),
    ]


def picture_operations(size: str) -> int:
    """Return how many floating-point operations the products of a step need.

    As those of a perceptron: an update of a batch, and the choice of an action.
    """
    game = make_game(GAME, **PICTURES[size])
    assert game.pictures is not None
    extractor = SmallConvolutions(gym.spaces.Box(0, 255, game.pictures.shape, np.uint8))
    across, seen = game.pictures.shape[1:], []
    for layer in extractor.modules():
        if isinstance(layer, nn.Conv2d):
            sides = zip(across, layer.kernel_size, layer.stride, strict=True)
            across = [(side - kernel) // step + 1 for side, kernel, step in sides]
            seen.append(layer.weight.numel() * math.prod(across))
    widths = (extractor.features_dim, HIDDEN, HIDDEN, game.num_actions)
    weights = [*seen, *(n_in * n_out for n_in, n_out in pairwise(widths))]
    # Three passes forward; gradients of all weights, and deltas of all but the pictures.
    rows = 4 * sum(weights) + sum(weights[1:])
    return 2 * (BATCH * rows + sum(weights))


def our_cartpole() -> Run:
    """Set up an agent of this suite in a game of somebody else's."""
    agent = ContinualDQN(
        "MlpPolicy",
        CARTPOLE,
        exploration=Exploration("global"),
        double_q=True,
        replay_buffer_class=FIFOReplayBuffer,
        n_steps=SETTINGS.n_steps,
        policy_kwargs={"net_arch": [HIDDEN, HIDDEN]},
        engine="compiled",
        **LIKE_SETTINGS,
    )
    return begun(agent, GROWN_UP // 10)


def sb3(env: Any, kind: Any = DQN) -> Run:
    """Set up an agent of Stable-Baselines3, or of one with its interface."""
    options = {"policy_kwargs": {"net_arch": [HIDDEN, HIDDEN]}, **LIKE_SETTINGS}
    return begun(kind("MlpPolicy", env, **options), BEGUN)


def shrinking() -> gym.Env[Any, Any]:
    """Make the game as a single environment."""
    return gym.make(IDS[GAME], schedule=SHRINK)


def sbx() -> Run:
    """Set up Stable-Baselines3's sibling in JAX."""
    return sb3(shrinking(), importlib.import_module("sbx").DQN)


class LeanLoop:
    """A DQN in one page, as CleanRL writes it, with Double DQN; nothing but the algorithm."""

    def __init__(self) -> None:
        self.env = shrinking()
        self.obs, _ = self.env.reset(seed=SEED)
        torch.manual_seed(SEED)
        self.rng = np.random.default_rng(SEED)
        space: Any = self.env.action_space
        self.actions = int(space.n)
        self.net, self.target = self.network(), self.network()
        self.target.load_state_dict(self.net.state_dict())
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-4)
        self.observations = np.zeros((MEMORY, len(self.obs)), np.float32)
        self.next_observations = np.zeros_like(self.observations)
        self.acted = np.zeros(MEMORY, np.int64)
        self.rewards = np.zeros(MEMORY, np.float32)
        self.ends = np.zeros(MEMORY, np.float32)
        self.steps = 0

    def network(self) -> nn.Sequential:
        """Return a new network."""
        first, second = nn.Linear(len(self.obs), HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        last = nn.Linear(HIDDEN, self.actions)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)

    def run(self, num_steps: int) -> int:
        """Play, store and learn."""
        for _ in range(num_steps):
            if self.rng.random() < 0.05:
                action = int(self.rng.integers(self.actions))
            else:
                with torch.no_grad():
                    action = int(self.net(torch.from_numpy(self.obs)).argmax())
            after, reward, terminated, truncated, _ = self.env.step(action)
            slot = self.steps % MEMORY
            self.observations[slot], self.next_observations[slot] = self.obs, after
            self.acted[slot], self.rewards[slot] = action, float(reward)
            self.ends[slot] = terminated
            self.obs = self.env.reset()[0] if terminated or truncated else after
            self.steps += 1
            if self.steps > SETTINGS.learning_starts:
                self.learn()
            if self.steps % 1_000 == 0:
                self.target.load_state_dict(self.net.state_dict())
        return num_steps

    def learn(self) -> None:
        """Make one gradient step."""
        rows = self.rng.integers(min(self.steps, MEMORY), size=BATCH)
        after = torch.from_numpy(self.next_observations[rows])
        with torch.no_grad():
            best = self.net(after).argmax(1, keepdim=True)
            values = self.target(after).gather(1, best).squeeze(1)
            going_on = torch.from_numpy(1 - self.ends[rows])
            targets = torch.from_numpy(self.rewards[rows]) + 0.99 * going_on * values
        chosen = torch.from_numpy(self.acted[rows])[:, None]
        before = self.net(torch.from_numpy(self.observations[rows])).gather(1, chosen).squeeze(1)
        loss = nn.functional.smooth_l1_loss(before, targets)
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()


def lean() -> Run:
    """Set up the loop by hand."""
    loop = LeanLoop()
    loop.run(BEGUN)
    return loop.run


def learners() -> list[Contestant]:
    """Return who learns, the core's peak, and the pieces of a step."""
    faithful = METHODS["mer-faithful"]
    return [
        Contestant(name=SB3, make=lambda: sb3(shrinking())),
        Contestant(name=SBX, make=sbx, install="pip install sbx-rl"),
        Contestant(name=LEAN, make=lean),
        Contestant(name=TORCH, make=partial(ours, torch_only=True)),
        Contestant(name=OURS, make=ours),
        Contestant(name=OWN, make=partial(ours, parts=[Decay])),
        Contestant(name=CALLBACK, make=partial(ours, callback=EachStep())),
        Contestant(name=SB3_CARTPOLE, make=partial(sb3, CARTPOLE)),
        Contestant(name=OUR_CARTPOLE, make=our_cartpole),
        Contestant(name=MER_TORCH, make=partial(ours, faithful, torch_only=True)),
        Contestant(name=MER, make=partial(ours, faithful)),
        Contestant(name=PEAK, make=partial(at_the_peak, OPERATIONS)),
        *(Contestant(name=name, make=make) for name, make in PIECES.items()),
    ]


def methods() -> list[Contestant]:
    """Return every preset but those that PyTorch alone computes.

    Those that must be told the phase see it, and are judged by a ``finetune`` that sees it, too.
    They are measured in the last of several phases: penalties pull, and memories are held. There is
    no log: one that plays badly ends more episodes, and would pay for more lines than others.
    """
    last_phase = partial(ours, schedule=SHORT_PHASES, log_interval=None)
    told = Contestant(name=TOLD_FINETUNE, make=partial(last_phase, METHODS[FINETUNE], told=True))
    return [
        told,
        *(
            Contestant(name=name, make=partial(last_phase, method, told=is_told(method)))
            for name, method in METHODS.items()
            if name not in UNCOMPILED
        ),
    ]


def is_told(method: Method) -> bool:
    """Return whether a method must see the phase."""
    return any(part.told for part in method.make_parts())


# --- runs on several cores ------------------------------------------------------------------------


def _train_on(core: int, connection: Connection) -> None:
    """Train as many runs as are asked for, one after the other, until it is none."""
    os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    ours(steps=BEGUN)  # compiles
    connection.send(None)
    while runs := connection.recv():
        for _ in range(runs):
            ours(steps=RUN_STEPS)
        connection.send(None)


@contextmanager
def process(target: Any, *arguments: Any) -> Iterator[Connection]:
    """Run a function in a process of its own; its last argument is the other end of this."""
    context = multiprocessing.get_context("spawn")
    mine, others = context.Pipe()
    child = context.Process(target=target, args=(*arguments, others), daemon=True)
    child.start()
    others.close()  # so that the end of the process is an end of file here
    try:
        yield mine
    finally:
        mine.close()
        child.terminate()
        child.join()


def side_by_side(rounds: int, cores: Sequence[int]) -> list[Result]:
    """Measure eight runs on one core, and on two of these [s]."""
    names = [
        f"{SIDE_BY_SIDE} runs of {RUN_STEPS:,} steps on {count}" for count in ("one", "two cores")
    ]
    if len(cores) < 2:
        return [Result(name=name, absent="there is but one core") for name in names]
    with ExitStack() as stack:
        ends = [stack.enter_context(process(_train_on, core)) for core in cores[:2]]
        for end in ends:
            end.recv()

        def trained(on: Sequence[Connection]) -> float:
            start = time.perf_counter()
            for end in on:
                end.send(SIDE_BY_SIDE // len(on))
            for end in on:
                end.recv()
            return time.perf_counter() - start

        values = in_turn(
            {names[0]: lambda: trained(ends[:1]), names[1]: lambda: trained(ends)}, rounds
        )
        for end in ends:
            end.send(0)
    return [Result(name=name, values=times) for name, times in values.items()]


# --- beside a BLAS that is told otherwise ---------------------------------------------------------


@contextmanager
def environment(prefix: str, variables: Mapping[str, str]) -> Iterator[None]:
    """Have these environment variables, and no others that begin like this, for a while."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(prefix):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)


def _rate_on_request(seconds: float, connection: Connection) -> None:
    """Measure training once for each request, until one says no."""
    torch.set_num_threads(1)
    run = ours()
    connection.send(None)
    while connection.recv():
        (result,) = race([Contestant(name=OURS, make=lambda: run)], 1, seconds)
        connection.send(result.values[0])


def told_otherwise(rounds: int, seconds: float) -> list[Result]:
    """Measure training in processes whose BLAS is told different things [steps/s]."""

    def rate(end: Connection) -> float:
        end.send(True)
        value: float = end.recv()
        return value

    plain = {name: value for name, value in ONE_THREAD.items() if name.startswith("OPENBLAS_")}
    with ExitStack() as stack:
        ends = {}
        for name, told in TOLD.items():
            with environment("OPENBLAS_", {**plain, **told}):  # which the process inherits
                ends[name] = stack.enter_context(process(_rate_on_request, seconds))
        for end in ends.values():
            end.recv()
        values = in_turn({name: partial(rate, end) for name, end in ends.items()}, rounds)
        for end in ends.values():
            end.send(False)
    return [Result(name=name, values=rates) for name, rates in values.items()]


# --- whole runs -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class WholeRun:
    """What a whole run took."""

    settings: str
    method: str
    seconds: float
    """From the start of the command to its end."""
    training: float
    evaluation: float


def whole_runs() -> list[WholeRun]:
    """Train every preset as ``train`` does, evaluated at every phase end."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for settings, options in WHOLE.items():
            # Not counted: it may compile.
            _train(folder, "--phase-steps", "500", "--eval-episodes", "1", *options)
            for method in METHODS:
                start = time.perf_counter()
                said = _train(folder, "--method", method, *options)
                seconds = time.perf_counter() - start
                found = re.search(r"steps in (\d+) s, evaluated [\d,]+\s+steps in (\d+) s", said)
                assert found is not None, said
                runs.append(
                    WholeRun(
                        settings=settings,
                        method=method,
                        seconds=seconds,
                        training=float(found[1]),
                        evaluation=float(found[2]),
                    )
                )
    return runs


def _train(folder: str, *options: str) -> str:
    command = [sys.executable, "-m", "continual_arcade.scripts.train", "--no-progress"]
    command += ["--eval-every", "0", "--out", folder, *options]
    wide = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, env=wide, check=True, stdout=subprocess.PIPE, text=True).stdout


def runs_table(runs: Sequence[WholeRun]) -> str:
    """Lay out whole runs."""
    heading = (
        f"{'seconds per seed, as train runs it':<51}{'all':>14}{'training':>14}{'evaluation':>14}"
    )
    lines = []
    for settings in WHOLE:
        lines += ["", settings, heading, "-" * len(heading)]
        lines += [
            f"{run.method:<51}{run.seconds:>14.1f}{run.training:>14.0f}{run.evaluation:>14.0f}"
            for run in runs
            if run.settings == settings
        ]
    return "\n".join(lines[1:])


# --- growth ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How an agent changes with age."""

    young: Result
    """Steps per second."""
    old: Result
    full: float
    """Peak of the memory when replay is full [MiB]."""
    end: float
    """The same at the end of the longest run [MiB]."""


def grow(rounds: int, seconds: float) -> Growth:
    """Measure a young agent and an old one, in a process of their own."""
    with process(_grow, rounds, seconds) as end:
        growth: Growth = end.recv()
        return growth


def _grow(rounds: int, seconds: float, connection: Connection) -> None:
    torch.set_num_threads(1)
    old = ours(schedule=LONG)
    full = _peak()
    old(OLD - GROWN_UP)
    end = _peak()
    young, aged = race(
        [
            Contestant(name=f"at {YOUNG:,} steps", make=partial(ours, schedule=LONG, steps=YOUNG)),
            Contestant(name=f"at {OLD:,} steps", make=lambda: old),
        ],
        rounds,
        seconds,
    )
    connection.send(Growth(young=young, old=aged, full=full, end=end))


def _peak() -> float:
    """Return the most memory that this process has held so far [MiB]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


# --- report ---------------------------------------------------------------------------------------


def per_step(result: Result) -> Result:
    """Return microseconds per step where there are steps per second."""
    return replace(result, values=[1e6 / value for value in result.values])


def learners_tables(results: Sequence[Result]) -> str:
    """Lay out who learns how fast, beside the core's peak."""
    by_name = {result.name: result for result in results}
    flappy = [by_name[name] for name in (SB3, SBX, LEAN, TORCH, OURS, OWN, CALLBACK, PEAK)]
    cartpole = [by_name[name] for name in (SB3_CARTPOLE, OUR_CARTPOLE)]
    mer = [by_name[name] for name in (MER_TORCH, MER, OURS)]
    times = [per_step(by_name[name]) for name in (PEAK, *PIECES, OURS)]
    tables = (
        table("training in FlappyBird", "steps/s", flappy, flappy[0]),
        table(f"training in {CARTPOLE}", "steps/s", cartpole, cartpole[0]),
        table("MER on single examples, 16 steps of SGD each", "steps/s", mer, mer[0]),
        table(f"a step: {OPERATIONS:,} operations in products", "us/step", times, times[0])
        + f"\nthe core's peak: {by_name[PEAK].median * OPERATIONS / 1e9:,.1f} GFLOP/s",
    )
    return "\n\n".join(tables)


def judge_learners(results: Sequence[Result]) -> Iterator[Verdict]:
    """Judge what is promised of speed beside peers and the core's peak."""
    by_name = {result.name: result for result in results}
    compiled = by_name[OURS]
    yield at_least(f"{OURS} / {SB3}", compiled.ratio_to(by_name[SB3]), 100)
    yield at_least(f"{CALLBACK} / {SB3}", by_name[CALLBACK].ratio_to(by_name[SB3]), 25)
    cartpole = by_name[OUR_CARTPOLE].ratio_to(by_name[SB3_CARTPOLE])
    yield at_least(f"{OUR_CARTPOLE} / {SB3_CARTPOLE}", cartpole, 12)
    share = 100 * compiled.ratio_to(by_name[PEAK])
    yield at_least(f"{OURS}: operations / those of the core's peak", share, 40, "%")
    yield at_most(f"{OWN}: time of a step / that without", compiled.ratio_to(by_name[OWN]), 1.3)
    yield at_least(f"{MER} / {MER_TORCH}", by_name[MER].ratio_to(by_name[MER_TORCH]), 300)
    yield at_most(f"{MER}: time of a step / that of {OURS}", compiled.ratio_to(by_name[MER]), 1.5)


def pictures_table(size: str, results: Sequence[Result]) -> str:
    """Lay out who learns how fast from pictures of one size."""
    return table(f"training in {GAME}, seen in pictures of {size}", "steps/s", results, results[0])


def judge_pictures(size: str, results: Sequence[Result]) -> Iterator[Verdict]:
    """Judge what is promised of pictures of one size."""
    by_name = {result.name: result for result in results}
    for name in (OURS, SINGLE_Q):
        ratio = by_name[name].ratio_to(by_name[SB3_PICTURES])
        yield at_least(f"{name}, {size} / {SB3_PICTURES}", ratio, 5)
    share = 100 * by_name[OURS].ratio_to(by_name[PEAK])
    yield at_least(f"{OURS}, {size}: operations / those of the core's peak", share, 40, "%")


def judge_methods(results: Sequence[Result]) -> Iterator[Verdict]:
    """Judge what is promised of the presets."""
    by_name = {result.name: result for result in results}
    for result in results:
        if result.name in (FINETUNE, TOLD_FINETUNE):
            continue
        base = by_name[TOLD_FINETUNE if is_told(METHODS[result.name]) else FINETUNE]
        limit = 1.15 if result.name in PENALTIES else 1.8 if result.name in TWO_PASSES else 1.5
        yield at_most(
            f"{result.name}: time of a step / that of {base.name}", base.ratio_to(result), limit
        )


def main(args: Args) -> None:
    """Measure, print tables and verdicts, and save the raw numbers if asked to."""
    torch.set_num_threads(1)
    cores = usable_cores()
    core = pin_to_one_core()
    about: dict[str, Any] = machine(PACKAGES) | {"core": core}
    print(f"{about['cpu']}, {about['cores']} cores; pinned to core: {core}; load {about['load']}")
    print(
        f"Python {about['python']};",
        ", ".join(f"{k} {v}" for k, v in about["packages"].items() if v),
    )
    print(f"Medians of {args.rounds} rounds of {args.seconds:g} s, everyone in turn; ratios too.")
    data: dict[str, Any] = {"machine": about, "rounds": args.rounds, "seconds": args.seconds}
    judged: list[Verdict] = []

    def show(section: Section, text: str, results: Sequence[Any]) -> None:
        print("\n" + text, flush=True)
        data[section] = [asdict(result) for result in results]

    if "learner" in args.sections:
        results = race(learners(), args.rounds, args.seconds)
        show("learner", learners_tables(results), results)
        judged += judge_learners(results)
    if "pictures" in args.sections:
        found: list[Result] = []
        texts = []
        for size in PICTURES:
            results = race(lookers(size), args.rounds, args.seconds)
            texts.append(pictures_table(size, results))
            judged += judge_pictures(size, results)
            found += [replace(result, name=f"{result.name}, {size}") for result in results]
        show("pictures", "\n\n".join(texts), found)
    if "presets" in args.sections:
        results = race(methods(), args.rounds, args.seconds)
        times = [per_step(result) for result in results]
        base = next(result for result in times if result.name == FINETUNE)
        show(
            "presets", table("training in the last phase, no log", "us/step", times, base), results
        )
        judged += judge_methods(results)
    if "cores" in args.sections:
        one, two = results = side_by_side(args.rounds, cores)
        show("cores", table("runs side by side", "seconds", results), results)
        ratio = None if one.absent else one.ratio_to(two)
        judged.append(at_least(f"{two.name}: throughput / that on one", ratio, 1.7))
    if "blas" in args.sections:
        plain, told = results = told_otherwise(args.rounds, args.seconds)
        title = f"{OURS}, whatever a BLAS is told"
        show("blas", table(title, "steps/s", results, plain), results)
        difference = 100 * abs(told.ratio_to(plain) - 1)
        judged.append(at_most(f"{OURS}: difference that the BLAS makes", difference, 5, "%"))
    if "runs" in args.sections:
        runs = whole_runs()
        show("runs", runs_table(runs), runs)
        judged += [
            at_most(f"a whole run, {run.method}; {run.settings}", run.seconds, 30, "s")
            for run in runs
            if run.settings == SMALL
        ]
    if "growth" in args.sections:
        growth = grow(args.rounds, args.seconds)
        text = table("a long run", "steps/s", [growth.young, growth.old], growth.young)
        text += f"\npeak of memory: {growth.full:.0f} MiB when replay is full, "
        text += f"{growth.end:.0f} MiB after {OLD:,} steps"
        show("growth", text, [growth])
        slower = 100 * (growth.young.ratio_to(growth.old) - 1)
        judged.append(at_most("growth of the time of a step", slower, 10, "%"))
        more = 100 * (growth.end / growth.full - 1)
        judged.append(at_most("growth of memory", more, 10, "%"))
    print("\n" + "\n".join(map(str, judged)))

    if args.json is not None:
        data["verdicts"] = [asdict(verdict) for verdict in judged]
        args.json.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args))
