"""Many lives side by side: each the same as alone, one that fails alone, none left behind."""

import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from processes import children, is_there, started, wait_for

from continual_arcade.evaluation.table import read
from continual_arcade.scripts import lives, train

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


def run_of(root: Path, seed: int) -> Path:
    (path,) = root.glob(f"*__{seed}__*")
    return path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds="], "seeds = '' names no seed: write 0..19"),
        (["--seeds=0..3", "--seed=0"], "--seed and --seeds cannot be given together"),
        (["--seed", "0", "--seeds", "0..3"], "--seed and --seeds cannot be given together"),
        (["--seeds=0..3", "--resume=runs/x"], "--seeds cannot be given with --resume"),
        (["--jobs=2", "--resume=runs/x"], "--jobs cannot be given with --resume"),
        (["--jobs=2"], "jobs = 2 is for many lives: name their seeds with --seeds"),
        (["--seeds=0..3", "--jobs=0"], "jobs = 0 must be at least 1"),
        (["--seeds=0..3", "--jobs=-2"], "jobs = -2 must be at least 1"),
        # What a single life would refuse is refused once.
        (["--seeds=0..3", "--schedule=shrnk"], "did you mean 'shrink'"),
        (["--seeds=0..3", "--eval-every=-1"], "every = -1"),
        (["--seeds=0..3", "--part=ewv"], "did you mean 'ewc'"),
        (["--seeds=0..3", "--schedule=drift", "--method=ewc"], "needs to be told where phases"),
        (["--seeds=0..3", "--phase-steps=30"], "nothing would be learnt"),
        (["--seeds=0..3", "--out=/dev/null/runs"], "no run can be written under /dev/null/runs"),
    ],
)
def test_mistakes_are_said_before_any_life_begins(
    tmp_path: Path, arguments: list[str], message: str, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lives, "live", None)
    with pytest.raises(SystemExit, match="2"):
        train.main(arguments)
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# Real lives.


def stand_in(folder: Path, script: str) -> str:
    """Make a program that stands in for Python; it finds its seed in $seed, the folder in $here."""
    program = folder / "python"
    find = 'seed=$(printf "%s " "$@" | sed "s/.*--seed \\([0-9]*\\) .*/\\1/")'
    here = f"here={shlex.quote(str(folder))}"
    program.write_text(f"#!/bin/sh\n{here}\n{find}\n{script}\n", "utf-8")
    program.chmod(0o755)
    return str(program)


@dataclass(frozen=True)
class Shown:
    """What came of a command."""

    root: Path
    status: Any
    out: str
    err: str


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Two lives to their end, one that fails and one that is killed."""
    folder = tmp_path_factory.mktemp("four")
    fails = "echo first >&2; echo 'error: seed 1 has no luck' >&2; exit 3"
    python = stand_in(
        folder,
        f"case $seed in 1) {fails};; 2) kill -9 $$;; "
        f'*) exec {shlex.quote(sys.executable)} "$@";; esac',
    )
    root = folder / "runs"
    train.warm_up(train.spec_of(train.Train(schedule="conflict")))  # if it compiles, it says so
    with (
        pytest.MonkeyPatch.context() as patched,
        redirect_stdout(StringIO()) as out,
        redirect_stderr(StringIO()) as err,
    ):
        patched.setattr(sys, "executable", python)
        with pytest.raises(SystemExit) as end:
            train.main(["--seeds", "1..4", "--jobs", "2", f"--out={root}", *SHORT])
    return Shown(root, end.value.code, out.getvalue(), err.getvalue())


@pytest.mark.slow
def test_a_life_among_others_is_the_same_as_alone(four: Shown, tmp_path: Path) -> None:
    together = run_of(four.root, 4)
    train.main(["--seed=4", f"--out={tmp_path}", *SHORT, "--no-progress"])
    alone = run_of(tmp_path, 4)
    table = (together / "evaluations.csv").read_bytes()
    assert table.count(together.name.encode()) == len(read(alone / "evaluations.csv"))
    renamed = table.replace(together.name.encode(), alone.name.encode())
    assert renamed == (alone / "evaluations.csv").read_bytes()
    checkpoints = sorted(p.name for p in (alone / "checkpoints").glob("step_*"))
    assert len(checkpoints) == 7
    for name in checkpoints:
        one, other = (run / "checkpoints" / name for run in (together, alone))
        assert one.read_bytes() == other.read_bytes(), name


def test_what_is_shown_of_many_lives(four: Shown) -> None:
    assert len(list(four.root.iterdir())) == 2
    for seed in (3, 4):
        assert f"seed {seed} begins: {run_of(four.root, seed)}\n" in four.out
        assert f"seed {seed} is done: {run_of(four.root, seed)}\n" in four.out
    # Then both together, as `compare` shows them.
    _, summary = four.out.split("FlappyBird, conflict, finetune: mean pipes passed", 1)
    assert "seeds 3, 4; mean over runs" in summary
    assert "upside down" in summary


def test_a_life_that_fails_lets_the_others_go_on(four: Shown) -> None:
    assert four.status == 2
    for seed in (1, 2):
        assert f"seed {seed} failed: it wrote no run\n" in four.out
    # All of it: there is no bar where there is no terminal.
    assert four.err == (
        "error: 2 of 4 lives failed; one that was only cut off goes on with --resume\n"
        "seed 1: exit status 3; it wrote no run\n"
        "  first\n"
        "  error: seed 1 has no luck\n"
        f"seed 2: ended by signal 9, {signal.strsignal(9)}; it wrote no run\n"
    )


@pytest.mark.slow  # all is compiled anew
def test_nothing_is_compiled_after_the_warm_up(tmp_path: Path) -> None:
    """In a process of its own, whose cache is empty."""
    code = (
        "import sys; from pathlib import Path; from continual_arcade.scripts import train\n"
        "def compiled(): return sorted(p.name for p in Path(sys.argv[1]).rglob('*.nb?'))\n"
        "train.warm_up(train.spec_of(train.Train(schedule='conflict'))); warm = compiled()\n"
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
    assert result.stdout.endswith("11 True\n")


@pytest.mark.slow
def test_ctrl_c_stops_all_lives_and_says_how_to_go_on(tmp_path: Path) -> None:
    root = tmp_path / "two words"
    command = [
        *(sys.executable, "-m", "continual_arcade.scripts.train", "--seeds=5..8"),
        *("--jobs=2", f"--out={root}", *SHORT, "--phase-steps=100000"),
    ]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: len(list(root.glob("*/evaluations.csv"))) == 2, process)
        pids = children(process.pid)
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert len(pids) == 2
    assert not any(is_there(pid) for pid in pids)
    assert process.returncode == 130
    assert "interrupted by SIGINT" in message
    assert "Traceback" not in message
    commands = [shlex.split(line) for line in message.splitlines() if line.startswith("  python")]
    head = ["python", "-m", "continual_arcade.scripts.train"]
    assert commands[:2] == [[*head, "--resume", str(run_of(root, seed))] for seed in (5, 6)]
    rest = ["--seeds", "7..8", "--jobs", "2", f"--out={root}", *SHORT, "--phase-steps=100000"]
    assert commands[2:] == [[*head, *rest]]


@pytest.mark.slow
def test_lives_end_with_a_parent_that_is_killed_and_can_be_resumed(tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "continual_arcade.scripts.train", "--seeds=5..8"),
        *("--jobs=2", f"--out={tmp_path / 'broken'}", *SHORT),
    ]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: len(list(tmp_path.glob("broken/*/evaluations.csv"))) == 2, process)
        pids = children(process.pid)
    assert len(pids) == 2
    wait_for(lambda: not any(is_there(pid) for pid in pids))
    begun = list(tmp_path.glob("broken/*"))
    assert len(begun) == 2  # and no other was begun
    for broken in begun:
        seed = broken.name.split("__")[2]
        train.main(["--resume", str(broken), "--no-progress"])
        train.main([f"--seed={seed}", f"--out={tmp_path / 'whole'}", *SHORT, "--no-progress"])
        whole = run_of(tmp_path / "whole", int(seed))
        table = (broken / "evaluations.csv").read_text()
        assert table.replace(broken.name, whole.name) == (whole / "evaluations.csv").read_text()


# Stand-ins, which say and do what a life might.


def test_no_more_lives_than_jobs_on_one_thread_each(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    python = stand_in(
        tmp_path,
        'cd "$here"; mkdir -p now; touch now/$seed; ls now | wc -l >> counts\n'
        'echo "$@" $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS $MKL_NUM_THREADS > told_$seed\n'
        "sleep 0.1; rm now/$seed",
    )
    monkeypatch.setattr(sys, "executable", python)
    seeds = (4, 0, 9, 2, 7)
    lives.live(seeds, 2, ["--game", "Catcher"], 100)
    counts = [int(line) for line in (tmp_path / "counts").read_text().split()]
    assert len(counts) == 5
    assert max(counts) <= 2
    for seed in seeds:
        assert (tmp_path / f"told_{seed}").read_text() == (
            f"-m continual_arcade.scripts.train --game Catcher --seed {seed} --no-progress 1 1 1\n"
        )
    done = re.findall(r"^seed (\d) is done", capsys.readouterr().out, re.MULTILINE)
    assert set(map(int, done)) == set(seeds)


def test_many_lives_for_little_memory_are_warned_of(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.setattr(sys, "executable", stand_in(tmp_path, "exit 0"))
    lives.live((0, 1), 2, [], 100)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(lives, "LIFE_MEMORY", 2**60)
    lives.live((0, 1), 5, [], 100)
    message = capsys.readouterr().err
    assert message.startswith("warning: 2 lives at a time want 2147483648.0 GiB of memory")
    assert message.endswith("--jobs 1 is safer\n")


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_other_signals_stop_all_lives_too(number: signal.Signals, tmp_path: Path) -> None:
    """A real process whose lives do nothing, and heed nothing."""
    python = stand_in(
        tmp_path,
        f"trap '' INT TERM HUP; echo '{lives.FOLDER_IS}/a/run of mine'\n"
        'echo $$ >> "$here"/pids\n'
        "while :; do sleep 1; done",
    )
    code = (
        f"import sys; sys.executable = {python!r}\n"
        "from continual_arcade.scripts import lives; lives.live(range(9), 3, ['--x'], 100)\n"
    )
    command = [sys.executable, "-c", code]
    with started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        pids = tmp_path / "pids"
        wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 3, process)
        process.send_signal(number)
        _, message = process.communicate(timeout=60)
    assert not any(is_there(int(pid)) for pid in pids.read_text().split())
    assert process.returncode == 128 + number
    assert f"interrupted by {number.name}" in message
    assert message.count("--resume '/a/run of mine'") == 3
    assert "--seeds 3..8 --jobs 3 --x" in message
