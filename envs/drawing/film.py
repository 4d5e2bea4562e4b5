"""Films of a game: pictures, one after the other, in a GIF or MP4 file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]

SUFFIXES = (".gif", ".mp4")


def check_path(path: Path) -> None:
    """Check that a film can be written there, before anything is played.

    Raises:
        ValueError: If it is to be neither GIF nor MP4.
        OSError: If the file exists, or its folder does not.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"a film is written as {' or '.join(SUFFIXES)}, not {path.name!r}")
    if path.exists():
        raise FileExistsError(f"{path} exists, and nothing is overwritten: choose another name")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist: make it first")


def write(path: Path, pictures: Iterable[Picture], frames_per_second: int) -> int:
    """Write a film; there is all of it or nothing.

    Args:
        path: The file, ``.gif`` or ``.mp4``.
        pictures: Arrays of shape ``(height, width, 3)``, all of one size.
        frames_per_second: How fast they are to be shown. A GIF counts in hundredths of a second, so
            30 becomes 33.

    Returns:
        Number of pictures.

    Raises:
        ValueError: If the path is refused, or there is no picture.
        OSError: If the file cannot be written.
    """
    import imageio_ffmpeg

    check_path(path)
    count = 0
    encoder: Any = None
    # The suffix stays: it tells the encoder which kind of film to write.
    unfinished = path.with_name(f".unfinished-{path.name}")
    try:
        for picture in pictures:
            count += 1
            if encoder is None:
                height, width, _ = picture.shape
                encoder = imageio_ffmpeg.write_frames(
                    str(unfinished),
                    (width, height),
                    fps=frames_per_second,
                    ffmpeg_log_level="error",
                    **_ENCODINGS[path.suffix],
                )
                encoder.send(None)
            encoder.send(np.ascontiguousarray(picture).tobytes())
        if encoder is None:
            raise ValueError(f"there is no picture to write to {path}")
        encoder.close()
        unfinished.replace(path)
    finally:
        if encoder is not None:
            encoder.close()
        unfinished.unlink(missing_ok=True)
    return count


_ENCODINGS: dict[str, dict[str, Any]] = {
    ".gif": {
        "codec": "gif",
        "pix_fmt_out": "pal8",
        "quality": None,
        "macro_block_size": 1,
        # One palette for the whole film, and no dithering: flat colours stay flat, and what does
        # not move costs nothing.
        "output_params": [
            "-vf",
            "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none:diff_mode=rectangle",
            "-loop",
            "0",
        ],
    },
    # H.264 wants even sides; other sizes are scaled to them.
    ".mp4": {"codec": "libx264", "quality": 8, "macro_block_size": 2},
}
