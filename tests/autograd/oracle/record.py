"""Record what torch gives for every program of the corpus: `python -m tests.autograd.oracle.record`, where torch is.

Writes `expected.json` beside this file, one program per line. It must not know gradloom.
"""

import importlib
import json
import sys

from .corpus import EXPECTED, PROGRAMS, load, run

WANTED = "2.13"


def main() -> None:
    """Run the programs under torch and write what they observed."""
    torch = importlib.import_module("torch")
    if not torch.__version__.startswith(WANTED):
        sys.exit(f"the corpus is recorded with torch {WANTED}, this is {torch.__version__}")
    torch.set_num_threads(1)
    lines, failures = [], []
    for name in sorted(load()):
        try:
            observed = run(PROGRAMS[name], torch)
        except Exception as exception:
            failures.append(f"{name}: {type(exception).__name__}: {exception}")
            continue
        lines.append(f"{json.dumps(name)}: {json.dumps(observed, ensure_ascii=False, separators=(',', ':'))}")
    if failures:
        sys.exit("these do not run under torch:\n" + "\n".join(failures))
    EXPECTED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(lines)} programs, {EXPECTED.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
