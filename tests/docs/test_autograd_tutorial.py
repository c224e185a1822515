"""The tutorial on tensors is true: its outputs, its pictures, its table of wrong claims, the numbers in its text.

`pytest tests/docs --update-golden` writes outputs, pictures and the table's values anew. Knows the form of the page,
nothing of what it explains.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.pages import FENCE, Script, check, renewed, same_output

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "autograd.md"
IMAGES = "images"
# | what is said | `expression` | `what it gives` | words |
_ROW = re.compile(r"^(\| .+? \| `(.+?)` \| `)(.*?)(` \| .+ \|)$", re.MULTILINE)
_DECIMAL = re.compile(r"\d+\.\d+")


@dataclass
class Run:
    """The tutorial as it comes out now: its text, and its pictures by name."""

    text: str
    pictures: dict[str, str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the page in a folder of its own, where it saves its pictures."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / IMAGES).mkdir()
    script = Script("tutorial.py")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        text = renewed(PAGE, script)

    def renew(row: re.Match[str]) -> str:
        now = str(eval(row[2], script.namespace))
        return f"{row[1]}{row[3] if same_output(row[3], now) else now}{row[4]}"

    text = _ROW.sub(renew, text)
    return Run(text, {path.name: path.read_text(encoding="utf-8") for path in (folder / IMAGES).iterdir()})


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


def test_outputs_and_table_are_what_the_page_shows(run: Run, update: bool) -> None:
    check(PAGE, run.text, update)


def test_no_row_is_overlooked() -> None:
    table = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(table) == len(_ROW.findall("\n".join(table))) + 1 > 15


def test_pictures_are_what_the_page_draws(run: Run, update: bool) -> None:
    assert sorted(run.pictures) == sorted(re.findall(rf"!\[[^\]]+\]\({IMAGES}/(.+?)\)", run.text)) != []
    for name, picture in run.pictures.items():
        path = DOCS / IMAGES / name
        if update:
            path.parent.mkdir(exist_ok=True)
            path.write_text(picture, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == picture, f"{name} is stale; --update-golden writes it"


def test_numbers_in_the_text_are_numbers_of_the_program() -> None:
    """A decimal number outside of the blocks, but for the claims in the table, is one that a block has or prints."""
    page = PAGE.read_text(encoding="utf-8")
    blocks = "".join(body for _, body in FENCE.findall(page)) + "".join(row[2] for row in _ROW.findall(page))
    words = FENCE.sub("", page)
    words = re.sub(r"^\| [^|]+ \|", "|", words, flags=re.MULTILINE)
    known = set(_DECIMAL.findall(blocks))
    assert {number for number in _DECIMAL.findall(words) if number not in known} == set()
