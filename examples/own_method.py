"""A method of your own is a part: here shrink and perturb, compared with training without it."""

from dataclasses import dataclass

import torch
import tyro

from continual_arcade.agents import build_agent
from continual_arcade.agents.methods.base import Learner, Part
from continual_arcade.envs import make_game, shipped
from continual_arcade.evaluation import Evaluator


@dataclass
class ShrinkPerturb(Part):
    """Forgets a little where a phase begins (Ash and Adams 2020, arXiv 1910.08475)."""

    name = "my-shrink-perturb"
    needs_boundaries = True
    shrink: float = 0.4  # what has a type is a setting
    noise: float = 0.01

    def phase_start(self, learner: Learner, phase: int) -> None:
        """Shrink all parameters and add noise to them, but for the first phase."""
        for tensor in learner.q_net.parameters() if phase else ():
            drawn = self.rng.normal(scale=self.noise, size=tensor.shape)
            tensor.data.mul_(self.shrink).add_(torch.from_numpy(drawn))


def main(steps: int = 50_000, seed: int = 0) -> None:
    """Train in three phases of so many steps each, and then evaluate them."""
    schedule = shipped("conflict", make_game("Catcher")).with_steps(steps)
    for parts in ([], [ShrinkPerturb()]):
        agent = build_agent("Catcher", schedule, seed=seed, parts=parts).learn(schedule.total_steps)
        scores = Evaluator("Catcher", schedule).play(agent).scores.mean(axis=1)
        print(f"{agent.parts}: {scores.round(1)}")


if __name__ == "__main__":
    tyro.cli(main)
