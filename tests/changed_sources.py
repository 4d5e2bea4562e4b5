"""Copies of modules with some of their text replaced: errors that are planted, to be found."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def changed_copy(
    module: ModuleType,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *changes: tuple[str, str],
) -> ModuleType:
    """Return a copy of a module, of whose text each old piece, which is there once, is a new one.

    Args:
        module: The module, which stays as it is.
        folder: Where the copy lies.
        monkeypatch: Takes it out of ``sys.modules`` again, where cached code looks for it.
        name: What tells it from other copies.
        *changes: The old text, and the new one.
    """
    source = Path(str(module.__file__))
    text = source.read_text("utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / source.name
    path.write_text(text, "utf-8")
    spec = importlib.util.spec_from_file_location(f"{source.stem}_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, copy)
    spec.loader.exec_module(copy)
    return copy
