"""What the command ``train`` does, once its arguments are read."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import fields, replace
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from continual_arcade.agents.algorithms.catalogue import (
    DQN,
    AnySettings,
    check_method,
    find,
    named,
    parse_algorithm,
)
from continual_arcade.agents.continual_dqn import DivergedError
from continual_arcade.agents.methods import compose
from continual_arcade.agents.settings import DQNSettings
from continual_arcade.envs import make_game
from continual_arcade.envs.curricula import as_schedule
from continual_arcade.envs.pictured import check_context_of
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.commands import command_of, without
from continual_arcade.evaluation.evaluator import Played
from continual_arcade.evaluation.protocol import (
    EvaluationSettings,
    Protocol,
    check_spacing,
)
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.runs import Run, points_of
from continual_arcade.evaluation.terminal import plain_console
from continual_arcade.reports.run_pictures import show
from continual_arcade.scripts.cli import NOTICE
from continual_arcade.scripts.compare import Compare, compare
from continual_arcade.scripts.options import Train, TrainMany
from continual_arcade.scripts.schedules import names_scenario
from continual_arcade.scripts.seed_progress import SeedProgress
from continual_arcade.studies import scenario as scenarios
from continual_arcade.studies.executors import jobs_at_a_time, local_executor
from continual_arcade.studies.provenance import provenance
from continual_arcade.studies.run_spec import RunSpec, Training, warm_up
from continual_arcade.studies.seed_runs import SeedRuns, is_finished
from continual_arcade.studies.seeds import parse_seeds


def carry_out(args: TrainMany, given: Sequence[str]) -> int | None:
    """Train one run, or several that differ by their seed.

    Args:
        args: What is asked for.
        given: The arguments of the command, which are written down.

    Returns:
        ``NOTICE`` if runs are in no table.

    Raises:
        ValueError: If an argument makes no sense; said before anything is written.
        RuntimeError: If runs failed.
        OSError: If a run cannot be written.
    """
    if args.resume is not None:
        _check_alone(given)
    algorithm, told = parse_algorithm(args.algorithm)
    if algorithm != DQN:
        _refuse_beside_algorithm(algorithm, _named(given))
    if args.scenario is not None:
        _refuse_beside_scenario(name.replace("-", "_") for name in _named(given))
        settings = {name.removeprefix("dqn.") for name in _named(given) if "dqn." in name}
        written = [name.removeprefix("no-").replace("-", "_") for name in settings]
        scenarios.find(args.scenario).check_given([*written, *told], settings_asked_for(args))
    if args.seeds is not None or args.jobs is not None:
        return _train_many(args, given)
    print(f"the run is in {train(args, given).path}")
    return None


def train(args: Train, given: Sequence[str] | None = None) -> RunFolder:
    """Train one agent, or resume a run.

    Args:
        args: What is asked for.
        given: The arguments of the command, which are written down; None if it was none.

    Returns:
        The folder of the run.

    Raises:
        ValueError: If an argument makes no sense; said before anything is written.
        LockedError: If another process is writing the run; the message says which.
        DivergedError: If the loss is not finite any more; the agent from before is kept.
        OSError: If the run cannot be written.
    """
    if args.resume is not None:
        folder = RunFolder.open(args.resume)
        with folder.lock.hold():
            return _resume(folder, args)
    training = prepare(args)
    # Made last, so that a mistake in the arguments leaves nothing behind.
    command = {} if given is None else {"command": command_of("train", given)}
    training.write({**command, **provenance()})
    with training.folder.lock.hold():
        print(f"the run will be in {training.folder.path}", flush=True)
        _say_what_learns(training)
        return _train(training, args)


def _say_what_learns(training: Training) -> None:
    """Print what computes, and what of a scenario holds for another algorithm than the DQN."""
    spec = training.spec
    print(f"engine: {training.agent.engine_report}", flush=True)
    if spec.algorithm == DQN:
        return
    print("the network is not measured: that is for those of a DQN", flush=True)
    if spec.scenario is None:
        return
    told = spec.scenario.overrides
    for names, what in (
        ([name for name in told if spec.settings.takes(name)], "settings of the scenario"),
        (
            [name for name in told if not spec.settings.takes(name)],
            f"settings of the scenario for a DQN, which do not concern {spec.algorithm}",
        ),
    ):
        print(f"{what}: {', '.join(names) or 'none'}", flush=True)


_OBSERVED = ("observation", "screen_size", "stack", "colour", "frame_skip")
"""How the game is observed: options that every game has."""
_OF_SCENARIO = ("game", "schedule", "phase_steps", "context", *_OBSERVED)
"""What a scenario says itself."""


def spec_of(args: Train) -> RunSpec:
    """Return what is asked for.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If an argument makes no sense.
    """
    if args.scenario is not None:
        _refuse_beside_scenario(_changed(args, Train()))
    evaluation = EvaluationSettings(
        every=args.eval_every,
        at_end=args.eval_at_end,
        spacing=args.eval_spacing,
        episodes=args.eval_episodes,
        max_steps=args.eval_max_steps,
    )
    check_spacing(evaluation, "eval_")
    method = compose(args.method, args.replay, args.part)
    settings = settings_asked_for(args)
    if settings.algorithm != DQN:
        check_method(settings.algorithm, method)
        method = replace(method, name=named(settings.algorithm, method))
    scenario = None if args.scenario is None else scenarios.find(args.scenario)
    if scenario is None and names_scenario(args.schedule):
        raise ValueError(
            f"schedule = {args.schedule!r} is a scenario, which says more than a schedule: give it "
            "with --scenario"
        )
    if scenario is None:
        game, context = args.game, args.context
        changed = _changed(args, Train())
        options = {name: getattr(args, name) for name in _OBSERVED if name in changed}
        made = make_game(game, **options)
        check_context_of(made, context)
        schedule = as_schedule(args.schedule, made)
        if args.phase_steps is not None:
            schedule = schedule.with_steps(args.phase_steps)
    else:
        game, context, schedule = scenario.game, scenario.context, scenario.schedule
        options = dict(scenario.options)
        settings = scenario.learner(settings, method)
    return RunSpec(
        game=game,
        schedule=_only(args.only_phase, schedule),
        method=method,
        settings=settings,
        seed=args.seed,
        evaluation=evaluation,
        save_every=args.save_every,
        context=context,
        options=options,
        scenario=scenario,
        probes=args.probes,
    )


def settings_asked_for(args: Train) -> AnySettings:
    """Return how the agent is to learn, and by which algorithm.

    Raises:
        ValueError: If there is no such algorithm or setting, it makes no sense, or there are
            settings of a DQN beside another algorithm.
    """
    name, given = parse_algorithm(args.algorithm)
    if name == DQN:
        return args.dqn
    if args.dqn != DQNSettings():
        _refuse_beside_algorithm(name, ["dqn.SETTING"])
    return find(name).settings(**given)


def prepare(args: Train) -> Training:
    """Make all that is asked for, and check it; nothing is on the disk yet.

    Raises:
        ValueError: If an argument makes no sense.
    """
    spec = spec_of(args)
    folder = RunFolder.new(args.out, spec.game, spec.schedule.name, spec.method.name, spec.seed)
    return Training.prepare(spec, folder)


def _only(phase: str | None, schedule: Schedule) -> Schedule:
    """Return a schedule, or the one phase of it that is asked for."""
    if phase is None:
        return schedule
    return schedule.single(int(phase) if phase.isdecimal() else phase)


def _changed(args: Train, default: Train) -> list[str]:
    """Return the arguments that are not as they are by default."""
    names = [each.name for each in fields(Train)]
    return [name for name in names if getattr(args, name) != getattr(default, name)]


def _refuse_beside_scenario(names: Iterable[str]) -> None:
    """Refuse arguments that a scenario says itself.

    Args:
        names: Arguments that are given.
    """
    for name in names:
        if name in _OF_SCENARIO:
            raise ValueError(
                f"--{name.replace('_', '-')} cannot be given with --scenario, which says it "
                "itself: leave one out, or give a scenario of your own (scenario show NAME --out "
                "mine.toml writes one to begin with)"
            )


def _refuse_beside_algorithm(algorithm: str, names: Iterable[str]) -> None:
    """Refuse arguments that are those of a DQN alone.

    Args:
        algorithm: Name of another algorithm.
        names: Arguments that are given.
    """
    for name in names:
        if name.removeprefix("no-") == "probes":
            raise ValueError(
                f"--{name} cannot be given with --algorithm {algorithm}: what is measured of "
                "networks is of those of a DQN; leave it out"
            )
        if name.startswith("dqn."):
            raise ValueError(
                f"--{name} cannot be given with --algorithm {algorithm}, which has settings of its "
                f"own: give them as --algorithm {algorithm}:NAME=VALUE,..."
            )


def _resume(folder: RunFolder, args: Train) -> RunFolder:
    for name in _changed(args, Train(resume=args.resume, progress=args.progress)):
        raise ValueError(
            f"{name} = {getattr(args, name)} cannot be set with --resume: a run is resumed as it "
            "began"
        )
    training = Training.resume(folder)
    if training.is_over:
        # Perhaps it was cut off before it could show its result.
        console = plain_console()
        show(Run.load(training.folder.path), training.folder.path, console)
        console.out("it was trained to its end before")
        return training.folder
    return _train(training, args)


def _train(training: Training, args: Train) -> RunFolder:
    """Train to the end of the schedule, and show what was forgotten."""
    # What is compiled now would count as the time of training, which methods are compared by.
    with suppress(DivergedError):  # training says it itself, and keeps the agent from before
        warm_up(training.spec)
    progress = _Progress(training.spec.protocol, shown=args.progress)
    with closing(progress.bar), _resumable(training.folder):
        spent = training.train([progress], progress.report)
    folder, console = training.folder, plain_console()
    show(Run.load(folder.path), folder.path, console)
    console.out(
        f"trained {spent.steps:,} steps in {spent.seconds - spent.evaluation_seconds:.0f} s, "
        f"evaluated {spent.evaluation_steps:,} steps in {spent.evaluation_seconds:.0f} s"
    )
    return folder


@contextmanager
def _resumable(folder: RunFolder) -> Iterator[None]:
    """Let an interruption say how the run is resumed."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        command = ["python", "-m", "continual_arcade.scripts.train", "--resume", str(folder.path)]
        interrupt.add_note(f"to resume: {shlex.join(command)}")
        raise


class _Progress(BaseCallback):
    """A bar that shows how far the run has come, and how the last evaluation went."""

    def __init__(self, protocol: Protocol, *, shown: bool) -> None:
        super().__init__()
        self.schedule = schedule = protocol.schedule
        self.points = points_of(protocol)
        self.shown = shown
        # None: no bar where the output is no terminal; the evaluations are printed there, too.
        self.bar: tqdm[Any] = tqdm(
            total=schedule.total_steps, unit="step", disable=None if shown else True
        )
        self._phase = -1

    def _on_training_start(self) -> None:
        self.bar.update(self.num_timesteps - self.bar.n)

    def _on_step(self) -> bool:
        phase = self.schedule.index_at(max(0, self.num_timesteps - 1))
        if phase != self._phase:
            self._phase = phase
            name = self.schedule.phases[phase].name
            self.bar.set_description(f"phase {phase + 1}/{len(self.schedule)}: {name}")
        self.bar.update(min(self.num_timesteps, self.schedule.total_steps) - self.bar.n)
        return True

    def next_due(self, num_timesteps: int) -> int | None:
        """Return that there is no hurry: the bar moves whenever there is a call."""
        return None

    def report(self, step: int, played: Played) -> None:
        """Show the mean score in each phase."""
        means = ", ".join(f"{mean:.1f}" for mean in played.scores.mean(axis=1))
        if self.shown:
            self.bar.write(f"step {step:>9,}  mean {self.points}: {means}")


def _train_many(args: TrainMany, given: Sequence[str]) -> int | None:
    """Train a run for each seed, several side by side, and compare them.

    All that can be wrong with the arguments is found before anything is written.
    """
    if args.seeds is None:
        raise ValueError(f"jobs = {args.jobs} is for many runs: name their seeds with --seeds")
    if any(argument.partition("=")[0] == "--seed" for argument in given):
        raise ValueError("--seed and --seeds cannot be given together: name all seeds in --seeds")
    seeds = parse_seeds(args.seeds)
    jobs = jobs_at_a_time(args.jobs)
    training = prepare(replace(args, seed=seeds[0]))
    training.folder.make_root()
    _say_what_learns(training)
    of_all, made = without(("--seeds", "--jobs"), given), provenance()
    runs = SeedRuns(
        args.out,
        spec_of(args),
        lambda seed: {"command": command_of("train", [*of_all, "--seed", str(seed)]), **made},
    )
    again, given_up = command_of("train", given), ""
    steps = training.spec.schedule.total_steps
    with SeedProgress(len(seeds), steps, shown=args.progress) as progress:
        for seed in seeds:
            if (folder := runs.find(seed)) is not None and is_finished(folder):
                progress.was_finished(seed, folder)
        left = [seed for seed in seeds if seed not in progress.finished]
        try:
            if left:
                warm_up(training.spec)
            executor = local_executor(min(jobs, len(left)) or 1)
            with closing(runs.train(executor, left, progress.begins)) as outcomes:
                for seed, outcome in outcomes:
                    progress.ends(seed, outcome)
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(f"to resume: {again}")
            raise
        except RuntimeError as error:  # workers died again and again
            given_up = str(error)
    folders = [progress.finished[seed] for seed in seeds if seed in progress.finished]
    left_out = compare(Compare(tuple(folders)), plain_console()) if folders else []
    if len(folders) < len(seeds):
        lacking = f"{len(seeds) - len(folders)} of {len(seeds)} runs are not finished"
        lines = [f"{lacking}; to try them again:", f"  {again}", *progress.failures]
        raise RuntimeError("\n".join([*lines, given_up] if given_up else lines))
    return NOTICE if left_out else None


def _named(given: Sequence[str]) -> list[str]:
    """Return the options that are given, without their dashes, also where they equal a default."""
    options = [argument.partition("=")[0] for argument in given if argument.startswith("-")]
    return [option.lstrip("-").replace("_", "-") for option in options]  # both are the same to tyro


def _check_alone(given: Sequence[str]) -> None:
    """Refuse what cannot be given with --resume, also where it equals a default."""
    for name in _named(given):
        if name not in ("resume", "progress", "no-progress"):
            raise ValueError(
                f"--{name} cannot be given with --resume: a run is resumed as it began"
            )
