"""The schedule that a command line names: of the suite, of a file, or of a scenario."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from continual_arcade.envs.curricula import SHIPPED, as_schedule
from continual_arcade.envs.game import Game
from continual_arcade.envs.schedule_files import SUFFIXES
from continual_arcade.envs.schedules import Schedule
from continual_arcade.scripts.games import FIRST

if TYPE_CHECKING:
    from continual_arcade.studies.scenario import Scenario


def schedule_for(game: Game, name: str) -> Schedule:
    """Return the schedule that a name means.

    Args:
        game: The game it is for.
        name: That of a schedule of the suite, as in :data:`SHIPPED`, or of a scenario; or the path
            of the file of one.

    Raises:
        ValueError: If there is none, it makes no sense, or it is that of a scenario of another
            game.
        OSError: If the file cannot be read.
    """
    scenario = scenario_of(name)
    if scenario is None:
        return as_schedule(name, game)  # which says what there is, if there is none
    if scenario.game != game.name:
        raise ValueError(
            f"scenario {scenario.name!r} is one of {scenario.game}, not of {game.name}: choose "
            "that game, or another scenario"
        )
    return scenario.schedule


def game_for(game: str | None, schedule: str) -> str:
    """Return what is played: what is said, else that of a scenario, else the first game.

    Args:
        game: What is said.
        schedule: Name of a schedule, or of a scenario; or the path of the file of one.

    Raises:
        ValueError: If it is that of a scenario which makes no sense, or of other people's
            environments.
        OSError: If the file cannot be read.
    """
    if game is not None:
        return game
    scenario = scenario_of(schedule)
    if scenario is None:
        return FIRST
    if scenario.is_of_others:
        raise ValueError(
            f"scenario {scenario.name!r} is one of other people's environments, and no schedule of "
            f"a game of this suite: scenario show {schedule} prints it"
        )
    return scenario.game


def scenario_of(name: str) -> "Scenario | None":
    """Return the scenario that a name means; None if it means none.

    Raises:
        ValueError: If it is that of a scenario which makes no sense.
        OSError: If the file cannot be read.
    """
    if not names_scenario(name):
        return None
    from continual_arcade.studies import scenario as scenarios

    return scenarios.find(name)


def names_scenario(name: str) -> bool:
    """Say whether a name, or the path of a file, is that of a scenario and not of a schedule."""
    if name.partition(":")[0] in ("stationary", *SHIPPED):
        return False
    if name.endswith(SUFFIXES):
        return _holds_scenario(Path(name))
    # Only now: scenarios know learners, and so PyTorch, which takes seconds to load.
    from continual_arcade.studies import scenario as scenarios

    return name in scenarios.names()


def _holds_scenario(path: Path) -> bool:
    """Say whether a file names a game or environments, as that of a schedule does not.

    One that cannot be read does not, either: whoever reads it then says why.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"))
        phases = data.get("phases", [])
        names = [phase for phase in phases if isinstance(phase, dict) and "id" in phase]
        return bool(names) or not data.keys().isdisjoint({"game", "environment"})
    except (OSError, ValueError, TypeError, RecursionError):
        return False
