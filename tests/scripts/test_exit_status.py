"""What a command ends with, as the documentation has it: each line of its table, tried."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from small_studies import SCENARIO, write
from small_studies import run as run_study
from tables import gaps, matrix_cells, write_run

from continual_arcade.agents import ContinualDQN
from continual_arcade.evaluation import EvaluationSettings, gather
from continual_arcade.reports.method_results import collect_results
from continual_arcade.scripts import (
    compare,
    evaluate,
    references,
    report,
    scenario,
    schedule,
    study,
    train,
    watch,
)
from continual_arcade.scripts.films import Films

pytestmark = pytest.mark.usefixtures("undrawn")

ROOT = Path(__file__).parents[2]
TWO = gaps(100, 90)
CELLS = matrix_cells(TWO, [[0, 0], [5, 1], [3, 8]])
PAGE = (ROOT / "docs" / "evaluation.md").read_text("utf-8").split("## Exit status")[1]
TABLE = {
    (command.strip("`"), outcome): int(status)
    for command, outcome, status in re.findall(r"^\| (.+?) \| (.+?) \| (\d+) \|$", PAGE, re.M)
}


def status(main: Callable[[list[str]], None], *arguments: object) -> int:
    """The status of a command that is run in this process."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(str(end.code))
    return 0


class Scene:
    """Runs and a study of one run, to do with them what one likes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.study = root / "small"
        (self.run,) = (self.study / "runs").glob("FlappyBird-*")

    def runs(self, *others: dict[str, Any]) -> list[Path]:
        """A run that is whole, and others."""
        return [
            write_run(self.root, TWO, CELLS, seed=seed, **options)
            for seed, options in enumerate([{}, *others])
        ]

    def checkpoint(self) -> Path:
        return sorted((self.run / "checkpoints").glob("step_*"))[1]

    def disturb(self, factor: float = -1.0) -> None:
        """Put other parameters into a checkpoint: nobody has evaluated this agent."""
        agent = ContinualDQN.load(self.checkpoint(), device="cpu")
        for parameter in agent.q_net.parameters():
            parameter.data.mul_(factor)
        agent.save(self.checkpoint())

    def cut_off(self) -> Path:
        """A run that did not come to its end."""
        return write_run(self.root, TWO, {key: CELLS[key] for key in list(CELLS)[:2]}, seed=7)

    def change_table(self) -> None:
        """Let a run of the study hold another result than it had."""
        table = self.run / "evaluations.csv"
        head, *lines = table.read_text().splitlines()
        values = dict(zip(head.split(","), lines[-1].split(","), strict=True))
        values["score"] = str(float(values["score"]) + 1)
        table.write_text("\n".join([head, *lines[:-1], ",".join(values.values())]) + "\n")

    def forget(self) -> None:
        """Let the study know that its run was finished, with another table, and have it missing."""
        ledger = self.study / "ledger.csv"
        text = ledger.read_text()
        ledger.write_text(re.sub(r"[0-9a-f]{64}", "0" * 64, text))
        shutil.rmtree(self.run)

    def spoil(self, name: str) -> None:
        (self.run / name).write_text("half of")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("study")
    file = write(root / "small.toml", seeds="0", evaluation={"max_steps": 120}, probes=True)
    run_study("run", file, "--out", root, "--jobs=1")
    return root


@pytest.fixture
def scene(made: Path, tmp_path: Path) -> Scene:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Scene(tmp_path)


OTHER = {"evaluation": EvaluationSettings(every=0, at_end=1, episodes=1, first_seed=9)}


def evaluated(scene: Scene, before: Callable[[], object] = lambda: None) -> int:
    before()
    return status(evaluate.main, scene.run, "--out", scene.root / "again")


def compared(*runs: Path) -> int:
    return status(compare.main, *runs)


def reported(scene: Scene, *arguments: object) -> int:
    page = scene.root / "page.html"
    found = status(report.main, *arguments, "-o", page, "--film-seconds", "0")
    assert page.exists() == (found != 2)  # what is done is done whatever there is to notice
    return found


def of_study(scene: Scene, command: str, *arguments: object, before: Any = lambda: None) -> int:
    before()
    return status(study.main, command, scene.study, *arguments)


def rerun(scene: Scene) -> int:
    scene.forget()
    return of_study(scene, "resume", "--jobs=1", "--remake")


def failing(scene: Scene) -> int:
    (scene.run / "finished.json").unlink()
    scene.spoil("config.json")
    return of_study(scene, "resume", "--jobs=1")


def unfinished(scene: Scene) -> None:
    (scene.run / "finished.json").unlink()


def exchanged(scene: Scene) -> None:
    shutil.copy(max((scene.run / "checkpoints").glob("step_*")), scene.checkpoint())


def interrupted(_: Scene) -> int:
    """A real process that gets a real signal, as soon as it is at work."""
    code = (
        "import signal, os\n"
        "from continual_arcade.scripts.cli import run\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "run(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert b"interrupted" in result.stderr
    return result.returncode


def film(scene: Scene, *players: object) -> int:
    return status(watch.main, *players, "--record", scene.root / "x.gif", "--seconds", "0.1")


def made_references(scene: Scene, before: str = "") -> int:
    out = scene.root / "references.json"
    if before:
        out.write_text(before)
    given = ["--game", "Catcher", "--schedule", "stationary", "--episodes", "2", "--max-steps", "9"]
    return status(references.main, *given, "--out", out)


def made_card(scene: Scene) -> int:
    file = scene.root / "tiny.toml"
    file.write_text(tomli_w.dumps(SCENARIO), "utf-8")
    options = ("--seeds", "0..1", "--methods", "finetune", "--jobs", "1", "--out", scene.root)
    return status(scenario.main, "card", file, *options)


def refused_cards(scene: Scene) -> int:
    (scene.root / "tiny.toml").write_text(tomli_w.dumps(SCENARIO), "utf-8")
    one_seed = status(scenario.main, "card", scene.root / "tiny.toml", "--seeds", "0")
    assert one_seed == status(scenario.main, "card", "no-such-one")
    return one_seed


def dry_run(scene: Scene, *options: object) -> int:
    return status(study.main, "run", scene.root / "small.toml", "--dry-run", *options)


SCENES: dict[tuple[str, str], Callable[[Scene], int]] = {
    ("evaluate", "every episode has the same result as in the run"): evaluated,
    ("evaluate", "episodes have different results"): lambda s: evaluated(s, s.disturb),
    ("evaluate", "a checkpoint is missing"): lambda s: evaluated(s, s.checkpoint().unlink),
    ("evaluate", "a checkpoint is damaged, or that of another run"): lambda s: evaluated(
        s, lambda: exchanged(s)
    ),
    ("compare", "all runs are in the tables"): lambda s: compared(*s.runs({})),
    ("compare", "runs were left out"): lambda s: compared(*s.runs(), s.cut_off()),
    ("compare", "runs are of different protocols"): lambda s: compared(*s.runs(OTHER)),
    ("report", "all runs are on the page"): lambda s: reported(s, *s.runs({})),
    ("report", "runs were left out"): lambda s: reported(s, *s.runs(), s.cut_off()),
    ("report", "runs are of different protocols"): lambda s: reported(s, *s.runs(OTHER)),
    ("report", "a baseline was left out"): lambda s: reported(
        s, *s.runs(), "--baselines", s.cut_off()
    ),
    ("study status", "all runs are finished"): lambda s: of_study(s, "status"),
    ("study status", "runs failed, are missing, or are still to be done"): lambda s: of_study(
        s, "status", before=lambda: unfinished(s)
    ),
    ("study run", "all runs are finished"): lambda s: of_study(s, "resume", "--jobs=1"),
    ("study run", "a run was re-run with a different result"): rerun,
    ("study run", "a run failed"): failing,
    ("study run --dry-run", "costs and power were printed, with a card or without one"): dry_run,
    ("study run --dry-run", "the difference that is wanted is not above 0"): lambda s: dry_run(
        s, "--difference", "0"
    ),
    ("study report", "all runs are on the page"): lambda s: of_study(s, "report"),
    ("study report", "runs are not finished"): lambda s: of_study(
        s, "report", before=lambda: unfinished(s)
    ),
    ("scenario card", "a property is missed, or was not measured"): made_card,
    ("scenario card", "there is no such scenario, or fewer than two seeds"): refused_cards,
    ("study verify", "every run was reproduced"): lambda s: of_study(s, "verify", "--jobs=1"),
    ("study verify", "a run was re-run with a different result"): lambda s: of_study(
        s, "verify", "--jobs=1", before=s.change_table
    ),
    ("study publish", "a run cannot be read"): lambda s: of_study(
        s, "publish", "--to", s.root / "to", before=lambda: s.spoil("costs.csv")
    ),
    ("schedule", "the schedule is as it should be"): lambda s: status(schedule.main, "shrink"),
    ("schedule", "the schedule has a mistake"): lambda s: status(schedule.main, "shrnk"),
    ("references", "the file was written"): made_references,
    ("references", "the file is damaged"): lambda s: made_references(s, "{"),
    ("watch", "the film was written"): lambda s: film(s, s.run),
    ("watch", "there is no such run"): lambda s: film(s, s.root / "none"),
    ("any", "a mistake in the arguments"): lambda s: status(compare.main, "--agianst", "x"),
    ("any", "Ctrl-C"): interrupted,
}


def test_every_line_of_the_table_is_tried() -> None:
    assert TABLE.keys() == SCENES.keys()
    assert set(TABLE.values()) == {0, 1, 2, 130}


ALSO_ELSEWHERE = {
    ("scenario card", "a property is missed, or was not measured"),  # test_card.py
    ("study run", "a run was re-run with a different result"),  # test_running.py
    ("study run", "a run failed"),
    ("study run --dry-run", "costs and power were printed, with a card or without one"),
    ("study verify", "every run was reproduced"),  # scripts/test_study.py
    ("study verify", "a run was re-run with a different result"),
}
"""How a quick test of the command itself has it end, too."""


@pytest.mark.parametrize(
    "key",
    [pytest.param(key, marks=pytest.mark.slow if key in ALSO_ELSEWHERE else ()) for key in SCENES],
    ids=" - ".join,
)
def test_a_command_ends_as_the_table_says(
    key: tuple[str, str], scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    assert SCENES[key](scene) == TABLE[key]
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    if TABLE[key] == 1:  # what there is to notice is printed
        assert captured.out + captured.err


def test_a_checkpoint_that_was_exchanged_is_not_blamed_on_versions(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.disturb()
    step = int(scene.checkpoint().stem.removeprefix("step_"))
    assert status(evaluate.main, scene.run, "--out", scene.root / "one") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"differ from those of the run: step {step} versions, commit and proc" in said
    assert "not the agents that were evaluated" in said
    config = json.loads((scene.run / "config.json").read_text())
    config["versions"]["torch"], config["machine"] = "1.0", "an abacus"
    (scene.run / "config.json").write_text(json.dumps(config))
    assert status(evaluate.main, scene.run, "--out", scene.root / "two") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(
        r"computed with torch \S+ instead of 1\.0; processor .* instead of an ab", said
    )
    assert "not the agents" not in said


def test_a_network_that_was_exchanged_is_found_out_though_it_plays_alike(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    scene.disturb(factor=1.001)  # its order of actions is the same
    assert status(evaluate.main, scene.run, "--out", scene.root / "again") == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "the network is not the one that was evaluated, by the norm of its weights: step" in said


@pytest.mark.parametrize(
    ("exchange", "message"),
    [
        (exchanged, r"it is no checkpoint of step 80: the agent was trained for 240 steps"),
        (
            lambda scene: edit(scene, "seed", 7),
            r"step_000000000000\.zip\): .* belongs to another run: it has seed 0 .* seed 7 and",
        ),
    ],
    ids=["step", "seed"],
)
def test_a_checkpoint_of_another_step_or_run_is_refused_by_name(
    exchange: Any, message: str, scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange(scene)
    assert status(evaluate.main, scene.run, "--out", scene.root / "again") == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (scene.root / "again").exists()


def edit(scene: Scene, name: str, value: Any) -> None:
    """Say in configuration and table that the run is another one."""
    path = scene.run / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    for file in ("evaluations", "diagnostics"):
        table = scene.run / f"{file}.csv"
        table.write_text(re.sub(r"(?m)^([^,]+__0),0,", rf"\1,{value},", table.read_text()))


def test_a_run_of_another_agent_is_refused_where_it_would_have_to_be_opened(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    path = scene.run / "config.json"
    config = {**json.loads(path.read_text()), "method_spec": None, "method": "ppo"}
    path.write_text(json.dumps(config))
    for main, arguments in (
        (evaluate.main, [scene.run]),
        (watch.main, [scene.run]),
        (train.main, ["--resume", scene.run]),
    ):
        assert status(main, *arguments) == 2  # type: ignore[arg-type]
        said = capsys.readouterr().err
        assert re.search(r"the agent of .*\(ppo\) is none of this suite's", said)
    assert compared(scene.run) == 0
    # Nor is it filmed for a report.
    (comparison,) = gather([scene.run]).comparisons
    assert Films(0.1).of(comparison, collect_results(comparison, None, {})) == []
