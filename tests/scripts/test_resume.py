"""Runs that were killed and resumed: the end is the same bits as without."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tiny
from holders import held
from processes import heeding_signals, started, wait_for
from undrawn import without_drawing

from continual_arcade.agents import METHODS, ContinualDQN
from continual_arcade.agents.files.saving import KIND
from continual_arcade.agents.files.state_files import load_state
from continual_arcade.evaluation.table import read, same
from continual_arcade.scripts import compare, evaluate, train, training
from continual_arcade.scripts.options import Train

pytestmark = pytest.mark.usefixtures("undrawn")

SHORT = [
    "--schedule=conflict",
    "--phase-steps=672",  # three phases: 2,016 steps
    "--eval-every=500",
    "--eval-episodes=2",
    "--eval-max-steps=60",
    "--save-every=160",
    "--dqn.learning-starts=100",
    "--dqn.num-envs=4",
    "--dqn.batch-size=16",
    "--dqn.buffer-size=600",
    "--dqn.hidden=16",
    "--no-progress",
]
FEW = {"mer-faithful": ["--part=si:lam=0.001"], "ewc": ["--dqn.dropout=0.1", "--dqn.layer-norm"]}


def arguments(method: str, out: Path, engine: str = "auto") -> list[str]:
    context = tiny.context_of(METHODS[method].make_parts())
    chosen = [f"--method={method}", f"--dqn.engine={engine}", *FEW.get(method, [])]
    chosen.append(f"--context={context}")
    return [*SHORT, *chosen, f"--out={out}", "--seed=3"]


def one_run(root: Path) -> Path:
    (path,) = root.iterdir()
    return path


def killed(command: list[str], seconds: float) -> bool:
    """Run a process, and kill it after a while; return whether it was still running."""
    with started(
        [sys.executable, "-m", "continual_arcade.scripts.train", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            _, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return True
    assert process.returncode == 0, errors
    return False


def end_of(run: Path) -> dict[str, Any]:
    return load_state(run / "checkpoints" / "training.zip", KIND)


def assert_equal(one: Any, other: Any, where: str = "") -> None:
    """Compare two trees bit by bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key not in ("t",):  # seconds since the beginning
                assert_equal(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_equal(a, b, f"{where}[{i}]")
    elif hasattr(one, "tobytes"):
        assert one.tobytes() == other.tobytes(), where
    elif hasattr(one, "numpy"):
        assert one.numpy().tobytes() == other.numpy().tobytes(), where
    else:
        assert one == other or (one != one and other != other), where


OFTEN = {"mer"}
"""The others are no less tested within a process (``test_saving.py``)."""


@pytest.mark.parametrize(
    ("method", "engine"),
    [
        *(
            pytest.param(method, "auto", marks=() if method in OFTEN else pytest.mark.slow)
            for method in METHODS
        ),
        pytest.param("clone", "torch", marks=pytest.mark.slow),
        pytest.param("mer", "torch", marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment_it_ends_with_the_same_bits(
    method: str, engine: str, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    begun = time.monotonic()
    train.main(arguments(method, whole, engine))
    lasts = time.monotonic() - begun
    seed = random.randrange(2**32)
    print("moments of", seed)  # shown where the test fails
    moments = random.Random(seed)
    # At a random moment of its work, which begins when there is a folder.
    with started(
        [
            *(sys.executable, "-m", "continual_arcade.scripts.train"),
            *arguments(method, broken, engine),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_for(lambda: any(broken.glob("*/config.json")), process)
        time.sleep(moments.uniform(0, 0.5 * lasts))
        process.send_signal(signal.SIGKILL)
    run = one_run(broken)
    # Once more at any moment, of starting up, of work or of drawing, and then to the end.
    if killed(["--resume", str(run), "--no-progress"], moments.uniform(0, 2 * lasts)):
        train.main(["--resume", str(run), "--no-progress"])
    first, second = one_run(whole), run
    expected, found = end_of(first), end_of(second)
    assert expected["counters"]["num_timesteps"] >= 2_016
    assert_equal(expected, found)
    rows, again = read(first / "evaluations.csv"), read(second / "evaluations.csv")
    again["run"] = rows["run"]
    assert same(rows, again)
    names = [sorted(p.name for p in (r / "checkpoints").iterdir()) for r in (first, second)]
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_it_is_resumed_from_every_state_that_it_kept(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = ContinualDQN.save_training

    def save_and_copy(agent: ContinualDQN, path: Path) -> None:
        save(agent, path)
        run = path.parents[1]
        shutil.copytree(run, tmp_path / "kept" / str(agent.num_timesteps) / run.name)

    with monkeypatch.context() as patched:
        patched.setattr(ContinualDQN, "save_training", save_and_copy)
        train.main(arguments(method, tmp_path / "whole"))
    expected = end_of(one_run(tmp_path / "whole"))
    kept = list((tmp_path / "kept").iterdir())
    assert len(kept) == 13  # every 160 of 2,016 steps, and at the end
    for root in kept:
        train.main(["--resume", str(one_run(root)), "--no-progress"])
        assert_equal(expected, end_of(one_run(root)), root.name)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    with without_drawing():
        train.main([*SHORT, f"--out={root}"])
    return one_run(root)


def refusal(run: Path, capsys: Any) -> str:
    with pytest.raises(SystemExit) as error:
        train.main(["--resume", str(run), "--no-progress"])
    assert error.value.code == 2
    text: str = capsys.readouterr().err
    return text


def test_a_run_that_somebody_writes_is_read_but_not_resumed(finished: Path, capsys: Any) -> None:
    files = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with held(finished) as holder:
        message = refusal(finished, capsys)
        assert f"another process is at work in {finished}: process {holder.pid} on " in message
        compare.main([str(finished)])
        assert "FlappyBird, conflict, finetune: mean pipes passed" in capsys.readouterr().out
        evaluate.main([str(finished), "--out", str(finished / "again")])
        assert "every episode is the same as in the run" in capsys.readouterr().out
    shutil.rmtree(finished / "again")
    lock = finished / ".lock"
    assert lock.read_text()  # that of one that was killed is in nobody's way
    train.main(["--resume", str(finished), "--no-progress"])
    after = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert {**files, lock: b""} == {**after, lock: b""}


def trained(*command: str) -> subprocess.Popen[str]:
    train_it = [sys.executable, "-m", "continual_arcade.scripts.train", *command]
    return subprocess.Popen(
        heeding_signals(train_it),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def paused(process: subprocess.Popen[str], when: Callable[[], bool]) -> Iterator[None]:
    """Let a process stand still from some moment of its work on."""
    try:
        while not when():
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(signal.SIGSTOP)
        yield
        process.send_signal(signal.SIGCONT)
    except BaseException:
        process.kill()
        process.communicate()
        raise


@pytest.mark.slow
def test_two_processes_at_one_run_do_it_no_harm(tmp_path: Path, capsys: Any) -> None:
    train.main(arguments("finetune", tmp_path / "whole"))
    root = tmp_path / "broken"

    first = trained(*arguments("finetune", root))
    with paused(first, lambda: any(root.glob("*/checkpoints/training.zip"))):
        run = one_run(root)
        assert f"at work in {run}: process {first.pid} on " in refusal(run, capsys)
        first.kill()
    first.communicate()

    second = trained("--resume", str(run), "--no-progress")
    name = f"process {second.pid} on "
    with paused(second, lambda: (run / ".lock").read_text().startswith(name)):
        third = trained("--resume", str(run), "--no-progress")
        assert f"at work in {run}: {name}" in third.communicate()[1]
        assert third.returncode == 2
    _, errors = second.communicate()
    assert second.returncode == 0, errors
    assert_equal(end_of(one_run(tmp_path / "whole")), end_of(run))
    rows, again = (read(each / "evaluations.csv") for each in (one_run(tmp_path / "whole"), run))
    again["run"] = rows["run"]
    assert same(rows, again)


def test_a_finished_run_shows_what_came_out(finished: Path, capsys: Any) -> None:
    drawn = {finished / "matrix.png", finished / "curves.png"}
    files = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file() and p not in drawn}
    for picture in drawn:
        picture.unlink(missing_ok=True)  # as if it had been killed before it drew
    for quiet in ("--no-progress", "--no_progress"):  # tyro takes both
        train.main(["--resume", str(finished), quiet])
        assert "it was trained to its end before" in capsys.readouterr().out
    after = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
    assert after.keys() == files.keys() | drawn
    assert files.items() <= after.items()


def test_a_damaged_state_is_named_and_nothing_is_changed(
    finished: Path, tmp_path: Path, capsys: Any
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    state = run / "checkpoints" / "training.zip"
    state.write_bytes(state.read_bytes()[:-200])
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "training.zip" in refusal(run, capsys)
    assert files == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_the_state_of_another_run_is_not_gone_on_with(
    finished: Path, tmp_path: Path, capsys: Any
) -> None:
    train.main([*SHORT, f"--out={tmp_path}", "--method=mer"])
    other = one_run(tmp_path)
    shutil.copy(finished / "checkpoints" / "training.zip", other / "checkpoints")
    assert "training.zip belongs to another run: it has seed 0 and parts []" in refusal(
        other, capsys
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config.pop("method_spec"), "lacks method_spec"),
        (lambda config: config.pop("save_every"), "lacks save_every"),
        (lambda config: config["evaluation"].pop("every"), "lacks evaluation.every"),
        (lambda config: config["settings"].update(gama=1), "unknown setting 'gama'"),
        (lambda config: config["settings"].pop("gamma"), "the settings lack gamma"),
        (lambda config: config["method_spec"].pop("text"), "it was written by another version"),
    ],
)
def test_a_configuration_of_another_version(
    change: Any, message: str, finished: Path, tmp_path: Path, capsys: Any
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    config = json.loads((run / "config.json").read_text())
    change(config)
    (run / "config.json").write_text(json.dumps(config))
    assert message in refusal(run, capsys)


def test_a_folder_without_a_run(tmp_path: Path, capsys: Any) -> None:
    assert "is no run" in refusal(tmp_path, capsys)


def test_a_run_cut_off_before_anything_was_kept_begins_anew(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "checkpoints" / "training.zip").unlink()
    with (run / "evaluations.csv").open("a") as file:
        file.write("half a li")
    train.main(["--resume", str(run), "--no-progress"])
    assert_equal(end_of(finished), end_of(run))
    rows, again = read(finished / "evaluations.csv"), read(run / "evaluations.csv")
    again["run"] = rows["run"]
    assert same(rows, again)


@pytest.mark.parametrize("given", [["--seed", "4"], ["--method=finetune"], ["--part", "ewc"]])
def test_a_run_goes_on_as_it_began(given: list[str], finished: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as error:
        train.main(["--resume", str(finished), *given])
    assert error.value.code == 2
    name = given[0].partition("=")[0]
    assert f"{name} cannot be given with --resume" in capsys.readouterr().err
    with pytest.raises(ValueError, match="seed = 4 cannot be set with --resume"):
        training.train(Train(resume=finished, seed=4))
