"""Films of a game: pictures, one after the other, in a GIF or MP4 file."""

import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from continual_arcade.envs.checks import check_new

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
    check_new(path)
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
        OSError: If the file cannot be written, for one because the disk is full.
    """
    check_path(path)
    return _encode(path, pictures, frames_per_second, _ENCODINGS[path.suffix])


def clip(pictures: Iterable[Picture], frames_per_second: int) -> bytes:
    """Return a small film for a page that holds many: MP4, H.264, quickly made.

    Four seconds of a game, 144 pixels wide at 15 pictures a second, are 10 to 30 kB. The same
    pictures become the same bytes.

    Args:
        pictures: Arrays of shape ``(height, width, 3)``, all of one size.
        frames_per_second: How fast they are to be shown.

    Raises:
        ValueError: If there is no picture, or they differ in size.
        OSError: If it cannot be written for the moment that it needs to be a file.
    """
    # A file, not a pipe: for its index to come first, the encoder goes back to the beginning.
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        _encode(path, pictures, frames_per_second, _CLIP)
        return path.read_bytes()


def _encode(
    path: Path, pictures: Iterable[Picture], frames_per_second: int, encoding: Sequence[str]
) -> int:
    remaining = iter(pictures)
    first = next(remaining, None)
    if first is None:
        raise ValueError(f"there is no picture to write to {path}")
    # The suffix stays: it tells the encoder which kind of film to write.
    unfinished = path.with_name(f".unfinished-{path.name}")
    count = 0
    try:
        with _encoder(unfinished, first.shape, frames_per_second, encoding) as encoder:
            assert encoder.stdin is not None
            for count, picture in enumerate(chain([first], remaining), start=1):
                if picture.shape != first.shape:
                    raise ValueError(
                        f"picture {count} has shape {picture.shape}, the first one {first.shape}"
                    )
                # A pipe that breaks is the encoder's failure, which is asked for below.
                with suppress(BrokenPipeError):
                    encoder.stdin.write(np.ascontiguousarray(picture, np.uint8).data)
            _, complaint = encoder.communicate()
        if encoder.returncode != 0:
            raise OSError(f"{path} could not be written: {complaint.decode().strip()}")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _encoder(
    path: Path, shape: tuple[int, ...], rate: int, encoding: Sequence[str]
) -> "subprocess.Popen[bytes]":
    """Start ffmpeg. imageio's own writer takes a film for good that ffmpeg could not finish."""
    from imageio_ffmpeg import get_ffmpeg_exe

    height, width, _ = shape
    pictures = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate}"]
    return subprocess.Popen(
        [get_ffmpeg_exe(), "-v", "error", *pictures, "-i", "-", *encoding, path],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


_H264 = (
    # Every player knows H.264 with half the colours, which wants even sides.
    *("-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"),
    *("-c:v", "libx264", "-pix_fmt", "yuv420p"),
    # The index comes first, so that a page can play what has not come to its end yet.
    *("-movflags", "+faststart"),
)
_ENCODINGS = {
    # One palette for the whole film, and no dithering: flat colours stay flat, and what does not
    # move costs nothing. Shown for ever.
    ".gif": [
        "-vf",
        "split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none:diff_mode=rectangle",
        "-loop",
        "0",
    ],
    ".mp4": [*_H264, "-crf", "20"],
}
# On one thread: so small a film has no work for more, and its bytes depend on their number.
_CLIP = [*_H264, "-crf", "25", "-preset", "veryfast", "-tune", "animation", "-threads", "1"]
