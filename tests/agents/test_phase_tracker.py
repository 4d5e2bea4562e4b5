"""That an agent follows its life, in whatever environments and rollouts it lives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecCheckNan
from tiny import CONFLICT, LIFE, NUM_ENVS, PHASE, Spy, agent, bits, life, live

from continual_arcade.agents import ContinualDQN, Exploration, make_training_env
from continual_arcade.agents.methods.clone import Clone
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.phase_memory import Recent
from continual_arcade.agents.phase_tracker import PhaseTracker
from continual_arcade.envs import IDS, Schedule, make_game, shipped
from continual_arcade.envs.schedules import PhaseSpec

TOLD = [
    ("phase_start", 0),
    ("phase_end", 0),
    ("phase_start", 1),
    ("phase_end", 1),
    ("phase_start", 2),
]


def told(spy: Spy) -> list[Any]:
    return [event[1:] for event in spy.events if event[1] in ("phase_start", "phase_end")]


def one_by_one(count: int = NUM_ENVS) -> list[Callable[[], Any]]:
    """Makers of environments each with a clock of its own, which lives a whole life."""
    return [lambda: gym.make(IDS["FlappyBird"], schedule=CONFLICT) for _ in range(count)]


# --- environments of others ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCar-v0"])
def test_a_clock_that_is_none_of_ours_is_left_alone(name: str) -> None:
    # Those have an attribute `clock`, which is pygame's.
    settings: dict[str, Any] = {"learning_starts": 20, "buffer_size": 100, "device": "cpu"}
    ours, parents = (
        kind("MlpPolicy", name, seed=1, **settings).learn(120) for kind in (ContinualDQN, DQN)
    )
    assert bits(ours) == bits(parents)  # type: ignore[arg-type]


@pytest.mark.slow
def test_environments_in_other_processes() -> None:
    plain = SubprocVecEnv([lambda: gym.make("CartPole-v1")] * 2)
    assert not ContinualDQN(
        "MlpPolicy", plain, buffer_size=100, device="cpu"
    ).phase_tracker.has_phases
    plain.close()
    ours = SubprocVecEnv(one_by_one(2))
    spy = Spy()
    live(agent(spy, env=ours), 2 * LIFE + 100)
    assert told(spy) == TOLD
    ours.close()


@pytest.mark.parametrize("wrap", [VecCheckNan, lambda env: VecCheckNan(VecCheckNan(env))])
def test_wrappers_of_vector_environments_hide_no_phase(wrap: Any) -> None:
    spy = Spy()
    live(agent(spy, env=wrap(life())))
    assert told(spy) == TOLD


def test_a_wrapper_that_drops_the_phase_is_named() -> None:
    class Silent(gym.Wrapper[Any, Any, Any, Any]):
        def reset(self, **kwargs: Any) -> Any:
            return self.env.reset(**kwargs)[0], {}

    silent = DummyVecEnv([lambda: Silent(gym.make(IDS["FlappyBird"], schedule=CONFLICT))])
    # Gymnasium's wrappers hand on no attributes by themselves, but Stable-Baselines3 looks deeper.
    with pytest.raises(ValueError, match="does not say which one it is: leave out the wrapper"):
        live(agent(EWC(), env=silent))


# --- several calls of learn ---------------------------------------------------------------------


@pytest.mark.parametrize("reset", [True, False])
def test_a_call_for_each_phase_tells_all_phases(reset: bool) -> None:
    spy = Spy()
    model = agent(spy)
    for _ in range(3):
        live(model, PHASE, reset_num_timesteps=reset)
    live(model, NUM_ENVS, reset_num_timesteps=reset)
    assert told(spy) == TOLD


def test_another_life_begins_with_its_first_phase() -> None:
    spy = Spy()
    model = live(agent(spy))
    model.set_env(life())
    live(model, NUM_ENVS)
    assert told(spy) == [*TOLD, ("phase_start", 0)]


@pytest.mark.parametrize("lived", [PHASE // 2, PHASE - NUM_ENVS])
def test_another_life_begins_although_the_phase_is_the_same(lived: int) -> None:
    spy = Spy()
    model = live(agent(spy), lived)
    model.set_env(life())
    live(model)
    assert told(spy) == [("phase_start", 0), *TOLD]
    # Nor does the number of steps matter, but where the clock stands.
    again = agent(spy := Spy())
    for _ in range(3):
        live(again, PHASE // 4)
    assert told(spy) == [("phase_start", 0)]


@pytest.mark.parametrize("train_freq", [1, 20])
def test_what_was_played_in_another_life_is_not_remembered(train_freq: int) -> None:
    clone = Clone(states=10_000)
    model = live(agent(clone, train_freq=train_freq), PHASE // 2)
    model.set_env(life())
    # With long rollouts some of the second phase is stored before the first is told to have ended.
    live(model)
    assert clone.observations is not None
    assert len(clone.observations) == 2 * PHASE


def test_a_loaded_agent_begins_another_life(tmp_path: Path) -> None:
    spy = Spy()
    live(agent(), PHASE // 2).save(tmp_path / "agent")
    loaded = ContinualDQN.load(tmp_path / "agent", life(), "cpu", parts=[spy])
    live(loaded)
    assert told(spy) == TOLD


def test_an_environment_that_tells_no_step_goes_on() -> None:
    class Steps(gym.Wrapper[Any, Any, Any, Any]):
        def reset(self, **kwargs: Any) -> Any:
            observation, info = self.env.reset(**kwargs)
            return observation, {"phase": info["phase"]}

    spy = Spy()
    (make,) = one_by_one(1)
    model = agent(spy, env=DummyVecEnv([lambda: Steps(make())]))
    for _ in range(2):
        live(model, PHASE // 4)
    assert told(spy) == [("phase_start", 0)]


# --- rollouts longer than a step ----------------------------------------------------------------


def check_of_phase(seen: dict[int, set[int]]) -> None:
    assert seen == {0: {0}, 1: {1}}


def memory_at_phase_ends(kind: type[Clone]) -> dict[int, set[int]]:
    """Phases of the states that a part has of each phase that ended."""
    seen: dict[int, set[int]] = {}

    class Watched(kind):  # type: ignore[misc, valid-type]
        def played(self, phase: int) -> Any:
            found = super().played(phase)
            assert len(found) == 60
            seen[phase] = set(found.phases.tolist())
            return found

    live(agent(Watched(states=60), train_freq=16, buffer_size=1_000), LIFE + 100)
    return seen


def test_what_is_remembered_of_a_phase_is_of_that_phase() -> None:
    check_of_phase(memory_at_phase_ends(Clone))


def test_newest_of_all_phases_fails_that_test() -> None:
    class Newest(Clone):
        """A mistake: what came last, of whichever phase."""

        def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
            self.recent.setdefault(0, Recent(self._capacity)).add(transitions)

        def played(self, phase: int) -> Any:
            return self.recent[0].all()

    with pytest.raises(AssertionError):
        check_of_phase(memory_at_phase_ends(Newest))


# --- drifting phases ----------------------------------------------------------------------------


def gap(first: float, until: float | None = None, steps: int = PHASE) -> PhaseSpec:
    name = f"{first} to {until}"
    params = {"gap": first}
    after = None if until is None else {"gap": until}
    return PhaseSpec(name=name, steps=steps, params=params, until=after)


def test_phases_that_drift_into_one_another_are_one() -> None:
    joined = Schedule("joined", (gap(100, 90), gap(90, 80), gap(100), gap(70, 75), gap(75)))
    assert joined.boundaries == (2 * PHASE, 3 * PHASE)
    spy, clone = Spy(), Clone(states=10_000)
    live(
        agent(spy, clone, env=make_training_env("FlappyBird", joined, NUM_ENVS)), joined.total_steps
    )
    assert told(spy) == [
        ("phase_start", 0),
        ("phase_end", 1),
        ("phase_start", 2),
        ("phase_end", 2),
        ("phase_start", 3),
    ]
    # All states of the two that were one, and those of the third.
    assert clone.observations is not None
    assert len(clone.observations) == 3 * PHASE


def check_memory(clone: Clone) -> None:
    assert sum(len(recent) for recent in clone.recent.values()) == 20
    kept = clone.state_dict()["recent"]
    assert sum(len(columns["rewards"]) for columns in kept.values()) == 20


def after_drifting(kind: type[Clone]) -> Clone:
    """A part after many phases that drift into one another, and of which none has ended."""
    drifting = [gap(60, steps=40)]
    drifting += [gap(100 - i, 99 - i, steps=40) for i in range(10)]
    schedule = Schedule("drifting", tuple(drifting))
    assert schedule.boundaries == (40,)
    clone = kind(states=20)
    live(
        agent(clone, env=make_training_env("FlappyBird", schedule, NUM_ENVS)), schedule.total_steps
    )
    return clone


def told_and_kept(engine: Any, taken: Any) -> tuple[dict[int, Any], dict[int, Any]]:
    """Rewards of all completed transitions, by phase, and of those that a penalty is made from."""
    told: dict[int, list[Any]] = {}
    kept: dict[int, Any] = {}

    class Watched(EWC):
        def completed(self, learner: Any, transitions: Any) -> None:
            super().completed(learner, transitions)
            for phase in sorted(set(transitions.phases.tolist())):
                of_phase = transitions.take(np.flatnonzero(transitions.phases == phase))
                told.setdefault(phase, []).append(of_phase.observations)

        def played(self, phase: int) -> Any:
            found = super().played(phase)
            kept[phase] = found.observations
            return found

    live(agent(Watched(samples=30, taken=taken), buffer_size=1_000, engine=engine), LIFE + 100)
    return {phase: np.concatenate(parts) for phase, parts in told.items()}, kept


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("taken", ["last", "first"])
def test_the_first_or_the_last_transitions_of_a_phase(engine: Any, taken: Any) -> None:
    told, kept = told_and_kept(engine, taken)
    assert list(kept) == [0, 1]
    for phase, found in kept.items():
        assert len(told[phase]) > 60
        wanted = told[phase][:30] if taken == "first" else told[phase][-30:]
        assert np.array_equal(found, wanted)


def test_phases_that_drift_into_one_another_are_remembered_as_one() -> None:
    check_memory(after_drifting(Clone))


def test_a_memory_for_each_phase_fails_that_test() -> None:
    class Hoarder(Clone):
        """A mistake: each phase is remembered, as if it could end."""

        def stored(self, learner: Any, transitions: Any, rows: Any, slots: Any) -> None:
            for phase in set(transitions.phases.tolist()):
                of_phase = transitions.take(np.flatnonzero(transitions.phases == phase))
                self.recent.setdefault(phase, Recent(self._capacity)).add(of_phase)

    with pytest.raises(AssertionError):
        check_memory(after_drifting(Hoarder))


# --- exploration over each phase ----------------------------------------------------------------


def test_each_clock_counts_its_own_steps() -> None:
    model = agent(env=DummyVecEnv(one_by_one()), exploration_fraction=1.0)
    model.exploration = Exploration("per_phase")
    live(model, NUM_ENVS * PHASE // 2)
    # Half of the phase has passed by each clock.
    assert model.exploration_rate == pytest.approx(1 - 0.95 / 2)


def test_progress_of_a_phase_by_the_clock() -> None:
    following = PhaseTracker(1)
    following.look_at(life())

    class Env:
        reset_infos = ({"phase": 0, "lifetime_step": 0},)
        unwrapped: Any

    Env.unwrapped = Env
    following.begin(Env)  # type: ignore[arg-type]
    for step, progress in ((0, 0), (30, 0.25), (PHASE, 0), (2 * PHASE - 1, 119 / 120), (LIFE, 1)):
        following.stepped([{"lifetime_step": step}], np.array([False]), Env)  # type: ignore[arg-type]
        assert following.progress_of_phase() == pytest.approx(progress)


def test_who_stays_in_a_phase_for_ever_does_not_explore_per_phase() -> None:
    one = Schedule("one", (gap(100),))
    env = make_training_env("FlappyBird", one, 2)
    ContinualDQN("MlpPolicy", env, exploration=Exploration("per_phase"), buffer_size=100)
    frozen = gym.make(IDS["FlappyBird"], schedule=CONFLICT, phase=1)
    with pytest.raises(ValueError, match="schedule 'conflict' stays in one phase"):
        ContinualDQN("MlpPolicy", frozen, exploration=Exploration("per_phase"))
    drifting = shipped("drift", make_game("FlappyBird")).with_steps(40)
    ContinualDQN(
        "MlpPolicy",
        make_training_env("FlappyBird", drifting, 2),
        exploration=Exploration("per_phase"),
        buffer_size=100,
    )
