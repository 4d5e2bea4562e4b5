"""The reference of all phases at once: evaluated by the phases, resumed to the bit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_studies import small

from continual_arcade.agents import METHODS
from continual_arcade.agents.building import training_schedule
from continual_arcade.agents.methods import compose
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.runs import Run
from continual_arcade.studies.run_spec import RunSpec, Training

JOINT = METHODS["joint"]


def spec_of(tmp_path: Path) -> RunSpec:
    study = small(
        tmp_path, phase_steps=3_000, settings={"gradient_steps": 1, "learning_starts": 1_000}
    )
    (scenario,) = study.scenarios
    return replace(study.spec(scenario, study.entries[0], 0), method=JOINT, save_every=2_500)


def test_it_lives_in_turns_and_is_judged_by_the_phases(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    training = Training.prepare(spec, RunFolder(tmp_path / "run"))
    interleaved = training_schedule(JOINT, spec.schedule)
    assert len(interleaved) > len(spec.schedule)
    assert training.agent.phase_tracker.schedule == interleaved
    assert training_schedule(METHODS["finetune"], spec.schedule) == spec.schedule
    assert compose("joint", None, ["l2"]).interleaved
    # Nothing is forgotten from replay.
    assert training.agent.buffer_size >= spec.schedule.total_steps
    training.write({})
    training.train()
    run = Run.load(tmp_path / "run")
    assert run.protocol.schedule == spec.schedule
    assert run.table["eval_phase"].unique().tolist() == [0, 1, 2]
    assert run.table["lifetime_step"].unique().tolist() == [0, 3_000, 6_000, 9_000]


SAVE = RunFolder.save_checkpoint


def die_late(folder: RunFolder, step: int, write: Callable[[Path], object]) -> Path:
    if step > 4_000:
        raise KeyboardInterrupt
    return SAVE(folder, step, write)


def test_cut_off_it_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(tmp_path)
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
        training = Training.prepare(spec, RunFolder(tmp_path / name / "run"))
        training.write({})
        with monkeypatch.context() as patched:
            if name == "whole":
                training.train()
                continue
            patched.setattr(RunFolder, "save_checkpoint", die_late)
            with pytest.raises(KeyboardInterrupt):
                training.train()
        resumed = Training.resume(training.folder)
        assert resumed.agent.num_timesteps >= 2_500
        assert resumed.agent.phase_tracker.schedule == training_schedule(JOINT, spec.schedule)
        resumed.train()
    whole, broken = (RunFolder(tmp_path / name / "run") for name in ("whole", "broken"))
    assert whole.table.read_bytes() == broken.table.read_bytes()
    # A resumed run of the phases one after the other would be found out.
    other = Training.prepare(
        replace(spec, method=METHODS["perfect-memory"]), RunFolder(tmp_path / "o" / "run")
    )
    (tmp_path / "o").mkdir()
    other.write({})
    other.train()
    last = "checkpoints/step_000000009000.zip"
    assert (other.folder.path / last).read_bytes() != (whole.path / last).read_bytes()
