"""A study on the disk: what is known of each run, who is at it, and what was changed."""

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cut_off import cuts
from full_disks import files_of_at_most
from holders import held
from small_studies import run, small, tables, write

from continual_arcade.studies.folder import StudyFolder, count
from continual_arcade.studies.running import to_do
from continual_arcade.studies.work import Outcome, digest

ABOUT = {"python": "3", "versions": {}}


def begun(tmp_path: Path, **changes: Any) -> StudyFolder:
    folder = StudyFolder(tmp_path / "small")
    with folder.lock.hold():
        folder.begin(small(tmp_path, **changes), ABOUT)
    return folder


@pytest.fixture(scope="module")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two runs, to its end."""
    root = tmp_path_factory.mktemp("finished_study")
    run("run", write(root / "small.toml"), "--out", root, "--jobs=1")
    return root


@pytest.fixture
def copy(finished_study: Path, tmp_path: Path) -> StudyFolder:
    shutil.copytree(finished_study / "small", tmp_path / "small")
    return StudyFolder.open(tmp_path / "small")


NAMES = ["FlappyBird-conflict__finetune__0", "FlappyBird-conflict__finetune__1"]


def test_where_each_run_stands(tmp_path: Path) -> None:
    folder = begun(tmp_path, seeds="0..5")
    names = [cell.name for cell in folder.cells]
    for name in names[1:4]:
        (folder.path / "runs" / name).mkdir()
    (folder.path / "runs" / names[2] / "finished.json").touch()
    (folder.path / "runs" / names[3] / "finished.json").touch()
    folder.note(
        Outcome(names[3], "finished", 1.0, "here", "d"),
        Outcome(names[4], "finished", 1.0, "here", "d"),
        Outcome(names[5], "failed", 0.0, "here", "", 'it said "no",\nand  again: no'),
    )
    states = ["waiting", "begun", "finished", "finished", "missing", "failed"]
    assert folder.states() == dict(zip(names, states, strict=True))
    assert count(folder.states())["finished"] == 2
    assert folder.done()[names[5]].reason == 'it said "no", and again: no'
    with pytest.raises(ValueError, match=f"1 runs that were finished are missing: {names[4]}. Put"):
        to_do(folder)
    left = [cell.name for cell in to_do(folder, remake=True)]
    assert left == [names[0], names[1], names[4], names[5]]


def blind(folder: StudyFolder) -> list[str]:
    """A wrong look at what is to be done: it forgets what was finished before."""
    return [cell.name for cell in folder.cells if not (folder.place(cell) / "config.json").exists()]


def test_to_live_what_is_gone_without_a_word_would_be_found_out(copy: StudyFolder) -> None:
    shutil.rmtree(copy.path / "runs" / NAMES[0])
    assert blind(copy) == [NAMES[0]]
    with pytest.raises(ValueError, match="are missing"):
        to_do(copy)


def test_what_was_written_last_of_a_run_counts(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    folder.note(Outcome(NAMES[0], "finished", 1.0, "here", "one"))
    folder.note(Outcome(NAMES[0], "failed", 0.0, "here", "", "no"))
    assert folder.done()[NAMES[0]].state == "failed"
    folder.note(Outcome(NAMES[0], "finished", 2.0, "here", "two"))
    assert folder.done()[NAMES[0]].digest == "two"


def test_runs_that_nobody_wrote_down_are_taken_up_once(copy: StudyFolder) -> None:
    before = copy.done()
    copy.ledger.unlink()
    copy.take_up()
    copy.take_up()
    assert len(copy.ledger.read_text().splitlines()) == 3
    after = copy.done()
    assert {name: replace(done, utc="") for name, done in after.items()} == {
        name: replace(done, utc="") for name, done in before.items()
    }
    # And from then on it is known if they are lost.
    shutil.rmtree(copy.path / "runs" / NAMES[1])
    assert copy.states()[NAMES[1]] == "missing"


def test_a_finished_run_of_other_settings_is_not_taken_for_this_one(
    copy: StudyFolder, tmp_path: Path
) -> None:
    copy.ledger.unlink()
    copy.plan.unlink()
    other = StudyFolder(copy.path)
    other.begin(small(tmp_path, settings={"gamma": 0.5}), ABOUT)
    with pytest.raises(
        ValueError, match=rf"{NAMES[0]} holds another run, .* has another settings; move it away"
    ):
        other.take_up()
    with pytest.raises(ValueError, match="holds another run"):
        other.check_unchanged(other.cells[0], other.done())


def test_how_often_the_state_is_kept_is_no_other_run(copy: StudyFolder, tmp_path: Path) -> None:
    copy.ledger.unlink()
    copy.plan.unlink()
    other = StudyFolder(copy.path)
    other.begin(small(tmp_path, save_every=33), ABOUT)
    other.take_up()
    assert set(other.states().values()) == {"finished"}


def test_a_table_that_was_changed_is_found_out(copy: StudyFolder) -> None:
    for known in (copy.done(), {}):
        for cell in copy.cells:
            copy.check_unchanged(cell, known)
    table = copy.place(copy.cells[0]) / "evaluations.csv"
    content = table.read_bytes()
    for damage in (content[:-1], content.replace(b"0", b"1", 1), b"", None):
        if damage is None:
            table.unlink()
        else:
            table.write_bytes(damage)
        for known in (copy.done(), {}):
            with pytest.raises(ValueError, match=f"{re.escape(str(table))} is not what it was"):
                copy.check_unchanged(copy.cells[0], known)
    table.write_bytes(content)
    copy.check_unchanged(copy.cells[0], copy.done())


def test_a_digest_of_sizes_alone_would_be_found_out(
    copy: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_size(path: Path) -> str:
        return str(path.stat().st_size)

    table = copy.place(copy.cells[0]) / "evaluations.csv"
    right, wrong = digest(table), of_size(table)
    table.write_bytes(table.read_bytes().replace(b"0", b"1", 1))
    assert (digest(table) == right, of_size(table) == wrong) == (False, True)


# More of a study.


def grown(copy: StudyFolder, tmp_path: Path, **changes: Any) -> tuple[StudyFolder, list[str]]:
    return copy.extend(small(tmp_path, **changes), ABOUT)


def test_more_is_taken_in_and_what_was_there_stays(copy: StudyFolder, tmp_path: Path) -> None:
    before = [cell.name for cell in copy.cells]
    more: dict[str, Any] = {
        "seeds": "0..2",
        "references": ["experts"],
        # Names with dots are names.
        "methods": {"finetune": {}, "ewc.2": {"preset": "finetune", "parts": ["ewc:lam=2"]}},
        "schedules": [{"use": "shrink", "name": "a.b"}, "conflict"],
    }
    now, new = grown(copy, tmp_path, **more)
    assert new == [
        "seeds: [2]",
        "references: ['experts']",
        "worlds: FlappyBird-a.b",
        "methods: ewc.2",
    ]
    assert set(before) < {cell.name for cell in now.cells}
    assert len(now.about) == 2
    again, new = grown(now, tmp_path, **more)
    assert new == []
    assert len(again.about) == 2
    assert [cell.name for cell in again.cells] == [cell.name for cell in now.cells]


def test_a_schedule_that_comes_first_in_the_file_takes_no_expert_away(tmp_path: Path) -> None:
    folder = begun(tmp_path, references=["experts"], schedules=["shrink"])
    before = {cell.name for cell in folder.cells}
    # They share phases, whose experts are named after the first that wants them.
    more = small(tmp_path, references=["experts"], schedules=["grow", "shrink"])
    now, _ = folder.extend(more, ABOUT)
    assert before < {cell.name for cell in now.cells}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": "1..2"}, "seeds: [0] are missing"),
        ({"methods": {"finetune": {"settings": {"n_steps": 2}}}}, "n_steps: 3 before, 2 now"),
        ({"settings": {"gamma": 0.5}}, "settings.gamma: 0.99 before, 0.5 now"),
        ({"evaluation": {"episodes": 3}}, "evaluation.episodes: 1 before, 3 now"),
        ({"phase_steps": 81}, "phases[0].steps: 80 before, 81 now"),
        ({"save_every": 0}, "save_every: 60 before, 0 now"),
        ({"schedules": ["shrink"]}, "worlds.FlappyBird-conflict: missing"),
        ({"name": "other"}, "name: small before, other now"),
    ],
)
def test_what_is_changed_is_not_taken_in(
    changes: dict[str, Any], message: str, copy: StudyFolder, tmp_path: Path
) -> None:
    plan = copy.plan.read_bytes()
    for act in (copy.extend, copy.begin):
        with pytest.raises(ValueError, match="begun as another one") as refused:
            act(small(tmp_path, **{"seeds": "0..2", **changes}), ABOUT)
        if act == copy.extend or "seeds" not in changes:
            assert message in str(refused.value)
    assert copy.plan.read_bytes() == plan


def test_methods_that_are_missing_are_no_addition(tmp_path: Path) -> None:
    folder = begun(tmp_path, methods={"finetune": {}, "ewc": {}})
    with pytest.raises(ValueError, match=r"methods\.ewc: missing"):
        folder.extend(small(tmp_path, methods={"finetune": {}}), ABOUT)


def test_another_text_about_it_is_no_other_study(copy: StudyFolder, tmp_path: Path) -> None:
    copy.begin(small(tmp_path, about="a better text"), ABOUT)
    assert grown(copy, tmp_path, about="a better text")[1] == []


# Damage.


@pytest.mark.parametrize(
    "content",
    [b"{", b"{}", b'{"study": 3, "made": []}', b"\xff\xfe", b'{"study": {}, "made": []}'],
)
def test_a_damaged_plan_is_named(content: bytes, copy: StudyFolder) -> None:
    copy.plan.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"study\.json( is damaged|: a study of format)"
    ) as refused:
        _ = copy.study
    assert str(copy.plan) in str(refused.value)


@pytest.mark.parametrize("apart", [13, pytest.param(1, marks=pytest.mark.slow)])
def test_a_ledger_cut_at_any_byte_mends_itself(apart: int, copy: StudyFolder) -> None:
    finished = copy.done()
    copy.ledger.write_bytes(b"".join(copy.ledger.read_bytes().splitlines(keepends=True)[:2]))
    copy.note(Outcome(NAMES[1], "failed", 0.0, "here", "", 'it said "no", twice'))
    whole = copy.ledger.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in cuts(whole, apart)[:-1]:
        copy.ledger.write_bytes(whole[:cut])
        if cut % 26 == 0 or apart == 1:
            # To look at it changes nothing, and no run is taken for another than it is.
            assert set(copy.states().values()) == {"finished"}
            assert copy.ledger.read_bytes() == whole[:cut]
        # Whoever resumes it keeps all whole lines, and learns from the runs what the others said.
        copy.take_up()
        there = max(1, whole[:cut].count(b"\n"))
        assert copy.ledger.read_bytes().startswith(b"".join(lines[:there]))
        again = {name: replace(done, utc=finished[name].utc) for name, done in copy.done().items()}
        assert again == finished


def test_the_first_line_of_a_ledger_on_a_full_disk(copy: StudyFolder) -> None:
    copy.ledger.unlink()
    for room in (0, 1, 40, 100):
        with files_of_at_most(room), pytest.raises(OSError, match=r"File too large: .*ledger\.csv"):
            copy.take_up()
        assert copy.done() == {}
    copy.take_up()
    assert set(copy.done()) == set(NAMES)
    # A ledger that was left empty by an older version is none.
    copy.ledger.write_bytes(b"")
    copy.take_up()
    assert set(copy.done()) == set(NAMES)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda lines: [*lines[:2], lines[2][:-90] + "\n"],
            "is damaged in line 3: a value is miss",
        ),
        (
            lambda lines: [lines[0], lines[1].replace(",finished,", ",finished,x"), lines[2]],
            "line 2",
        ),
        (lambda lines: [lines[0], lines[1], "a,b,c,d,e,f,g,h,i\n", lines[2]], "line 3"),
        (lambda lines: lines[1:], "has the columns .*; a ledger has run, state"),
    ],
)
def test_a_damaged_ledger_is_named_with_the_way_out(
    damage: Any, message: str, copy: StudyFolder
) -> None:
    lines = copy.ledger.read_text().splitlines(keepends=True)
    copy.ledger.write_text("".join(damage(lines)))
    with pytest.raises(ValueError, match=f"{re.escape(str(copy.ledger))}.*{message}") as refused:
        copy.states()
    assert "Remove that line, or the whole ledger if its first line is wrong" in str(refused.value)
    # And that is a way out.
    copy.ledger.unlink()
    copy.take_up()
    assert set(copy.done()) == set(NAMES)


def test_a_damaged_mark_is_named_with_the_way_out(copy: StudyFolder) -> None:
    mark = copy.place(copy.cells[0]) / "finished.json"
    for text in (mark.read_text()[:-9], "{}", "[]", '{"state": "finished"}'):
        mark.write_text(text)
        copy.ledger.unlink(missing_ok=True)
        with pytest.raises(ValueError, match=r"finished.json is damaged: remove it"):
            copy.take_up()


def test_a_folder_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"is no study: it has no study\.json"):
        StudyFolder.open(tmp_path)


def test_other_versions_are_refused_by_name(copy: StudyFolder) -> None:
    copy.check_versions()
    data = json.loads(copy.plan.read_text())
    data["made"][0]["versions"]["torch"] = "1.0"
    data["made"][0]["python"] = "2.7"
    copy.plan.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"python 3\.\S+ instead of 2.7; torch \S+ instead of 1.0"):
        StudyFolder.open(copy.path).check_versions()


# One process at a time.


def test_the_second_process_learns_who_runs_it(copy: StudyFolder, finished_study: Path) -> None:
    before = tables(copy.path)
    with held(copy.path) as process:
        message = rf"another process is at work in .*small: process {process.pid} on "
        with pytest.raises(RuntimeError, match=message), copy.lock.hold():
            pass
        for command in (["resume", copy.path], ["run", finished_study / "small.toml", "--out"]):
            arguments = [*command, *([copy.path.parent] if "--out" in command else [])]
            with pytest.raises(AssertionError, match="another process is at work"):
                run(*arguments, "--jobs=1")
        # To look is free.
        assert "2 runs" in run("status", copy.path)
        # However it ends, it holds nothing any more.
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        # A lock that is a mere file would be there still.
        assert (copy.path / ".lock").exists()
        with copy.lock.hold():
            pass
    assert tables(copy.path) == before
