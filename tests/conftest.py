"""What all tests share: `.mlir` files as tests, golden files, and a place for reproducers."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import filecheck
from harness.golden import golden as golden


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files instead of comparing"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled code out of the user's own cache, also that of child processes."""
    directory = tempfile.mkdtemp(prefix="gradloom-tests-")
    os.environ["GRADLOOM_CACHE_DIR"] = directory
    os.environ["GRADLOOM_CACHE"] = "on"
    config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix == ".mlir" and "filecheck" in file_path.parts:
        return MlirFile.from_parent(parent, path=file_path)
    return None


class MlirFile(pytest.File):
    """A `.mlir` file; each of its RUN lines is one test."""

    def collect(self) -> Iterator[pytest.Item]:
        commands = filecheck.run_lines(self.path.read_text(encoding="utf-8"))
        if not commands:
            raise self.CollectError(f"{self.path} has no RUN line")
        for number, command in enumerate(commands, 1):
            yield MlirItem.from_parent(self, name=f"RUN{number}", command=command)


class MlirItem(pytest.Item):
    """One RUN line, run in this process."""

    def __init__(self, *, command: str, **keywords: Any):
        super().__init__(**keywords)
        self.command = command

    def runtest(self) -> None:
        from gradloomc.tools import gradloom_opt

        filecheck.run(self.command, self.path, {"gradloom-opt": gradloom_opt.main})

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, filecheck.CheckFailure):
            return f"{excinfo.value}\nto run it: {self.command.replace('%s', str(self.path))}"
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.name}: {self.command}"


@pytest.fixture(autouse=True)
def _reproducers(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the reproducers of failures that are provoked out of the machine's own directory."""
    monkeypatch.setenv("GRADLOOM_REPRODUCER_DIR", str(tmp_path_factory.getbasetemp() / "failures"))


@pytest.fixture
def own_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither find nor keep lowered programs: the test changes the rules of lowering."""
    from gradloomc import known

    monkeypatch.setattr(known, "fingerprint", lambda: "")
