"""Ubuntu as far as it goes without its archive: a slice of the stack for noble, from a stand-in (`make ubuntu`).

The build machine's apt is shown an Ubuntu server's configuration. Behind it are Debian's packages.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomlkit

from hapkg.apt.mirror import Mirror, find_mirror
from hapkg.build.builder import LINTIAN_NAME
from hapkg.control import Suite
from hapkg.distribution import read_debian
from hapkg.recipe.settings import find_project
from tests.support.machine import Done, Hapkg
from tests.support.samples import CHECKOUT
from tests.support.ubuntu import CODENAME, SECURITY_MARK, StandIn, make_stand_in
from tests.system.acceptance.conftest import make_bare_root
from tests.system.pair import NAMES, install_stack, run_inside, show_that_they_form_and_part, start_pair

SLICE = ("libqb", "kronosnet", "corosync")
OWN_SOURCES = {CODENAME: {"libqb": "1.0-1ubuntu1"}, f"{CODENAME}-security": {"kronosnet": "99.0-0ubuntu1"}}
"""Versions of the distribution's own: the one is older than ours, the other newer, and it has no corosync."""
GOLDENS = CHECKOUT / "tests/unit/recipe/golden"
_SHOW_SOURCES = """
mount --bind "$0" /etc/apt/sources.list.d
if [ -e /etc/apt/sources.list ]; then mount --bind /dev/null /etc/apt/sources.list; fi
exec "$@"
"""
_WITH_SOURCES = ("unshare", "--mount", "--", "sh", "-ec", _SHOW_SOURCES)


@dataclass(frozen=True, kw_only=True)
class Built:
    """The slice, built and published."""

    archive: StandIn
    address: str
    run: Done
    repository: Path
    hapkg: Hapkg
    within: tuple[str, ...]
    """Words before a command that is to see the server's apt configuration."""


STACK_NEEDS = (
    "iproute2",
    "libtimedate-perl",
    "libxml2-utils",
    "passwd",
    "python3",
    "systemd",
)
"""Packages that ha-stack wants on a node."""


def find_needs() -> set[str]:
    """Debian's packages that the slice is built with, and those that it runs with."""
    found = {"debhelper", "procps", *STACK_NEEDS}
    for name in (*SLICE, "stack"):
        text = (GOLDENS / f"ha-{name}" / "control").read_text()
        for field in re.findall(r"(?m)^Build-Depends:\n((?: .*\n)+)", text):
            words = [line.strip().rstrip(",").split()[0] for line in field.splitlines()]
            found |= {word for word in words if not word.startswith(("ha-", "debhelper-compat"))}
    return found


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a folder over HTTP on loopback."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def make_project(root: Path, keyring: Path) -> None:
    """A project that builds the slice for noble, whose archive has other keys than Ubuntu's."""
    (root / "distributions").mkdir(parents=True)
    shipped = tomlkit.parse((CHECKOUT / "hapkg/data/distributions/ubuntu.toml").read_text())
    shipped["keyring"] = str(keyring)
    (root / "distributions/ubuntu.toml").write_text(tomlkit.dumps(shipped))
    debian = find_mirror(None, read_debian()).uri
    settings = {"suite": CODENAME, "suites": [CODENAME], "maintainer": "A <a@example.org>", "debian-mirror": debian}
    (root / "pyproject.toml").write_text(tomlkit.dumps({"tool": {"hapkg": settings}}))
    for name in (*SLICE, "stack"):
        shutil.copytree(CHECKOUT / "recipes" / name, root / "recipes" / name)
    file = root / "recipes/stack/recipe.toml"
    recipe = tomlkit.parse(file.read_text())
    whole = recipe["packages"][0]
    whole["stack"] = [f"ha-{name}" for name in SLICE]
    file.write_text(tomlkit.dumps(recipe))


@pytest.fixture(scope="module")
def built() -> Iterator[Built]:
    with contextlib.ExitStack() as scope:
        folder = Path(scope.enter_context(tempfile.TemporaryDirectory(prefix="hapkg-ubuntu-", dir="/var/tmp")))
        folder.chmod(0o755)
        archive = make_stand_in(folder / "archive", find_needs(), OWN_SOURCES)
        address = scope.enter_context(serve(archive.folder)) + "/ubuntu"
        host = folder / "sources.list.d"
        host.mkdir()
        (host / "ubuntu.sources").write_text(archive.sources(address))
        make_project(folder / "project", archive.keyring)
        hapkg = Hapkg(project=folder / "project", cache=folder / "cache", home=folder / "home")
        within = (*_WITH_SOURCES, str(host))
        try:
            building = hapkg.start("build-all", "--json", within=within)
            building.process.wait(timeout=3600)
            run = building.finish()
            assert run.status == 0, run.stderr
            published = hapkg.run("publish", "--repo", str(folder / "apt"), within=within)
            assert published.status == 0, published.stderr
            yield Built(
                archive=archive, address=address, run=run, repository=folder / "apt", hapkg=hapkg, within=within
            )
        finally:
            hapkg.end()
            hapkg.run("chroot", "rm", CODENAME)


def test_the_slice_is_built_with_the_releases_number(built: Built) -> None:
    assert built.run.endings == dict.fromkeys((*(f"ha-{name}" for name in SLICE), "ha-stack"), "built")
    assert {outcome["version"].partition("+ha")[2] for outcome in built.run.outcomes.values()} == {"24.04.1"}


def test_the_chroot_is_the_archives_own_with_updates_of_security(built: Built) -> None:
    root = built.hapkg.cache / "chroots" / CODENAME / "root"
    sources = (root / "etc/apt/sources.list").read_text().splitlines()
    lines = [line.partition("] ")[2] for line in sources if line]
    assert lines == [f"{built.address} {CODENAME}{more} main universe" for more in ("", "-updates", "-security")]
    status = (root / "var/lib/dpkg/status").read_text()
    assert re.search(rf"^Package: base-files\n(?:.+\n)*Version: .*{re.escape(SECURITY_MARK)}$", status, re.MULTILINE)


def test_dpkg_builds_with_ubuntus_flags(built: Built) -> None:
    log = Path(built.run.outcomes["ha-corosync"]["log"]).read_text()
    assert re.search(r"gcc .*-flto=auto", log)


def test_packages_of_debug_symbols_are_kept_and_seen_by_lintian(built: Built) -> None:
    folder = Path(built.run.outcomes["ha-corosync"]["log"]).parent
    (changes,) = folder.glob("*.changes")
    named = {line.split()[-1] for line in re.findall(r"(?m)^ .*deb$", changes.read_text())}
    assert any(name.startswith("ha-corosync-dbgsym_") for name in named)
    assert named == {file.name for file in folder.glob("*.deb")}
    assert (folder / LINTIAN_NAME).exists()


def test_the_promise_is_about_the_distributions_own_versions(built: Built, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(built.hapkg.project, project)
    for name in SLICE:  # nobody but the archives is asked
        file = project / "recipes" / name / "recipe.toml"
        recipe = tomlkit.parse(file.read_text())
        for place in ("hg", "commit", "submodules"):
            recipe["upstream"].pop(place, None)
        recipe["upstream"]["git"] = "https://127.0.0.1:9/nobody.git"
        origins = [origin for origin in recipe["origins"] if origin["type"] == "debian"]
        recipe["origins"] = tomlkit.aot()
        for origin in origins:
            recipe["origins"].append(origin)
        file.write_text(tomlkit.dumps(recipe))
    told = built.hapkg.on(project).run("outdated", *SLICE, "--json", within=built.within)
    assert told.status == 1, told.stderr
    found = {source["source"]: source for source in json.loads(told.stdout)["sources"]}
    assert {name: source["promise"] for name, source in found.items()} == {
        "ha-libqb": "newer",
        "ha-kronosnet": "older",
        "ha-corosync": "alone",
    }
    assert found["ha-kronosnet"]["debian"]["suite"] == "99.0-0ubuntu1"


@pytest.fixture(scope="module")
def node(built: Built) -> Iterator[Path]:
    """The root of a node of noble that installed ha-stack."""
    with tempfile.TemporaryDirectory(prefix="hapkg-node-", dir="/var/tmp") as name:
        root = Path(name) / NAMES[0]
        suite = Suite(CODENAME)
        ubuntu = find_project(built.hapkg.project).distributions[suite]
        mirror = Mirror(distribution=ubuntu, uri=built.address, security=None)
        make_bare_root(root, suite, mirror)  # as the nodes of `make acceptance SUITE=noble` are made
        (line,) = mirror.lines(suite)
        assert line == f"deb [signed-by={built.archive.keyring}] {built.address} {CODENAME} main universe"
        shutil.copytree(built.repository, root / "srv/apt")
        shutil.copy(built.archive.keyring, root / "etc/apt/keyring.gpg")
        (root / "etc/apt/sources.list").write_text(
            line.replace(str(built.archive.keyring), "/etc/apt/keyring.gpg") + "\n"
        )
        text = (built.repository / f"ha-stack-{CODENAME}.sources").read_text()
        text = re.sub("(?m)^URIs:.*", "URIs: file:/srv/apt", text)
        (root / "etc/apt/sources.list.d/ha-stack.sources").write_text(text)
        install_stack(root)
        yield root


def test_a_node_installs_it_and_runs_corosync(node: Path) -> None:
    assert run_inside(node, ". /etc/os-release; echo $ID $VERSION_ID").split() == ["ubuntu", "24.04"]
    assert "Corosync Cluster Engine, version '3." in run_inside(node, "/opt/ha/sbin/corosync -v")
    assert "+ha24.04.1" in run_inside(node, "dpkg-query --show ha-corosync")


def test_two_nodes_form_a_cluster_and_see_one_another_leave(node: Path) -> None:
    roots = {name: node.with_name(name) for name in NAMES}
    subprocess.run(["cp", "-a", str(node), str(roots["two"])], check=True)
    with start_pair(roots) as machines:
        show_that_they_form_and_part(machines)
