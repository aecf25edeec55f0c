"""The package of a site is one for all nodes, of whatever architecture."""

from __future__ import annotations

import re
from pathlib import Path

from hapkg.build.context import open_context
from hapkg.build.store import Store
from hapkg.cli.select import read_site_recipes
from hapkg.control import SourceName, read_stanzas
from hapkg.recipe.debian_folder import render_debian
from hapkg.recipe.settings import find_project
from tests.system.architectures.test_arm64 import SUITE, make_project
from tests.system.pair import CONFIGURATION


def render_pair(folder: Path) -> dict[str, bytes]:
    """debian/ of the package of the site of `make arm64`, as its project plans it."""
    make_project(folder / "project")
    project = find_project(folder / "project")
    context = open_context(project, Store(root=folder / "state"), SUITE, None, read_site_recipes(project, None))
    name = SourceName("ha-stack-site-pair")
    assert name in context.selected
    assert context.graph.needs[name] == (), "it is built once, and rebuilt for no other source"
    recipe, settings = context.recipes[name], project.settings
    made = render_debian(recipe, settings, project.templates, suite=SUITE, version="2", key="0" * 64, versions={})
    return dict(made.files)


def test_packages_of_a_site_are_for_all_architectures(tmp_path: Path) -> None:
    source, *packages = read_stanzas(render_pair(tmp_path)["control"].decode())
    assert "Architecture" not in source
    assert {package["Package"]: package["Architecture"] for package in packages} == {
        "ha-stack-site-pair": "all",
        "ha-stack-site": "all",
    }


def test_nothing_in_it_knows_an_architecture(tmp_path: Path) -> None:
    files = render_pair(tmp_path)
    words = re.compile(rb"amd64|arm64|x86_64|aarch64|DEB_(HOST|BUILD|TARGET)_|-linux-gnu")
    assert "root/opt/ha/etc/corosync/corosync.conf" in files
    assert [path for path, content in files.items() if words.search(content)] == []


def test_the_site_of_the_mixed_cluster_is_the_pair_that_is_configured_by_hand_elsewhere(tmp_path: Path) -> None:
    made = render_pair(tmp_path)["root/opt/ha/etc/corosync/corosync.conf"].decode()
    wanted = ("cluster_name", "transport", "crypto_cipher", "crypto_hash", "token", "ring0_addr", "name", "nodeid")
    lines = [
        re.findall(rf"(?m)^\s*({'|'.join(wanted)}|two_node|provider): (.+)$", text) for text in (made, CONFIGURATION)
    ]
    assert sorted(lines[0]) == sorted(lines[1])
