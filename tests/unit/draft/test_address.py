"""Addresses of upstreams in the forms that people type."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hapkg.draft.address import Address, read_address
from hapkg.draft.draft import draft
from hapkg.errors import IntegrityError, SourceError, UsageError
from hapkg.locations import State
from hapkg.recipe.model import read_recipe
from hapkg.recipe.settings import Project
from tests.support.drafts import SOURCE, configure, make_git, make_tarball
from tests.support.samples import STYLES

GITHUB = "https://github.com/ClusterLabs/libqb.git"


@pytest.mark.parametrize(
    ("origin", "kind", "url", "ref"),
    [
        ("https://github.com/ClusterLabs/libqb", "git", GITHUB, ""),
        ("http://www.github.com/ClusterLabs/libqb/", "git", "https://github.com/ClusterLabs/libqb.git", ""),
        ("https://github.com/ClusterLabs/libqb/releases", "git", GITHUB, ""),
        ("https://github.com/ClusterLabs/libqb/releases/tag/v2.0.8", "git", GITHUB, "v2.0.8"),
        ("https://github.com/ClusterLabs/libqb/tree/v2.0.8?tab=readme-ov-file#top", "git", GITHUB, "v2.0.8"),
        ("https://gitlab.com/a/b/c/-/tags/1.2", "git", "https://gitlab.com/a/b/c.git", "1.2"),
        ("https://gitlab.example.org/a/b", "git", "https://gitlab.example.org/a/b.git", ""),
        ("https://codeberg.org/a/b/src/tag/v1", "git", "https://codeberg.org/a/b.git", "v1"),
        ("git@github.com:ClusterLabs/libqb.git", "git", GITHUB, ""),
        ("git@git.example.org:team/one", "git", "ssh://git@git.example.org/team/one.git", ""),
        ("ssh://git@git.example.org:2222/one", "git", "ssh://git@git.example.org:2222/one", ""),
        ("git+https://example.org/one", "git", "https://example.org/one", ""),
        ("hg+https://example.org/one", "hg", "https://example.org/one", ""),
        ("https://example.org/one-1.2.tgz", "tarball", "https://example.org/one-1.2.tgz", ""),
        (
            "https://github.com/a/b/archive/refs/tags/v1.tar.gz",
            "tarball",
            "https://github.com/a/b/archive/refs/tags/v1.tar.gz",
            "",
        ),
        ("https://example.org/one_1.2-3.dsc", "dsc", "https://example.org/one_1.2-3.dsc", ""),
        ("file:///x/one.git", "git", "file:///x/one.git", ""),
    ],
)
def test_addresses_as_people_type_them(origin: str, kind: str, url: str, ref: str) -> None:
    assert read_address(origin) == Address(kind=kind, url=url, ref=ref)


def test_a_short_suffix_is_a_tarball(project: Project, tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path, SOURCE, name="one-1.2.tgz")
    file = draft(project, "one", str(tarball), State(tmp_path / "cache"))
    assert f'url = "{tarball.as_uri()}"' in file.read_text()


@pytest.mark.parametrize(("ref", "version"), [("", "1.10"), ("v1.9", "1.9")])
def test_a_tag_that_is_named_is_taken(project: Project, tmp_path: Path, ref: str, version: str) -> None:
    home = make_git(tmp_path / "git", ["v1.9", "v1.10"], {"configure.ac": configure(init="[one], [git]")})
    file = draft(project, "one", f"git+{home.as_uri()}", State(tmp_path / "cache"), ref=ref)
    recipe = read_recipe(file.parent, package_prefix="ha-", styles=STYLES)
    assert recipe.upstream
    assert (recipe.version, recipe.upstream.tag) == (version, f"v{version}")


@pytest.mark.parametrize(
    ("ref", "text"), [("v3", "has no tag v3$"), ("nightly", "tag nightly of .* does not tell a version$")]
)
def test_a_tag_that_cannot_be_taken(project: Project, tmp_path: Path, ref: str, text: str) -> None:
    home = make_git(tmp_path / "git", ["v1.9", "nightly"], {"configure.ac": configure()})
    with pytest.raises(UsageError, match=text):
        draft(project, "one", f"git+{home.as_uri()}", State(tmp_path / "cache"), ref=ref)


@pytest.mark.parametrize("ending", [".zip", ".tar.zst", ".7z", ".ZIP", ".tar.lz"])
def test_the_tarball_beside_another_archive_is_taken(project: Project, tmp_path: Path, ending: str) -> None:
    tarball = make_tarball(tmp_path, SOURCE, name="one-1.2.tar.gz")
    (tmp_path / f"one-1.2{ending}").write_bytes(b"whatever")
    file = draft(project, "one", str(tmp_path / f"one-1.2{ending}"), State(tmp_path / "cache"))
    assert f'url = "{tarball.as_uri()}"' in file.read_text()


def test_an_archive_without_a_tarball_beside_it_is_refused(project: Project, tmp_path: Path) -> None:
    (tmp_path / "one-1.2.zip").write_bytes(b"whatever")
    with pytest.raises(UsageError, match=r"one-1\.2\.zip: dpkg-source takes no such archive, and no") as refused:
        draft(project, "one", str(tmp_path / "one-1.2.zip"), State(tmp_path / "cache"))
    assert len(refused.value.details) == 3, "each that was asked"


def test_a_tarball_has_no_tags(project: Project, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--ref names a tag of a repository"):
        draft(project, "one", str(make_tarball(tmp_path, SOURCE)), State(tmp_path / "cache"), ref="v1")


def write_dsc(folder: Path, digest: str, names: tuple[str, ...] = ("one_1.2.orig.tar.gz",)) -> Path:
    """A .dsc that names tarballs of upstream by this digest."""
    lines = "".join(f" {digest} 1000 {name}\n" for name in names)
    text = f"Format: 3.0 (quilt)\nSource: one\nChecksums-Sha256:\n{lines} {'0' * 64} 100 one_1.2-3.debian.tar.xz\n"
    file = folder / "one_1.2-3.dsc"
    file.write_text(text)
    return file


def test_a_dsc_names_its_tarball(project: Project, tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path, SOURCE, name="one_1.2.orig.tar.gz")
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    file = draft(project, "one", str(write_dsc(tmp_path, digest)), State(tmp_path / "cache"))
    assert f'url = "{tarball.as_uri()}"\nsha256 = "{digest}"' in file.read_text()


def test_a_dsc_that_does_not_fit_is_refused(project: Project, tmp_path: Path) -> None:
    make_tarball(tmp_path, SOURCE, name="one_1.2.orig.tar.gz")
    with pytest.raises(IntegrityError, match=r"orig\.tar\.gz is not the file that its \.dsc names$"):
        draft(project, "one", str(write_dsc(tmp_path, "1" * 64)), State(tmp_path / "cache"))
    two = ("one_1.2.orig.tar.gz", "one_1.2.orig-more.tar.gz", "two_1.orig.tar.xz")
    with pytest.raises(SourceError, match=r"names 2 tarballs of upstream$"):
        draft(project, "one", str(write_dsc(tmp_path, "1" * 64, two)), State(tmp_path / "cache"))
    with pytest.raises(SourceError, match="names 0 tarballs"):
        draft(project, "one", str(write_dsc(tmp_path, "1" * 64, ())), State(tmp_path / "cache"))
    assert not (project.recipes / "one").exists()
