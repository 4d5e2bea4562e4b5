"""Zips of Stable-Baselines3 become runs: PPO with and without a bonus for exploration."""

from pathlib import Path

import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import CheckpointCallback

from continual_arcade.agents import make_training_env
from continual_arcade.envs import IDS, make_game, shipped
from continual_arcade.evaluation import EvaluationSettings, Protocol, replay_phases


def main(steps: int = 40_000, seeds: int = 2, out: Path = Path("runs")) -> None:
    """Train in three phases of so many steps each, and write the zips down as runs."""
    torch.set_num_threads(1)  # a small network gains nothing from more
    schedule = shipped("conflict", make_game("Catcher")).with_steps(steps)
    # Evaluated before training and at phase ends: for these steps there are zips.
    protocol = Protocol("Catcher", IDS["Catcher"], schedule, EvaluationSettings(every=0, at_end=1))
    zips = out / "zips"
    zips.mkdir(parents=True, exist_ok=True)
    for method, bonus in (("ppo-plain", 0.0), ("ppo-bonus", 0.1)):
        for seed in range(seeds):
            name = f"{method}-{seed}"
            env = make_training_env("Catcher", schedule, num_envs=8)
            model = PPO("MlpPolicy", env, n_steps=256, ent_coef=bonus, seed=seed, device="cpu")
            model.save(zips / f"{name}_0_steps")
            model.learn(schedule.total_steps, CheckpointCallback(steps // 8, str(zips), name))
            agents = {step: zips / f"{name}_{step}_steps.zip" for step in (0, *schedule.ends)}
            replayed = replay_phases(agents, protocol, load=PPO.load, seed=seed)
            known = {"n_steps": 256, "ent_coef": bonus}
            folder = replayed.write_run(out, method=method, num_envs=8, settings=known)
            print(f"the run is in {folder.path}")


if __name__ == "__main__":
    tyro.cli(main)
