"""A run whose observations show its phase: trained, evaluated, resumed, watched, compared."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from undrawn import without_drawing

from continual_arcade.agents import ContinualDQN
from continual_arcade.envs import make_game, shipped
from continual_arcade.envs.phased_env import CARTPOLE, PhasedEnv, set_cartpole
from continual_arcade.envs.schedules import PhaseSpec, Schedule
from continual_arcade.evaluation import Evaluator, FunctionPolicy, network_diagnostics
from continual_arcade.evaluation.gym_evaluator import GymEvaluator
from continual_arcade.evaluation.protocol import EvaluationSettings, Protocol
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.runs import Run
from continual_arcade.evaluation.table import read
from continual_arcade.scripts import compare, evaluate, train, watch
from continual_arcade.scripts.lineup import line_up
from continual_arcade.studies.run_spec import RunSpec, Training
from continual_arcade.studies.study import read as read_study

pytestmark = pytest.mark.usefixtures("undrawn")

SHORT = ["--schedule", "conflict", "--phase-steps", "400", "--eval-every", "0", "--eval-episodes"]
SHORT += ["2", "--eval-max-steps", "60", "--dqn.learning-starts", "100", "--dqn.hidden", "16"]
CONFLICT = shipped("conflict", make_game("FlappyBird")).with_steps(400)
WIDTH = {"hidden": 8, "params": 13, "one-hot": 11, "inferred": 17}
MORE = {"inferred": ["--dqn.task-window", "16", "--dqn.tasks", "9"]}


def trained(root: Path, context: str, *more: str) -> Path:
    before = set(root.iterdir())
    train.main(["--context", context, "--out", str(root), *SHORT, *more])
    (path,) = set(root.iterdir()) - before
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    of_each = {context: root / context for context in WIDTH}  # two may begin in one second
    for path in of_each.values():
        path.mkdir()
    with without_drawing():
        return {
            context: trained(path, context, *MORE.get(context, []))
            for context, path in of_each.items()
        }


@pytest.mark.parametrize("context", WIDTH)
def test_a_run_says_what_it_showed(context: str, runs: dict[str, Path]) -> None:
    config = RunFolder.open(runs[context]).read_config()
    assert config.get("context", "hidden") == context
    assert ("context" in config) == (context != "hidden")  # as before there was any
    folder = RunFolder.open(runs[context])
    agent = ContinualDQN.load(max(folder.checkpoints().items())[1])
    assert agent.observation_space.shape == (WIDTH[context],)
    run = Run.load(runs[context])
    assert run.protocol.context == context
    assert RunSpec.from_config(config).context == context
    # Probes look at observations, too: the same is measured of each.
    measured = [
        set(network_diagnostics.read(RunFolder.open(path).diagnostics)["quantity"])
        for path in (runs[context], runs["hidden"])
    ]
    assert measured[0] == measured[1] != set()


@pytest.mark.one_in(3)
@pytest.mark.parametrize("context", WIDTH)
def test_evaluating_again_gives_the_same_table(
    context: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    evaluate.main([str(runs[context]), "--out", str(tmp_path / "again")])
    again = read(tmp_path / "again" / "evaluations.csv")
    assert again.equals(read(runs[context] / "evaluations.csv"))


@pytest.mark.one_in(2)
@pytest.mark.parametrize("context", ["params", "one-hot", "inferred"])
def test_cut_off_and_resumed_it_ends_with_the_same_bits(
    context: Any, runs: dict[str, Path], tmp_path: Path
) -> None:
    config = RunFolder.open(runs[context]).read_config()
    spec = RunSpec.from_config({**config, "save_every": 200})
    folder = RunFolder.new(tmp_path, "FlappyBird", "conflict", "finetune", 0)
    training = Training.prepare(spec, folder)
    training.write({})

    def stop(step: int, played: Any) -> None:
        if step >= 800:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.train(report=stop)
    Training.resume(folder).train()
    last, other = (max(f.checkpoints().items())[1] for f in (folder, RunFolder.open(runs[context])))
    one, two = ContinualDQN.load(last), ContinualDQN.load(other)
    for name, value in one.policy.state_dict().items():
        assert value.equal(two.policy.state_dict()[name]), name
    columns = ["lifetime_step", "score", "return"]
    scores = [read(path / "evaluations.csv")[columns] for path in (folder.path, runs[context])]
    assert scores[0].equals(scores[1])


def test_runs_that_see_other_things_are_not_put_together(
    runs: dict[str, Path], capsys: Any
) -> None:
    with pytest.raises(SystemExit):
        compare.main([str(runs["hidden"]), str(runs["params"])])
    assert "context: hidden and params" in " ".join(capsys.readouterr().err.split())
    assert len({Run.load(path).protocol.key for path in runs.values()}) == len(WIDTH)


def test_each_is_watched_with_what_it_saw(runs: dict[str, Path], tmp_path: Path) -> None:
    playing = line_up([str(runs["params"]), str(runs["hidden"]), "oracle"])
    assert [member.context for member in playing.members] == ["params", "hidden", "hidden"]
    film = tmp_path / "film.gif"
    players = [str(runs[context]) for context in ("params", "one-hot", "inferred")]
    watch.main([*players, "--phase", "2", "--seconds", "0.3", "--record", str(film)])
    assert film.stat().st_size > 1_000


def test_a_checkpoint_says_what_it_needs(
    runs: dict[str, Path], tmp_path: Path, capsys: Any
) -> None:
    alone = tmp_path / "alone.zip"
    shutil.copy(max(RunFolder.open(runs["params"]).checkpoints().items())[1], alone)
    film = ["--schedule", "conflict", "--game", "FlappyBird", "--seconds", "0.1", "--record"]
    with pytest.raises(SystemExit):
        watch.main([str(alone), *film, str(tmp_path / "a.gif")])
    assert "what it saw of its phase with --context" in " ".join(capsys.readouterr().err.split())
    watch.main([str(alone), "--context", "params", *film, str(tmp_path / "b.gif")])
    with pytest.raises(ValueError, match="another context of the phase"):
        Evaluator("FlappyBird", CONFLICT, episodes=1).play(ContinualDQN.load(alone))


@pytest.mark.parametrize("context", WIDTH)
def test_the_evaluator_shows_each_phase_as_it_was_shown(context: Any) -> None:
    seen: list[Any] = []

    def noting(observations: Any) -> Any:
        seen.append(observations[:, 8:].copy())
        return np.ones(len(observations), np.int64)

    evaluator = Evaluator("FlappyBird", CONFLICT, episodes=2, max_steps=20, context=context)
    evaluator.play(FunctionPolicy(noting))
    gravity = [1.0, 1.0, -1.0, -1.0, 0.5, 0.5]
    for shown in seen[:20]:
        if context == "params":
            assert shown[:, 1].tolist() == [g / 2 for g in gravity]
        elif context == "one-hot":
            assert shown.tolist() == np.repeat(np.eye(3), 2, axis=0).tolist()
        else:
            assert shown.shape == (6, 0)


def test_other_environments_have_it_in_their_protocol() -> None:
    import gymnasium as gym

    poles = Schedule(
        "poles",
        (
            PhaseSpec(name="short", steps=40, params={"length": 0.25}),
            PhaseSpec(name="long", steps=40, params={"length": 2.0}),
        ),
    )

    def make(phase: int) -> Any:
        inner = gym.make("CartPole-v1")
        return PhasedEnv(inner, poles, CARTPOLE, set_cartpole, phase, "one-hot")

    evaluator = GymEvaluator(make, poles, episodes=2, max_steps=9)
    seen: list[Any] = []

    def noting(observations: Any) -> Any:
        seen.append(observations[:, 4:].tolist())
        return np.zeros(len(observations), np.int64)

    evaluator.play(FunctionPolicy(noting))
    assert seen[0] == [[1, 0], [1, 0], [0, 1], [0, 1]]
    protocol = Protocol("x", "x", poles, EvaluationSettings(), context=evaluator.context)
    assert Protocol.from_config(json.loads(json.dumps(protocol.to_config()))) == protocol
    assert protocol.context == "one-hot"


def test_a_study_has_a_context_for_all_or_for_a_schedule() -> None:
    data: dict[str, Any] = {
        "format": 1,
        "name": "contexts",
        "games": ["FlappyBird"],
        "schedules": [
            "conflict",
            {"use": "conflict", "name": "seen", "context": "params"},
        ],
        "context": "one-hot",
        "seeds": "0",
        "methods": {"finetune": {}},
    }
    study = read_study(data, Path())
    assert [one.context for one in study.scenarios] == ["one-hot", "params"]
    assert [study.spec(w, study.entries[0], 0).context for w in study.scenarios] == [
        "one-hot",
        "params",
    ]
    assert study.expert_spec(study.scenarios[1], 0).context == "params"
    assert type(study).from_dict(json.loads(json.dumps(study.to_dict()))) == study
    with pytest.raises(ValueError, match="unknown context 'phase'"):
        read_study({**data, "context": "phase"}, Path())


def test_the_command_names_the_choices(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        train.main(["--context", "parms", "--out", str(tmp_path)])
    assert "hidden" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_all_play_with_the_options_of_their_runs(runs: dict[str, Path], tmp_path: Path) -> None:
    """Scripted players, too; and who learnt another game is not put beside them."""
    other = tmp_path / "other"
    shutil.copytree(runs["hidden"], other)
    config = json.loads((other / "config.json").read_text())
    config["options"] = {"rewards": {"tick": 0.5}}
    (other / "config.json").write_text(json.dumps(config))
    assert line_up([str(other), "oracle"]).options == config["options"]
    assert line_up([str(runs["hidden"]), "oracle"]).options == {}
    with pytest.raises(ValueError, match="side by side all play FlappyBird with the same options"):
        line_up([str(other), str(runs["hidden"])])
