"""The verdict in one sentence: who is ahead, how sure that is, and what was forgotten.

`verdict` is a pure function of a few numbers of each method; `section` takes them from the runs and
puts a picture beside the sentence.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isclose, isnan, nan

import numpy as np

from continual_arcade.evaluation.comparison import Difference
from continual_arcade.evaluation.statistics import Estimate
from continual_arcade.reports.method_results import MethodResults, differences
from continual_arcade.reports.pages.page_model import DotChart, Dots, Section
from continual_arcade.reports.text import counted, listed, spoken

LEVEL = 0.05
"""A difference is significant if its p value, by Holm's method, is below this."""
NOTHING = 0.1
"""Share of the way from random play to the oracle up to which nothing was learnt."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a verdict needs of a method."""

    label: str
    end: Estimate
    """Score at the end, mean over all phases [points]."""
    change: Estimate
    """Backward transfer: the score at the end less that when just learnt, over the phases that
    another one followed [points]."""
    worst: Estimate
    """Score at the end in the phase that each run plays worst [points]."""
    learnt: float
    """Score when just learnt in the same phases [points]; NaN if unknown."""
    share: float
    """Score in all phases, 0 for random play and 1 for the oracle: when just learnt, for the first
    or the last time, or at the end, whichever is highest; NaN if there is no such scale."""
    difference: Difference | None = None
    """Score at the end less that of the base, seed by seed, with Holm's correction; None for the
    base."""
    reference: bool = False
    """Whether it sees what no method may: all phases at once, or all that it ever saw."""


@dataclass(frozen=True)
class Verdict:
    """The conclusion about the runs."""

    headline: str
    """One sentence."""
    details: tuple[str, ...] = ()
    """Sentences that say how it is meant, and what else must be known."""


def verdict(standings: Sequence[Standing], base: str, points: str) -> Verdict:
    """Say who is ahead, whether that is significant, and how much was forgotten.

    References are spoken of apart: they are no methods.

    Args:
        standings: The methods.
        base: Label of the method that the differences are taken from.
        points: What a score counts.
    """
    methods = [one for one in standings if not one.reference] or list(standings)
    references = [one for one in standings if one not in methods]
    known = [one for one in methods if not isnan(one.end.value)]
    details = [
        f"Without {_name(one)}: {one.end.reason or 'it has no score at the end'}."
        for one in methods
        if one not in known
    ]
    if not known:
        reason = next((one.end.reason for one in methods if one.end.reason), "no score is known")
        return Verdict(f"Who is ahead cannot be said: {reason}.")
    if all(one.share <= NOTHING for one in known):
        best = max(known, key=lambda one: one.share)
        who = _name(best) if len(known) == 1 else f"the best method, {_name(best)},"
        return Verdict(
            f"Nothing was learnt: {who} comes {_percent(best.share)} of the way from random play "
            "to the oracle, when it was just trained in a phase and at the end. The order of the "
            "methods is noise, and there is nothing to forget.",
            tuple(details),
        )
    leader = max(known, key=lambda one: one.end.value)
    level = [one for one in known if isclose(one.end.value, leader.end.value, rel_tol=1e-9)]
    if len(level) > 1:
        who = f"{_names(level, 'methods')} are level at {leader.end.value:.1f} {points} at the end."
        return Verdict(who, (*details, *_extremes(known), *_of_references(references)))
    headline = f"{_ahead(leader, known, base, points)}{_forgotten(leader)}."
    details = [
        *_worst(leader),
        *_significance(leader, standings, base),
        *details,
        *_extremes(known),
        *_of_references(references),
    ]
    return Verdict(headline, tuple(details))


def _ahead(leader: Standing, known: Sequence[Standing], base: str, points: str) -> str:
    """Say who is ahead, and of whom."""
    rivals = [one for one in known if one is not leader]
    if not rivals:
        return f"{_name(leader)} has {leader.end.value:.1f} {points} at the end, over all phases"
    ahead = f"{_name(leader)} is ahead with {leader.end.value:.1f} {points} at the end"
    if leader.label == base:
        beaten = [one for one in rivals if one.difference is not None and _is_less(one.difference)]
        others = [one for one in rivals if one not in beaten]
        if not others:
            return f"{ahead}, significantly better than {_names(rivals)}"
        if not beaten:
            return f"{ahead}, not significantly better than {_names(rivals)}"
        return (
            f"{ahead}, significantly better than {_names(beaten)}, not significantly than "
            f"{_names(others)}"
        )
    found = leader.difference
    if found is None or isnan(found.p):
        return f"{ahead}, and cannot be compared with {base}"
    # It is behind a base that is a reference, or that has other seeds.
    sign, better = (-1, "better") if found.estimate.value >= 0 else (1, "worse")
    significantly = "significantly" if _is_less(found, sign) else "not significantly"
    said = f"{found.estimate:+.1f}, p = {found.adjusted_p:.3f}"
    return f"{ahead}, {significantly} {better} than {base} ({said})"


def _is_less(found: Difference, sign: int = 1) -> bool:
    """Return whether a difference is negative (or with sign -1 positive), and significant."""
    return found.adjusted_p < LEVEL and sign * found.estimate.value < 0


def _forgotten(one: Standing) -> str:
    """Say how much a method has forgotten, as the end of a sentence."""
    change = one.change
    if isnan(change.value):
        return ""
    if change.low <= 0 <= change.high and change.low < change.high:
        less = replace(change, value=-change.value, low=-change.high, high=-change.low)
        return f", and shows no significant forgetting ({less:.1f})"
    if change.value < 0:
        return f", and has forgotten {_loss(one)}"
    if change.value > 0:
        return f", and plays earlier phases better than when just learnt ({change:+.1f})"
    return ", and has forgotten nothing"


def _loss(one: Standing) -> str:
    """Write what was lost, and of how much."""
    lost = -one.change.value
    if one.learnt > 0 and lost <= one.learnt:
        share = _percent(lost / one.learnt)
        return f"{share} of what it had learnt ({lost:.1f} of {one.learnt:.1f})"
    return f"{lost:.1f} of what it had learnt"


def _worst(one: Standing) -> list[str]:
    """Say how bad it is where it is worst, which a mean hides."""
    if isnan(one.worst.value):
        return []
    return [f"In the phase that it plays worst, {_name(one)} has {one.worst:.1f}."]


def _significance(leader: Standing, standings: Sequence[Standing], base: str) -> list[str]:
    """Say what significant means here, what could be, and what was not tested."""
    found = [one.difference for one in standings if one.difference is not None]
    tested = [one for one in found if not isnan(one.p)]
    said = []
    if tested:
        tests = counted(len(tested), "comparison")
        said.append(
            f"Significant means p < {LEVEL} in a sign-flip test of runs with equal seeds, with "
            f"Holm's correction for {tests} with {base}."
        )
        pairs = max(one.pairs for one in tested)
        if (needed := _pairs_needed(len(tested))) > pairs:
            few = "1 seed cannot" if pairs == 1 else f"{pairs} seeds cannot"
            said.append(f"{few} make any difference significant: at least {needed} are needed.")
    reasons = {one.reason for one in found if isnan(one.p) and one.reason}
    said += [f"Some methods cannot be compared with {base}: {why}." for why in sorted(reasons)]
    others = [one for one in standings if one.label not in (leader.label, base)]
    if leader.label != base and any(not one.reference for one in others):
        said.append(
            f"Only differences from {base} are tested; a report with the option --against "
            f"{shlex.quote(leader.label)} tests those from {_name(leader)}."
        )
    return said


def _pairs_needed(tests: int) -> int:
    """Return how many pairs the least p value needs to be significant after Holm's correction.

    The signs of n differences are all equal by chance in 2 of 2**n cases.
    """
    pairs = 1
    while tests * 2.0 ** (1 - pairs) >= LEVEL:
        pairs += 1
    return pairs


def _extremes(known: Sequence[Standing]) -> list[str]:
    """Say who has forgotten least and most."""
    changed = sorted(
        (one for one in known if not isnan(one.change.value)), key=lambda one: one.change.value
    )
    if not changed:
        reason = next((one.change.reason for one in known if one.change.reason), "")
        return [f"What was forgotten is not known: {reason}."] if reason else []
    if len(changed) == 1:
        return []
    most, least = changed[0], changed[-1]
    if most.change.value >= 0:
        return ["No method has forgotten anything on average."]
    if isclose(most.change.value, least.change.value, rel_tol=1e-9):
        lost = f"{-most.change.value:.1f} of what they had learnt"
        return [f"{_names(changed, 'methods')} have forgotten equally much, {lost}."]
    kept = "nothing" if least.change.value >= 0 else _loss(least)
    return [f"{_name(most)} has forgotten most, {_loss(most)}; {_name(least)} least, {kept}."]


def _of_references(references: Sequence[Standing]) -> list[str]:
    """Say where the references end, which see more than a method may."""
    ends = [f"{_name(one)} {one.end.value:.1f}" for one in references if not isnan(one.end.value)]
    if not ends:
        return []
    return [f"For reference, with all phases at once or all transitions kept: {', '.join(ends)}."]


def _name(one: Standing) -> str:
    return one.label if " " not in one.label else f"\u201c{one.label}\u201d"


_MOST_NAMES = 4
"""Methods that a sentence lists by name."""


def _names(standings: Iterable[Standing], noun: str = "other methods") -> str:
    """List methods, or count them if they are many."""
    names = [_name(one) for one in standings]
    return listed(names) if len(names) <= _MOST_NAMES else f"{len(names)} {noun}"


def _percent(share: float) -> str:
    """Write a share, which is never rounded to nothing."""
    return "less than 1 %" if 0 < share < 0.005 else f"{share:.0%}".replace("%", " %")


# From runs.


def standings(results: Sequence[MethodResults], base: MethodResults) -> list[Standing]:
    """Compute what a verdict needs from the runs of all methods."""
    compared = {one.label: found for one, found in differences(results, base, "acc@gem")}
    return [
        Standing(
            label=one.label,
            end=one.estimate("acc@gem"),
            change=one.estimate("bwt@gem"),
            worst=one.estimate("worst-phase@end"),
            learnt=_learnt(one),
            share=_share(one),
            difference=compared.get(one.label),
            reference=one.is_reference,
        )
        for one in results
    ]


def _share(one: MethodResults) -> float:
    if one.context.references is None:
        return nan
    names = ("la@mer", "la@mer-last", "acc@gem")
    known = [one.estimate(name, normalised=True).value for name in names]
    return max((value for value in known if not isnan(value)), default=nan)


def _learnt(one: MethodResults) -> float:
    """Return the score when just learnt, in the phases that another one followed."""
    rows = one.records[0].learnt()
    last = one.matrices.shape[1] - 1
    followed = [one.matrices[:, row, j] for j, row in enumerate(rows) if row < last]
    return float(np.mean(followed)) if followed else nan


def section(results: Sequence[MethodResults], base: MethodResults, points: str) -> Section:
    """Lay out the verdict on some methods, with its picture."""
    found = standings(results, base)
    said = verdict(found, base.label, points)
    return Section(
        "about-verdict",
        "Verdict",
        " ".join(said.details),
        (_picture(results, points),),
        said.headline,
    )


def _picture(results: Sequence[MethodResults], points: str) -> DotChart:
    """Draw what each method had learnt and what it has at the end, the best one at the top."""
    dots = []
    for one in results:
        learnt, end = one.estimate("la@mer"), one.estimate("acc@gem")
        dots.append(Dots(one.label, learnt.value, end.value, end.low, end.high))
    dots.sort(key=lambda dot: -np.inf if isnan(dot.value) else dot.value, reverse=True)
    scale = results[0].context.references
    marks = (
        (("random play", float(scale.zero.mean())), ("oracle", float(scale.one.mean())))
        if scale is not None and not scale.reason
        else ()
    )
    return DotChart(
        key="verdict",
        title="What was learnt, and what is left at the end",
        caption="Mean over all phases and runs. A line to the left is forgetting.",
        alt="; ".join(
            f"{dot.label}: {spoken(dot.before, '.1f')} when just learnt, "
            f"{spoken(dot.value, '.1f')} at the end"
            for dot in dots
        ),
        x_label=points,
        before_label="when just learnt",
        value_label="at the end",
        dots=tuple(dots),
        marks=marks,
    )
