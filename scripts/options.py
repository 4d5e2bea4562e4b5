"""What can be asked of the commands that take seconds to load; to read it takes none of them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from continual_arcade.agents.settings import DQNSettings
from continual_arcade.envs.context import HIDDEN, ContextKind
from continual_arcade.envs.picture_format import FEATURES, ObservationKind
from continual_arcade.evaluation.evaluator import EPISODES, MAX_STEPS
from continual_arcade.evaluation.protocol import AT_END, EVERY, SPACING
from continual_arcade.evaluation.timetable import SAVE_EVERY
from continual_arcade.scripts.games import FIRST, GameName

_Name = Annotated[str, tyro.conf.Positional]


@dataclass(frozen=True)
class Train:
    """Train an agent through a schedule of phases; evaluate it on the way; show what it forgot."""

    game: GameName = FIRST
    """What is played."""
    schedule: str = "shrink"
    """What drifts: shrink, grow, cycle, shuffle:SEED, drift, conflict, stationary, or a .toml or
    .json file."""
    phase_steps: int | None = None
    """Make every phase this long [lifetime steps]."""
    context: ContextKind = HIDDEN
    """What of its phase an observation shows: nothing (hidden), the parameters (params), the index
    of the phase (one-hot), or the task that the agent infers (inferred)."""
    observation: ObservationKind = FEATURES
    """What the agent sees: features, or pictures (pixels)."""
    screen_size: int | None = None
    """Rows and columns of the pictures [pixels]; 84 if not given."""
    stack: int | None = None
    """Pictures that are seen at once; 4 if not given."""
    colour: bool = False
    """Whether the pictures are coloured, not grey."""
    frame_skip: int = 1
    """Frames that each step plays with the same action."""
    scenario: str | None = None
    """Name of a scenario, or its .toml file, instead of all of the above; how the agent learns
    there is that of the scenario, but for what is said here."""
    only_phase: str | None = None
    """Train in this phase alone, index or name: an expert, to which whole runs are compared."""
    algorithm: str = "dqn"
    """What learns: the DQN of this suite, or an algorithm of Stable-Baselines3 with its settings,
    such as ppo or ppo:n_steps=128,hidden=64x64; they are listed above. Those take the methods
    finetune, from-scratch and joint, and no parts."""
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
    """Folder of a run to resume where it was cut off; all else is then as it was."""
    save_every: int = SAVE_EVERY
    """Interval between the states from which a run can be resumed [lifetime steps]; 0 for none."""
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
    probes: bool = True
    """Measure the network at each evaluation, too: dormant units, and gradients of phases."""
    progress: bool = True
    """Show a progress bar, and each evaluation."""
    dqn: Annotated[DQNSettings, tyro.conf.arg(name="dqn")] = field(default_factory=DQNSettings)
    """How the agent learns, if it is a DQN."""


@dataclass(frozen=True)
class TrainMany(Train):
    """What can be asked of the command: one run, or several that differ by their seed."""

    seeds: str | None = None
    """Train a run for each of these seeds, side by side: 0..19 (both ends), 0,3,7 or 0..4,8. Those
    that are finished in --out are not repeated, those that were cut off are resumed."""
    jobs: int | None = None
    """Runs at a time, each in a process of its own; as many as there are cores if not given."""


@dataclass(frozen=True)
class Evaluate:
    """Play the checkpoints of a run again, and compute its table and matrix again."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    episodes: int | None = None
    """Episodes in each phase; as in the run if not given."""
    max_steps: int | None = None
    """Limit of an episode [steps]; as in the run if not given."""
    jobs: int = 1
    """Checkpoints at a time, each in a process of its own."""
    out: Path | None = None
    """New folder for the table and the pictures; one inside the run if not given."""


@dataclass(frozen=True)
class Report:
    """Write one page about runs: tables, curves, matrices and films."""

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of runs."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("report.html")
    """Page to write; pictures and tables as files go to a folder beside it."""
    against: str | None = None
    """Method to take the differences of the others from; if not given: finetune, or the first."""
    baselines: tyro.conf.UseAppendAction[tuple[Path, ...]] = ()
    """Folder of a run in a single phase (train --only-phase), for the metrics that need
    one; may be given several times."""
    references: Path | None = None
    """Scores of random play and of the oracle; those that come with the suite if not given."""
    mixed: bool = False
    """Take runs of different protocols. Each protocol has its own sections, and nothing is computed
    over several."""
    unfinished: bool = False
    """Take runs that did not come to their end, too. What they lack is missing in all that they are
    part of."""
    title: str | None = None
    """Heading of the page; game and schedule if not given."""
    about: str = ""
    """What the runs are for, in a sentence below the heading."""
    film_seconds: float = 4.0
    """Length of each film [s]; 0 for none."""
    saliency: bool = False
    """Show in films what the agent sees, and mark in it what its choice depends on: the gradient of
    the chosen value by what is seen."""


@dataclass(frozen=True)
class Workers:
    """What trains the runs."""

    jobs: int | None = None
    """Runs at a time; as many as there are cores, here or in the Ray cluster, if not given."""
    cluster: str = "loky"
    """Where: loky is this machine, ray a cluster with Ray, any other name a backend of joblib."""
    address: str | None = None
    """Of the Ray cluster: auto, or host:port of its head; the value of RAY_ADDRESS if not given.
    With neither, Ray is started on this machine alone."""


@dataclass(frozen=True)
class Run(Workers):
    """Run a study; one that was cut off is resumed."""

    file: _Name = "quick"
    """A study file, or the name of one that comes with the suite: quick, classic, full."""
    out: Path = Path("runs")
    """Folder in which the study gets a folder of its own."""
    dry_run: bool = False
    """Print the runs, what they will cost, the disk they need and which differences so many seeds
    can show, and run nothing."""
    difference: float | None = None
    """With --dry-run: print how many seeds it takes to show a difference between two methods, in
    the unit of the score at the end (pipes passed, pellets caught)."""
    remake: bool = False
    """Re-run what was finished, and whose folders are missing."""


@dataclass(frozen=True)
class Resume(Workers):
    """Resume a study that was cut off."""

    study: _Name = "quick"
    """Folder of the study, or its file or name."""
    out: Path = Path("runs")
    """Folder in which the study has its folder, if its file or name is given."""
    remake: bool = False
    """Re-run what was finished, and whose folders are missing."""


@dataclass(frozen=True)
class Add(Workers):
    """Take more seeds, methods, schedules or references into a study, and run what is new."""

    file: _Name = "quick"
    """The study file, to which they were added."""
    out: Path = Path("runs")
    """Folder in which the study has its folder."""


@dataclass(frozen=True)
class Status:
    """Say how far a study has come."""

    study: _Name = "quick"
    """Folder of the study, or its file or name."""
    out: Path = Path("runs")
    """Folder in which the study has its folder, if its file or name is given."""
    all: bool = False
    """List every run."""


@dataclass(frozen=True)
class MakeReport:
    """Write a page about a study."""

    study: _Name = "quick"
    """Folder of the study, or its file or name."""
    out: Path = Path("runs")
    """Folder in which the study has its folder, if its file or name is given."""
    page: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Page to write; report.html in the folder of the study if not given."""
    against: str | None = None
    """Method to take the differences of the others from; finetune, or the first, if not given."""
    unfinished: bool = False
    """Report what is there, though runs are lacking."""
    film_seconds: float = 0.0
    """Length of each film [s]; 0 for none."""
    saliency: bool = False
    """Show in films what the agent sees, and mark in it what its choice depends on."""


@dataclass(frozen=True)
class Publish:
    """Write the results of a study as small files: CSV of runs and methods, tables, a picture."""

    study: _Name = "quick"
    """Folder of the study, or its file or name."""
    out: Path = Path("runs")
    """Folder in which the study has its folder, if its file or name is given."""
    to: Path = Path("results")
    """Folder for the files."""
    against: str = "finetune"
    """Method to take the differences of the others from."""


@dataclass(frozen=True)
class Verify(Workers):
    """Re-run a random share of the runs of a study, and compare the results."""

    study: _Name = "quick"
    """Folder of the study, or its file or name."""
    out: Path = Path("runs")
    """Folder in which the study has its folder, if its file or name is given."""
    share: float = 0.02
    """Which part of the runs; at least one run."""
    draw_seed: int | None = None
    """Seed of the draw; another one each time if not given."""


@dataclass(frozen=True)
class Tune(Workers):
    """Search the settings of methods, as many trials for each."""

    file: _Name = "presets"
    """A tuning file, or the name of the one that comes with the suite: presets."""
    out: Path = Path("runs")
    """Folder in which the tuning gets a folder of its own."""


@dataclass(frozen=True)
class Card(Workers):
    """Measure the card of a scenario: experts, joint and methods are trained in it."""

    scenario: Annotated[str, tyro.conf.Positional] = ""
    """Name of a scenario, or its .toml file."""
    methods: tuple[str, ...] = ("finetune", "reservoir", "mer")
    """What is trained beside the experts and joint; finetune among them. The share of decided pairs
    is of these."""
    seeds: str = "0..9"
    """Seeds of the runs; for the share of decided pairs it takes 20."""
    out: Path = Path("runs")
    """Folder in which the runs get a folder of their own; what is finished there is not repeated,
    and counts."""
    to: Path | None = None
    """Folder for NAME.toml, NAME.md and the pictures; that of the runs if not given. Dry runs of
    studies read the card from the folder `cards` beside the file of the scenario."""
