"""An environment of your own: CartPole drifts while an agent trains in it."""

from typing import Any

import gymnasium as gym
import tyro

from continual_arcade.agents import ContinualDQN
from continual_arcade.envs import PhaseSpec, Schedule, Tunable
from continual_arcade.envs.phased_env import PhasedEnv
from continual_arcade.evaluation import GymEvaluator

TUNABLES = {
    "length": Tunable(default=0.5, low=0.05, high=5, unit="m", harder="lower", about="half a pole"),
    "force_mag": Tunable(default=10, low=-50, high=50, unit="N", harder="either", about="push"),
}
PHASES = [("normal", {}), ("swapped keys", {"force_mag": -10.0}), ("long pole", {"length": 2.0})]


def apply(env: Any, params: dict[str, float]) -> None:
    """Set the parameters, and what CartPole has derived from them."""
    vars(env).update(params, polemass_length=env.masspole * params["length"])


def main(steps: int = 20_000) -> None:
    """Train in three phases of so many steps each; evaluate all of them after each."""
    schedule = Schedule("c", tuple(PhaseSpec(name=n, steps=steps, params=p) for n, p in PHASES))

    def make(phase: int | None = None) -> PhasedEnv:
        return PhasedEnv(gym.make("CartPole-v1"), schedule, TUNABLES, apply, phase)

    settings = {"learning_rate": 1e-3, "train_freq": 1, "target_update_interval": 500}
    agent = ContinualDQN("MlpPolicy", make(), buffer_size=10_000, seed=0, **settings)
    for n, _ in PHASES:
        agent.learn(steps, reset_num_timesteps=False)
        print(f"after {n}:", GymEvaluator(make, schedule).play(agent).scores.mean(axis=1).round(1))


if __name__ == "__main__":
    tyro.cli(main)
