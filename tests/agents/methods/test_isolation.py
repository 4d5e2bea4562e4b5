"""What all methods share that give each phase parameters of its own."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
import torch
from stable_baselines3.common.callbacks import BaseCallback
from tiny import CONFLICT, SETTINGS

from continual_arcade.agents import ContinualDQN, build_agent
from continual_arcade.agents.building import make_training_env
from continual_arcade.agents.methods import METHODS, PARTS, Learner, Part, compose, make_part
from continual_arcade.agents.methods.isolation import Isolation
from continual_arcade.envs import Schedule

ISOLATING = [name for name, part in PARTS.items() if issubclass(part, Isolation)]
EACH = pytest.mark.parametrize("name", ISOLATING)


def test_which_they_are() -> None:
    assert sorted(ISOLATING) == ["den", "hat", "packnet", "progressive"]
    assert sorted(ISOLATING) == sorted(name for name, part in PARTS.items() if part.told)


@EACH
def test_phases_that_drift_into_one_another_are_refused(name: str) -> None:
    """One end would be taken for that of the first of them alone."""
    first, second, third = CONFLICT.phases
    schedule = Schedule("drifts", (replace(first, until=second.params), second, third))
    with pytest.raises(ValueError, match=f"'{name}' freezes what .* a phase drifts into"):
        build_agent("FlappyBird", schedule, SETTINGS, method=METHODS[name], context="one-hot")


@EACH
def test_observations_that_tell_another_phase_are_refused(name: str) -> None:
    """It would be learnt as that one, and what was kept of it would change."""
    env: Any = make_training_env("FlappyBird", CONFLICT, SETTINGS.num_envs, "one-hot")
    step = env.env.step

    def swapped(actions: Any) -> Any:
        observations, *rest = step(actions)
        return np.concatenate([observations[:, :-3], np.roll(observations[:, -3:], 1, 1)], 1), *rest

    env.env.step = swapped
    part = make_part(name)
    learner = tiny.agent(part, env=env, policy={part.told: 3}, engine="torch")
    with pytest.raises(ValueError, match="of phase 1 tells that it is of phase 2, which would be"):
        learner.learn(200)


# Phases that come back.

STEPS = 120
FIRST, SECOND, THIRD = CONFLICT.with_steps(STEPS).phases
RETURN = Schedule("return", (FIRST, SECOND, FIRST, THIRD))
TO_AND_FRO = Schedule("to and fro", (FIRST, SECOND, FIRST, SECOND))


class Watcher(BaseCallback):
    """Notes at each step which phase it is, and all that learning could change.

    And what is said of the first observations, from where the first phase is finished.
    """

    callback_every = 1

    def _on_training_start(self) -> None:
        self.seen: list[tuple[bool, int | None, int, int, bytes, int]] = []
        self.said: list[bytes] = []

    def _on_rollout_start(self) -> None:
        agent: Any = self.model
        if not agent.q_net.finished:
            self.first = torch.from_numpy(agent.replay.observations[:50, 0].copy())
            return
        with torch.no_grad():
            self.said.append(agent.q_net(self.first).numpy().tobytes())

    def _on_step(self) -> bool:
        agent: Any = self.model
        now = agent.rests, agent.phase_tracker.phase, agent.phase_tracker.step
        learnt = tiny.bits(agent), agent.replay.seen
        self.seen.append((*now, agent._n_updates, *learnt))
        return True


def isolating(name: str, schedule: Schedule, engine: str, **changed: Any) -> Any:
    settings = replace(SETTINGS, engine=engine, n_steps=3, **changed)  # type: ignore[arg-type]
    method = compose("finetune", parts=["packnet:retrain=5" if name == "packnet" else name])
    return build_agent("FlappyBird", schedule, settings, 1, method, context="one-hot")


def watched(learner: Any, schedule: Schedule) -> Watcher:
    watcher = Watcher()
    learner.learn(schedule.total_steps, callback=watcher, log_interval=None)
    return watcher


@pytest.fixture(scope="module")
def returned() -> Callable[[str, str], tuple[Any, Watcher]]:
    """Of the life in which the first phase comes back: each is lived once, and to be read only."""

    @cache
    def lived(name: str, engine: str) -> tuple[Any, Watcher]:
        learner = isolating(name, RETURN, engine)
        return learner, watched(learner, RETURN)

    return lived


@EACH
@pytest.mark.parametrize("engine", [pytest.param("torch", marks=pytest.mark.slow), "auto"])
def test_a_phase_that_comes_back_is_played_and_nothing_of_it_is_learnt(
    name: str, engine: str, returned: Any
) -> None:
    """One of the methods is of PyTorch alone."""
    learner, watcher = returned(name, engine)
    rested = [seen for seen in watcher.seen if seen[0]]
    of_first = [seen for seen in rested if seen[1] == 2]
    assert [seen[2] for seen in of_first] == [*range(2 * STEPS, 3 * STEPS, SETTINGS.num_envs)]
    # From where all environments are in it, which is at once: boundaries end episodes.
    assert len(rested) - len(of_first) <= 1
    assert len({state[3:5] for state in of_first}) == 1
    assert {seen for *_, seen in of_first} == {0}  # replay stays empty
    assert int(learner.q_net.finished) == 2
    assert learner.phase_tracker.phase == 3
    assert learner._n_updates > of_first[-1][3]
    assert tiny.bits(learner) != of_first[-1][4]


@EACH
def test_what_was_kept_is_played_to_the_bit(name: str, returned: Any) -> None:
    _, watcher = returned(name, "auto")
    assert len(watcher.first) == 50
    assert watcher.first[:, -3].all()
    assert len(watcher.said) > 10
    assert len({*watcher.said}) == 1


@EACH
def test_the_last_phase_goes_on_when_all_come_back(name: str) -> None:
    learner = isolating(name, TO_AND_FRO, "auto")
    seen = watched(learner, TO_AND_FRO).seen
    first, second = ([s for s in seen if s[1] == phase] for phase in (2, 3))
    assert all(rests for rests, *_ in first)
    assert len({state[3:5] for state in first}) == 1
    assert not any(rests for rests, *_ in second)
    assert second[-1][3] > first[-1][3]
    assert int(learner.q_net.finished) == 1  # no other one needs room


@EACH
def test_a_phase_that_only_has_the_middle_of_another_one_is_learnt(name: str) -> None:
    """It was played as the one that moves through it was finished, and nothing of it was learnt."""
    first, second = FIRST, SECOND
    way = {"params": {"gap": 140.0}, "until": {"gap": 60.0}}
    moves, rests = replace(first, **way), replace(first, params={"gap": 100.0})
    schedule = Schedule("ways", (moves, second, rests, moves))
    assert len(schedule.distinct) == 2
    learner = isolating(name, schedule, "auto")
    assert learner.q_net.phases == 3
    seen = watched(learner, schedule).seen
    in_middle = [each for each in seen if each[1] == 2]
    # In the last step of it the next one has begun by the clock.
    assert [each[0] for each in in_middle[:-1]] == [False] * (STEPS // SETTINGS.num_envs - 1)
    assert in_middle[-1][3] > in_middle[0][3]
    back = [each[0] for each in seen if each[1] == 3]
    assert back
    assert all(back)


@dataclass
class Once(Part):
    """Learns each phase of a schedule once, and does nothing else."""

    name: ClassVar[str] = "once"
    once: ClassVar[bool] = True


@pytest.mark.parametrize("train_freq", [1, 7])
def test_all_loops_rest_at_the_same_steps(train_freq: int) -> None:
    """Also in the middle of a rollout: two phases are 120 steps of each game, no multiple of 7."""
    found = []
    for loop in ("torch", "GameLoop", "EnvLoop"):
        env = tiny.life(RETURN.with_steps(240))
        if loop == "EnvLoop":
            env.env.step = env.env.step  # shadowed, so that it is no game of this suite any more
        engine: Any = "torch" if loop == "torch" else "compiled"
        learner = tiny.agent(Once(), env=env, engine=engine, train_freq=train_freq)
        counts = []
        for steps in (480, 196, 284):
            learner.learn(steps, log_interval=None, reset_num_timesteps=False)
            if learner._fused is not None:
                assert type(learner._fused).__name__ == loop
            counts.append((learner.num_timesteps, learner._n_updates, learner.replay.seen))
        found.append((counts, learner.replay.phases[learner.replay.stored_slots()].tolist()))
    assert found[0] == found[1] == found[2]
    (before, there, after), phases = found[0]
    assert before[1:] == there[1:] < after[1:]
    assert {*phases} <= {0, 1, 3}
    # All of the other phases is stored, and learnt from.
    assert before[2] == 480
    assert after[2] == 480 + after[0] - 720 - 8  # two of each environment wait for rewards
    rollouts = range(1, after[0] // (4 * train_freq) + 1)
    steps = [(4 * train_freq * (n - 1), 4 * train_freq * n) for n in rollouts]
    learns = [a for a, b in steps if b > 32 and not (a >= 480 and b <= 720)]
    assert after[1] == len(learns)


@dataclass
class Told(Part):
    """Notes what it is told of phases."""

    name: ClassVar[str] = "told"

    def __post_init__(self) -> None:
        self.news: list[tuple[str, int]] = []

    def phase_start(self, learner: Learner, phase: int) -> None:
        self.news.append(("start", phase))

    def phase_end(self, learner: Learner, phase: int) -> None:
        self.news.append(("end", phase))


def test_no_part_is_told_of_what_is_not_learnt() -> None:
    """Those that look back at a phase have nothing of it to look at."""
    for others in ([Once()], []):
        told = Told()
        tiny.agent(*others, told, env=tiny.life(RETURN)).learn(RETURN.total_steps)
        left_out = [("start", 2), ("end", 2)] if others else []
        every = [("start", 0), ("end", 0), ("start", 1), ("end", 1)]
        every += [("start", 2), ("end", 2), ("start", 3)]
        assert told.news == [one for one in every if one not in left_out]


@pytest.mark.parametrize("other", ["clone", "agem", "ewc", "mer"])
def test_parts_that_look_back_stand_beside_it(other: str) -> None:
    method = compose("finetune", parts=["packnet:retrain=5", other])
    settings = replace(SETTINGS, n_steps=3)
    learner = build_agent("FlappyBird", RETURN, settings, 1, method, context="one-hot")
    tiny.live(learner, RETURN.total_steps)
    assert int(learner.q_net.finished) == 2  # type: ignore[arg-type]


@EACH
@pytest.mark.parametrize("engine", [pytest.param("torch", marks=pytest.mark.slow), "auto"])
def test_a_run_is_resumed_in_a_phase_that_came_back(name: str, engine: str, tmp_path: Path) -> None:
    whole = isolating(name, RETURN, engine)
    path, half = tmp_path / "half.zip", int(2.5 * STEPS)
    tiny.live(whole, RETURN.total_steps, callback=tiny.SaveAt(half, path))
    env = make_training_env("FlappyBird", RETURN, SETTINGS.num_envs, "one-hot")
    resumed = ContinualDQN.load(path, env)
    assert resumed.rests
    tiny.live(resumed, RETURN.total_steps - resumed.num_timesteps, reset_num_timesteps=False)
    assert not list(tiny.differences(tiny.inside(whole), tiny.inside(resumed)))


def test_who_learns_a_phase_again_that_was_finished_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is planted: an agent that never rests."""
    monkeypatch.setattr(ContinualDQN, "rests", False)
    for engine in ("torch", "auto"):
        with pytest.raises(ValueError, match="begins again after 2 were finished"):
            isolating("packnet", RETURN, engine).learn(RETURN.total_steps)


@EACH
def test_who_takes_turns_between_phases_is_refused(name: str) -> None:
    """Each phase would be finished with its first piece, and all others be played for nothing."""
    with pytest.raises(ValueError, match=rf"'joint.*' takes turns .* part '{name}' would finish"):
        compose("joint", parts=[name])
    with pytest.raises(ValueError, match=rf"'joint.*' takes turns .* part '{name}' would finish"):
        build_agent(
            "FlappyBird",
            CONFLICT,
            SETTINGS,
            method=METHODS["joint"],
            parts=[make_part(name)],
            context="one-hot",
        )


@EACH
def test_a_phase_that_ends_before_anything_is_learnt_is_refused(name: str) -> None:
    """It would be frozen as it was drawn."""
    early = f"phase 1 ends after {STEPS} steps, before anything is learnt"
    for starts in (STEPS, STEPS + 1):
        with pytest.raises(ValueError, match=early):
            isolating(name, RETURN, "auto", learning_starts=starts)
    learner = isolating(name, RETURN, "auto", learning_starts=STEPS - 1)
    learner.learning_starts = STEPS  # also where that is set later
    with pytest.raises(ValueError, match=early):
        learner.learn(RETURN.total_steps)
    short = RETURN.with_steps([STEPS, 16, STEPS, STEPS])
    with pytest.raises(ValueError, match="phase 2 ends after 16 steps, before anything"):
        isolating(name, short, "auto")


@EACH
def test_a_phase_for_which_nothing_is_left_is_refused(name: str) -> None:
    env = make_training_env("FlappyBird", CONFLICT, SETTINGS.num_envs, "one-hot")
    part = make_part(name)
    learner = tiny.agent(part, env=env, policy={part.told: 2}, engine="torch")
    with pytest.raises(ValueError, match="phase 3 begins, and the weights are for 2 phases"):
        part.phase_start(learner, 2)


@EACH
def test_a_file_with_a_phase_that_is_not_there_is_refused(name: str, tmp_path: Path) -> None:
    """And one with anything else in its buffers that training cannot lead to."""
    agent = build_agent("FlappyBird", CONFLICT, SETTINGS, method=METHODS[name], context="one-hot")
    agent.save(tmp_path / "right.zip")
    ContinualDQN.load(tmp_path / "right.zip")
    network: Any = agent.q_net
    bounded = network.bounds()
    assert {n for n, _ in network.named_buffers()} == {*bounded}  # none was forgotten
    for buffer, (low, high) in bounded.items():
        kept = getattr(network, buffer)
        for wrong in (low - 1, high + 1):
            if np.isinf(wrong):
                continue
            setattr(network, buffer, torch.full_like(kept, wrong))
            agent.save(tmp_path / "wrong.zip")
            with pytest.raises(ValueError, match=rf"q_net\.{buffer} of the network must be from"):
                ContinualDQN.load(tmp_path / "wrong.zip")
        setattr(network, buffer, kept)
