"""Runs of agents that the suite did not train are read, compared and reported as its own are."""

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from tables import write_run

from continual_arcade.agents import make_training_env
from continual_arcade.envs import IDS, PhaseSpec, Schedule, make_game, shipped
from continual_arcade.envs.phased_env import CARTPOLE, PhasedEnv, set_cartpole
from continual_arcade.evaluation import (
    EvaluationCallback,
    EvaluationSettings,
    Evaluator,
    FunctionPolicy,
    GymEvaluator,
    Protocol,
    Run,
    RunFolder,
    Timetable,
    gather,
    replay_phases,
    shipped_references,
)
from continual_arcade.evaluation.table import read, same
from continual_arcade.reports.page import build_page

SCHEDULE = shipped("conflict", make_game("Catcher")).with_steps(128)
ENDS = EvaluationSettings(every=0, at_end=1, episodes=2, max_steps=60)
PROTOCOL = Protocol("Catcher", IDS["Catcher"], SCHEDULE, ENDS)


def chases(offset: float) -> FunctionPolicy:
    return FunctionPolicy(lambda seen: np.where(seen[:, 0] > seen[:, 2] + offset, 0, 1))


AGENTS = {
    step: chases(offset) for step, offset in zip((0, *SCHEDULE.ends), (9, 0, -9, 0.1), strict=True)
}


# Replayed.


def test_checkpoints_that_were_replayed_are_a_run(tmp_path: Path) -> None:
    replayed = replay_phases(AGENTS, PROTOCOL, seed=4)
    folder = replayed.write_run(tmp_path, method="chases", settings={"offset": [9, 0]})
    run = Run.load(folder.path)
    assert (run.method, run.seed, run.is_external) == ("chases", 4, True)
    assert run.protocol.key == PROTOCOL.key
    assert run.settings == {"num_envs": 1, "offset": [9, 0]}
    assert set(run.table["run"]) == {folder.name}
    table = replayed.table.assign(run=folder.name)
    assert same(run.table, table)
    assert run.unfinished == ""
    # All that is not known is said to be so.
    config = json.loads((folder.path / "config.json").read_text())
    assert config["method_spec"] is config["save_every"] is None
    assert not {"command", "versions", "git_commit"} & config.keys()


def test_it_stands_beside_runs_of_the_suite(tmp_path: Path) -> None:
    cells = {(step, stage - 1): np.full((3, 2), stage % 2) for stage, step in enumerate(AGENTS)}
    ours = write_run(tmp_path, SCHEDULE, cells, game="Catcher", evaluation=ENDS)
    paths = [ours]
    for seed in (0, 1):
        for offset in (1, 2):
            replayed = replay_phases(AGENTS, PROTOCOL, seed=seed)
            settings = {"offset": offset}
            folder = replayed.write_run(tmp_path / str(offset), method="x", settings=settings)
            paths.append(folder.path)
    (comparison,) = gather(paths).comparisons
    assert comparison.labels == ["finetune", "x, offset=1", "x, offset=2"]
    assert [list(group.runs) for group in comparison.groups] == [[0], [0, 1], [0, 1]]
    page = build_page(gather(paths), references=shipped_references())
    assert page.methods == tuple(comparison.labels)
    others = Protocol(
        "Catcher", IDS["Catcher"], SCHEDULE, EvaluationSettings(every=0, at_end=1, episodes=3)
    )
    folder = replay_phases(AGENTS, others, seed=2).write_run(tmp_path, method="x")
    with pytest.raises(ValueError, match=r"evaluation\.episodes: 2 and 3"):
        gather([*paths, folder.path]).check_comparable()


def test_checkpoints_must_be_those_of_the_evaluations_that_were_due(tmp_path: Path) -> None:
    def write(steps: Any, settings: EvaluationSettings = ENDS, **options: Any) -> Any:
        protocol = Protocol("Catcher", IDS["Catcher"], SCHEDULE, settings)
        late = options.get("num_envs", 1)
        replayed = replay_phases(dict.fromkeys(steps, chases(0)), protocol, late=late)
        return replayed.write_run(tmp_path / str(len(steps)), method="x", **options)

    usual = EvaluationSettings(episodes=1, max_steps=9, spacing=10)
    with pytest.raises(ValueError, match=r"of step 108, 118, 236 and 3 more, due with every = 1"):
        write(AGENTS, usual)
    with pytest.raises(ValueError, match=r"no evaluation is due at step 100 with .*`evaluation`"):
        write([*AGENTS, 100])
    with pytest.raises(ValueError, match=r"of step 128, due with .* and num_envs = 1"):
        write([0, 256, 384])
    with pytest.raises(ValueError, match="no evaluation is due at step 130"):
        write([0, 130])
    assert not list(tmp_path.iterdir())
    # One that was cut off has no end, and one of ten environments passes over what is due.
    assert "reached step 256 of 384" in Run.load(write([0, 128, 256]).path).unfinished
    passed = Run.load(write([0, 130, 260, 390], num_envs=10).path)
    assert passed.unfinished == ""
    assert passed.scores.stages.tolist() == [-1, 0, 1, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": ""}, "method = '' must be a name"),
        ({"method": None}, "method = None"),
        ({"num_envs": 0}, "num_envs = 0 must be a whole number, at least 1"),
        ({"num_envs": 2.0}, "num_envs = 2.0"),
        ({"num_envs": True}, "num_envs = True"),
        ({"settings": {"net": object()}}, "must be plain data: .*not JSON serializable"),
        ({"settings": {"rate": float("nan")}}, "must be plain data: .*not JSON compliant"),
        ({"settings": {"num_envs": 3}}, "settings say num_envs = 3, but it is 1"),
    ],
)
def test_a_run_that_makes_no_sense_is_not_written(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    replayed = replay_phases(AGENTS, PROTOCOL)
    with pytest.raises(ValueError, match=message):
        replayed.write_run(tmp_path, **{"method": "x", **options})
    assert not list(tmp_path.iterdir())


# Evaluated on the way.


def a_run(
    folder: RunFolder,
    *,
    schedule: Schedule = SCHEDULE,
    wrap: Any = lambda env: env,
    timetable: Timetable | None = None,
    **options: Any,
) -> PPO:
    evaluator = Evaluator("Catcher", schedule, episodes=2, max_steps=60)
    callback = EvaluationCallback(
        evaluator, timetable or Timetable(schedule), folder, seed=5, **options
    )
    env = wrap(make_training_env("Catcher", schedule, num_envs=8))
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=64, seed=5, device="cpu")
    return model.learn(schedule.total_steps, callback)


def test_a_callback_writes_a_whole_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")  # made when training begins
    a_run(folder)
    run = Run.load(folder.path)
    assert (run.method, run.seed, run.num_envs, run.is_external) == ("ppo", 5, 8, True)
    assert run.protocol.key == PROTOCOL.key
    assert run.costs is not None
    named = RunFolder(tmp_path / "named")
    a_run(named, method="clipped", settings={"ent_coef": 0.0})
    assert Run.load(named.path).settings == {"num_envs": 8, "ent_coef": 0.0}
    (comparison,) = gather([folder.path, named.path]).comparisons
    assert comparison.labels == ["ppo", "clipped"]
    build_page(gather([folder.path, named.path]), references=shipped_references())


def test_checkpoints_of_a_normalised_model_are_played_again_with_its_statistics(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path / "run")
    a_run(folder, wrap=VecNormalize)

    def load(path: Path) -> Any:
        games = make_training_env("Catcher", SCHEDULE, num_envs=1)
        statistics = VecNormalize.load(str(path.with_suffix(".pkl")), games)
        return PPO.load(path, env=statistics, device="cpu")

    run = Run.load(folder.path)
    again = replay_phases(
        folder.checkpoints(), run.protocol, load=load, run=folder.name, seed=5, late=run.num_envs
    )
    assert same(again.table, run.table)
    # With other statistics it would be another table.
    for path in folder.checkpoints().values():
        statistics = load(path).get_vec_normalize_env()
        statistics.obs_rms.mean += [0.0, 0.0, 1.0, 0.0]
        statistics.save(str(path.with_suffix(".pkl")))
    other = replay_phases(folder.checkpoints(), run.protocol, load=load, run=folder.name, seed=5)
    assert not same(other.table, run.table)


def test_what_is_evaluated_of_a_model_can_be_said(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    a_run(folder, policy=lambda model: chases(0))
    table = Run.load(folder.path).table
    expected = Evaluator("Catcher", SCHEDULE, episodes=2, max_steps=60).play(chases(0))
    for _, rows in table.groupby("lifetime_step"):
        assert rows["score"].tolist() == expected.scores.ravel().tolist()


def test_what_is_learnt_after_the_end_does_not_count(tmp_path: Path) -> None:
    short = SCHEDULE.with_steps(100)  # 300 steps, of which PPO makes 384
    folder = RunFolder(tmp_path / "run")
    a_run(folder, schedule=short, timetable=Timetable(short, every=40))
    run = Run.load(folder.path)
    assert run.table["lifetime_step"].max() > 304
    assert run.scores.steps[-1] == 304
    assert run.unfinished == ""


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    a_run(folder)
    before = read(folder.table)
    with pytest.raises(ValueError, match=r"holds another run: evaluation\.every: 0 and 50"):
        a_run(folder, timetable=Timetable(SCHEDULE, every=50))
    config = folder.read_config()
    folder.write_config({**config, "seed": 6})
    with pytest.raises(ValueError, match="holds another run: seed: 6 and 5"):
        a_run(folder)
    assert same(read(folder.table), before)


def test_what_makes_no_sense_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    evaluator, folder = Evaluator("Catcher", SCHEDULE), RunFolder(tmp_path / "run")
    other = Timetable(SCHEDULE.with_steps(99))
    with pytest.raises(ValueError, match=r"evaluator plays schedule 'conflict' .* give both the s"):
        EvaluationCallback(evaluator, other, folder, seed=0)
    for options, message in (
        ({"seed": -1}, "seed = -1"),
        ({"seed": 0, "method": " "}, "method = ' '"),
        ({"seed": 0, "settings": {"env": evaluator}}, "must be plain data"),
    ):
        with pytest.raises(ValueError, match=message):
            EvaluationCallback(evaluator, Timetable(SCHEDULE), folder, **options)  # type: ignore[arg-type]


def test_options_of_the_game_belong_to_what_is_compared(tmp_path: Path) -> None:
    plain, wide = Evaluator("Catcher", SCHEDULE), Evaluator("Catcher", SCHEDULE, lives=1)
    protocols = [Protocol.of(evaluator, Timetable(SCHEDULE)) for evaluator in (plain, wide)]
    assert protocols[0].differences(protocols[1]) == ['options: {} and {"lives": 1}']
    again = Protocol.from_config(protocols[1].to_config())
    assert again.key == protocols[1].key != protocols[0].key
    assert again.make_evaluator().env.game == wide.env.game != plain.env.game
    scale = shipped_references().scale(again)
    assert np.isnan(scale.zero).all()
    assert "no references for ContinualArcade/Catcher-v0 with {'lives': 1}" in scale.reason
    with pytest.raises(ValueError, match="options = 3 of a run must be a table"):
        Protocol.from_config({**protocols[1].to_config(), "options": 3})


# Environments of others.


POLES = Schedule(
    "poles",
    tuple(PhaseSpec(name=f"{m} m", steps=64, params={"length": m}) for m in (0.25, 2.0)),
)


def cartpole(phase: int | None = None) -> Any:
    return PhasedEnv(gym.make("CartPole-v1"), POLES, CARTPOLE, set_cartpole, phase)


def test_a_run_in_an_environment_of_others_is_a_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    evaluator = GymEvaluator(cartpole, POLES, episodes=2, max_steps=30)
    callback = EvaluationCallback(evaluator, Timetable(POLES), folder, seed=0)
    model = PPO("MlpPolicy", cartpole(), n_steps=64, seed=0, device="cpu")
    model.learn(POLES.total_steps, callback)
    gathered = gather([folder.path])
    (comparison,) = gathered.comparisons
    assert (comparison.title, comparison.points) == ("CartPole-v1, poles", "score")
    page = build_page(gathered, references=shipped_references())
    assert page.title == "CartPole-v1, poles"
    reason = shipped_references().scale(comparison.protocol).reason
    assert "no references for CartPole-v1" in reason
    with pytest.raises(ValueError, match="unknown game 'CartPole-v1'"):
        comparison.protocol.make_evaluator()
