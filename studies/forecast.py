"""What a study will cost, before it is run: measured on short runs on this machine."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.logger import Logger

from continual_arcade.evaluation.policies import networks_of
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.table import append, rows
from continual_arcade.evaluation.threads import one_thread
from continual_arcade.studies.grid import Cell
from continual_arcade.studies.run_spec import Agent, RunSpec, warm_up

SAMPLE = 4_000
"""Length of the runs that are measured, after learning has begun [lifetime steps]."""
_TRANSITION = 50
"""What a transition takes in a file, packed [bytes]."""


@dataclass(frozen=True)
class Cost:
    """What runs that differ by their seed alone will cost."""

    scenario: str
    method: str
    runs: int
    train_seconds: float
    """Training of one run [s]."""
    evaluation_seconds: float
    """Evaluation of one run at the most, if no episode ends before its limit [s]."""
    disk: int
    """What one run takes on the disk, at the least [bytes]."""


def forecast(left: Sequence[Cell]) -> list[Cost]:
    """Measure one short run of each kind, and forecast what all of them will cost.

    Args:
        left: The runs that are still to be trained.
    """
    kinds: dict[tuple[str, str], list[Cell]] = {}
    for cell in left:
        kinds.setdefault((cell.scenario, cell.method), []).append(cell)
    specs = {key: cells[0].make() for key, cells in kinds.items()}
    for spec in {spec.game: spec for spec in specs.values()}.values():
        warm_up(spec)
    costs = []
    for (scenario, method), cells in kinds.items():
        seconds, evaluating, disk = _measure(specs[scenario, method])
        costs.append(Cost(scenario, method, len(cells), seconds, evaluating, disk))
    return costs


def _measure(spec: RunSpec) -> tuple[float, float, int]:
    """Return seconds of training, seconds of evaluation at the most, and bytes, of a whole run."""
    protocol = spec.protocol
    schedule, evaluation, settings = spec.schedule, spec.evaluation, spec.settings
    evaluations = len(protocol.timetable.due)
    # What happens before the first update costs next to nothing, but where rollouts are collected.
    free: int = getattr(settings, "learning_starts", 0)
    rollout: int = getattr(settings, "rollout", 0)
    each = math.ceil((free + rollout + SAMPLE) / len(schedule))
    short = replace(
        spec,
        # All phases of it, because methods may have work to do where one ends.
        schedule=schedule.with_steps(max(each, settings.num_envs)),
        scenario=None,  # which has longer phases
    )
    agent = short.build()
    agent.set_logger(Logger(None, []))
    with one_thread():
        begun = time.perf_counter()
        agent.learn(short.schedule.total_steps)
        seconds = time.perf_counter() - begun
    # What parts do where phases end does not grow with the phases.
    at_boundaries: float = getattr(agent, "boundary_seconds", 0.0)
    rate = (short.schedule.total_steps - free) / (seconds - at_boundaries)
    steps = evaluations * len(schedule.distinct) * evaluation.episodes * evaluation.max_steps
    disk = evaluations * _evaluation_bytes(short, agent)
    if spec.save_every:
        disk += _TRANSITION * min(getattr(settings, "buffer_size", 0), schedule.total_steps)
    training = schedule.total_steps / rate + at_boundaries
    return training, steps * _evaluation_step_seconds(spec), disk


def _evaluation_bytes(spec: RunSpec, agent: Agent) -> int:
    """Return what an evaluation takes on the disk: a checkpoint and lines of the table."""
    evaluator = spec.protocol.make_evaluator()
    with TemporaryDirectory(prefix="forecast-") as root:
        folder = RunFolder(Path(root) / "run")
        folder.make()
        checkpoint = folder.save_checkpoint(agent.num_timesteps, agent.save)
        for network in networks_of(agent):
            lines = rows(
                evaluator,
                evaluator.play(agent, network=network),
                run=folder.name,
                seed=spec.seed,
                step=agent.num_timesteps,
                trained_phase=0,
                network=network,
            )
            append(folder.table, lines)
        return checkpoint.stat().st_size + folder.table.stat().st_size


def _evaluation_step_seconds(spec: RunSpec) -> float:
    """Return what an evaluation step costs when all games run on [s]."""
    agent = spec.build()
    env = spec.protocol.make_evaluator().env
    observations, _ = env.reset(seed=0)
    agent.predict(observations, deterministic=True)
    waits = env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    running, played = np.ones(env.num_envs, np.bool_), 0
    begun = time.perf_counter()
    for _ in range(200):
        played += int(running.sum())
        actions, _ = agent.predict(observations, deterministic=True)
        observations, _, terminated, truncated, _ = env.step(actions)
        if waits:
            running &= ~(terminated | truncated)
            if not running.any():
                observations, _ = env.reset(seed=0)
                running[:] = True
    seconds: float = time.perf_counter() - begun
    return seconds / played
