"""Where files are cut off, for tests of what is made of the rest."""


def cuts(whole: bytes, apart: int) -> list[int]:
    """Every so many bytes, and at and beside each end of a line; the last one leaves all."""
    ends = [end for end in range(len(whole) + 1) if whole[:end].endswith(b"\n")]
    beside = {end + by for end in ends for by in (-1, 0, 1)}
    return sorted(cut for cut in {*range(0, len(whole), apart), *beside} if cut <= len(whole))
