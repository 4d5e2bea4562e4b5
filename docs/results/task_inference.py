"""Measures task inference: what is found, how late, and what a method makes of it beside the truth.

`packnet` in the phases of catcher-conflict, each as long as asked for: told the phase (one-hot),
and with the task inferred. Prints a line for each run; see docs/task-inference.md.

python docs/results/task_inference.py --seeds 0..4 --phase-steps 100000
"""

import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import tyro

from continual_arcade.agents import DQNSettings, build_agent, compose
from continual_arcade.envs.context import ContextKind
from continual_arcade.evaluation import Evaluator
from continual_arcade.studies import scenario as scenarios
from continual_arcade.studies.seeds import parse_seeds

TASKS = {"packnet": 3, "heads": 4}
"""Most tasks; what packnet shares its weights out to is the number of phases."""


@dataclass(frozen=True)
class Measure:
    """What is measured."""

    seeds: str = "0..4"
    """Seeds of the runs."""
    phase_steps: int = 100_000
    """Length of each phase [lifetime steps]."""
    method: Literal["packnet", "heads"] = "packnet"
    """The method; heads: finetune with a head for each phase."""
    episodes: int = 20
    """Episodes in each phase at the end."""


class Noting:
    """Plays as an agent does, and notes which task it was told in each step."""

    def __init__(self, agent: Any, tasks: int) -> None:
        self.average_of, self._tasks = agent, tasks
        self.told: list[Any] = []

    def predict(self, seen: Any, *, deterministic: bool = True) -> tuple[Any, Any]:
        """Return what the average of the agent's weights does."""
        self.told.append(seen[:, -self._tasks :].argmax(axis=1))
        chosen: tuple[Any, Any] = self.average_of.averaged.predict(seen, deterministic=True)
        return chosen


def measure(args: Measure, seed: int, context: ContextKind) -> str:
    """Train and evaluate one agent; return what there is to say of it."""
    scenario = scenarios.find("catcher-conflict")
    schedule = scenario.schedule.with_steps(args.phase_steps)
    heads = args.method == "heads"
    settings = DQNSettings(
        learning_rate=3e-4,
        gradient_steps=4,
        epsilon="constant",
        exploration_final_eps=0.05,
        buffer_size=schedule.total_steps // 10,
        heads="per_phase" if heads else "shared",
        tasks=TASKS[args.method] if context == "inferred" else 4,
    )
    method = compose("finetune" if heads else args.method)
    begun = time.perf_counter()
    agent = build_agent("Catcher", schedule, settings, seed, method, context=context)
    try:
        agent.learn(schedule.total_steps)
    except ValueError as error:  # such as one task more than there may be
        found = [] if agent.task_inference is None else agent.task_inference.switches
        return (
            f"{args.method} {context} seed {seed}: after {found} refused at "
            f"{agent.num_timesteps:,}: {error}"
        )
    seconds = time.perf_counter() - begun
    policy = Noting(agent, TASKS[args.method] if context == "inferred" else 3)
    evaluator = Evaluator("Catcher", schedule, episodes=args.episodes, context=context)
    played = evaluator.play(policy)
    told = np.array(policy.told)
    lengths = played.lengths.ravel()
    right = [
        float((told[: lengths[row], row] == row // args.episodes).mean())
        for row in range(len(lengths))
    ]
    of_phases = np.reshape(right, played.scores.shape).mean(axis=1).round(3).tolist()
    late = [
        np.flatnonzero(told[: lengths[row], row] != row // args.episodes)
        for row in range(len(lengths))
    ]
    last = [int(steps[-1]) + 1 if len(steps) else 0 for steps in late]
    switches = agent.task_inference.switches if agent.task_inference else []
    return (
        f"{args.method} {context} seed {seed}: pellets {played.scores.mean(axis=1).tolist()}, "
        f"switches (window declared, begun, task) "
        f"{[(one.declared, one.began, one.task) for one in switches]}, "
        f"right task in {of_phases} of steps, last told wrongly before step (median, most) "
        f"{float(np.median(last))}, {max(last)}; {seconds:.0f} s"
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = tyro.cli(Measure, description=__doc__)
    for number in parse_seeds(asked.seeds):
        for kind in ("one-hot", "inferred"):
            print(measure(asked, number, kind), flush=True)  # type: ignore[arg-type]
