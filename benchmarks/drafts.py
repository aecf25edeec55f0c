"""Upstreams of every kind, from nothing to packages by `hapkg new --trial`, without a hand.

    .venv/bin/python benchmarks/drafts.py [--suite bookworm] [--only NAME ...] [--from-tarball]

Each is drafted in a project of its own below another prefix, from the source package of the suite, built in a clean
chroot with its tests and lintian, and amended by what its log names, ten times at most. --from-tarball drafts from the
tarball alone, as for a source that Debian does not have. A base chroot of the suite is made where there is none.

--peers drafts the same tarballs with dh_make and debmake (`apt install dh-make debmake`) and builds what they write by
sbuild in a schroot of the same packages; there, a source counts as built when a package has a file beside its
documents. Both are drafts for a person to go on with, and neither says that its draft builds.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tables import keep, make_table

from hapkg.apt.mirror import find_mirror
from hapkg.control import Suite
from hapkg.distribution import read_debian
from hapkg.locations import find_state
from hapkg.source.origins.debian import update_index

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
PEERS = {
    "dh_make": ("dh_make", "--yes", "--single", "--packagename", "{name}_{version}"),
    "debmake": (
        "debmake",
        "--package",
        "{name}",
        "--upstreamversion",
        "{version}",
        "--revision",
        "1",
        "--targz",
        "{kind}",
    ),
}
"""Commands in the unpacked tree, by peer."""
HAPKG = (sys.executable, "-c", "from hapkg.cli.main import main; main()")


def main() -> None:
    """Draft and build them all; print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--from-tarball", action="store_true")
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    if options.peers:
        compare_peers(options.suite, options.only)
        return
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


def compare_peers(suite: str, only: list[str]) -> None:
    """Draft and build the same sources with dh_make and debmake; print and keep the table."""
    rows = []
    with make_schroot(suite) as chroot:
        for kind, names in SOURCES.items():
            for name in names:
                if not only or name in only:
                    results = [try_peer(name, suite, chroot, peer) for peer in PEERS]
                    rows.append((name, kind, *results))
                    print(" | ".join(rows[-1]), flush=True)
    text = make_table(("source", "builds with", *PEERS), rows)
    built = ", ".join(f"{peer} {sum(row[2 + n] == 'built' for row in rows)}" for n, peer in enumerate(PEERS))
    keep("drafts-peers", f"{text}\n{built} of {len(rows)} are built, for {suite}\n")


@contextmanager
def make_schroot(suite: str) -> Iterator[str]:
    """A schroot as sbuild wants it, over the packages of the base chroot."""
    state = Path(os.environ.get("HAPKG_CACHE") or Path.home() / ".cache/hapkg")
    name, file = f"{suite}-drafts", Path(f"/etc/schroot/chroot.d/{suite}-drafts")
    lines = (f"[{name}]", "type=directory", f"directory={state / 'chroots' / suite / 'root'}", "union-type=overlay")
    file.write_text("\n".join((*lines, "users=root", "root-users=root", "profile=sbuild", "")))
    try:
        yield name
    finally:
        file.unlink()


def try_peer(name: str, suite: str, chroot: str, peer: str) -> str:
    """The end of a peer's draft: "built", or where it stops."""
    with TemporaryDirectory(prefix="hapkg-drafts-") as place:
        folder = Path(place)
        tarball = Path(fetch_tarball(name, suite, folder))
        version, _, kind = tarball.name.partition("_")[2].partition(".orig.")
        subprocess.run(
            ["tar", "-xf", tarball.name, "--one-top-level=tree", "--strip-components=1"], cwd=folder, check=True
        )
        tree = (folder / "tree").rename(folder / f"{name}-{version}")
        environment = {**os.environ, "DEBFULLNAME": "T", "DEBEMAIL": "t@example.org", "USER": "root"}
        for argv in (
            [word.format(name=name, version=version, kind=kind) for word in PEERS[peer]],
            ["dpkg-source", "-b", "."],
        ):
            if run_quietly(argv, tree, environment).returncode:
                return f"no draft ({argv[0]})"
        (dsc,) = folder.glob("*.dsc")
        argv = ["sbuild", f"--chroot={chroot}", f"--dist={suite}", "--no-run-lintian", "--nolog", str(dsc)]
        if run_quietly(argv, folder).returncode:
            return "not built"
        files = [
            line.split(maxsplit=5)[5]
            for deb in folder.glob("*.deb")
            if "-dbgsym_" not in deb.name
            for line in run_quietly(["dpkg-deb", "-c", str(deb)], folder).stdout.splitlines()
            if line.startswith(("-", "l"))
        ]
        return "built" if any(not path.startswith("./usr/share/doc/") for path in files) else "built empty"


def run_quietly(
    argv: Sequence[str], folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program whose status and output its caller judges."""
    return subprocess.run(
        argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def fetch_tarball(name: str, suite: str, folder: Path) -> str:
    """The tarball of a source package of the suite."""
    line = find_mirror(None, read_debian()).line(Suite(suite), "deb-src")
    options = update_index(find_state(None), suite, line, refresh=False)
    argv = ["apt-get", *options, "source", "--download-only", "--tar-only", name]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    return str(next(folder.glob("*.orig.tar.*")))


if __name__ == "__main__":
    main()
