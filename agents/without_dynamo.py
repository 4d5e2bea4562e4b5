"""Optimisers without the import of PyTorch's compiler, which takes longer than all else of a start.

PyTorch hides some of their methods from its compiler, and imports it to do so when one of them is
called for the first time. As long as nobody has imported it nothing is compiled, and nothing is to
be hidden.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch

METHODS = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
"""Those that the compiled engine calls, too; a step by PyTorch imports the compiler in any case."""
_HIDDEN = "__dynamo_disable"
"""Where PyTorch keeps what it calls in place of a method (``torch/_compile.py``)."""


def spare_dynamo() -> None:
    """Let the compiler be imported by whoever uses it; then PyTorch hides the methods as ever.

    Versions of PyTorch that hide them otherwise are left as they are.
    """
    for name in METHODS:
        decorated = getattr(torch.optim.Optimizer, name)
        function = getattr(decorated, "__wrapped__", None)
        if function is not None:
            vars(function).setdefault(_HIDDEN, _until_imported(function, decorated))


def _until_imported(function: Callable[..., Any], decorated: Callable[..., Any]) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        vars(function).pop(_HIDDEN, None)
        return decorated(*args, **kwargs)

    return call
