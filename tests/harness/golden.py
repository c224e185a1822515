"""Golden files: whole texts under tests/golden/, compared as they are, rewritten on request.

    def test_rosenbrock(golden):
        golden("rosenbrock.mlir", text)

`pytest --update-golden` writes what the tests produce; the difference is then reviewed as a diff of
the repository. A golden freezes every detail, so there are few of them: whole pipelines.
"""

import difflib
from collections.abc import Callable
from pathlib import Path

import pytest

DIRECTORY = Path(__file__).resolve().parents[1] / "golden"

Golden = Callable[[str, str], None]


def compare(path: Path, text: str, update: bool) -> None:
    """Compare `text` with a file, or write the file.

    Raises:
        AssertionError: they differ, with a unified diff; or there is no such file.
    """
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    if not path.exists():
        raise AssertionError(f"there is no golden file {path.name}; write it by --update-golden")
    stored = path.read_text(encoding="utf-8")
    if stored != text:
        difference = difflib.unified_diff(
            stored.splitlines(), text.splitlines(), "golden", "now", lineterm=""
        )
        lines = "\n".join(difference)
        raise AssertionError(f"{path.name} has changed (--update-golden accepts it):\n{lines}")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """A function `(file name, text)` that compares the text with the golden file of this test."""
    update = bool(request.config.getoption("--update-golden"))
    folder = DIRECTORY / request.path.stem.removeprefix("test_")

    def check(name: str, text: str) -> None:
        compare(folder / name, text, update)

    return check
