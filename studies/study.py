"""A study as a file: scenarios, methods and seeds, and how runs are evaluated."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from continual_arcade.agents.algorithms.catalogue import (
    ALGORITHMS,
    DQN,
    METHODS_OF_ALL,
    AnySettings,
    check_method,
    settings_class,
)
from continual_arcade.agents.methods import METHODS, Method, compose
from continual_arcade.agents.settings import DQNSettings, Settings
from continual_arcade.envs import ENVIRONMENTS, GAMES, make_game
from continual_arcade.envs.context import HIDDEN, check_context
from continual_arcade.envs.curricula import as_schedule
from continual_arcade.envs.messages import unknown
from continual_arcade.envs.schedule_files import SUFFIXES
from continual_arcade.evaluation.protocol import EvaluationSettings, Protocol, check_spacing
from continual_arcade.evaluation.timetable import SAVE_EVERY
from continual_arcade.studies.file_values import check_name, check_once, only, texts_of, value_of
from continual_arcade.studies.run_spec import RunSpec
from continual_arcade.studies.scenario import Scenario, as_scenario
from continual_arcade.studies.seeds import check_seed, parse_seeds

FORMAT = 1
SHIPPED = Path(__file__).parent / "shipped"
"""Studies that come with the suite."""
REFERENCES: Mapping[str, str] = {
    "experts": "a fresh agent for each phase, trained in it alone: forward transfer",
    "joint": "all phases at once",
    "from-scratch": "everything is trained from scratch in each phase",
}
"""What can be made beside the methods, to compare them with."""
EXPERT = "expert"
"""What a run in one phase alone is called where others have the name of their method."""
_OF_EXPERTS = METHODS["finetune"]

_TAKEN = ("references",)
"""Folders that stand beside those of studies."""


@dataclass(frozen=True)
class Entry:
    """One method of a study."""

    method: Method
    """Under the name that it has in the study."""
    settings: AnySettings
    """How it learns, and by which algorithm."""
    scenarios: tuple[str, ...] = ()
    """Names of the scenarios that it is trained in; none for all."""

    @property
    def label(self) -> str:
        """What it is called where no other entry may be called so."""
        return " in ".join(filter(None, (self.method.name, ", ".join(self.scenarios))))


@dataclass(frozen=True, kw_only=True)
class Study:
    """Which runs there are, and how they are evaluated.

    Every method is trained in every scenario, or in those that it names, once for each seed.

    Raises:
        ValueError: If something makes no sense; the message names it.
    """

    name: str
    about: str
    scenarios: tuple[Scenario, ...]
    entries: tuple[Entry, ...]
    seeds: tuple[int, ...]
    evaluation: EvaluationSettings
    save_every: int
    probes: bool = True
    """Whether networks are measured at each evaluation, too."""
    references: tuple[str, ...]
    """Of ``REFERENCES``."""
    shared: DQNSettings
    """Settings of all methods that do not say otherwise, and of the references."""

    def __post_init__(self) -> None:
        check_name(self.name, "study")
        if self.name in _TAKEN:
            raise ValueError(
                f"study {self.name!r} would have the folder that all studies share: give it "
                "another name"
            )
        check_once([scenario.name for scenario in self.scenarios], "schedule of a game")
        check_once(self.seeds, "seed", "leave one out")
        for entry in self.entries:
            check_name(entry.method.name, "method")
            if entry.method.name in self.references:
                raise ValueError(
                    f"{entry.method.name} is both a method and a reference: leave one out"
                )
            if entry.method.name == EXPERT:
                raise ValueError(
                    f"method {EXPERT!r} has the name of a reference: give it another one"
                )
        for name, of_kind in (
            ("game with a schedule", self.scenarios),
            ("method", self.entries),
            ("seed", self.seeds),
        ):
            if not of_kind:
                raise ValueError(f"study {self.name!r} has no {name}: name at least one")
        known = [scenario.name for scenario in self.scenarios]
        for entry in self.entries:
            where = f"method {entry.method.name!r}"
            check_once(entry.scenarios, f"scenario of {where}", "leave one out")
            for name in entry.scenarios:
                if name not in known:
                    raise ValueError(unknown(f"scenario of {where} in this study", name, known))
        for scenario in self.scenarios:
            names = [entry.method.name for entry in self.entries_in(scenario)]
            check_once(names, f"method of {scenario.name}")
            if not names:
                raise ValueError(
                    f"no method of study {self.name!r} is trained in {scenario.name!r}: name it in "
                    "the scenarios of one, or leave it out"
                )

    @cached_property
    def methods(self) -> tuple[Entry, ...]:
        """The methods, and the references that are trained in the same schedules."""
        in_all_phases = [METHODS[name] for name in self.references if name in METHODS]
        return (*self.entries, *(Entry(method, self.shared) for method in in_all_phases))

    def entries_in(self, scenario: Scenario) -> tuple[Entry, ...]:
        """Return the methods that are trained in a scenario, without references."""
        return tuple(
            entry
            for entry in self.entries
            if not entry.scenarios or scenario.name in entry.scenarios
        )

    def trained_in(self, scenario: Scenario) -> tuple[Entry, ...]:
        """Return the methods that are trained in a scenario, and the references in its schedule."""
        return (*self.entries_in(scenario), *self.methods[len(self.entries) :])

    def spec(self, scenario: Scenario, entry: Entry, seed: int) -> RunSpec:
        """Return what one run is."""
        return RunSpec(
            game=scenario.game,
            schedule=scenario.schedule,
            method=entry.method,
            settings=scenario.learner(entry.settings, entry.method),
            seed=seed,
            evaluation=self.evaluation,
            save_every=self.save_every,
            context=scenario.context,
            options=scenario.options,
            scenario=None if scenario.is_plain else scenario,
            probes=self.probes,
        )

    def protocol(self, scenario: Scenario) -> Protocol:
        """Return what the numbers of all runs in a scenario depend on beside the agent."""
        return self.spec(scenario, self.entries_in(scenario)[0], self.seeds[0]).protocol

    def expert_spec(self, scenario: Scenario, phase: int) -> RunSpec:
        """Return what the run of an expert is, which is trained in one phase alone.

        Args:
            scenario: The scenario.
            phase: Index of the phase.

        Raises:
            ValueError: If nothing would be learnt in that time.
        """
        try:
            return RunSpec(
                game=scenario.game,
                schedule=scenario.schedule.single(phase),
                method=_OF_EXPERTS,
                settings=scenario.learner(self.shared),
                evaluation=self.evaluation,
                save_every=self.save_every,
                context=scenario.context,
                options=scenario.options,
                scenario=None if scenario.is_plain else scenario,
                probes=self.probes,
            )
        except ValueError as error:
            name = scenario.schedule.phases[phase].name
            raise ValueError(f"expert of phase {name!r} in {scenario.name}: {error}") from error

    @property
    def packages(self) -> dict[str, str]:
        """Versions of the packages that some of its runs need beside those that all need."""
        found: dict[str, str] = {}
        for scenario in self.scenarios:
            for entry in self.trained_in(scenario):
                found |= self.spec(scenario, entry, self.seeds[0]).packages
        return found

    def check(self) -> None:
        """Make an agent for each method in each scenario once, and its evaluator.

        So that what makes no sense is said before anything is trained.

        Raises:
            ValueError: If something makes no sense; the message says where.
        """
        for seed in self.seeds:
            check_seed(seed)
        self._check_told_apart()
        for scenario in self.scenarios:
            for entry in self.trained_in(scenario):
                try:
                    spec = self.spec(scenario, entry, self.seeds[0])
                    spec.check_evaluation()
                    env = spec.build().get_env()
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{entry.method.name} in {scenario.name}: {error}") from error
                assert env is not None
                env.close()

    def _check_told_apart(self) -> None:
        """Check that results will be known to be of which scenario, and experts, too.

        Raises:
            ValueError: If not, or there can be no expert of a phase.
        """
        played: dict[Any, str] = {}
        experts: dict[Any, tuple[Scenario, AnySettings]] = {}
        for scenario in self.scenarios:
            other = played.setdefault(self.protocol(scenario).key, scenario.name)
            if other != scenario.name:
                raise ValueError(
                    f"scenarios {other!r} and {scenario.name!r} differ in their learner alone: "
                    "their runs would count as one comparison; make a study of each"
                )
            for phase in scenario.schedule.distinct if "experts" in self.references else ():
                spec = self.expert_spec(scenario, phase.index)
                known, settings = experts.setdefault(spec.protocol.key, (scenario, spec.settings))
                if settings != spec.settings:
                    self._check_learns(known, settings, phase.name)
                    self._check_learns(scenario, spec.settings, phase.name)

    def _check_learns(self, scenario: Scenario, settings: AnySettings, phase: str) -> None:
        """Check that some method learns as experts of a phase do, which tells whose they are."""
        specs = (self.spec(scenario, entry, 0) for entry in self.entries_in(scenario))
        if not any((spec.method, spec.settings) == (_OF_EXPERTS, settings) for spec in specs):
            raise ValueError(
                f"experts of phase {phase!r} learn in {scenario.name!r} with other settings than "
                f"in another scenario, and nothing tells whose they are: let {_OF_EXPERTS.name!r} "
                "be one of the methods there, with the settings of all, or make a study of each "
                "scenario"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data, defaults and presets written out."""
        return {
            "format": FORMAT,
            "name": self.name,
            "about": self.about,
            "worlds": {  # as 0.1.0 has it
                scenario.name: {
                    key: value
                    for key, value in scenario.to_dict().items()
                    if key not in ("format", "name")
                }
                for scenario in self.scenarios
            },
            "methods": {
                entry.label: {
                    "method": entry.method.to_dict(),
                    **(
                        {}
                        if entry.settings.algorithm == DQN
                        else {"algorithm": entry.settings.algorithm}
                    ),
                    "settings": asdict(entry.settings),
                    # As studies were written before there was a choice.
                    **({"scenarios": list(entry.scenarios)} if entry.scenarios else {}),
                }
                for entry in self.entries
            },
            "seeds": list(self.seeds),
            "settings": asdict(self.shared),
            "evaluation": asdict(self.evaluation),
            "save_every": self.save_every,
            **({} if self.probes else {"probes": False}),
            "references": list(self.references),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Study":
        """Read what :meth:`to_dict` returned.

        Raises:
            ValueError: If it is damaged, or was written by another version.
        """
        if data.get("format") != FORMAT:
            raise ValueError(
                f"a study of format {data.get('format')!r}; this version reads format {FORMAT}"
            )
        try:
            return cls(
                name=data["name"],
                about=data["about"],
                scenarios=tuple(
                    as_scenario({"name": name, **scenario}, Path())
                    for name, scenario in data["worlds"].items()
                ),
                entries=tuple(
                    Entry(
                        Method.from_dict(entry["method"]),
                        settings_class(entry.get("algorithm", DQN)).from_dict(entry["settings"]),
                        tuple(entry.get("scenarios", ())),
                    )
                    for entry in data["methods"].values()
                ),
                seeds=tuple(data["seeds"]),
                evaluation=EvaluationSettings(**data["evaluation"]),
                save_every=data["save_every"],
                probes=data.get("probes", True),
                references=tuple(data["references"]),
                shared=DQNSettings.from_dict(data["settings"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the study is damaged: {error!r}") from error


def find(name: str) -> Path:
    """Return the file of a study: of this path, or the one that comes with the suite.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{name}.toml"
    if shipped.exists():
        return shipped
    names = sorted(file.stem for file in SHIPPED.glob("*.toml"))
    raise FileNotFoundError(f"there is no file {path}; {unknown('shipped study', name, names)}")


def load(path: Path) -> Study:
    """Read a study from a TOML file.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no study, or something in it makes no sense; the message names the
            file and the place.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        return read(data, path.parent)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable as TOML: {error}") from error
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def read(data: Mapping[str, Any], folder: Path) -> Study:
    """Read a study from plain data, as TOML has it.

    Args:
        data: The data.
        folder: Where the files of schedules are looked for.

    Raises:
        ValueError: If it is no study, or something in it makes no sense.
    """
    of_schedules = ("games", "schedules", "phase_steps", "context")
    more = ("seeds", "save_every", "probes", "references", "settings", "evaluation", "methods")
    only(data, ("format", "name", "about", "scenarios", *of_schedules, *more), "a study")
    if data.get("format") != FORMAT:
        raise ValueError(f"a study says format = {FORMAT}; this says {data.get('format')!r}")
    scenarios = [
        as_scenario(item, folder) for item in value_of(data, "scenarios", list, "a study", [])
    ]
    if "schedules" in data or not scenarios:
        scenarios += _scenarios(data, folder)
    elif idle := [key for key in of_schedules if key in data]:
        raise ValueError(
            f"{idle[0]} = {data[idle[0]]!r} is for schedules, and this study has scenarios alone, "
            "which say it themselves: leave it out"
        )
    shared = settings_from(data.get("settings", {}), DQNSettings(), "settings")
    methods = value_of(data, "methods", dict, "a study")
    entries = [method_from(label, table, shared) for label, table in methods.items()]
    references = texts_of(data, "references", "a study", [*REFERENCES])
    for name in data.get("settings", {}) if entries and not references else ():
        if not any(entry.settings.takes(name) for entry in entries):
            raise ValueError(
                f"{name} of settings is that of a DQN, and no method or reference of this study is "
                "one: leave it out, or set what the algorithm has in the settings of the method"
            )
    for scenario in scenarios:
        scenario.check_given(data.get("settings", {}), shared)
        for (label, table), entry in zip(methods.items(), entries, strict=True):
            if entry.scenarios and scenario.name not in entry.scenarios:
                continue
            try:
                scenario.check_given(table.get("settings", {}), entry.settings)
            except ValueError as error:
                raise ValueError(f"method {label!r}: {error}") from error
    for reference in references:
        if reference not in REFERENCES:
            raise ValueError(unknown("reference", reference, REFERENCES))
    check_once(references, "reference", "leave one out")
    return Study(
        name=value_of(data, "name", str, "a study"),
        about=value_of(data, "about", str, "a study", ""),
        scenarios=tuple(scenarios),
        entries=tuple(entries),
        seeds=parse_seeds(value_of(data, "seeds", str, "a study")),
        evaluation=evaluation_from(data.get("evaluation", {})),
        save_every=value_of(data, "save_every", int, "a study", SAVE_EVERY),
        probes=value_of(data, "probes", bool, "a study", True),
        references=tuple(references),
        shared=shared,
    )


def _scenarios(data: Mapping[str, Any], folder: Path) -> Iterator[Scenario]:
    """Read the scenarios that are no more than a game with a schedule."""
    games = texts_of(data, "games", "a study", [*GAMES])
    for game in games:
        if game not in ENVIRONMENTS:
            raise ValueError(unknown("game", game, ENVIRONMENTS))
    check_once(games, "game", "leave one out")
    schedules = value_of(data, "schedules", list, "a study")
    length = value_of(data, "phase_steps", int, "a study", 0)
    of_all = value_of(data, "context", str, "a study", HIDDEN)
    for item in schedules:
        table = {"use": item} if isinstance(item, str) else item
        if not isinstance(table, Mapping):
            raise ValueError(f"a schedule is a name, a file or a table, not {item!r}")
        only(table, ("use", "name", "games", "phase_steps", "context"), "a schedule")
        use = value_of(table, "use", str, "a schedule")
        context = check_context(value_of(table, "context", str, f"schedule {use!r}", of_all))
        of_games = texts_of(table, "games", f"schedule {use!r}", games)
        for game in of_games:
            if game not in games:
                raise ValueError(unknown(f"game of schedule {use!r} in this study", game, games))
            path = folder / use if use.endswith(SUFFIXES) else use
            schedule = as_schedule(path, make_game(game))
            steps = value_of(table, "phase_steps", int, f"schedule {use!r}", length)
            if steps < 0 or (steps == 0 and "phase_steps" in (*table, *data)):
                raise ValueError(f"phase_steps = {steps} must be at least 1")
            if steps:
                schedule = schedule.with_steps(steps)
            name = value_of(table, "name", str, "a schedule", schedule.name.replace(":", "-"))
            yield Scenario(f"{game}-{name}", game, replace(schedule, name=name), context)


def method_from(label: str, table: Any, shared: DQNSettings) -> Entry:
    """Read a method of a study.

    Args:
        label: What it is called.
        table: ``name`` (the label, if not given), ``preset`` (the name, if not given), ``replay``,
            ``parts``, ``settings`` and ``scenarios``; and ``algorithm`` (dqn, if not given), whose
            ``settings`` they are then, and whose ``preset`` is finetune if not given.
        shared: Settings where it does not say otherwise; those of a DQN, of which another algorithm
            takes what means the same to it.

    Raises:
        ValueError: If something makes no sense.
    """
    where = f"method {label!r}"
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} must be a table, not {table!r}: write {label} = {{}} at least")
    known = ("name", "algorithm", "preset", "replay", "parts", "settings", "scenarios")
    only(table, known, where)
    name = value_of(table, "name", str, where, label)
    algorithm = value_of(table, "algorithm", str, where, DQN)
    of_all = name if algorithm == DQN else METHODS_OF_ALL[0]
    preset = value_of(table, "preset", str, where, of_all)
    if preset not in METHODS:
        hint = "" if "preset" in table else "; one with a name of its own says preset = ..."
        if name in ALGORITHMS and "preset" not in table:
            hint = f"; one of another algorithm says algorithm = {name!r}"
        raise ValueError(f"{unknown('method', preset, METHODS)}{hint}")
    parts = texts_of(table, "parts", where, [])
    replay = value_of(table, "replay", str, where, "") or None
    try:
        method = replace(compose(preset, replay, parts), name=name)
        base: AnySettings = shared
        if algorithm != DQN:
            check_method(algorithm, method)
            base = shared_with(algorithm, shared)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
    return Entry(
        method,
        settings_from(table.get("settings", {}), base, f"settings of {where}"),
        tuple(texts_of(table, "scenarios", where, [])),
    )


def shared_with(algorithm: str, shared: DQNSettings) -> AnySettings:
    """Return the settings of an algorithm, with those of a DQN that mean the same to it.

    Raises:
        ValueError: If there is no such algorithm, or they make no sense for it.
    """
    settings, usual = settings_class(algorithm)(), DQNSettings()
    changes: dict[str, Any] = {
        field.name: getattr(shared, field.name)
        for field in fields(usual)
        if settings.takes(field.name) and getattr(shared, field.name) != getattr(usual, field.name)
    }
    return replace(settings, **changes)


def settings_from(table: Any, base: Settings, where: str) -> Settings:
    """Read settings of the learner, and take those that are not given from others.

    Raises:
        ValueError: If there is no such setting, or a value is not of its type or makes no sense.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"{where} must be a table, not {table!r}")
    known = asdict(base)
    only(table, known, where)
    given: dict[str, Any] = {}
    for name, value in table.items():
        # What may be nothing has no default to go by: the settings look at it themselves.
        if known[name] is None:
            given[name] = value
            continue
        kind: type = list if name == "hidden" else type(known[name])
        given[name] = value_of(table, name, kind, where)
        if kind is list:
            if any(type(units) is not int for units in value):
                raise ValueError(f"{name} = {value} of {where} must be a list of whole numbers")
            given[name] = tuple(value)
    try:
        return replace(base, **given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def evaluation_from(table: Any) -> EvaluationSettings:
    """Read how runs are evaluated.

    Raises:
        ValueError: If there is no such setting, or a value is no whole number or too small.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"evaluation must be a table, not {table!r}")
    least = {
        field.name: 0 if field.name in ("every", "first_seed") else 1
        for field in fields(EvaluationSettings)
    }
    only(table, least, "evaluation")
    for name in table:
        number = value_of(table, name, int, "evaluation")
        if number < least[name]:
            raise ValueError(f"evaluation.{name} = {number} must be at least {least[name]}")
    settings = EvaluationSettings(**table)
    check_spacing(settings, "evaluation.")
    return settings


def differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Say in what two studies differ, as plain data, place by place.

    Args:
        before: What was.
        now: What is.
        where: The place of both.
    """
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*before, *now)):
            place = f"{where}.{key}" if where else str(key)
            if key not in before:
                yield f"{place}: new"
            elif key not in now:
                yield f"{place}: missing"
            else:
                yield from differences(before[key], now[key], place)
    elif _are_tables(before) and _are_tables(now) and len(before) == len(now):
        # One by one, so that a change far behind is shown as well.
        for position, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from differences(one, other, f"{where}[{position}]")
    elif before != now:
        yield f"{where}: {_short(before)} before, {_short(now)} now"


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _short(value: Any, most: int = 120) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}..."
