"""List scenarios, show one, and measure whether it can tell methods apart.

python -m continual_arcade.scripts.scenario list

python -m continual_arcade.scripts.scenario show catcher-conflict --out catcher.png

python -m continual_arcade.scripts.scenario card catcher-conflict
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from continual_arcade.envs import schedule_files
from continual_arcade.envs.context import INFERRED, Context
from continual_arcade.envs.other_games import ids_of, other_games, tunables_of
from continual_arcade.evaluation.terminal import TerminalTable, plain_console
from continual_arcade.scripts import schedule as schedules
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.options import Card
from continual_arcade.studies import scenario as scenarios
from continual_arcade.studies.scenario import Scenario


@dataclass(frozen=True)
class List:
    """List all scenarios: the suite's, and those in folders of CONTINUAL_ARCADE_SCENARIOS."""


@dataclass(frozen=True)
class Show:
    """Show a scenario, and write it as a picture or a file."""

    scenario: Annotated[str, tyro.conf.Positional]
    """Name of a scenario, or its .toml file."""
    out: Path | None = None
    """New file to write: .png (or .svg, .pdf) for a picture of its schedule, .toml for all of it,
    .json for its schedule alone."""


HEADINGS = ("name", "game", "phases", "steps", "context", "memory", "what it is")


def row(scenario: Scenario) -> tuple[str, ...]:
    """Return what a list says of a scenario, in the order of ``HEADINGS``."""
    memory = "of the learner" if scenario.memory is None else f"{scenario.memory:g}"
    return (
        scenario.name,
        scenario.game,
        f"{len(scenario.schedule)}",
        f"{scenario.schedule.total_steps:,}",
        scenario.context,
        memory,
        re.split(r"(?<=\.)\s", scenario.about)[0],
    )


def list_all(console: Console) -> None:
    """Print all scenarios.

    Raises:
        ValueError: If one of them makes no sense.
        OSError: If one cannot be read.
    """
    heads = HEADINGS[:-1]
    table = TerminalTable("scenarios", texts=heads[:2], numbers=heads[2:])
    found = [row(scenarios.find(name)) for name in scenarios.names()]
    for *cells, _ in found:
        table.add_row(*cells)
    console.print(table)
    for name, *_, about in found:
        console.out(f"{name}: {about}", highlight=False)


def show(args: Show, console: Console) -> None:
    """Print a scenario, and write it where that is asked for.

    Raises:
        ValueError: If there is none, or it makes no sense.
        OSError: If its file cannot be read, or the one to write exists or cannot be written.
    """
    scenario = scenarios.find(args.scenario)
    for line in described(scenario):
        console.out(line, highlight=False)
    if args.out is not None:
        as_data = {
            scenarios.SUFFIX: partial(scenarios.save, scenario),
            ".json": partial(schedule_files.save, scenario.schedule),
        }
        schedules.write(scenario.schedule, args.out, as_data)


def described(scenario: Scenario) -> Iterator[str]:
    """Return all of a scenario, line by line."""
    schedule = scenario.schedule
    if scenario.is_of_others:
        title, begins, tunables = ids_of(scenario.options), 0, tunables_of(scenario.options)
    else:
        game = scenario.make_game()
        title, begins, tunables = game.title, len(game.features), game.tunables
    yield f"scenario {scenario.name}: {title}"
    yield scenario.about
    yield ""
    yield str(schedule)
    yield ""
    if scenario.is_of_others:
        yield from _environments(scenario)
    context = Context(scenario.context, schedule, tunables)
    yield f"context {scenario.context}: observations show {_shown(context, scenario)}"
    for place, feature in enumerate(context.features, start=begins):
        yield f"  {place}  {feature.name}: {feature.about}"
    yield ""
    learner = scenario.learner()
    if scenario.memory is None:
        yield f"memory: {learner.buffer_size:,} transitions, a setting of the learner"
    else:
        yield (
            f"memory: {scenario.memory:g} of {schedule.total_steps:,} steps, "
            f"{learner.buffer_size:,} transitions"
        )
    yield "learner (* set by the scenario):"
    for name, value in asdict(learner).items():
        yield f"{'*' if name in scenario.overrides else ' '} {name} = {value}"


def _environments(scenario: Scenario) -> Iterator[str]:
    """Return which environments of other people are played, and what all of them share.

    Raises:
        ValueError: If one cannot be made, or their spaces do not fit.
    """
    games = other_games(scenario.options)
    for index, game in enumerate(games.games):
        yield f"env {index}: {game.id}"
        for name, value in game.kwargs.items():
            yield f"  {name} = {value!r}"
        for wrapper in game.wrappers:
            yield f"  wrapper {wrapper.to_data()}"
        yield f"  its actions are {list(games.actions_of(index))}"
    shape = "x".join(map(str, games.observation_space.shape))
    what = "pictures of" if games.are_pictures else "rows of numbers, padded with zeros to"
    yield f"all of them show {what} {shape}, and have {games.num_actions} actions"
    yield ""


def _shown(context: Context, scenario: Scenario) -> str:
    if context.kind == INFERRED:
        return f"which of {scenario.learner().tasks} tasks the agent infers"
    count = len(context.features)
    return f"{count} features more" if count else "nothing of their phase"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""

    def command() -> int | None:
        given = sys.argv[1:] if arguments is None else arguments
        args = tyro.extras.subcommand_cli_from_dict(
            {"list": List, "show": Show, "card": Card}, args=arguments, description=__doc__
        )
        console = plain_console()
        match args:
            case List():
                list_all(console)
            case Show():
                show(args, console)
            case Card():
                # Only here: PyTorch takes seconds to load.
                from continual_arcade.scripts.card import card

                return card(args, console, given)
        return None

    run(command)


if __name__ == "__main__":
    main()
