"""Measure the card of a scenario: whether it can tell methods apart.

python -m continual_arcade.scripts.scenario card catcher-conflict
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tomli_w
from rich.console import Console

from continual_arcade.evaluation.atomic_files import write_text_whole
from continual_arcade.evaluation.commands import command_of, for_anybody
from continual_arcade.evaluation.terminal import TerminalTable
from continual_arcade.reports.run_pictures import write_chart, write_matrices
from continual_arcade.scripts.cli import NOTICE
from continual_arcade.scripts.options import Card
from continual_arcade.scripts.power import print_spread
from continual_arcade.scripts.study_commands import begun, results_of
from continual_arcade.studies import scenario as scenarios
from continual_arcade.studies import study as studies
from continual_arcade.studies.cards import (
    EVALUATION,
    FINETUNE,
    JOINT,
    METRIC,
    Property,
    as_markdown,
    card_data,
    check_game,
    place,
    properties,
)
from continual_arcade.studies.folder import StudyFolder
from continual_arcade.studies.interference import Interference
from continual_arcade.studies.provenance import provenance
from continual_arcade.studies.scenario import Scenario
from continual_arcade.studies.seeds import write_seeds
from continual_arcade.studies.spread import Spread


def card(args: Card, console: Console, given: Sequence[str]) -> int | None:
    """Measure a card, print it, and write it down.

    Args:
        args: What is asked for.
        console: Where it is printed.
        given: The arguments of the command, which are written down.

    Returns:
        ``NOTICE`` if a property is not met.

    Raises:
        ValueError: If there is no such scenario or method, or it makes no sense.
        RuntimeError: If runs failed.
        OSError: If something cannot be read or written.
    """
    if not args.scenario:
        raise ValueError("name a scenario, or a file of one, such as: card catcher-conflict")
    scenario = scenarios.find(args.scenario)
    check_game(scenario)
    study = _study(scenario, args)
    if len(study.seeds) < 2:
        raise ValueError(
            f"seeds = {args.seeds}: a card is of what seeds differ by; give two or more"
        )
    folder = StudyFolder(args.out / study.name)
    study = _with_what_is_there(study, folder)
    study.check()
    if args.to is not None:
        args.to.mkdir(parents=True, exist_ok=True)  # or it is refused before anything is trained
    about = {
        "command": command_of("scenario", given),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **provenance(),
    }
    begun(folder, study, about, args, console, more=True)
    ((comparison, results, experts),) = results_of(StudyFolder(folder.path))
    alone = {column: tuple(group.runs.values()) for column, group in experts.items()}
    found = properties(results, alone)
    console.print(_table(scenario, found))
    to, seeds = args.to or folder.path, write_seeds(study.seeds)
    made = {**about, "command": for_anybody(command_of("scenario", given)), "seeds": seeds}
    spread = Spread.of(scenario, results, METRIC)
    by_name = {one.group.method: one for one in results}
    interference = Interference.of(by_name[FINETUNE], by_name[JOINT])
    data = card_data(scenario, found, spread, interference, made)
    write_text_whole(to / f"{scenario.name}.toml", tomli_w.dumps(data))
    write_text_whole(to / f"{scenario.name}.md", _page(scenario, found, interference, made))
    write_matrices(comparison, results, to / f"{scenario.name}.png")
    chart = interference.chart(f"{scenario.name}: interference")
    write_chart(chart, chart.title, results, to / f"{scenario.name}-interference.png")
    names = [one.method for one in spread.methods]
    print_spread(scenario, spread, names, spread.seeds, len(names), console)
    console.out(f"the card is in {to / scenario.name}.toml, .md and two .png", highlight=False)
    wanted = place(scenario)
    if wanted is not None and wanted.resolve() != (to / wanted.name).resolve():
        console.out(
            f"studies look for it in {wanted.parent}: copy it, or give --to", highlight=False
        )
    return None if all(one.is_met for one in found) else NOTICE


def _study(scenario: Scenario, args: Card) -> studies.Study:
    if FINETUNE not in args.methods:
        named = ", ".join(args.methods) or "none"
        raise ValueError(f"methods = {named}: {FINETUNE} must be among them")
    if twice := [name for name, count in Counter(args.methods).items() if count > 1]:
        raise ValueError(f"methods: {twice[0]} is named more than once")
    data: dict[str, Any] = {
        "format": studies.FORMAT,
        "name": f"card-{scenario.name}",
        "about": f"The card of scenario {scenario.name}",
        "scenarios": [args.scenario],
        "methods": {name: {} for name in args.methods},
        "seeds": args.seeds,
        "references": ["experts", JOINT],
        "evaluation": asdict(EVALUATION),
    }
    return studies.read(data, Path())


def _with_what_is_there(study: studies.Study, folder: StudyFolder) -> studies.Study:
    """Return a study that has the methods and seeds of one that was begun before, too."""
    if not folder.plan.exists():
        return study
    before = folder.study
    known = {entry.method.name for entry in before.entries}
    new = [entry for entry in study.entries if entry.method.name not in known]
    seeds = tuple(sorted({*before.seeds, *study.seeds}))
    return replace(study, entries=(*before.entries, *new), seeds=seeds)


def _table(scenario: Scenario, found: Sequence[Property]) -> TerminalTable:
    table = TerminalTable(
        f"card of {scenario.name}",
        texts=["property"],
        numbers=["value", "wanted", "verdict"],
        caption="\n".join(f"{one.name}: {one.measured}; {one.detail}" for one in found),
    )
    for one in found:
        value = "" if one.verdict == "not measured" else f"{one.value:.2f}"
        sign = "at least" if one.at_least else "at most"
        table.add_row(one.name, value, f"{sign} {one.wanted:g}", one.verdict)
    return table


def _page(
    scenario: Scenario,
    found: Sequence[Property],
    interference: Interference,
    made: dict[str, Any],
) -> str:
    return (
        f"# Card of {scenario.name}\n\n{scenario.about}\n\n{as_markdown(found)}\n"
        f"![forgetting matrices of the methods]({scenario.name}.png)\n\n"
        "Cosine of the mean TD gradients of two phases, mean and standard deviation between "
        f"{interference.seeds} seeds: above 0 a step for one lowers the loss of the other, below 0 "
        f"it raises it.\n\n{interference.as_markdown()}\n"
        f"![gradient alignment between phases]({scenario.name}-interference.png)\n\n"
        f"Made on {made['date'][:10]} by commit {made['git_commit'] or 'unknown'} with "
        f"`{made['command']}`, seeds {made['seeds']}.\n"
    )
