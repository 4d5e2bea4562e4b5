"""What holds for every test: no screen, no sound, one thread; where a browser is needed, one."""

import os

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"

import hypothesis

# How long an example takes says nothing on a machine that has other work.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

pytest_plugins = ["watched_pages"]
