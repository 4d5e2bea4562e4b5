"""How many threads compute."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, in PyTorch and in NumPy's linear algebra.

    Small networks gain nothing from more, and bits may depend on it. Where cores are shared,
    threads that wait for each other take a hundred times as long as the work.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
