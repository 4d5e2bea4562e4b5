"""Settings are searched fairly: as many runs for each method, the same trials each time."""

import json
import math
import re
import shutil
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from holders import held
from small_studies import Dies, InTurn, changed, refused, run

from continual_arcade.evaluation.evaluator import MAX_STEPS
from continual_arcade.studies import tuning as tunings
from continual_arcade.studies.provenance import versions
from continual_arcade.studies.study import load as load_study
from continual_arcade.studies.tuning import Trial, Tuning, load, tune
from continual_arcade.studies.work import Job, Outcome

RATE = {"low": 1e-4, "high": 1e-2, "log": True, "first": 0.00031234}
METHODS: dict[str, Any] = {
    "finetune": {"settings": {"learning_rate": "{rate}"}, "search": {"rate": RATE}},
    "held": {
        "preset": "finetune",
        "parts": ["l2:lam={lam}"],
        "search": {"lam": {"low": 0, "high": 2, "first": 1}},
    },
}


def write(path: Path, **changes: Any) -> Path:
    given = {
        "methods": METHODS,
        "trials": 6,
        "seeds": "1000..1001",
        "save_every": 0,
        # As the references that come with the suite were played.
        "evaluation": {"max_steps": MAX_STEPS},
    }
    path.write_text(tomli_w.dumps(changed(**{**given, **changes})), "utf-8")
    return path


def tuning_of(tmp_path: Path, **changes: Any) -> Tuning:
    return load(write(tmp_path / "tuning.toml", **changes))


def searched(tuning: Tuning, out: Path, executor: Any = None) -> tuple[bytes, dict[str, Trial]]:
    best = tune(tuning, executor or InTurn(), out, versions(), lambda trial: None)
    return (out / "trials.csv").read_bytes(), best


@pytest.fixture
def by_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are worth what a rule says, so that there is something to be found."""

    def objective(outcome: Outcome, _: Path) -> float:
        return float(outcome.digest)

    monkeypatch.setattr(tunings, "_objective", objective)


@dataclass
class Rule:
    """Trains nothing: the nearer to some value, the better."""

    jobs: list[Job] = field(default_factory=list)

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        for job in reversed(list(jobs)):  # in no particular order
            self.jobs.append(job)
            rate = job.spec["settings"]["learning_rate"]
            parts = job.spec["method_spec"]["parts"]
            lam = float(parts[0].partition("=")[2]) if parts else 0.0
            value = -abs(math.log10(rate) + 3) - abs(lam - 0.5) - 0.01 * job.spec["seed"]
            yield Outcome(job.name, "finished", 1.0, "here", str(value))


@pytest.mark.usefixtures("by_rule")
def test_the_same_search_comes_to_the_same(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path, trials=12)
    one, best = searched(tuning, tmp_path / "one", Rule())
    other, again = searched(tuning, tmp_path / "other", Rule())
    assert (one, best) == (other, again)
    assert len(one.splitlines()) == 1 + 2 * 12
    # It finds what there is to be found, better than the first values.
    assert abs(json.loads(best["held"].values)["lam"] - 0.5) < 0.3


@pytest.mark.usefixtures("by_rule")
def test_one_more_method_changes_no_other(tmp_path: Path) -> None:
    alone, _ = searched(
        tuning_of(tmp_path, methods={"held": METHODS["held"]}), tmp_path / "one", Rule()
    )
    both, _ = searched(tuning_of(tmp_path), tmp_path / "other", Rule())
    assert set(alone.splitlines()) < set(both.splitlines())


@pytest.mark.usefixtures("by_rule")
def test_budgets_are_equal_and_the_first_trial_is_of_the_given_values(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path, schedules=["conflict", "shrink"])
    executor = Rule()
    searched(tuning, tmp_path / "out", executor)
    runs = [job.name for job in executor.jobs]
    assert len(set(runs)) == len(runs)
    for method in ("finetune", "held"):
        assert sum(f"__{method}-" in name for name in runs) == tuning.runs == 6 * 2 * 2
    first = {job.spec["method"]: job.spec for job in executor.jobs if re.search(r"-0__", job.name)}
    assert first["finetune"]["settings"]["learning_rate"] == 0.00031234
    assert first["held"]["method_spec"]["parts"] == ("l2:lam=1.0",)
    assert {job.spec["seed"] for job in executor.jobs} == {1000, 1001}
    rates = {job.spec["settings"]["learning_rate"] for job in executor.jobs}
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    # What is found is said in three digits.
    assert all(float(f"{rate:.3g}") == rate for rate in rates - {0.00031234})


def test_the_values_that_are_written_are_those_that_are_lived(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path, trials=3, methods={"finetune": METHODS["finetune"]}, seeds="1000")
    table, best = searched(tuning, tmp_path / "out")
    runs = sorted((tmp_path / "out" / "trials").glob("*__finetune-*"))
    assert len(runs) == 3
    for path in runs:
        config = tunings.Run.load(path).config
        rate = config["settings"]["learning_rate"]
        assert f'""rate"": {rate!r}'.encode() in table
    chosen = tomllib.loads((tmp_path / "out" / "chosen.toml").read_text())
    assert f'"rate": {chosen["methods"]["finetune"]["settings"]["learning_rate"]!r}' in (
        best["finetune"].values
    )


class StoppedError(Exception):
    """The search was cut off."""


@dataclass
class Stops:
    """Is cut off after some runs."""

    runs: int

    def outcomes(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        for outcome in InTurn().outcomes(jobs):
            self.runs -= 1
            if self.runs < 0:
                raise StoppedError
            yield outcome


def test_a_search_that_was_cut_off_goes_on_without_living_anything_again(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path, trials=2)
    whole, best = searched(tuning, tmp_path / "whole")
    with pytest.raises(StoppedError):
        searched(tuning, tmp_path / "broken", Stops(5))
    marks = {path: path.stat().st_ino for path in (tmp_path / "broken").rglob("finished.json")}
    assert len(marks) >= 5
    table, again = searched(tuning, tmp_path / "broken")
    assert (table, again) == (whole, best)
    after = {path: path.stat().st_ino for path in (tmp_path / "broken").rglob("finished.json")}
    assert marks.items() < after.items()
    # And once more, nothing at all.
    searched(tuning, tmp_path / "broken")
    assert {path: path.stat().st_ino for path in after} == after


def test_a_worker_that_dies_over_a_life_is_replaced(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path, trials=1)
    expected = searched(tuning, tmp_path / "whole")
    executor = Dies("__held-0", times=1)
    assert searched(tuning, tmp_path / "out", executor) == expected
    assert executor.deaths == 1


def test_two_searches_in_one_place_would_mix(tmp_path: Path) -> None:
    file = write(tmp_path / "tuning.toml", trials=1)
    with held(tmp_path / "small") as process:
        said = refused("tune", file, "--out", tmp_path, "--jobs=1")
    assert f"another process is at work in {tmp_path / 'small'}: process {process.pid} " in said
    assert not (tmp_path / "small" / "trials.csv").exists()


def test_lives_of_other_values_are_not_taken_for_those_of_a_trial(tmp_path: Path) -> None:
    methods = {"finetune": METHODS["finetune"]}
    searched(tuning_of(tmp_path, trials=1, methods=methods), tmp_path / "out")
    rate = {**RATE, "first": 0.002}
    other = {"finetune": {**METHODS["finetune"], "search": {"rate": rate}}}
    with pytest.raises(RuntimeError, match=r"holds another run.* it has another settings"):
        searched(tuning_of(tmp_path, trials=1, methods=other), tmp_path / "out")


def test_the_objective_of_a_run_that_diverged_is_0_and_one_that_failed_is_no_trial(
    tmp_path: Path,
) -> None:
    rate = {"low": 1e-4, "high": 1e30, "first": 1e30}
    methods = {"finetune": {**METHODS["finetune"], "search": {"rate": rate}}}
    _, best = searched(tuning_of(tmp_path, trials=1, methods=methods), tmp_path / "out")
    assert best["finetune"].value == 0.0
    failed = Outcome("run", "failed", 0.0, "here", "", "no luck")
    with pytest.raises(RuntimeError, match="run failed: no luck"):
        tunings._objective(failed, tmp_path)
    assert tunings._objective(replace(failed, diverged=True), tmp_path) == 0.0


@pytest.mark.usefixtures("by_rule")
def test_what_was_chosen_can_be_put_into_a_study(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path)
    _, best = searched(tuning, tmp_path / "out", Rule())
    chosen = tomllib.loads((tmp_path / "out" / "chosen.toml").read_text())
    file = tmp_path / "study.toml"
    file.write_text(tomli_w.dumps(changed(methods=chosen["methods"])))
    study = load_study(file)
    assert [entry.method.name for entry in study.entries] == ["finetune", "held"]
    for candidate, entry in zip(tuning.candidates, study.entries, strict=True):
        values = json.loads(best[candidate.label].values)
        assert candidate.entry(values, study) == entry


def test_it_is_tuned_from_the_command_line(tmp_path: Path) -> None:
    file = write(tmp_path / "tuning.toml", trials=1, seeds="1000")
    said = run("tune", file, "--out", tmp_path, "--jobs=1")
    assert "2 methods, 1 runs of each" in said
    assert re.search(r"finetune: -?\d\.\d+ with \{\"rate\": 0.00031234\}", said)
    assert (tmp_path / "small" / "chosen.toml").exists()


def ranged(**changes: Any) -> dict[str, Any]:
    rate = {key: value for key, value in {**RATE, **changes}.items() if value is not None}
    return {"methods": {"finetune": {**METHODS["finetune"], "search": {"rate": rate}}}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "trials = 0 must be at least 1"),
        ({"trials": None}, "a tuning lacks 'trials'"),
        ({"trials": 1.5}, "trials = 1.5 of a tuning must be a whole number"),
        (ranged(low=1.0), "must have low < high, and first between them"),
        (ranged(low=0.01), "must have low < high, and first between them"),
        (ranged(first=1.0), "must have low < high, and first between them"),
        (ranged(low=0.0), "low = 0.0 must be positive where log is true"),
        (ranged(high=math.nan), "must be finite"),
        (ranged(high=math.inf), "must be finite"),
        (ranged(high="1"), "high = '1' of search 'rate' of method 'finetune' must be a number"),
        (ranged(first=None), "search 'rate' of method 'finetune' lacks 'first'"),
        (ranged(lo=1.0), "unknown key of search 'rate' of method 'finetune' 'lo'"),
        (
            {"methods": {"ewc": {"search": {"lam": RATE}}}},
            "search 'lam' of method 'ewc' is used no",
        ),
        (
            {"methods": {"ewc": {"settings": {"gamma": "{gama}"}}}},
            "gamma = '{gama}' of settings of method 'ewc' must be a number",
        ),
        ({"methods": {"ewc": {"search": 3}}}, "search = 3 of method 'ewc' must be a table"),
        ({"methods": {"ewc": 3}}, "method 'ewc' must be a table, not 3"),
        ({"methods": {"ewc": {"scenarios": []}}}, "scenarios of method 'ewc' have no meaning in a"),
        ({"seeds": "x"}, "'x' is no seed"),
    ],
    ids=str,
)
def test_mistakes_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        tuning_of(tmp_path, **changes)
    assert str(tmp_path / "tuning.toml") in str(refused.value)


def test_worlds_without_a_scale_are_refused_before_anything_is_lived(tmp_path: Path) -> None:
    tuning = tuning_of(tmp_path, evaluation={"max_steps": 77})
    executor = InTurn()
    with pytest.raises(
        ValueError, match="trials cannot be compared in FlappyBird-conflict: normal"
    ):
        searched(tuning, tmp_path / "out", executor)
    assert not executor.handed_out
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
