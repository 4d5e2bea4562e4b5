"""The compiled learner needs no BLAS, so nothing that a BLAS is told changes a bit of it."""

import ast
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from continual_arcade import agents

FOLDERS = ("kernels", "engines")
PRODUCTS = {"dot", "vdot", "matmul", "einsum", "tensordot", "matvec", "vecmat", "linalg"}
"""Names under which NumPy calls a BLAS, or LAPACK."""


def calls_of_blas(source: str) -> list[int]:
    """Lines of a module that multiply matrices, or import what does."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.BinOp(op=ast.MatMult()) | ast.AugAssign(op=ast.MatMult()):
                lines.append(node.lineno)
            case ast.Attribute(attr=name) if name in PRODUCTS:
                lines.append(node.lineno)
            case ast.Import(names=names) if any(n.name.startswith("scipy") for n in names):
                lines.append(node.lineno)
            case ast.ImportFrom(module=str(module)) if module.startswith(("scipy", "numpy.linalg")):
                lines.append(node.lineno)
            case ast.ImportFrom(names=names) if any(n.name in PRODUCTS for n in names):
                lines.append(node.lineno)
    return lines


def test_no_module_of_compiled_code_calls_a_blas() -> None:
    root = Path(next(iter(agents.__path__)))
    found = {
        path.name: calls_of_blas(path.read_text("utf-8"))
        for folder in FOLDERS
        for path in (root / folder).glob("*.py")
    }
    assert "products.py" in found
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "np.dot(a, b, c)",
        "c = a @ b",
        "c @= a",
        "a.dot(b)",
        "import scipy.linalg.blas",
        "from scipy.linalg import cython_blas",
        "from numpy import matmul as times",
        "np.linalg.norm(a)",
    ],
)
def test_calls_of_a_blas_are_found(line: str) -> None:
    assert calls_of_blas(f"x = 1\n{line}\n") == [2]


TRAIN = """
import hashlib
import numpy as np
import tiny
from continual_arcade.agents import METHODS, DQNSettings, build_agent

settings = DQNSettings(
    num_envs=1, hidden=(64, 64), batch_size=32, gradient_steps=1, learning_starts=50,
    engine="compiled",
)
digest = hashlib.sha256()
for name in ("finetune", "mer-faithful"):
    agent = build_agent("FlappyBird", tiny.CONFLICT, settings, 0, METHODS[name])
    untrained = tiny.bits(agent)
    tiny.live(agent)
    assert agent.engine_report.startswith("compiled"), agent.engine_report
    assert tiny.bits(agent) != untrained
    digest.update(tiny.bits(agent))
matrix = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
print(digest.hexdigest(), hashlib.sha256((matrix @ matrix).tobytes()).hexdigest())
"""
TOLD: tuple[dict[str, str], ...] = (
    {},
    {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "262144", "MKL_NUM_THREADS": "2"},
)


@pytest.mark.slow  # processes that train
def test_bits_do_not_depend_on_what_a_blas_is_told() -> None:
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "MKL_"))}
    tests = str(Path(__file__).parents[2])
    learnt, multiplied = set(), set()
    for told in TOLD:
        done = subprocess.run(
            [sys.executable, "-c", TRAIN],
            env={**plain, "PYTHONPATH": tests, **told},
            capture_output=True,
            text=True,
            check=True,
        )
        parameters, product = done.stdout.split()
        learnt.add(parameters)
        multiplied.add(product)
    assert len(learnt) == 1
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    if "openblas" in blas and platform.machine() in ("x86_64", "AMD64"):
        # The variables do change the bits of a product by BLAS.
        assert len(multiplied) > 1
