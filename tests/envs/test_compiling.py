"""Compiled code is kept for the next process, and never outlives the rules it was made from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_images import write_folder

import continual_arcade.envs as package

PLAY = """
import sys, warnings
import gymnasium as gym
import continual_arcade.envs
env = gym.make("ContinualArcade/Catcher-v0")
env.reset(seed=0)
print(env.step(0)[0].tolist())
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_playing_needs_neither_pygame_nor_torch_and_drawing_the_first() -> None:
    code = (
        "import sys, continual_arcade.envs as e, gymnasium as gym\n"
        "env = gym.make('ContinualArcade/FlappyBird-v0', render_mode='rgb_array')\n"
        "env.reset(); env.step(0)\n"
        "gym.make_vec('ContinualArcade/FlappyBird-v0', num_envs=2).reset()\n"
        "heavy = {'pygame', 'torch', 'stable_baselines3', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "env.render()\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = run(code)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "[]\n['pygame']\n"


def test_without_compiling_nothing_runs_and_it_says_so() -> None:
    result = run(PLAY, NUMBA_DISABLE_JIT="1")
    assert result.returncode != 0
    assert "RuntimeError: NUMBA_DISABLE_JIT is set" in result.stderr


def kept(cache: str) -> dict[Path, int]:
    """The compiled code that is kept, and when each file was written."""
    return {path: path.stat().st_mtime_ns for path in Path(cache).rglob("*.nb?")}


@pytest.mark.slow  # as a game elsewhere, below
def test_the_second_process_compiles_nothing_and_an_edited_rule_meets_no_stale_code(
    tmp_path: Path,
) -> None:
    """numba watches only the file that holds the loop; the rules stand in another one."""
    source = Path(str(package.__file__)).parent
    copy = tmp_path / "site" / "continual_arcade" / "envs"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    cache = str(tmp_path / "cache")
    paths = {"PYTHONPATH": str(tmp_path / "site"), "NUMBA_CACHE_DIR": cache}
    code = "import continual_arcade.envs as e; print(e.__file__)" + PLAY
    before = run(code, **paths)
    assert before.stdout.startswith(str(copy)), before.stderr
    made = kept(cache)
    assert made
    second = run(code, **paths)
    assert second.stdout == before.stdout
    assert kept(cache) == made
    rules = copy / "catcher.py"
    rules.write_text(rules.read_text().replace("force = 0.0 - push", "force = 0.0 - 2.0 * push"))
    after = run(code, **paths)
    assert after.returncode == 0, after.stderr
    assert after.stdout != before.stdout


ELSEWHERE = """
import gymnasium as gym
from continual_arcade.envs import IDS, register_game
from continual_arcade.envs.compiling import kernel
from continual_arcade.envs.kernels import _reset_single
from third_game.tightrope import tightrope
register_game("Tightrope", tightrope)
env = gym.make(IDS["Tightrope"])
env.reset(seed=0)
print(env.step(0)[0].tolist())
# As that of a learner does, this loop contains the loop of a game, and names no rule itself.
step = env.unwrapped.core.batch.step
print(kernel(_reset_single, {"begin": step}, "Learner").py_func.__qualname__)
"""


def test_nothing_is_compiled_twice_and_an_edited_rule_of_a_game_elsewhere_meets_no_stale_code(
    tmp_path: Path,
) -> None:
    """Neither in the loops of the game, nor in a loop of the learner around them."""
    game = tmp_path / "third_game"
    shutil.copytree(Path(__file__).parents[1] / "third_game", game)
    paths = {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    before = run(ELSEWHERE, **paths).stdout.splitlines()
    made = kept(paths["NUMBA_CACHE_DIR"])
    assert made
    assert run(ELSEWHERE, **paths).stdout.splitlines() == before
    assert kept(paths["NUMBA_CACHE_DIR"]) == made
    rules = game / "tightrope.py"
    rules.write_text(rules.read_text().replace("lean - push", "lean - 2.0 * push"))
    after = run(ELSEWHERE, **paths)
    assert after.returncode == 0, after.stderr
    played, loop = after.stdout.splitlines()
    assert played != before[0]
    assert loop != before[1]


CLASSES = """
import sys
import gymnasium as gym
import continual_arcade.envs
for images in sys.argv[1:]:
    env = gym.make("ContinualArcade/Digits-v0", images=images)
    env.reset(seed=0)
    for action in range(env.action_space.n):
        env.step(action)
        env.reset()
    try:
        env.step(int(env.action_space.n))
    except ValueError as error:
        print(str(error)[:22])
"""


def test_games_with_other_actions_have_code_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["", str(write_folder(tmp_path)), "small-digits"])
    exec(CLASSES, {})
    assert capsys.readouterr().out.splitlines() == [
        *("there is no action 3: ", "there is no action 10:")
    ]


@pytest.mark.slow  # compiles both
@pytest.mark.parametrize("turn", [1, -1])
def test_neither_is_taken_from_the_disk_for_the_other(tmp_path: Path, turn: int) -> None:
    (tmp_path / "images").mkdir()
    folder = str(write_folder(tmp_path / "images"))  # of three classes
    sources = [folder, "small-digits"][::turn]
    code = f"import sys; sys.argv[1:] = {sources!r}\n{CLASSES}"
    result = run(code, NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert result.returncode == 0, result.stderr
    expected = [f"there is no action {number}" for number in (3, 10)[::turn]]
    assert [line.rstrip(": ") for line in result.stdout.split("\n")[:2]] == expected


def test_rules_without_a_file_are_not_kept(tmp_path: Path) -> None:
    """Those of a notebook: nothing would show that a cell was edited."""
    code = (
        "def twice(x): return {factor} * x\n"
        "from continual_arcade.envs.compiling import kernel, rule\n"
        "def loop(x): return double(x)\n"
        "loop.__code__ = loop.__code__.replace(co_filename=kernel.__code__.co_filename)\n"
        "print(kernel(loop, {{'double': rule(twice)}}, 'Cell')(1.0))"
    )
    for factor in (2.0, 3.0):
        found = run(code.format(factor=factor), NUMBA_CACHE_DIR=str(tmp_path))
        assert found.stdout == f"{factor}\n", found.stderr


def test_without_a_folder_for_the_cache_it_runs_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for a package that root installed, used by somebody without a home."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    source = Path(str(package.__file__)).parent
    copy = tmp_path / "site" / "continual_arcade" / "envs"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "__pycache__").write_text("in the way")
    (tmp_path / "home").write_text("no folder")
    result = run(
        PLAY,
        PYTHONPATH=str(tmp_path / "site"),
        PYTHONDONTWRITEBYTECODE="1",
        HOME=str(tmp_path / "home"),
        XDG_CACHE_HOME=str(tmp_path / "home"),
    )
    assert result.returncode == 0, result.stderr
    assert "NUMBA_CACHE_DIR" in result.stderr
    exec(PLAY, {})
    assert result.stdout == capsys.readouterr().out
