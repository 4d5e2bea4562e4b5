"""The whole way once: two agents learn one thing after the other, and one of them forgets.

Run it with ``python -m continual_arcade.scripts.demo``.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import tyro

from continual_arcade.scripts.cli import run

MATRICES = "matrices.png"
FILM = "first_phase.gif"
PAGE = "report.html"


@dataclass(frozen=True)
class Demo:
    """Train a DQN that forgets and one that remembers; film both in the first phase; report."""

    scenario: str = "catcher-conflict"
    """Name of a scenario, or its .toml file."""
    method: str | None = None
    """What is trained beside finetune, which does nothing against forgetting; what the card of the
    scenario recommends, if not given."""
    out: Path = Path("runs")
    """Folder in which the demo gets a folder of its own."""
    seed: int = 0
    """Seed of everything that is random."""


def demo(args: Demo) -> None:
    """Train, evaluate, film and report.

    Raises:
        ValueError: If an argument makes no sense.
        OSError: If a run cannot be written.
    """
    # Only now: PyTorch takes seconds to load, too long to wait for what was mistyped.
    from continual_arcade.envs import make_game
    from continual_arcade.evaluation.runs import gather
    from continual_arcade.evaluation.terminal import plain_console
    from continual_arcade.reports.method_results import collect_results
    from continual_arcade.reports.run_pictures import write_matrices
    from continual_arcade.scripts.options import Report, Train
    from continual_arcade.scripts.reporting import report
    from continual_arcade.scripts.training import prepare, train
    from continual_arcade.scripts.watch import Watch, watch
    from continual_arcade.studies import scenario as scenarios
    from continual_arcade.studies.cards import FINETUNE, recommended

    begun = time.perf_counter()
    scenario = scenarios.find(args.scenario)
    remembers = args.method or recommended(scenario)
    if remembers == FINETUNE:
        raise ValueError(f"method = {FINETUNE!r} is trained anyway: name one that remembers")
    phases = ", then ".join(phase.name for phase in scenario.schedule.phases)
    print(f"{make_game(scenario.game).title}: {phases}. {scenario.about}")
    print("Training takes seconds; compiling the learner, once on a machine, about a minute.")
    utc = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder = args.out / f"demo-{scenario.name}__{args.seed}__{utc}"
    plans = [
        Train(scenario=args.scenario, method=method, seed=args.seed, out=folder)
        for method in (FINETUNE, remembers)
    ]
    for plan in plans:
        prepare(plan)  # a mistake is said before anything is trained
    runs = []
    for plan in plans:
        print(f"\n{plan.method} ...", flush=True)
        runs.append(train(plan).path)
    first = scenario.schedule.phases[0].name
    print(f"\nboth in phase {first!r} again, at the end:", flush=True)
    watch(Watch(players=tuple(map(str, runs)), phase="0", record=folder / FILM))
    (comparison,) = gather(runs).comparisons
    write_matrices(comparison, collect_results(comparison, None, {}), folder / MATRICES)
    report(Report(tuple(runs), out=folder / PAGE), plain_console())
    seconds = time.perf_counter() - begun
    print(f"done in {seconds / 60:.1f} minutes; everything is in {folder}")
    print(f"open {PAGE} there in a browser; {MATRICES} and {FILM} show both agents")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    run(lambda: demo(tyro.cli(Demo, args=arguments, description=__doc__)))


if __name__ == "__main__":
    main()
