"""What must not be in anything that is published: where on some machine it was made."""

import re
from pathlib import Path

_FOLDERS = (
    *("home", "Users", "root", "work", "tmp", "private", "Volumes"),
    *("mnt", "media", "srv", "scratch", "nfs", "var"),
)
"""Where people and machines keep their files."""
_PATH = re.compile(rb"(?<![\w.~])/(?:" + "|".join(_FOLDERS).encode() + rb")/[\w.~-][^\s'\"<>)]*")


def paths_in(data: bytes) -> list[str]:
    """The absolute paths of a machine's own folders in a file."""
    return [found.decode(errors="replace") for found in _PATH.findall(data)]


def paths_under(folder: Path) -> dict[str, list[str]]:
    """Those in all files of a folder, by the file's name."""
    return {
        path.name: found
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (found := paths_in(path.read_bytes()))
    }
