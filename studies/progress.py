"""The log of training, of which no line is lost or half written when it gets more columns."""

from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import CSVOutputFormat, filter_excluded_keys

from continual_arcade.evaluation.atomic_files import write_text_whole


class ProgressLog(CSVOutputFormat):
    """Stable-Baselines3's log as CSV.

    Where a line has values that no line before had, the parent writes the whole file again in its
    place, and whoever reads it, or kills the process, or fills the disk meanwhile, finds columns
    and values mixed up. Here the new file takes the place of the old one when it is whole.

    Args:
        path: The file; an older one is written over.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Write a line."""
        given = filter_excluded_keys(key_values, key_excluded, "csv")
        if more := [key for key in given if key not in self.keys]:
            _, *lines = self.path.read_text("utf-8").splitlines() or [""]
            header = ",".join([*self.keys, *more])
            widened = [line + "," * len(more) for line in lines]
            write_text_whole(self.path, "".join(f"{line}\n" for line in (header, *widened)))
            self.keys += more
            self.file.close()
            self.file = self.path.open("a", encoding="utf-8")
        super().write(key_values, key_excluded, step)
