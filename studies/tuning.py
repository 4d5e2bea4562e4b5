"""Choosing the settings of methods fairly: as many trials for each, on seeds no study uses.

The first trial of a method is of values that the file gives, the others are chosen by Optuna's
tree-structured Parzen estimator (Bergstra et al. 2011), from the values of the trials before; or
widths and number of its hidden layers are, by a progressive search (``width_search.py``). The
objective of a trial is the mean final score of its runs, averaged over phases, where random play is
0 and the oracle 1; that of a run in which learning diverged is 0.
"""

import json
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tomli_w

from continual_arcade.evaluation.atomic_files import write_text_whole
from continual_arcade.evaluation.csv_table import TidyTable
from continual_arcade.evaluation.locks import Lock
from continual_arcade.evaluation.metrics.catalogue import METRICS
from continual_arcade.evaluation.metrics.results import Context
from continual_arcade.evaluation.reference_files import shipped_references
from continual_arcade.evaluation.runs import Run
from continual_arcade.studies.executors import Executor, train_all
from continual_arcade.studies.file_values import only, value_of
from continual_arcade.studies.study import Entry, Study, method_from, read
from continual_arcade.studies.width_search import Widths, WidthSearch
from continual_arcade.studies.work import Job, Outcome

METRIC = "acc@gem"
"""What is tuned for: the mean score of all phases at the end of training."""
LIVES_OF_A_TRIAL = "trials"


@dataclass(frozen=True)
class Range:
    """What a value is searched in."""

    low: float
    high: float
    log: bool
    """Whether equal ratios are equally likely, instead of equal distances."""
    first: float
    """The value of the first trial."""


@dataclass(frozen=True)
class Candidate:
    """A method whose settings are searched for.

    Its parts and settings are as in a study, with ``{name}`` where a value is searched.
    """

    label: str
    table: Mapping[str, Any]
    search: Mapping[str, Range | Widths]
    """Ranges, or widths alone."""

    @property
    def first(self) -> dict[str, Any]:
        """The values of the first trial."""
        return {name: found.first for name, found in self.search.items()}

    @property
    def has_widths(self) -> bool:
        """Whether it is networks that are searched, and not numbers."""
        return any(isinstance(found, Widths) for found in self.search.values())

    def entry(self, values: Mapping[str, Any], study: Study) -> Entry:
        """Return the method with some values.

        Raises:
            ValueError: If they make no sense.
        """
        return method_from(self.label, self.filled(values), study.shared)

    def filled(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the table of the method as a study has it, with some values."""
        return {key: _filled(item, values) for key, item in self.table.items()}


@dataclass(frozen=True)
class Trial:
    """One line of the table of trials."""

    method: str
    trial: int
    value: float
    values: str
    """What was tried, as JSON."""
    lives: str
    """The score of each run, as JSON."""


_TRIALS = TidyTable[Trial](
    name="table of trials",
    row="trial",
    columns=("method", "trial", "value", "values", "lives"),
    texts=frozenset({"method", "values", "lives"}),
    keys=("method", "trial"),
)


@dataclass(frozen=True)
class Tuning:
    """What is searched, and by which runs."""

    study: Study
    """Its scenarios, seeds and evaluation; its methods are at their first values."""
    candidates: tuple[Candidate, ...]
    trials: int
    """Of each method."""

    @property
    def needs_optuna(self) -> bool:
        """Whether numbers are searched; widths alone are without it."""
        return any(not candidate.has_widths for candidate in self.candidates)

    @property
    def runs(self) -> int:
        """Runs of each method: its budget."""
        return self.trials * len(self.study.scenarios) * len(self.study.seeds)

    def check(self) -> None:
        """Make an agent of each method's first values, and of each width that is searched.

        Raises:
            ValueError: If something makes no sense; the message says where.
        """
        self.study.check()
        for candidate in self.candidates:
            for name, found in candidate.search.items():
                for network in found.extremes if isinstance(found, Widths) else ():
                    entry = candidate.entry({name: list(network)}, self.study)
                    try:
                        replace(self.study, entries=(entry,), references=()).check()
                    except (ValueError, RuntimeError) as error:  # of PyTorch: no memory
                        raise ValueError(f"{name} = {list(network)}: {error}") from error


def load(path: Path) -> Tuning:
    """Read what is to be tuned from a TOML file.

    Args:
        path: A study file, with ``trials`` and, for each method, a table ``search``.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If something in it makes no sense.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        trials = value_of(data, "trials", int, "a tuning")
        if trials < 1:
            raise ValueError(f"trials = {trials} must be at least 1")
        candidates = tuple(
            _candidate(label, table)
            for label, table in value_of(data, "methods", dict, "a tuning").items()
        )
        for each in candidates:
            for found in each.search.values():
                if isinstance(found, Widths):
                    found.check(trials)
        first = {each.label: each.filled(each.first) for each in candidates}
        study = {key: value for key, value in data.items() if key != "trials"}
        return Tuning(read({**study, "methods": first}, path.parent), candidates, trials)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable as TOML: {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def tune(
    tuning: Tuning,
    executor: Executor,
    out: Path,
    about: Mapping[str, Any],
    report: Callable[[Trial], None],
) -> dict[str, Trial]:
    """Search the settings of each method.

    What was finished before is not repeated: a search that was cut off is resumed.
    The lock of the folder is held meanwhile.

    Args:
        tuning: What is searched.
        executor: What runs the jobs.
        out: Folder for the runs, the table of trials and what was chosen.
        about: What else the configuration of a run says.
        report: Called with each trial.

    Returns:
        The best trial of each method.

    Raises:
        ImportError: If Optuna is needed and not installed.
        LockedError: If another process is running it; the message says which.
        ValueError: If there is no scale for a scenario on which its trials could be compared.
        RuntimeError: If a run failed, or workers die again and again over the same.
        OSError: If something cannot be written.
    """
    if tuning.needs_optuna:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
    for scenario in tuning.study.scenarios:
        protocol = tuning.study.protocol(scenario)
        if reason := shipped_references().scale(protocol).reason:
            raise ValueError(f"trials cannot be compared in {scenario.name}: {reason}")
    with Lock.of_folder(out).hold():
        (out / "trials.csv").unlink(missing_ok=True)  # it is made again from the runs
        best: dict[str, Trial] = {}
        for candidate in tuning.candidates:
            for trial in _trials(tuning, candidate, executor, out, about):
                _TRIALS.append(out / "trials.csv", [trial])
                if candidate.label not in best or trial.value > best[candidate.label].value:
                    best[candidate.label] = trial
                report(trial)
        write_text_whole(out / "chosen.toml", _chosen(tuning, best))
    return best


def _trials(
    tuning: Tuning, candidate: Candidate, executor: Executor, out: Path, about: Mapping[str, Any]
) -> Iterator[Trial]:
    """Search the settings of one method; return each trial, of which the next ones learn."""
    search = _search(candidate)
    for number in range(tuning.trials):
        values = search.ask()
        came = dict(_train(tuning, candidate, number, values, executor, out, about))
        value = float(np.mean(list(came.values())))
        search.tell(value)
        yield Trial(candidate.label, number, value, json.dumps(values), json.dumps(came))


class _Search(Protocol):
    """Chooses values, one after the other."""

    def ask(self) -> dict[str, Any]: ...

    def tell(self, score: float) -> None: ...


def _search(candidate: Candidate) -> _Search:
    for name, found in candidate.search.items():
        if isinstance(found, Widths):
            return _Progressive(name, WidthSearch(found))
    return _Parzen(candidate)


class _Progressive:
    """Searches the one value that is a network."""

    def __init__(self, name: str, search: WidthSearch) -> None:
        self._name, self._search = name, search
        self.tell = search.tell

    def ask(self) -> dict[str, Any]:
        return {self._name: list(self._search.ask())}


class _Parzen:
    """Searches numbers, by Optuna's tree-structured Parzen estimator."""

    def __init__(self, candidate: Candidate) -> None:
        import optuna

        self._ranges = {n: r for n, r in candidate.search.items() if isinstance(r, Range)}
        # A generator of its own for each method, so that one more method changes no other.
        sampler = optuna.samplers.TPESampler(seed=_seed_of(candidate.label), n_startup_trials=4)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._study.enqueue_trial(candidate.first)
        self._asked: Any = None

    def ask(self) -> dict[str, Any]:
        is_given = self._asked is None
        self._asked = self._study.ask()
        values = {
            name: self._asked.suggest_float(name, found.low, found.high, log=found.log)
            for name, found in self._ranges.items()
        }
        return values if is_given else {name: _rounded(value) for name, value in values.items()}

    def tell(self, score: float) -> None:
        self._study.tell(self._asked, score)


def _train(
    tuning: Tuning,
    candidate: Candidate,
    number: int,
    values: Mapping[str, Any],
    executor: Executor,
    out: Path,
    about: Mapping[str, Any],
) -> Iterator[tuple[str, float]]:
    """Train the runs of a trial; return the score of each, in the order of their names."""
    entry = candidate.entry(values, tuning.study)
    specs = {
        f"{scenario.name}__{candidate.label}-{number}__{seed}": tuning.study.spec(
            scenario, entry, seed
        )
        for scenario in tuning.study.scenarios
        for seed in tuning.study.seeds
    }
    folder = out / LIVES_OF_A_TRIAL

    def job_of(name: str) -> Job:
        return Job(name, folder / name, replace(specs[name], save_every=0).to_config(), about)

    for outcome in sorted(train_all(executor, specs, job_of), key=lambda outcome: outcome.run):
        yield outcome.run, _objective(outcome, folder / outcome.run)


def _objective(outcome: Outcome, folder: Path) -> float:
    if outcome.state == "failed":
        if not outcome.diverged:
            raise RuntimeError(f"{outcome.run} failed: {outcome.reason}")
        return 0.0
    run = Run.load(folder)
    scale = shipped_references().scale(run.protocol)
    record = run.scores.rescaled(scale.zero, scale.one)
    return float(METRICS[METRIC].compute(record, Context()).value)


def _chosen(tuning: Tuning, best: Mapping[str, Trial]) -> str:
    tables = {
        candidate.label: candidate.filled(json.loads(best[candidate.label].values))
        for candidate in tuning.candidates
    }
    head = (
        f"# The best of {tuning.trials} trials of each method, {tuning.runs} runs each: value "
        "and trial.\n"
        + "".join(f"# {name}: {trial.value:.4f}, {trial.trial}\n" for name, trial in best.items())
    )
    return head + tomli_w.dumps({"methods": tables})


def _candidate(label: str, table: Any) -> Candidate:
    where = f"method {label!r}"
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} must be a table, not {table!r}")
    if "scenarios" in table:
        raise ValueError(
            f"scenarios of {where} have no meaning in a tuning, whose methods are all tried in all "
            "of its scenarios: leave them out, or give them a tuning file of their own"
        )
    search = {
        name: _space(name, found, where)
        for name, found in value_of(table, "search", dict, where, {}).items()
    }
    candidate = Candidate(label, {k: v for k, v in table.items() if k != "search"}, search)
    if len(search) > 1 and candidate.has_widths:
        raise ValueError(
            f"search of {where}: widths are searched alone; leave out {', '.join(search)} but one, "
            "or make two methods of it"
        )
    for name in search:
        others = {other: first for other, first in candidate.first.items() if other != name}
        if candidate.filled({**others, name: 0.0}) == candidate.filled(others):
            raise ValueError(
                f'search {name!r} of {where} is used nowhere: write "{{{name}}}" where its value '
                "belongs"
            )
    return candidate


def _space(name: str, table: Any, where: str) -> Range | Widths:
    place = f"search {name!r} of {where}"
    if not isinstance(table, Mapping):
        raise ValueError(f"{place} must be a table, not {table!r}")
    return _widths(table, place) if "widths" in table else _range(table, place)


def _widths(table: Mapping[str, Any], place: str) -> Widths:
    only(table, ("widths", "layers", "beam"), place)
    widths = value_of(table, "widths", list, place)
    if not all(type(width) is int for width in widths):
        raise ValueError(f"{place}: widths = {widths} must be whole numbers of units")
    try:
        return Widths(
            tuple(widths),
            value_of(table, "layers", int, place, Widths.layers),
            value_of(table, "beam", int, place, Widths.beam),
        )
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def _range(table: Mapping[str, Any], place: str) -> Range:
    only(table, ("low", "high", "log", "first"), place)
    found = Range(
        low=value_of(table, "low", float, place),
        high=value_of(table, "high", float, place),
        log=value_of(table, "log", bool, place, False),
        first=value_of(table, "first", float, place),
    )
    if not all(math.isfinite(value) for value in (found.low, found.high, found.first)):
        raise ValueError(f"{place}: {asdict(found)} must be finite")
    if not found.low < found.high or not found.low <= found.first <= found.high:
        raise ValueError(f"{place}: {asdict(found)} must have low < high, and first between them")
    if found.log and found.low <= 0:
        raise ValueError(f"{place}: low = {found.low} must be positive where log is true")
    return found


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Put values where their names stand in braces."""
    if isinstance(value, Mapping):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if isinstance(value, str):
        for name, number in values.items():
            if value == f"{{{name}}}":
                return number
            value = value.replace(f"{{{name}}}", repr(number))
    return value


def _rounded(number: float) -> float:
    """Three digits say all there is to say about a value that was found by search."""
    return float(f"{number:.3g}")


def _seed_of(label: str) -> int:
    return int.from_bytes(label.encode(), "big") % 2**32
