"""A node that saw nothing of the repository for a year: keys were rotated meanwhile, old versions are gone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from hapkg.repository.change import PublishTarget
from hapkg.repository.keys import lifecycle
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.pruning import prune
from hapkg.repository.publishing import refresh
from tests.support.packages import IDENTITY, Builds, Client, Issue

OWNER = IDENTITY.key_owner


def test_a_node_that_was_away_is_refused_says_so_and_comes_back_by_the_new_sources_file(
    root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client], tmp_path: Path
) -> None:
    choice = KeyChoice(home=tmp_path / "keys")
    site = PublishTarget(root=root, identity=IDENTITY, choice=choice)
    old = lifecycle.create(choice.home, OWNER)
    node = client(issue(builds(1), choice=choice).sources[0].read_text())
    node.update()
    assert node.candidate("ha-stack") == "1.2-1+ha12.0"

    lifecycle.rotate(choice.home, OWNER)
    issue(builds(2), choice=choice)
    lifecycle.retire(choice.home, old.fingerprint)
    issue(builds(3), choice=choice)
    prune(site, keep=1, days=0, at_once=True)
    sources = refresh(site).sources[0].read_text()

    told = node.apt("apt-get", "update", "-q", check=False)
    assert re.search(r"^(W|E): .*(NO_PUBKEY|[Mm]issing key)", told, re.MULTILINE), told
    # What it knew last it still knows; the packages are not there any more.
    assert node.candidate("ha-stack") == "1.2-1+ha12.0"
    assert "E: Failed to fetch" in node.apt("apt-get", "download", "ha-stack", check=False)
    # The way back, docs/repository.md: the repository's own file, whose key a person compares with the page's.
    (node.folder / "etc/sources.list.d/ha.sources").write_text(sources)
    node.update()
    assert node.candidate("ha-stack") == "1.2-3+ha12.0"
    node.apt("apt-get", "download", "ha-stack")
