"""Coverage-guided fuzzing of what reads foreign bytes: make fuzz, or python -m tests.fuzz NAME [SECONDS].

atheris keeps what finds new code in ./fuzz/NAME, and a crash beside it; both are where the next run begins.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["hapkg", "tests"]):
    from hapkg.errors import HapkgError
    from tests.support.foreign import make_readers

SECONDS = 20
"""Time for each reader of `make fuzz`."""


def fuzz(name: str, seconds: int) -> None:
    """Give one reader bytes for so many seconds. An error that is none of hapkg's ends the process."""
    reader = make_readers()[name]
    corpus = Path("fuzz", name.replace(" ", "-"))
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "sample").write_bytes(reader.sample)
    with tempfile.TemporaryDirectory() as scratch:

        def read(content: bytes) -> None:
            with contextlib.suppress(HapkgError, *reader.also):
                reader.read(Path(scratch), content)

        options = [f"-max_total_time={seconds}", "-max_len=65536", "-timeout=20", "-rss_limit_mb=4096"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus}-", str(corpus)], read)
        atheris.Fuzz()


def main() -> int:
    """Fuzz the reader that is named, or each in a process of its own."""
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else SECONDS
    if len(sys.argv) > 1:
        fuzz(sys.argv[1], seconds)
        return 0
    argv = [sys.executable, "-m", "tests.fuzz"]
    found = [name for name in make_readers() if os.spawnv(os.P_WAIT, sys.executable, [*argv, name, str(SECONDS)])]
    print("fuzz:", f"failed: {', '.join(found)}" if found else "nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
