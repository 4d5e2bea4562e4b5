"""What holds for every test: no screen, no sound, one thread; where a browser is needed, one."""

import os

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"

pytest_plugins = ["watched_pages"]
