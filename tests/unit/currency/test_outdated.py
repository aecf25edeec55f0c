"""A recipe among the versions that there are: real repositories, and indexes as the archive has them."""

from __future__ import annotations

import functools
import http.server
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hapkg.control import SourceName, Suite
from hapkg.currency.debian_archive import DebianIndexes, DebianRelease
from hapkg.currency.outdated import Standing, compare_all, find_missing_modules
from hapkg.currency.promises import Promise
from hapkg.errors import RecipeError
from hapkg.locations import State
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.settings import find_project
from tests.support.samples import AUTOTOOLS, CHECKOUT, DIGEST, make_recipe_from

WHO = ("-c", "user.name=one", "-c", "user.email=one@example.org", "-c", "init.defaultBranch=main")
ORIGIN = {"type": "debian", "package": "one", "version": "1.2-1", "sha256": DIGEST}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A web server that says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


def git(repository: Path, *words: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    argv = ["git", "-C", str(repository), *WHO, *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Upstream's repository, with an old tag, the recipe's, and a newer one that is an object of its own."""
    folder = tmp_path / "one.git"
    folder.mkdir()
    git(folder, "init", "-q")
    for number in ("1.1", "1.2", "1.10"):
        git(folder, "commit", "-q", "--allow-empty", "-m", number)
        git(folder, "tag", *(("-a", "-m", "new") if number == "1.10" else ()), f"v{number}")
    return folder


def release(version: str, *origs: str) -> tuple[DebianRelease, ...]:
    return (DebianRelease(version=version, origs=frozenset(origs), binaries=()),)


def look(
    tmp_path: Path,
    indexes: Mapping[str, str],
    *,
    upstream: Mapping[str, Any],
    origins: list[dict[str, Any]] | None = None,
    unasked: Mapping[str, str] | None = None,
) -> Standing:
    """The standing of a recipe of version 1.2; indexes map their names to Debian's version in each."""
    table = {**AUTOTOOLS, "upstream": {"tag": "v1.2", **upstream}, "origins": origins or [ORIGIN]}
    found = {name: {"one": release(version, DIGEST)} for name, version in indexes.items()}
    later = (Suite("forky"), Suite("sid"))
    archive = DebianIndexes(suite=Suite("trixie"), releases=found, unasked=unasked or {}, later=later)
    (standing,) = compare_all([make_recipe_from(table)], archive, State(tmp_path / "state"))
    return standing


NOWHERE = {"git": "file:///nonexistent/one.git"}


def test_the_newest_tag_counts_by_its_number(tmp_path: Path, repository: Path) -> None:
    standing = look(tmp_path, {"trixie": "1.2-3", "sid": "1.3-1"}, upstream={"git": repository.as_uri()})
    assert (standing.upstream, standing.newest, standing.promise) == ("1.10", "1.10", Promise.EQUAL)
    assert standing.debian == {"suite": "1.2-3", "backports": "", "forky": "", "sid": "1.3-1"}
    assert standing.has_news


def test_where_upstream_does_not_answer_debian_does(tmp_path: Path) -> None:
    standing = look(tmp_path, {"trixie": "1.2-3", "sid": "2:1.3+dfsg-1"}, upstream=NOWHERE)
    assert (standing.upstream, standing.newest) == ("?", "1.3")
    assert len(standing.unasked) == 1


def test_ignored_versions_are_no_news_wherever_they_are(tmp_path: Path, repository: Path) -> None:
    upstream = {"git": repository.as_uri(), "ignore": [r"^1\.(3|10)$"]}
    standing = look(tmp_path, {"trixie": "1.2-3", "sid": "1.3-1"}, upstream=upstream)
    assert (standing.upstream, standing.newest, standing.has_news) == ("1.2", "1.2", False)


def test_what_is_held_is_shown_and_no_news(tmp_path: Path, repository: Path) -> None:
    upstream = {"git": repository.as_uri(), "hold": "1.10 needs another libqb"}
    standing = look(tmp_path, {"trixie": "1.2-3"}, upstream=upstream)
    assert (standing.newest, standing.hold, standing.has_news) == ("1.10", "1.10 needs another libqb", False)


@pytest.mark.parametrize(
    ("upstream", "told"),
    [
        ({"hold": ""}, "hold"),
        ({"hold": True}, "hold"),
        ({"ignore": ["("]}, "regular expression"),
        ({"ignore": "x"}, "list"),
    ],
)
def test_a_hold_needs_its_reason_and_a_pattern_its_form(upstream: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        make_recipe_from({**AUTOTOOLS, "upstream": {**NOWHERE, "tag": "v1.2", **upstream}})
    assert told in f"{caught.value.brief} {caught.value.hint}"


@pytest.mark.parametrize(
    ("indexes", "promise"),
    [
        ({"trixie": "1.1-1"}, Promise.NEWER),
        ({"trixie": "1.1-1", "trixie-security": "1.2-1"}, Promise.EQUAL),
        ({"trixie": "1:1.2+dfsg-9"}, Promise.EQUAL),
        ({"trixie": "1.2~rc1-1"}, Promise.NEWER),
        ({"trixie": "1.2-283-g9d4029a-2"}, Promise.OLDER),
        ({"trixie": "1.1-1", "trixie-updates": "1.3-1"}, Promise.OLDER),
        ({"trixie-backports": "1.3-1", "bookworm": "1.0-1"}, Promise.ALONE),
    ],
)
def test_the_promise_is_against_what_a_node_of_the_suite_gets(
    tmp_path: Path, indexes: dict[str, str], promise: Promise
) -> None:
    assert look(tmp_path, indexes, upstream=NOWHERE).promise is promise


def test_a_suite_that_was_not_asked_promises_nothing(tmp_path: Path) -> None:
    assert look(tmp_path, {}, upstream=NOWHERE, unasked={"trixie": "down"}).promise is Promise.UNKNOWN


def test_an_older_stack_is_news_although_nothing_newer_is_known(tmp_path: Path) -> None:
    upstream = {**NOWHERE, "ignore": [r"^1\.3$"]}
    standing = look(tmp_path, {"trixie": "1.3-1"}, upstream=upstream)
    assert (standing.newest, standing.promise, standing.has_news) == ("1.2", Promise.OLDER, True)


def test_an_origin_that_is_gone_is_named(tmp_path: Path, repository: Path) -> None:
    commit = git(repository, "rev-parse", "v1.2^{commit}")
    upstream = {"git": repository.as_uri(), "commit": commit, "ignore": [r"^1\.10$"]}
    tarball = tmp_path / "one-1.2.tar.gz"
    tarball.touch()
    origins = [ORIGIN, {"type": "tarball", "url": tarball.as_uri(), "sha256": DIGEST}, {"type": "git"}]
    assert look(tmp_path, {"forky": "1.2-3"}, upstream=upstream, origins=origins).gone == ()
    tarball.unlink()
    git(repository, "tag", "-f", "v1.2", "v1.1")
    standing = look(tmp_path, {}, upstream=upstream, origins=origins)
    assert standing.gone == (
        tarball.as_uri(),
        "Debian orig of one 1.2-1",
        "upstream's git repository, tag v1.2",
    )
    assert standing.has_news


def test_what_was_not_asked_is_not_called_gone(tmp_path: Path) -> None:
    upstream = {**NOWHERE, "commit": "a" * 40}
    origins = [ORIGIN, {"type": "tarball", "url": "http://127.0.0.1:1/one.tar.gz", "sha256": DIGEST}, {"type": "git"}]
    standing = look(tmp_path, {"trixie": "1.2-1"}, upstream=upstream, origins=origins, unasked={"sid": "down"})
    assert standing.gone == ()
    assert len(standing.unasked) == 2


def test_a_kernel_without_its_module_is_named() -> None:
    recipes = read_recipes(find_project(CHECKOUT))
    chosen = [recipes[SourceName(f"ha-{name}")] for name in ("libqb", "drbd-module")]
    name = SourceName("ha-drbd-modules-6.1.0-57-amd64")
    assert find_missing_modules(chosen, "6.1.0-57-amd64", [SourceName("ha-libqb")]) == [name]
    assert find_missing_modules(chosen, "6.1.0-57-amd64", [name]) == []
    assert find_missing_modules(chosen, "", []) == [], "nobody knows which"


def test_an_address_that_has_nothing_any_more_is_gone(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    handler = functools.partial(Quiet, directory=str(tmp_path / "web"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/one-1.2.tar.gz"
        origins = [ORIGIN, {"type": "tarball", "url": url, "sha256": DIGEST}]
        assert look(tmp_path, {"trixie": "1.2-1"}, upstream=NOWHERE, origins=origins).gone == (url,)
        (tmp_path / "web/one-1.2.tar.gz").touch()
        assert look(tmp_path, {"trixie": "1.2-1"}, upstream=NOWHERE, origins=origins).gone == ()
        server.shutdown()


def test_mercurial_has_tags_as_well(tmp_path: Path) -> None:
    former = tmp_path / "former"
    hg = ["hg", "--config", "ui.username=one", "-R", str(former)]
    subprocess.run(["hg", "init", str(former)], check=True)
    (former / "one").touch()
    for argv in ([*hg, "commit", "-qAm", "one"], [*hg, "tag", "v1.2"], [*hg, "tag", "v1.3"]):
        subprocess.run(argv, check=True)
    standing = look(tmp_path, {"trixie": "1.2-1"}, upstream={"hg": former.as_uri()})
    assert (standing.upstream, standing.unasked) == ("1.3", ())


def test_the_users_git_may_know_a_nearer_place(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "https://git.invalid/one.git"
    (tmp_path / ".gitconfig").write_text(f'[url "{repository.as_uri()}"]\n\tinsteadOf = {url}\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    assert look(tmp_path, {"trixie": "1.2-1"}, upstream={"git": url}).upstream == "1.10"
