"""Films are opened again and looked at."""

import re
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np


def frames(path: Path) -> list[np.ndarray]:
    """Read a film back."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24"]
    result = subprocess.run([*command, "-"], capture_output=True, check=True)
    size = re.search(r" (\d+)x(\d+)[, ]", result.stderr.decode())
    assert size is not None
    width, height = map(int, size.groups())
    return list(np.frombuffer(result.stdout, np.uint8).reshape(-1, height, width, 3))
