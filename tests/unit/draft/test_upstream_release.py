"""Tarballs and repositories as the origin of a draft: tags, addresses, and those that cannot be."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from hapkg.errors import FetchError, SourceError, UsageError
from hapkg.locations import State
from hapkg.recipe.model import read_recipe
from hapkg.recipe.settings import Project
from hapkg.source.fetch import fetch
from tests.support.drafts import (
    CONFIGURE,
    SOURCE,
    configure,
    draft_text,
    make_git,
    make_tarball,
    read_golden,
    refuse,
    run,
    serve,
    write_tree,
)
from tests.support.samples import EPOCH, STYLES

GIT_VERSION = {**SOURCE, "configure.ac": CONFIGURE.replace("[one_version], [one@", "m4_esyscmd([./v.sh]), [one@")}


@pytest.mark.parametrize("form", ["path", "file", "git+file"])
def test_a_git_repository(project: Project, tmp_path: Path, form: str) -> None:
    folder = make_git(tmp_path / "a repository", ["v1.1", "v1.2", "v1.10-rc1", "20240101", "debian/1.3-1"], GIT_VERSION)
    text = draft_text(
        project, {"path": str(folder), "file": folder.as_uri(), "git+file": f"git+{folder.as_uri()}"}[form]
    )
    commit = run("git", "-C", folder, "rev-parse", "v1.2^{commit}")
    upstream = f'[upstream]\ngit = "{folder.as_uri()}"\ntag = "v1.2"\ncommit = "{commit}"'
    assert text == read_golden("autotools").format(upstream=upstream, origin='type = "git"')
    recipe = read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES)
    assert fetch(recipe, State(tmp_path / "cache"), None).origin == f"git {folder.as_uri()} {commit}"


def test_a_mercurial_repository(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "hg"
    run("hg", "init", folder)
    write_tree(folder, GIT_VERSION)
    run("hg", "-R", folder, "commit", "-qAm", "one", "-d", f"{EPOCH} 0")
    run("hg", "-R", folder, "tag", "one-1.2", "a tag", "-d", f"{EPOCH} 0")
    text = draft_text(project, f"hg+{folder.as_uri()}")
    commit = run("hg", "-R", folder, "log", "-r", "one-1.2", "-T", "{node}")
    upstream = f'[upstream]\nhg = "{folder.as_uri()}"\ntag = "one-1.2"\ncommit = "{commit}"'
    assert text == read_golden("autotools").format(upstream=upstream, origin='type = "hg"')


@pytest.mark.parametrize(
    ("tags", "tag", "version"),
    [
        (["1.9", "1.10"], "1.10", "1.10"),
        (["v1.9", "V2"], "v1.9", "1.9"),
        (["one_1_2_3", "one_1_2"], "one_1_2_3", "1.2.3"),
        (["Pacemaker-2.1.7", "Pacemaker-2.1.8-rc1"], "Pacemaker-2.1.7", "2.1.7"),
        (["release/2.0-stable", "release/2.0.1-beta"], "release/2.0-stable", "2.0"),
        (["libone2-0.3"], "libone2-0.3", "0.3"),
        (["v1_3", "debian/1.4-2.1", "fix-v1.5", "rc1", "1.6.rc1"], "fix-v1.5", "1.5"),
    ],
)
def test_the_newest_tag_that_looks_like_a_version(
    project: Project, tmp_path: Path, tags: list[str], tag: str, version: str
) -> None:
    draft_text(project, make_git(tmp_path / "git", tags, {"configure.ac": configure()}))
    recipe = read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES)
    assert recipe.upstream is not None
    assert (recipe.upstream.tag, recipe.version) == (tag, version)


@pytest.mark.parametrize(
    ("origin", "text"),
    [
        ("/nowhere/one-1.2.tar.gz", "^/nowhere/one-1.2.tar.gz does not exist"),
        ("one", "^one does not exist"),
        ("file:///nowhere", "^file:///nowhere does not exist"),
        ("/dev/null/one-1.2.tar.gz", "^/dev/null/one-1.2.tar.gz does not exist$"),
        (f"{'x' * 300}.tar.gz", "x.tar.gz cannot be read: File name too long$"),
        ("/dev/null", "^/dev/null is neither a file nor a folder$"),
        ("", "^nothing is neither a file nor a folder$"),
        ("https://example.org/one", "is neither a tarball nor a repository"),
        ("ftp://example.org/one-1.2.tar.gz", r"origins\[1\].url: string should match pattern"),
        ("http://[one/one.tar.gz", "is not a complete address"),
        ("https:///one.tar.gz", "is not a complete address"),
        ("https://example.org/o ne.tar.gz", r"origins\[1\].url: string should match"),
        ("http://example.org/one.git", "^http://example.org/one.git: a repository's address is https or file$"),
        ("hg+http://example.org/one", "^http://example.org/one: a repository's address is https or file$"),
    ],
)
def test_origins_that_cannot_be(project: Project, origin: str, text: str) -> None:
    refuse(project, origin, UsageError, text)


def test_tarballs_that_cannot_be_read(project: Project, tmp_path: Path) -> None:
    whole = make_tarball(tmp_path, SOURCE)
    cut = tmp_path / "cut-1.tar.gz"
    cut.write_bytes(whole.read_bytes()[:-40])
    refuse(project, str(cut), SourceError, "cut-1.tar.gz cannot be read: ")
    plain = tmp_path / "plain-1.tar.xz"
    with tarfile.open(plain, "w"):
        pass
    refuse(project, str(plain), SourceError, "plain-1.tar.xz cannot be read: ")
    for name, files, top in [
        ("flat", {"configure.ac": "", "Makefile.am": ""}, ""),
        ("empty", {}, "empty"),
        ("absolute", {"/configure.ac": "", "/x/one": ""}, ""),
    ]:
        tarball = make_tarball(tmp_path, files, top=top, name=f"{name}.tar.gz")
        refuse(project, str(tarball), SourceError, "does not hold one folder with everything in it$")


def test_repositories_without_a_release(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    run("git", "init", "-q", empty)
    refuse(project, str(empty), UsageError, "has no tag that looks like a version$")
    untagged = make_git(tmp_path / "git", ["v2.0-rc1", "new"], {"configure.ac": configure()})
    error = refuse(project, str(untagged), UsageError, "has no tag that looks like a version$")
    assert error.details == ("tags: new, v2.0-rc1",)
    mercurial = tmp_path / "hg"
    run("hg", "init", mercurial)
    refuse(project, str(mercurial), UsageError, "has no tag that looks like a version$")
    folder = tmp_path / "folder"
    folder.mkdir()
    refuse(project, str(folder), FetchError, "cannot be reached$")


def test_an_address_that_does_not_answer(project: Project, tmp_path: Path) -> None:
    with serve(tmp_path) as address:
        refuse(
            project, f"{address}/one-1.2.tar.gz", FetchError, "one-1.2.tar.gz: the server answers 404 File not found$"
        )
    refuse(project, f"{address}/one-1.2.tar.gz", FetchError, "one-1.2.tar.gz: cannot be reached: .*refused")
