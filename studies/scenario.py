"""A scenario: what agents are trained in, and how they learn there, as data under one name.

Scenarios that come with the suite are the files of ``studies/scenarios``; those of one's own are
named by their path, or lie in folders that the environment variable
``CONTINUAL_ARCADE_SCENARIOS`` names, separated as in ``PATH``.
"""

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, overload

import tomli_w

from continual_arcade.agents.settings import DQNSettings, LearnerSettings, Settings
from continual_arcade.envs import ENVIRONMENTS, make_game
from continual_arcade.envs import schedules as envs_schedules
from continual_arcade.envs.checks import (
    Instance,
    Number,
    WrongTypeError,
    check_fields,
    check_values,
    rules_of,
)
from continual_arcade.envs.context import HIDDEN, ContextKind, check_context
from continual_arcade.envs.curricula import as_schedule
from continual_arcade.envs.game import Game
from continual_arcade.envs.games import OTHER
from continual_arcade.envs.messages import shown, unknown
from continual_arcade.envs.other_games import OtherGame, games_of, of_phases, tunables_of
from continual_arcade.envs.pictured import check_channels_of, check_context_of
from continual_arcade.envs.schedule_files import SUFFIXES
from continual_arcade.envs.schedules import PhaseSpec, Schedule
from continual_arcade.studies.file_values import check_name, only, value_of

if TYPE_CHECKING:  # PyTorch, which it loads, takes seconds
    from continual_arcade.agents.methods import Method

FORMAT = 1
"""Version of the files."""
SUFFIX = ".toml"
SHIPPED = Path(__file__).parent / "scenarios"
"""Scenarios that come with the suite."""
VARIABLE = "CONTINUAL_ARCADE_SCENARIOS"
"""Names folders of scenarios of one's own."""

_DEFAULT = DQNSettings()


@dataclass(frozen=True)
class Scenario:
    """What agents are trained in, and how they learn there.

    Raises:
        WrongTypeError: If a value is of the wrong type.
        ValueError: If a value makes no sense: there is no such game or setting, the game lacks a
            parameter of the schedule, or the memory holds less than a batch. The message names
            scenario and value.
    """

    name: str
    """What to call it; fit for the name of a folder."""
    game: str
    """Name of the game; ``OTHER`` if each phase names an environment of somebody else's."""
    schedule: Schedule
    """The phases."""
    context: ContextKind = HIDDEN
    """What of its phase an observation shows; see
    :class:`~continual_arcade.envs.context.Context`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the game that are not as usual, such as Catcher's ``lives``; the environments, if
    they are somebody else's."""
    about: str = ""
    """What it is, and what for: one paragraph."""
    memory: Annotated[float, Number(above=0, high=1)] | None = None
    """Share of all lifetime steps that replay holds, above 0 and at most 1; None: the setting of
    the learner counts."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of its learner that are not the defaults of :class:`DQNSettings`, by name."""
    file: Path | None = field(default=None, compare=False, repr=False)
    """What it was read from; None if it was not read from a file of its own. Says nothing of what
    it is."""

    def __post_init__(self) -> None:
        where = f"scenario {shown(self.name)}"
        check_fields(self, where)
        check_name(self.name, "scenario")
        try:
            if self.is_of_others:
                # None is made: whoever lists scenarios need not have installed all of them.
                self.schedule.check(tunables_of(self.options))
                check_context(self.context)
            else:
                if self.game not in ENVIRONMENTS:
                    raise ValueError(unknown("game", self.game, ENVIRONMENTS))
                game = self.make_game()
                check_context_of(game, self.context)
                check_channels_of(game)
                self.schedule.check(game.tunables)
            rules = rules_of(DQNSettings)
            for name in self.settings:
                if name not in rules:
                    raise ValueError(unknown("setting", name, rules))
            object.__setattr__(self, "settings", check_values(self.settings, rules))
            if self.memory is not None and "buffer_size" in self.settings:
                raise ValueError(
                    f"memory = {self.memory:g} and buffer_size = {self.settings['buffer_size']:,} "
                    "both say what replay holds: leave one out"
                )
        except (TypeError, ValueError) as error:
            raise _located(error, where) from error
        learner = self.learner()  # which checks what settings say together
        try:
            learner.check_context(self.context)
        except ValueError as error:
            raise _located(error, where) from error

    @property
    def is_of_others(self) -> bool:
        """Whether its phases name environments of other people, and it has no game."""
        return self.game == OTHER

    def make_game(self) -> Game:
        """Return the game.

        Raises:
            ValueError: If its environments are other people's.
        """
        if self.is_of_others:
            raise ValueError(
                f"scenario {self.name!r} is of environments of other people, and of no game of "
                "this suite: train, evaluate, compare, report, watch and studies take it"
            )
        return make_game(self.game, **Instance((Mapping,))("options", self.options))

    @property
    def is_plain(self) -> bool:
        """Whether it says no more than its game, its schedule and its context do."""
        says_more = self.about or self.memory is not None or self.settings or self.options
        return not says_more and self.name == f"{self.game}-{self.schedule.name}"

    @property
    def called(self) -> str:
        """What commands call it: its file, or its name if that file lies in a known folder."""
        if self.file is None or self.file in _paths():
            return self.name
        return str(self.file)

    @property
    def overrides(self) -> dict[str, Any]:
        """Settings of its learner that it decides about, that of the memory included."""
        if self.memory is None:
            return dict(self.settings)
        return {**self.settings, "buffer_size": round(self.memory * self.schedule.total_steps)}

    @overload
    def learner(self, settings: None = None, method: "Method | None" = None) -> DQNSettings: ...

    @overload
    def learner(self, settings: Settings, method: "Method | None" = None) -> Settings: ...

    def learner(
        self, settings: LearnerSettings | None = None, method: "Method | None" = None
    ) -> LearnerSettings:
        """Return the settings of its learner.

        A setting that is not at its default was chosen on purpose, and stays. An algorithm other
        than the DQN takes those settings of the scenario that mean the same to it.

        Args:
            settings: What was set; nothing if not given.
            method: The method that learns. One that brings its own optimiser keeps what it says of
                it: the step size of one optimiser says nothing about another.

        Raises:
            ValueError: If the settings make no sense together, such as a memory that holds less
                than a batch.
        """
        settings = _DEFAULT if settings is None else settings
        default = type(settings)()
        kept = method.settings if method is not None and "optimizer" in method.settings else {}
        changes = {
            name: value
            for name, value in self.overrides.items()
            if settings.takes(name)
            and getattr(settings, name) == getattr(default, name)
            and name not in kept
        }
        size = changes.get("buffer_size")
        batch = changes.get("batch_size", getattr(settings, "batch_size", 1))
        if self.memory is not None and size is not None and size < batch:
            raise ValueError(
                f"scenario {self.name!r}: memory = {self.memory:g} of "
                f"{self.schedule.total_steps:,} steps holds {size:,} transitions, fewer than "
                f"batch_size = {batch:,}: there would never be enough to learn from; give it a "
                "larger share, longer phases, or a smaller batch"
            )
        try:
            return replace(settings, **changes)
        except ValueError as error:
            raise ValueError(f"scenario {self.name!r}: {error}") from error

    def check_given(self, names: Iterable[str], settings: LearnerSettings) -> None:
        """Refuse settings that were written down, and would not count.

        A setting at its default gives way to that of the scenario; whoever wrote it down did not
        mean that.

        Args:
            names: Settings that were written down.
            settings: Their values.

        Raises:
            ValueError: If there is one; the message names it, and the way out.
        """
        default = type(settings)()
        for name in names:
            if name not in self.overrides or not settings.takes(name):
                continue
            value, ours = getattr(settings, name), self.overrides[name]
            if value == getattr(default, name) and value != ours:
                what = f"memory = {self.memory:g}" if name not in self.settings else f"{ours}"
                raise ValueError(
                    f"{name} = {value} is the default, which gives way to that of scenario "
                    f"{self.name!r} ({what}): to train with it, give a scenario of your own"
                )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain data, as a file has it, its phases written out.

        What it says nothing of is left out.
        """
        data: dict[str, Any] = {"format": FORMAT, "name": self.name}
        if self.about:
            data["about"] = self.about
        if self.is_of_others:
            data["phases"] = self._phases()
        else:
            data |= {"game": self.game, "schedule": self.schedule.to_dict()}
        if self.context != HIDDEN:
            data["context"] = self.context
        if self.options and not self.is_of_others:
            data["options"] = dict(self.options)
        if self.memory is not None:
            data["memory"] = self.memory
        if self.settings:
            data["settings"] = {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in self.settings.items()
            }
        return data

    def _phases(self) -> list[dict[str, Any]]:
        """Return its phases, each with the environment that it names."""
        games = games_of(self.options)
        return [
            {"name": spec.name, "steps": spec.steps, **games[int(spec.params["env"])].to_dict()}
            for spec in self.schedule.phases
        ]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], folder: Path = Path()) -> "Scenario":
        """Read a scenario from plain data, as :meth:`to_dict` returns it or a file has it.

        Args:
            data: The fields of a scenario, and ``format``. The schedule is the name of a shipped
                one, the path of a file, or what such a file says; a shipped one, or one of a file,
                has then the name of the scenario. ``phase_steps`` is the length of each phase, or
                a list with that of each [lifetime steps]. In place of game, schedule and options
                it may have ``phases``, each with an environment of somebody else's, and
                ``environment``, what holds of all of them where they say nothing else.
            folder: Where the files of schedules are looked for.

        Raises:
            OSError: If the file of the schedule cannot be read.
            ValueError: If it is no scenario, or something in it makes no sense; the message names
                it.
        """
        Instance((Mapping,))("a scenario", data)
        if data.get("format") != FORMAT:
            raise ValueError(
                f"a scenario says format = {FORMAT}; this says {shown(data.get('format'))}"
            )
        known = [each.name for each in fields(cls) if each.compare]
        only(data, ("format", "phase_steps", "phases", "environment", *known), "a scenario")
        name = value_of(data, "name", str, "a scenario")
        where = f"scenario {name!r}"
        if "phases" in data or "environment" in data:
            try:
                schedule, options = _of_others(data, name)
            except (TypeError, ValueError) as error:
                raise _located(error, where) from error
            told = {key: data[key] for key in known if key in data}
            return cls(**told, game=OTHER, schedule=schedule, options=options)
        game = value_of(data, "game", str, where)
        try:
            schedule = _schedule(data, name, game, folder)
        except (TypeError, ValueError) as error:
            raise _located(error, where) from error
        told = {key: data[key] for key in known if key in data and key != "schedule"}
        return cls(**told, schedule=schedule)


def _located(error: TypeError | ValueError, where: str) -> ValueError:
    """Return an error that also says where; an unknown option of a game is none of values alone."""
    kind = type(error) if isinstance(error, ValueError) else WrongTypeError
    return kind(f"{where}: {error}")


def _schedule(data: Mapping[str, Any], name: str, game: str, folder: Path) -> Schedule:
    """Read the schedule of a scenario, with the lengths that the scenario gives its phases."""
    if game not in ENVIRONMENTS:
        raise ValueError(unknown("game", game, ENVIRONMENTS))
    given = data.get("schedule")
    if isinstance(given, Mapping):
        if "phases" in given:
            given = {"format": envs_schedules.FORMAT, "name": name, **given}
        schedule = Schedule.from_dict(given)
    elif isinstance(given, str):
        path = folder / given if given.endswith(SUFFIXES) else given
        options = Instance((Mapping,))("options", data.get("options", {}))
        schedule = replace(as_schedule(path, make_game(game, **options)), name=name)
    elif given is None:
        raise ValueError("it lacks 'schedule': give a name, a file, or a table with phases")
    else:
        raise WrongTypeError(
            f"schedule = {shown(given)} must be a name, a file, or a table with phases"
        )
    steps = data.get("phase_steps")
    return schedule if steps is None else schedule.with_steps(steps)


def _of_others(data: Mapping[str, Any], name: str) -> tuple[Schedule, dict[str, Any]]:
    """Read the phases of a scenario of other people's environments.

    Returns:
        The schedule, and the options, which name the environments.
    """
    for key in ("game", "schedule", "options"):
        if key in data:
            raise ValueError(
                f"{key} = {shown(data[key])} beside phases that name environments: leave one out"
            )
    of_all = value_of(data, "environment", dict, "it", {})
    phases = value_of(data, "phases", list, "it")
    of_env = [each.name for each in fields(OtherGame)]
    only(of_all, of_env, "its environment")
    specs, made = [], []
    for index, phase in enumerate(phases):
        where = f"phase {index}"
        if not isinstance(phase, Mapping):
            raise WrongTypeError(f"{where} = {shown(phase)} must be a table")
        only(phase, ("name", "steps", *of_env), where)
        called = value_of(phase, "name", str, where, where)
        steps = value_of(phase, "steps", int, f"phase {called!r}")
        specs.append((called, steps))
        own = {key: phase[key] for key in of_env if key in phase}
        kwargs: dict[str, Any] = {}
        for table in (of_all, own):
            kwargs |= value_of(table, "kwargs", dict, f"phase {called!r}", {})
        try:
            made.append(OtherGame.from_dict({**of_all, **own, "kwargs": kwargs}).to_dict())
        except ValueError as error:
            raise type(error)(f"phase {called!r}: {error}") from error
    envs, played = of_phases(made)
    schedule = Schedule(
        name,
        tuple(
            PhaseSpec(name=called, steps=steps, params={"env": index})
            for (called, steps), index in zip(specs, played, strict=True)
        ),
    )
    lengths = data.get("phase_steps")
    return schedule if lengths is None else schedule.with_steps(lengths), {"envs": envs}


def dumps(scenario: Scenario) -> str:
    """Write a scenario as TOML."""
    return tomli_w.dumps(scenario.to_dict(), multiline_strings=False)


def save(scenario: Scenario, path: Path) -> None:
    """Write a scenario to a new file.

    Raises:
        FileExistsError: If the file exists; nothing is overwritten.
    """
    with path.open("x", encoding="utf-8") as file:
        file.write(dumps(scenario))


def load(path: Path) -> Scenario:
    """Read a scenario from a TOML file.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If it is no scenario, or something in it makes no sense; the message names the
            file.
    """
    try:
        scenario = Scenario.from_dict(tomllib.loads(path.read_text("utf-8")), path.parent)
        return replace(scenario, file=path)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not readable as TOML: {error}") from error
    except RecursionError:
        raise ValueError(f"{path}: tables within tables within tables: no scenario") from None
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from error


def names() -> tuple[str, ...]:
    """Return the names of all scenarios in known folders: the suite's, then those of one's own."""
    return tuple(_files())


def find(name: str) -> Scenario:
    """Return the scenario of a name, or of the file with this path.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If there is none of that name, or it makes no sense.
    """
    if name.endswith(SUFFIX):
        return load(Path(name))
    files = _files()
    if name not in files:
        raise ValueError(f"{unknown('scenario', name, files)}; or give the path of a .toml file")
    scenario = load(files[name])
    if scenario.name != name:
        raise ValueError(f"{files[name]} holds scenario {scenario.name!r}: give both the same name")
    return scenario


def as_scenario(value: Scenario | str | Path | Mapping[str, Any], folder: Path) -> Scenario:
    """Return the scenario that a user means.

    Args:
        value: A scenario; the name of one, or the path of its file; or what such a file says,
            perhaps without its format.
        folder: Where files are looked for.

    Raises:
        WrongTypeError: If it is something else altogether.
        OSError: If a file cannot be read.
        ValueError: If there is no such scenario, or it makes no sense.
    """
    if isinstance(value, Scenario):
        return value
    if isinstance(value, Mapping):
        return Scenario.from_dict({"format": FORMAT, **value}, folder)
    if isinstance(value, (str, Path)):
        text = str(value)
        return load(folder / text) if text.endswith(SUFFIX) else find(text)
    raise WrongTypeError(f"a scenario is a name, a file or a table, not {shown(value)}")


def _files() -> dict[str, Path]:
    """Return the file of each scenario in known folders, by name."""
    found: dict[str, Path] = {}
    for path in _paths():
        if path.stem in found:
            raise ValueError(
                f"scenario {path.stem!r} is there twice, as {found[path.stem]} and {path}: rename "
                "one"
            )
        found[path.stem] = path
    return found


def _paths() -> Iterator[Path]:
    yield from sorted(SHIPPED.glob(f"*{SUFFIX}"))
    for folder in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        if not Path(folder).is_dir():
            raise ValueError(f"{VARIABLE} names {folder}, and it is no folder")
        yield from sorted(Path(folder).glob(f"*{SUFFIX}"))
