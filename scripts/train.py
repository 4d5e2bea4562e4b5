"""Train an agent through a whole life, and show what it forgot.

python -m continual_arcade.scripts.train --schedule conflict --method mer

python -m continual_arcade.scripts.train --replay reservoir --part ewc:lam=10 --part reptile

python -m continual_arcade.scripts.train --seeds 0..19 --jobs 4

python -m continual_arcade.scripts.train --resume runs/RUN
"""

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import CSVOutputFormat, Logger
from tqdm import tqdm

from continual_arcade.agents.continual_dqn import ContinualDQN, DivergedError
from continual_arcade.agents.methods import Method, compose
from continual_arcade.agents.settings import DQNSettings, build_agent, make_life, settings_of
from continual_arcade.envs import IDS, make_game
from continual_arcade.envs.curricula import as_schedule
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.callback import EvaluationCallback
from continual_arcade.evaluation.evaluator import EPISODES, MAX_STEPS, Evaluator, Played
from continual_arcade.evaluation.protocol import AT_END, EVERY, SPACING, Judging, Protocol
from continual_arcade.evaluation.rewinding import rewind
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.runs import Run
from continual_arcade.evaluation.showing import show
from continual_arcade.scripts import lives
from continual_arcade.scripts.catalogue import catalogue
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.probes import PROBES
from continual_arcade.scripts.provenance import provenance


@dataclass(frozen=True)
class Train:
    """Train a DQN through a whole life; evaluate it on the way; show what it forgot."""

    game: Literal["FlappyBird", "Catcher"] = "FlappyBird"
    """What is played."""
    schedule: str = "shrink"
    """What drifts: shrink, grow, cycle, shuffle:SEED, drift, conflict, stationary, or a .toml or
    .json file."""
    phase_steps: int | None = None
    """Make every phase this long [lifetime steps]."""
    only_phase: str | None = None
    """Live in this phase alone, index or name: an expert, beside which a whole life is judged."""
    method: str = "finetune"
    """Continual-learning method; they are listed above."""
    replay: str | None = None
    """Kind of replay instead of the method's: fifo, reservoir, balanced, or
    mix:fifo_size=N,long_term_fraction=F."""
    part: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A part to add to the method's, such as ewc:lam=10; may be given several times. They are
    listed above."""
    seed: int = 0
    """Seed of everything that is random."""
    out: Path = Path("runs")
    """Folder in which the run gets a folder of its own."""
    resume: Path | None = None
    """Folder of a run to go on with where it was cut off; all else is then as it was."""
    save_every: int = 12_500
    """Interval between the states from which a run can go on [lifetime steps]; 0 for none."""
    eval_every: int = EVERY
    """Interval between evaluations beside those at phase ends, from the beginning of each phase
    [lifetime steps]; 0 for none."""
    eval_at_end: int = AT_END
    """Evaluations whose mean stands for the end of a phase."""
    eval_spacing: int = SPACING
    """Interval between those [lifetime steps]."""
    eval_episodes: int = EPISODES
    """Episodes of an evaluation in each phase."""
    eval_max_steps: int = MAX_STEPS
    """Limit of an evaluation episode [steps]."""
    progress: bool = True
    """Show a progress bar, and each evaluation."""
    dqn: Annotated[DQNSettings, tyro.conf.arg(name="dqn")] = field(default_factory=DQNSettings)
    """How the agent learns."""


@dataclass(frozen=True)
class TrainMany(Train):
    """What can be asked of the command: one life, or several that differ by their seed."""

    seeds: str | None = None
    """Train a life for each of these seeds, side by side: 0..19 (both ends), 0,3,7 or 0..4,8."""
    jobs: int | None = None
    """Lives at a time, each in a process of its own; as many as there are cores if not given."""


@dataclass(frozen=True)
class _Prepared:
    """A life whose arguments make sense, and of which nothing is on the disk yet."""

    agent: ContinualDQN
    schedule: Schedule
    folder: RunFolder
    config: dict[str, Any]
    callbacks: "_Callbacks"


def train(args: Train) -> RunFolder:
    """Train one agent, or go on with one.

    Returns:
        The folder of the run.

    Raises:
        ValueError: If an argument makes no sense; said before anything is written.
        DivergedError: If the loss is not finite any more; the agent from before is kept.
        OSError: If the run cannot be written.
    """
    # Networks of this size gain nothing from a second thread, and lose much when cores are shared.
    torch.set_num_threads(1)
    return _begin(args) if args.resume is None else _go_on(args)


def _begin(args: Train) -> RunFolder:
    life = _prepare(args)
    # Made last, so that a mistake in the arguments leaves nothing behind.
    life.folder.make()
    life.folder.write_config(life.config)
    print(f"{lives.FOLDER_IS}{life.folder.path}", flush=True)
    print(f"engine: {life.agent.engine_report}", flush=True)
    return _live(life.agent, life.schedule, life.folder, life.callbacks)


def _prepare(args: Train) -> _Prepared:
    if args.save_every < 0:
        raise ValueError(f"save_every = {args.save_every} must not be negative; 0 is for never")
    schedule = _schedule(args)
    method = compose(args.method, args.replay, args.part)
    settings = settings_of(method, args.dqn, schedule)
    if settings.learning_starts >= schedule.total_steps:
        raise ValueError(
            f"learning_starts = {settings.learning_starts:,}, but the life ends after "
            f"{schedule.total_steps:,} steps: nothing would be learnt"
        )
    agent = build_agent(args.game, schedule, settings, args.seed, method)
    # What runs is written down, so that the run goes on with it wherever it is resumed.
    agent.engine = "compiled" if agent.runs_compiled else "torch"
    settings = replace(settings, engine=agent.engine)
    judging = Judging(
        every=args.eval_every,
        at_end=args.eval_at_end,
        spacing=args.eval_spacing,
        episodes=args.eval_episodes,
        max_steps=args.eval_max_steps,
    )
    protocol = Protocol(args.game, IDS[args.game], schedule, judging)
    config = _config(args, protocol, method, settings)
    folder = RunFolder.new(args.out, args.game, schedule.name, method.name, args.seed)
    callbacks = _Callbacks(config, protocol, folder, shown=args.progress)
    return _Prepared(agent, schedule, folder, config, callbacks)


def _schedule(args: Train) -> Schedule:
    """Return the life that is asked for."""
    schedule = as_schedule(args.schedule, make_game(args.game))
    if args.phase_steps is not None:
        schedule = schedule.with_steps(args.phase_steps)
    if args.only_phase is not None:
        phase = args.only_phase
        schedule = schedule.single(int(phase) if phase.isdecimal() else phase)
    return schedule


def _go_on(args: Train) -> RunFolder:
    assert args.resume is not None
    default = Train(resume=args.resume, progress=args.progress)
    for given in fields(Train):
        if getattr(args, given.name) != getattr(default, given.name):
            raise ValueError(
                f"{given.name} = {getattr(args, given.name)} cannot be set with --resume: a run "
                "goes on as it began"
            )
    folder = RunFolder.open(args.resume)
    config = folder.read_config()
    protocol = Protocol.from_config(config)
    schedule = protocol.schedule
    method = Method.from_dict(config["method_spec"])
    settings = DQNSettings.from_dict(config["settings"])
    if folder.training_state.exists():
        life = make_life(config["game"], schedule, settings.num_envs)
        agent = ContinualDQN.load(
            folder.training_state, env=life, device="cpu", engine=settings.engine
        )
        begun = [(part.name, part.settings) for part in method.make_parts()]
        found = [(part.name, part.settings) for part in agent.parts]
        if (agent.seed, found) != (config["seed"], begun):
            raise ValueError(
                f"{folder.training_state} belongs to another run: it has seed {agent.seed} and "
                f"parts {found}, this run has seed {config['seed']} and parts {begun}"
            )
    else:  # it was cut off before anything was kept, and begins anew
        agent = build_agent(config["game"], schedule, settings, config["seed"], method)
    if agent.num_timesteps >= schedule.total_steps:
        # Perhaps it was cut off before it could show what came out.
        console = Console()
        show(Run.load(folder.path), folder.path, console)
        console.print("it was trained to the end of its life before")
        return folder
    callbacks = _Callbacks(config, protocol, folder, shown=args.progress)
    rewind(folder, agent.num_timesteps)
    return _live(agent, schedule, folder, callbacks)


def _live(
    agent: ContinualDQN, schedule: Schedule, folder: RunFolder, callbacks: "_Callbacks"
) -> RunFolder:
    """Train to the end of life, and show what was forgotten."""
    logger = Logger(
        str(folder.path), [CSVOutputFormat(str(folder.progress_from(agent.num_timesteps)))]
    )
    agent.set_logger(logger)
    lived = agent.num_timesteps
    begun = time.perf_counter()
    with closing(logger), closing(callbacks.progress.bar):
        try:
            agent.learn(
                schedule.total_steps - lived,
                callback=CallbackList(callbacks.all),
                reset_num_timesteps=lived == 0,
            )
        except DivergedError as error:
            finite = folder.path / "checkpoints" / "before_divergence.zip"
            agent.save(finite)
            evaluated = max(folder.checkpoints().items())[1]
            raise DivergedError(
                f"{error}. The agent as it was evaluated last is in {evaluated}; its last finite "
                f"parameters, which may be far off already, are in {finite}"
            ) from error
    elapsed = time.perf_counter() - begun
    console = Console()
    show(Run.load(folder.path), folder.path, console)
    evaluation = callbacks.evaluation
    console.print(
        f"trained {schedule.total_steps - lived:,} steps in {elapsed - evaluation.seconds:.0f} s, "
        f"evaluated {evaluation.steps:,} steps in {evaluation.seconds:.0f} s"
    )
    return folder


def _config(
    args: Train, protocol: Protocol, method: Method, settings: DQNSettings
) -> dict[str, Any]:
    return {
        "game": protocol.game,
        "env": protocol.env,
        "schedule": protocol.schedule.to_dict(),
        "fingerprint": protocol.schedule.fingerprint,
        "method": method.name,
        "method_spec": method.to_dict(),
        "seed": args.seed,
        "settings": asdict(settings),
        "save_every": args.save_every,
        "evaluation": asdict(protocol.judging),
        "command": sys.argv,
        **provenance(),
    }


class _Callbacks:
    """What happens on the way through a life."""

    def __init__(
        self,
        config: dict[str, Any],
        protocol: Protocol,
        folder: RunFolder,
        *,
        shown: bool,
    ) -> None:
        evaluator = protocol.make_evaluator()
        self.progress = _Progress(protocol.schedule, evaluator, shown=shown)
        self.evaluation = EvaluationCallback(
            evaluator,
            protocol.timetable,
            folder,
            seed=config["seed"],
            probes=PROBES,
            report=self.progress.report,
        )
        saves = _Saves(folder.training_state, config["save_every"])
        self.all: list[BaseCallback] = [self.evaluation, saves, self.progress]


class _Saves(BaseCallback):
    """Keeps, now and then, all that training needs to go on."""

    def __init__(self, path: Path, every: int) -> None:
        super().__init__()
        self.path = path
        self.every = every
        self._intervals = 0

    def _on_training_start(self) -> None:
        # Nothing is kept at the very beginning: a run cut off there begins anew.
        self._intervals = self.num_timesteps // max(self.every, 1)

    def _on_rollout_start(self) -> None:
        # The one moment at which every transition is stored and learnt from.
        if self.every and self.num_timesteps // self.every > self._intervals:
            self._intervals = self.num_timesteps // self.every
            self._save()

    def _on_training_end(self) -> None:
        if self.every:
            self._save()

    def next_due(self, num_timesteps: int) -> int | None:
        """Return when the next state is to be kept."""
        return (num_timesteps // self.every + 1) * self.every if self.every else None

    def _save(self) -> None:
        agent = self.model
        assert isinstance(agent, ContinualDQN)
        agent.save_training(self.path)

    def _on_step(self) -> bool:
        return True


class _Progress(BaseCallback):
    """A bar that shows how far the life has come, and how the last evaluation went."""

    def __init__(self, schedule: Schedule, evaluator: Evaluator, *, shown: bool) -> None:
        super().__init__()
        self.schedule = schedule
        self.evaluator = evaluator
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
            name = self.schedule.stretches[phase].name
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
            self.bar.write(f"step {step:>9,}  mean {self.evaluator.env.game.points}: {means}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    given = sys.argv[1:] if arguments is None else arguments
    listed = catalogue() if {"-h", "--help"} & set(given) else ""
    args = tyro.cli(TrainMany, args=given, description=f"{__doc__}\n{listed}")

    def command() -> None:
        if args.resume is not None:
            _check_alone(given)
        if args.seeds is None and args.jobs is None:
            print(f"the run is in {train(args).path}")
        else:
            _train_many(args, given)

    run(command)


def _train_many(args: TrainMany, given: Sequence[str]) -> None:
    """Check what all lives are told, once and before anything is written, and train them."""
    if args.seeds is None:
        raise ValueError(f"jobs = {args.jobs} is for many lives: name their seeds with --seeds")
    if any(argument.partition("=")[0] == "--seed" for argument in given):
        raise ValueError("--seed and --seeds cannot be given together: name all seeds in --seeds")
    seeds = lives.parse_seeds(args.seeds)
    jobs = lives.cores() if args.jobs is None else args.jobs
    if jobs < 1:
        raise ValueError(f"jobs = {jobs} must be at least 1")
    life = _prepare(replace(args, seed=seeds[0], progress=False))
    life.folder.make_root()
    warm_up(args)
    others = lives.without(("--seeds", "--jobs"), given)
    lives.live(seeds, jobs, others, life.schedule.total_steps, shown=args.progress)


def warm_up(args: Train) -> None:
    """Compile what all lives run, once, so that they do not all do it at the same time.

    The machine code goes to a cache on the disk, where their processes find it.

    Args:
        args: What is trained.
    """
    schedule = _schedule(args)
    method = compose(args.method, args.replay, args.part)
    settings = replace(settings_of(method, args.dqn, schedule), learning_starts=1)
    agent = build_agent(args.game, schedule, settings, args.seed, method)
    agent.learn(2 * settings.num_envs)
    env = agent.get_env()
    assert env is not None
    agent.predict(env.reset(), deterministic=True)
    env.close()


def _check_alone(given: Sequence[str]) -> None:
    """Refuse what cannot be given with --resume, also where it equals a default."""
    for argument in given:
        name = argument.partition("=")[0].replace("_", "-")  # both are the same to tyro
        if name.startswith("-") and name not in ("--resume", "--progress", "--no-progress"):
            raise ValueError(f"{name} cannot be given with --resume: a run goes on as it began")


if __name__ == "__main__":
    main()
