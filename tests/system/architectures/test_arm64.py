"""A slice of the stack for arm64, emulated: built, published and in one cluster with amd64 (`make arm64`)."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import tomlkit

from hapkg.apt.mirror import find_mirror
from hapkg.control import Suite, read_stanzas
from hapkg.distribution import read_debian
from hapkg.host import read_architecture
from hapkg.locations import find_state
from tests.support.machine import Done, Hapkg
from tests.support.samples import CHECKOUT
from tests.system.acceptance.cluster import Machine
from tests.system.pair import (
    CONFIGURATION_FILE,
    NAMES,
    SITE,
    install_site,
    install_stack,
    show_that_they_form_and_part,
    start_pair,
)

# Builds are taken from the caller's state folder, and stay there: emulated ones take long.
SUITE = Suite(os.environ.get("HAPKG_SUITE", "bookworm"))
OWN, OTHER = read_architecture(), "arm64"
SLICE = ("libqb", "kronosnet", "corosync")
NODES = dict(zip(NAMES, (OWN, OTHER), strict=True))


@dataclass(frozen=True, kw_only=True)
class Built:
    """The slice for both architectures, in one repository."""

    hapkg: Hapkg
    run: Done
    repository: Path


def make_project(root: Path) -> None:
    """A project that builds the slice for both, with the settings of this checkout: its builds are as good.

    It has a site as well, whose package is for both.
    """
    whole = tomlkit.parse((CHECKOUT / "pyproject.toml").read_text())["tool"]["hapkg"]
    settings = {name: value for name, value in whole.items() if name not in ("kernels", "optional")}
    settings |= {"suite": SUITE, "suites": [SUITE], "architectures": [OTHER]}
    root.mkdir()
    (root / "pyproject.toml").write_text(tomlkit.dumps({"tool": {"hapkg": settings}}))
    for name in (*SLICE, "stack"):
        shutil.copytree(CHECKOUT / "recipes" / name, root / "recipes" / name)
    file = root / "recipes/stack/recipe.toml"
    recipe = tomlkit.parse(file.read_text())
    recipe["packages"][0]["stack"] = [f"ha-{name}" for name in SLICE]
    file.write_text(tomlkit.dumps(recipe))
    (root / "site.toml").write_text(SITE)


@pytest.fixture(scope="module")
def built() -> Iterator[Built]:
    with tempfile.TemporaryDirectory(prefix="hapkg-arm64-", dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        make_project(folder / "project")
        hapkg = Hapkg(project=folder / "project", cache=find_state(None).root, home=folder / "home")
        try:
            building = hapkg.start("build-all", "--json")
            building.process.wait(timeout=4 * 3600)
            run = building.finish()
            assert run.status == 0, run.stderr
            published = hapkg.run("publish", "--repo", str(folder / "apt"))
            assert published.status == 0, published.stderr
            yield Built(hapkg=hapkg, run=run, repository=folder / "apt")
        finally:
            hapkg.end()


def read_packages(built: Built, architecture: str) -> dict[str, dict[str, str]]:
    """Packages of an index by name, without their debug symbols."""
    text = (built.repository / f"dists/{SUITE}/main/binary-{architecture}/Packages").read_text()
    return {stanza["Package"]: dict(stanza) for stanza in read_stanzas(text) if "-dbgsym" not in stanza["Package"]}


def test_both_architectures_have_the_same_packages_in_the_same_versions(built: Built) -> None:
    own, other = read_packages(built, OWN), read_packages(built, OTHER)
    assert {name: one["Version"] for name, one in own.items()} == {name: one["Version"] for name, one in other.items()}
    compiled = {name for name, one in own.items() if one["Architecture"] != "all"}
    assert {"ha-corosync", "ha-libqb", "ha-kronosnet"} <= compiled
    assert {other[name]["Architecture"] for name in compiled} == {OTHER}
    assert {name: own[name]["SHA256"] for name in own.keys() - compiled} == {
        name: other[name]["SHA256"] for name in own.keys() - compiled
    }, "packages for all architectures are built once"
    assert built.hapkg.run("repo", "verify", "--repo", str(built.repository)).status == 0


def test_a_second_run_builds_nothing(built: Built) -> None:
    again = built.hapkg.run("build-all", "--json")
    assert again.status == 0
    assert set(again.endings.values()) == {"reused"}


def test_programs_are_of_the_other_architecture_and_have_the_prefix(built: Built) -> None:
    (deb,) = built.repository.rglob(f"ha-corosync_*_{OTHER}.deb")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "-x", str(deb), folder], check=True)
        argv = ["readelf", "--file-header", "--dynamic", f"{folder}/opt/ha/sbin/corosync"]
        told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "Machine:                           AArch64" in told
    assert "Library runpath: [/opt/ha/lib]" in told


@pytest.fixture(scope="module")
def nodes(built: Built) -> Iterator[dict[str, Machine]]:
    """A node of each architecture that installed ha-stack and the package of the site, on one switch."""
    with contextlib.ExitStack() as scope:
        folder = Path(scope.enter_context(tempfile.TemporaryDirectory(prefix="hapkg-nodes-", dir="/var/tmp")))
        folder.chmod(0o755)
        for name, architecture in NODES.items():
            install(built, folder / name, architecture)
        yield scope.enter_context(start_pair({name: folder / name for name in NODES}))


def install(built: Built, root: Path, architecture: str) -> None:
    """A minimal Debian of an architecture, with ha-stack and the site's package from the repository."""
    options = ("--quiet", "--mode=root", "--variant=minbase", '--aptopt=APT::Sandbox::User "root"')
    lines = find_mirror(None, read_debian()).lines(SUITE)
    argv = ["mmdebstrap", *options, f"--architectures={architecture}", SUITE, str(root), *lines]
    subprocess.run(argv, check=True)
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    shutil.copytree(built.repository, root / "srv/apt")
    text = (built.repository / f"ha-stack-{SUITE}.sources").read_text()
    (root / "etc/apt/sources.list.d/ha-stack.sources").write_text(re.sub("(?m)^URIs:.*", "URIs: file:/srv/apt", text))
    install_stack(root)
    install_site(root)


def test_one_package_of_the_site_serves_both(built: Built, nodes: dict[str, Machine]) -> None:
    own, other = (read_packages(built, architecture)["ha-stack-site-pair"] for architecture in (OWN, OTHER))
    assert own == other
    assert own["Architecture"] == "all"
    texts = {(machine.root / CONFIGURATION_FILE).read_text() for machine in nodes.values()}
    assert len(texts) == 1
    assert "it comes from the package ha-stack-site-pair." in texts.pop()


def test_a_cluster_of_both_architectures_forms_and_sees_a_node_leave(nodes: dict[str, Machine]) -> None:
    for name, machine in nodes.items():
        assert machine.run("dpkg --print-architecture").stdout.strip() == NODES[name]
    show_that_they_form_and_part(nodes, configuration=None)
