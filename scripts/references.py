"""Let random play and the oracle play phases: what scores are measured against.

python -m continual_arcade.scripts.references --game Catcher --schedule mine.toml
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from continual_arcade.envs import GAMES, make_game
from continual_arcade.envs.curricula import schedules_of
from continual_arcade.envs.game import Game
from continual_arcade.envs.schedule_files import SUFFIXES
from continual_arcade.envs.schedules import Schedule
from continual_arcade.envs.tunables import Params
from continual_arcade.evaluation.commands import command_of, for_anybody
from continual_arcade.evaluation.evaluator import FIRST_SEED, MAX_STEPS
from continual_arcade.evaluation.locks import Lock
from continual_arcade.evaluation.reference_files import load, save
from continual_arcade.evaluation.references import References, changes_of_play, params_of_play
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.games import GameName
from continual_arcade.scripts.schedules import game_for, names_scenario, schedule_for
from continual_arcade.studies.provenance import provenance
from continual_arcade.studies.references import EPISODES, measure


@dataclass(frozen=True)
class MakeReferences:
    """Let random play and the oracle play phases: what scores are measured against.

    Random play chooses each action with equal probability. A file that exists keeps what it has;
    what is played again is replaced.
    """

    schedule: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A schedule whose phases are played, by its name or that of a scenario, or as a file; may be
    given several times. All that the game has, and those of all its scenarios, if not given."""
    game: GameName | None = None
    """What is played; those of the scenarios, and all that have an oracle, if not given."""
    max_steps: int = MAX_STEPS
    """Limit of an episode [steps]."""
    episodes: int = EPISODES
    """Episodes in each phase, at least 2."""
    first_seed: int = FIRST_SEED
    """Seed of the first episode, that of evaluations; each one has the next."""
    seed: int = 0
    """Seed of random play."""
    out: Path = Path("references.json")
    """The file."""


def make_references(args: MakeReferences, command: str) -> Path:
    """Play, and add the results to the file.

    Args:
        args: What is played.
        command: What the file says made it.

    Returns:
        The file.

    Raises:
        ValueError: If an argument makes no sense, or the file is damaged; said before all playing.
        OSError: If the file cannot be read or written.
    """
    if args.episodes < 2:
        raise ValueError(f"episodes = {args.episodes} must be at least 2, to have a spread")
    if args.seed < 0:
        raise ValueError(f"seed = {args.seed} must not be negative")
    if not args.out.absolute().parent.is_dir():
        raise FileNotFoundError(f"{args.out.parent} is no folder: choose another file with --out")
    _read(args.out)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    making = {"command": command, "date": date, **provenance()}
    made = [
        measure(
            game,
            params,
            max_steps=args.max_steps,
            episodes=args.episodes,
            first_seed=args.first_seed,
            random_seed=args.seed,
            making=making,
        )
        for game, params in tqdm(list(_asked(args)), unit="phase", disable=None)
    ]
    # Another process may have added to the file meanwhile, or be about to.
    with Lock.of_file(args.out).hold(wait=True):
        save(_read(args.out).merged(made), args.out)
    return args.out


def _read(path: Path) -> References:
    return load(path) if path.exists() else References()


def _asked(args: MakeReferences) -> Iterator[tuple[str, Params]]:
    """Return each game and all its parameters that are to be played, once."""
    of_scenarios = {
        name: game_for(args.game, name) for name in args.schedule if names_scenario(name)
    }
    for name in args.schedule:
        if name.endswith(SUFFIXES) and args.game is None and name not in of_scenarios:
            raise ValueError(f"{name} does not say which game it is for: name it with --game")
    for game_name in (args.game,) if args.game else GAMES:
        game = make_game(game_name)
        names = [name for name in args.schedule if of_scenarios.get(name, game_name) == game_name]
        if args.schedule and not names:
            continue
        if args.game is None and not game.oracle:
            print(f"{game_name} is left out: it has no oracle", file=sys.stderr)
            continue
        game.require("oracle")
        seen: list[Params] = []
        for schedule in _schedules(names, game):
            for phase in schedule.distinct:
                params = params_of_play(game, phase.params)
                if params not in seen:
                    seen.append(params)
                    yield game_name, params


def _schedules(names: Sequence[str], game: Game) -> Iterator[Schedule]:
    """Return the schedules of these names, or all of a game."""
    for name in names or ("stationary", *schedules_of(game)):
        schedule = schedule_for(game, name)
        schedule.check(game.tunables)
        yield schedule
    if not names:
        # Only now: scenarios know learners, and so PyTorch, which takes seconds to load.
        from continual_arcade.studies import scenario as scenarios

        for scenario in map(scenarios.find, scenarios.names()):
            if scenario.game == game.name and not changes_of_play(scenario.options):
                yield scenario.schedule


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    given = sys.argv[1:] if arguments is None else arguments
    command = for_anybody(command_of("references", given))

    def make() -> None:
        args = tyro.cli(MakeReferences, args=given, description=__doc__)
        print(f"the references are in {make_references(args, command)}")

    run(make)


if __name__ == "__main__":
    main()
