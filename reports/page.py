"""The whole report: what belongs on the page, in the order in which a reader wants it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from continual_arcade.envs.messages import unknown
from continual_arcade.evaluation.references import References
from continual_arcade.evaluation.runs import Comparison, Gathered
from continual_arcade.reports import curves, network_section, provenance, summary, verdict
from continual_arcade.reports.cautions import cautions
from continual_arcade.reports.method_results import MethodResults, fitting, judge
from continual_arcade.reports.pages.page_model import FilmStrip, Item, Page, Section
from continual_arcade.reports.text import counted

NO_RUNS = Gathered([], [])

Filmer = Callable[[Comparison, Sequence[MethodResults]], Sequence[FilmStrip]]
"""Films the agents of a world."""


def build_page(
    gathered: Gathered,
    *,
    references: References | None,
    baselines: Gathered = NO_RUNS,
    against: str | None = None,
    film: Filmer = lambda world, judged: (),
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
        film: Films the agents of the methods, where there is something to film.
        title: Heading of the page; game and schedule if not given.
        about: What the runs are for.

    Raises:
        ValueError: If there is no run, or no method to take differences from.
    """
    if not gathered.worlds:
        raise ValueError("no run came to its end: there is nothing to report")
    if against is not None:
        _check_known(gathered.worlds, against)
    several = len(gathered.worlds) > 1
    labels: dict[str, None] = {}
    warnings: list[str] = []
    verdicts: list[Section] = []
    sections: list[Section] = []
    for number, world in enumerate(gathered.worlds):
        scale = references.scale(world.protocol, "score") if references is not None else None
        judged = judge(world, scale, fitting(world, baselines))
        labels.update(dict.fromkeys(one.label for one in judged))
        warnings += [f"{world.title}: {caution}" for caution in cautions(judged)]
        base = _base(judged, against)
        said = verdict.section(judged, base, world.points)
        found = _sections(world, judged, base, film)
        verdicts.append(_of_world(said, world, number) if several else said)
        sections += [_of_world(one, world, number) if several else one for one in found]
    if several:
        warnings.insert(0, _mixed(gathered.worlds))
    if baselines != NO_RUNS:
        table = provenance.baselines(gathered.worlds, baselines)
        sections.append(Section("about-baselines", "Single-phase runs", "", (table,)))
    if gathered.left_out:
        count = counted(len(gathered.left_out), "run")
        warnings.append(f"Left out: {count}; the last section says why.")
        table = provenance.left_out(gathered.left_out)
        sections.append(Section("about-left-out", "Excluded runs", "", (table,)))
    runs = sum(len(group.runs) for world in gathered.worlds for group in world.groups)
    titles = " and ".join(dict.fromkeys(world.title for world in gathered.worlds))
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
    world: Comparison, judged: Sequence[MethodResults], base: MethodResults, film: Filmer
) -> list[Section]:
    schedule, points = world.protocol.schedule, world.points
    found = [
        summary.summary(judged, points),
        summary.differences(judged, base, points) if len(judged) > 1 else None,
        _section(
            "forgetting",
            "Forgetting",
            curves.matrix_chart(judged, schedule, points),
            curves.ends(judged, points),
            curves.changes(judged, points),
        ),
        _section(
            "films",
            "Films",
            *film(world, judged),
            text="The agent of the lowest seed, after each phase of training (columns), plays each "
            "phase (rows), as in the forgetting matrix. All play the first evaluation episode.",
        ),
        _section(
            "lifetimes",
            "Learning curves per phase",
            curves.lifetimes(judged, schedule, points),
        ),
        _section("adaptation", "Adaptation time", curves.adaptation(judged, schedule)),
        _section(
            "interference",
            "Gradient interference",
            network_section.interference(judged, schedule),
            text="Gradients of two phases that point the same way mean transfer, opposed ones "
            "interference (Riemer et al. 2019).",
        ),
        _section("profiles", "Performance profiles", summary.profiles(judged, points)),
        _section("memory", "Replay memory", *network_section.memory(judged, schedule)),
        _section("plasticity", "Plasticity", *network_section.plasticity(judged, schedule)),
        summary.all_metrics(judged),
        provenance.settings(judged),
        provenance.provenance(world, judged),
    ]
    return [section for section in found if section is not None]


def _section(key: str, title: str, *items: Item | None, text: str = "") -> Section | None:
    """Make a section of what there is to show; None if there is nothing."""
    shown = tuple(item for item in items if item is not None)
    return Section(f"about-{key}", title, text, shown) if shown else None


def _check_known(worlds: Sequence[Comparison], against: str) -> None:
    """Check that there is a method of this name in some world."""
    known = {name for w in worlds for name in (*w.labels, *(group.method for group in w.groups))}
    if against not in known:
        raise ValueError(unknown("method", against, sorted(known)))


def _base(judged: Sequence[MethodResults], against: str | None) -> MethodResults:
    """Find the method to take differences from."""
    wanted = against or "finetune"
    for one in judged:
        if wanted in (one.label, one.group.method):
            return one
    return judged[0]


def _of_world(section: Section, world: Comparison, number: int) -> Section:
    """Name a section after its world, where there are several."""
    items: Sequence[Any] = section.items
    return replace(
        section,
        key=f"world-{number}-{section.key}",
        title=f"{world.title}: {section.title[0].lower()}{section.title[1:]}",
        items=tuple(replace(item, key=f"world-{number}-{item.key}") for item in items),
    )


def _mixed(worlds: Sequence[Comparison]) -> str:
    """Say that protocols differ, and in what."""
    first, *others = worlds
    said = [
        f"{first.title} and {other.title}: {'; '.join(first.protocol.differences(other.protocol))}"
        for other in others
    ]
    return (
        "Runs of different protocols are on this page. Their numbers are not comparable, and none "
        f"is computed over both. {'. '.join(said)}."
    )
