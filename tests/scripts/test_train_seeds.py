"""``train --seeds``: runs side by side, the same as alone, whatever is killed and begun again."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from processes import children, is_there, started, wait_for
from small_studies import Dies, everything

from continual_arcade.evaluation.commands import command_of
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.table import read
from continual_arcade.scripts import train, training
from continual_arcade.scripts.options import Train
from continual_arcade.studies.run_spec import Training
from continual_arcade.studies.seed_runs import SeedRuns

pytestmark = pytest.mark.usefixtures("undrawn")

SHORT = [
    "--schedule=conflict",
    "--phase-steps=400",
    "--eval-every=300",
    "--eval-episodes=2",
    "--eval-max-steps=60",
    "--save-every=400",
    "--dqn.learning-starts=100",
    "--dqn.hidden=16",
]
LONG = [
    "--schedule=conflict",
    "--phase-steps=20000",
    "--eval-every=0",
    "--eval-at-end=1",
    "--eval-episodes=2",
    "--eval-max-steps=60",
    "--save-every=1000",
    "--dqn.hidden=8",
]
"""Runs that take some seconds, and keep a state soon."""


def run_of(root: Path, seed: int) -> Path:
    (path,) = root.glob(f"*__{seed}__*")
    return path


def table_of(root: Path, seed: int) -> str:
    """The evaluations of a run, without its name."""
    path = run_of(root, seed)
    text = (path / "evaluations.csv").read_text()
    assert text.count(path.name) == len(read(path / "evaluations.csv"))
    return text.replace(path.name, "")


@dataclass(frozen=True)
class Shown:
    """What came of a command."""

    status: Any
    out: str
    err: str


def command(*arguments: str) -> Shown:
    """Run ``train`` in this process."""
    status: Any = 0
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        try:
            train.main(arguments)
        except SystemExit as end:
            status = end.code
    return Shown(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    """If anything is compiled, that is said before."""
    training.warm_up(training.spec_of(Train(schedule="conflict")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds="], "seeds = '' names no seed: write 0..19"),
        (["--seeds=0..3", "--seed=0"], "--seed and --seeds cannot be given together"),
        (["--seed", "0", "--seeds", "0..3"], "--seed and --seeds cannot be given together"),
        (["--seeds=0..3", "--resume=runs/x"], "--seeds cannot be given with --resume"),
        (["--jobs=2", "--resume=runs/x"], "--jobs cannot be given with --resume"),
        (["--jobs=2"], "jobs = 2 is for many runs: name their seeds with --seeds"),
        (["--seeds=0..3", "--jobs=0"], "jobs = 0 must be at least 1"),
        (["--seeds=0..3", "--jobs=-2"], "jobs = -2 must be at least 1"),
        # What a single run would refuse is refused once.
        (["--seeds=0..3", "--schedule=shrnk"], "did you mean 'shrink'"),
        (["--seeds=0..3", "--eval-every=-1"], "every = -1"),
        (["--seeds=0..3", "--part=ewv"], "did you mean 'ewc'"),
        (["--seeds=0..3", "--schedule=drift", "--method=ewc"], "needs to be told where phases"),
        (["--seeds=0..3", "--phase-steps=30"], "nothing would be learnt"),
        (["--seeds=0..3", "--out=/dev/null/runs"], "no run can be written under /dev/null/runs"),
    ],
)
def test_mistakes_are_said_before_any_run_begins(
    tmp_path: Path, arguments: list[str], message: str, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "SeedRuns", None)
    with pytest.raises(SystemExit, match="2"):
        train.main(arguments)
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@contextmanager
def out_of_luck(seed: int) -> Iterator[None]:
    """Let the training of one run fail in the middle."""
    save = RunFolder.save_checkpoint

    def fail(folder: RunFolder, step: int, write: Any) -> Path:
        if f"__{seed}__" in folder.name and step > 500:
            raise ValueError(f"seed {seed} has no luck")
        return save(folder, step, write)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(RunFolder, "save_checkpoint", fail)
        yield


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], Shown]:
    """Three runs, one of which fails: their folder, the command, and what it showed."""
    root = tmp_path_factory.mktemp("three") / "runs"
    arguments = ["--seeds=3,1,4", "--jobs=1", f"--out={root}", *SHORT]
    with out_of_luck(1):
        return root, arguments, command(*arguments)


def test_what_is_shown_of_many_runs(three: tuple[Path, list[str], Shown]) -> None:
    root, _, shown = three
    for seed in (3, 4):
        assert f"seed {seed} begins: {run_of(root, seed)}\n" in shown.out
        assert f"seed {seed} is done: {run_of(root, seed)}\n" in shown.out
    assert shown.out.startswith("engine: compiled\nseed 3 begins: ")
    # Then both together, as `compare` shows them.
    _, summary = shown.out.split("FlappyBird, conflict, finetune: mean pipes passed", 1)
    assert "seeds 3, 4; mean over runs" in summary
    assert "upside down" in summary


def test_a_run_that_fails_lets_the_others_finish(three: tuple[Path, list[str], Shown]) -> None:
    root, arguments, shown = three
    assert shown.status == 2
    assert "seed 1 failed: seed 1 has no luck\n" in shown.out
    # All of it: there is no bar where there is no terminal.
    again = shlex.join(["python", "-m", "continual_arcade.scripts.train", *arguments])
    assert shown.err == (
        "error: 1 of 3 runs are not finished; to try them again:\n"
        f"  {again}\n"
        f"seed 1: seed 1 has no luck; its run is in {run_of(root, 1)}\n"
    )


def assert_only_seed_1_is_trained(root: Path, arguments: list[str]) -> None:
    """Run the same command again."""
    before = {seed: everything(run_of(root, seed)) for seed in (3, 4)}
    again = command(*arguments)
    assert again.status == 0, again.err
    assert again.err == ""
    assert "seeds 3, 1, 4; mean" in again.out or "seeds 1, 3, 4; mean" in again.out
    assert f"seed 1 is resumed: {run_of(root, 1)}\nseed 1 is done: " in again.out
    for seed in (3, 4):
        assert f"seed {seed} was finished before: {run_of(root, seed)}\n" in again.out
        assert everything(run_of(root, seed)) == before[seed]
    assert len([*root.glob("*__*")]) == 3


def test_the_same_command_again_trains_what_is_not_finished(
    three: tuple[Path, list[str], Shown], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, arguments, _ = three
    with monkeypatch.context() as planted:  # a command that does not look what is there
        planted.setattr(SeedRuns, "find", lambda *_: None)
        elsewhere = [*arguments[:2], f"--out={tmp_path / 'copy'}", *arguments[3:]]
        # A copy: in the second in which the runs began, those that begin now are called like them.
        shutil.copytree(root, tmp_path / "copy")
        with pytest.raises((AssertionError, ValueError)):
            assert_only_seed_1_is_trained(tmp_path / "copy", elsewhere)
    assert_only_seed_1_is_trained(root, arguments)
    # Nothing is left to do.
    monkeypatch.setattr(Training, "train", None)
    again = command(*arguments)
    assert (again.status, again.out.count("was finished before")) == (0, 3)


@pytest.mark.slow
def test_a_run_among_others_is_the_same_as_alone(
    three: tuple[Path, list[str], Shown], tmp_path: Path
) -> None:
    in_turn, _, _ = three
    beside = tmp_path / "beside"
    shown = command("--seeds=3,4", "--jobs=2", f"--out={beside}", *SHORT)
    assert (shown.status, shown.err) == (0, "")
    command("--seed=4", f"--out={tmp_path / 'alone'}", *SHORT, "--no-progress")
    alone = run_of(tmp_path / "alone", 4)
    for root in (beside, in_turn):
        run = run_of(root, 4)
        assert table_of(root, 4) == table_of(tmp_path / "alone", 4)
        files = {path.relative_to(run) for path in everything(run)}
        there = {path.relative_to(alone) for path in everything(alone)}
        assert files - there == {Path("finished.json")}
        assert there <= files
        checkpoints = sorted(p.name for p in (alone / "checkpoints").glob("step_*"))
        assert len(checkpoints) == 7
        for name in checkpoints:
            one, other = (folder / "checkpoints" / name for folder in (run, alone))
            assert one.read_bytes() == other.read_bytes(), name
        config, other_config = (RunFolder(path).read_config() for path in (run, alone))
        assert {**config, "command": ""} == {**other_config, "command": ""}
        # By which it can be trained alone.
        given = ["--out=" + str(root), *SHORT, "--seed", "4"]
        assert config["command"] == command_of("train", given)


@pytest.mark.slow  # all is compiled again
def test_nothing_is_compiled_after_the_warm_up(tmp_path: Path) -> None:
    """In a process of its own, whose cache is empty."""
    code = (
        "import sys; from pathlib import Path; from continual_arcade.scripts import train\n"
        "from continual_arcade.scripts.options import Train\n"
        "from continual_arcade.scripts.training import spec_of, warm_up\n"
        "def compiled(): return sorted(p.name for p in Path(sys.argv[1]).rglob('*.nb?'))\n"
        "warm_up(spec_of(Train(schedule='conflict'))); warm = compiled()\n"
        "train.main(sys.argv[2:]); print(len(warm), warm == compiled())\n"
    )
    result = subprocess.run(
        [
            *(sys.executable, "-c", code, str(tmp_path / "cache")),
            *(*SHORT, f"--out={tmp_path / 'runs'}", "--no-progress"),
        ],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    compiled, none_later = result.stdout.split()[-2:]
    assert int(compiled) >= 11
    assert none_later == "True"


# Real processes, real signals.


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[int, str]:
    """The tables of runs of which nothing was ever killed."""
    root = tmp_path_factory.mktemp("unbroken")
    assert command("--seeds=5..7", "--jobs=1", f"--out={root}", *LONG).status == 0
    return {seed: table_of(root, seed) for seed in (5, 6, 7)}


def begun(root: Path, arguments: list[str], **options: Any) -> Any:
    given = ["--seeds=5..7", "--jobs=2", f"--out={root}", *arguments]
    return started(
        [sys.executable, "-m", "continual_arcade.scripts.train", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def states(root: Path) -> list[Path]:
    return list(root.glob("*/checkpoints/training.zip"))


@pytest.mark.slow  # the same executor ends a study, and test_running.py sends it a signal
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_stopped_by_a_signal_the_same_command_ends_with_the_same_bits(
    number: signal.Signals, tmp_path: Path, unbroken: dict[int, str]
) -> None:
    root = tmp_path / "two words"
    with begun(root, LONG) as process:
        wait_for(lambda: len(states(root)) == 2, process)
        workers = children(process.pid)
        process.send_signal(number)
        _, message = process.communicate(timeout=60)
    assert len(workers) >= 2
    wait_for(lambda: not any(is_there(pid) for pid in workers))
    assert len([*root.glob("*__*")]) == 2  # and no other was begun
    given = ["--seeds=5..7", "--jobs=2", f"--out={root}", *LONG]
    if number is signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        again = shlex.join(["python", "-m", "continual_arcade.scripts.train", *given])
        expected = f"interrupted; what was written so far is intact; to resume: {again}\n"
        assert message == expected
    shown = command(*given[:1], "--jobs=1", *given[2:])
    assert (shown.status, shown.err) == (0, "")
    for seed, verb in ((5, "is resumed"), (6, "is resumed"), (7, "begins")):
        assert f"seed {seed} {verb}: {run_of(root, seed)}\n" in shown.out
    assert {seed: table_of(root, seed) for seed in unbroken} == unbroken


@pytest.mark.slow
def test_a_worker_that_is_killed_is_named_and_its_run_resumed_to_the_same_bits(
    tmp_path: Path, unbroken: dict[int, str]
) -> None:
    with begun(tmp_path, LONG) as process:
        wait_for(lambda: len(states(tmp_path)) == 2, process)
        workers = [pid for pid, words in children(process.pid).items() if "popen_loky" in words]
        os.kill(workers[0], signal.SIGKILL)
        out, message = process.communicate(timeout=240)
    assert process.returncode == 0, message
    died = "a worker died at one of: seed 5, seed 6; they are resumed. If memory runs out, fewer"
    assert died in message
    for seed in (5, 6):
        assert f"seed {seed} is resumed: {run_of(tmp_path, seed)}\n" in out
    assert {seed: table_of(tmp_path, seed) for seed in unbroken} == unbroken
    # The comparison would find another run out.
    assert unbroken[5] != unbroken[6].replace(",6,", ",5,")


def test_workers_that_die_again_and_again_are_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = Dies("seed 6", 99)
    monkeypatch.setattr(training, "local_executor", lambda jobs: dies)
    arguments = ["--seeds=5..7", "--jobs=1", f"--out={tmp_path}", *SHORT]
    shown = command(*arguments)
    assert (shown.status, dies.deaths) == (2, 3)
    assert shown.err.count("they are resumed. If memory runs out, fewer --jobs help") == 2
    assert "error: 2 of 3 runs are not finished; to try them again:\n" in shown.err
    assert "\nworkers died 3 times over seed 6: perhaps memory runs out; try ag" in shown.err
    assert "seeds 5; mean over runs" in shown.out
    monkeypatch.undo()
    assert command(*arguments).status == 0
