"""PyTorch's compiler is imported by whoever uses it, and then all is as PyTorch has it."""

import importlib

import pytest
import torch

from continual_arcade.agents import without_dynamo
from continual_arcade.agents.without_dynamo import METHODS, spare_dynamo


@pytest.fixture(scope="module", autouse=True)
def _the_compiler() -> None:
    """Import it for these tests, not for all that are collected: that takes seconds."""
    importlib.import_module("torch._dynamo")


@pytest.mark.parametrize("name", METHODS)
def test_once_it_is_imported_a_method_is_hidden_from_it(name: str) -> None:
    """That it is not imported before is tested in ``test_compilation.py``."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    function = getattr(torch.optim.Optimizer, name).__wrapped__
    vars(function).pop(without_dynamo._HIDDEN, None)
    spare_dynamo()
    spared = vars(function)[without_dynamo._HIDDEN]
    more = {"params": [torch.ones(1, requires_grad=True)]}
    arguments = {"add_param_group": (more,), "load_state_dict": (optimizer.state_dict(),)}
    getattr(optimizer, name)(*arguments.get(name, ()))
    hidden = vars(function)[without_dynamo._HIDDEN]
    assert hidden is not spared
    assert hidden._torchdynamo_disable
    assert len(optimizer.param_groups) == (2 if name == "add_param_group" else 1)
    spare_dynamo()  # and so it stays
    assert vars(function)[without_dynamo._HIDDEN] is hidden
