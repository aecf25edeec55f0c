"""Paths and digests that are read in a repository: which stay inside, and what is said of the others."""

from __future__ import annotations

import pytest

from hapkg.errors import RepositoryError
from hapkg.repository.paths import check_digest, check_path, is_of_repository

HOSTILE = (
    "/etc/passwd",
    "//etc/passwd",
    "../x",
    "pool/../../x",
    "pool/..",
    "pool//x",
    "pool/./x",
    "pool/x/",
    "",
    ".",
    "pool/a\nb",
    "pool/a\0b",
    "pool/\x1b[2J",
    "pool/\x9b2J",
    "pool/\udcff",
    "pool/a\u202eb",
    "pool/" + "a" * 1100,
    "pool/" + "ä" * 126,
)


@pytest.mark.parametrize("path", HOSTILE, ids=ascii)
def test_a_path_that_leads_out_is_refused_in_printable_words(path: str) -> None:
    with pytest.raises(RepositoryError) as caught:
        check_path(path, where="the journal")
    assert caught.value.brief.startswith("the journal names ")
    assert caught.value.brief.isprintable()
    assert len(caught.value.brief) < 400


@pytest.mark.parametrize("path", ["dists/x", ".hapkg/removed", "poolx/a", "index.html"])
def test_a_path_below_another_folder_is_refused(path: str) -> None:
    assert check_path(path, where="x") == path
    with pytest.raises(RepositoryError, match="below pool/"):
        check_path(path, where="x", below="pool/")


@pytest.mark.parametrize("path", ["pool/bookworm/main/h/ha-a/ha-a_1.0~rc1-1+ha12.1_amd64.deb", "pool/..a", "pool/a b%"])
def test_a_path_inside_is_taken_as_it_is(path: str) -> None:
    assert check_path(path, where="x", below="pool/") == path


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("pool/a", True),
        ("dists/bookworm/InRelease", True),
        (".hapkg/removed", True),
        ("index.html", True),
        ("ha-stack.sources", True),
        ("hapkg-archive-keyring.asc", True),
        ("favicon.ico", False),
        ("other/index.html", False),
        ("pool", False),
    ],
)
def test_other_files_in_a_bucket_are_nobodys_business(path: str, own: bool) -> None:
    assert is_of_repository(path) is own


@pytest.mark.parametrize("digest", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "../" + "a" * 61, "a" * 64 + "\n"])
def test_a_digest_is_64_hexadecimal_digits(digest: str) -> None:
    with pytest.raises(RepositoryError, match="in the place of a SHA256"):
        check_digest(digest, where="x")
