"""How fast the evaluator is, on one core.

Run it as ``python benchmarks/evaluator_speed.py``. A checkpoint is played in six phases of 50
episodes each. Before, an agent is trained in ``shrink``, so that it survives: an evaluation takes
as long as its longest episode. Agents of Stable-Baselines3 get its network, and play the same
games. Metrics are those of 1,000 runs drawn at random. A report is one over 100 runs, five methods
with twenty seeds each: copies of one real run, whose scores are shifted, with films.
"""

import os

from measuring import (
    ONE_THREAD,
    Result,
    Verdict,
    at_most,
    in_turn,
    machine,
    pin_to_one_core,
    table,
)

os.environ.update(ONE_THREAD)

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import pandas as pd
import torch
import tyro
from rich.console import Console
from stable_baselines3 import DQN, PPO
from torch import nn

from continual_arcade.agents import ContinualDQN, DQNSettings, build_agent
from continual_arcade.envs import IDS, Schedule, make_game, shipped
from continual_arcade.evaluation import (
    EvaluationSettings,
    Evaluator,
    Policy,
    Protocol,
    Record,
    Scale,
    Timetable,
    replay_phases,
)
from continual_arcade.evaluation.evaluator import EPISODES
from continual_arcade.evaluation.metrics import METRICS, Context, measure
from continual_arcade.scripts.options import Report, Train
from continual_arcade.scripts.reporting import report
from continual_arcade.scripts.training import train

GAME = "FlappyBird"
SHRINK = shipped("shrink", make_game(GAME))
JUDGING = EvaluationSettings(episodes=50, max_steps=1_800)
SEED = 0
LIMIT = 5.0
"""What evaluating a checkpoint may take [s]."""
RECORDS = 1_000
RECORDS_LIMIT = 10.0
"""What all metrics of so many records may take [s]."""
NAMES = ("finetune", "reservoir", "ewc", "mer", "clear")
SEEDS = 20
REPORT_LIMIT = 60.0
"""What a report over all of them may take [s]."""
PACKAGES = ("continual-arcade", "stable-baselines3", "torch", "numpy", "numba", "gymnasium")

Section = Literal["checkpoint", "metrics", "report"]
Measured = tuple[str, list[Result], list[Verdict]]
"""A table, what it is made of, and what became of the promises."""


@dataclass(frozen=True)
class Args:
    """Measure the speed of the evaluator."""

    rounds: int = 5
    """How often everything is measured, in turn."""
    only: tuple[Section, ...] = ()
    """Measure these alone."""
    json: Path | None = None
    """Where to write the raw numbers."""


# --- one checkpoint -------------------------------------------------------------------------------


def checkpoint(rounds: int) -> Measured:
    """Measure what evaluating one checkpoint takes [s]."""
    agent = build_agent(GAME, SHRINK, DQNSettings(), SEED)
    agent.learn(SHRINK.total_steps, log_interval=None)  # type: ignore[arg-type]
    evaluator = Evaluator(GAME, SHRINK, episodes=JUDGING.episodes, max_steps=JUDGING.max_steps)
    players: dict[str, Policy] = {
        "ours": agent,
        "stable-baselines3 DQN": as_dqn(agent),
        "stable-baselines3 PPO": as_ppo(agent),
    }
    expected = evaluator.play(agent)
    if expected.lengths.max() < JUDGING.max_steps:
        raise RuntimeError("the agent did not survive a single episode: nothing would be measured")
    for name, player in players.items():
        if not np.array_equal(evaluator.play(player).lengths, expected.lengths):
            raise RuntimeError(f"{name} plays other games: their times could not be compared")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.zip"
        agent.save(path)
        measures: dict[str, Callable[[], float]] = {
            name: partial(_seconds, evaluator, player) for name, player in players.items()
        }
        measures["ours, opened by replay_phases"] = partial(_replay, path)
        values = in_turn(measures, rounds)
    results = [Result(name=name, values=seconds) for name, seconds in values.items()]
    text = table(
        f"one checkpoint, 6 x {JUDGING.episodes} episodes, {expected.steps:,} steps",
        "seconds",
        results,
        results[0],
    )
    verdicts = [
        at_most(f"evaluating a checkpoint, {result.name}", result.median, LIMIT, "s")
        for result in results
    ]
    return text, results, verdicts


def _seconds(evaluator: Evaluator, player: Policy) -> float:
    return evaluator.play(player).seconds


def _replay(path: Path) -> float:
    begun = time.perf_counter()
    protocol = Protocol(GAME, IDS[GAME], SHRINK, JUDGING)
    load = partial(ContinualDQN.load, device="cpu")
    replay_phases({SHRINK.total_steps: path}, protocol, load=load)
    return time.perf_counter() - begun


def as_dqn(agent: ContinualDQN) -> DQN:
    """Return a DQN of Stable-Baselines3 with the network of an agent."""
    model = DQN(
        "MlpPolicy",
        gym.make(IDS[GAME]),
        policy_kwargs={"net_arch": list(DQNSettings().hidden)},
        buffer_size=1,
        device="cpu",
    )
    _copy(agent, linear_layers(model.q_net))
    return model


def as_ppo(agent: ContinualDQN) -> PPO:
    """Return a PPO of Stable-Baselines3 whose most probable action is the best one of an agent."""
    hidden = list(DQNSettings().hidden)
    model = PPO(
        "MlpPolicy",
        gym.make(IDS[GAME]),
        policy_kwargs={"net_arch": {"pi": hidden, "vf": hidden}, "activation_fn": nn.ReLU},
        device="cpu",
    )
    policy: Any = model.policy
    _copy(agent, [*linear_layers(policy.mlp_extractor.policy_net), policy.action_net])
    return model


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """Return the layers of a network, in order."""
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


def _copy(agent: ContinualDQN, layers: list[nn.Linear]) -> None:
    for mine, theirs in zip(linear_layers(agent.q_net), layers, strict=True):
        theirs.load_state_dict(mine.state_dict())


# --- metrics of many records ----------------------------------------------------------------------


def metrics(rounds: int) -> Measured:
    """Measure what all metrics of 1,000 records take, with references and single-phase runs [s]."""
    generator = np.random.default_rng(SEED)
    count = len(SHRINK.distinct)
    alone = {
        column: [_drawn(SHRINK.single(phase.index), generator) for _ in range(5)]
        for column, phase in enumerate(SHRINK.distinct)
    }
    context = Context(Scale(np.zeros(count), np.full(count, 47.0)), alone)
    values = in_turn({"all metrics": partial(_measure, generator, context)}, rounds)
    results = [Result(name=name, values=seconds) for name, seconds in values.items()]
    evaluations, all_of_them = len(_timetable(SHRINK).due), f"metrics of {RECORDS:,} records"
    title = f"{len(METRICS)} {all_of_them}, {evaluations} evaluations of {count} phases"
    return (
        table(title, "seconds", results, results[0]),
        results,
        [at_most(all_of_them, results[0].median, RECORDS_LIMIT, "s")],
    )


def _measure(generator: np.random.Generator, context: Context) -> float:
    # Drawn again: a record keeps what was computed of it.
    records = [_drawn(SHRINK, generator) for _ in range(RECORDS)]
    begun = time.perf_counter()
    for record in records:
        measure(record, context=context)
    return time.perf_counter() - begun


def _timetable(schedule: Schedule) -> Timetable:
    return Timetable(schedule, JUDGING.every, JUDGING.at_end, JUDGING.spacing)


def _drawn(schedule: Schedule, generator: np.random.Generator) -> Record:
    due = _timetable(schedule).due
    shape = (len(due), len(schedule.distinct), EPISODES)
    steps, stages = (np.array(column) for column in zip(*due, strict=True))
    return Record(schedule, generator.uniform(0, 47, shape), steps, stages, JUDGING.at_end)


# --- a report -------------------------------------------------------------------------------------


def whole_report(rounds: int) -> Measured:
    """Measure what a report over 100 runs takes, with films and all files [s]."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run = train(Train(schedule="shrink", out=root / "run", save_every=0, progress=False))
        generator = np.random.default_rng(SEED)
        runs = tuple(
            _copied(run.path, root / f"{method}{seed}", method, seed, generator)
            for method in NAMES
            for seed in range(SEEDS)
        )
        args = Report(runs, out=root / "report.html")
        values = in_turn({"report": partial(_report, args)}, rounds)
        size = args.out.stat().st_size / 1e6
    results = [Result(name=name, values=seconds) for name, seconds in values.items()]
    return (
        table(f"a report over {len(runs)} runs, {size:.1f} MB", "seconds", results, results[0]),
        results,
        [
            at_most(f"report over {len(runs)} runs", results[0].median, REPORT_LIMIT, "s"),
            at_most("its size", size, 15.0, "MB"),
        ],
    )


def _report(args: Report) -> float:
    begun = time.perf_counter()
    report(args, Console(quiet=True))
    return time.perf_counter() - begun


def _copied(run: Path, path: Path, method: str, seed: int, generator: np.random.Generator) -> Path:
    """Copy a run as one of another method and seed, with other scores."""
    shutil.copytree(run, path, copy_function=os.link)
    config = json.loads((run / "config.json").read_text()) | {"method": method, "seed": seed}
    for name in ("config.json", "evaluations.csv", "diagnostics.csv"):
        (path / name).unlink()  # else that of the original would be written to
    (path / "config.json").write_text(json.dumps(config))
    for name in ("evaluations.csv", "diagnostics.csv"):
        rows = pd.read_csv(run / name, dtype={"params_hash": str}).assign(run=path.name, seed=seed)
        if "score" in rows:
            # No run has a score that nobody can have.
            most = rows["score"].max()
            rows["score"] = (rows["score"] + generator.normal()).clip(0, most)
        rows.to_csv(path / name, index=False)
    return path


# --- what is printed ------------------------------------------------------------------------------

SECTIONS: dict[Section, Callable[[int], Measured]] = {
    "checkpoint": checkpoint,
    "metrics": metrics,
    "report": whole_report,
}
"""What is measured."""


def main(args: Args) -> None:
    """Measure, print tables and verdicts, and save the raw numbers if asked to."""
    torch.set_num_threads(1)
    core = pin_to_one_core()
    about: dict[str, Any] = machine(PACKAGES) | {"core": core}
    print(f"{about['cpu']}, {about['cores']} cores; pinned to core: {core}; load {about['load']}")
    print(
        f"Python {about['python']};",
        ", ".join(f"{k} {v}" for k, v in about["packages"].items() if v),
    )
    print(f"Medians of {args.rounds} rounds, everyone in turn; ratios too.")
    data: dict[str, Any] = {"machine": about, "rounds": args.rounds}
    judged: list[Verdict] = []
    for section in args.only or SECTIONS:
        text, results, verdicts = SECTIONS[section](args.rounds)
        print("\n" + text, flush=True)
        data[section] = [asdict(result) for result in results]
        judged += verdicts
    print("\n" + "\n".join(map(str, judged)))
    if args.json is not None:
        data["verdicts"] = [asdict(verdict) for verdict in judged]
        args.json.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args))
