"""Runs and their groups: those of one protocol are comparable, those of a group differ by seed."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from continual_arcade.agents.settings import BEFORE
from continual_arcade.envs.games import ENVIRONMENTS, make_game
from continual_arcade.evaluation import costs, footprints, network_diagnostics
from continual_arcade.evaluation.policies import Network
from continual_arcade.evaluation.protocol import Protocol
from continual_arcade.evaluation.record import Record, Value
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.score_range import score_range
from continual_arcade.evaluation.table import read


@dataclass(frozen=True)
class Run:
    """One run: its configuration, and its results."""

    folder: RunFolder
    config: dict[str, Any]
    protocol: Protocol
    table: pd.DataFrame
    """The tidy table."""
    diagnostics: pd.DataFrame | None = None
    """The network diagnostics, None if none were measured."""
    costs: pd.DataFrame | None = None
    """What evaluation has cost, None if it was not written down."""
    footprints: pd.DataFrame | None = None
    """What the agent took and kept, None if it was not written down."""
    progress: pd.DataFrame | None = None
    """The log of training, None if there is none."""

    @classmethod
    def load(cls, path: Path) -> "Run":
        """Read a run from the disk.

        Raises:
            FileNotFoundError: If there is none, or no evaluation yet.
            ValueError: If it is damaged; the message says what.
        """
        folder = RunFolder.open(path)
        config = folder.read_config()
        if not folder.table.exists():
            raise FileNotFoundError(f"{path} has no evaluations.csv: it was not evaluated yet")
        # In the reverse of the order in which a run writes them, so that none is ahead of the table
        # of evaluations while it is being written. One that is damaged says nothing to be trusted.
        progress = folder.read_progress()
        held = footprints.read(folder.footprints) if folder.footprints.exists() else None
        cost = costs.read(folder.costs) if folder.costs.exists() else None
        readings = (
            network_diagnostics.read(folder.diagnostics) if folder.diagnostics.exists() else None
        )
        table, protocol = read(folder.table), Protocol.from_config(config)
        run = cls(folder, config, protocol, table, readings, cost, held, progress)
        seeds = run.table["seed"].unique().tolist()
        if seeds != [config["seed"]]:
            raise ValueError(
                f"{folder.table} holds seeds {seeds}, the run has seed {config['seed']}"
            )
        settings = run.protocol.evaluation
        strange = run.table["eval_seed"] != run.table["episode"] + settings.first_seed
        if strange.any():
            line = int(strange.to_numpy().argmax()) + 2
            raise ValueError(f"{folder.table}: line {line} was played with another seed")
        _ = run.scores  # the table and the schedule fit
        if wrong := run.impossible:
            raise ValueError(f"{folder.table}: {wrong}")
        run._check_diagnostics()
        return run

    def _check_diagnostics(self) -> None:
        """Check that the diagnostics are those of this run, and of what it has evaluated."""
        if self.diagnostics is None:
            return
        path = self.folder.diagnostics
        for name in ("seed", "run"):
            if others := set(self.diagnostics[name]) - set(self.table[name]):
                raise ValueError(f"{path} is that of another run: it holds {name} {min(others)}")
        evaluated = self.table["lifetime_step"]
        if not (unknown := set(self.diagnostics["lifetime_step"]) - set(evaluated)):
            return
        first, last = min(unknown), evaluated.max()
        if first > last:
            raise ValueError(
                f"{path} is ahead of {self.folder.table.name}, which ends at step {last:,}, and "
                f"holds step {first:,}: either the run is just being written, then read it again, "
                "or the end of the table was lost"
            )
        raise ValueError(
            f"{path} holds step {first:,}, which {self.folder.table.name} does not: it is that of "
            "another run, or rows of the table were lost"
        )

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.config["seed"])

    @property
    def num_envs(self) -> int:
        """Environments that step together: so many lifetime steps pass at once."""
        return int(self.config["settings"].get("num_envs", 1))

    @property
    def method(self) -> str:
        """Name of the method."""
        return str(self.config["method"])

    @property
    def is_external(self) -> bool:
        """Whether its agent is of another library, with only a part of its settings known.

        Its checkpoints, if there are any, are those of another library.
        """
        return self.config["method_spec"] is None

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings of the learner, and what the method adds: one name need not be one method."""
        if self.is_external:
            return dict(self.config["settings"])
        spec = self.config["method_spec"]
        if "algorithm" in self.config:  # of which no replay and no part of the DQN is
            name = self.config["algorithm"]
            of_method = {"from_scratch": bool(spec["parts"]), "interleaved": spec["interleaved"]}
            return {"algorithm": name, **self.config["settings"], **of_method}
        added = {name: spec[name] for name in ("replay", "parts", "remembers_all", "interleaved")}
        added["parts"] = "+".join(added["parts"]) or "none"
        return {"algorithm": "dqn", **BEFORE, **self.config["settings"], **added}

    @cached_property
    def network(self) -> Network:
        """By which weights its agent is evaluated: their average along the way, or the last ones.

        Both are in its table where there is an average.
        """
        return "average" if "average" in set(self.table["network"]) else "last"

    def record(self, value: Value, network: Network | None = None) -> Record:
        """Return the evaluations as arrays.

        Args:
            value: Which column counts.
            network: By which weights the agent plays; by those it is evaluated by if not given.

        Raises:
            ValueError: If it was not evaluated by these.
        """
        timetable, steps = self.protocol.timetable, self.table["lifetime_step"]
        # Training in chunks longer than a step continues past the end, where no phase is.
        end = timetable.expected(self.num_envs)[-1].step
        return Record.from_table(
            self.table[steps <= end],
            self.protocol.schedule,
            value=value,
            timetable=timetable,
            episodes=self.protocol.evaluation.episodes,
            stride=self.num_envs,
            network=network or self.network,
        )

    @cached_property
    def scores(self) -> Record:
        """The scores of its evaluations."""
        return self.record("score")

    @cached_property
    def impossible(self) -> str:
        """The error message of an impossible score; empty if there is none."""
        possible = score_range(self.protocol)
        if possible is None:
            return ""
        record = self.scores
        for row, column, episode in np.argwhere(possible.impossible(record.values))[:1]:
            return (
                f"a score of {record.values[row, column, episode]:g} in {record.labels[column]}, "
                f"episode {episode}, at step {record.steps[row]:,} is impossible: there it is "
                f"between 0 and {possible.highest[column, episode]:g} in "
                f"{self.protocol.evaluation.max_steps:,} steps"
            )
        return ""

    @cached_property
    def unfinished(self) -> str:
        """Why the run has no end to be evaluated; empty if it has one."""
        for network in sorted(set(self.table["network"])):
            record = self.record("score", network)
            columns = np.arange(len(record.phases))
            if why := record.why_missing(record.ends[-1], columns):
                return why
        return ""


@dataclass
class Group:
    """Runs that differ only by their seed."""

    method: str
    settings: dict[str, Any]
    runs: dict[int, Run] = field(default_factory=dict)
    """By seed, ascending once all are gathered."""

    @property
    def seeds(self) -> list[int]:
        """Seeds of the runs, ascending."""
        return list(self.runs)

    def label(self, groups: Sequence["Group"]) -> str:
        """Name it among others: its method, and the settings in which its namesakes differ."""
        namesakes = [other.settings for other in groups if other.method == self.method]
        differing = [
            f"{name}={value}"
            for name, value in self.settings.items()
            if any(settings.get(name) != value for settings in namesakes)
        ]
        return ", ".join([self.method, *differing])


@dataclass
class Comparison:
    """Runs whose numbers are comparable: one environment, schedule and evaluation."""

    protocol: Protocol
    groups: list[Group]
    distinction: str = ""
    """What distinguishes it from others of the same game and schedule, if there are any."""

    @property
    def game_and_schedule(self) -> str:
        """Game and schedule that the agents were trained in."""
        return f"{self.protocol.game}, {self.protocol.schedule.name}"

    @property
    def title(self) -> str:
        """The same, and what distinguishes it."""
        named = self.game_and_schedule
        return f"{named} ({self.distinction})" if self.distinction else named

    @property
    def points(self) -> str:
        """What the score counts."""
        return points_of(self.protocol)

    @property
    def labels(self) -> list[str]:
        """Name of each group."""
        return [group.label(self.groups) for group in self.groups]


@dataclass(frozen=True)
class LeftOut:
    """A run that says nothing, and why."""

    path: Path
    reason: str
    unfinished: bool = False
    """Whether it is that it did not finish, and nothing else."""

    def __str__(self) -> str:
        return f"left out: {self.path}: {self.reason}"


@dataclass(frozen=True)
class Gathered:
    """All runs that were asked for."""

    comparisons: list[Comparison]
    left_out: list[LeftOut]

    @property
    def why_empty(self) -> str:
        """Why there is no run in it, where there is none."""
        if all(left.unfinished for left in self.left_out):
            return "no run was trained to its end"
        return "all runs were left out"

    def check_comparable(self) -> None:
        """Check that all runs are of one protocol, so that their numbers are comparable.

        Raises:
            ValueError: If not; the message names two runs of each pair, and all in which they
                differ.
        """
        if len(self.comparisons) < 2:
            return
        first, *others = self.comparisons
        lines = ["runs of different protocols are not comparable:"]
        for comparison in others:
            differences = "; ".join(first.protocol.differences(comparison.protocol))
            one, other = (next(iter(c.groups[0].runs.values())) for c in (first, comparison))
            lines.append(f"  {one.folder.path} and {other.folder.path}: {differences}")
        lines.append("leave some out, or give --mixed, which keeps each protocol to itself")
        raise ValueError("\n".join(lines))


def gather(paths: Iterable[Path], *, unfinished: bool = False) -> Gathered:
    """Read runs, and group them by protocol, method and settings.

    Args:
        paths: Folders of runs.
        unfinished: Take runs that did not finish, too: what they lack is then missing in
            all that they are part of.

    Returns:
        The runs by comparison and group, in the order in which they are given, and those left out
        because they are damaged, hold no evaluation, or did not finish.

    Raises:
        ValueError: If no folder is given, or two runs of a group have the same seed.
        FileNotFoundError: If a folder is no run.
    """
    comparisons: dict[Any, Comparison] = {}
    groups: dict[Any, Group] = {}
    left_out = []
    given = list(paths)
    if not given:
        raise ValueError("no run is given: name at least one folder")
    for path in given:
        RunFolder.open(path)  # what is no run at all is a slip of the keyboard
    for path in given:
        try:
            run = Run.load(path)
        except (ValueError, OSError) as error:
            left_out.append(LeftOut(path, str(error)))
            continue
        if run.unfinished and not unfinished:
            left_out.append(LeftOut(path, run.unfinished, unfinished=True))
            continue
        key = run.protocol.key
        comparison = comparisons.setdefault(key, Comparison(run.protocol, []))
        of_group = (key, run.method, json.dumps(run.settings, sort_keys=True))
        if of_group not in groups:
            groups[of_group] = Group(run.method, run.settings)
            comparison.groups.append(groups[of_group])
        group = groups[of_group]
        if run.seed in group.runs:
            raise ValueError(
                f"seed {run.seed} is there twice ({group.runs[run.seed].folder.path} and {path}): "
                "the same run is no new evidence, leave one out"
            )
        group.runs[run.seed] = run
    for group in groups.values():
        group.runs = dict(sorted(group.runs.items()))
    _distinguish(list(comparisons.values()))
    return Gathered(list(comparisons.values()), left_out)


def points_of(protocol: Protocol) -> str:
    """Return what the score of a game counts; of those that are not the suite's it is a score."""
    game, options = protocol.game, protocol.options
    return make_game(game, **options).points if game in ENVIRONMENTS else "score"


def _distinguish(comparisons: Sequence[Comparison]) -> None:
    """Name the differences between comparisons that would have the same title."""
    titles = [comparison.title for comparison in comparisons]
    for comparison, title in zip(comparisons, titles, strict=True):
        namesakes = [
            one.protocol for one, other in zip(comparisons, titles, strict=True) if other == title
        ]
        comparison.distinction = comparison.protocol.distinction(namesakes)
