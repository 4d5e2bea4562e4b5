"""Flat memory that tensors of an agent live in, so that compiled code and PyTorch share them."""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from continual_arcade.agents.kernels.update import Vector

_LINE = 64
"""Bytes of a line of the cache, and of the widest vectors."""


def aligned(*shape: int) -> npt.NDArray[np.float32]:
    """Return zeros that begin at a line of the cache.

    NumPy aligns to 16 bytes. A vector of 64 that is loaded from there lies in two lines, and small
    products take a sixth longer; no bit depends on it.
    """
    size = math.prod(shape) * np.dtype(np.float32).itemsize
    place = np.zeros(size + _LINE, np.uint8)
    begin = -place.ctypes.data % _LINE
    return place[begin : begin + size].view(np.float32).reshape(shape)


class FlatVector:
    """One vector that holds several tensors, one after the other.

    Args:
        like: Tensors whose shapes it has room for.
        array: Where to lie; new memory if not given.
    """

    def __init__(self, like: Sequence[torch.Tensor], array: Vector | None = None) -> None:
        size = sum(tensor.numel() for tensor in like)
        self.array = aligned(size) if array is None else array
        pieces = torch.split(torch.from_numpy(self.array), [tensor.numel() for tensor in like])
        self.views = [piece.view(tensor.shape) for piece, tensor in zip(pieces, like, strict=True)]
        self._addresses = [view.data_ptr() for view in self.views]

    def house(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Let parameters lie in the vector, with the values they have."""
        for parameter, view, address in zip(parameters, self.views, self._addresses, strict=True):
            if parameter.data_ptr() != address:
                view.copy_(parameter.detach())
                parameter.data = view

    def adopt(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor] | None:
        """Take the values of tensors.

        Returns:
            The tensors of the vector, to be used instead; None if these are in use already.
        """
        return self.take(self.strange(tensors))

    def strange(self, tensors: Sequence[torch.Tensor]) -> dict[int, torch.Tensor]:
        """Return copies of the tensors that do not lie in the vector, by their places.

        Copies, since they may lie in another vector that is written to next, or elsewhere in this
        one, as where a part exchanges two of its vectors.
        """
        found = {}
        for place, (tensor, view) in enumerate(zip(tensors, self.views, strict=True)):
            if tensor is not view:
                if tensor.shape != view.shape:
                    raise ValueError(
                        f"a tensor has shape {tuple(tensor.shape)}, and its parameter "
                        f"{tuple(view.shape)}"
                    )
                found[place] = tensor.detach().clone()
        return found

    def take(self, strange: Mapping[int, torch.Tensor]) -> list[torch.Tensor] | None:
        """Take the values of such tensors; see :meth:`adopt`."""
        for place, tensor in strange.items():
            self.views[place].copy_(tensor)
        return list(self.views) if strange else None


class FlatMatrix:
    """Vectors that lie one after the other.

    Args:
        like: Tensors whose shapes each of them has room for.
    """

    def __init__(self, like: Sequence[torch.Tensor]) -> None:
        self._like = like
        self.array = np.zeros((0, sum(tensor.numel() for tensor in like)), np.float32)
        self.rows: list[list[torch.Tensor]] = []

    def resize(self, count: int) -> None:
        """Have so many rows, of 0 if that is another number than before."""
        if count != len(self.rows):
            self.array = np.zeros((count, self.array.shape[1]), np.float32)
            self.rows = [FlatVector(self._like, row).views for row in self.array]
