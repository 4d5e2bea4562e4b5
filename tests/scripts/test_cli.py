"""Whatever becomes of those who read, and of the process, a command does what it was asked."""

import io
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from small_studies import write

from continual_arcade.evaluation.table import read
from continual_arcade.scripts import cli
from continual_arcade.studies.folder import StudyFolder

# All ways in which something is printed: by print, rich, tqdm, warnings, a thread, a child process,
# and a library that writes to the descriptor. Then there is work to do.
SPEAKS = """
    import os, subprocess, sys, threading, warnings
    from rich.console import Console
    from rich.table import Table
    from tqdm import tqdm
    from continual_arcade.scripts.cli import run

    def command():
        console, table = Console(), Table("a table")
        table.add_row("\u00b1 \\udcff")
        for number in tqdm(range(300)):
            print("line", number)
            print("line", number, file=sys.stderr, flush=True)
            tqdm.write("above the bar")
            console.print(table)
            warnings.warn(f"warning {number}")
        thread = threading.Thread(target=print, args=("compiling",), kwargs={"file": sys.stderr})
        thread.start()
        thread.join()
        with open(sys.argv[1], "w") as file:
            if sys.argv[2] == "others too":
                for descriptor in (1, 2):
                    os.write(descriptor, b"by a library\\n")
                subprocess.run(["sh", "-c", "echo child && echo child >&2"], check=True)
            file.write("done")

    run(command)
"""


def python(code: str, *arguments: object, **options: Any) -> "subprocess.Popen[bytes]":
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        **{"env": environment, **options},
    )


def nobody() -> int:
    """The end of a pipe to write to, of which nobody reads the other."""
    reads, writes = os.pipe()
    os.close(reads)
    return writes


def closes(*descriptors: int) -> Callable[[], None]:
    return lambda: [os.close(descriptor) for descriptor in descriptors] and None


def outputs(name: str) -> dict[str, Any]:
    """How a process is started whose output goes somewhere in particular."""
    match name:
        case "nobody reads output":
            return {"stdout": nobody(), "stderr": subprocess.PIPE}
        case "nobody reads errors":
            return {"stdout": subprocess.DEVNULL, "stderr": nobody()}
        case "nobody reads":
            return {"stdout": nobody(), "stderr": nobody()}
        case "output is closed":
            return {"stderr": subprocess.PIPE, "preexec_fn": closes(1)}
        case "errors are closed":
            return {"stdout": subprocess.DEVNULL, "preexec_fn": closes(2)}
        case "all is closed":
            return {"preexec_fn": closes(0, 1, 2)}
        case "output is on a full disk":
            return {"stdout": os.open("/dev/full", os.O_WRONLY), "stderr": subprocess.PIPE}
        case "all is on a full disk":
            return {name: os.open("/dev/full", os.O_WRONLY) for name in ("stdout", "stderr")}
    raise AssertionError(name)


OUTPUTS = (
    "nobody reads output",
    "nobody reads errors",
    "nobody reads",
    "output is closed",
    "errors are closed",
    "all is closed",
)
FULL = ("output is on a full disk", "all is on a full disk")


def end_of(process: "subprocess.Popen[bytes]", options: dict[str, Any]) -> tuple[int, str]:
    """The exit code, and what was written to standard error if that is read."""
    for descriptor in options.values():
        if isinstance(descriptor, int) and descriptor > 2:
            os.close(descriptor)
    _, errors = process.communicate(timeout=240)
    return process.returncode, (errors or b"").decode()


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", [*OUTPUTS[::-1], *FULL])
def test_whoever_reads_a_command_is_done(name: str, tmp_path: Path) -> None:
    """Libraries and child processes are spared, too: but for a full disk, which they meet."""
    options = outputs(name)
    others = "others too" if name in OUTPUTS else "alone"
    returncode, errors = end_of(python(SPEAKS, tmp_path / "table", others, **options), options)
    assert (tmp_path / "table").read_text() == "done", errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    # A reader who goes away has what it wanted. A disk that is full has lost what somebody wants.
    assert returncode == (2 if name in FULL else 0)
    assert ("error: not all output could be written" in errors) == (name == FULL[0])


@pytest.mark.parametrize("name", ["nobody reads", "errors are closed", FULL[1]])
def test_without_it_a_command_is_not_done(name: str, tmp_path: Path) -> None:
    """So that the test above would find it out."""
    options = outputs(name)
    code = SPEAKS.replace("    run(command)", "    command()")
    returncode, _ = end_of(python(code, tmp_path / "table", "alone", **options), options)
    assert returncode != 0
    assert not (tmp_path / "table").exists()


def test_a_reader_that_reads_on_gets_everything() -> None:
    """Also through a pipe that does not wait for the reader."""
    code = """
        import os
        from continual_arcade.scripts.cli import run
        os.set_blocking(1, False)
        run(lambda: print(*["x" * 99] * 20_000, sep="\\n"))
    """
    process = python(code, stdout=subprocess.PIPE)
    time.sleep(0.5)  # so that the pipe is full
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output == (b"x" * 99 + b"\n") * 20_000


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_ends_nothing(encoding: str) -> None:
    """Names of files are printed byte by byte as they are; the euro by its number if need be."""
    code = r"""
        from continual_arcade.scripts.cli import run
        run(lambda: print("a\u00b1\u20ac \udcff"))
    """
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    process = python(code, stdout=subprocess.PIPE, env=environment)
    output, _ = process.communicate(timeout=60)
    expected = {
        "ascii": rb"a\xb1\u20ac " + b"\xff",
        "latin-1": b"a\xb1" + rb"\u20ac " + b"\xff",
        "utf-8": "a±€ ".encode() + b"\xff",
    }
    assert process.returncode == 0
    assert output == expected[encoding] + b"\n"


def heeds_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


WAITS = """
    import sys, time
    from continual_arcade.scripts.cli import run
    def command():
        try:
            open(sys.argv[1], "w").close()
            for _ in range(int(100 * float(sys.argv[2]))):
                time.sleep(0.01)  # a signal just before a sleep is heard when that is over
        finally:
            print("tidied up")
    run(command)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_with_a_line(number: signal.Signals, tmp_path: Path) -> None:
    process = python(
        WAITS,
        *(tmp_path / "begun", 60),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=heeds_signals,
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert output == b"tidied up\n"
    assert errors == b"interrupted; what was written so far is intact\n"


def test_signals_that_are_ignored_stay_so(tmp_path: Path) -> None:
    """As under nohup, or in the background of a script."""
    process = python(
        WAITS,
        *(tmp_path / "begun", 1),
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None,
    )
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (0, b"tidied up\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("[red]x[/red] = 3 is odd"), "error: [red]x[/red] = 3 is odd\n"),
        (RuntimeError("no"), "error: no\n"),
        (MemoryError("Unable to allocate 60 GiB"), "or hidden layers; or a larger machine\n"),
        (FileNotFoundError("no file"), "error: no file\n"),
        (FileNotFoundError(2, "No such file", "a.json"), "error: a.json: No such file\n"),
        (OSError(28, "No space left on device"), "What was written before is intact.\n"),
        (FileExistsError(17, "File exists", "a"), "is, or lies in, a file: choose another\n"),
        (KeyboardInterrupt(), "interrupted; what was written so far is intact\n"),
    ],
)
def test_how_a_command_ends(error: BaseException, said: str, capsys: Any) -> None:
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        cli.run(command)
    assert end.value.code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert capsys.readouterr().err.endswith(said)


def test_an_interruption_says_how_to_resume(capsys: Any) -> None:
    def command() -> None:
        interrupt = KeyboardInterrupt()
        interrupt.add_note("to resume: ...")
        raise interrupt

    with pytest.raises(SystemExit, match="130"):
        cli.run(command)
    assert capsys.readouterr().err.endswith("is intact; to resume: ...\n")


def test_a_fault_of_ours_is_no_message() -> None:
    def command() -> None:
        raise TypeError("a fault")

    with pytest.raises(TypeError, match="a fault"):
        cli.run(command)


def test_nothing_stays_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams and signals are as before, also where somebody else looks after the streams."""
    mine = io.StringIO()
    monkeypatch.setattr(sys, "stdout", mine)
    before = sys.stderr, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    seen: list[Any] = []
    cli.run(lambda: seen.extend([sys.stdout, signal.getsignal(signal.SIGTERM), print("x")]))
    assert seen[0] is mine
    assert mine.getvalue() == "x\n"
    assert seen[1] is not before[1]
    assert sys.stdout is mine
    assert (sys.stderr, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


LOADED = (
    # What is loaded to read the arguments of commands, and refuse them.
    (("demo", "evaluate", "play", "report", "schedule", "study"), ()),
    (("references", "scenario", "train"), ("pandas",)),
    (("watch",), ("pandas", "pygame")),
    # Beyond that, what is loaded to work without an agent.
    (("compare",), ("pandas", "pygame", "scipy.optimize")),
    (("reporting",), ("jinja2", "matplotlib", "pandas", "plotly", "pygame", "scipy.optimize")),
)
"""Modules of ``scripts``, and which of the libraries that take their time may be there then."""
ONE_AFTER_THE_OTHER = """
import io, sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module

SLOW = {"jinja2", "joblib", "matplotlib", "optuna", "pandas", "plotly", "pygame", "ray",
        "scipy.optimize", "scipy.stats", "stable_baselines3", "torch"}
for name, *allowed in map(str.split, sys.argv[1:]):
    module = import_module(f"continual_arcade.scripts.{name}")
    if main := getattr(module, "main", None):
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
                main(["--no-such-option"])
        except SystemExit as end:
            assert end.code == 2, (name, said.getvalue())
    there = SLOW & sys.modules.keys()
    if not there <= {*allowed}:
        print(name, *sorted(there - {*allowed}))
"""


def loaded(allowed: Iterable[tuple[Iterable[str], Iterable[str]]]) -> list[str]:
    """Which of the modules load more than they may."""
    rows = [" ".join([name, *libraries]) for names, libraries in allowed for name in names]
    done = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER, *rows], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_who_mistypes_an_argument_waits_for_no_library() -> None:
    """PyTorch takes seconds to load, in which nothing could be said."""
    assert loaded(LOADED) == []


@pytest.mark.slow  # loads PyTorch
def test_the_status_of_a_study_draws_nothing() -> None:
    allowed = ("joblib", "pandas", "scipy.optimize", "stable_baselines3", "torch")
    assert loaded([(("study_commands",), allowed)]) == []


def test_a_library_that_nobody_waits_for_is_found() -> None:
    assert loaded([(("schedule", "references"), ())]) == ["references pandas"]


# Real commands.

SCRIPTS = (
    "compare",
    "demo",
    "evaluate",
    "play",
    "references",
    "report",
    "schedule",
    "study",
    "train",
    "watch",
)
SHORT = [
    *("--schedule=conflict", "--phase-steps=400", "--eval-every=300", "--eval-episodes=2"),
    *("--eval-max-steps=60", "--dqn.learning-starts=100", "--dqn.hidden=16"),
]


def script(name: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"continual_arcade.scripts.{name}", *map(str, arguments)]


@pytest.mark.slow  # ten processes that load PyTorch, for each
@pytest.mark.parametrize("name", ["nobody reads output", "all is closed", FULL[0]])
@pytest.mark.parametrize("command", SCRIPTS)
def test_help_ends_quietly(command: str, name: str) -> None:
    options = outputs(name)
    process = subprocess.Popen(script(command, "--help"), **options)
    returncode, errors = end_of(process, options)
    assert "Traceback" not in errors
    assert "ignored" not in errors
    assert returncode == (2 if name in FULL else 0)


def one_run(root: Path) -> Path:
    (path,) = root.iterdir()
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(script("train", *SHORT, "--out", root), check=True, stdout=subprocess.DEVNULL)
    return one_run(root)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OUTPUTS, *FULL])
def test_training_is_not_harmed(name: str, undisturbed: Path, tmp_path: Path) -> None:
    """The same numbers, all files, and nothing that was meant for a stream in one of them."""
    options = outputs(name)
    process = subprocess.Popen(script("train", *SHORT, "--out", tmp_path / "runs"), **options)
    returncode, errors = end_of(process, options)
    assert returncode == (2 if name in FULL else 0), errors
    run = one_run(tmp_path / "runs")
    assert {p.name for p in run.rglob("*")} == {p.name for p in undisturbed.rglob("*")}
    found, expected = (read(path / "evaluations.csv") for path in (run, undisturbed))
    assert found.drop(columns="run").equals(expected.drop(columns="run"))
    progress, before = ((path / "progress.csv").read_text() for path in (run, undisturbed))
    assert progress.count("\n") == before.count("\n")


@pytest.mark.slow
def test_a_study_is_not_harmed(tmp_path: Path) -> None:
    """Nor are its workers, which are processes of their own."""
    write(tmp_path / "small.toml")
    options = outputs("nobody reads")
    command = script("study", "run", tmp_path / "small.toml", "--out", tmp_path, "--jobs=2")
    returncode, _ = end_of(subprocess.Popen(command, **options), options)
    assert returncode == 0
    assert set(StudyFolder.open(tmp_path / "small").states().values()) == {"finished"}


@pytest.mark.slow
def test_training_on_a_terminal_goes_on_when_the_terminal_is_closed(
    undisturbed: Path, tmp_path: Path
) -> None:
    """SIGHUP is ignored, as a shell does for what it has disowned; writing fails from then on."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        script("train", *SHORT, "--out", tmp_path / "runs"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "40"},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None,
    )
    os.close(slave)
    said = b""
    while b"engine" not in said:
        said += os.read(master, 1000)
    os.close(master)
    assert process.wait(120) == 0
    found, expected = (
        read(path / "evaluations.csv").drop(columns="run")
        for path in (one_run(tmp_path / "runs"), undisturbed)
    )
    assert found.equals(expected)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_interrupted_says_how_to_resume(
    number: signal.Signals, undisturbed: Path, tmp_path: Path
) -> None:
    assert undisturbed.is_dir()  # so that all is compiled
    long = [argument for argument in SHORT if not argument.startswith("--phase-steps")]
    process = subprocess.Popen(
        script("train", *long, "--phase-steps=1000000", "--out", tmp_path / "two words"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeds_signals,
    )
    assert process.stdout is not None
    while "step " not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    run = one_run(tmp_path / "two words")
    assert process.returncode == 128 + number
    command = f"python -m continual_arcade.scripts.train --resume '{run}'"
    assert errors == (f"interrupted; what was written so far is intact; to resume: {command}\n")
    read(run / "evaluations.csv")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "study"])
def test_ctrl_c_on_a_terminal_reaches_the_workers_too(
    command: str, undisturbed: Path, tmp_path: Path
) -> None:
    """Who say nothing."""
    write(tmp_path / "long.toml", phase_steps=40_000, seeds="0..9", evaluation={"every": 400})
    arguments = {
        "evaluate": (undisturbed, "--episodes=20000", "--max-steps=100000", "--jobs=2"),
        "study": ("run", tmp_path / "long.toml", "--out", tmp_path, "--jobs=2"),
    }
    process = subprocess.Popen(
        script(command, *arguments[command]),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heeds_signals,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    # Two workers, and the process that watches over their resources; and what they read first.
    while len(children.read_text().split()) < 3 or not (command == "evaluate" or begun(tmp_path)):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (
        130,
        "interrupted; what was written so far is intact\n",
    )


def begun(root: Path) -> bool:
    return len(list(root.rglob("evaluations.csv"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("command", SCRIPTS)
def test_ctrl_c_while_a_command_loads_shows_no_traceback(command: str) -> None:
    """Python says what it has imported; tyro is the first of many libraries."""
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", *script(command, "--help")[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heeds_signals,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.endswith("| tyro\n"):
                break
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read()
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)
    assert "Traceback" not in errors
    assert "interrupted" in errors


def on_a_terminal(command: Sequence[str], columns: int, **environment: str) -> str:
    """What a command writes to a terminal of some width."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "COLUMNS": str(columns), **environment},
    )
    os.close(slave)
    said = b""
    try:
        while chunk := os.read(master, 65_536):
            said += chunk
    except OSError:  # so Linux says that nobody writes any more
        pass
    os.close(master)
    assert process.wait(120) == 0, said
    return said.decode()


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_terminals_of_any_kind(columns: int, undisturbed: Path) -> None:
    """No colour where none is wanted, and all that there is to see."""
    command = script("compare", undisturbed)
    plain = {"NO_COLOR": "1"}, {"TERM": "dumb"}
    for environment in plain:
        said = on_a_terminal(command, columns, **environment)
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", said)
        assert re.search(r"upside\s+down", said)
        assert all(len(line) <= columns for line in said.splitlines() if line.startswith("│"))
        for heading in ("phase", "played", "learnt", "end", "change"):
            assert heading in said
    said = on_a_terminal(script("schedule", "--help"), columns, NO_COLOR="1")
    assert "--phase-steps" in said
