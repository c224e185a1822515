"""Records of the special measurements: JSON files in folders under results/, newest last.

Owns the names of the files. What is in a record is its maker's business, but for `created` (UTC, ISO)
and `machine`, which every one has.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.results import FOLDER


def now() -> str:
    """Return the time as records carry it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def store(record: dict[str, Any], kind: str, quick: bool = False, folder: Path = FOLDER) -> Path:
    """Write a record into the folder of its kind, quick ones under a name that git ignores."""
    stamp = record["created"].replace(":", "").replace("-", "")[:15]
    path = folder / kind / f"{'quick-' if quick else ''}{stamp}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    return path


def newest(kind: str, folder: Path = FOLDER) -> dict[str, Any] | None:
    """Return the newest record of a kind that is no quick one, None if there is none."""
    paths = [path for path in (folder / kind).glob("*.json") if not path.name.startswith("quick-")]
    records = [json.loads(path.read_text()) for path in paths]
    return max(records, key=lambda record: record["created"], default=None)


def digest(record: Any) -> str:
    """Return a short fingerprint of a record, which a picture of it carries."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]
