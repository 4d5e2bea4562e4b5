"""Studies: many lives from one file, on this machine or on many, and what came of them.

Here agents and evaluation meet: ``life`` lives one life, everything else lives many of them.
"""

import sys

if sys.platform == "win32":
    raise ImportError(
        "runs and studies need a POSIX system, such as Linux or macOS (file locks, signals): on "
        "Windows use WSL. Environments, agents and evaluation can be imported"
    )
