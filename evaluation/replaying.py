"""Checkpoints, evaluated in every phase of their training."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from continual_arcade.envs.checks import Whole
from continual_arcade.envs.context import HIDDEN, ContextKind
from continual_arcade.envs.curricula import ScheduleLike, as_schedule
from continual_arcade.envs.games import make_game
from continual_arcade.envs.registration import IDS
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation import network_diagnostics
from continual_arcade.evaluation.evaluator import Played
from continual_arcade.evaluation.experience import KEEP, Experience
from continual_arcade.evaluation.external_runs import write_run
from continual_arcade.evaluation.network_diagnostics import Diagnostic, Probe, Reading
from continual_arcade.evaluation.policies import Network, Policy, networks_of
from continual_arcade.evaluation.processes import WorkerDeathError, unordered
from continual_arcade.evaluation.protocol import EvaluationSettings, Protocol
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.table import Row, frame, rows
from continual_arcade.evaluation.threads import one_thread

Checkpoint = Policy | Path | str
"""An agent at some lifetime step: a loaded policy, or the path of its file."""
Load = Callable[[Path], Policy]
"""Opens a checkpoint."""


@dataclass(frozen=True)
class Replayed:
    """The result of checkpoints that were evaluated in every phase."""

    protocol: Protocol
    """What the numbers depend on besides the agents."""
    rows: tuple[Row, ...]
    """One for each episode, by lifetime step."""
    diagnostics: tuple[Diagnostic, ...]
    """What the probes have measured, by lifetime step."""
    seconds: float
    """What playing took, that of all processes together."""
    steps: int
    """Steps of all episodes together."""

    @cached_property
    def table(self) -> pd.DataFrame:
        """The tidy table."""
        return frame(self.rows)

    def write_run(
        self,
        root: Path | str,
        *,
        method: str,
        num_envs: int = 1,
        settings: Mapping[str, Any] | None = None,
    ) -> RunFolder:
        """Write them as a run that ``compare``, ``report`` and ``Run.load`` read like any other.

        Args:
            root: Where runs are kept; the run gets a folder of its own in it.
            method: Name of the method that the agents were trained by.
            num_envs: Environments that stepped together in training: so many lifetime steps passed
                at once, and so over an evaluation that was due.
            settings: What is known of the settings of the method, as plain data. Runs of a method
                whose settings differ are not put together.

        Raises:
            ValueError: If an argument makes no sense, or the checkpoints are not those of the
                evaluations that were due.
            OSError: If the folder cannot be written.
        """
        return write_run(
            Path(root),
            self.protocol,
            self.rows,
            self.diagnostics,
            method=method,
            num_envs=num_envs,
            settings=settings,
        )


def replay_phases(
    checkpoints: Mapping[int, Checkpoint],
    protocol: Protocol | ScheduleLike,
    *,
    game: str | None = None,
    evaluation: EvaluationSettings | None = None,
    load: Load | None = None,
    late: int = 0,
    run: str = "run",
    seed: int = 0,
    probes: Sequence[Probe] = (),
    jobs: int = 1,
    progress: bool = False,
    context: ContextKind | None = None,
) -> Replayed:
    """Play every phase of a run with checkpoints of different lifetime steps.

    The result is the same, bit for bit, whatever ``jobs`` is: each checkpoint plays on one thread.

    Args:
        checkpoints: The agents, by lifetime step: policies, or paths for ``load``. One that was
            trained up to the end of a phase belongs to the phase that ended.
        protocol: The protocol of a run, or a schedule in any form.
        game: Name of the game, if ``protocol`` is a schedule.
        evaluation: How each is evaluated, if ``protocol`` is a schedule; the defaults if not given.
        load: Opens a checkpoint, such as ``ContinualDQN.load`` or ``stable_baselines3.PPO.load``.
        late: How many steps a checkpoint may come after an evaluation was due, and still belong to
            it: environments that step together may pass it.
        run: Name of the run, for the table.
        seed: Seed of the run, for the table.
        probes: Measure each agent after it has played.
        jobs: How many processes play checkpoints that are paths. Policies that are loaded already
            stay in this one.
        progress: Show a bar, if the output is a terminal.
        context: What of its phase an observation shows, if ``protocol`` is a schedule; nothing if
            not given.

    Returns:
        The rows of all checkpoints, and what they cost.

    Raises:
        ValueError: If an argument makes no sense, or a checkpoint is damaged or cannot play this
            game; the message names it.
        FileNotFoundError: If a checkpoint does not exist; said before any is played.
        RuntimeError: If a process died; the message says over which checkpoints.
    """
    protocol = _protocol(protocol, game, evaluation, context)
    jobs, late, seed = Whole(1)("jobs", jobs), Whole(0)("late", late), Whole(0)("seed", seed)
    agents = _checked(checkpoints, load)
    for step in agents:
        _check_step(step, protocol.schedule, late)
    protocol.make_evaluator()  # so that an invalid protocol is refused here, not in a process
    stages = {step: protocol.timetable.stage_of(step, late) for step in agents}
    here = {s: agent for s, agent in agents.items() if jobs == 1 or not isinstance(agent, Path)}
    elsewhere = {s: agent for s, agent in agents.items() if s not in here}
    task = _Task(protocol, load, tuple(probes))
    played: dict[int, _Outcome] = {}
    with tqdm(total=len(agents), unit="checkpoint", disable=None if progress else True) as bar:
        for step, result in _all(here, elsewhere, task, jobs):
            played[step] = result
            bar.update()
    evaluator = protocol.make_evaluator()
    episodes: list[Row] = []
    diagnosed: list[Diagnostic] = []
    for step in agents:
        outcome, readings = played[step]
        for network, each in outcome.items():
            episodes += rows(
                evaluator,
                each,
                run=run,
                seed=seed,
                step=step,
                trained_phase=stages[step],
                network=network,
            )
        diagnosed += network_diagnostics.rows(
            readings, run=run, seed=seed, step=step, trained_phase=stages[step]
        )
    return Replayed(
        protocol=protocol,
        rows=tuple(episodes),
        diagnostics=tuple(diagnosed),
        seconds=sum(each.seconds for outcome, _ in played.values() for each in outcome.values()),
        steps=sum(each.steps for outcome, _ in played.values() for each in outcome.values()),
    )


_Outcome = tuple[dict[Network, Played], list[Reading]]
"""What a checkpoint has played, by which weights, and what the probes have measured."""


@dataclass(frozen=True)
class _Task:
    """What is done with each checkpoint."""

    protocol: Protocol
    load: Load | None
    probes: tuple[Probe, ...]


def _protocol(
    protocol: Protocol | ScheduleLike,
    game: str | None,
    evaluation: EvaluationSettings | None,
    context: ContextKind | None,
) -> Protocol:
    if isinstance(protocol, Protocol):
        if not (game is None and evaluation is None and context is None):
            raise ValueError(
                "game, evaluation and context are for a schedule: a protocol has them itself"
            )
        return protocol
    if game is None:
        raise ValueError(
            "a schedule does not say which game it is for: name it, as in game='Catcher'"
        )
    schedule = as_schedule(protocol, make_game(game))
    settings = evaluation or EvaluationSettings()
    return Protocol(game, IDS[game], schedule, settings, context=context or HIDDEN)


def _checked(checkpoints: Mapping[int, Checkpoint], load: Load | None) -> dict[int, Policy | Path]:
    """Return the checkpoints by lifetime step, paths as existing paths."""
    if not checkpoints:
        raise ValueError("no checkpoint is given: name at least one")
    for step in checkpoints:
        Whole(0)("lifetime_step", step)
    agents: dict[int, Policy | Path] = {}
    for step in sorted(checkpoints):
        agent = checkpoints[step]
        if isinstance(agent, (str, Path)):
            agent = Path(agent)
            if load is None:
                raise ValueError(
                    f"the checkpoint of step {step:,} is a path: say what opens it, as in "
                    "load=ContinualDQN.load"
                )
            # Stable-Baselines3 lets the suffix be left out.
            if not (agent.exists() or Path(f"{agent}.zip").exists()):
                raise FileNotFoundError(f"the checkpoint of step {step:,} does not exist: {agent}")
        agents[int(step)] = agent
    return agents


def _check_step(step: int, schedule: Schedule, late: int) -> None:
    """Check that an agent can have trained for so many steps."""
    if step > schedule.total_steps + late:
        raise ValueError(
            f"step {step:,} is beyond the end of schedule {schedule.name!r}, which has "
            f"{schedule.total_steps:,} steps: an agent that was trained for longer needs a longer "
            "last phase; `late` says by how many steps a checkpoint may miss the end"
        )


def _all(
    here: Mapping[int, Policy | Path],
    elsewhere: Mapping[int, Policy | Path],
    task: _Task,
    jobs: int,
) -> Iterator[tuple[int, _Outcome]]:
    """Play all checkpoints, some of them in other processes; in no particular order."""
    for step, agent in here.items():
        yield step, _play(step, agent, task)
    if not elsewhere:
        return
    play = partial(_numbered, task=task)
    try:
        yield from unordered(play, elsewhere.items(), jobs)
    except WorkerDeathError as error:
        steps = " or ".join(f"{step:,}" for step, _ in sorted(error.items))
        raise RuntimeError(
            f"a process died over the checkpoint of step {steps}: perhaps memory ran out; try "
            "again with fewer jobs"
        ) from error


def _numbered(checkpoint: tuple[int, Policy | Path], task: _Task) -> tuple[int, _Outcome]:
    """Play one checkpoint, and say which it was: results come in no particular order."""
    step, agent = checkpoint
    return step, _play(step, agent, task)


def _play(step: int, agent: Policy | Path, task: _Task) -> _Outcome:
    """Play one checkpoint and look into it; let every error name it."""
    name = f"checkpoint of step {step:,}"
    try:
        with one_thread():
            if isinstance(agent, Path):
                name = f"checkpoint of step {step:,} ({agent})"
                assert task.load is not None
                agent = task.load(agent)
            evaluator = task.protocol.make_evaluator()
            networks = networks_of(agent)
            played: dict[Network, Played] = {
                network: evaluator.play(agent, KEEP if task.probes and not i else 0, network)
                for i, network in enumerate(networks)
            }
            readings = [
                reading
                for probe in task.probes
                for reading in probe.measure(agent, _experience(played[networks[0]]))
            ]
            for network, each in played.items():  # only what is asked for goes to other processes
                played[network] = replace(each, experience=None)
            return played, readings
    except Exception as error:
        what = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
        raise ValueError(f"{name}: {what}{error}") from error


def _experience(played: Played) -> Experience:
    assert played.experience is not None
    return played.experience
