"""Command-line tools: train, evaluate, watch, play, and the rest."""

import os
import sys
from pathlib import Path
from types import TracebackType


def _end_quietly(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("\ninterrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


# Where Python runs one of the modules (-m) or one of the installed commands, many a Ctrl-C falls
# into the seconds in which libraries are loaded, before `cli.run` can report it.
if sys.argv[:1] == ["-m"] or Path(*sys.argv[:1]).name.startswith("continual-arcade-"):
    sys.excepthook = _end_quietly
    # Standard output has what the command says, and not which version of pygame is there.
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

# Commands draw into files, whatever shows pictures where they are started: a notebook names a
# backend of its own, without which matplotlib cannot even be imported elsewhere.
if os.environ.get("MPLBACKEND", "").startswith("module://"):
    os.environ["MPLBACKEND"] = "agg"
