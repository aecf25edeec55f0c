"""Hostile build: what a build leaves in its folder, each kind and name a line of a table."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from hapkg.build.results import Results, check_fields, choose_names, unpack
from hapkg.errors import BuildError

RESULTS = Results(source="ha-s", version="1.0-1+ha12.1", architecture="amd64", packages={"ha-a": "any", "ha-b": "all"})
A, B = "ha-a_1.0-1+ha12.1_amd64.deb", "ha-b_1.0-1+ha12.1_all.deb"
DEBUG = "ha-a-dbgsym_1.0-1+ha12.1_amd64.deb"
PAPERS = ("ha-s_1.0-1+ha12.1_amd64.buildinfo", "ha-s_1.0-1+ha12.1_amd64.changes")
WHOLE = (A, B, *PAPERS)
PRECIOUS = b"not to be touched"


@pytest.mark.parametrize("more", [(), (DEBUG,)], ids=["plain", "debug symbols"])
def test_the_names_that_recipe_and_version_give_are_taken(more: tuple[str, ...]) -> None:
    assert choose_names("\0".join((*WHOLE, *more)).encode(), RESULTS) == sorted((*WHOLE, *more))


FOREIGN = (
    b"build.log a.buildinfo",
    b"a\nb.deb",
    b"-rf.deb",
    b"--checkpoint-action=exec=sh.deb",
    b"\xff\xfe.deb",
    b"\x1b[2J.deb",
    b"ha-a_99:9_all.deb",
    b"ha-a_9_amd64.deb",
    b"ha-b-dbgsym_1.0-1+ha12.1_amd64.deb",
    b"ha-a_1.0-1+ha12.1_all.deb",
    b"ha-c_1.0-1+ha12.1_amd64.deb",
    b"other.changes",
)
"""Names that a build may leave beside its results."""


@pytest.mark.parametrize("name", FOREIGN, ids=ascii)
def test_any_other_name_fails_the_build_in_printable_words(name: bytes) -> None:
    with pytest.raises(BuildError) as caught:
        choose_names(b"\0".join((*(known.encode() for known in WHOLE), name)), RESULTS)
    assert caught.value.brief.startswith("ha-s: the build leaves ")
    assert caught.value.brief.isprintable()
    assert caught.value.hint


@pytest.mark.parametrize("name", WHOLE)
def test_each_result_must_be_there(name: str) -> None:
    with pytest.raises(BuildError, match="does not make"):
        choose_names("\0".join(set(WHOLE) - {name}).encode(), RESULTS)


def make_member(kind: bytes, target: str = "", name: str = A) -> bytes:
    """An archive of one member."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.mode, member.size = (
            kind,
            target,
            0o6777,
            3 if kind == tarfile.REGTYPE else 0,
        )
        archive.addfile(member, io.BytesIO(b"new"))
    return stream.getvalue()


KINDS = {
    "symbolic link": (tarfile.SYMTYPE, "{victim}"),
    "hard link": (tarfile.LNKTYPE, "{victim}"),
    "FIFO": (tarfile.FIFOTYPE, ""),
    "device": (tarfile.BLKTYPE, ""),
    "folder": (tarfile.DIRTYPE, ""),
    "odd kind": (tarfile.CHRTYPE, ""),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_regular_file_is_refused(kind: str, tmp_path: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "target"
    victim.write_bytes(PRECIOUS)
    target.mkdir()
    number, link = KINDS[kind]
    with pytest.raises(BuildError, match=r"ha-s: ha-a_\S+ is an? "):
        unpack(io.BytesIO(make_member(number, link.format(victim=victim))), [A], target, "ha-s")
    assert list(target.iterdir()) == []
    assert victim.read_bytes() == PRECIOUS


@pytest.mark.parametrize("name", ["../victim", "{victim}", "build.log", f"./{A}", f"x/{A}"])
def test_a_member_that_was_not_asked_for_is_refused(name: str, tmp_path: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "target"
    victim.write_bytes(PRECIOUS)
    target.mkdir()
    with pytest.raises(BuildError, match="unasked"):
        unpack(io.BytesIO(make_member(tarfile.REGTYPE, name=name.format(victim=victim))), [A], target, "ha-s")
    assert victim.read_bytes() == PRECIOUS
    assert list(target.iterdir()) == []


def test_a_regular_file_is_written_with_a_mode_of_ours(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        unpack(io.BytesIO(make_member(tarfile.REGTYPE)), [A], tmp_path, "ha-s")
    finally:
        os.umask(before)
    assert (tmp_path / A).read_bytes() == b"new"
    assert (tmp_path / A).stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize(
    "archive", [b"", make_member(tarfile.REGTYPE)[:515], make_member(tarfile.REGTYPE) * 2, b"x" * 2048]
)
def test_a_truncated_or_doubled_archive_is_refused_or_read_once(archive: bytes, tmp_path: Path) -> None:
    try:
        unpack(io.BytesIO(archive), [A], tmp_path, "ha-s")
    except BuildError as error:
        assert error.hint
    else:
        assert (tmp_path / A).read_bytes() == b"new"


def test_nothing_that_is_there_is_written_over(tmp_path: Path) -> None:
    victim, target = tmp_path / "victim", tmp_path / "target"
    victim.write_bytes(PRECIOUS)
    target.mkdir()
    (target / A).symlink_to(victim)
    with pytest.raises(FileExistsError):
        unpack(io.BytesIO(make_member(tarfile.REGTYPE)), [A], target, "ha-s")
    assert victim.read_bytes() == PRECIOUS


def make_deb(folder: Path, file: str, fields: Mapping[str, str]) -> None:
    """A package of this name with these control fields."""
    tree = folder / "tree" / file / "DEBIAN"
    tree.mkdir(parents=True)
    whole = {"Maintainer": "T <t@example.org>", "Description": "x", **fields}
    (tree / "control").write_text("".join(f"{name}: {value}\n" for name, value in whole.items()))
    argv = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree.parent), str(folder / file)]
    subprocess.run(argv, check=True, capture_output=True)


GOOD = {"Package": "ha-a", "Version": "1.0-1+ha12.1", "Architecture": "amd64", "Source": "ha-s"}
FIELDS = (
    {"Version": "99:9"},
    {"Version": "1.0-1+ha12.2"},
    {"Package": "sudo"},
    {"Architecture": "all"},
    {"Source": "sudo"},
    {"Source": "ha-s (9)"},
)
"""Control fields of a package whose file is called as it must be."""


@pytest.mark.parametrize("fields", FIELDS, ids=str)
def test_a_control_field_that_was_not_asked_for_is_refused(fields: dict[str, str], tmp_path: Path) -> None:
    make_deb(tmp_path, A, {**GOOD, **fields})
    (name,) = fields
    with pytest.raises(BuildError, match=f"{A.replace('+', '.')} says {name}: "):
        check_fields(tmp_path, RESULTS)


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / A).write_bytes(b"!<arch>\nno package")
    with pytest.raises(BuildError, match="is no package"):
        check_fields(tmp_path, RESULTS)


@pytest.mark.parametrize("source", ["ha-s", "ha-s (1.0-1+ha12.1)"])
def test_the_right_control_fields_pass(source: str, tmp_path: Path) -> None:
    make_deb(tmp_path, A, {**GOOD, "Source": source})
    check_fields(tmp_path, RESULTS)
