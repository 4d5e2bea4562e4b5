"""Studies: many runs from one file, on this machine or on many, and their results.

Here agents and evaluation meet: ``run_spec`` trains one run, everything else many of them.
"""

import sys

if sys.platform == "win32":
    raise ImportError(
        "runs and studies need a POSIX system, such as Linux or macOS (file locks, signals): on "
        "Windows use WSL. Environments, agents and evaluation can be imported"
    )
