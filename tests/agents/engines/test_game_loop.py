"""A life in one compiled loop: where Python is entered makes no difference, and it is entered."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
from processes import started
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    ProgressBarCallback,
)
from stable_baselines3.common.logger import configure
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit

from continual_arcade.agents import METHODS, ContinualDQN, DQNSettings, build_agent, compose
from continual_arcade.agents.engines import game_loop
from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.base import Learner
from continual_arcade.agents.methods.l2 import L2
from continual_arcade.agents.replay import BalancedReplayBuffer
from continual_arcade.agents.replay.n_step import COLUMNS
from continual_arcade.envs import make_game, shipped
from continual_arcade.envs.clock import LifetimeClock
from continual_arcade.envs.curricula import as_schedule
from continual_arcade.envs.schedules import Schedule

GAME = make_game("FlappyBird")
METHODS_HERE = {**METHODS, "clear": compose("finetune", "mix", ["clear:after=60"])}


def agent(engine: Any = "compiled", method: str = "finetune", **changes: Any) -> ContinualDQN:
    settings: dict[str, Any] = {
        "hidden": (8,),
        "batch_size": 16,
        "num_envs": 4,
        "gradient_steps": 1,
        "learning_starts": 32,
        "buffer_size": 200,
        "target_update_interval": 40,
        "engine": engine,
        **changes,
    }
    chosen = METHODS_HERE[method]
    context = tiny.context_of(chosen.make_parts())
    return build_agent(
        "FlappyBird", tiny.CONFLICT, DQNSettings(**settings), 0, chosen, context=context
    )


class Notes(BaseCallback):
    """Notes what it is shown at each call."""

    def __init__(self, due: int | None = 1) -> None:
        super().__init__()
        self.due = due
        self.calls: list[tuple[int, int]] = []
        self.shown: list[Any] = []

    def next_due(self, num_timesteps: int) -> int | None:
        return None if self.due is None else num_timesteps + self.due

    def _on_step(self) -> bool:
        self.calls.append((self.num_timesteps, self.n_calls))
        names = ("rewards", "dones", "infos", "new_obs", "actions")
        self.shown.append({name: plain(self.locals[name]) for name in names})
        return True


def plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in sorted(value.items()) if key != "t"}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray):  # as bytes: NaN is to equal NaN
        return value.shape, value.dtype.name, value.tobytes()
    return value


@pytest.mark.one_in(3)
@pytest.mark.parametrize("method", ["finetune", "clear", "mer", "clone"])
@pytest.mark.parametrize("due", [4, 12, 44, 1000])
def test_where_python_is_entered_makes_no_difference(method: str, due: int) -> None:
    whole, pieces = agent(method=method), agent(method=method)
    whole.learn(tiny.LIFE, log_interval=None)  # type: ignore[arg-type]
    callback = Notes(due)
    pieces.learn(tiny.LIFE, callback, log_interval=None)  # type: ignore[arg-type]
    assert len(callback.calls) >= tiny.LIFE // max(due, 4) // 2
    assert tiny.bits(whole) == tiny.bits(pieces)
    assert plain(whole.replay.state_dict()) == plain(pieces.replay.state_dict())


@pytest.mark.parametrize("choices", [{}, {"exploration_final_eps": 0.0}])
def test_an_agent_that_learns_nothing_plays_as_it_does_with_the_other_engine(
    choices: dict[str, Any],
) -> None:
    """It explores as long as the other one, and then plays as it can."""
    lives = []
    for engine in ("torch", "compiled"):
        learner = tiny.agent(engine=engine, gradient_steps=0, **choices)
        learner.learn(tiny.LIFE, log_interval=None)  # type: ignore[arg-type]
        lives.append((tiny.bits(learner), plain(learner.replay.state_dict())))
    assert lives[0] == lives[1]
    last: Any = learner.replay.actions[learner.replay.stored_slots()].ravel()[-40:]
    assert np.bincount(last).max() > 30  # chance would be 20


class Told(Part):
    """Notes when it is told of phases."""

    name: ClassVar[str] = "told"

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, int, int]] = []

    def phase_start(self, learner: Learner, phase: int) -> None:
        self.told.append(("start", phase, learner.num_timesteps))

    def phase_end(self, learner: Learner, phase: int) -> None:
        self.told.append(("end", phase, learner.num_timesteps))


def test_room_that_is_made_within_a_rollout_delays_no_end_of_a_phase() -> None:
    """Of a new phase a balanced memory first makes room, in the step after the phase has ended."""
    told = []
    for engine in ("torch", "compiled"):
        part = Told()
        life = tiny.life(num_envs=1)
        replay = BalancedReplayBuffer
        made = {"env": life, "replay": replay, "engine": engine, "train_freq": 7, "n_steps": 1}
        tiny.live(tiny.agent(part, **made))
        told.append(part.told)
    assert told[0] == told[1]
    assert [what for what, *_ in told[0]] == ["start", "end", "start", "end", "start"]


class Latest(BaseCallback):
    """Notes what replay tells of the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []

    def _on_step(self) -> bool:
        replay: Any = self.model.replay  # type: ignore[attr-defined]
        latest, (rows, slots) = replay.latest, replay.placed
        kept = replay.stored(slots)
        for name in COLUMNS:
            there, told = getattr(kept, name), getattr(latest.take(rows), name)
            np.testing.assert_array_equal(there, told)
        self.told.append((len(latest), slots.tolist()))
        return True


def test_replay_tells_what_the_last_step_has_completed() -> None:
    told = []
    for engine in ("torch", "compiled"):
        callback = Latest()
        tiny.live(tiny.agent(engine=engine), 160, callback=callback)
        told.append(callback.told)
    # With the other engine it is stored after the callback.
    assert told[1][:-1] == told[0][1:]
    assert max(count for count, _ in told[1]) > tiny.NUM_ENVS  # those of an episode that ended


def test_nor_does_the_clock_on_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, pieces = agent(method="mer"), agent(method="mer")
    whole.learn(tiny.LIFE)
    monkeypatch.setattr(game_loop, "_LONGEST", 3)
    pieces.learn(tiny.LIFE)
    assert tiny.bits(whole) == tiny.bits(pieces)


def test_a_callback_at_every_step_sees_what_it_sees_with_the_other_engine() -> None:
    seen = []
    for engine in ("torch", "compiled"):
        callback = Notes()
        agent(engine).learn(tiny.LIFE, callback)
        assert [call for call, _ in callback.calls] == list(range(4, tiny.LIFE + 1, 4))
        seen.append(callback)
    torchs, compiled = seen
    assert torchs.calls == compiled.calls
    for step, (a, b) in enumerate(zip(torchs.shown, compiled.shown, strict=True)):
        assert a == b, step
    assert any(any(shown["dones"]) for shown in compiled.shown)
    assert any("episode" in info for shown in compiled.shown for info in shown["infos"])


@pytest.mark.parametrize("context", ["hidden", "params"])
def test_a_game_made_of_others_is_played_as_with_the_other_engine(context: Any) -> None:
    """Through a change of the game itself: episodes, observations, and what is learnt from."""
    schedule = shipped("conflict", make_game("Tour")).with_steps(tiny.PHASE)
    seen = []
    for engine in ("torch", "compiled"):
        settings = replace(tiny.SETTINGS, engine=engine)
        made = build_agent("Tour", schedule, settings, seed=3, context=context)
        callback = Notes()
        made.learn(schedule.total_steps, callback)
        assert made.runs_compiled == (engine == "compiled")
        seen.append(callback)
    for a, b in zip(*(notes.shown for notes in seen), strict=True):
        assert a == b
    phases = [info["phase"] for shown in seen[1].shown for info in shown["infos"]]
    assert {*phases} == {0, 1}


class Updates(BaseCallback):
    """Notes at each step how much was learnt by then."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int, int]] = []

    def note(self, when: str) -> None:
        agent: Any = self.model
        self.seen.append((when, agent.num_timesteps, agent._n_updates))

    def _on_step(self) -> bool:
        self.note("step")
        return True

    def _on_rollout_end(self) -> None:
        self.note("end")


class Starts(Updates):
    """Also when a rollout starts: before it, all there was must be learnt."""

    def _on_rollout_start(self) -> None:
        self.note("start")


@pytest.mark.parametrize("kind", [Updates, Starts])
def test_what_was_learnt_by_each_call_is_what_the_other_engine_has_learnt(kind: Any) -> None:
    torchs, compiled, listed = kind(), kind(), kind()
    agent("torch").learn(tiny.LIFE, torchs)
    agents = agent(), agent()
    agents[0].learn(tiny.LIFE, compiled)
    agents[1].learn(tiny.LIFE, CallbackList([Updates(), listed]))
    assert torchs.seen == compiled.seen == listed.seen
    assert tiny.bits(agents[0]) == tiny.bits(agents[1])


class Changes(Updates):
    """Does something to the agent in the middle of a rollout of four steps."""

    def __init__(self, do: Callable[[Any], object]) -> None:
        super().__init__()
        self.do = do

    def _on_step(self) -> bool:
        if self.num_timesteps == 104:
            self.do(self.model)
        return super()._on_step()


IN_THE_MIDDLE: dict[str, Callable[[Any], object]] = {
    "nothing": lambda agent: None,
    "another engine": lambda agent: setattr(agent, "engine", "torch"),
    "another rate": lambda agent: setattr(agent, "exploration_rate", 0.9),
    "another schedule": lambda agent: setattr(agent, "exploration_schedule", lambda left: 0.9),
    "later starts": lambda agent: setattr(agent, "learning_starts", 150),
    "shorter rollouts": lambda agent: setattr(
        agent, "train_freq", TrainFreq(2, TrainFrequencyUnit.STEP)
    ),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("nothing", "another engine") else pytest.mark.slow)
        for name in IN_THE_MIDDLE
    ],
)
def test_callbacks_are_called_within_a_rollout(name: str, tmp_path: Path) -> None:
    """At each step, or when they are due, whether it is one after which is learnt or not."""
    found = []
    for engine in ("torch", "auto"):
        model = tiny.agent(engine=engine, train_freq=4, gradient_steps=-1)
        callback, seen = Changes(IN_THE_MIDDLE[name]), Notes()
        saves = CheckpointCallback(7, str(tmp_path / engine))
        model.learn(240, CallbackList([callback, seen, saves]), log_interval=4)
        files = sorted(path.name for path in (tmp_path / engine).iterdir())
        learnt = [parameter.detach().numpy() for parameter in model.q_net.parameters()]
        numbers = (model.num_timesteps, model._n_updates, model._episode_num)
        found.append((callback.seen, seen.calls, seen.shown, files, numbers, learnt))
    *torchs, weights = found[0]
    *compiled, others = found[1]
    assert torchs == compiled
    assert [step for step, _ in found[1][1]] == [*range(4, 241, 4)]
    assert len(found[1][3]) == 8
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(weights, others, strict=True))


def test_long_rollouts_are_interrupted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(game_loop, "_LONGEST", 7)
    calls, bits = [], []
    for every in (None, 60):
        model, callback = tiny.agent(engine="compiled", train_freq=10), Notes(every)
        model.learn(240, callback)
        calls.append([step for step, _ in callback.calls])
        bits.append(tiny.bits(model))
    assert calls[0] == [step for at in range(0, 240, 40) for step in (at + 28, at + 40)]
    assert (
        bits[0]
        == bits[1]
        == tiny.bits(tiny.live(tiny.agent(engine="compiled", train_freq=10), 240))
    )


class Overrides(ContinualDQN):
    """Does something of its own once a rollout."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.called = dict.fromkeys(("rollout", "told", "log"), 0)
        super().__init__(*args, **kwargs)

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> Any:
        self.called["rollout"] += 1
        self.max_grad_norm = 10.0 / self.called["rollout"]
        return super().collect_rollouts(*args, **kwargs)

    def _tell_phases(self) -> None:
        self.called["told"] += 1
        super()._tell_phases()

    def log_training(self, loss: float) -> None:
        self.called["log"] += 1
        super().log_training(loss)


def test_who_overrides_what_is_called_once_a_rollout_is_called_as_often() -> None:
    made: list[Any] = [
        tiny.live(tiny.agent(engine=e, kind=Overrides, train_freq=2), 160)
        for e in ("torch", "auto")
    ]
    assert made[1].runs_compiled
    assert made[0].called == made[1].called == {"rollout": 20, "told": 20, "log": 16}
    for a, b in zip(made[0].q_net.parameters(), made[1].q_net.parameters(), strict=True):
        assert np.allclose(a.detach(), b.detach(), atol=1e-5)


class Replaces(Updates):
    """Gives the agent another memory, and rollouts of another length, where one starts."""

    def _on_rollout_start(self) -> None:
        agent: Any = self.model
        self.seen.append(("seen", agent.num_timesteps, agent.replay.seen))
        if self.num_timesteps == 80:
            agent.replay_buffer = copy.deepcopy(agent.replay_buffer)
            agent.train_freq = TrainFreq(3, TrainFrequencyUnit.STEP)


def test_a_rollout_is_made_with_what_it_is_given() -> None:
    """With the parent that is what the agent had before a callback was told that it starts."""
    seen = []
    for engine in ("torch", "compiled"):
        callback = Replaces()
        model = tiny.live(tiny.agent(engine=engine), 160, callback=callback)
        other = copy.deepcopy(model.replay)
        other.reset()
        _, told = model._setup_learn(400, None, reset_num_timesteps=False)
        given: dict[str, Any] = {"train_freq": TrainFreq(5, TrainFrequencyUnit.STEP)}
        played = model.collect_rollouts(model.env, told, replay_buffer=other, **given)  # type: ignore[arg-type]
        assert played.episode_timesteps == 20
        seen.append((callback.seen, model._n_updates, model.replay.seen, other.seen))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("callback", [None, Updates()])
def test_as_many_gradient_steps_as_steps_of_the_rollout(callback: Any) -> None:
    """With gradient_steps = -1 that is of the last rollout, however many a loop has played."""
    made = [
        tiny.agent(engine=engine, gradient_steps=-1, train_freq=3)
        for engine in ("torch", "compiled")
    ]
    steps = 200
    for each in made:
        each.learn(steps, callback)
    rollouts = -(-(steps - tiny.LEARNING_STARTS) // 12)
    assert made[0]._n_updates == made[1]._n_updates
    assert abs(made[0]._n_updates - 12 * rollouts) <= 12
    for a, b in zip(made[0].q_net.parameters(), made[1].q_net.parameters(), strict=True):
        assert np.allclose(a.detach(), b.detach(), atol=1e-4)


@pytest.mark.parametrize(
    ("num_envs", "window"),
    [
        pytest.param(1, 100, marks=pytest.mark.slow),
        (4, 1),
        pytest.param(65, 3, marks=pytest.mark.slow),
        (101, 100),
    ],
)
def test_as_many_games_may_end_at_once_as_there_are(num_envs: int, window: int) -> None:
    # All of them do where a phase ends; the agent keeps the last ``window`` episodes.
    seen = []
    for engine in ("torch", "compiled"):
        callback = Notes()
        model = tiny.agent(
            env=tiny.life(num_envs=num_envs),
            engine=engine,
            stats_window_size=window,
            target_update_interval=200,
        )
        model.learn(max(tiny.LIFE, 4 * num_envs), callback)
        assert model.runs_compiled == (engine == "compiled")
        assert any(all(shown["dones"]) for shown in callback.shown)
        episodes = [(info["r"], info["l"]) for info in model.ep_info_buffer]
        assert len(episodes) <= window
        seen.append((callback.shown, episodes))
    assert seen[0] == seen[1]


class Writes(BaseCallback):
    """Changes in place what it is shown."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def _on_step(self) -> bool:
        self.locals[self.name][:] = 0
        return True


@pytest.mark.parametrize("name", ["rewards", "new_obs", "dones", "actions"])
def test_what_a_callback_is_shown_cannot_be_changed_in_place(name: str) -> None:
    """The step is stored already, so that it would be lost without a word."""
    with pytest.raises(ValueError, match="read-only"):
        agent().learn(40, Writes(name))


class Plain(BaseCallback):
    """Does not say when it is due."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def _on_step(self) -> bool:
        self.calls.append(self.num_timesteps)
        return self.num_timesteps < 200


def test_a_callback_that_does_not_say_is_called_at_every_step_and_may_stop_it() -> None:
    callback = Plain()
    model = agent()
    model.learn(tiny.LIFE, callback)
    assert callback.calls == list(range(4, 201, 4))
    assert model.num_timesteps == 200


def test_or_at_intervals_if_it_is_told_to() -> None:
    callback = Plain()
    model = agent()
    model.callback_every = 5
    model.learn(160, callback, log_interval=None)  # type: ignore[arg-type]
    # A phase ends at 120.
    assert callback.calls == [20, 40, 60, 80, 100, 120, 140, 160]


def test_callbacks_of_the_parent_act_when_they_would(tmp_path: Path) -> None:
    found = []
    for engine in ("torch", "compiled"):
        folder = tmp_path / engine
        evaluation = EvalCallback(tiny.life(), eval_freq=13, n_eval_episodes=1, verbose=0)
        saves = CheckpointCallback(10, str(folder))
        model = agent(engine)
        model.learn(tiny.LIFE, CallbackList([evaluation, saves]), log_interval=None)  # type: ignore[arg-type]
        found.append((sorted(path.name for path in folder.iterdir()), evaluation.n_calls))
        assert evaluation.evaluations_timesteps or evaluation.n_calls == tiny.LIFE // 4
    assert found[0] == found[1]
    assert len(found[0][0]) == tiny.LIFE // 4 // 10


def rows(model: ContinualDQN, folder: Path) -> list[dict[str, Any]]:
    model.set_logger(configure(str(folder), ["json"]))
    model.learn(tiny.LIFE)
    model.logger.close()
    lines = (folder / "progress.json").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_the_log_has_the_same_lines(tmp_path: Path) -> None:
    torchs = rows(agent("torch", method="ewc"), tmp_path / "torch")
    compiled = rows(agent("compiled", method="ewc"), tmp_path / "compiled")
    # Two lines of one step are one line here.
    steps = dict.fromkeys(row["time/total_timesteps"] for row in torchs)
    assert [row["time/total_timesteps"] for row in compiled] == list(steps)
    last = {row["time/total_timesteps"]: row for row in torchs}
    assert len(compiled) >= 2
    for row in compiled:
        other = last[row["time/total_timesteps"]]
        assert row.keys() == other.keys()
        for name, value in row.items():
            if "fps" not in name and "time_elapsed" not in name and "drawn" not in name:
                assert value == pytest.approx(other[name], rel=1e-3, abs=1e-5), name


@pytest.mark.filterwarnings("ignore:rich is experimental")
def test_the_progress_bar_comes_to_its_end() -> None:
    model = agent()
    bar = ProgressBarCallback()
    model.learn(tiny.LIFE, bar)
    assert bar.pbar.n == tiny.LIFE


def test_phase_events_come_when_they_would() -> None:
    found = []
    for engine in ("torch", "compiled"):
        model, told = tiny.agent(L2(), engine=engine), []
        part: Any = model.parts[0]
        end = part.phase_end
        part.phase_end = lambda learner, phase, end=end, told=told: (
            told.append((learner.num_timesteps, learner._n_updates, phase)),
            end(learner, phase),
        )
        assert model.runs_compiled == (engine == "compiled")
        tiny.live(model)
        found.append(told)
    assert found[0] == found[1]
    assert [phase for *_, phase in found[0]] == [0, 1]


@pytest.mark.parametrize(
    "name", ["shrink", "cycle", "drift", "conflict", "shuffle:3", "stationary"]
)
@pytest.mark.parametrize("pace", [1, 3, 8])
def test_a_clock_that_jumps_stands_where_one_that_walks_stands(name: str, pace: int) -> None:
    schedule: Schedule = as_schedule(name, GAME).with_steps(50)
    walks, jumps = (LifetimeClock(schedule, GAME.tunables, pace=pace) for _ in range(2))
    rng = np.random.default_rng(0)
    while walks.step < schedule.total_steps + 100:
        times = int(rng.integers(0, 40))
        for _ in range(times):
            walks.step += pace
            walks.begin_episode()
        jumps.advance(pace, times)
        assert (jumps.step, jumps.phase, jumps.params, jumps.boundary) == (
            (walks.step, walks.phase, walks.params, walks.boundary)
        )
        if times:
            assert jumps.phase_changed == walks.phase_changed


def test_an_outlook_is_what_happens() -> None:
    for name in ("cycle", "drift"):
        schedule = shipped(name, GAME).with_steps(40)
        env = tiny.life(schedule, 3).env
        env.reset(seed=0)
        outlook = env.outlook(100)
        for k in range(100):
            *_, truncated, infos = env.step(np.ones(3, np.int64))
            if outlook.boundaries[k]:
                assert truncated.all()
            begun = infos.get("_final_obs", np.zeros(3, np.bool_))
            for i in np.flatnonzero(begun):
                assert infos["phase"][i] == outlook.phases[k]
                row = [infos["params"][tunable][i] for tunable in GAME.tunables]
                assert row == outlook.params[k].tolist()


LONG = """
import sys, time
from continual_arcade.agents import DQNSettings, build_agent, compose
from continual_arcade.agents.methods.l2 import L2
from continual_arcade.envs import make_game, shipped
schedule = shipped("shrink", make_game("FlappyBird")).with_steps(10_000_000)
agent = build_agent("FlappyBird", schedule, DQNSettings(engine="compiled"))
agent.learn(4000)
try:
    print("ready", flush=True)
    agent.learn(schedule.total_steps, reset_num_timesteps=False)
except KeyboardInterrupt:
    heard = time.process_time()
    print(heard, agent.num_timesteps == agent.env.env.clock.step, flush=True)
    before = agent.num_timesteps
    agent.learn(2000, reset_num_timesteps=False)
    print(agent.num_timesteps - before, flush=True)
"""


def computed(pid: int) -> float:
    """How long a process has computed [s], whatever else the machine had to do."""
    times = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")


def test_ctrl_c_is_heard_within_a_second_and_nothing_is_lost() -> None:
    with started([sys.executable, "-c", LONG], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        begun = computed(process.pid)
        while computed(process.pid) < begun + 0.5:  # all that it computes now is the loop
            time.sleep(0.01)
        sent = computed(process.pid)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=120)
    heard, consistent, more = out.split()
    assert float(heard) - sent < 1.0
    assert (consistent, more) == ("True", "2000")
