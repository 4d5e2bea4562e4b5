"""Reports of real runs: written whole, never over different protocols, seen in a browser."""

import base64
import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from films import frames
from published import paths_in, paths_under
from undrawn import without_drawing
from watched_pages import drawn

from continual_arcade.scripts import report, train
from continual_arcade.scripts.films import why_not_filmed

pytestmark = pytest.mark.usefixtures("undrawn")

SHORT = [
    "--no-progress",
    *("--dqn.hidden", "16", "--dqn.learning-starts", "100", "--save-every", "0"),
    *("--eval-every", "0", "--eval-at-end", "2", "--eval-spacing", "100"),
    *("--eval-episodes", "2", "--eval-max-steps", "60"),
]


def trained(root: Path, *arguments: str) -> list[Path]:
    before = set(root.iterdir()) if root.exists() else set()
    if "--schedule" not in arguments:
        arguments = ("--schedule", "conflict", "--phase-steps", "400", *arguments)
    train.main([*SHORT, *arguments, "--out", str(root)])
    return sorted(set(root.iterdir()) - before)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    return [
        path
        for method in ("finetune", "ewc")
        for seed in ("0", "1")
        for path in trained(root, "--method", method, "--seed", seed)
    ]


@pytest.fixture(scope="module")
def page(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "report.html"
    with without_drawing():
        report.main([*map(str, runs), "-o", str(out), "--film-seconds", "0.2"])
    return out


def fails(capsys: Any, *arguments: str | Path) -> str:
    with pytest.raises(SystemExit) as error:
        report.main([str(argument) for argument in arguments])
    assert error.value.code == 2
    return str(capsys.readouterr().err)


def test_everything_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for heading in (
        "Verdict",
        "Warnings",
        "Summary",
        "Paired differences from finetune",
        "Forgetting",
        "Films",
        "Learning curves per phase",
        "Interference",
        "Performance profiles",
        "Replay memory",
        "Plasticity",
        "All metrics",
        "Provenance",
    ):
        assert f">{heading}</h2>" in text, heading
    assert page.stat().st_size < 15e6
    folder = page.with_name("report_files")
    for name in ("summary.csv", "summary.tex", "matrix.png", "matrix.svg", "lifetimes.csv"):
        assert (folder / name).stat().st_size > 100, name


def test_it_says_what_was_run_and_not_where(page: Path) -> None:
    with (page.with_name("report_files") / "runs.csv").open(encoding="utf-8") as file:
        commands = [row["command"] for row in csv.DictReader(file)]
    assert len(commands) == 4
    words = "--schedule conflict --phase-steps 400 --method finetune --seed 0"
    assert commands[0] == f"python -m continual_arcade.scripts.train {' '.join(SHORT)} {words}"
    assert paths_under(page.parent) == {}


def test_films_lie_as_the_cells_of_the_matrix_do(page: Path) -> None:
    """Rows are played, columns were trained in; one table for each method."""
    said = re.findall(r'<video[^>]* aria-label="([^"]*)"', page.read_text("utf-8"))
    phases = ("normal", "upside down", "light")
    assert [each.partition(": ")[0] for each in said] == [
        f"{method}, {'before training' if after == 'before' else f'after {after}'}, plays {played}"
        for method in ("finetune", "ewc")
        for played in phases
        for after in ("before", *phases)
    ]


@pytest.mark.slow  # pages and reports in a browser: tests/reports
def test_the_page_works_in_a_browser(page: Path, open_page: Any) -> None:
    watched = open_page(page.read_text("utf-8"))
    shown = watched.page
    films = shown.locator("video")
    assert films.count() == 2 * 4 * 3  # methods, stages, phases
    films.first.scroll_into_view_if_needed()
    shown.wait_for_function("() => document.querySelector('video').currentTime > 0")
    for name in ("finetune", "ewc"):
        assert shown.get_by_role("checkbox", name=name).is_checked()
    for plot in shown.locator(".plot").all():
        drawn(plot)
    # The films lie as the cells of the matrix do: rows are played, columns were trained in.
    table = shown.locator("#films-0 table")
    heads = table.locator("thead th").all_text_contents()
    assert heads == [
        "phase played",
        "after training in",
        "before",
        "normal",
        "upside down",
        "light",
    ]
    assert table.locator("tbody th").all_text_contents() == ["normal", "upside down", "light"]
    last = table.locator("tbody tr").nth(0).locator("video").last.get_attribute("aria-label")
    assert last is not None
    assert re.match(r"finetune, after light, plays normal: ", last)


@pytest.mark.slow
def test_the_same_runs_make_the_same_page(runs: list[Path], page: Path, tmp_path: Path) -> None:
    again = tmp_path / "report.html"
    report.main([*map(str, runs), "-o", str(again), "--film-seconds", "0.2"])
    assert again.read_bytes() == page.read_bytes()


@pytest.mark.slow
def test_protocols_are_not_mixed_unless_asked_for(
    runs: list[Path], tmp_path: Path, capsys: Any
) -> None:
    (other,) = trained(tmp_path / "runs", "--seed", "0", "--eval-max-steps", "50")
    out = tmp_path / "report.html"
    message = fails(capsys, *runs, other, "-o", out)
    assert "runs of different protocols" in message
    assert "evaluation.max_steps: 60 and 50" in message
    assert "--mixed" in message
    assert not out.exists()
    report.main([*map(str, runs), str(other), "-o", str(out), "--mixed", "--film-seconds", "0"])
    text = out.read_text("utf-8")
    assert "Runs of different protocols are on this page" in text
    assert "evaluation.max_steps: 60 and 50" in text


@pytest.mark.slow
def test_runs_that_say_nothing_are_named_in_the_page(
    runs: list[Path], tmp_path: Path, capsys: Any
) -> None:
    damaged, unfinished = tmp_path / "damaged", tmp_path / "unfinished"
    shutil.copytree(runs[0], damaged)
    shutil.copytree(runs[1], unfinished)
    (damaged / "diagnostics.csv").write_text("half of")
    table = unfinished / "evaluations.csv"
    rows = table.read_text().splitlines(keepends=True)
    # Two cells of the evaluation that is being written are there.
    table.write_text("".join(rows[: 1 + 3 * 2 * 3 + 4]))
    (unfinished / "diagnostics.csv").unlink()
    out = tmp_path / "report.html"
    given = [str(path) for path in (*runs, damaged, unfinished)]
    with pytest.raises(SystemExit, match=r"^1$"):
        report.main([*given, "-o", str(out), "--film-seconds", "0"])
    said = "".join(capsys.readouterr().out.split())  # lines are broken anywhere
    text = out.read_text("utf-8")
    for reason in ("has the columns half of", "the run reached step"):
        assert reason.replace(" ", "") in said
        assert reason in text
    assert "Excluded: 2 runs" in text
    assert "damaged/diagnostics.csv" in text
    assert paths_in(text.encode()) == []
    nothing = tmp_path / "none.html"
    message = fails(capsys, damaged, "-o", nothing)
    assert "error: all runs were left out: there is nothing to report\n" in message
    message = fails(capsys, damaged, unfinished, "-o", nothing)
    assert "all runs were left out: there is nothing to report (--unfinished takes" in message
    message = fails(capsys, unfinished, "-o", nothing)
    assert "no run was trained to its end: there is nothing to report (--unfinished" in message


def test_a_baseline_of_nothing_is_left_out_and_named(
    runs: list[Path], tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "report.html"
    first, second, *_ = map(str, runs)
    with pytest.raises(SystemExit, match=r"^1$"):
        report.main([first, "--baselines", second, "-o", str(out), "--film-seconds", "0"])
    assert f"left out: {second}: a baseline of no phase of these runs" in capsys.readouterr().out
    assert "none: no phase of these runs" in out.read_text("utf-8")


@pytest.mark.slow
def test_phases_that_games_do_not_end_together_with(tmp_path: Path) -> None:
    """Eight games pass steps that were due, and one evaluation serves them: 300 and 302 at 304."""
    file = tmp_path / "file.toml"
    file.write_text(
        'format = 1\nname = "uneven"\n'
        + "".join(
            f"[[phases]]\nsteps = {steps}\nparams = {{ gap = {gap} }}\n"
            for steps, gap in ((402, 100), (60, 90), (251, 80))
        )
    )
    timing = ["--eval-every", "150", "--eval-at-end", "3", "--eval-spacing", "50"]
    (run,) = trained(tmp_path / "runs", "--schedule", str(file), *timing)
    out = tmp_path / "report.html"
    report.main([str(run), "-o", str(out), "--film-seconds", "0"])
    text = out.read_text("utf-8")
    assert "step 304" in text
    assert "step 408" in text


def test_one_run_alone_without_checkpoints_has_neither_differences_nor_films(
    runs: list[Path], tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(runs[0], bare, ignore=shutil.ignore_patterns("checkpoints"))
    out = tmp_path / "bare.html"
    report.main([str(bare), "-o", str(out)])
    text = out.read_text("utf-8")
    assert "<video" not in text
    assert ">Films</h2>" not in text
    assert "ifferences from" not in text


def test_an_agent_that_cannot_be_filmed_keeps_nobody_from_a_report(
    runs: list[Path], tmp_path: Path, capsys: Any
) -> None:
    damaged, out = tmp_path / "damaged", tmp_path / "damaged.html"
    shutil.copytree(runs[0], damaged)
    for path in (damaged / "checkpoints").glob("step_*.zip"):
        path.write_bytes(b"nothing")
    message = fails(capsys, damaged, "-o", out)
    assert "step_" in message
    assert "without films: --film-seconds 0" in message
    report.main([str(damaged), "-o", str(out), "--film-seconds", "0"])
    assert ">Films</h2>" not in out.read_text("utf-8")


def test_why_there_are_no_films_is_said() -> None:
    assert why_not_filmed("Catcher") == ""
    assert "is a stream of labelled examples" in why_not_filmed("AdditionFacts")
    assert "there is no game Gone here" in why_not_filmed("Gone")


def test_films_mark_what_the_choice_depends_on(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "seen.html"
    report.main([str(runs[0]), "-o", str(out), "--film-seconds", "0.2", "--saliency"])
    page = out.read_text("utf-8")
    assert "red is how much its choice depends on it" in page
    film = tmp_path / "film.mp4"
    coded = re.findall(r'data-film="([^"]+)"', page)
    assert len(coded) == 4 * 3  # stages, phases
    film.write_bytes(base64.b64decode(coded[0]))
    picture = frames(film)[0].astype(int)
    assert picture.shape[1] > 288  # beside the game
    red = (picture[..., 0] > picture[..., 1] + 60) & (picture[..., 0] > picture[..., 2] + 60)
    assert red[:, 300:].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no run is given"),
        (["nowhere"], "is no run"),
        (["RUN", "--film-seconds", "-1"], "film_seconds = -1"),
        (["RUN", "--film-seconds", "nan"], "film_seconds = nan"),
        (
            ["RUN", "--film-seconds", "0", "--saliency"],
            "film_seconds = 0 leaves them out: leave one out",
        ),
        (["RUN", "-o", "report.pdf"], "a report is an .html file"),
        (["RUN", "-o", "nowhere/report.html"], "there is no folder"),
        (["RUN", "--against", "mer"], "unknown method 'mer': known are finetune"),
        (["RUN", "--references", "nowhere.json"], "nowhere.json"),
        (["RUN", "--baselines", "nowhere"], "is no run"),
        (["RUN", "RUN"], "seed 0 is there twice"),
    ],
)
def test_mistakes(
    runs: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(runs[0]) if argument == "RUN" else argument for argument in arguments]
    assert message in fails(capsys, *given)
    assert list(tmp_path.iterdir()) == []


def test_a_page_of_somebody_else_is_kept(runs: list[Path], tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "mine.html"
    out.write_text("<p>mine</p>")
    assert "is kept" in fails(capsys, runs[0], "-o", out)
    assert out.read_text() == "<p>mine</p>"


@pytest.mark.slow
def test_single_phase_runs_are_the_baselines(runs: list[Path], tmp_path: Path, capsys: Any) -> None:
    alone = [
        path
        for phase in ("0", "1", "2")
        for path in trained(tmp_path / "alone", "--only-phase", phase, "--seed", "7")
    ]
    out = tmp_path / "report.html"
    baselines = [argument for path in alone for argument in ("--baselines", str(path))]
    report.main([*map(str, runs), *baselines, "-o", str(out), "--film-seconds", "0"])
    with (out.with_name("report_files") / "metrics.csv").open() as file:
        rows = {line.split(",")[0]: line for line in file}
    # Nothing is learnt in so short a run: what the ratio is, or why it is not, is another test.
    notes = out.read_text("utf-8")
    assert "needs runs of single phases" not in rows["relative-performance@l2m"]
    assert not re.search(r"relative-performance@l2m: [^<]*no single-phase run", notes)
    config = json.loads((alone[0] / "config.json").read_text())
    assert config["schedule"]["name"] == "conflict-0"
