"""A specification survives JSON, pickle, copies and another process, whatever it was made from."""

import copy
import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

from continual_arcade.envs import IDS, PhaseSpec, Schedule, make_game, shipped
from continual_arcade.envs.env_specs import as_function, as_tunables, named
from continual_arcade.envs.phased_env import CARTPOLE, PhasedEnv, set_cartpole, switching
from continual_arcade.envs.schedule_files import save

FLAPPY, CATCHER = IDS["FlappyBird"], IDS["Catcher"]
DRIFTING = Schedule(
    "ours",
    (
        PhaseSpec(name="wide", steps=24, params={"gap": np.float32(100)}),  # type: ignore[dict-item]
        PhaseSpec(name="narrowing", steps=24, params={"gap": 90}, until={"gap": 80.0}),
    ),
)
POLES = Schedule("poles", (PhaseSpec(name="short", steps=9, params={"length": 0.25}),))
TURNS = Schedule(
    "turns", tuple(PhaseSpec(name=str(i), steps=9, params={"env": i}) for i in (0, 1, 0))
)


def toml(folder: Path, schedule: Schedule = DRIFTING) -> Path:
    path = folder / "ours.toml"
    if not path.exists():
        save(schedule, path)
    return path


def phased(schedule: Any, **kwargs: Any) -> Any:
    return PhasedEnv(gym.make("CartPole-v1"), schedule, CARTPOLE, set_cartpole, **kwargs)


# What an environment may be made from, given an empty folder that is the current one.
MADE: dict[str, Callable[[Path], Any]] = {
    "nothing": lambda folder: gym.make(FLAPPY),
    "a name": lambda folder: gym.make(FLAPPY, schedule="shuffle:3", phase="gap 90"),
    "a Schedule": lambda folder: gym.make(FLAPPY, schedule=DRIFTING),
    "its data": lambda folder: gym.make(FLAPPY, schedule=MappingProxyType(DRIFTING.to_dict())),
    "a path": lambda folder: gym.make(FLAPPY, schedule=toml(folder)),
    "a relative path": lambda folder: gym.make(FLAPPY, schedule=toml(folder).name),
    "NumPy": lambda folder: gym.make(
        CATCHER,
        phase=np.int64(0),
        size=(np.int64(320), np.int64(480)),
        lives=np.int32(2),
        rewards={"loss": np.float32(-2)},
    ),
    "a vector env": lambda folder: gym.make_vec(FLAPPY, num_envs=3, schedule=DRIFTING),
    "a path for a vector env": lambda folder: gym.make_vec(FLAPPY, 2, schedule=toml(folder)),
    "a sync vector env": lambda folder: gym.make_vec(
        FLAPPY, 2, vectorization_mode="sync", schedule=DRIFTING
    ),
    "a phased env": lambda folder: phased(POLES),
    "a phased env of a path": lambda folder: phased(toml(folder, POLES), phase=np.int64(0)),
    "a phased env of names": lambda folder: PhasedEnv(
        gym.make("CartPole-v1"),
        POLES.to_dict(),
        {name: asdict(tunable) for name, tunable in CARTPOLE.items()},
        f"{set_cartpole.__module__}:set_cartpole",
    ),
    "a switch": lambda folder: switching(
        [gym.make("CartPole-v1"), gym.make("CartPole-v1", sutton_barto_reward=True)], TURNS
    ),
    "a switch of games": lambda folder: switching(
        [gym.make(FLAPPY, schedule=DRIFTING), gym.make(FLAPPY, phase=0)], TURNS
    ),
}


def play(env: Any) -> Iterator[Any]:
    """Play a few steps, so that two environments that are made alike do alike."""
    is_vector = isinstance(env, gym.vector.VectorEnv)
    yield env.reset(seed=5)
    for step in range(40):
        action = step % 3 % 2
        played = env.step(np.full(env.num_envs, action) if is_vector else action)
        yield played
        if not is_vector and (played[2] or played[3]):
            yield env.reset()


def digest(env: Any) -> str:
    return hashlib.sha256(str(list(play(env))).encode()).hexdigest()


def again(spec: EnvSpec) -> Any:
    is_vector = "vectorization_mode" in spec.kwargs
    return gym.make_vec(spec) if is_vector else gym.make(spec)


@pytest.mark.parametrize("made_from", MADE)
def test_a_specification_survives(
    made_from: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = MADE[made_from](tmp_path)
    expected, spec = digest(env), env.spec
    assert spec is not None
    for file in tmp_path.iterdir():
        file.unlink()  # what was read from it is in the specification
    for other in (
        EnvSpec.from_json(spec.to_json()),
        pickle.loads(pickle.dumps(spec)),
        copy.deepcopy(spec),
        spec,
    ):
        if made_from != "a sync vector env":  # whose spec is Gymnasium's own affair
            assert other == spec
        made = again(other)
        assert digest(made) == expected
        # And what is made from it says the same of itself.
        assert made.spec.to_json() == spec.to_json()


OTHER_PROCESS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from gymnasium.envs.registration import EnvSpec
from test_env_specs import again, digest
print(json.dumps([digest(again(EnvSpec.from_json(text))) for text in json.load(sys.stdin)]))
"""


def test_another_process_makes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    envs = []
    for number, make in enumerate(MADE.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        envs.append(make(folder))
    other = subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(Path(__file__).parent)],
        input=json.dumps([env.spec.to_json() for env in envs]),
        capture_output=True,
        check=True,
        text=True,
        cwd=os.sep,
    )
    assert json.loads(other.stdout) == [digest(env) for env in envs]


def test_a_specification_that_somebody_registers_survives() -> None:
    """Gymnasium writes what it was registered with as ``dataclasses.asdict`` does."""
    gym.register(
        "Ours-v0",
        entry_point="continual_arcade.envs:ArcadeEnv",
        kwargs={"game": "FlappyBird", "schedule": DRIFTING},
    )
    try:
        spec = EnvSpec.from_json(gym.spec("Ours-v0").to_json())
        assert digest(gym.make(spec)) == digest(gym.make("Ours-v0"))
    finally:
        del gym.registry["Ours-v0"]
    data = asdict(DRIFTING)
    assert Schedule.from_dict(data) == DRIFTING
    # As version 0.1.0 wrote it.
    assert Schedule.from_dict({"name": data["name"], "stretches": data["phases"]}) == DRIFTING
    # A file that does not name its format is refused all the same.
    del data["phases"][0]["until"]
    with pytest.raises(ValueError, match="says format = 1"):
        Schedule.from_dict(data)


def test_a_difference_is_seen() -> None:
    """The oracle of these tests tells schedules apart."""
    narrow = shipped("shrink", make_game("FlappyBird"))
    assert digest(gym.make(FLAPPY, schedule=narrow, phase=5)) != digest(gym.make(FLAPPY))


def test_a_function_without_a_name_serves_in_this_process(tmp_path: Path) -> None:
    env: Any = PhasedEnv(
        gym.make("CartPole-v1"), POLES, CARTPOLE, lambda env, params: set_cartpole(env, params)
    )
    assert digest(gym.make(env.spec)) == digest(phased(POLES))
    with pytest.raises(TypeError, match="function is not JSON"):
        env.spec.to_json()  # it is refused there, and not when it is read back


def test_names_of_functions() -> None:
    assert as_function(named(set_cartpole)) is set_cartpole
    assert named(print) == "builtins:print"
    assert named(local := lambda: 0) is local
    for name in ("no.such.module:f", "math:no_such_function", "math", "", ":", "math:pi.real."):
        with pytest.raises(ValueError, match="there is no function"):
            as_function(name)
    for no_function in (5, "math:pi", None):
        with pytest.raises(TypeError, match="no function"):
            as_function(no_function)  # type: ignore[arg-type]


def test_what_are_no_tunables() -> None:
    for given in (5, [], {"length": 5}, {"length": {"low": 1}}, {"length": {"default": "x"}}):
        with pytest.raises(ValueError, match=r"tunable"):
            as_tunables(given)  # type: ignore[arg-type]


def test_a_switch_of_what_has_no_specification_has_none() -> None:
    bare = gym.make("CartPole-v1").unwrapped
    bare.spec = None
    assert switching([bare, bare], TURNS).spec is None
