"""The whole report: what belongs on the page, in the order in which a reader wants it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from continual_arcade.envs.messages import unknown
from continual_arcade.evaluation.references import References
from continual_arcade.evaluation.runs import Comparison, Gathered
from continual_arcade.reports import curves, network_section, provenance, summary, verdict
from continual_arcade.reports.cautions import cautions
from continual_arcade.reports.method_results import MethodResults, collect_results, fitting
from continual_arcade.reports.pages.page_model import FilmStrip, Item, Page, Section
from continual_arcade.reports.text import counted

NO_RUNS = Gathered([], [])

Filmer = Callable[[Comparison, Sequence[MethodResults]], Sequence[FilmStrip]]
"""Makes films of the agents of a comparison."""


def build_page(
    gathered: Gathered,
    *,
    references: References | None,
    baselines: Gathered = NO_RUNS,
    against: str | None = None,
    film: Filmer = lambda comparison, results: (),
    title: str = "",
    about: str = "",
) -> Page:
    """Put a report together.

    Args:
        gathered: The runs.
        references: Scores of random play and of the oracle; None to leave normalised numbers out.
        baselines: Runs of single phases, for the metrics that need them, gathered like the others.
        against: Method to take differences from; finetune if not given. The first one where there
            is no such method.
        film: Makes films of the agents of the methods.
        title: Heading of the page; game and schedule if not given.
        about: Purpose of the runs.

    Raises:
        ValueError: If there is no run, or no method to take differences from.
    """
    if not gathered.comparisons:
        raise ValueError("no run finished: there is nothing to report")
    if against is not None:
        _check_known(gathered.comparisons, against)
    several = len(gathered.comparisons) > 1
    labels: dict[str, None] = {}
    warnings: list[str] = []
    verdicts: list[Section] = []
    sections: list[Section] = []
    for number, comparison in enumerate(gathered.comparisons):
        scale = references.scale(comparison.protocol, "score") if references is not None else None
        results = collect_results(comparison, scale, fitting(comparison, baselines))
        labels.update(dict.fromkeys(one.label for one in results))
        warnings += [f"{comparison.title}: {caution}" for caution in cautions(results)]
        base = _base(results, against)
        said = verdict.section(results, base, comparison.points)
        found = _sections(comparison, results, base, film)
        verdicts.append(_of_comparison(said, comparison, number) if several else said)
        sections += [_of_comparison(one, comparison, number) if several else one for one in found]
    if several:
        warnings.insert(0, _mixed(gathered.comparisons))
    if baselines != NO_RUNS:
        table = provenance.baselines(gathered.comparisons, baselines)
        sections.append(Section("about-baselines", "Single-phase runs", "", (table,)))
    if gathered.left_out:
        count = counted(len(gathered.left_out), "run")
        warnings.append(f"Excluded: {count}; the last section gives the reasons.")
        table = provenance.left_out(gathered.left_out)
        sections.append(Section("about-left-out", "Excluded runs", "", (table,)))
    runs = sum(
        len(group.runs) for comparison in gathered.comparisons for group in comparison.groups
    )
    # In what those of one game and schedule differ is in the headings below, and is long.
    titles = " and ".join(dict.fromkeys(each.game_and_schedule for each in gathered.comparisons))
    count = f"{counted(runs, 'run')} of {counted(len(labels), 'method')}"
    return Page(
        title=title or titles,
        subtitle=f"{titles}: {count}" if title else count,
        about=about,
        verdicts=tuple(verdicts),
        methods=tuple(labels),
        warnings=tuple(warnings),
        sections=tuple(sections),
    )


def _sections(
    comparison: Comparison, results: Sequence[MethodResults], base: MethodResults, film: Filmer
) -> list[Section]:
    schedule, points = comparison.protocol.schedule, comparison.points
    found = [
        summary.summary(results, points),
        summary.differences(results, base, points) if len(results) > 1 else None,
        _section(
            "forgetting",
            "Forgetting",
            curves.matrix_chart(results, schedule, points),
            curves.ends(results, points),
            curves.changes(results, points),
        ),
        _section(
            "films",
            "Films",
            *film(comparison, results),
            text="The agent of the lowest seed, after each phase of training (columns), plays each "
            "phase (rows), as in the forgetting matrix. All play the first evaluation episode.",
        ),
        _section(
            "lifetimes",
            "Learning curves per phase",
            curves.learning_curves(results, schedule, points),
        ),
        _section("adaptation", "Adaptation time", curves.adaptation(results, schedule)),
        _section(
            "interference",
            "Interference",
            network_section.interference(results, schedule),
            network_section.overlap(results, schedule),
            text="Gradients of two phases that point the same way mean transfer, opposed ones "
            "interference (Riemer et al. 2019). Fisher informations that overlap mean that two "
            "phases use the same parameters (Kirkpatrick et al. 2017).",
        ),
        _section("profiles", "Performance profiles", summary.profiles(results, points)),
        _section("memory", "Replay memory", *network_section.memory(results, schedule)),
        _section("plasticity", "Plasticity", *network_section.plasticity(results, schedule)),
        summary.all_metrics(results),
        provenance.settings(results),
        provenance.provenance(comparison, results),
    ]
    return [section for section in found if section is not None]


def _section(key: str, title: str, *items: Item | None, text: str = "") -> Section | None:
    """Make a section of what there is to show; None if there is nothing."""
    shown = tuple(item for item in items if item is not None)
    return Section(f"about-{key}", title, text, shown) if shown else None


def _check_known(comparisons: Sequence[Comparison], against: str) -> None:
    """Check that there is a method of this name in some comparison."""
    known = {
        name
        for comparison in comparisons
        for name in (*comparison.labels, *(group.method for group in comparison.groups))
    }
    if against not in known:
        raise ValueError(unknown("method", against, sorted(known)))


def _base(results: Sequence[MethodResults], against: str | None) -> MethodResults:
    """Find the method to take differences from."""
    wanted = against or "finetune"
    for one in results:
        if wanted in (one.label, one.group.method):
            return one
    return results[0]


def _of_comparison(section: Section, comparison: Comparison, number: int) -> Section:
    """Prefix a section with its comparison, where there are several."""
    items: Sequence[Any] = section.items
    return replace(
        section,
        key=f"scenario-{number}-{section.key}",
        title=f"{comparison.title}: {section.title[0].lower()}{section.title[1:]}",
        items=tuple(replace(item, key=f"scenario-{number}-{item.key}") for item in items),
    )


def _mixed(comparisons: Sequence[Comparison]) -> str:
    """Warn that protocols differ, and say how."""
    first, *others = comparisons
    said = [
        f"{first.title} and {other.title}: {'; '.join(first.protocol.differences(other.protocol))}"
        for other in others
    ]
    return (
        "Runs of different protocols are on this page. Their numbers are not comparable, and none "
        f"is computed over both. {'. '.join(said)}."
    )
