"""The doors: commands to train, evaluate, watch and play."""

import os

# Commands draw into files, whatever shows pictures where they are started: a notebook names a
# backend of its own, without which matplotlib cannot even be imported elsewhere.
if os.environ.get("MPLBACKEND", "").startswith("module://"):
    os.environ["MPLBACKEND"] = "agg"
