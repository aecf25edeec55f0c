"""hapkg against aptly, in the same run: publish many packages from nothing, one more, nothing new.

    .venv/bin/python benchmarks/publish.py [--packages 300] [--runs 5] [--alone]

Both sign with an ed25519 key and write by-hash indexes. Every figure is the wall time of whole processes, median of the
runs; aptly's are `repo add` and `publish repo` (or `publish update`) together. --alone leaves aptly out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PUBLISH = """
import sys
from pathlib import Path
from hapkg.control import SourceName, Suite
from hapkg.repository import Identity, KeyChoice, Upload, publish
files = tuple(sorted(Path(sys.argv[2]).glob("*.deb")))
uploads = [Upload(suite=Suite("bookworm"), source=SourceName(f.name.split("_")[0]), files=(f,)) for f in files]
identity = Identity(origin="bench", label="bench", maintainer="bench <bench@hapkg.invalid>")
publish(Path(sys.argv[1]), uploads, identity=identity, key=KeyChoice(home=Path(sys.argv[3])))
"""


def make_packages(folder: Path, first: int, last: int) -> None:
    """Small binary packages of different content, by dpkg-deb."""
    folder.mkdir(parents=True)
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "opt").mkdir()
    for number in range(first, last):
        name = f"ha-bench{number}"
        (tree / "opt" / "file").write_bytes(os.urandom(4096))
        (tree / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: bench <bench@hapkg.invalid>\n"
            f"Depends: libc6\nDescription: benchmark {number}\n A package of a benchmark.\n"
        )
        call("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, folder / f"{name}_1.0-1_amd64.deb")
    shutil.rmtree(tree)


def call(*argv: str | Path, **environment: str) -> float:
    """Run a program to its end; seconds."""
    begun = time.monotonic()
    subprocess.run(list(map(str, argv)), check=True, capture_output=True, env={**os.environ, **environment})
    return time.monotonic() - begun


def time_hapkg(folder: Path, many: Path, more: Path, key: Path) -> dict[str, float]:
    """Seconds of hapkg for each of the three."""
    both = folder / "both"
    both.mkdir()
    for file in (*many.glob("*.deb"), *more.glob("*.deb")):
        os.link(file, both / file.name)
    argv = (sys.executable, "-c", PUBLISH, folder / "hapkg")
    return {
        "from nothing": call(*argv, many, key),
        "one more": call(*argv, more, key),
        "nothing new": call(*argv, both, key),
    }


def time_aptly(folder: Path, many: Path, more: Path, gnupg: Path) -> dict[str, float]:
    """Seconds of aptly for the first two."""
    configuration = folder / "aptly.conf"
    configuration.write_text(json.dumps({"rootDir": str(folder / "aptly"), "gpgProvider": "gpg"}))
    aptly = ("aptly", f"-config={configuration}")
    home = {"GNUPGHOME": str(gnupg)}
    call(*aptly, "repo", "create", "-distribution=bookworm", "bench", **home)
    first = call(*aptly, "repo", "add", "bench", many, **home)
    first += call(*aptly, "publish", "repo", "-batch", "-acquire-by-hash", "bench", **home)
    second = call(*aptly, "repo", "add", "bench", more, **home)
    second += call(*aptly, "publish", "update", "-batch", "bookworm", **home)
    return {"from nothing": first, "one more": second}


def main() -> None:
    """Print the medians and their ratios as a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hapkg-bench-", dir="/var/tmp") as scratch:
        base = Path(scratch)
        make_packages(base / "many", 0, options.packages)
        make_packages(base / "more", options.packages, options.packages + 1)
        gnupg, key = base / "gnupg", base / "keys"
        gnupg.mkdir(mode=0o700)
        act = ("--batch", "--passphrase", "", "--quick-generate-key", "bench <bench@hapkg.invalid>", "ed25519", "sign")
        call("gpg", *act, GNUPGHOME=str(gnupg))
        call(sys.executable, "-c", PUBLISH, base / "warm", base / "more", key)
        figures: dict[tuple[str, str], list[float]] = {}
        for run in range(options.runs):
            folder = base / str(run)
            folder.mkdir()
            found = {"hapkg": time_hapkg(folder, base / "many", base / "more", key)}
            if not options.alone:
                found["aptly"] = time_aptly(folder, base / "many", base / "more", gnupg)
            for program, seconds in found.items():
                for act_name, value in seconds.items():
                    figures.setdefault((act_name, program), []).append(value)
            shutil.rmtree(folder)
        call("gpgconf", "--kill", "all", GNUPGHOME=str(gnupg))
    print(f"| {options.packages} packages, {options.runs} runs | hapkg | aptly | ratio |\n|-|-|-|-|")
    for name in ("from nothing", "one more", "nothing new"):
        own = statistics.median(figures[name, "hapkg"])
        other = statistics.median(figures[name, "aptly"]) if (name, "aptly") in figures else None
        ratio = f"{other:.2f} s | {own / other:.2f}" if other else "- | -"
        print(f"| {name} | {own:.2f} s | {ratio} |")


if __name__ == "__main__":
    main()
