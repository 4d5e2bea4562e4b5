"""What docs/libraries.md says of other libraries is so, with the versions that it names.

Each library is put into an environment of its own beside the packages of the tests, without what it
asks for itself, so that nothing here changes.
"""

import json
import re
import site
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from continual_arcade.envs import IDS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "libraries.md").read_text("utf-8")
PINNED = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M))
PACKAGES = {
    "torchrl": "torchrl==0.14.1 tensordict==0.15.3 orjson==3.13.0 pyvers==0.2.3",
    "tianshou": (
        "tianshou==2.0.1 sensai-utils==1.6.0 deepdiff==9.1.0 orderly-set==5.5.0 overrides==7.7.0 "
        "h5py==3.16.0 cachebox==6.2.10 pettingzoo==1.27.0"
    ),
    "rllib": (
        "pydantic==2.14.4 pydantic-core==2.50.5 annotated-types==0.8.0 typing-inspection==0.4.5 "
        "dm-tree==0.1.10 lz4==4.4.5 ormsgpack==1.13.1 pyarrow==26.0.1 tensorboardX==2.6.5 "
        "wrapt==2.5.2"
    ),
}
"""What each library needs beside the packages of the tests; Ray itself is one of them."""


@cache
def python_with(library: str, folder: Path) -> str:
    """Return the Python of an environment that has a library; skip the test if there is none."""
    here = folder / library
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", here], check=True)
    python = str(here / "bin" / "python")
    (packages,) = here.glob("lib/python*/site-packages")
    ours = site.getsitepackages()
    # Not only the folder: what is installed in editable mode is found by a .pth file in it.
    (packages / "ours.pth").write_text(
        "".join(f"import site; site.addsitedir({path!r})\n" for path in ours)
    )
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, *PACKAGES[library].split()], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"{library} cannot be installed: {done.stderr.strip()[-300:]}")
    return python


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the environments of the libraries are."""
    return tmp_path_factory.mktemp("libraries")


def run(python: str, code: str, folder: Path) -> str:
    """What a program says."""
    (folder / "program.py").write_text(code, "utf-8")
    done = subprocess.run(
        [python, "program.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-6_000:]
    return done.stdout.strip()


def blocks(library: str) -> list[str]:
    return re.findall(rf"```python {library}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_names_the_versions_that_are_tried() -> None:
    tried = {
        "Gymnasium": PINNED["gymnasium"],
        "Stable-Baselines3": PINNED["stable_baselines3"],
        "TorchRL": PACKAGES["torchrl"].split()[0].partition("==")[2],
        "RLlib": PINNED["ray"],
        "Tianshou": PACKAGES["tianshou"].split()[0].partition("==")[2],
    }
    assert dict(re.findall(r"^\| ([\w-]+) \| ([\d.]+) \|", PAGE, re.MULTILINE)) == tried
    assert {library: len(blocks(library)) for library in PACKAGES} == {
        "torchrl": 2,
        "tianshou": 1,
        "rllib": 1,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("library", "number", "last"),
    [
        ("torchrl", 0, "True"),
        ("torchrl", 1, "torch.Size([4, 100])"),
        ("tianshou", 0, "400"),
        ("rllib", 0, "True"),
    ],
)
def test_the_programs_of_the_page_run(
    library: str, number: int, last: str, environments: Path, tmp_path: Path
) -> None:
    said = run(python_with(library, environments), blocks(library)[number], tmp_path)
    assert said.splitlines()[-1] == last


RLLIB = """
import json
import numpy as np
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
import continual_arcade.envs

found = {}
for name, how, options in (
    ("sync", "sync", {}),
    ("async", "async", {}),
    ("next", "vector_entry_point", {"autoreset_mode": "NextStep"}),
    ("same", "vector_entry_point", {"autoreset_mode": "SameStep"}),
):
    config = (
        PPOConfig()
        .environment("continual_arcade.envs:ContinualArcade/FlappyBird-v0", env_config=options)
        .env_runners(
            num_env_runners=0, num_envs_per_env_runner=4, gym_env_vectorize_mode=how
        )
        .debugging(seed=3)
    )
    runner = SingleAgentEnvRunner(config=config)
    episodes = runner.sample(num_timesteps=2_000, random_actions=True)
    found[name] = {
        "starts": sorted(
            {float(np.asarray(e.get_observations(0))[0]) for e in episodes if e.t_started == 0}
        ),
        "ends": sorted({float(e.get_rewards(-1)) for e in episodes if e.is_done}),
        "steps": sum(len(e) for e in episodes),
        "clock": runner.env.unwrapped.clock.step if how == "vector_entry_point" else None,
    }
    runner.stop()
print(json.dumps(found))
"""


@pytest.mark.slow
def test_rllib_sees_each_episode_from_its_beginning(environments: Path, tmp_path: Path) -> None:
    said = run(python_with("rllib", environments), RLLIB, tmp_path)
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    start = float(gym.make(IDS["FlappyBird"]).reset(seed=0)[0][0])
    for mode in ("sync", "async", "next"):
        assert found[mode]["starts"] == [start]
        assert found[mode]["ends"] == [-5.0]  # no pipe was passed: the reward of the bird's end
    assert found["next"]["clock"] == found["next"]["steps"]
    # The warning of the page is no fairy tale, and these numbers find what it warns of.
    assert found["same"]["starts"] != [start]


TORCHRL = """
import json
import torch
{imports}

def rollout(mode):
    life = gym.make_vec(
        "ContinualArcade/FlappyBird-v0", num_envs=3, max_episode_steps=40, autoreset_mode=mode
    )
    env = GymWrapper(PlainInfos(life))
    env.set_seed(5)
    played = env.rollout(200, lambda td: td.set("action", action), break_when_any_done=False)
    return played, life

action = torch.zeros(3, 2, dtype=torch.int64)
action[:, 1] = 1
found = {{}}
for mode in ("Disabled", "SameStep"):
    played, life = rollout(mode)
    done = played["next", "done"][..., 0]
    seen = played["observation"]
    after = torch.nonzero(done[:, :-1])
    found[mode] = {{
        "done": int(done.sum()),
        "starts": sorted({{float(seen[i, t + 1, 0]) for i, t in after.tolist()}}),
        "ends": sorted({{round(float(x), 5) for x in played["next", "observation"][done][:, 0]}}),
        "clock": life.clock.step,
    }}
print(json.dumps(found))
"""


@pytest.mark.slow
def test_torchrl_sees_each_episode_from_beginning_to_end(
    environments: Path, tmp_path: Path
) -> None:
    imports = blocks("torchrl")[1].split("life = gym.make_vec")[0]
    said = run(python_with("torchrl", environments), TORCHRL.format(imports=imports), tmp_path)
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    env = gym.make(IDS["FlappyBird"])
    start = float(env.reset(seed=0)[0][0])
    ended = False
    while not ended:
        seen, _, ended, *_ = env.step(1)
    for mode in ("Disabled", "SameStep"):
        assert found[mode]["starts"] == [start]
        assert found[mode]["ends"] == [pytest.approx(float(seen[0]), abs=1e-4)]
        assert found[mode]["done"] > 10
