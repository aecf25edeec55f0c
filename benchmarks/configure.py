"""The time that configure would save if it were told what it finds out: an upper bound, and what could be told.

    .venv/bin/python benchmarks/configure.py [--suite bookworm] [--cache DIR] [--runs 3] [--only NAME …]

Every source of the stack that is built by autotools is configured in one chroot that has all build dependencies and all
packages of the stack, by its own rules, from the newest builds in a state folder: as it is, with all the answers of its
own last run in a config.site, and with those that all sources agree on and at least two ask. The first can be told to
nobody who has not configured before; only the second could be kept beside a base chroot.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from build import write
from tables import keep, make_table

from hapkg.build.store import Store
from hapkg.chroot import schroot
from hapkg.chroot.base import BUILD_FOLDER
from hapkg.chroot.layer import enter_layer
from hapkg.chroot.sessions import Session
from hapkg.control import SourceName, Suite
from hapkg.locations import find_state
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.graph import make_graph
from hapkg.recipe.settings import find_project

CHECKOUT = Path(__file__).parents[1]
ANSWER = "_cv_"
"""Part of the names of autoconf's cached answers."""
SCRIPT = """\
export DEB_BUILD_MAINT_OPTIONS=hardening=+all DEB_BUILD_OPTIONS=nocheck
if [ -e debian/exports.sh ]; then . debian/exports.sh; fi
eval "$(dpkg-architecture --print-set)"
make -f debian/rules override_dh_{step}
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=Suite, default=Suite("bookworm"))
    parser.add_argument("--cache", type=Path, help="the state folder with the builds")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="sources, instead of all")
    options = parser.parse_args()
    project = find_project(CHECKOUT)
    recipes = read_recipes(project)
    graph = make_graph(recipes, package_prefix=project.settings.package_prefix)
    store = Store(root=find_state(options.cache).root)
    builds = {build.source: build for build in store.list_builds() if build.suite == options.suite}
    wanted = {f"ha-{name}" for name in options.only} or {*graph.order}
    names = [name for name in graph.order if name in wanted & builds.keys() and recipes[name].style.name == "autotools"]
    base = schroot.find_chroot(store.state, options.suite)
    if base is None:
        raise SystemExit(f"there is no base chroot of {options.suite}")
    packages = {name: version for build in builds.values() for name, version in build.inputs["depends"].items()}
    with tempfile.TemporaryFile() as log, enter_layer(store.state, base, packages, "configure", log) as session:
        debs = [deb for name in names for deb in builds[name].paths(".deb") if "-dbgsym_" not in deb.name]
        session.copy_in(debs, BUILD_FOLDER, user="root")
        unpack = ["dpkg", "--force-depends", "--unpack", *(f"{BUILD_FOLDER}/{deb.name}" for deb in debs)]
        session.run(unpack, user="root", log=log)
        for name in names:
            session.copy_in(builds[name].paths(".dsc", ".tar.xz", ".tar.gz", ".tar.bz2"), BUILD_FOLDER, user="root")
            (dsc,) = builds[name].paths(".dsc")
            session.run(["sh", "-c", f"cd {BUILD_FOLDER} && dpkg-source --no-check -x {dsc.name} {name}"], user="root")
            for step in ("autoreconf", "auto_configure"):
                write(session, f"{BUILD_FOLDER}/{name}-{step}.sh", SCRIPT.format(step=step))
            session.run(["sh", "-ec", f"cd {BUILD_FOLDER}/{name} && sh -e ../{name}-autoreconf.sh"], user="root")
        told = {name: record(session, name) for name in names}
        shared = find_shared(told)
        rows = []
        sums = [0.0, 0.0, 0.0]
        for name in names:
            sites: tuple[dict[str, str], ...] = (
                {},
                told[name],
                {key: value for key, value in shared.items() if key in told[name]},
            )
            seconds = [measure(session, name, site, options.runs) for site in sites]
            sums = [one + other for one, other in zip(sums, seconds, strict=True)]
            rows.append((name, *(f"{one:.1f}" for one in seconds), f"{len(sites[2])} of {len(sites[1])}"))
        rows.append(("all", *(f"{one:.1f}" for one in sums), ""))
    table = make_table(
        ("configure", "s as it is", "s with its own answers", "s with shared ones", "answers shared"), rows
    )
    print(table)
    keep("configure", table)


def record(session: Session, name: str) -> dict[str, str]:
    """The answers of a source's configure, by variable."""
    configure(session, name, f"cache_file={BUILD_FOLDER}/{name}.cache\n")
    text = session.run(["cat", f"{BUILD_FOLDER}/{name}.cache"], user="root").output
    lines = [line for line in text.splitlines() if not line.startswith("#") and ANSWER in line and "=${" in line]
    return {line.partition("=")[0]: line for line in lines}


def find_shared(told: Mapping[SourceName, dict[str, str]]) -> dict[str, str]:
    """The answers that at least two sources ask, and that all who ask them agree on."""
    found: dict[str, set[str]] = {}
    counts: dict[str, int] = {}
    for answers in told.values():
        for key, line in answers.items():
            found.setdefault(key, set()).add(line)
            counts[key] = counts.get(key, 0) + 1
    return {key: min(lines) for key, lines in found.items() if len(lines) == 1 and counts[key] > 1}


def measure(session: Session, name: str, answers: dict[str, str], runs: int) -> float:
    """The median of the seconds that configure takes when it is told these answers."""
    text = "".join(f"{line}\n" for line in answers.values())
    return statistics.median(configure(session, name, text) for _ in range(runs))


def configure(session: Session, name: str, site: str) -> float:
    """Configure a source with this config.site; seconds."""
    write(session, f"{BUILD_FOLDER}/config.site", site)
    clock = "date +%s.%N"
    script = f"""cd {BUILD_FOLDER}/{name}; export CONFIG_SITE={BUILD_FOLDER}/config.site
began=$({clock}); sh -e ../{name}-auto_configure.sh > ../{name}.log 2>&1; echo "$began $({clock})"
"""
    began, ended = session.run(["sh", "-ec", script], user="root").output.split()[-2:]
    return float(ended) - float(began)


if __name__ == "__main__":
    main()
