"""Where the memory of compiled code begins."""

import numpy as np
import pytest
import tiny

from continual_arcade.agents import DQNSettings, build_agent
from continual_arcade.agents.engines.compiled import CompiledEngine
from continual_arcade.agents.engines.flat import aligned


@pytest.mark.parametrize("shape", [(), (1,), (4931,), (7, 9), (2, 3, 5)])
def test_aligned_arrays_are_zeros_that_begin_at_a_line_of_the_cache(shape: tuple[int, ...]) -> None:
    for _ in range(20):  # NumPy's own would by chance
        array = aligned(*shape)
        assert array.ctypes.data % 64 == 0
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert array.flags.writeable
        np.testing.assert_array_equal(array, np.zeros(shape, np.float32))


def test_what_products_read_and_write_begins_at_a_line_of_the_cache() -> None:
    settings = DQNSettings(num_envs=1, hidden=(64, 64), average=0.9)
    agent = build_agent("FlappyBird", tiny.CONFLICT, settings)
    net = CompiledEngine(agent).view().net
    places = {
        name: getattr(net, name)
        for name in ("online", "target", "gradient", "extra", "average", "inputs", "activations")
    }
    places |= {"others": net.others, "deltas": net.deltas}
    places |= {f"transposed {i}": row for i, row in enumerate(net.transposed)}
    assert [name for name, array in places.items() if array.ctypes.data % 64] == []
