"""Runs that differ only by their seed, each in a folder of its own, as single runs have it.

A run that was begun before is found again by what it is, so that the same command resumes what is
not finished, and does not repeat what is.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from continual_arcade.evaluation.locks import Lock
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.runs import Run
from continual_arcade.reports.run_pictures import show
from continual_arcade.studies.executors import Executor, train_all
from continual_arcade.studies.provenance import other_versions
from continual_arcade.studies.run_spec import RunSpec, Training
from continual_arcade.studies.work import FINISHED, Job, Outcome


@dataclass(frozen=True)
class SeedRuns:
    """Runs that differ only by their seed.

    Args:
        root: Folder in which each run has its folder.
        spec: One of the runs.
        about: Says what else belongs to the configuration of the run of a seed: command, versions,
            commit.
    """

    root: Path
    spec: RunSpec
    about: Callable[[int], Mapping[str, Any]]

    def find(self, seed: int) -> Path | None:
        """Return the folder of the run of a seed, if it was begun with the versions of today.

        Of several, it is one that is finished, if there is one, and then the newest. Folders that
        cannot be read are not touched, and hold no run.
        """
        spec = self._spec(seed)
        # All but the moment at which it was begun.
        name = self._new(seed).name.rpartition("__")[0]
        newest_first = sorted(self.root.glob(f"{name}__*"), reverse=True)
        found = [path for path in newest_first if _holds(path, spec)]
        return max(found, key=is_finished, default=None)

    def train(
        self,
        executor: Executor,
        seeds: Sequence[int],
        report: Callable[[int, Path, bool], None] = lambda seed, folder, resumed: None,
    ) -> Generator[tuple[int, Outcome], None, None]:
        """Train the runs of some seeds to their end, from wherever they stand.

        A run that fails does not keep the others from being trained; no more are begun once one has
        failed as all others would.

        Args:
            executor: What runs them.
            seeds: Seeds of the runs.
            report: Called when a run is handed out, with its seed, its folder, and whether it is
                resumed.

        Returns:
            The outcome of each run and its seed, in no particular order.

        Raises:
            RuntimeError: If workers die again and again over the same runs.
        """
        by_name = {f"seed {seed}": seed for seed in seeds}

        def job_of(name: str) -> Job:
            seed = by_name[name]
            folder, resumed = self._place(seed)
            report(seed, folder, resumed)
            return Job(name, folder, self._spec(seed).to_config(), self.about(seed), finish=draw)

        with closing(train_all(executor, by_name, job_of)) as outcomes:
            for outcome in outcomes:
                yield by_name[outcome.run], outcome

    def _place(self, seed: int) -> tuple[Path, bool]:
        """Return the folder of a run, and whether the run was begun there before."""
        new = self._new(seed)
        try:
            # So that two commands at the same time do not both begin a run.
            with Lock.of_folder(self.root).hold(wait=True):
                if found := self.find(seed):
                    return found, True
                Training.prepare(self._spec(seed), new).write(self.about(seed))
        except OSError:
            pass  # whoever trains it meets the same, and says so; others are trained to their end
        return new.path, False

    def _new(self, seed: int) -> RunFolder:
        spec = self.spec
        return RunFolder.new(self.root, spec.game, spec.schedule.name, spec.method.name, seed)

    def _spec(self, seed: int) -> RunSpec:
        return replace(self.spec, seed=seed)


def is_finished(folder: Path) -> bool:
    """Say whether a worker has trained a run to its end."""
    return (folder / FINISHED).is_file()


def draw(folder: Path) -> None:
    """Draw what ``train`` draws of a run that it has trained."""
    show(Run.load(folder), folder, Console(quiet=True))


def _holds(folder: Path, spec: RunSpec) -> bool:
    """Say whether a folder holds a run, of the versions of today."""
    try:
        config = RunFolder.open(folder).read_config()
        return spec.matches(config) and not other_versions(config)
    except (OSError, ValueError):
        return False
