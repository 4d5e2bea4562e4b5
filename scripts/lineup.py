"""Who is watched: players by name, the agents of runs by checkpoint, and what they all play."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from continual_arcade.envs.context import HIDDEN, ContextKind, check_context
from continual_arcade.envs.games import OTHER, make_game
from continual_arcade.envs.schedules import Phase, Schedule
from continual_arcade.evaluation.checkpoints import Checkpoints
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.scripts.games import FIRST
from continual_arcade.scripts.policies import SCRIPTED
from continual_arcade.scripts.schedules import scenario_of, schedule_for


@dataclass(frozen=True)
class Member:
    """One player."""

    name: str
    """Who plays: a method, or a scripted player."""
    path: Path | None = None
    """Its checkpoint; None for a scripted player."""
    step: int | None = None
    """Lifetime step of the checkpoint, if it lies in a run."""
    moment: str = ""
    """What that step was in its run."""
    context: ContextKind = HIDDEN
    """What of its phase it sees."""

    @property
    def title(self) -> str:
        """Name and step."""
        return self.name if self.step is None else f"{self.name} after {self.step:,} steps"


@dataclass(frozen=True)
class Lineup:
    """All that play, and what."""

    game: str
    schedule: Schedule
    phase: Phase
    members: tuple[Member, ...]
    options: Mapping[str, Any]
    """Options of the game that are not as usual, as in the runs of all."""


@dataclass(frozen=True)
class _Source:
    """What the user has named: a scripted player, a run, or one checkpoint."""

    given: str
    path: Path | None = None
    """Of the checkpoint, if it is one."""
    folder: RunFolder | None = None
    """The run, if it is one or lies in one."""
    config: dict[str, Any] = field(default_factory=dict)
    """What was run."""

    @property
    def names(self) -> tuple[str, ...]:
        """What it can be called, the shortest name first."""
        if self.folder is None:
            return (self.given if self.path is None else self.path.stem,)
        method, seed = self.config["method"], self.config["seed"]
        return method, f"{method}, seed {seed}", self.folder.name, str(self.folder.path)

    @property
    def schedule(self) -> Schedule:
        """The schedule of the run."""
        return Schedule.from_dict(self.config["schedule"])

    @property
    def context(self) -> ContextKind:
        """What the agent of the run sees of its phase."""
        return check_context(self.config.get("context", HIDDEN))


def line_up(
    players: Sequence[str],
    *,
    game: str | None = None,
    schedule: str | None = None,
    phase: str = "0",
    checkpoints: str | None = None,
    context: ContextKind | None = None,
) -> Lineup:
    """Find out who plays what.

    Args:
        players: Names of scripted players, folders of runs and files of checkpoints.
        game: What is played; that of the runs if not given, else that of the scenario if the
            schedule is one's, else the first of ``GAMES``.
        schedule: The schedule; that of the runs if not given, else shrink.
        phase: Index or name of the phase.
        checkpoints: Names of checkpoints, with commas between; each run plays once for each. The
            last one if not given.
        context: What of their phase all see; that of its run each, or nothing, if not given.

    Raises:
        ValueError: If somebody plays something else than the others, or there is no such
            checkpoint, schedule or phase.
        OSError: If there is no such player.
    """
    if not players:
        raise ValueError(f"nobody plays: name {', '.join(SCRIPTED)}, a run or a checkpoint")
    sources = [_source(given, needed=game is None or schedule is None) for given in players]
    if checkpoints is not None and all(s.folder is None or s.path is not None for s in sources):
        raise ValueError(f"checkpoints = {checkpoints!r}, but no run is given that has any")
    trained = [source for source in sources if source.folder is not None]
    scenario = None if schedule is None else scenario_of(schedule)
    others = scenario if scenario is not None and scenario.is_of_others else None
    if game is None and scenario is not None and (others or not trained):
        game = scenario.game
    game = game or _common_game(trained)
    options = _common_options(trained, game)
    if others is not None and game == OTHER:
        if trained and options != others.options:
            raise ValueError(
                f"scenario {others.name!r} has other environments than those that the players were "
                "trained in: leave --schedule out"
            )
        whole, options = others.schedule, others.options
    elif schedule is None and trained:
        whole = trained[0].schedule
    elif game == OTHER:
        raise ValueError(
            f"schedule = {schedule!r} is none of environments of other people, in which the "
            "players were trained: leave it out, or name a scenario of these"
        )
    else:
        whole = schedule_for(make_game(game, **options), schedule or "shrink")
    index = int(phase) if phase.isdecimal() else phase
    played = whole.frozen(index)
    if schedule is None:
        _check_phases(trained, index, played)
    members: list[Member] = []
    for source, name in zip(sources, _names(sources), strict=True):
        for member in _members(source, name, checkpoints or "last", played):
            members.append(replace(member, context=context or source.context))
    return Lineup(game, whole, played, tuple(members), options)


def _source(given: str, *, needed: bool) -> _Source:
    """Look at what the user has named.

    Args:
        given: The name.
        needed: Whether the run of a checkpoint has to say what is played.
    """
    if given in SCRIPTED:
        return _Source(given)
    path = Path(given)
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist: the player is {', '.join(SCRIPTED)}, the folder of a run or a "
            "checkpoint"
        )
    if path.is_dir():
        folder = RunFolder.open(path)
        config = folder.read_config()
        if config["method_spec"] is None:
            raise ValueError(
                f"the agent of {path} ({config['method']}) is none of this suite's: film it from "
                "Python, as in Camera(game, schedule, phase).film(PPO.load(checkpoint))"
            )
        return _Source(given, folder=folder, config=config)
    # A checkpoint lies in a run, unless somebody moved it; nothing else above it is looked at.
    above = path.absolute().parent
    if above.name == "checkpoints":
        with suppress(FileNotFoundError, *(() if needed else (ValueError,))):
            folder = RunFolder.open(above.parent)
            return _Source(given, path, folder, folder.read_config())
    return _Source(given, path)


def _common_game(sources: Iterable[_Source]) -> str:
    played = {source.given: str(source.config["game"]) for source in sources}
    if len(set(played.values())) > 1:
        said = ", ".join(f"{given} plays {game}" for given, game in played.items())
        raise ValueError(f"side by side all play one game: {said}")
    return next(iter(played.values()), FIRST)


def _common_options(sources: Iterable[_Source], game: str) -> Mapping[str, Any]:
    """Return the options of a game that its runs were made with; none if there is no run."""
    of_game = [source for source in sources if source.config["game"] == game]
    options = [source.config.get("options", {}) for source in of_game]
    if any(other != options[0] for other in options):
        said = ", ".join(
            f"{source.given} with {one}" for source, one in zip(of_game, options, strict=True)
        )
        raise ValueError(f"side by side all play {game} with the same options: {said}")
    return options[0] if options else {}


def _check_phases(sources: Sequence[_Source], index: int | str, played: Phase) -> None:
    """Check that a phase is the same in the schedules of all runs."""
    for source in sources:
        phase = source.schedule.frozen(index)
        if phase.params != played.params:
            raise ValueError(
                f"side by side all play one phase: phase {index} is {played.name!r} in the "
                f"schedule of {sources[0].given} and {phase.name!r} in that of {source.given}; "
                "choose one with --schedule"
            )


def _names(sources: Sequence[_Source]) -> list[str]:
    """Name all, as shortly as different runs can be told apart."""
    runs = {s.folder.path.resolve(): s.names for s in sources if s.folder is not None}
    # The longest name is the path, by which they always can.
    length = next(n for n in range(4) if len({names[n] for names in runs.values()}) == len(runs))
    return [source.names[min(length, len(source.names) - 1)] for source in sources]


def _members(source: _Source, name: str, checkpoints: str, played: Phase) -> list[Member]:
    if source.folder is None:
        return [Member(name, source.path)]
    of_run = Checkpoints.of(source.folder)
    if source.path is not None:
        step = next((s for s, path in of_run.paths.items() if path.name == source.path.name), None)
        if step is None:
            return [Member(source.path.stem, source.path)]
        return [Member(name, source.path, step, of_run.moment(step, played))]
    steps = [of_run.find(word.strip(), played) for word in checkpoints.split(",")]
    return [Member(name, of_run.paths[s], s, of_run.moment(s, played)) for s in steps]
