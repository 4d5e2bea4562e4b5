"""The card of a scenario: measured properties that a scenario must have to tell methods apart.

A scenario that nobody can solve, whose phases are left half learnt, or in which nothing is
forgotten, tells nothing about methods. The card says which of these hold, with numbers, and beside
each what was wanted.
"""

import hashlib
import itertools
import json
import math
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from continual_arcade.agents.settings import BEFORE
from continual_arcade.envs import IDS
from continual_arcade.envs.messages import shown
from continual_arcade.evaluation.comparison import adjusted
from continual_arcade.evaluation.protocol import EvaluationSettings
from continual_arcade.evaluation.record import Record
from continual_arcade.evaluation.references import Scale, changes_of_play
from continual_arcade.evaluation.runs import Run
from continual_arcade.evaluation.score_range import score_range
from continual_arcade.reports.method_results import MethodResults
from continual_arcade.reports.provenance import whole_costs
from continual_arcade.studies.interference import Interference
from continual_arcade.studies.provenance import versions
from continual_arcade.studies.scenario import Scenario
from continual_arcade.studies.spread import Spread

Floats = npt.NDArray[np.float64]

FINETUNE, JOINT = "finetune", "joint"
"""The method that forgets, and the one that sees all phases at once."""
METRIC = "acc@gem"
"""What methods are compared by: the mean over all phases at the end of training."""
SIGNIFICANT = 0.05
FEWEST = 20
"""Pairs of runs that a share of decided differences is stated of: with ten the smallest p is 0.002,
which no correction over more than 25 differences leaves significant."""
EVALUATION = EvaluationSettings(every=0)
"""How runs of a card are evaluated: at phase ends only, since it speaks of nothing else, and all
others would take most of the time."""
LEAST = 0.1
"""What must have been learnt, normalised, before a share of it means anything."""
STUDIED, CORES = 15, 2
"""Methods of a study that is to be affordable, and the cores that it has. A number of its own: with
that of all methods there are, each new one would make every scenario dearer."""


@dataclass(frozen=True)
class Property:
    """A measured property of a scenario."""

    name: str
    measured: str
    """How it is measured."""
    value: float
    """NaN if it was not measured."""
    wanted: float
    at_least: bool
    """Whether the value is to be at least what is wanted; else at most."""
    detail: str = ""
    """The numbers behind it, or why it was not measured."""

    @property
    def is_met(self) -> bool:
        """Whether the value is what is wanted; not if it was not measured."""
        return self.value >= self.wanted if self.at_least else self.value <= self.wanted

    @property
    def verdict(self) -> str:
        """What to say of it."""
        if math.isnan(self.value):
            return "not measured"
        return "met" if self.is_met else "missed"


def properties(
    results: Sequence[MethodResults], experts: Mapping[int, Sequence[Run]]
) -> list[Property]:
    """Measure the properties of a scenario.

    Args:
        results: Of the methods that were trained in it, ``finetune`` and ``joint`` among them,
            measured with references.
        experts: By column of a phase, runs that were trained in it alone.

    Raises:
        ValueError: If a method, the experts of a phase, or a scale is missing.
    """
    by_name = {one.group.method: one for one in results}
    for name in (FINETUNE, JOINT):
        if name not in by_name:
            raise ValueError(f"a card needs runs of {name}, and there are none")
    finetune, joint = by_name[FINETUNE], by_name[JOINT]
    record, scale = finetune.records[0], finetune.context.references
    missing = [name for column, name in enumerate(record.labels) if not experts.get(column)]
    if missing:
        raise ValueError(f"a card needs experts of each phase, and {', '.join(missing)} has none")
    if scale is None or np.isnan(scale.zero).any():
        why = "there are no references" if scale is None else scale.reason
        raise ValueError(f"a card needs scores of random play and the oracle: {why}")
    alone = [
        np.array([_of_expert(run.scores, scale, column) for run in experts[column]])
        for column in range(len(record.phases))
    ]
    return [
        _solvable(finetune.runs[0], scale),
        *_learnable(record.labels, alone),
        _reconcilable(_ends(joint, scale), alone, record.labels),
        _forgetful(finetune, scale),
        _separating(results),
        _quiet(results),
        _cheap(results),
    ]


def _of_expert(record: Record, scale: Scale, column: int) -> float:
    """Return the score of an expert at its end, on the scale of its phase."""
    zero, one = scale.zero[column], scale.one[column]
    return float((record.matrix[-1, 0] - zero) / (one - zero))


def _ends(one: MethodResults, scale: Scale) -> Floats:
    """Return scores at the end, normalised, shape ``(runs, phases)``."""
    return np.array([of.rescaled(scale.zero, scale.one).matrix[-1] for of in one.records])


def _solvable(run: Run, scale: Scale) -> Property:
    """Measure how close the oracle comes to the highest possible score, in the worst phase."""
    possible = score_range(run.protocol)
    how = "oracle over the highest possible score, in the worst phase"
    if possible is None:
        why = "the highest possible score of this game is not known"
        return Property("solvable", how, math.nan, 0.99, at_least=True, detail=why)
    shares = scale.one / possible.highest.mean(axis=1)
    names = run.scores.labels
    detail = _listed(dict(zip(names, shares.tolist(), strict=True)))
    return Property("solvable", how, float(shares.min()), 0.99, at_least=True, detail=detail)


def _learnable(phases: Sequence[str], alone: Sequence[Floats]) -> list[Property]:
    """Measure whether every phase is mastered by an agent that is trained in it alone."""
    means = {name: float(scores.mean()) for name, scores in zip(phases, alone, strict=True)}
    spreads = {name: float(scores.std(ddof=1)) for name, scores in zip(phases, alone, strict=True)}
    seeds = f"{min(map(len, alone))} seeds"
    return [
        Property(
            "learnable",
            "experts, normalised (0: random play, 1: oracle), in the worst phase",
            min(means.values()),
            0.9,
            at_least=True,
            detail=f"{_listed(means)}; {seeds}",
        ),
        Property(
            "learnable, spread",
            "standard deviation between experts, in the widest phase",
            max(spreads.values()),
            0.05,
            at_least=False,
            detail=f"{_listed(spreads)}; {seeds}",
        ),
    ]


def _reconcilable(joint: Floats, alone: Sequence[Floats], phases: Sequence[str]) -> Property:
    """Measure whether one network can hold all phases."""
    how = "joint over the experts, mean over phases"
    experts = np.array([scores.mean() for scores in alone])
    found = joint.mean(axis=0)
    if experts.min() < LEAST:
        why = f"experts reach {experts.min():.2f} in {phases[int(experts.argmin())]}: too little"
        return Property("reconcilable", how, math.nan, 0.85, at_least=True, detail=why)
    detail = _listed(dict(zip(phases, (found / experts).tolist(), strict=True)))
    return Property(
        "reconcilable",
        how,
        float(found.mean() / experts.mean()),
        0.85,
        at_least=True,
        detail=f"{detail}; {len(joint)} seeds",
    )


def _forgetful(finetune: MethodResults, scale: Scale) -> Property:
    """Measure how much of what was learnt fine-tuning loses, in phases that others follow."""
    how = "finetune: change since just learnt over what was learnt, where other phases follow"
    records = [record.rescaled(scale.zero, scale.one) for record in finetune.records]
    last = len(records[0].ends) - 1
    followed = [c for c, row in enumerate(records[0].learnt("last")) if row < last]
    if not followed:
        why = "no phase is followed by another one"
        return Property("forgetful", how, math.nan, -0.5, at_least=False, detail=why)
    learnt = np.array(
        [[of.matrix[of.learnt("last")[c], c] for c in followed] for of in records]
    ).mean(axis=0)
    ends = np.array([[of.matrix[-1, c] for c in followed] for of in records]).mean(axis=0)
    names = [records[0].labels[column] for column in followed]
    if learnt.min() < LEAST:
        why = f"finetune learns {learnt.min():.2f} in {names[int(learnt.argmin())]}: too little"
        return Property("forgetful", how, math.nan, -0.5, at_least=False, detail=why)
    shares = (ends - learnt) / learnt
    detail = _listed(dict(zip(names, shares.tolist(), strict=True)), "+.2f")
    value = float((ends - learnt).sum() / learnt.sum())
    return Property("forgetful", how, value, -0.5, at_least=False, detail=detail)


def _separating(results: Sequence[MethodResults]) -> Property:
    """Measure which share of all pairs of methods is decided."""
    how = "share of pairs of methods decided at the end (paired sign flips, Holm over all pairs)"
    compared = [one for one in results if not one.is_reference]
    pairs = list(itertools.combinations(compared, 2))
    runs = min(len(one.runs) for one in results)
    if not pairs or runs < FEWEST:
        why = f"{len(compared)} methods with {runs} runs each; it takes 2 with {FEWEST}"
        return Property("separating", how, math.nan, 0.5, at_least=True, detail=why)
    found = adjusted([one.less(other, METRIC) for one, other in pairs])
    decided = sum(each.adjusted_p < SIGNIFICANT for each in found)
    return Property(
        "separating",
        how,
        decided / len(pairs),
        0.5,
        at_least=True,
        detail=f"{decided} of {len(pairs)} pairs of {len(compared)} methods, {runs} seeds",
    )


def _quiet(results: Sequence[MethodResults]) -> Property:
    """Measure how much a score swings between evaluations, beside what seeds differ by."""
    how = "spread between the last evaluations over that between seeds, mean over phases"
    compared = [one for one in results if not one.is_reference]
    within: list[float] = []
    between: list[float] = []
    for one in compared:
        last = [of.means[of.ends[-1]].mean(axis=1) for of in one.records]
        if min(map(len, last)) < 2 or len(last) < 2:
            why = "it takes two runs, and two evaluations at the end of each"
            return Property("quiet", how, math.nan, 0.5, at_least=False, detail=why)
        within.append(float(np.mean([scores.var(ddof=1) for scores in last])))
        between.append(float(np.var([scores.mean() for scores in last], ddof=1)))
    swings, apart = math.sqrt(float(np.mean(within))), math.sqrt(float(np.mean(between)))
    detail = f"{swings:.2f} between evaluations, {apart:.2f} between seeds"
    value = 0.0 if swings == 0 else math.inf if apart == 0 else swings / apart
    return Property("quiet", how, value, 0.5, at_least=False, detail=detail)


def _cheap(results: Sequence[MethodResults]) -> Property:
    """Estimate the time of a study from what these runs have taken.

    Of each method the fastest counts: what else the machine has to do only adds to the others.
    """
    how = f"minutes for {STUDIED} methods and {FEWEST} seeds on {CORES} cores"
    fastest: list[float] = []
    for one in results:
        if one.is_reference:
            continue
        known = [spent for run in one.runs if (spent := whole_costs(run)) is not None]
        if not known:
            why = f"no run of {one.label} without interruption has written down its costs"
            return Property("cheap", how, math.nan, 60.0, at_least=False, detail=why)
        fastest.append(min(training + evaluation for _, training, _, evaluation in known))
    each = float(np.mean(fastest))
    return Property(
        "cheap",
        how,
        each * STUDIED * FEWEST / CORES / 60,
        60.0,
        at_least=False,
        detail=f"{each:.1f} s a run, mean of the fastest of each method",
    )


def _listed(numbers: Mapping[str, float], spec: str = ".2f") -> str:
    return ", ".join(f"{name} {number:{spec}}" for name, number in numbers.items())


FORMAT = 2
"""Version of the files of cards; 1 had no spreads."""
FOLDER = "cards"
"""Stands beside the files of scenarios, and holds their cards."""


def check_game(scenario: Scenario) -> None:
    """Check that there can be a card of a scenario, before anything is trained for it.

    Raises:
        ValueError: If it is of labelled examples, of other people's environments, or of a game
            without references.
    """
    if scenario.is_of_others:
        raise ValueError(
            f"{scenario.name} has no card, since its environments are other people's: the scale of "
            "a card is random play and the oracle, and there is no oracle of theirs; compare its "
            "methods in a study"
        )
    game = scenario.make_game()
    if game.rules.labelled:
        raise ValueError(
            f"{scenario.name} has no card, since it is of labelled examples: the scale of a card "
            "is random play and the oracle of a game"
        )
    other = changes_of_play(scenario.options)
    if other or not game.oracle:
        what = f"options = {shown(other)}" if other else "no oracle"
        raise ValueError(
            f"{scenario.name} has no card, since {game.name} has {what}: the scale of a card is "
            "random play and the oracle, which are known of games that are played as usual, "
            "however they are seen; compare its methods in a study"
        )


def place(scenario: Scenario) -> Path | None:
    """Return where the card of a scenario is looked for.

    In the folder ``cards`` beside its file, under its name; None if it has no file of its own.
    """
    if scenario.file is None:
        return None
    return scenario.file.parent / FOLDER / f"{scenario.name}.toml"


def how_to_measure(scenario: Scenario) -> str:
    """Return the command that makes the card of a scenario, and puts it where it is looked for."""
    command = ["python", "-m", "continual_arcade.scripts.scenario", "card", scenario.called]
    if (path := place(scenario)) is not None:
        command += ["--to", str(path.parent)]
    return shlex.join(command)


def card_data(
    scenario: Scenario,
    found: Sequence[Property],
    spread: Spread,
    interference: Interference,
    made: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a card as plain data.

    Args:
        scenario: What was measured.
        found: Its properties.
        spread: What its seeds differ by.
        interference: How the gradients of its phases agree.
        made: What made it: command, date, versions, commit, seeds.
    """
    return {
        "format": FORMAT,
        "scenario": scenario.name,
        "fingerprint": fingerprint(scenario),
        "version": _version(),
        "made": {name: value for name, value in made.items() if value is not None},
        "properties": to_data(found),
        "interference": interference.to_data(),
        "spread": spread.to_data(),
    }


_ADDED = (
    "loss",
    "initial",
    "convolutions",
    "heads",
    "inputs",
    "tasks",
    "task_window",
    "task_hazard",
    "task_sure",
    "task_memory",
)
"""Settings that came when there were cards."""


def fingerprint(scenario: Scenario) -> str:
    """Return sixteen hex digits of all that the numbers of a card depend on but the code.

    Its game, options, schedule, context, and all settings of its learner, defaults included; but
    what came later is left out where it is as it was before.
    """
    learner = asdict(scenario.learner())
    for name in _ADDED:
        if learner[name] == BEFORE[name]:
            del learner[name]
    data = {
        "game": IDS[scenario.game],
        "schedule": scenario.schedule.fingerprint,
        "context": scenario.context,
        "learner": learner,
        **({"options": dict(scenario.options)} if scenario.options else {}),
    }
    text = json.dumps(data, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _version() -> str:
    return str(versions()["versions"]["continual-arcade"])


def read(path: Path, scenario: Scenario) -> dict[str, Any]:
    """Read the card of a scenario.

    Raises:
        OSError: If there is none.
        ValueError: If it is no card, that of another scenario, or one that was measured by another
            version, or with other settings than the scenario has now.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no card: {error}") from error
    again = f"measure it again: {how_to_measure(scenario)}"
    if data.get("format") != FORMAT or "properties" not in data:
        raise ValueError(f"{path} is no card of format {FORMAT}; {again}")
    if data.get("scenario") != scenario.name:
        raise ValueError(f"{path} is the card of {data.get('scenario')!r}; {again}")
    if data.get("version") != _version():
        raise ValueError(
            f"{path} was measured by version {data.get('version')}, this is {_version()}; {again}"
        )
    if data.get("fingerprint") != fingerprint(scenario):
        raise ValueError(
            f"{path} was measured when {scenario.name} had another schedule, context or learner; "
            f"{again}"
        )
    return data


def read_spread(path: Path, scenario: Scenario) -> Spread:
    """Read from the card of a scenario what its seeds differ by.

    Raises:
        OSError: As in :func:`read`.
        ValueError: As in :func:`read`.
    """
    data = read(path, scenario)
    try:
        return Spread.from_data(data.get("spread"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged: {error}; measure it again: {how_to_measure(scenario)}"
        ) from error


def recommended(scenario: Scenario) -> str:
    """Return the method that the card of a scenario recommends: the best at the end of training.

    Raises:
        ValueError: If it has no card, or one that does not hold any more.
    """
    path = place(scenario)
    if path is None or not path.exists():
        raise ValueError(
            f"scenario {scenario.name!r} has no card that recommends a method; "
            f"{how_to_measure(scenario)} measures it"
        )
    methods = [one for one in read_spread(path, scenario).methods if one.method != FINETUNE]
    if not methods:
        raise ValueError(f"{path} is of {FINETUNE} alone, and recommends nothing")
    return max(methods, key=lambda one: one.mean).method


def to_data(found: Sequence[Property]) -> list[dict[str, Any]]:
    """Return properties as plain data; a value that was not measured is left out."""
    return [
        {
            "name": one.name,
            "measured": one.measured,
            **({} if math.isnan(one.value) else {"value": round(one.value, 4)}),
            "wanted": one.wanted,
            "at_least": one.at_least,
            "verdict": one.verdict,
            "detail": one.detail,
        }
        for one in found
    ]


def as_markdown(found: Sequence[Property]) -> str:
    """Lay properties out as a table."""
    lines = ["| property | measured | value | wanted | |", "|---|---|---:|---:|---|"]
    for one in found:
        value = "" if math.isnan(one.value) else f"{one.value:.2f}"
        sign = "≥" if one.at_least else "≤"
        verdict = one.verdict if one.is_met else f"**{one.verdict}**"
        lines.append(
            f"| {one.name} | {one.measured}: {one.detail} | {value} | {sign} {one.wanted:g} "
            f"| {verdict} |"
        )
    return "\n".join(lines) + "\n"
