"""Methods are files of a folder: found by themselves, run by both engines, refused by name."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from continual_arcade.agents.methods import METHODS, MISSING, PARTS
from continual_arcade.agents.methods.catalogue import PRESETS
from continual_arcade.scripts import train

HEAD = """
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from continual_arcade.agents.methods.base import Part
from continual_arcade.agents.methods.cloning import Cloning
from continual_arcade.agents.methods.preset import Preset
from continual_arcade.agents.methods.rules import rule, slope_of_replayed
from continual_arcade.agents.methods.tensors import parameters
"""
DECAY = """
@dataclass
class Decay(Part):
    name: ClassVar[str] = "decay"
    rate: float = 0.01

    @rule("add_gradient")
    def decay(theta: Any, rate: Any) -> Any:
        return rate * theta

PRESETS = (Preset("decay", "Weight decay.", source="Krogh and Hertz 1991", parts=("decay",)),)
"""
CAUTIOUS = """
@dataclass
class Cautious(Cloning):
    name: ClassVar[str] = "cautious"
    values_after: ClassVar[str] = "after"
    after: int = 0

    @slope_of_replayed("q_values")
    def hold(now: Any, old: Any, slope: Any, alpha: Any) -> None:
        for action in range(len(now)):
            slope[action] = alpha * max(now[action] - old[action], 0.0)

PRESETS = (
    Preset("cautious", "Values do not rise fast.", source="this test", parts=("cautious:alpha=2",)),
)
"""
SHRINK = """
@dataclass
class Shrink(Part):
    name: ClassVar[str] = "shrink"
    needs_boundaries: ClassVar[bool] = True
    keep: float = 0.5

    def phase_start(self, learner: Any, phase: int) -> None:
        if phase:
            with torch.no_grad():
                for tensor in parameters(learner):
                    tensor.mul_(self.keep)

PRESETS = (Preset("shrink", "Shrink.", source="Ash and Adams 2020", parts=("shrink",)),)
"""
OWN = {"decay": DECAY, "cautious": CAUTIOUS, "shrink": SHRINK}
BENT = DECAY.replace('"decay"', '"bent"').replace("rate * theta", "rate * theta.no_such_thing")
"""Has a rule that numba cannot compile."""
BROKEN = {
    "module": ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    "source": (DECAY.replace(', source="Krogh and Hertz 1991"', ""), "lacks its source"),
    "twice": (DECAY.replace('"decay"', '"ewc"'), "there are two parts of the name 'ewc'"),
    "state": (DECAY.replace("theta: Any, rate", "tetha: Any, rate"), "did you mean 'theta'"),
    "writes": (
        DECAY.replace('rule("add_gradient")', 'rule("after_update", writes="theta")'),
        "may not write 'theta'",
    ),
    "early": (DECAY.replace("add_gradient", "before_update"), "may not write 'nothing'"),
    "hook": (DECAY.replace("add_gradient", "add_gradeint"), "did you mean 'add_gradient'"),
    "late": (
        DECAY.replace("add_gradient", "constrain").replace("theta: Any", "gradient: Any"),
        "unknown state 'gradient'",
    ),
    "method": (DECAY, "there is another file of this name in"),
    "preset": (DECAY, "there is another file of this name in"),
    "settings": (DECAY.replace('("decay",)', '("decay:rat=1",)'), "did you mean 'rate'"),
}
"""Files that cannot be used, and why."""

USE = """
import io, json, sys
from contextlib import redirect_stdout
from dataclasses import replace
import tiny
from continual_arcade.agents import METHODS, build_agent
from continual_arcade.agents.methods import PARTS, compose, make_part
from continual_arcade.scripts import train

def trained(method, engine):
    settings = replace(tiny.SETTINGS, engine=engine)
    return build_agent("FlappyBird", tiny.CONFLICT, settings, 0, METHODS[method]).learn(tiny.LIFE)

def apart(one, other):
    pairs = zip(one.q_net.parameters(), other.q_net.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)

plain, out = trained("finetune", "torch"), {}
for name in sys.argv[1:]:
    torchs, compiled = (trained(name, engine) for engine in ("torch", "compiled"))
    out[name] = [compiled.engine_report, apart(torchs, compiled), apart(torchs, plain)]
report = tiny.agent(make_part("bent")).engine_report
try:
    tiny.agent(make_part("bent"), engine="compiled")
except ValueError as error:
    refusal = str(error)
with redirect_stdout(io.StringIO()) as shown:
    try:
        train.main(["--help"])
    except SystemExit as end:
        assert not end.code
try:
    compose("state")
except ValueError as error:
    unknown = str(error)
told = {"bent": [report, refusal], "help": shown.getvalue(), "unknown": unknown}
print(json.dumps({"trained": out, "methods": [*METHODS], "parts": [*PARTS], **told}))
"""


def python(folders: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with folders of methods of one's own."""
    paths = [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "CONTINUAL_ARCADE_METHODS": folders,
    }
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, text=True, capture_output=True)


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory, strict: list[str]) -> Any:
    """What came of folders of one's own, in a process that finds them.

    One is not there, and the other one has files that cannot be used, too: of which it warns.
    """
    folder = tmp_path_factory.mktemp("methods")
    broken = {what: text.replace("decay", what) for what, (text, _) in BROKEN.items()}
    for name, text in {**OWN, "bent": BENT, **broken}.items():
        (folder / f"{name}.py").write_text(HEAD + text)
    warns = "-Wdefault::UserWarning:continual_arcade.agents.methods"
    folders = os.pathsep.join((str(folder / "none"), str(folder)))
    ran = python(folders, *strict, f"{warns}.catalogue", f"{warns}.method", "-c", USE, *OWN)
    assert not ran.returncode, ran.stderr
    return {**json.loads(ran.stdout), "stderr": ran.stderr}


def test_three_methods_of_ones_own_train_in_both_engines(used: Any) -> None:
    assert used["trained"].keys() == OWN.keys()
    for report, apart, moved in used["trained"].values():
        assert report == "compiled"
        assert apart < 1e-5 < 1e-4 < moved  # the same in both, and not what there is without it


def test_the_commands_know_them(used: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        train.main(["--help"])  # where there is no such folder
    for shown, names in ((used["help"], True), (capsys.readouterr().out, False)):
        assert ("Krogh and Hertz 1991" in " ".join(shown.split())) == names


def test_files_and_folders_that_cannot_be_used_are_named_and_the_others_work(used: Any) -> None:
    own = [*OWN, "bent"]
    assert sorted(used["methods"]) == sorted([*METHODS, *own])
    assert sorted(used["parts"]) == sorted([*PARTS, *own, "settings"])  # whose preset is wrong
    warned = [line for line in used["stderr"].splitlines() if "of the methods is left out" in line]
    assert len(warned) == len(BROKEN) + 1
    for what, (_, why) in {**BROKEN, "none": ("", "it is no folder")}.items():
        assert any(what in line and why in line for line in warned), (what, warned)
    assert "unknown method 'state'" in used["unknown"]
    assert "state.py was left out" in used["unknown"]


def test_a_rule_that_numba_cannot_compile_is_told_in_short(used: Any) -> None:
    report, error = used["bent"]
    assert report.startswith("torch, because rule 'decay' of part 'bent' cannot be compiled: ")
    for said in (report, error):
        assert "in line 20 of bent.py: return rate * theta.no_such_thing" in said
        assert len(said) < 400
    assert "engine='torch'" in error


def test_everything_that_comes_with_the_suite_is_found_and_has_its_source() -> None:
    assert not MISSING
    assert {"ewc", "mer", "clear", "agem", "reset", "si", "reptile"} <= PARTS.keys()
    assert METHODS.keys() == PRESETS.keys()
    assert all(preset.source in METHODS[name].text for name, preset in PRESETS.items())
    # No other file names a method that is not its own.
    folder = Path(__file__).parents[3] / "agents"
    for path in [*folder.glob("engines/*.py"), *folder.glob("kernels/*.py")]:
        imported = [
            line for line in path.read_text("utf-8").splitlines() if "agents.methods" in line
        ]
        for line in imported:
            module = line.split("agents.methods.")[-1].split()[0].rstrip("`.:")
            assert module not in {part.__module__.rpartition(".")[2] for part in PARTS.values()}


def test_discovery_is_found_out_if_it_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = dict(PARTS)
    found.pop("ewc")
    monkeypatch.setattr("continual_arcade.agents.methods.catalogue.PARTS", found)
    with pytest.raises(ValueError, match="unknown part 'ewc'"):
        METHODS["ewc"].make_parts()
