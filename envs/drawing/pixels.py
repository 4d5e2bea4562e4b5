"""Pictures as arrays, and as what pygame draws on."""

import numpy as np
import pygame

# Here, and not where it is used: pygame loads it at its first use, and with two threads at once
# the second one finds it half loaded.
from pygame.surfarray import pixels3d

from continual_arcade.envs.drawing.film import Picture


def as_array(surface: pygame.Surface) -> Picture:
    """Return a copy of what a surface shows, shape ``(height, width, 3)``."""
    pixels = pixels3d(surface)
    width, height, channels = pixels.shape
    picture = np.empty((height, width, channels), np.uint8)
    for channel in range(channels):  # one by one is four times as fast as all at once
        picture[..., channel] = pixels[..., channel].T
    return picture


def as_surface(picture: Picture) -> pygame.Surface:
    """Return a surface that shows a picture of shape ``(height, width, 3)``."""
    height, width, _ = picture.shape
    return pygame.image.frombuffer(np.ascontiguousarray(picture).data, (width, height), "RGB")
