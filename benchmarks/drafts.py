"""Upstreams of every kind, from nothing to packages by `hapkg new --trial`, without a hand.

    .venv/bin/python benchmarks/drafts.py [--suite bookworm] [--only NAME ...] [--from-tarball]

Each is drafted in a project of its own below another prefix, from the source package of the suite, built in a clean
chroot with its tests and lintian, and amended by what its log names, ten times at most. --from-tarball drafts from the
tarball alone, as for a source that Debian does not have. A base chroot of the suite is made where there is none.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tables import keep, make_table

SOURCES = {
    "autotools": (
        "bridge-utils",
        "ethtool",
        "fping",
        "htop",
        "ipset",
        "libcap-ng",
        "libestr",
        "libevent",
        "libfastjson",
        "libonig",
        "libyaml",
        "popt",
        "pv",
        "socat",
        "tmux",
    ),
    "meson": ("fribidi", "libepoxy", "libslirp", "pixman"),
    "cmake": ("cjson", "double-conversion", "json-c", "tinyxml2"),
    "make": ("dos2unix", "lz4", "memtester", "tree"),
    "setup.py": ("markupsafe", "python-mccabe", "sortedcontainers"),
}
"""Source packages by how upstream builds; none of them is one of the stack's."""
HAPKG = (sys.executable, "-c", "from hapkg.cli.main import main; main()")


def main() -> None:
    """Draft and build them all; print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--from-tarball", action="store_true")
    options = parser.parse_args()
    rows: list[tuple[str, ...]] = []
    for kind, names in SOURCES.items():
        for name in names:
            if not options.only or name in options.only:
                rows.append((name, kind, *try_one(name, options.suite, from_tarball=options.from_tarball)))
                print(" | ".join(rows[-1]), flush=True)
    built = sum(row[2] == "built" for row in rows)
    text = make_table(("source", "builds with", "result", "builds", "changes", "seconds", "why not"), rows)
    keep("drafts", f"{text}\n{built} of {len(rows)} are built, for {options.suite}\n")


def try_one(name: str, suite: str, *, from_tarball: bool) -> tuple[str, ...]:
    """Result, builds, changes of the recipe, seconds, and the first words of the failure."""
    begun = time.monotonic()
    with TemporaryDirectory(prefix="hapkg-drafts-") as place:
        project = Path(place) / "trial"
        subprocess.run([*HAPKG, "init", project, "--suite", suite, "--maintainer", "T <t@example.org>"], check=True)
        (project / "recipes/stack/recipe.toml").unlink()
        (project / "recipes/stack").rmdir()
        origin = fetch_tarball(name, suite, Path(place)) if from_tarball else f"debian:{name}/{suite}"
        argv = [*HAPKG, "new", name, "--from", origin, "--trial"]
        done = subprocess.run(argv, cwd=project, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    changes = len(re.findall(r"(?m)^  (?:build-depends|files|files of \S+|not-installed): [+-] ", said))
    builds = len(re.findall(rf"(?m)^trial-{re.escape(name)}: (?:built|failed)", said))
    error, hint = (re.search(rf"(?m)^{word}: (.*)", said) for word in ("error", "hint"))
    result = "built" if done.returncode == 0 else "no draft" if not builds else "not built"
    seconds = f"{time.monotonic() - begun:.0f}"
    return result, str(builds), str(changes), seconds, "; ".join(found[1] for found in (error, hint) if found)


def fetch_tarball(name: str, suite: str, folder: Path) -> str:
    """The tarball of a source package of the suite, by apt of this host."""
    argv = ["apt-get", "source", "--download-only", "--tar-only", f"{name}/{suite}"]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    return str(next(folder.glob("*.orig.tar.*")))


if __name__ == "__main__":
    main()
