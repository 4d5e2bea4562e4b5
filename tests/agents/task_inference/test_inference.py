"""Task inference from transitions: bins, the filter that follows a game, games that infer."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback

from continual_arcade.agents import (
    METHODS,
    ContinualDQN,
    DQNSettings,
    Exploration,
    build_agent,
    compose,
    make_training_env,
)
from continual_arcade.agents.algorithms.catalogue import find as find_algorithm
from continual_arcade.agents.replay import BalancedReplayBuffer
from continual_arcade.agents.task_inference.inference import InferenceSettings, TaskInference
from continual_arcade.agents.task_inference.transitions import TransitionBins
from continual_arcade.agents.task_inference.vec_env import InferringVecEnv
from continual_arcade.envs import Schedule, make_game, shipped
from continual_arcade.evaluation import Evaluator, FunctionPolicy
from continual_arcade.evaluation.filming import Camera
from continual_arcade.studies.run_spec import RunSpec
from continual_arcade.studies.scenario import Scenario, find
from tests import tiny

CATCHER = make_game("Catcher")
CONFLICT = shipped("conflict", CATCHER).with_steps(2_400)
"""Normal, icy, swapped keys: 12 windows of 200 transitions each."""
RECURRING = Schedule("recurring", (*CONFLICT.phases, *CONFLICT.phases[:2]))
SETTINGS = DQNSettings(
    num_envs=8,
    hidden=(8,),
    batch_size=16,
    gradient_steps=1,
    learning_starts=400,
    buffer_size=800,
    average=0.0,
    tasks=3,
    epsilon="constant",
    exploration_final_eps=0.5,
)


def games(schedule: Schedule = CONFLICT, settings: DQNSettings = SETTINGS) -> InferringVecEnv:
    made = make_training_env("Catcher", schedule, 8, "inferred", settings)
    assert isinstance(made, InferringVecEnv)
    return made


def agent(
    schedule: Schedule = CONFLICT, method: str = "finetune", seed: int = 0, **changes: Any
) -> ContinualDQN:
    settings = replace(SETTINGS, **changes)
    return build_agent("Catcher", schedule, settings, seed, METHODS[method], context="inferred")


@pytest.fixture(scope="module")
def trained() -> ContinualDQN:
    return tiny.live(agent(heads="per_phase"), CONFLICT.total_steps)


# Bins.


def drawn(push: float, count: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """Return transitions of a body whose velocity the action pushes; the place follows it."""
    rng = np.random.default_rng(seed)
    before = rng.uniform(-1, 1, (count, 2))
    actions = rng.integers(3, size=count)
    velocity = 0.9 * before[:, 1] + push * (actions - 1)
    place = before[:, 0] + velocity + rng.normal(0, 1e-9, count)  # a rounding
    return before, actions, np.stack([place, velocity], axis=1)


def test_the_change_of_a_place_is_counted_by_velocity() -> None:
    bins = TransitionBins.of_first(*drawn(0.5, 3_000), 3)
    assert bins.state_dict()["depends"].tolist() == [1, 1]


def test_counts_tell_contexts_and_lose_nothing() -> None:
    before, actions, after = drawn(0.5, 1_000)
    bins = TransitionBins.of_first(before, actions, after, 3)
    counts = bins.count(before, actions, after)
    assert counts.shape == (bins.contexts, 10) == (2 * 3 * 8, 10)
    of_actions = counts.reshape(2, 3, -1).sum(axis=2)
    np.testing.assert_array_equal(of_actions, [np.bincount(actions)] * 2)


def test_a_rounding_is_no_other_outcome_and_a_change_never_seen_is() -> None:
    steady = np.zeros((500, 1)), np.zeros(500, np.int64), np.full((500, 1), 0.25)
    bins = TransitionBins.of_first(*steady, 1)
    noise = np.random.default_rng(0).normal(0.25, 1e-7, (500, 1))

    def outcomes(after: Any) -> set[int]:
        return set(bins.places(steady[0], steady[1], after)[1].ravel().tolist())

    (usual,) = outcomes(steady[2])
    assert outcomes(noise) == {usual}
    below, above = outcomes(np.full((500, 1), 0.2)), outcomes(np.full((500, 1), 0.3))
    assert below != above
    assert usual not in below | above


# Following a game.


def known(seed: int, tasks: int = 2) -> TaskInference:
    """Return an inference that knows tasks of random counts, and has bins."""
    space = spaces.Box(-1, 1, (2,), np.float32)
    made = TaskInference(space, 3, InferenceSettings(3, 50, 0.2, 0.99, 20.0))
    made._bins = TransitionBins.of_first(*drawn(0.5, 500), 3)
    counts = np.random.default_rng(seed).integers(9, size=(tasks, made._bins.contexts, 10))
    state = made._filter.state_dict()
    made._filter.load_state_dict(
        {**state, "known": counts.astype(float), "counts": counts[:1].astype(float)}
    )
    return made


@pytest.mark.parametrize(("seed", "tasks"), [(0, 2), (1, 3)])
def test_what_follows_a_game_is_the_filter_over_all_paths(seed: int, tasks: int) -> None:
    made, length = known(seed, tasks), 5
    before, actions, after = drawn(0.5, length, seed)
    assert made._bins is not None
    models = made._filter.models
    pooled = models.sum(axis=0) + 0.1
    models = models + pooled / pooled.sum(axis=1, keepdims=True)  # ten outcomes, 0.1 of each
    follower = made.follow(1)
    leaves = 0.2 / 50
    for steps in range(1, length + 1):
        follower._last = before[steps - 1 : steps].astype(np.float64)
        follower.see(after[steps - 1 : steps], actions[steps - 1 : steps])
        whole = np.zeros(tasks)
        for path in product(range(tasks), repeat=steps):
            probability = 1 / tasks
            for i, task in enumerate(path):
                if i:
                    stays = task == path[i - 1]
                    probability *= 1 - leaves if stays else leaves / (tasks - 1)
                contexts, outcomes = made._bins.places(
                    *(x[i : i + 1] for x in (before, actions, after))
                )
                for context, outcome in zip(contexts[0], outcomes[0], strict=True):
                    row = models[task, context]
                    probability *= row[outcome] / row.sum()
            whole[path[-1]] += probability
        np.testing.assert_allclose(follower._beliefs[0], whole / whole.sum(), rtol=1e-9)
        assert follower.tasks[0] == whole.argmax()


def test_games_are_followed_each_by_itself() -> None:
    made = known(2)
    before, actions, after = drawn(0.5, 12, 5)
    together, alone = made.follow(3), made.follow(1)
    together.see(before[[0, 4, 8]])
    alone.see(before[[4]])
    for i in range(3):
        rows = [i, 4 + i, 8 + i]
        seen = together.see(after[rows], actions[rows])
        of_one = alone.see(after[[4 + i]], actions[[4 + i]])
        np.testing.assert_array_equal(seen[1], of_one[0])


# Games.


def played(env: InferringVecEnv, steps: int, seed: int = 0) -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(seed)
    env.seed(seed)
    seen, told = env.reset(), []
    for _ in range(steps // env.num_envs):
        actions = rng.integers(3, size=env.num_envs)
        following, _, dones, infos = env.step(actions)
        told.append((seen, following, dones, infos, [dict(i) for i in env.reset_infos]))
        seen = following
    return told


@pytest.mark.parametrize("seed", range(3))
def test_each_phase_is_a_task_and_known_again_within_four_windows(seed: int) -> None:
    env = games(RECURRING)
    played(env, RECURRING.total_steps, seed)
    switches = env.inference.switches
    assert [(one.began, one.task) for one in switches] == [(12, 1), (24, 2), (36, 0), (48, 1)]
    assert all(3 <= one.declared - one.began <= 4 for one in switches)


def test_phases_that_are_alike_are_one_task() -> None:
    normal = CONFLICT.phases[0]
    env = games(Schedule("alike", (normal, replace(normal, name="again"))))
    played(env, 4_800)
    assert env.inference.switches == []


def test_a_switch_truncates_and_the_game_goes_on() -> None:
    env, bare = games(), make_training_env("Catcher", CONFLICT, 8)
    bare.seed(0)
    bare.reset()
    rng, switched = np.random.default_rng(0), 0
    for seen, following, dones, infos, resets in played(env, CONFLICT.total_steps):
        task, then = seen[:, 4:].argmax(axis=1), following[:, 4:].argmax(axis=1)
        plain, _, ended, _ = bare.step(rng.integers(3, size=8))
        np.testing.assert_array_equal(following[:, :4], plain)
        assert (seen[:, 4:].sum(axis=1) == 1).all()
        for i, (info, reset) in enumerate(zip(infos, resets, strict=True)):
            assert info["phase"] == task[i]  # no task recurs here
            assert dones[i] == (ended[i] or task[i] != then[i])
            if dones[i]:
                assert reset["phase"] == then[i]
                assert info["terminal_observation"][4:].argmax() == task[i]
            if dones[i] and not ended[i]:
                switched += 1
                assert info["TimeLimit.truncated"]
                assert "episode" not in info
                np.testing.assert_array_equal(info["terminal_observation"][:4], plain[i])
    assert switched > 0


def test_parts_hear_of_inferred_segments_and_replay_keeps_their_index() -> None:
    model = agent(method="ewc")
    heard: list[tuple[str, int]] = []
    (part,) = model.parts
    kind: Any = type(part)

    class Spying(kind):  # type: ignore[misc]
        def phase_start(self, learner: Any, phase: int) -> None:
            heard.append(("start", phase))
            super().phase_start(learner, phase)

        def phase_end(self, learner: Any, phase: int) -> None:
            heard.append(("end", phase))
            super().phase_end(learner, phase)

    part.__class__ = Spying
    tiny.live(model, CONFLICT.total_steps)
    assert heard == [("start", 0), ("end", 0), ("start", 1), ("end", 1), ("start", 2)]
    assert set(model.replay.phase_shares()) <= {0, 1, 2}


def test_parts_with_boundaries_go_where_the_schedule_has_none() -> None:
    normal, icy, _ = CONFLICT.phases
    melting = replace(icy, until=normal.params)
    schedule = Schedule("melting", (replace(icy, steps=800), melting))
    with pytest.raises(ValueError, match="needs to be told where phases end"):
        build_agent("Catcher", schedule, replace(SETTINGS, tasks=4), method=METHODS["ewc"])
    tiny.live(agent(schedule, "ewc"), 800)


def test_packnet_gives_each_inferred_task_its_weights() -> None:
    method = compose("finetune", parts=["packnet:retrain=5"])
    model = build_agent("Catcher", CONFLICT, SETTINGS, method=method, context="inferred")
    tiny.live(model, CONFLICT.total_steps)
    q_net: Any = model.q_net
    assert int(q_net.finished) == 2
    assert [sorted(set(owner.ravel().tolist())) for owner in q_net.owners] == [[-1, 0, 1]] * 2


@pytest.mark.parametrize("engine", [pytest.param("torch", marks=pytest.mark.slow), "auto"])
def test_an_inferred_task_that_comes_back_is_played_by_its_weights(engine: Any) -> None:
    """As long as it is another one than the last, for which there is room."""
    method = compose("finetune", parts=["packnet:retrain=5"])
    settings = replace(SETTINGS, engine=engine)
    model = build_agent("Catcher", RECURRING, settings, 0, method, context="inferred")
    seen: list[tuple[int, bool, int]] = []

    class Looks(BaseCallback):
        def _on_rollout_start(self) -> None:
            inference: Any = model.task_inference
            seen.append((inference.segment, model.rests, model._n_updates))

        def _on_step(self) -> bool:
            return True

    model.learn(RECURRING.total_steps, callback=Looks(), log_interval=None)
    inference: Any = model.task_inference
    assert [switch.task for switch in inference.switches] == [1, 2, 0, 1]
    updates = {s: [n for at, _, n in seen if at == s] for s in range(5)}
    rests = {s: {rested for at, rested, _ in seen if at == s} for s in range(5)}
    assert rests == {0: {False}, 1: {False}, 2: {False}, 3: {True}, 4: {True}}
    assert updates[3][0] == updates[4][-1] > updates[2][0]


# Engines and files.


def test_engines_infer_the_same() -> None:
    found = [tiny.live(agent(engine=engine), 3_200) for engine in ("torch", "compiled")]
    first, second = (model.task_inference for model in found)
    assert first is not None
    assert second is not None
    assert first.switches == second.switches != []
    assert [model.runs_compiled for model in found] == [False, True]


@pytest.mark.parametrize("saved", [1_208, 3_208])
def test_a_run_resumes_bit_for_bit(saved: int, tmp_path: Path) -> None:
    """Before bins are made, and in the middle of a window of the second task."""
    path = tmp_path / "training.zip"
    total = 5_200
    callback = tiny.SaveAt(saved, path)
    whole = tiny.live(agent(heads="per_phase"), total, callback=callback)
    resumed = ContinualDQN.load(path, games(), "cpu")
    assert resumed.num_timesteps == saved
    tiny.live(resumed, total - saved, reset_num_timesteps=False)
    assert tiny.bits(resumed) == tiny.bits(whole)
    assert whole.task_inference is not None
    assert resumed.task_inference is not None
    assert resumed.task_inference.switches == whole.task_inference.switches
    np.testing.assert_array_equal(
        resumed.task_inference._filter.models, whole.task_inference._filter.models
    )


def test_training_without_what_was_inferred_is_missed(tmp_path: Path) -> None:
    path, total, saved = tmp_path / "training.zip", 3_200, 2_808
    whole = tiny.live(agent(heads="per_phase"), total, callback=tiny.SaveAt(saved, path))
    resumed = ContinualDQN.load(path, games(), "cpu")
    assert isinstance(resumed.env, InferringVecEnv)
    resumed.env.inference = games().inference
    tiny.live(resumed, total - saved, reset_num_timesteps=False)
    assert tiny.bits(resumed) != tiny.bits(whole)


def test_agents_of_other_contexts_are_refused(trained: ContinualDQN, tmp_path: Path) -> None:
    trained.save(tmp_path / "inferred.zip")
    told = build_agent("Catcher", CONFLICT, replace(SETTINGS, tasks=4), context="one-hot")
    told.save(tmp_path / "told.zip")
    shown = make_training_env("Catcher", CONFLICT, 8, "one-hot")
    with pytest.raises(ValueError, match=r"inferred its task, .* tasks are not inferred"):
        ContinualDQN.load(tmp_path / "inferred.zip", shown)
    with pytest.raises(ValueError, match=r"was told its task, or none, .* tasks are inferred"):
        ContinualDQN.load(tmp_path / "told.zip", games())
    with pytest.raises(ValueError, match=r"sure=0\.9"):
        ContinualDQN.load(
            tmp_path / "inferred.zip", games(settings=replace(SETTINGS, task_sure=0.9))
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["settings"].update(tasks=5), "features|number|Q|shape"),
        (lambda s: s["bins"].update(depends=np.full(4, 9)), "depends go from 9"),
        (lambda s: s.pop("bins"), "its inference lacks bins"),
        (lambda s: s["filter"].update(task=7), "task = 7"),
        (lambda s: s.update(switches=[[1, 2, -3]]), "a switch = -3"),
    ],
)
def test_damaged_files_are_refused(
    change: Any, message: str, trained: ContinualDQN, tmp_path: Path, monkeypatch: Any
) -> None:
    assert trained.task_inference is not None
    state = trained.task_inference.state_dict()
    change(state)
    monkeypatch.setattr(trained.task_inference, "state_dict", lambda: state)
    trained.save(tmp_path / "damaged.zip")
    with pytest.raises(ValueError, match=message):
        ContinualDQN.load(tmp_path / "damaged.zip")


# Evaluation.


def evaluator(**changes: Any) -> Evaluator:
    asked: dict[str, Any] = {"episodes": 3, "max_steps": 150, "context": "inferred", **changes}
    return Evaluator("Catcher", CONFLICT, **asked)


class Noting:
    """Plays as an agent does, and notes what it sees."""

    def __init__(self, of: ContinualDQN) -> None:
        self.average_of = of
        self.seen: list[Any] = []

    def predict(self, seen: Any, *, deterministic: bool = True) -> tuple[Any, Any]:
        self.seen.append(seen)
        return self.average_of.predict(seen, deterministic=deterministic)


def test_an_evaluated_agent_infers_its_task(trained: ContinualDQN) -> None:
    policy = Noting(trained)
    lengths = evaluator().play(policy).lengths.ravel()
    told = np.array(policy.seen)[:, :, 4:].argmax(axis=2)
    assert (told[0] == 2).all()  # the task that it was in last
    for row, length in enumerate(lengths):
        assert told[length - 1, row] == row // 3


def test_evaluating_teaches_nothing_and_needs_no_environment(
    trained: ContinualDQN, tmp_path: Path
) -> None:
    assert trained.task_inference is not None
    before = trained.task_inference._filter.models
    first = evaluator().play(trained)
    np.testing.assert_array_equal(trained.task_inference._filter.models, before)
    trained.save(tmp_path / "agent.zip")
    again = evaluator().play(ContinualDQN.load(tmp_path / "agent.zip"))
    np.testing.assert_array_equal(first.scores, again.scores)
    fewer = evaluator(episodes=1).play(trained)
    np.testing.assert_array_equal(first.returns[:, :1], fewer.returns)


def test_films_show_what_is_evaluated(trained: ContinualDQN) -> None:
    scores = evaluator(max_steps=1_800).play(trained).scores[:, 0]
    for phase, score in enumerate(scores):
        camera = Camera("Catcher", CONFLICT, phase, context="inferred", shows_observation=True)
        sizes = {picture.shape for picture in camera.film(trained, every=50)}
        assert len(sizes) == 1
        assert camera.score == score


@pytest.mark.parametrize("context", ["hidden", "one-hot"])
def test_what_infers_is_not_told(context: Any, trained: ContinualDQN) -> None:
    with pytest.raises(ValueError, match=r"infers its task, .* choose context = 'inferred'"):
        evaluator(context=context).play(trained)


def test_who_infers_nothing_is_refused_and_functions_play() -> None:
    hidden = build_agent("Catcher", CONFLICT, replace(SETTINGS, tasks=4))
    with pytest.raises(ValueError, match="infers no task"):
        evaluator().play(hidden)
    stays = FunctionPolicy(lambda seen: np.zeros(len(seen), np.int64))
    assert evaluator().play(stays).scores.shape == (3, 3)


# Settings.


def build(**given: Any) -> Any:
    settings = replace(SETTINGS, **given.pop("settings", {}))
    asked: dict[str, Any] = {"context": "inferred", **given}
    return build_agent(asked.pop("game", "Catcher"), CONFLICT, settings, **asked)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"settings": {"epsilon": "per_phase"}}, "epsilon = 'per_phase' knows when phases end"),
        ({"context": "hidden"}, "tasks = 3 says how a task is inferred"),
        ({"observation": "pixels"}, "context = 'inferred' appends numbers"),
        ({"settings": {"task_sure": 0.5}}, "task_sure = 0.5 must be"),
        ({"settings": {"tasks": 0}}, "tasks = 0 must be"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(**given)


def test_a_log_tells_the_task(trained: ContinualDQN) -> None:
    assert trained.task_inference is not None
    readings = trained.task_inference.readings()
    assert readings == {"task": 2, "probability": pytest.approx(1.0), "tasks": 3, "windows": 12}


def test_balanced_replay_and_hand_made_agents_infer() -> None:
    model = ContinualDQN(
        "MlpPolicy",
        games(),
        exploration=Exploration(),
        exploration_final_eps=0.5,
        replay_buffer_class=BalancedReplayBuffer,
        buffer_size=600,
        learning_starts=100,
        seed=0,
    )
    tiny.live(model, 3_200)
    assert model.task_inference is not None
    assert model.task_inference.task == 1


# Beyond the games of the suite.


def test_swapped_keys_of_cartpole_are_told_apart_and_known_again() -> None:
    scenario = find("cartpole-swapped-keys")  # normal, swapped, normal
    schedule = scenario.schedule.with_steps(3_000)
    env = make_training_env(
        scenario.game, schedule, 8, "inferred", DQNSettings(), **scenario.options
    )
    rng = np.random.default_rng(0)
    env.seed(0)
    env.reset()
    for _ in range(schedule.total_steps // 8):
        env.step(rng.integers(2, size=8))
    assert isinstance(env, InferringVecEnv)
    assert [(one.began, one.task) for one in env.inference.switches] == [(15, 1), (30, 0)]


def test_a_scenario_says_that_its_task_is_inferred() -> None:
    found = find("catcher-conflict")
    settings = {name: value for name, value in found.settings.items() if name != "epsilon"}
    inferred = replace(found, context="inferred", settings={**settings, "tasks": 3})
    read = Scenario.from_dict(inferred.to_dict())
    assert read == inferred
    spec = RunSpec(
        game=read.game,
        schedule=read.schedule,
        settings=read.learner(),
        context=read.context,
        scenario=read,
    )
    assert RunSpec.from_config(spec.to_config()).identity == spec.identity
    assert spec.protocol.make_evaluator().context == "inferred"


def test_other_algorithms_and_labels_are_refused() -> None:
    ppo = find_algorithm("ppo").settings()
    with pytest.raises(ValueError, match="is for a DQN, and ppo infers no task"):
        RunSpec(game="Catcher", schedule=CONFLICT, settings=ppo, context="inferred")
    facts = find("addition-facts")
    with pytest.raises(ValueError, match="in AdditionFacts they do nothing"):
        build_agent(facts.game, facts.schedule, context="inferred")
