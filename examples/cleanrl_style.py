"""Your own loop in one file, as in CleanRL: a DQN in plain torch, evaluated during training."""

import argparse
from copy import deepcopy

import gymnasium as gym
import numpy as np
import torch
from torch import nn

from continual_arcade.envs import make_game, shipped
from continual_arcade.evaluation import FunctionPolicy, Record, replay_phases

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=50_000, help="length of each of three phases")
schedule = shipped("conflict", make_game("Catcher")).with_steps(parser.parse_args().steps)
rng, _ = np.random.default_rng(0), torch.manual_seed(0)
games = gym.make_vec("ContinualArcade/Catcher-v0", num_envs=8, schedule=schedule)
net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
optimizer, target = torch.optim.Adam(net.parameters(), 5e-4), net
agents, memory, seen = {}, [], games.reset(seed=0)[0]
for step in range(0, schedule.total_steps + 1, 8):
    if step % 2_000 == 0 or step in schedule.ends:  # the target network is also evaluated
        target = deepcopy(net)
        agents[step] = FunctionPolicy(lambda s, n=target: n(torch.as_tensor(s)).argmax(1).numpy())
    random, best = rng.integers(3, size=8), net(torch.as_tensor(seen)).argmax(1).numpy()
    actions = np.where(rng.random(8) < max(0.02, 1 - step / 10_000), random, best)
    before, (seen, rewards, terminated, truncated, infos) = seen, games.step(actions)
    # Where an episode ended, ``seen`` is the next one already, and a truncation is no end.
    after = np.where((terminated | truncated)[:, None], infos.get("final_obs", seen), seen)
    memory = [*memory[-5_000:], (before, actions, rewards.astype("f"), after, terminated)]
    batch = zip(*(memory[i] for i in rng.integers(len(memory), size=8)), strict=True)
    s, a, r, n, d = (torch.as_tensor(np.concatenate(column)) for column in batch)
    goal = r + 0.99 * ~d * target(n).max(1).values.detach()
    loss = nn.functional.smooth_l1_loss(net(s).gather(1, a[:, None])[:, 0], goal)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
replayed = replay_phases(agents, schedule, game="Catcher")
print(Record.from_table(replayed.table, schedule).matrix.round(1))  # rows: after each phase
