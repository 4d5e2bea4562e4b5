"""The runs that a study consists of, each with a name and a place of its own."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from continual_arcade.studies.run_spec import RunSpec
from continual_arcade.studies.scenario import Scenario
from continual_arcade.studies.study import EXPERT, Entry, Study

Kind = Literal["method", "reference", "expert"]


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    name: str
    """Name of its folder."""
    kind: Kind
    """Whether it is a run of a method; of a reference in the same schedule, or of an expert,
    which is trained in one phase alone. Those two are shared by all studies."""
    scenario: str
    method: str
    seed: int
    make: Callable[[], RunSpec]
    """Says what the run is."""

    @property
    def is_shared(self) -> bool:
        """Whether other studies use it, too."""
        return self.kind != "method"

    @property
    def name_without_seed(self) -> str:
        """What all runs are called that differ from it by their seed at most."""
        return self.name.rpartition("__")[0]


def cells(study: Study) -> Iterator[Cell]:
    """Go through the runs of a study: seed by seed, so that what is done first is balanced."""
    experts = _experts(study) if "experts" in study.references else []
    shared = {
        (scenario.name, entry.method.name): _digest(study.spec(scenario, entry, 0))
        for scenario in study.scenarios
        for entry in study.trained_in(scenario)
        if entry not in study.entries
    }
    for seed in study.seeds:
        for scenario in study.scenarios:
            for entry in study.trained_in(scenario):
                yield _cell(
                    study, scenario, entry, seed, shared.get((scenario.name, entry.method.name))
                )
        for scenario, name, spec in experts:
            make = partial(replace, spec, seed=seed)
            yield Cell(f"{name}__{seed}", "expert", scenario.name, EXPERT, seed, make)


def _cell(study: Study, scenario: Scenario, entry: Entry, seed: int, shared: str | None) -> Cell:
    method, make = entry.method.name, partial(study.spec, scenario, entry, seed)
    if shared is None:
        name = f"{scenario.name}__{method}__{seed}"
        return Cell(name, "method", scenario.name, method, seed, make)
    name = f"{scenario.name}-{shared}__{method}__{seed}"
    return Cell(name, "reference", scenario.name, method, seed, make)


def _experts(study: Study) -> list[tuple[Scenario, str, RunSpec]]:
    """Return an expert for each phase that is there; runs that are alike are trained once."""
    found: dict[str, tuple[Scenario, str, RunSpec]] = {}
    for scenario in study.scenarios:
        for phase in scenario.schedule.distinct:
            spec = study.expert_spec(scenario, phase.index)
            digest = _digest(spec)
            name = f"{scenario.game}-{spec.schedule.name}-{digest}__{EXPERT}"
            found.setdefault(digest, (scenario, name, spec))
    return list(found.values())


def _digest(spec: RunSpec) -> str:
    """Return twelve hex digits that runs share which differ by their seed alone."""
    config = spec.identity
    del config["seed"]
    if not spec.probes:  # whoever shares it may want what was measured of its network
        config["probes"] = False
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]
