"""Package URLs: the vendor's namespace, and upstream by its forge or its repository; read again by the library."""

from __future__ import annotations

import dataclasses

import pytest
from packageurl import PackageURL

from hapkg.evidence.facts import DebianPlace, UpstreamFacts
from hapkg.evidence.purl import make_vendor, name_debian_place, name_package, name_source, name_upstream
from tests.unit.evidence.samples import FACTS, UPSTREAM


def read(purl: str) -> PackageURL:
    """A package URL taken apart; it must be in its canonical form."""
    parts = PackageURL.from_string(purl)
    assert parts.to_string() == purl
    return parts


def test_a_package_is_the_vendors_and_names_the_code_by_debians_name() -> None:
    parts = read(name_package(FACTS, "ha-one", "1.2-1+ha12.1", "amd64"))
    assert (parts.type, parts.namespace, parts.name, parts.version) == ("deb", "some-vendor", "ha-one", "1.2-1+ha12.1")
    assert parts.qualifiers == {"arch": "amd64", "distro": "debian-12", "upstream": "one@1.2"}


def test_a_package_without_upstream_names_none() -> None:
    parts = read(name_package(dataclasses.replace(FACTS, upstream=None), "ha-one", "1.2"))
    assert parts.qualifiers == {"distro": "debian-12"}


def test_a_source_is_told_from_its_packages() -> None:
    assert read(name_source(FACTS, "1.2-1")).qualifiers == {"arch": "source", "distro": "debian-12"}


def test_a_file_of_debians_archive_is_a_part_of_its_source() -> None:
    parts = read(name_debian_place(DebianPlace(package="one", version="1:1.2-3", file="debian/patches/x.patch")))
    assert (parts.namespace, parts.version, parts.subpath) == ("debian", "1:1.2-3", "debian/patches/x.patch")
    assert read(name_debian_place(DebianPlace(package="one", version="1"))).subpath is None


@pytest.mark.parametrize(
    ("repositories", "type_", "name"),
    [
        (("git+https://github.com/Some/One.git",), "github", "some/one"),
        (("git+https://gitlab.com/group/sub/one",), "gitlab", "group/sub/one"),
        (("git+https://pagure.io/dlm.git",), "generic", "one"),
        (("git+https://github.com",), "generic", "one"),
        (("git+https://github.com/some/one", "hg+http://hg.example.org/one"), "generic", "one"),
    ],
)
def test_upstream_is_named_by_the_home_of_this_version(repositories: tuple[str, ...], type_: str, name: str) -> None:
    upstream = dataclasses.replace(UPSTREAM, repositories=repositories, commit="c" * 40)
    parts = read(name_upstream(upstream))
    assert parts.type == type_
    assert f"{parts.namespace}/{parts.name}".removeprefix("None/").lower() == name
    assert parts.version == ("v1.2" if type_ != "generic" else "1.2")
    if type_ == "generic":
        assert parts.qualifiers == {"vcs_url": f"{repositories[-1]}@{'c' * 40}"}


def test_a_repository_without_a_known_commit_is_named_alone() -> None:
    upstream = UpstreamFacts(**{**vars(UPSTREAM), "repositories": ("git+https://git.example.org/one",), "commit": ""})
    assert read(name_upstream(upstream)).qualifiers == {"vcs_url": "git+https://git.example.org/one"}


@pytest.mark.parametrize(
    ("origin", "namespace"), [("hapkg", "hapkg"), ("Some Vendor & Sons", "some-vendor-sons"), ("ÄÖ", "unknown")]
)
def test_any_origin_gives_a_namespace(origin: str, namespace: str) -> None:
    assert make_vendor(origin) == namespace
