"""``train --algorithm``: the same folders, and reports in which all stand side by side."""

import json
import sys
from pathlib import Path
from signal import SIGKILL
from subprocess import DEVNULL
from typing import Any

import pytest
from processes import started, wait_for
from tiny import differences
from undrawn import without_drawing

from continual_arcade.agents.algorithms.catalogue import ALGORITHMS
from continual_arcade.agents.files.state_files import load_state
from continual_arcade.agents.sb3.saving import KIND
from continual_arcade.evaluation.runs import Run, gather
from continual_arcade.evaluation.table import read, same
from continual_arcade.scripts import compare, evaluate, report, train
from continual_arcade.scripts.options import Train
from continual_arcade.scripts.training import spec_of
from continual_arcade.studies.run_spec import RunSpec, warm_up

pytestmark = pytest.mark.usefixtures("undrawn")

SHORT = [
    "--game=Catcher",
    "--schedule=conflict",
    "--phase-steps=672",  # which no rollout divides
    "--eval-every=500",
    "--eval-episodes=2",
    "--eval-max-steps=60",
    "--save-every=160",
    "--no-progress",
    "--seed=3",
]
OF_ALL = "num_envs=4,hidden=8"
SMALL = {
    "ppo": f"ppo:{OF_ALL},n_steps=16,n_epochs=2",
    "a2c": f"a2c:{OF_ALL}",
    "qrdqn": f"qrdqn:{OF_ALL},n_quantiles=4,learning_starts=100,buffer_size=600",
}


def one_run(root: Path) -> Path:
    (path,) = root.iterdir()
    return path


def refusal(arguments: list[str], capsys: Any) -> str:
    with pytest.raises(SystemExit) as error:
        train.main(arguments)
    assert error.value.code == 2
    text: str = capsys.readouterr().err
    return " ".join(text.split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    with without_drawing():
        train.main([*SHORT, f"--algorithm={SMALL['ppo']}", f"--out={root}"])
    return one_run(root)


def test_a_run_says_its_algorithm_and_is_resumed_by_what_it_says(finished: Path) -> None:
    config = json.loads((finished / "config.json").read_text())
    assert finished.name.startswith("Catcher-conflict__ppo__3__")
    assert (config["algorithm"], config["method"], config["probes"]) == ("ppo", "ppo", False)
    assert config["settings"]["n_steps"] == 16
    spec = RunSpec.from_config(config)
    assert spec.matches(config)
    assert spec.settings.to_dict() == {**config["settings"], "hidden": (8,)}  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="unknown algorithm 'sac'"):
        RunSpec.from_config({**config, "algorithm": "sac"})
    run = Run.load(finished)
    assert not run.unfinished
    assert not run.is_external
    assert run.diagnostics is None
    assert run.network == "last"
    assert run.settings["algorithm"] == "ppo"
    assert "replay" not in run.settings


def test_a_run_of_the_dqn_is_written_as_before() -> None:
    spec = spec_of(Train(schedule="conflict"))
    assert list(spec.to_config()) == [
        *spec.protocol.to_config(),
        *("method", "method_spec", "seed", "settings", "save_every"),
    ]
    assert spec.method.name == "finetune"


def test_it_is_evaluated_again_and_stands_beside_a_dqn(
    finished: Path, tmp_path: Path, capsys: Any
) -> None:
    evaluate.main([str(finished), "--out", str(tmp_path / "again")])
    assert "every episode is the same as in the run" in capsys.readouterr().out
    of_dqn = ["--dqn.num-envs=4", "--dqn.hidden=8", "--dqn.learning-starts=100"]
    train.main([*SHORT, *of_dqn, f"--out={tmp_path / 'dqn'}"])
    folders = [finished, one_run(tmp_path / "dqn")]
    (comparison,) = gather(folders).comparisons
    assert comparison.labels == ["ppo", "finetune"]
    compare.main([*map(str, folders)])
    printed = capsys.readouterr().out
    assert "ppo" in printed
    page = tmp_path / "report.html"
    report.main([*map(str, folders), f"--out={page}", "--film-seconds=0"])
    text = page.read_text("utf-8")
    (row,) = [piece for piece in text.split("<tr>") if ">algorithm<" in piece]
    assert row.count("ppo") == row.count("dqn") == 1
    with pytest.raises(SystemExit):
        report.main([*map(str, folders), f"--out={tmp_path / 'seen.html'}", "--saliency"])
    said = " ".join(capsys.readouterr().err.split())
    assert "of which a DQN has one for each, and ppo has none" in said


REFUSED = [
    (["--algorithm=pppo"], "did you mean 'ppo'"),
    (["--algorithm=ppo:n_step=4"], "did you mean 'n_steps'"),
    (["--algorithm=ppo:n_steps=0"], "n_steps = 0 must be a whole number, at least 1"),
    (["--algorithm=ppo", "--dqn.gamma=0.9"], "--dqn.gamma cannot be given with --algorithm ppo"),
    (["--algorithm=ppo", "--dqn.gamma=0.99"], "--dqn.gamma cannot be given with --algorithm ppo"),
    (["--algorithm=ppo", "--dqn.no-double-q"], "cannot be given with --algorithm ppo"),
    (["--algorithm=ppo", "--no-probes"], "--no-probes cannot be given with --algorithm ppo"),
    (["--algorithm=ppo", "--method=ewc"], "'ppo' takes no parts and no other replay"),
    (["--algorithm=ppo", "--part=l2"], "'ppo' takes no parts and no other replay"),
    (["--algorithm=ppo", "--replay=reservoir"], "'ppo' takes no parts and no other replay"),
    (["--algorithm=ppo"], "rollout of 2,048 steps, but the schedule ends after 2,016"),
    (["--algorithm=ppo:convolutions=nature,n_steps=8"], "of Catcher features are seen"),
    (["--algorithm=dqn:gamma=0.9"], "settings of dqn are given as --dqn.SETTING"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    arguments: list[str], message: str, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "runs"
    assert message in refusal([*SHORT, *arguments, f"--out={out}"], capsys)
    assert not out.exists()


def test_a_library_that_is_missing_is_named_before_anything_is_written(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    arguments = [*SHORT, "--algorithm=qrdqn", f"--out={tmp_path / 'runs'}"]
    message = refusal(arguments, capsys)
    assert "pip install 'continual-arcade[contrib]'" in message
    assert not (tmp_path / "runs").exists()


def test_a_scenario_decides_about_what_means_the_same(tmp_path: Path, capsys: Any) -> None:
    """Of all it says, that is the number of games, the discount, the network and the memory."""
    for name in ALGORITHMS:
        settings = spec_of(Train(scenario="permuted-square-8", algorithm=name)).settings
        told = spec_of(Train(scenario="permuted-square-8")).settings
        assert settings.num_envs == told.num_envs == 10
        assert settings.hidden == told.hidden  # type: ignore[union-attr]
    spec = spec_of(Train(scenario="catcher-conflict", algorithm="qrdqn"))
    assert spec.settings.buffer_size == 30_000  # type: ignore[union-attr]
    assert spec.settings.learning_rate == 1.25e-3  # type: ignore[union-attr]
    joint = spec_of(Train(scenario="catcher-conflict", algorithm="qrdqn", method="joint"))
    assert joint.settings.buffer_size == 300_008  # type: ignore[union-attr]
    assert joint.method.name == "qrdqn-joint"
    message = refusal(
        [
            *("--scenario=permuted-square-8", "--algorithm=a2c:num_envs=8"),
            f"--out={tmp_path / 'runs'}",
        ],
        capsys,
    )
    assert "num_envs = 8 is the default, which gives way to that of scenario" in message


@pytest.mark.slow  # as a DQN is in test_resume.py; within a process: agents/sb3/test_agent.py
@pytest.mark.parametrize("name", ["ppo", "a2c", "qrdqn"])
def test_killed_and_resumed_it_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    command = [*SHORT, f"--algorithm={SMALL[name]}"]
    train.main([*command, f"--out={tmp_path / 'whole'}"])
    broken = tmp_path / "broken"
    with started(
        [sys.executable, "-m", "continual_arcade.scripts.train", *command, f"--out={broken}"],
        stdout=DEVNULL,
        stderr=DEVNULL,
    ) as process:
        wait_for(lambda: any(broken.glob("*/checkpoints/training.zip")), process)
        process.send_signal(SIGKILL)
        process.wait()
    run = one_run(broken)
    train.main(["--resume", str(run), "--no-progress"])
    whole = one_run(tmp_path / "whole")
    states = [load_state(each / "checkpoints" / "training.zip", KIND) for each in (whole, run)]
    for state in states:
        for episode in state["training"]["episodes"]:
            del episode["t"]
    assert not list(differences(*states))
    rows, again = read(whole / "evaluations.csv"), read(run / "evaluations.csv")
    again["run"] = rows["run"]
    assert same(rows, again)


@pytest.mark.slow
def test_several_seeds_are_trained_side_by_side(tmp_path: Path, capsys: Any) -> None:
    command = [each for each in SHORT if not each.startswith("--seed")]
    arguments = [*command, f"--algorithm={SMALL['a2c']}", f"--out={tmp_path}", "--seeds=0,3"]
    train.main([*arguments, "--jobs=2"])
    assert len(list(tmp_path.glob("Catcher-conflict__a2c__*"))) == 2
    train.main([*arguments, "--jobs=2"])  # found again
    assert len(list(tmp_path.glob("Catcher-conflict__a2c__*"))) == 2
    assert "a2c" in capsys.readouterr().out


def test_what_is_compiled_for_many_runs_is_compiled_once() -> None:
    for name in ("ppo", "qrdqn"):
        warm_up(spec_of(Train(game="Catcher", schedule="conflict", algorithm=SMALL[name])))
