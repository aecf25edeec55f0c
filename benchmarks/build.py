"""The cost of a build of the stack, against bare builds and against sbuild, in the same run.

    .venv/bin/python benchmarks/build.py [--suite bookworm] [--leave-out sbuild] [--cache DIR] [--tests] [--only NAME …]

Everything works on a copy of the checkout and a state folder of its own, with the tarballs and the archive's packages
that the user's state folder has: no figure holds a download. lintian runs in one of hapkg's two builds of the stack,
and nowhere else. Upstream's tests are left out everywhere. With --tests they run in hapkg's one build and in sbuild's,
both with lintian, and in the bare builds, beside the sources that need what they test; how long changes take is not
measured then. Nor is it with --only, which builds these sources and what they need.

bare        what a person does by hand, in one chroot that has every build dependency already: autoreconf, configure,
            make, make install, with the same flags, by one `make -j CORES` over all sources, each as soon as it can
build-all   hapkg, with the base chroot made and no layer of build dependencies: with lintian, as people run it, and
            without, as the two others
sbuild      Debian's sbuild over the same .dsc files, one after the other, with an overlay and a warm package cache
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from processes import Work, compare_work, watch
from tables import call, describe_machine, keep, make_table, measure

from hapkg.build.store import Artifact, Store
from hapkg.chroot import schroot
from hapkg.chroot.base import BUILD_FOLDER, BUILD_USER
from hapkg.chroot.layer import enter_layer
from hapkg.chroot.schroot import Chroot
from hapkg.chroot.sessions import Session
from hapkg.control import SourceName, Suite
from hapkg.errors import ProcessError
from hapkg.locations import State, find_state
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.graph import Graph, make_graph
from hapkg.recipe.model import Recipe
from hapkg.recipe.settings import find_project

CHECKOUT = Path(__file__).parents[1]
CORES = len(os.sched_getaffinity(0))
HIDDEN = {"ha-resource-agents": "export ac_cv_path_XSLTPROC="}
"""Extra work of a source where the tools of all others are found: manual pages."""
LINTIAN = "--no-cfg --dont-check-part shell/non-posix/bash-centric"
"""The checks that hapkg makes."""
SBUILD = """\
[{name}]
type=directory
directory={root}
union-type=overlay
users=root
root-users=root
profile=sbuild
setup.fstab=../..{fstab}
"""


class Bench:
    """A copy of the checkout with a state folder of its own."""

    def __init__(self, folder: Path, suite: Suite) -> None:
        self.suite = suite
        self.cache = folder / "cache"
        self.root = folder / "checkout"
        self.store = Store(root=self.cache)
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
        for name in tracked.stdout.split("\0")[:-1]:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, self.root / name)
        settings = self.root / "pyproject.toml"  # no person builds the module by hand with the stack
        settings.write_text(re.sub(r"\n\[tool\.hapkg\.kernels\]\n[^[]*", "\n", settings.read_text("utf-8")), "utf-8")
        self.home = folder / "home"
        self.home.mkdir()

    def warm(self, cache: Path) -> None:
        """Take over what was downloaded before, and make the base chroot."""
        for name in ("sources", f"archives/{self.suite}"):
            if (cache / name).is_dir():
                shutil.copytree(cache / name, self.cache / name, dirs_exist_ok=True)
        self.hapkg("chroot", "create", "--suite", self.suite)

    def forget(self) -> None:
        """Remove all that a build left: the next one begins as the first."""
        for entry in self.cache.iterdir():
            if entry.is_dir() and entry.name not in ("sources", "archives", "chroots"):
                shutil.rmtree(entry)

    def hapkg(self, *arguments: str) -> float:
        """Run hapkg; seconds."""
        program = Path(sys.executable).with_name("hapkg")
        return call(program, "--cache", self.cache, *arguments, cwd=self.root, environment={"HOME": str(self.home)})

    def hapkg_tells(self, *arguments: str) -> str:
        """Run hapkg; what it says."""
        program = Path(sys.executable).with_name("hapkg")
        argv = [str(program), "--cache", str(self.cache), *arguments]
        return subprocess.run(argv, cwd=self.root, stdout=subprocess.PIPE, text=True, check=True).stdout

    def build_all(self, *names: str, lintian: bool = True, tests: bool = False) -> tuple[float, dict[str, str]]:
        """hapkg build-all, or build of these names; seconds, and how each source ended."""
        program = Path(sys.executable).with_name("hapkg")
        what = ("build", *names) if names else ("build-all",)
        argv = [str(program), "--cache", str(self.cache), *what, "--suite", self.suite, "--json"]
        argv += [] if tests else ["--no-tests"]
        argv += [] if lintian else ["--no-lintian"]
        begun = time.monotonic()
        done = subprocess.run(argv, cwd=self.root, stdout=subprocess.PIPE, text=True, check=False)
        seconds = time.monotonic() - begun
        if done.returncode != 0:
            raise SystemExit(f"hapkg {' '.join(what)}: exit status {done.returncode}\n{done.stdout}")
        return seconds, {outcome["source"]: outcome["outcome"] for outcome in json.loads(done.stdout)}

    def read(self) -> tuple[dict[SourceName, Recipe], Graph, dict[SourceName, Artifact]]:
        """Recipes, graph and newest builds."""
        project = find_project(self.root)
        recipes = read_recipes(project)
        builds = {build.source: build for build in self.store.list_builds() if build.suite == self.suite}
        return recipes, make_graph(recipes, package_prefix=project.settings.package_prefix), builds


def time_bare(bench: Bench, works: dict[str, Work], *, tests: bool = False) -> tuple[float, dict[str, float]]:
    """The stack built by hand: seconds of all, and of each source."""
    recipes, graph, builds = bench.read()
    base = find_base(bench)
    packages: dict[str, str] = {}
    for build in builds.values():
        packages |= build.inputs["depends"]
    with tempfile.TemporaryFile() as log, enter_layer(State(bench.cache), base, packages, "bare", log) as session:
        names = [name for name in graph.order if recipes[name].style.name != "meta" and name in builds]
        tested = [name for name in names if tests and recipes[name].tests]
        for name in names:
            session.copy_in(builds[name].paths(".dsc", ".tar.xz", ".tar.gz", ".tar.bz2"), BUILD_FOLDER, user="root")
            (dsc,) = builds[name].paths(".dsc")
            session.run(["sh", "-c", f"cd {BUILD_FOLDER} && dpkg-source --no-check -x {dsc.name} {name}"], user="root")
        targets = " ".join((*names, *(f"test-{name}" for name in tested)))
        lines = [f".PHONY: all {targets}", f"all: {targets}"]  # folders have these names
        for name in names:
            needs = " ".join(need for need in graph.needs[name] if need in names)
            write(session, f"{BUILD_FOLDER}/{name}.sh", make_script(recipes[name]))
            lines += [f"{name}: {needs}", f"\t+@cd {BUILD_FOLDER}/{name} && sh -e ../{name}.sh > ../{name}.log 2>&1"]
        for name in tested:
            write(session, f"{BUILD_FOLDER}/test-{name}.sh", make_script(recipes[name], tests=True))
            user = f"setpriv --reuid={BUILD_USER} --regid={BUILD_USER} --clear-groups"
            script = f"chown -R {BUILD_USER}: . && {user} sh -e ../test-{name}.sh > ../test-{name}.log 2>&1"
            lines += [f"test-{name}: {name}", f"\t+@cd {BUILD_FOLDER}/{name} && {script}"]
        write(session, f"{BUILD_FOLDER}/Makefile", "\n".join((*lines, "")))
        tell = "grep -L ^TOOK: *.log | xargs tail -n 20; exit 1"
        argv = ["sh", "-c", f"cd {BUILD_FOLDER} && make -j {CORES} || {{ {tell}; }}"]
        try:
            with watch() as works["bare"]:
                session.run(argv, user="root", log=log)
        except ProcessError as error:
            log.seek(0)
            raise SystemExit(f"bare builds: {error.brief}\n{log.read().decode('utf-8', 'replace')[-8000:]}") from error
        told = session.run(["sh", "-c", f"cd {BUILD_FOLDER} && grep ^TOOK: *.log"], user="root").output
    return works["bare"].wall, {
        name: float(took) for name, took in re.findall(r"^(\S+)\.log:TOOK: (\S+)", told, re.MULTILINE)
    }


def make_script(recipe: Recipe, *, tests: bool = False) -> str:
    """The commands of a source, or those of its tests, by its own rules where they are more than the usual ones."""
    words = " ".join(f'"{word}"' for word in recipe.make)
    if recipe.style.name == "autotools":
        steps = ("autoreconf", "auto_configure")  # one call would do them side by side: its jobs are those of all
        commands = [f"make -f debian/rules override_dh_{step}" for step in steps]
        commands += [f"make {words}", f"make install {words}"]
    elif recipe.style.name == "make":
        variables = f'PREFIX="$PREFIX" LIBDIR="$PREFIX/lib" {words}'
        commands = [f"make {variables}", f"make install {variables}"]
    elif recipe.style.name == "python":
        build, install = "build --executable=/usr/bin/python3", "--prefix=$PREFIX --root=/"
        commands = ["make -f debian/rules execute_before_dh_auto_build", f"python3 setup.py {build}"]
        commands += [f"python3 setup.py install {install} --install-scripts=$PREFIX/sbin"]
    else:
        commands = ["make -f debian/rules override_dh_auto_build"]
    if tests:
        commands = ["make -f debian/rules override_dh_auto_test"]
    wanted = f"parallel={CORES}" if tests else "nocheck"
    environment = [f"export DEB_BUILD_MAINT_OPTIONS=hardening=+all DEB_BUILD_OPTIONS={wanted}"]
    environment += ["if [ -e debian/exports.sh ]; then . debian/exports.sh; fi"]  # a kernel module has none
    environment += [
        HIDDEN.get(recipe.source, ""),
        'eval "$(dpkg-architecture --print-set)"',
    ]  # once, not for each variable
    clock = ["began=$(date +%s.%N)", "took=$(echo \"$(date +%s.%N) $began\" | awk '{print $1 - $2}')"]
    return "\n".join((*environment, clock[0], *commands, clock[1], 'echo "TOOK: $took"', ""))


def write(session: Session, path: str, text: str) -> None:
    """A file in a session."""
    with tempfile.TemporaryFile() as content:
        content.write(text.encode())
        content.seek(0)
        session.run(["sh", "-c", f"cat > {path}"], user="root", stdin=content)


def time_sbuild(bench: Bench, folder: Path, *, tests: bool = False) -> tuple[float, list[SourceName]]:
    """Debian's sbuild over the same sources, perhaps with tests and lintian; seconds, and whose tests failed."""
    _, graph, builds = bench.read()
    base = find_base(bench)
    name = f"{base.name}-bench"
    fstab, configuration = folder / "fstab", Path("/etc/schroot/chroot.d") / name
    mounts = Path("/etc/schroot/sbuild/fstab").read_text("utf-8")
    archives = bench.cache / "archives" / bench.suite
    fstab.write_text(f"{mounts}\n{archives} /var/cache/apt/archives none rw,bind 0 0\n", "utf-8")
    configuration.write_text(SBUILD.format(name=name, root=base.root, fstab=fstab), "utf-8")
    argv = ["sbuild", f"--chroot={name}", f"--dist={bench.suite}", "--nolog", "--batch"]
    argv += ["--no-apt-update", "--no-apt-upgrade", "--no-apt-distupgrade"]
    argv += ["--run-lintian", f"--lintian-opts={LINTIAN}"] if tests else ["--no-run-lintian"]
    wanted = f"parallel={CORES}" if tests else f"nocheck parallel={CORES}"
    options = {**os.environ, "DEB_BUILD_OPTIONS": wanted, "HOME": str(bench.home)}
    seconds, failed = 0.0, list[SourceName]()
    try:
        for source in (name for name in graph.order if name in builds):
            target = folder / source
            target.mkdir()
            debs = [deb for need in graph.needs[source] for deb in (folder / need).glob("*.deb")]
            (dsc,) = builds[source].paths(".dsc")
            whole = [*argv, *(f"--extra-package={deb}" for deb in debs), str(dsc)]
            begun = time.monotonic()
            done = subprocess.run(
                whole, cwd=target, env=options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
            )
            took = time.monotonic() - begun
            print(f"  sbuild {source}: {took:.0f} s", file=sys.stderr)
            seconds += took
            if done.returncode != 0:  # upstream's tests may want what a session of sbuild has not
                print(done.stdout.decode("utf-8", "replace")[-3000:], file=sys.stderr)
                failed.append(source)
                call(*whole, cwd=target, environment={**options, "DEB_BUILD_OPTIONS": f"nocheck parallel={CORES}"})
    finally:
        configuration.unlink()
    return seconds, failed


def patch(bench: Bench, recipe: str, file: str, what: str, before: str, after: str) -> None:
    """Give a recipe one more patch, which changes one line of one file."""
    folder = bench.root / "recipes" / recipe / "patches"
    folder.mkdir(exist_ok=True)
    series = folder / "series"
    known = series.read_text("utf-8") if series.exists() else ""
    name = f"bench-{len(known.splitlines())}.patch"
    _, _, builds = bench.read()
    build = builds[SourceName(f"ha-{recipe}")]
    with tempfile.TemporaryDirectory() as scratch:
        (dsc,) = build.paths(".dsc")
        call("dpkg-source", "--no-check", "-x", dsc, "tree", cwd=Path(scratch))
        tree = Path(scratch, "tree")
        shutil.copy(tree / file, tree / "before")
        text = (tree / file).read_text("utf-8")
        if before not in text:
            raise SystemExit(f"{recipe}: {file} has no line {before!r}")
        (tree / file).write_text(text.replace(before, after, 1), "utf-8")
        argv = ["diff", "-u", "--label", f"a/{file}", "--label", f"b/{file}", str(tree / "before"), str(tree / file)]
        difference = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    header = f"Description: {what}\nAuthor: a benchmark\n"
    (folder / name).write_text(header + difference, "utf-8")
    series.write_text(f"{known}{name}\n", "utf-8")


def compare(rows: Rows, name: str, peer: float, own: Mapping[str, float], limit: float) -> None:
    """hapkg's builds of the stack against another one."""
    for what, seconds in own.items():
        ratio = seconds / peer
        rows.append((f"{what} ÷ {name}", f"{ratio:.2f}", f"≤ {limit}", verdict(ratio <= limit)))


def time_changes(bench: Bench, bare: Mapping[str, float], rows: Rows) -> None:
    """The cost of the four small changes: rows of the table."""
    again = measure(bench.build_all, 5)
    rows.append(("second build-all, nothing changed", f"{again:.2f} s", "< 0.5 s", verdict(again < 0.5)))

    patch(bench, "crmsh", "crmsh/ra.py", "a comment", "import os\n", "import os  # a comment\n")
    seconds, endings = bench.build_all("crmsh")
    built = list_built(endings)
    own = bare.get("ha-crmsh", 0.0)
    rows.append(
        (
            f"crmsh touched (bare {own:.1f} s); built: {' '.join(built)}",
            f"{seconds:.1f} s",
            f"≤ {own + 5:.1f} s, crmsh alone",
            verdict(seconds <= own + 5 and built == ["ha-crmsh"]),
        )
    )
    bench.hapkg("clean", "crmsh", "--suite", bench.suite)
    alone, _ = bench.build_all("crmsh", lintian=False)
    rows.append(("the same, --no-lintian", f"{alone:.1f} s", f"≤ {own + 5:.1f} s", verdict(alone <= own + 5)))
    bench.build_all()

    patch(bench, "libqb", "lib/array.c", "a comment", "<qb/qbarray.h>\n", "<qb/qbarray.h> /* ours */\n")
    seconds, endings = bench.build_all()
    built = [name for name in list_built(endings) if name != "ha-stack"]
    rows.append(
        (
            f"a comment in libqb; built: {' '.join(list_built(endings))}",
            f"{seconds:.1f} s",
            "libqb, and what names its version",
            verdict(built == ["ha-libqb"]),
        )
    )

    _, graph, before = bench.read()
    patch(bench, "libqb", "lib/array.c", "other code", "return -EINVAL;", "return -EFAULT;")
    seconds, endings = bench.build_all()
    users = sorted(name for name, needs in graph.needs.items() if SourceName("ha-libqb") in needs)
    _, _, after = bench.read()
    higher = all(dpkg_newer(after[SourceName(n)].version, before[SourceName(n)].version) for n in list_built(endings))
    rows.append(
        (
            f"other code in libqb; built: {' '.join(list_built(endings))}",
            f"{seconds:.0f} s",
            f"libqb and its users ({len(users)}), versions higher: {higher}",
            verdict(set(list_built(endings)) <= {"ha-libqb", *users} and higher),
        )
    )


def time_entering(bench: Bench) -> float:
    """The median seconds until a chroot with pacemaker's cached build dependencies runs a command."""
    _, _, builds = bench.read()
    base = find_base(bench)
    packages: dict[str, Any] = builds[SourceName("ha-pacemaker")].inputs["depends"]
    figures = []
    for _ in range(7):
        with tempfile.TemporaryFile() as log:
            begun = time.monotonic()
            with enter_layer(State(bench.cache), base, packages, "ready", log) as session:
                session.run(["true"])
                figures.append(time.monotonic() - begun)
    return sorted(figures)[len(figures) // 2]


def find_base(bench: Bench) -> Chroot:
    """The base chroot, which warm() made."""
    base = schroot.find_chroot(State(bench.cache), bench.suite)
    if base is None:
        raise SystemExit(f"there is no base chroot of {bench.suite}")
    return base


def list_built(endings: Mapping[str, str]) -> list[str]:
    return sorted(name for name, ending in endings.items() if ending == "built")


def dpkg_newer(one: str, other: str) -> bool:
    return subprocess.run(["dpkg", "--compare-versions", one, "gt", other], check=False).returncode == 0


class Rows(list[tuple[str, str, str, str]]):
    """Rows of the table, each shown as soon as it is known: the whole takes long, and its end may fail."""

    def append(self, row: tuple[str, str, str, str]) -> None:
        print("  " + " | ".join(row), file=sys.stderr, flush=True)
        super().append(row)


def verdict(good: bool) -> str:
    return "reached" if good else "MISSED"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--leave-out", nargs="*", default=[], choices=["bare", "sbuild", "changes"])
    parser.add_argument("--tests", action="store_true", help="with upstream's tests")
    parser.add_argument("--only", nargs="*", default=[], help="sources to build with what they need, instead of all")
    parser.add_argument("--cache", type=Path, default=find_state(None).root, help="whose downloads to use")
    options = parser.parse_args()
    part = options.tests or options.only
    folder = Path(tempfile.mkdtemp(prefix="hapkg-bench-", dir="/var/tmp"))
    bench = Bench(folder, Suite(options.suite))
    print(f"{describe_machine()}; {folder}", file=sys.stderr)
    rows = Rows()
    bare: dict[str, float] = {}
    try:
        bench.warm(options.cache)
        works: dict[str, Work] = {}
        own: dict[str, float] = {}
        notes: dict[str, str] = {}
        if not options.tests:  # with them, nothing but the usual build is compared
            with watch() as works["--no-lintian"]:
                own["build-all --no-lintian"], _ = bench.build_all(*options.only, lintian=False)
            bench.forget()
        with watch() as works["build-all"]:
            own["build-all"], _ = bench.build_all(*options.only, tests=options.tests)
        for what, seconds in own.items():
            notes[f"{what}, no layers, {'' if options.tests else 'no '}tests"] = f"{seconds:.0f} s"
        print(bench.hapkg_tells("times"), file=sys.stderr)
        if "bare" not in options.leave_out:
            whole, bare = time_bare(bench, works, tests=options.tests)
            notes["bare builds"] = f"{whole:.0f} s (" + ", ".join(f"{n} {s:.0f}" for n, s in bare.items()) + ")"
            compare(rows, "bare builds", whole, own, 1.15 if options.tests else 1.35)
        if "sbuild" not in options.leave_out:
            with watch() as works["sbuild"]:
                peer, failed = time_sbuild(bench, Path(tempfile.mkdtemp(dir=folder)), tests=options.tests)
            notes["sbuild"] = f"{peer:.0f} s" + (f", tests failed: {' '.join(failed)}" if failed else "")
            compare(rows, "sbuild", peer, own, 0.5)
        if not part:
            ready = time_entering(bench)
            rows.append(("ready chroot with cached dependencies", f"{ready:.2f} s", "< 0.7 s", verdict(ready < 0.7)))
        if "changes" not in options.leave_out and not part:
            time_changes(bench, bare, rows)
    finally:
        bench.hapkg("chroot", "rm", bench.suite)
        shutil.rmtree(folder, ignore_errors=True)
    table = make_table(("figure", "measured", "must reach", ""), rows)
    profile = make_table(("seconds of the processor", *works), compare_work(works, CORES))
    keep("build-tests" if options.tests else "build", f"{table}\n{profile}", notes)


if __name__ == "__main__":
    main()
