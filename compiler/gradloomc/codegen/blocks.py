"""Long basic blocks of a function's text as several shorter ones.

LLVM schedules and selects the instructions of a block together, in a time that grows with the square of its length;
the body of a large program's loop is one block of tens of thousands. Knows nothing of what the instructions do.
"""

import re
from collections.abc import Sequence

__all__ = ["MOST_INSTRUCTIONS", "is_divided", "short_blocks"]

# Blocks of 100 to 1000 instructions take LLVM equally long; each end of one costs moves through memory.
MOST_INSTRUCTIONS = 400
_INCOMING = re.compile(r"%([\w.]+) \]")


def short_blocks(lines: Sequence[str], most: int = MOST_INSTRUCTIONS) -> list[str]:
    """Return the lines of a function with its blocks divided so that none has more than `most` instructions.

    Labels are lines of their own that start with no space. Phis, and the allocations of the entry, stay where they are.
    """
    made: list[str] = []
    last: dict[str, str] = {}  # by the label of a divided block, that of its end
    label, count = "", 0
    for line in lines:
        if line[:1] != " ":
            label, count = line.removesuffix(":"), 0
        elif " = phi " not in line and " = alloca " not in line:
            count += 1
            if count > most:
                part = last.get(label, label).removeprefix(label).removeprefix(".part")
                last[label] = following = f"{label}.part{int(part or 0) + 1}"
                made += [f"  br label %{following}", f"{following}:"]
                count = 1
        made.append(line)
    if not last:
        return made
    # Who says that control came from a block means its end.
    renamed = lambda found: f"%{last.get(found[1], found[1])} ]"  # noqa: E731
    return [_INCOMING.sub(renamed, line) if " = phi " in line else line for line in made]


def is_divided(text: str) -> bool:
    """Tell whether a module has a block that was divided."""
    return ".part1:\n" in text
