"""hapkg against aptly, in the same run: publish many packages from nothing, one more, nothing new; and how that grows.

    .venv/bin/python benchmarks/publish.py [--packages 300] [--runs 5] [--alone]
    .venv/bin/python benchmarks/publish.py --growth 1000 3000 10000 [--runs 5]

Both sign with an ed25519 key and write by-hash indexes. Every figure is the wall time of whole processes, median of the
runs. hapkg's do all that `hapkg publish` does once its builds are found: the keyring package, the suite, the .sources
file, the page. aptly's are `repo add` and `publish repo` (or `publish update`) together. --alone leaves aptly out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tables import call, keep, make_table

PUBLISH = """
import sys
from pathlib import Path
from hapkg.control import SourceName, Suite
from hapkg.repository.change import PublishTarget
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.change import PublishTarget
from hapkg.repository.publishing import publish_with_keyring
from hapkg.repository.sources_file import Identity
from hapkg.repository.upload import Upload

root, debs, suite = Path(sys.argv[1]), Path(sys.argv[2]), Suite("bookworm")
files = {file: SourceName(file.name.split("_")[0]) for file in sorted(debs.glob("*.deb"))}
uploads = [Upload(suite=suite, source=name, files=(file,)) for file, name in files.items()]
identity = Identity(origin="bench", label="bench", maintainer="bench <bench@hapkg.invalid>")
target = PublishTarget(root=root, identity=identity, choice=KeyChoice(home=Path(sys.argv[3])))
publish_with_keyring(target, uploads, [suite], package="ha-archive-keyring")
assert (root / "index.html").is_file()
"""
NOTHING, MORE, SAME = "from nothing", "one more", "nothing changed"


def make_packages(folder: Path, first: int, last: int) -> None:
    """Small binary packages of different content, by dpkg-deb, with the documents that a page shows."""
    folder.mkdir(parents=True)
    tree = folder / "tree"
    documents = tree / "opt" / "doc" / "bench"
    for part in (tree / "DEBIAN", documents):
        part.mkdir(parents=True)
    for number in range(first, last):
        name = f"ha-bench{number}"
        (tree / "opt" / "file").write_bytes(os.urandom(4096))
        (documents / "changelog.Debian").write_text(f"{name} (1.0-1) bookworm; urgency=medium\n\n  * Made.\n")
        (documents / "copyright").write_text(f"{name} is free for everybody.\n" * 20)
        (tree / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\nMaintainer: bench <bench@hapkg.invalid>\n"
            f"Depends: libc6\nDescription: benchmark {number}\n A package of a benchmark.\n"
        )
        call("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, folder / f"{name}_1.0-1_amd64.deb")
    shutil.rmtree(tree)


def time_hapkg(folder: Path, many: Path, more: Path, key: Path) -> dict[str, float]:
    """Seconds of hapkg for each of the three."""
    both = folder / "both"
    both.mkdir()
    for file in (*many.glob("*.deb"), *more.glob("*.deb")):
        os.link(file, both / file.name)
    argv = (sys.executable, "-c", PUBLISH, folder / "hapkg")
    return {name: time_idle(*argv, debs, key) for name, debs in ((NOTHING, many), (MORE, more), (SAME, both))}


def time_aptly(folder: Path, many: Path, more: Path, gnupg: Path) -> dict[str, float]:
    """Seconds of aptly for the first two."""
    configuration = folder / "aptly.conf"
    configuration.write_text(json.dumps({"rootDir": str(folder / "aptly"), "gpgProvider": "gpg"}))
    aptly = ("aptly", f"-config={configuration}")
    home = {"GNUPGHOME": str(gnupg)}
    call(*aptly, "repo", "create", "-distribution=bookworm", "bench", environment=home)
    first = time_idle(*aptly, "repo", "add", "bench", many, environment=home)
    first += call(*aptly, "publish", "repo", "-batch", "-acquire-by-hash", "bench", environment=home)
    second = time_idle(*aptly, "repo", "add", "bench", more, environment=home)
    second += call(*aptly, "publish", "update", "-batch", "bookworm", environment=home)
    return {NOTHING: first, MORE: second}


def time_idle(*argv: str | Path, environment: Mapping[str, str] | None = None) -> float:
    """Seconds of a process that begins with an idle disk: what others wrote is not what it waits for."""
    os.sync()
    return call(*argv, environment=environment)


def compare(base: Path, key: Path, count: int, runs: int, *, alone: bool) -> None:
    """hapkg and aptly in turns, each time into a new repository."""
    make_packages(base / "many", 0, count)
    make_packages(base / "more", count, count + 1)
    gnupg = base / "gnupg"
    gnupg.mkdir(mode=0o700)
    act = ("--batch", "--passphrase", "", "--quick-generate-key", "bench <bench@hapkg.invalid>", "ed25519", "sign")
    call("gpg", *act, environment={"GNUPGHOME": str(gnupg)})
    call(sys.executable, "-c", PUBLISH, base / "warm", base / "more", key)
    figures: dict[tuple[str, str], list[float]] = {}
    for run in range(runs):
        folder = base / str(run)
        folder.mkdir()
        found: dict[str, Mapping[str, float]] = {"hapkg": time_hapkg(folder, base / "many", base / "more", key)}
        if not alone:
            found["aptly"] = time_aptly(folder, base / "many", base / "more", gnupg)
        for program, seconds in found.items():
            for act_name, value in seconds.items():
                figures.setdefault((act_name, program), []).append(value)
        shutil.rmtree(folder)
    call("gpgconf", "--kill", "all", environment={"GNUPGHOME": str(gnupg)})
    rows = []
    for name in (NOTHING, MORE, SAME):
        own = statistics.median(figures[name, "hapkg"])
        other = statistics.median(figures[name, "aptly"]) if (name, "aptly") in figures else None
        rows.append((name, f"{own:.2f} s", *((f"{other:.2f} s", f"{own / other:.2f}") if other else ("-", "-"))))
    notes = {"packages": str(count), "runs": str(runs)}
    keep("publish", make_table(("publish", "hapkg", "aptly", "hapkg ÷ aptly"), rows), notes)


def grow(base: Path, key: Path, counts: list[int], runs: int) -> None:
    """One repository that grows; at each size one package is added, as often as there are runs, and then nothing."""
    root, rows, made = base / "hapkg", [], 0
    argv = (sys.executable, "-c", PUBLISH, root)
    make_packages(base / "first", -1, 0)
    call(*argv, base / "first", key)  # makes the key
    for count in sorted(counts):
        many = base / f"to-{count}"
        make_packages(many, made, count)
        filled = call(*argv, many, key)
        shutil.rmtree(many)
        adding, same = [], []
        for number in range(count, count + runs):
            make_packages(base / f"one-{number}", number, number + 1)
            adding.append(call(*argv, base / f"one-{number}", key))
            same.append(call(*argv, base / f"one-{number}", key))
        made = count + runs
        rows.append(
            (f"{count}", f"{filled:.2f} s", f"{statistics.median(adding):.2f} s", f"{statistics.median(same):.2f} s")
        )
    keep("publish-growth", make_table(("packages", "filled to it", MORE, SAME), rows), {"runs": str(runs)})


def main() -> None:
    """Print the medians as a table, and keep it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", type=int, default=300)
    parser.add_argument("--growth", type=int, nargs="+", metavar="PACKAGES")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hapkg-bench-", dir="/var/tmp") as scratch:
        base = Path(scratch)
        if options.growth:
            grow(base, base / "keys", options.growth, options.runs)
        else:
            compare(base, base / "keys", options.packages, options.runs, alone=options.alone)


if __name__ == "__main__":
    main()
