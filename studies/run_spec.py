"""One run: from what is asked for to a folder on the disk, and resuming one that was cut off."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger

from continual_arcade.agents.algorithms.catalogue import (
    ALGORITHMS,
    DQN,
    AnySettings,
    check_method,
    settings_class,
)
from continual_arcade.agents.building import (
    build_agent,
    check_told,
    inference_settings,
    make_training_env,
    settings_of,
    training_schedule,
)
from continual_arcade.agents.continual_dqn import ContinualDQN, DivergedError
from continual_arcade.agents.footprint import footprint
from continual_arcade.agents.methods import METHODS, Method
from continual_arcade.agents.sb3.agent import SB3Agent
from continual_arcade.agents.sb3.building import build_sb3_agent
from continual_arcade.agents.sb3.loading import load_agent as load_sb3_agent
from continual_arcade.agents.settings import DQNSettings
from continual_arcade.envs import make_game
from continual_arcade.envs.context import HIDDEN, INFERRED, ContextKind, check_context
from continual_arcade.envs.games import OTHER
from continual_arcade.envs.other_games import packages_of
from continual_arcade.envs.pictured import check_channels_of
from continual_arcade.envs.schedules import Schedule
from continual_arcade.evaluation.callback import EvaluationCallback
from continual_arcade.evaluation.evaluator import Played
from continual_arcade.evaluation.protocol import EvaluationSettings, Protocol, env_id
from continual_arcade.evaluation.rewinding import rewind
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.runs import Run
from continual_arcade.evaluation.score_range import score_range
from continual_arcade.evaluation.threads import one_thread
from continual_arcade.evaluation.timetable import SAVE_EVERY
from continual_arcade.studies.probes import PROBES
from continual_arcade.studies.progress import ProgressLog
from continual_arcade.studies.provenance import installed
from continual_arcade.studies.scenario import Scenario
from continual_arcade.studies.seeds import check_seed

Agent = ContinualDQN | SB3Agent
"""What is trained."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What one run is: a schedule, the learner, and how it is evaluated.

    Args:
        game: Name of the game.
        schedule: The phases.
        method: The continual-learning method.
        settings: How the agent learns, and by which algorithm; those that belong to the method are
            filled in.
        seed: Seed of everything that is random.
        evaluation: How it is evaluated.
        save_every: Interval between the states from which the run can be resumed [lifetime steps];
            0 for none.
        context: What of its phase an observation shows; see
            :class:`~continual_arcade.envs.context.Context`.
        options: Options of the game that are not as usual.
        scenario: The scenario that game, schedule, context and settings are of, if they are of one.
            It is written down, and decides about nothing.
        probes: Whether the network is measured at each evaluation, too; that of other algorithms
            than the DQN never is.

    Raises:
        ValueError: If nothing would be learnt, the interval or the seed makes no sense, game,
            schedule and context are not those of the scenario, or the algorithm cannot be trained
            by the method.
    """

    game: str
    schedule: Schedule
    method: Method = METHODS["finetune"]
    settings: AnySettings = field(default_factory=DQNSettings)
    seed: int = 0
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    save_every: int = SAVE_EVERY
    context: ContextKind = HIDDEN
    options: Mapping[str, Any] = field(default_factory=dict)
    scenario: Scenario | None = None
    probes: bool = True

    def __post_init__(self) -> None:
        check_context(self.context)
        if self.scenario is not None:
            self._check_scenario(self.scenario)
        if self.algorithm != DQN:
            check_method(self.algorithm, self.method)
            object.__setattr__(self, "probes", False)
        settings = settings_of(self.method, self.settings, self.schedule)
        if isinstance(settings, DQNSettings):
            check_told(settings, self.method.make_parts(), self.schedule, self.context)
        elif self.context == INFERRED:
            inference_settings(settings)  # raises: only a DQN infers
        object.__setattr__(self, "settings", settings)
        object.__setattr__(self, "seed", check_seed(self.seed))
        if self.save_every < 0:
            raise ValueError(f"save_every = {self.save_every} must not be negative; 0 is for never")
        settings.check_length(self.schedule.total_steps)

    def _check_scenario(self, scenario: Scenario) -> None:
        """Check that the run is one of a scenario: in all of its phases, or in one alone."""
        whole = scenario.schedule
        schedules = [whole, *map(whole.single, range(len(whole)))]
        for name, found, known in (
            ("game", self.game, {scenario.game}),
            ("context", self.context, {scenario.context}),
            ("options", _as_text(self.options), {_as_text(scenario.options)}),
            ("schedule", self.schedule.fingerprint, {each.fingerprint for each in schedules}),
        ):
            if found not in known:
                raise ValueError(
                    f"{name} = {found!r} is not that of scenario {scenario.name!r}: take it from "
                    "there, or leave the scenario out"
                )

    @property
    def algorithm(self) -> str:
        """Name of the algorithm that learns."""
        return self.settings.algorithm

    @property
    def packages(self) -> dict[str, str]:
        """Versions of the packages that it needs beside those that all runs need, if installed."""
        algorithm = ALGORITHMS.get(self.algorithm)
        library = [algorithm.library] if algorithm is not None and algorithm.extra else []
        of_others = packages_of(self.options) if self.game == OTHER else ()
        return installed([*of_others, *library])

    @cached_property
    def protocol(self) -> Protocol:
        """What its numbers depend on beside the agent."""
        env = env_id(self.game, self.options)
        return Protocol(self.game, env, self.schedule, self.evaluation, self.options, self.context)

    def to_config(self) -> dict[str, Any]:
        """Return plain data, as the configuration of a run has it."""
        return {
            **self.protocol.to_config(),
            # As runs were written before there was any scenario, or any choice of probes.
            **({} if self.scenario is None else {"scenario": self.scenario.to_dict()}),
            **({} if self.probes else {"probes": False}),
            **({} if self.algorithm == DQN else {"algorithm": self.algorithm}),
            "method": self.method.name,
            "method_spec": self.method.to_dict(),
            "seed": self.seed,
            "settings": asdict(self.settings),
            "save_every": self.save_every,
        }

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about every bit of the result, as plain data.

        Names of phases, schedules and scenarios do not, nor how often the state is kept, nor what
        else is measured of the network.
        """
        config = self.to_config()
        del config["schedule"], config["save_every"]
        config.pop("scenario", None)
        config.pop("probes", None)
        return config

    def matches(self, config: Mapping[str, Any]) -> bool:
        """Say whether a run with some configuration is this one.

        Args:
            config: As the folder of the run has it: with the engine that was found to serve.

        Raises:
            ValueError: If it makes no sense, or was written by another version.
        """
        there, asked = RunSpec.from_config(config), self
        found, settings = there.settings, asked.settings
        if (
            isinstance(settings, DQNSettings)
            and isinstance(found, DQNSettings)
            and settings.engine == "auto"
        ):
            asked = replace(asked, settings=replace(settings, engine=found.engine))
        return there.identity == asked.identity

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "RunSpec":
        """Read what :meth:`to_config` returned, with whatever else is in a configuration.

        Raises:
            ValueError: If it makes no sense, or was written by another version.
        """
        protocol = Protocol.from_config(config)
        if config["method_spec"] is None:
            raise ValueError(
                f"the agent of the run ({config['method']}) is none of this suite's: only what "
                "trained it can resume it"
            )
        scenario = config.get("scenario")
        return cls(
            game=protocol.game,
            schedule=protocol.schedule,
            method=Method.from_dict(config["method_spec"]),
            settings=settings_class(config.get("algorithm", DQN)).from_dict(config["settings"]),
            seed=config["seed"],
            evaluation=protocol.evaluation,
            save_every=config["save_every"],
            context=protocol.context,
            options=protocol.options,
            scenario=None if scenario is None else Scenario.from_dict(scenario),
            probes=config.get("probes", True),
        )

    def check_evaluation(self) -> None:
        """Check that the run can be evaluated as it is to be.

        Raises:
            ValueError: If not.
        """
        _ = self.protocol.timetable.due
        protocol = self.protocol
        if self.game == OTHER:  # its episodes are environments of their own, and all alike
            protocol = replace(protocol, evaluation=replace(self.evaluation, episodes=1))
        protocol.make_evaluator().env.close()

    def build(self) -> Agent:
        """Make the agent, and the games it is trained in.

        Raises:
            ValueError: If something makes no sense, or the library of the algorithm is not
                installed.
        """
        settings = self.settings
        what = (self.seed, self.method)
        if isinstance(settings, DQNSettings):
            return build_agent(
                self.game, self.schedule, settings, *what, context=self.context, **self.options
            )
        return build_sb3_agent(
            self.game, self.schedule, settings, *what, context=self.context, **self.options
        )

    def load(self, path: Path) -> Agent:
        """Read the agent of a state from which training is resumed.

        Raises:
            ValueError: If the file is damaged, or belongs to another run.
            OSError: If it cannot be read.
        """
        schedule = training_schedule(self.method, self.schedule, self.context)
        env = make_training_env(
            self.game,
            schedule,
            self.settings.num_envs,
            self.context,
            self.settings,
            **self.options,
        )
        if isinstance(self.settings, DQNSettings):
            engine = self.settings.engine
            agent: Agent = ContinualDQN.load(path, env=env, device="cpu", engine=engine)
        else:
            agent = load_sb3_agent(path, env)
        check_agent(agent, path, self)
        return agent


def _as_text(options: Mapping[str, Any]) -> str:
    return json.dumps(dict(options), sort_keys=True, default=str)


@dataclass(frozen=True)
class Spent:
    """What training, or resuming, has cost."""

    steps: int
    """Lifetime steps."""
    seconds: float
    """All of it, evaluation included [s]."""
    evaluation_steps: int
    evaluation_seconds: float


@dataclass(frozen=True)
class Training:
    """A run that is ready to be trained, and where it is written down."""

    spec: RunSpec
    agent: Agent
    folder: RunFolder

    @classmethod
    def prepare(cls, spec: RunSpec, folder: RunFolder) -> "Training":
        """Make the agent; nothing is on the disk yet.

        Raises:
            ValueError: If something makes no sense.
        """
        spec.check_evaluation()
        if spec.game != OTHER:
            check_channels_of(make_game(spec.game, **spec.options))
        agent = spec.build()
        if isinstance(agent, ContinualDQN) and isinstance(spec.settings, DQNSettings):
            # What runs is written down, so that the run is resumed with it anywhere.
            agent.engine = "compiled" if agent.runs_compiled else "torch"
            spec = replace(spec, settings=replace(spec.settings, engine=agent.engine))
        return cls(spec, agent, folder)

    @classmethod
    def resume(cls, folder: RunFolder) -> "Training":
        """Read a run that was cut off, and take it back to where it can be resumed.

        Raises:
            LockedError: If somebody else is writing it; the message says who.
            ValueError: If it is damaged, or its parts are of several runs.
            OSError: If it cannot be read.
        """
        with folder.lock.hold():
            return cls._resumed(folder)

    @classmethod
    def _resumed(cls, folder: RunFolder) -> "Training":
        spec = RunSpec.from_config(folder.read_config())
        state = folder.training_state
        if not spec.save_every and _is_whole(folder):
            state = max(folder.checkpoints().items())[1]  # it has no state, and needs none any more
        if not state.exists():
            # It was cut off before anything was kept, and is trained from scratch.
            rewind(folder, 0)
            return cls(spec, spec.build(), folder)
        agent = spec.load(state)
        training = cls(spec, agent, folder)
        if not training.is_over:
            rewind(folder, agent.num_timesteps)
        return training

    @property
    def is_over(self) -> bool:
        """Whether it was trained to the end of its schedule."""
        return self.agent.num_timesteps >= self.spec.schedule.total_steps

    def write(self, about: Mapping[str, Any]) -> None:
        """Make the folder, and write down what is run.

        Args:
            about: What else belongs to the configuration: command, versions, commit.

        Raises:
            OSError: If that cannot be written.
        """
        self.folder.make()
        with self.folder.lock.hold():
            others = {"packages": self.spec.packages} if self.spec.packages else {}
            self.folder.write_config({**self.spec.to_config(), **about, **others})

    def train(
        self,
        callbacks: Iterable[BaseCallback] = (),
        report: Callable[[int, Played], None] = lambda step, played: None,
    ) -> Spent:
        """Train to the end of the schedule, evaluate on the way, and keep everything.

        Args:
            callbacks: What else happens on the way.
            report: Called after each evaluation with the lifetime step and the scores.

        Raises:
            LockedError: If somebody else is writing the run; the message says who.
            DivergedError: If the loss is not finite any more; the agent from before is kept.
            OSError: If something cannot be written.
        """
        with self.folder.lock.hold():
            return self._train(callbacks, report)

    def _train(
        self, callbacks: Iterable[BaseCallback], report: Callable[[int, Played], None]
    ) -> Spent:
        spec, agent, folder = self.spec, self.agent, self.folder
        evaluation = EvaluationCallback(
            spec.protocol.make_evaluator(),
            spec.protocol.timetable,
            folder,
            seed=spec.seed,
            probes=PROBES if spec.probes else (),
            footprint=footprint,
            report=report,
        )
        saves = _Saves(folder.training_state, spec.save_every)
        trained = agent.num_timesteps
        logger = Logger(str(folder.path), [ProgressLog(folder.progress_from(trained))])
        agent.set_logger(logger)
        begun = time.perf_counter()
        with closing(logger), one_thread():
            try:
                agent.learn(
                    spec.schedule.total_steps - trained,
                    callback=CallbackList([evaluation, saves, *callbacks]),
                    reset_num_timesteps=trained == 0,
                )
            except DivergedError as error:
                finite = folder.path / "checkpoints" / "before_divergence.zip"
                agent.save(finite)
                evaluated = max(folder.checkpoints().items())[1]
                raise DivergedError(
                    f"{error}. The agent as it was evaluated last is in {evaluated}; its last "
                    f"finite parameters, which may be far off already, are in {finite}"
                ) from error
        return Spent(
            steps=spec.schedule.total_steps - trained,
            seconds=time.perf_counter() - begun,
            evaluation_steps=evaluation.steps,
            evaluation_seconds=evaluation.seconds,
        )


def _is_whole(folder: RunFolder) -> bool:
    """Say whether all evaluations of a run are there."""
    try:
        return not Run.load(folder.path).unfinished
    except (OSError, ValueError):  # none was made, or one was cut off
        return False


def check_agent(agent: Agent, path: Path, spec: RunSpec) -> None:
    """Check that an agent is that of a run.

    Args:
        agent: The agent.
        path: Where it was read from, for the message.
        spec: The run.

    Raises:
        ValueError: If it has another seed, other parts, or another algorithm or settings of it.
    """
    asked: Any = [(part.name, part.settings) for part in spec.method.make_parts()]
    what = "parts"
    if isinstance(agent, ContinualDQN) and isinstance(spec.settings, DQNSettings):
        found: Any = [(part.name, part.settings) for part in agent.parts]
    else:
        what = "settings"
        found = agent.settings if isinstance(agent, SB3Agent) else DQN
        asked = spec.settings
        if isinstance(agent, SB3Agent) and agent.from_scratch != bool(spec.method.parts):
            raise ValueError(
                f"{path} belongs to another run: method {spec.method.name!r} is another one"
            )
    if (agent.seed, found) != (spec.seed, asked):
        raise ValueError(
            f"{path} belongs to another run: it has seed {agent.seed} and {what} {found}, this run "
            f"has seed {spec.seed} and {what} {asked}"
        )


def warm_up(spec: RunSpec) -> None:
    """Compile what a run needs, once, so that many runs do not all do it at the same time.

    The machine code goes to a cache on the disk, where their processes find it.

    Args:
        spec: One of the runs; of the same kind are all with this game, engine and size.
    """
    soon: dict[str, Any] = (
        {"learning_starts": 1} if hasattr(spec.settings, "learning_starts") else {}
    )
    spec = replace(spec, settings=replace(spec.settings, **soon))
    agent = spec.build()
    agent.learn(2 * spec.settings.num_envs)
    env = agent.get_env()
    assert env is not None
    agent.predict(env.reset(), deterministic=True)
    env.close()
    score_range(spec.protocol)


class _Saves(BaseCallback):
    """Keeps, now and then, all that training needs to be resumed."""

    def __init__(self, path: Path, every: int) -> None:
        super().__init__()
        self.path = path
        self.every = every
        self._intervals = 0

    def _on_training_start(self) -> None:
        # Nothing is kept at the very beginning: a run cut off there is trained from scratch.
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
        assert isinstance(agent, ContinualDQN | SB3Agent)
        agent.save_training(self.path)

    def _on_step(self) -> bool:
        return True
