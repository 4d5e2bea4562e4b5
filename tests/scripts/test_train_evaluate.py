"""A whole run from the command line, and its evaluation done again."""

import csv
import json
import re
import resource
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from processes import started, wait_for

from continual_arcade.agents import ContinualDQN
from continual_arcade.evaluation import EvaluationSettings, network_diagnostics
from continual_arcade.evaluation.table import read
from continual_arcade.scripts import compare, evaluate, schedule, train, training, watch

pytestmark = pytest.mark.usefixtures("undrawn")

ROOT = Path(__file__).parents[2]
SHORT = [
    "--phase-steps",
    "400",
    "--eval-every",
    "300",
    "--eval-episodes",
    "2",
    "--eval-max-steps",
    "60",
    "--dqn.learning-starts",
    "100",
    "--dqn.hidden",
    "16",
]


def one_run(root: Path) -> Path:
    (path,) = root.iterdir()
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three phases."""
    root = tmp_path_factory.mktemp("runs")
    train.main(["--schedule", "conflict", "--out", str(root), "--seed", "5", *SHORT])
    return one_run(root)


def test_what_is_compiled_is_compiled_before_training_is_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    for name, of in (("warm_up", training), ("train", training.Training)):
        real = getattr(of, name)

        def noted(*args: Any, name: str = name, real: Any = real, **kwargs: Any) -> Any:
            done.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(of, name, noted)
    train.main(["--schedule", "conflict", "--out", str(tmp_path), *SHORT])
    assert done == ["warm_up", "train"]


def test_a_run_is_on_the_disk(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {
        "config.json",
        "evaluations.csv",
        "progress.csv",
        "checkpoints",
        "matrix.png",
        "curves.png",
    } <= names
    config = json.loads((trained / "config.json").read_text())
    assert config["seed"] == 5
    assert config["schedule"]["name"] == "conflict"
    assert config["settings"]["hidden"] == [16]
    assert config["evaluation"] == asdict(EvaluationSettings(every=300, episodes=2, max_steps=60))
    assert config["versions"]["torch"].startswith("2.")
    assert re.fullmatch(r"[0-9a-f]{16}", config["fingerprint"])
    with (trained / "progress.csv").open() as file:
        assert next(csv.DictReader(file))["time/total_timesteps"]


def test_the_table_has_every_evaluation(trained: Path) -> None:
    table = read(trained / "evaluations.csv")
    stages = table.drop_duplicates("lifetime_step")[["lifetime_step", "trained_phase"]]
    assert stages.to_numpy().tolist() == [
        [0, -1],
        [304, 0],  # from the beginning of each phase; eight games take eight steps at a time
        [400, 0],
        [704, 1],
        [800, 1],
        [1104, 2],
        [1200, 2],
    ]
    assert len(table) == 7 * 3 * 2 * 2
    assert table["network"].value_counts().to_dict() == {"average": 42, "last": 42}
    assert set(table["seed"]) == {5}
    assert set(table["run"]) == {trained.name}
    assert table["length"].max() <= 60
    steps = {int(p.stem.removeprefix("step_")) for p in (trained / "checkpoints").glob("step_*")}
    assert steps == set(stages["lifetime_step"])


def test_evaluating_again_gives_the_same_table(trained: Path, capsys: Any) -> None:
    out = trained.parent / "again"
    evaluate.main([str(trained), "--out", str(out)])
    assert "every episode is the same as in the run" in capsys.readouterr().out
    assert (out / "evaluations.csv").read_text() == (trained / "evaluations.csv").read_text()
    assert (out / "matrix.png").is_file()
    looked = network_diagnostics.read(out / "diagnostics.csv")
    table = read(trained / "evaluations.csv")
    for name in ("run", "seed", "lifetime_step", "trained_phase"):
        assert looked[name].drop_duplicates().tolist() == table[name].drop_duplicates().tolist()
    assert len(looked) == 7 * (9 + 3 + 2 * 4 + 1 + 3 * 2)
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([str(trained), "--out", str(out)])
    assert "exists, and nothing is overwritten: choose another name" in capsys.readouterr().err


def test_a_run_without_probes_is_evaluated_again_without_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train.main(["--out", str(tmp_path), "--no-probes", "--schedule", "conflict", *SHORT])
    run = one_run(tmp_path)
    capsys.readouterr()
    evaluate.main([str(run), "--out", str(tmp_path / "again")])
    assert "every episode is the same as in the run" in capsys.readouterr().out
    for folder in (run, tmp_path / "again"):
        assert (folder / "evaluations.csv").exists()
        assert not (folder / "diagnostics.csv").exists()


def test_evaluating_with_more_episodes(trained: Path) -> None:
    out = trained.parent / "more"
    evaluate.main([str(trained), "--out", str(out), "--episodes", "3", "--max-steps", "30"])
    table = read(out / "evaluations.csv")
    assert len(table) == 7 * 3 * 3 * 2
    assert table["length"].max() <= 30


@pytest.mark.slow
def test_evaluating_in_several_processes_and_what_it_costs(trained: Path, capsys: Any) -> None:
    out = trained.parent / "side_by_side"
    evaluate.main([str(trained), "--out", str(out), "--jobs", "2"])
    printed = capsys.readouterr().out
    assert (out / "evaluations.csv").read_text() == (trained / "evaluations.csv").read_text()
    steps = read(trained / "evaluations.csv")["length"].sum()
    assert re.search(rf"evaluated {steps:,} steps in \d+\.\d s", printed)


def test_an_expert_of_one_phase_lives_in_it_alone(tmp_path: Path, capsys: Any) -> None:
    given = ["--schedule", "conflict", "--only-phase", "upside down", "--out", str(tmp_path)]
    train.main([*given, *SHORT])
    run = one_run(tmp_path)
    config = json.loads((run / "config.json").read_text())
    assert run.name.startswith("FlappyBird-conflict-1__finetune__0__")
    assert config["schedule"]["phases"] == [
        {"name": "upside down", "steps": 400, "params": {"gravity": -1.0, "flap": -9.0}}
    ]
    table = read(run / "evaluations.csv")
    assert sorted(set(table["lifetime_step"])) == [0, 304, 400]
    assert set(table["eval_phase"]) == {0}
    # All that is done with runs is done with this one.
    evaluate.main([str(run), "--out", str(tmp_path / "again")])
    assert "every episode is the same as in the run" in capsys.readouterr().out
    watch.main([str(run), "--record", str(tmp_path / "x.gif"), "--seconds", "0.1"])
    compare.main([str(run)])
    assert "conflict-1" in capsys.readouterr().out


def test_same_seed_same_run(tmp_path: Path, trained: Path) -> None:
    train.main(["--schedule", "conflict", "--out", str(tmp_path), "--seed", "5", *SHORT])
    one, other = (
        read(path / "evaluations.csv").drop(columns="run") for path in (trained, one_run(tmp_path))
    )
    assert one.equals(other)


def test_a_damaged_checkpoint_is_named(tmp_path: Path, trained: Path, capsys: Any) -> None:
    copy = tmp_path / trained.name
    subprocess.run(["cp", "-r", str(trained), str(copy)], check=True)
    checkpoint = sorted((copy / "checkpoints").iterdir())[2]
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([str(copy)])
    assert f"{checkpoint} is damaged" in capsys.readouterr().err
    assert not list(copy.glob("evaluated_*"))  # nothing is left behind


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schedule", "shrnk"], "did you mean 'shrink'"),
        (["--schedule", "missing.toml"], "missing.toml"),
        (["--phase-steps", "0"], "steps = 0"),
        (["--only-phase", "6"], "it has phases 0 to 5"),
        (["--only-phase", "gap 91"], "did you mean 'gap 9"),
        (["--only-phase", "-1"], "unknown phase of schedule 'shrink' '-1'"),
        (
            ["--phase-steps", "30"],
            "the schedule ends after 180 steps: nothing would be learnt; make its phases longer",
        ),
        (["--schedule", "stationary"], "make its phases longer (phase_steps)"),
        (["--phase-steps", "3", "--dqn.learning-starts", "1"], "lasts 3 steps, but 8 environments"),
        (["--eval-episodes", "0"], "episodes = 0"),
        (["--eval-every", "-1"], "every = -1"),
        (["--eval-at-end", "1", "--eval-spacing", "50"], "eval_spacing = 50 counts only with"),
        (["--dqn.batch-size", "0"], "batch_size = 0"),
        (["--dqn.buffer-size", "10"], "buffer_size = 10 is smaller"),
        (["--out", "/dev/null/runs"], "--out"),
        (["--seed", "-1"], "seed = -1"),
        (["--save-every", "-1"], "save_every = -1"),
        (["--method", "mer-lasy"], "did you mean 'mer-lazy'"),
        (["--part", "ewv"], "did you mean 'ewc'"),
        (["--part", "ewc:lamda=3"], "did you mean 'lam'"),
        (["--part", "ewc:lam=-3"], "lam = -3.0 must be"),
        (["--part", "ewc:lam=nan"], "lam = nan must be"),
        (["--part", "ewc:lam"], "must be written setting=value"),
        (["--part", "ewc", "--part", "ewc:lam=2"], "'ewc' is given twice"),
        (["--method", "mer", "--part", "reptile"], "'mer' and 'reptile' cannot be combined"),
        (["--replay", "reservor"], "did you mean 'reservoir'"),
        (["--replay", "mix:long_term_fraction=2"], "long_term_fraction"),
        (["--schedule", "drift", "--method", "ewc"], "part 'ewc' needs to be told where phases"),
        (["--part", "mer:algorithm=1"], "plain SGD"),
        # Not another epsilon, which the method sets, but which would not help it.
        (
            ["--schedule", "stationary", "--phase-steps", "2000", "--method", "from-scratch"],
            "part 'reset' needs to be told where phases end",
        ),
    ],
)
def test_mistakes_are_said_before_anything_is_written(
    tmp_path: Path, arguments: list[str], message: str, capsys: Any
) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.main(["--out", str(tmp_path / "runs"), *arguments])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_an_unknown_game_is_refused_with_the_known_ones(capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.main(["--game", "FlapyBird"])
    assert "FlappyBird" in capsys.readouterr().err


def test_runs_that_are_none(tmp_path: Path, capsys: Any) -> None:
    for path, message in ((tmp_path / "none", "is no run"), (tmp_path, "is no run")):
        with pytest.raises(SystemExit, match="2"):
            evaluate.main([str(path)])
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_run_keeps_what_it_had(tmp_path: Path) -> None:
    """A real process, killed at once in the middle of its run."""
    with started(
        [
            *(sys.executable, str(ROOT / "scripts" / "train.py"), "--out", str(tmp_path)),
            *("--schedule", "conflict", "--phase-steps", "20000", "--eval-every", "400"),
            *("--eval-episodes", "1", "--eval-max-steps", "50", "--dqn.hidden", "16"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_for(lambda: len(list(tmp_path.glob("*/checkpoints/step_*.zip"))) >= 3, process)
        process.send_signal(signal.SIGKILL)
    run = one_run(tmp_path)
    table = read(run / "evaluations.csv")  # whole rows only
    assert table["lifetime_step"].nunique() >= 2
    out = tmp_path / "again"
    evaluate.main([str(run), "--out", str(out)])
    again = read(out / "evaluations.csv")
    assert len(again) >= 2 * 3


@pytest.mark.slow
def test_a_disk_that_fills_ends_the_run_with_a_message(tmp_path: Path, trained: Path) -> None:
    """A real process whose files may not grow beyond 20 KiB."""
    assert trained.is_dir()  # so that everything is compiled
    result = subprocess.run(
        [
            *(sys.executable, str(ROOT / "scripts" / "train.py"), "--out", str(tmp_path)),
            *("--schedule", "conflict", "--phase-steps", "4000", "--eval-every", "80"),
            *("--eval-episodes", "6", "--eval-max-steps", "5", "--dqn.hidden", "4"),
        ],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20 * 1024, 20 * 1024)),
    )
    assert result.returncode == 2, result.stderr
    run = one_run(tmp_path)
    assert re.search(
        r"((evaluations|diagnostics|costs)\.csv|step_\d+\.zip)': there is no room\.", result.stderr
    )
    assert "Traceback" not in result.stderr
    table = read(run / "evaluations.csv")  # whole rows only
    assert len(table) % (3 * 6) == 0
    assert len(list((run / "checkpoints").glob("step_*.zip"))) >= 1
    assert not list((run / "checkpoints").glob(".unfinished*"))


def test_a_trained_agent_can_be_watched(trained: Path, tmp_path: Path, capsys: Any) -> None:
    for player, extra in (
        (trained, []),
        (trained, ["--checkpoints", "400", "--phase", "upside down"]),
        (trained / "checkpoints" / "step_000000000800.zip", ["--schedule", "shrink"]),
    ):
        film = tmp_path / f"{len(list(tmp_path.iterdir()))}.gif"
        watch.main([str(player), "--record", str(film), "--seconds", "1", *extra])
        assert film.read_bytes().startswith(b"GIF89a")
    with pytest.raises(SystemExit, match="2"):
        watch.main([str(trained), "--record", str(tmp_path / "x.gif"), "--checkpoints", "7"])
    assert "those of steps 0, 304, 400" in capsys.readouterr().err


def test_schedules_from_the_command_line(tmp_path: Path, capsys: Any) -> None:
    for name in ("s.png", "s.toml", "s.json"):
        schedule.main(["drift", "--game", "Catcher", "--out", str(tmp_path / name)])
    printed = capsys.readouterr().out
    assert "fall_speed = 20 until 20.8333" in printed
    schedule.main([str(tmp_path / "s.toml"), "--game", "Catcher"])
    for arguments, message in (
        (["drift", "--out", str(tmp_path / "s.png")], "exists"),
        ([str(tmp_path / "s.toml")], "unknown parameter 'fall_speed'"),
        (["drif"], "did you mean 'drift'"),
    ):
        with pytest.raises(SystemExit, match="2"):
            schedule.main(arguments)
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "gap",
    ['"90"', "true", "[90]", "{}", "1979-05-27", "07:32:00", "nan", "inf", "9" * 400, "9" * 5_000],
)
def test_a_schedule_whose_values_are_no_numbers(gap: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f'format = 1\n[[phases]]\nname = "a"\nsteps = 500\nparams.gap = {gap}\n')
    for main, arguments in (
        (schedule.main, [str(path)]),
        (train.main, ["--schedule", str(path), "--out", str(tmp_path / "runs")]),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
        said = capsys.readouterr().err
        assert re.match(rf"error: {path}: .*(gap = .* must be|4300 digits)", said)
    assert not (tmp_path / "runs").exists()


def test_a_life_that_diverges_keeps_the_agent_from_before(tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        train.main(
            [*SHORT, "--schedule", "conflict", "--out", str(tmp_path), "--dqn.learning-rate=1e30"]
        )
    message = capsys.readouterr().err
    assert re.search(r"at step \d+ the loss is .* learning has diverged", message)
    # Both files that it names are there: the one may be far off, the other is as it was played.
    finite, evaluated = (
        ContinualDQN.load(one_run(tmp_path) / "checkpoints" / name, device="cpu")
        for name in ("before_divergence.zip", "step_000000000000.zip")
        if str(one_run(tmp_path) / "checkpoints" / name) in message
    )
    assert all(bool(p.isfinite().all()) for p in finite.q_net.parameters())
    assert all(float(p.detach().abs().max()) < 1 for p in evaluated.q_net.parameters())
    assert finite.num_timesteps > evaluated.num_timesteps == 0
