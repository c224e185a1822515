"""docs/performance.md and its pictures are made from the newest stored records.

`python -m bench.document` writes both; `pytest tests/docs --update-golden` writes the page. Knows where
they are, nothing of what they say.
"""

import struct
import zlib
from pathlib import Path

import pytest

from bench import call_overhead, compile_time, document, roofline, storage
from bench.figures import RECORD
from harness.pages import check

KINDS = (roofline.KIND, compile_time.KIND, call_overhead.KIND)


def test_the_page_says_what_the_records_say(request: pytest.FixtureRequest) -> None:
    page = document.PAGE.read_text(encoding="utf-8")
    assert [match[2] for match in document.PART.finditer(page)] == sorted(document.PARTS, key=page.index)
    check(document.PAGE, document.render(page), bool(request.config.getoption("--update-golden")))


def text_chunks(path: Path) -> dict[str, str]:
    """Return the text chunks of a PNG file (PNG specification, 11.3.3), whose checksums must be right."""
    data, found = path.read_bytes(), {}
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place = 8
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack(">I", data[place + 8 + length : place + 12 + length])
        assert checksum == zlib.crc32(kind + body)
        if kind == b"tEXt":
            key, _, value = body.partition(b"\0")
            found[key.decode()] = value.decode("latin-1")
        place += 12 + length
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_picture_is_that_of_the_newest_record(kind: str) -> None:
    record = storage.newest(kind)
    path = document.IMAGES / document.picture_name(kind)
    assert path.exists() == (record is not None)
    if record is not None:
        assert text_chunks(path)[RECORD] == storage.digest(record), "run `python -m bench.document`"


def test_every_command_on_the_page_exists() -> None:
    page = document.PAGE.read_text(encoding="utf-8")
    root = document.DOCS.parent
    named = {word.split("`")[0].split()[0] for word in page.split("python -m ")[1:]}
    assert {"bench", "bench.document"} <= named
    for module in named:
        path = root / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
