"""What tells this compiler from any other version of it, so that what is kept on disk may depend on how it works."""

import os
import sys
from functools import cache

import numpy as np

from gradloomc.codegen.cache import digest

__all__ = ["fingerprint"]


@cache
def fingerprint() -> str:
    """Return what tells this compiler from any other version of it, changed sources included; '' if that is not known.

    Names, sizes and times of the package's files are enough, and reading them takes half a millisecond.
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    lines = [sys.version, np.__version__]
    try:
        folders = [root]
        while folders:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.name.endswith((".py", ".pyc", ".so")):
                        status = entry.stat()
                        lines.append(f"{entry.path} {status.st_size} {status.st_mtime_ns}")
                    elif entry.is_dir() and entry.name != "__pycache__":
                        folders.append(entry.path)
    except OSError:
        return ""  # in an archive, say
    return digest(*sorted(lines))
