"""Any agent of Stable-Baselines3: PPO trains in a drifting Catcher, and a callback evaluates it."""

from pathlib import Path

import rich
import torch
import tyro
from stable_baselines3 import PPO

from continual_arcade.agents import make_training_env
from continual_arcade.envs import make_game, shipped
from continual_arcade.evaluation import EvaluationCallback, Evaluator, Run, RunFolder, Timetable
from continual_arcade.evaluation.matrix import as_text, forgetting_matrix
from continual_arcade.evaluation.metrics import measure


def main(steps: int = 50_000, entropy: float = 0.1, out: Path = Path("runs")) -> None:
    """Train in three phases of so many steps each, and show what was forgotten."""
    torch.set_num_threads(1)  # a small network gains nothing from more
    schedule = shipped("conflict", make_game("Catcher")).with_steps(steps)
    folder = RunFolder.new(out, "Catcher", schedule.name, "ppo", seed=0)
    timetable = Timetable(schedule, every=steps // 2)  # and before training, and at phase ends
    callback = EvaluationCallback(Evaluator("Catcher", schedule), timetable, folder, seed=0)
    games = make_training_env("Catcher", schedule, num_envs=8)
    model = PPO("MlpPolicy", games, n_steps=256, ent_coef=entropy, seed=0, device="cpu")
    model.learn(schedule.total_steps, callback)  # one call is one run
    record = Run.load(folder.path).scores
    rich.print(as_text(forgetting_matrix(record), "pellets"))
    for name, result in measure(record, ["acc@gem", "bwt@gem", "worst-phase@end"]).items():
        print(f"{name:16} {result.value:6.1f}  {result.note or result.reason}")


if __name__ == "__main__":
    tyro.cli(main)
