"""What the subcommands of ``study`` do, once their arguments are read."""

import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from joblib import parallel_config
from rich.console import Console
from tqdm import tqdm

from continual_arcade.envs.messages import unknown
from continual_arcade.evaluation import reference_files
from continual_arcade.evaluation.commands import command_of
from continual_arcade.evaluation.power import check_difference
from continual_arcade.evaluation.runs import Comparison, Group, gather
from continual_arcade.evaluation.terminal import TerminalTable
from continual_arcade.reports.method_results import MethodResults, collect_results, fitting
from continual_arcade.reports.page import NO_RUNS
from continual_arcade.scripts.cli import NOTICE
from continual_arcade.scripts.options import (
    Add,
    MakeReport,
    Publish,
    Report,
    Resume,
    Run,
    Status,
    Tune,
    Verify,
    Workers,
)
from continual_arcade.scripts.power import say_power
from continual_arcade.studies import study as studies
from continual_arcade.studies import tuning as tunings
from continual_arcade.studies.executors import (
    Executor,
    JoblibExecutor,
    jobs_at_a_time,
    local_executor,
)
from continual_arcade.studies.folder import STATES, StudyFolder, count
from continual_arcade.studies.forecast import forecast
from continual_arcade.studies.grid import Cell, cells
from continual_arcade.studies.provenance import provenance
from continual_arcade.studies.references import completed
from continual_arcade.studies.run_spec import warm_up
from continual_arcade.studies.running import run_all, to_do
from continual_arcade.studies.study import Study
from continual_arcade.studies.verifying import draw, verify
from continual_arcade.studies.work import Outcome

_COMMAND = "python -m continual_arcade.scripts.study"
"""As it can be copied."""


def run_study(args: Run, console: Console, given: Sequence[str]) -> int | None:
    """Run a study, or say what it would cost.

    Args:
        args: What is asked for.
        console: Where it is said.
        given: The arguments of the command, which are written down.

    Returns:
        ``NOTICE`` if a run that was re-run has another result than before.

    Raises:
        ValueError: If the study makes no sense, or was begun as another one.
        RuntimeError: If runs failed, or another process is running it.
        OSError: If nothing can be read or written.
    """
    if args.difference is not None:
        check_difference(args.difference)
        if not args.dry_run:
            raise ValueError(f"difference = {args.difference:g} is for --dry-run: give both")
    study = studies.load(studies.find(args.file))
    study.check()
    folder = StudyFolder(args.out / study.name)
    if args.dry_run:
        if folder.plan.exists():
            folder.check_same(study)
            left = to_do(folder, remake=args.remake)
        else:
            left = list(cells(study))
        _say_cost(study, left, args, console)
        say_power(study, args.difference, console)
        return None
    about = _about(command_of("study", given))
    return begun(folder, study, about, args, console, remake=args.remake)


def begun(
    folder: StudyFolder,
    study: Study,
    about: Mapping[str, Any],
    args: Workers,
    console: Console,
    *,
    remake: bool = False,
    more: bool = False,
) -> int | None:
    """Begin a study, or resume it, and run it to its end; see :func:`run_study`.

    Args:
        folder: Its folder.
        study: What is run.
        about: What it is run by: command, date, versions, commit.
        args: What trains the runs.
        console: Where it is said.
        remake: Re-run what was finished, and whose folders are missing.
        more: Let the study have more than it was begun with.
    """
    executor = _executor(args)
    with folder.lock.hold():
        if more and folder.plan.exists():
            folder.check_versions()
            folder, _ = folder.extend(study, about)
        else:
            folder.begin(study, about)
    return _go(folder, executor, console, remake=remake)


def resume_study(args: Resume, console: Console) -> int | None:
    """Resume a study; see :func:`run_study`."""
    return _go(_folder(args.study, args.out), _executor(args), console, remake=args.remake)


def add_to_study(args: Add, console: Console, given: Sequence[str]) -> int | None:
    """Take more into a study, and run it; see :func:`run_study`."""
    study = studies.load(studies.find(args.file))
    study.check()
    folder = StudyFolder.open(args.out / study.name)
    executor = _executor(args)
    folder.check_versions()
    with folder.lock.hold():
        folder, new = folder.extend(study, _about(command_of("study", given)))
    for line in new or ("nothing is new",):
        _say(console, line)
    return _go(folder, executor, console)


def _complete_references(folder: StudyFolder) -> None:
    """Let random play and the oracle play the phases of a study that nobody has played yet."""
    known = reference_files.shipped_references()
    if folder.references.exists():
        known = known.merged(reference_files.load(folder.references))
    study = folder.study
    protocols = [study.protocol(scenario) for scenario in study.scenarios]
    reference_files.save(completed(known, protocols, folder.about[-1]), folder.references)


def _go(
    folder: StudyFolder, executor: Executor, console: Console, *, remake: bool = False
) -> int | None:
    with folder.lock.hold():
        folder.check_versions()
        _complete_references(folder)
        folder.take_up()
        left = to_do(folder, remake=remake)
        total = len(folder.cells)
        _say(console, f"{folder.path}: {total - len(left)} of {total} runs are finished")
        begun = time.perf_counter()
        with tqdm(total=total, initial=total - len(left), unit="run", disable=None) as bar:

            def report(outcome: Outcome) -> None:
                bar.update()
                if outcome.state == "failed":
                    bar.write(f"failed: {outcome.run}: {outcome.reason}")

            summary = run_all(folder, executor, left, report)
        elapsed = time.perf_counter() - begun
    if left:
        _say(
            console,
            f"{summary.finished} runs in {elapsed / 60:.1f} minutes, "
            f"{summary.seconds / 60:.1f} minutes of compute",
        )
    if summary.failures:
        again = f"{_COMMAND} resume {shlex.quote(str(folder.path))}"
        lines = [f"{len(summary.failures)} runs failed; to try them again: {again}"]
        lines += [f"  {outcome.run}: {outcome.reason}" for outcome in summary.failures]
        if summary.left:
            lines.append(
                f"{summary.left} more were left, since they would fail as well; what was finished "
                "is kept"
            )
        raise RuntimeError("\n".join(lines))
    for name in summary.changed:
        _say(console, f"warning: {name} was re-run with a different result")
    _say(console, f"all {total} runs are finished; to see their results:")
    _say(console, f"  {_COMMAND} report {shlex.quote(str(folder.path))}")
    return NOTICE if summary.changed else None


def status(args: Status, console: Console) -> int | None:
    """Print how far a study has come.

    Returns:
        ``NOTICE`` unless all runs are finished.

    Raises:
        ValueError: If the study is damaged.
        OSError: If there is none.
    """
    folder = _folder(args.study, args.out)
    states, done = folder.states(), folder.done()
    table = TerminalTable(
        f"{folder.study.name}: {len(states):,} runs", texts=["in", "method"], numbers=STATES
    )
    kinds: dict[tuple[str, str], Counter[str]] = {}
    for cell in folder.cells:
        kinds.setdefault((cell.scenario, cell.method), Counter())[states[cell.name]] += 1
    for (scenario, method), found in kinds.items():
        table.add_row(scenario, method, *(str(found[state] or "") for state in STATES))
    all_of_them = count(states)
    table.end_section()
    table.add_row("all", "", *(str(all_of_them[state]) for state in STATES))
    console.print(table)
    for name, state in states.items():
        if args.all:
            print(f"{state}  {name}")
        elif state in ("failed", "missing"):
            why = f": {done[name].reason}" if state == "failed" else ""
            _say(console, f"{state}: {name}{why}")
    spent = sum(line.seconds for line in done.values())
    _say(console, f"{spent / 3600:.2f} hours of compute")
    return NOTICE if all_of_them["finished"] < len(states) else None


def report_study(args: MakeReport, console: Console) -> int | None:
    """Write a page about a study, with the experts as baselines.

    Returns:
        ``NOTICE`` if finished runs are not in it.

    Raises:
        ValueError: If runs are lacking, or were changed since they were finished.
        OSError: If a run cannot be read, or the page not be written.
    """
    # Pages, charts and films take their time to load, and the other subcommands need none.
    from continual_arcade.scripts.reporting import report

    folder = _folder(args.study, args.out)
    finished = _finished(folder, unfinished=args.unfinished)
    page = args.page or folder.path / "report.html"
    given = Report(
        folders=tuple(folder.place(cell) for cell in finished if cell.kind != "expert"),
        out=page,
        against=args.against,
        baselines=tuple(map(folder.place, _experts(folder, finished))),
        references=folder.references,
        mixed=True,
        title=f"Study {folder.study.name}",
        about=folder.study.about,
        film_seconds=args.film_seconds,
        saliency=args.saliency,
    )
    left_out = report(given, console)
    print(f"the report is in {page}")
    return NOTICE if left_out else None


def publish_study(args: Publish) -> Path:
    """Write the results of a study as small files.

    Returns:
        The folder.

    Raises:
        ValueError: If runs are lacking, or were changed since they were finished, or there is no
            such method to compare with.
        OSError: If a run cannot be read, or a file not be written.
    """
    from continual_arcade.studies.publishing import publish  # see report_study

    folder = _folder(args.study, args.out)
    names = [entry.method.name for entry in folder.study.methods]
    if args.against not in names:
        raise ValueError(unknown("method", args.against, names))
    results = [(comparison, of_it) for comparison, of_it, _ in results_of(folder)]
    publish(folder.study.name, results, args.against, folder.about[0], args.to)
    return args.to


def results_of(
    folder: StudyFolder,
) -> list[tuple[Comparison, list[MethodResults], dict[int, Group]]]:
    """Return the results of a study: of its methods, and its experts by column of their phase.

    Raises:
        ValueError: If runs are lacking, or were changed since they were finished.
        OSError: If a run cannot be read.
    """
    finished = _finished(folder)
    experts = [folder.place(cell) for cell in finished if cell.kind == "expert"]
    references = reference_files.load(folder.references)
    gathered = gather(folder.place(cell) for cell in finished if cell.kind != "expert")
    baselines = gather(experts) if experts else NO_RUNS
    if left_out := [*gathered.left_out, *baselines.left_out]:
        lines = [f"  {left.path}: {left.reason}" for left in left_out]
        raise ValueError("\n".join(["runs that cannot be read are not published:", *lines]))
    found = []
    for comparison in gathered.comparisons:
        alone = fitting(comparison, baselines)
        results = collect_results(comparison, references.scale(comparison.protocol), alone)
        found.append((comparison, results, alone))
    return found


def _finished(folder: StudyFolder, *, unfinished: bool = False) -> list[Cell]:
    """Return the runs of a study that are finished, and unchanged since.

    Raises:
        ValueError: If there are others, and unfinished ones are not asked for; or one was changed.
    """
    states, done = folder.states(), folder.done()
    finished = [cell for cell in folder.cells if states[cell.name] == "finished"]
    if len(finished) < len(states) and not unfinished:
        raise ValueError(
            f"{len(states) - len(finished)} of {len(states)} runs are not finished: "
            f"`{_COMMAND} resume {shlex.quote(str(folder.path))}` resumes them, and `report "
            "--unfinished` says what is there"
        )
    for cell in finished:
        folder.check_unchanged(cell, done)
    return finished


def _experts(folder: StudyFolder, finished: Sequence[Cell]) -> list[Cell]:
    """Return experts that are finished, but those that could be taken for others that are not.

    In scenarios with other learners experts of one phase are told apart by comparing them.
    """
    all_of_them = {
        cell.name_without_seed: cell.make().protocol.key
        for cell in folder.cells
        if cell.kind == "expert"
    }
    there = {cell.name_without_seed for cell in finished}
    lacking = {key for name, key in all_of_them.items() if name not in there}
    return [
        cell
        for cell in finished
        if cell.kind == "expert" and all_of_them[cell.name_without_seed] not in lacking
    ]


def verify_study(args: Verify, console: Console) -> int | None:
    """Re-run some runs, and print whether they are the same.

    Returns:
        ``NOTICE`` if a run has a different result.

    Raises:
        ValueError: If no run is finished.
        OSError: If nothing can be written.
    """
    folder = _folder(args.study, args.out)
    draw_seed = args.draw_seed
    if draw_seed is None:
        draw_seed = int.from_bytes(os.urandom(4), "big")
    chosen = draw(folder, args.share, draw_seed)
    utc = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    out = folder.path / f"verified_{utc}"
    _say(console, f"{len(chosen)} runs are re-run, drawn with seed {draw_seed}, into {out}")
    bad = []
    for check in verify(folder, chosen, _executor(args), out):
        detail = f": {check.detail}" if check.detail else ""
        print(f"{check.verdict:>9}  {check.run}{detail}", flush=True)
        if not check.is_good:
            bad.append(check.run)
    if bad:
        said = f"{len(bad)} of {len(chosen)} runs differ from what they were before"
        print(said, file=sys.stderr)
        return NOTICE
    _say(console, f"all {len(chosen)} are as they were before")
    return None


def tune_methods(args: Tune, console: Console, given: Sequence[str]) -> Path:
    """Search the settings of methods; see :func:`run_study`.

    Returns:
        The file with what was chosen.

    Raises:
        ValueError: If the tuning makes no sense.
        RuntimeError: If Optuna is needed and not installed, or a run failed.
        OSError: If nothing can be read or written.
    """
    tuning = tunings.load(studies.find(args.file))
    tuning.check()
    try:
        if tuning.needs_optuna:
            import optuna  # noqa: F401  # what is missing is said before anything is trained
    except ImportError as error:
        raise RuntimeError("tuning needs Optuna: pip install 'continual-arcade[tune]'") from error
    executor, out = _executor(args), args.out / tuning.study.name
    _say(console, f"{len(tuning.candidates)} methods, {tuning.runs} runs of each, in {out}")
    for scenario in {scenario.game: scenario for scenario in tuning.study.scenarios}.values():
        warm_up(tuning.study.spec(scenario, tuning.study.entries[0], tuning.study.seeds[0]))

    def report(trial: tunings.Trial) -> None:
        print(
            f"{trial.method:>14}  {trial.trial:>3}  {trial.value:.4f}  {trial.values}", flush=True
        )

    best = tunings.tune(tuning, executor, out, _about(command_of("study", given)), report)
    for method, trial in best.items():
        _say(console, f"{method}: {trial.value:.4f} with {trial.values}")
    return out / "chosen.toml"


def _folder(name: str, out: Path) -> StudyFolder:
    """Find the folder of a study by its path, by its file, or by its name."""
    if (Path(name) / "study.json").is_file():
        return StudyFolder(Path(name))
    try:
        file = studies.find(name)
    except FileNotFoundError:
        if (out / name / "study.json").is_file():
            return StudyFolder(out / name)
        if Path(name).is_dir():
            return StudyFolder.open(Path(name))
        raise
    study = studies.load(file)
    folder = StudyFolder.open(out / study.name)
    # A name is of what was begun under it, whatever its file says today; a file is what it says.
    if Path(name).is_file():
        folder.check_same(study)
    return folder


def _say(console: Console, text: str) -> None:
    """Print a line as it is: paths and commands in it can be copied however long they are."""
    console.out(text, highlight=False)


def _executor(args: Workers) -> Executor:
    if args.cluster == "ray":
        try:
            from continual_arcade.studies.ray_executor import RayExecutor
        except ImportError as error:
            raise RuntimeError(f"{error}") from error
        return RayExecutor(args.jobs, args.address)
    if args.address is not None:
        raise ValueError(f"address = {args.address!r} is for --cluster ray")
    jobs = jobs_at_a_time(args.jobs)
    if args.cluster == "loky":
        return local_executor(jobs)
    try:
        with parallel_config(backend=args.cluster):
            pass
    except ValueError as error:
        raise ValueError(
            f"cluster = {args.cluster!r}: choose loky, ray, or another backend that joblib has "
            f"({error})"
        ) from error
    return JoblibExecutor(jobs, args.cluster)


def _about(command: str) -> dict[str, object]:
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance(),
    }


def _say_cost(study: Study, left: Sequence[Cell], args: Run, console: Console) -> None:
    """Print what runs will cost."""
    costs = forecast(left)
    table = TerminalTable(
        f"{study.name}: {len(left):,} runs that are still to be trained",
        texts=["in", "method"],
        numbers=["runs", "training of one [s]", "evaluation, at most", "all [min]"],
    )
    for cost in costs:
        each = cost.train_seconds + cost.evaluation_seconds
        table.add_row(
            cost.scenario,
            cost.method,
            str(cost.runs),
            f"{cost.train_seconds:.1f}",
            f"{cost.evaluation_seconds:.1f}",
            f"{cost.runs * each / 60:.1f}",
        )
    console.print(table)
    train = sum(cost.runs * cost.train_seconds for cost in costs)
    evaluating = sum(cost.runs * cost.evaluation_seconds for cost in costs)
    jobs = jobs_at_a_time(args.jobs)
    disk = sum(cost.runs * cost.disk for cost in costs)
    least, most = train / 60 / jobs, (train + evaluating) / 60 / jobs
    _say(
        console,
        f"{train / 60:.0f} minutes of training and at most {evaluating / 60:.0f} of evaluation; "
        f"with {jobs} at a time from {least:.0f} to {most:.0f} minutes. "
        f"About {disk / 1e6:,.0f} MB on the disk.",
    )
