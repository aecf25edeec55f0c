"""A fresh machine with a warm build cache: `hapkg build-all && hapkg publish`, and what checking costs.

    .venv/bin/python benchmarks/cache.py [--cache DIR] [--suite bookworm] [--runs 3] [--source ha-dlm]

The state folder has the built stack: it is pushed into a cache in a folder first. A fresh machine has nothing but the
checkout and its keys; the base chroot comes from the cache, too. In the same run the files of the cache are copied by
cp, and copied and hashed by cp and sha256sum: what is left is what hapkg does beside that. Then one source is built
that the cache has not, on a fresh machine each: with the layers of build dependencies of the cache, and without these.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import tomlkit
from tables import call, describe_machine, keep, make_table

from hapkg.locations import find_state

CHECKOUT = Path(__file__).parents[1]
HAPKG = Path(sys.executable).with_name("hapkg")


def main() -> None:
    """Push, take everything on fresh machines, and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--source", default="ha-dlm")
    options = parser.parse_args()
    state = find_state(options.cache).root
    with tempfile.TemporaryDirectory(prefix="hapkg-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        keys = {"HAPKG_KEYS": str(folder / "keys")}
        make_project(folder, options.suite)
        refused = subprocess.run(
            [HAPKG, "build-all", "--push"],
            cwd=folder / "project", capture_output=True, text=True, check=False,
            env={**os.environ, "HAPKG_CACHE": str(state), **keys},
        )  # fmt: skip
        trust(folder / "project", refused.stderr.split()[3])
        pushing = call(
            HAPKG, "build-all", "--push", cwd=folder / "project", environment={"HAPKG_CACHE": str(state), **keys}
        )
        figures = sorted(take(folder, number, options.suite, keys) for number in range(options.runs))
        building, publishing = figures[len(figures) // 2]
        shared = folder / "project/shared"
        layers = sum(1 for _ in (shared / "layers").iterdir())
        files = [file for file in (folder / "project/shared/blobs").rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        copying = call("cp", "-r", folder / "project/shared/blobs", folder / "copy")
        hashing = call("sh", "-c", 'find "$0" -type f -print0 | xargs -0 sha256sum', folder / "copy")
        forget(shared, options.source)
        taken = build_one(folder, options.source, options.suite, keys)
        shutil.rmtree(shared / "layers")
        made = build_one(folder, options.source, options.suite, keys)
    rows = [
        (f"push all builds, the base chroot and {layers} layers", f"{pushing:.1f}", ""),
        ("fresh machine: build-all", f"{building:.1f}", f"{building / (copying + hashing):.1f}"),
        ("fresh machine: publish", f"{publishing:.1f}", ""),
        ("both", f"{building + publishing:.1f}", ""),
        ("cp of all files", f"{copying:.1f}", ""),
        ("sha256sum of all files", f"{hashing:.1f}", ""),
        (f"fresh machine: build {options.source}, layers of the cache", f"{taken:.1f}", ""),
        (f"fresh machine: build {options.source}, layers made there", f"{made:.1f}", ""),
    ]
    text = make_table(("", "seconds", "÷ cp and sha256sum"), rows)
    print(text)
    keep("cache", f"{text}\n{len(files)} files of {options.suite}, {size >> 20} MiB; {describe_machine()}\n")


def make_project(folder: Path, suite: str) -> None:
    """The checkout's recipes, with a build cache."""
    project = folder / "project"
    project.mkdir()
    for name in ("recipes", "debian-templates"):
        shutil.copytree(CHECKOUT / name, project / name)
    settings = tomlkit.parse((CHECKOUT / "pyproject.toml").read_text())["tool"]["hapkg"]
    kept = {**settings, "suite": suite, "suites": [suite], "build-cache": "shared"}
    (project / "pyproject.toml").write_text(tomlkit.dumps({"tool": {"hapkg": kept}}))


def trust(project: Path, fingerprint: str) -> None:
    """Name the key of this run as one that may write."""
    file = project / "pyproject.toml"
    whole = tomlkit.parse(file.read_text())
    whole["tool"]["hapkg"]["build-cache-trust"] = [fingerprint]
    file.write_text(tomlkit.dumps(whole))


def forget(shared: Path, source: str) -> None:
    """Remove the builds of a source from a cache."""
    found = [file for file in (shared / "entries").iterdir() if f'"{source}"' in read_source(file)]
    for file in found:
        file.unlink()
    if not found:
        sys.exit(f"the cache has no {source}")


def read_source(file: Path) -> str:
    """The line of an entry that names its source."""
    entry = json.loads(json.loads(file.read_text())["entry"])
    return json.dumps(entry.get("source"))


def build_one(folder: Path, source: str, suite: str, keys: dict[str, str]) -> float:
    """Seconds of building one source on a machine that has nothing; all else comes from the cache."""
    fresh = {"HAPKG_CACHE": str(folder / "fresh-one"), **keys}
    try:
        return call(HAPKG, "build", source, cwd=folder / "project", environment=fresh)
    finally:
        call(HAPKG, "chroot", "rm", suite, cwd=folder / "project", environment=fresh)
        shutil.rmtree(folder / "fresh-one", ignore_errors=True)


def take(folder: Path, number: int, suite: str, keys: dict[str, str]) -> tuple[float, float]:
    """Seconds of build-all and publish on a machine that has nothing."""
    fresh = {"HAPKG_CACHE": str(folder / f"fresh-{number}"), **keys}
    try:
        building = call(HAPKG, "build-all", cwd=folder / "project", environment=fresh)
        publishing = call(
            HAPKG, "publish", "--repo", folder / f"apt-{number}", cwd=folder / "project", environment=fresh
        )
        return building, publishing
    finally:
        call(HAPKG, "chroot", "rm", suite, cwd=folder / "project", environment=fresh)


if __name__ == "__main__":
    main()
