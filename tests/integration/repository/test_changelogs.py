"""Changelogs as apt asks for them on a node that has not installed the package: the question before an upgrade."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hapkg.control import Suite
from hapkg.errors import RepositoryError
from hapkg.repository.change import PublishTarget
from hapkg.repository.indexes import read_release
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.publishing import drop, refresh
from tests.support.packages import IDENTITY, LOGIC, Builds, Client, Issue, make_stack, serve

VERSION = "2.1.5+dfsg-1+ha12.1"
FILE = f"changelogs/main/h/{LOGIC}/{LOGIC}_{VERSION}"


def test_apt_shows_the_changelog_of_a_package_that_is_not_installed(
    root: Path, issue: Issue, tmp_path: Path, client: Callable[[str], Client]
) -> None:
    with serve(root) as url:
        machine = client(issue(make_stack(tmp_path / "build"), url=url).sources[0].read_text())
        machine.update()
        assert "* Debian change" in machine.apt("apt-get", "changelog", "ha-manager")
    assert [file for file in (root / "changelogs").rglob("*") if file.is_file()] == [root / FILE]


def test_changelogs_come_and_go_with_the_address_and_with_what_is_published(
    root: Path, issue: Issue, builds: Builds, key: KeyChoice, tmp_path: Path
) -> None:
    site = PublishTarget(root=root, identity=IDENTITY, choice=key)
    issue(builds(1))
    issue(make_stack(tmp_path / "build"), pocket="testing")
    release = root / "dists/bookworm-testing/InRelease"
    assert read_release(release)["Changelogs"] == "no"
    assert not (root / "changelogs").exists()
    refresh(PublishTarget(root=root, identity=IDENTITY, choice=key, url="https://example.org/apt/"))
    assert read_release(release)["Changelogs"] == "https://example.org/apt/changelogs/@CHANGEPATH@"
    before = (root / FILE).stat()
    refresh(site)
    assert (root / FILE).stat() == before
    drop(site, Suite("bookworm-testing"))
    assert not (root / "changelogs").exists()


@pytest.mark.parametrize("name", ["changelogs", "changelogs/main", "changelogs/main/h", f"changelogs/main/h/{LOGIC}"])
def test_a_link_in_the_place_of_a_folder_of_changelogs_is_not_followed(
    root: Path, issue: Issue, tmp_path: Path, key: KeyChoice, name: str
) -> None:
    issue(make_stack(tmp_path / "build"))
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("precious")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).symlink_to(victim)
    target = PublishTarget(root=root, identity=IDENTITY, choice=key, url="https://example.org/", shared=True)
    with pytest.raises(RepositoryError, match="is no folder"):
        refresh(target)
    assert [file.name for file in victim.iterdir()] == ["precious"]


def test_a_link_in_the_place_of_a_changelog_is_replaced(
    root: Path, issue: Issue, tmp_path: Path, key: KeyChoice
) -> None:
    issue(make_stack(tmp_path / "build"))
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (root / FILE).parent.mkdir(parents=True)
    (root / FILE).symlink_to(victim)
    refresh(PublishTarget(root=root, identity=IDENTITY, choice=key, url="https://example.org/"))
    assert victim.read_text() == "precious"
    assert "* Debian change" in (root / FILE).read_text()
