"""The wheel holds what the folders hold, and works where there is no checkout."""

import configparser
import os
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAPPED = ("envs", "agents", "evaluation", "reports", "studies", "scripts")


def on_disk() -> dict[str, Path]:
    """Every package and sub-package, by import name."""
    return {
        ".".join(("continual_arcade", *folder.relative_to(ROOT).parts)): folder
        for mapped in MAPPED
        for folder in (ROOT / mapped, *(ROOT / mapped).rglob("*"))
        if next(folder.glob("*.py"), None)
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy, so that no build folder is left behind, and no old one is packed.
    source = folder / "source"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, files.split("\0")):
        if name.startswith((*MAPPED, "setup.cfg", "pyproject.toml", "README.md", "LICENSE")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--isolated",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source)], check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_setup_cfg_names_every_package_of_the_disk() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    options = config["options"]
    assert sorted(options["packages"].split()) == sorted(on_disk())
    mapping = dict(line.split(" = ") for line in options["package_dir"].strip().splitlines())
    assert mapping == {f"continual_arcade.{name}": name for name in MAPPED}


def test_every_package_says_that_it_is_one() -> None:
    assert not [
        str(folder) for folder in on_disk().values() if not (folder / "__init__.py").is_file()
    ]


def test_the_wheel_holds_what_the_disk_holds(wheel: Path) -> None:
    packed = {
        name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("continual_arcade/")
    }
    expected = {
        "/".join((*package.split("."), path.name))
        for package, folder in on_disk().items()
        for path in folder.iterdir()
        if path.suffix == ".py" or path.name in ("py.typed", "references.json")
    }
    for folder in ("reports/pages/templates", "studies/scenarios", "studies/shipped"):
        expected |= {
            f"continual_arcade/{folder}/{path.name}"
            for path in (ROOT / folder).iterdir()
            if path.name != "cards"
        }
    cards = ROOT / "studies" / "scenarios" / "cards"  # pages and pictures are for the documentation
    expected |= {
        f"continual_arcade/studies/scenarios/cards/{path.name}" for path in cards.glob("*.toml")
    }
    assert packed == expected
    assert sum(name.endswith("py.typed") for name in packed) == len(MAPPED)


def test_the_wheel_brings_no_other_name(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"continual_arcade"}


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for packages, with nothing but the wheel in it."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)  # which is how a wheel without code in C is installed
    return folder


def outside(site: Path, folder: Path, *arguments: str) -> str:
    """What Python says in a folder that is no checkout."""
    result = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_wheel_works_outside_the_checkout(site: Path, tmp_path: Path) -> None:
    code = (
        "import gymnasium as gym, continual_arcade.envs as envs, continual_arcade.scripts.demo\n"
        "print(envs.__file__)\n"
        "from continual_arcade.evaluation import shipped_references\n"
        "assert len(shipped_references()) > 10\n"
        "env = gym.make('ContinualArcade/FlappyBird-v0', schedule='shrink', "
        "render_mode='rgb_array')\n"
        "env.reset(seed=0); env.step(0); print(env.render().shape)\n"
    )
    where, shape = outside(site, tmp_path, "-c", code).splitlines()
    assert where.startswith(str(site))
    assert shape == "(512, 288, 3)"


@pytest.mark.slow  # for another place the learner is compiled anew
def test_the_wheel_trains_outside_the_checkout(site: Path, tmp_path: Path) -> None:
    short = "--dqn.learning-starts=100 --phase-steps=40 --eval-episodes=1 --eval-max-steps=20"
    command = ("-m", "continual_arcade.scripts.train", "--out=runs", *short.split())
    outside(site, tmp_path, *command)
    assert len(list((tmp_path / "runs").glob("FlappyBird-shrink__finetune__0__*"))) == 1


COMMANDS = sorted(
    path.stem for path in (ROOT / "scripts").glob("*.py") if "__main__" in path.read_text("utf-8")
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [command, "--help"])
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_path(str(ROOT / "scripts" / f"{command}.py"), run_name="__main__")
    assert "usage:" in capsys.readouterr().out


def test_a_clone_runs_it_as_a_file() -> None:
    result = subprocess.run(
        [sys.executable, "scripts/schedule.py", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "usage:" in result.stdout


def test_every_command_is_installed(wheel: Path) -> None:
    config = configparser.ConfigParser()
    with zipfile.ZipFile(wheel) as packed:
        (name,) = (name for name in packed.namelist() if name.endswith("entry_points.txt"))
        config.read_string(packed.read(name).decode())
    assert dict(config["console_scripts"]) == {
        f"continual-arcade-{command}": f"continual_arcade.scripts.{command}:main"
        for command in COMMANDS
    }
