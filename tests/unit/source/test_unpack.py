"""Hostile tarballs: kinds, modes and names of members. A new trick is a line in a table."""

from __future__ import annotations

import errno
import io
import os
import stat
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hapkg.errors import SourceError
from hapkg.source import extraction
from hapkg.source import unpack as unpacking
from hapkg.source.unpack import unpack
from tests.support.samples import AUTOTOOLS, make_recipe_from

RECIPE = make_recipe_from(AUTOTOOLS)
Member = tuple[tarfile.TarInfo, bytes]


def make_member(
    name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", mode: int = 0o644, to: str = ""
) -> Member:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.linkname, member.size = kind, mode, to, len(content)
    return member, content


def make_tarball(folder: Path, *members: Member, form: int = tarfile.PAX_FORMAT) -> Path:
    file = folder / "hostile.tar.gz"
    with tarfile.open(file, "w:gz", format=form) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return file


def unpack_members(folder: Path, *members: Member) -> Path:
    tree = folder / "tree"
    tree.mkdir()
    unpack(RECIPE, make_tarball(folder, *members), tree)
    return tree


def refuse(folder: Path, *members: Member) -> str:
    """The sentence with which these members after a folder are refused; nothing of them is outside of the scratch."""
    before = sorted(folder.iterdir())
    with pytest.raises(SourceError) as caught:
        unpack_members(folder, *members)
    made = {path.name for path in folder.iterdir()} - {path.name for path in before}
    assert made == {"tree", ".unpacked", "hostile.tar.gz"}
    assert caught.value.hint
    special = [
        path for path in (folder / ".unpacked").rglob("*") if not stat.S_IFMT(path.lstat().st_mode) & stat.S_IFREG
    ]
    assert [path for path in special if not path.is_dir() and not path.is_symlink()] == []
    return caught.value.brief.removeprefix("ha-one: the tarball ")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (tarfile.CHRTYPE, "holds a device: 'one/x'"),
        (tarfile.BLKTYPE, "holds a device: 'one/x'"),
        (tarfile.FIFOTYPE, "holds a FIFO: 'one/x'"),
        (b"Z", "holds a member of an unknown kind: 'one/x'"),
    ],
)
def test_kinds_that_no_source_needs(tmp_path: Path, kind: bytes, told: str) -> None:
    assert refuse(tmp_path, make_member("one/file"), make_member("one/x", kind)) == told


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/etc/passwd", "holds a name that leads out of it: '/etc/passwd'"),
        ("//etc/passwd", "holds a name that leads out of it: '//etc/passwd'"),
        ("../x", "holds a name that leads out of it: '../x'"),
        ("one/../../x", "holds a name that leads out of it: 'one/../../x'"),
        ("one/..", "holds a name that leads out of it: 'one/..'"),
        ("one/\u202e\x1b[2J/../x", "holds a name that leads out of it: 'one/\\u202e\\x1b[2J/../x'"),
    ],
)
def test_names_that_lead_out(tmp_path: Path, name: str, told: str, form: int) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    tarball = make_tarball(tmp_path, make_member("one/file"), make_member(name, content=b"x"), form=form)
    with pytest.raises(SourceError) as caught:
        unpack(RECIPE, tarball, tree)
    assert caught.value.brief == f"ha-one: the tarball {told}"


LINK = make_member("one/link", tarfile.SYMTYPE, to="/tmp")


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([LINK, make_member("one/link/x", content=b"x")], "holds a name that leads through a link: 'one/link/x'"),
        (
            [LINK, make_member("one/link/a/b/", tarfile.DIRTYPE)],
            "holds a name that leads through a link: 'one/link/a/b'",
        ),
        (
            [make_member("one/a", tarfile.SYMTYPE, to="."), make_member("one/a/a/x")],
            "holds a name that leads through a link: 'one/a/a/x'",
        ),
        (
            [make_member("one/x", tarfile.LNKTYPE, to="/etc/shadow")],
            "holds a hard link to what is no file of it: 'one/x'",
        ),
        (
            [LINK, make_member("one/x", tarfile.LNKTYPE, to="one/link")],
            "holds a hard link to what is no file of it: 'one/x'",
        ),
        ([make_member("one/x", tarfile.LNKTYPE, to="../x")], "holds a hard link to what is no file of it: 'one/x'"),
        ([LINK, make_member("one/link", tarfile.DIRTYPE)], "cannot be unpacked"),
        ([make_member("one/x"), make_member("one/x/y")], "cannot be unpacked"),
        ([make_member("one/x/y"), make_member("one/x")], "cannot be unpacked"),
    ],
)
def test_links_that_lead_elsewhere(tmp_path: Path, members: Sequence[Member], told: str) -> None:
    assert refuse(tmp_path, make_member("one/file"), *members) == told


def test_a_link_in_place_of_the_folder(tmp_path: Path) -> None:
    told = refuse(tmp_path, make_member("one", tarfile.SYMTYPE, to="/etc"))
    assert told == "does not hold one folder with everything in it"


def test_a_file_takes_the_place_of_a_link_and_is_not_written_through_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    tree = unpack_members(
        tmp_path, make_member("one/x", tarfile.SYMTYPE, to=str(victim)), make_member("one/x", content=b"new")
    )
    assert (victim.read_text(), (tree / "x").read_text(), (tree / "x").is_symlink()) == ("as it was", "new", False)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize(
    ("kind", "mode", "expected"),
    [
        (tarfile.REGTYPE, 0o4755, 0o755),
        (tarfile.REGTYPE, 0o2755, 0o755),
        (tarfile.REGTYPE, 0o1777, 0o755),
        (tarfile.REGTYPE, 0o666, 0o644),
        (tarfile.REGTYPE, 0o000, 0o644),
        (tarfile.REGTYPE, 0o077, 0o644),
        (tarfile.DIRTYPE, 0o7777, 0o755),
        (tarfile.DIRTYPE, 0o555, 0o755),
        (tarfile.DIRTYPE, 0o000, 0o755),
    ],
)
def test_modes_are_ours(tmp_path: Path, kind: bytes, mode: int, expected: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        tree = unpack_members(tmp_path, make_member("one/x", kind, mode=mode), make_member("one/deep/er/y"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tree / "x").stat().st_mode) == expected
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tree, tree / "deep", tree / "deep/er")} == {0o755}


@pytest.mark.parametrize(
    ("limit", "value", "members", "told"),
    [
        ("MOST_MEMBERS", 3, [make_member(f"one/{n}") for n in range(4)], "holds more than 3 members"),
        ("MOST_BYTES", 1000, [make_member("one/x", content=b"x" * 1001)], "holds more than 1,000 bytes"),
        (
            "MOST_BYTES",
            1000,
            [make_member(f"one/{n}", content=b"x" * 501) for n in range(2)],
            "holds more than 1,000 bytes",
        ),
    ],
)
def test_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, members: Sequence[Member], told: str
) -> None:
    monkeypatch.setattr(unpacking, limit, value)
    assert refuse(tmp_path, *members) == told


def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    """The folders of the review: 1,200 levels, at which Python's own remover gives up."""
    told = refuse(tmp_path, make_member("one/file"), make_member("one/" + "d/" * 1200, tarfile.DIRTYPE))
    assert told == "holds folders more than 100 levels deep"


def test_what_releases_have_comes_out(tmp_path: Path) -> None:
    tree = unpack_members(
        tmp_path,
        make_member("./", tarfile.DIRTYPE),
        make_member("./one/", tarfile.DIRTYPE),
        make_member("./one/run", content=b"#!/bin/sh\n", mode=0o775),
        make_member("./one/same", tarfile.LNKTYPE, to="./one/run"),
        make_member("./one/link", tarfile.SYMTYPE, to="../../out/of/it"),
        make_member("./one/\udcff", content=b"not UTF-8"),
    )
    assert (tree / "same").samefile(tree / "run")
    assert str((tree / "link").readlink()) == "../../out/of/it"
    assert stat.S_IMODE((tree / "run").stat().st_mode) == 0o755
    assert b"\xff" in {os.fsencode(path.name) for path in tree.iterdir()}


def test_times_are_kept_and_none_is_too_large(tmp_path: Path) -> None:
    early, late = make_member("one/early"), make_member("one/late")
    early[0].mtime, late[0].mtime = 1715000000, 1 << 60
    tree = unpack_members(tmp_path, early, late)
    assert [int((tree / name).stat().st_mtime) for name in ("early", "late")] == [1715000000, (1 << 32) - 1]


@pytest.mark.parametrize("damage", [lambda whole: whole[:-30], lambda whole: b"", lambda whole: b"x" * 1000])
def test_a_damaged_tarball_is_told(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = make_tarball(tmp_path, make_member("one/x", content=os.urandom(5000)))
    file.write_bytes(damage(file.read_bytes()))
    (tmp_path / "tree").mkdir()
    with pytest.raises(SourceError, match="the tarball cannot be unpacked"):
        unpack(RECIPE, file, tmp_path / "tree")


def test_a_full_disk_is_not_upstreams_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = make_tarball(tmp_path, make_member("one/x", content=b"x"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hapkg.source.extraction.shutil.copyfileobj", fill)
    with file.open("rb") as stream:
        assert extraction.extract(stream, 10, 10, 1000) == (extraction.MACHINE, str(errno.ENOSPC))
    monkeypatch.setattr(unpacking, "_extract", lambda *_: (extraction.MACHINE, str(errno.ENOSPC)))
    (tmp_path / "tree").mkdir()
    with pytest.raises(OSError, match="No space left"):
        unpack(RECIPE, file, tmp_path / "tree")


def test_the_tree_belongs_to_whoever_asked_for_it(tmp_path: Path) -> None:
    tree = unpack_members(tmp_path, make_member("one/x", mode=0o4755), make_member("one/l", tarfile.SYMTYPE, to="/etc"))
    assert {path.lstat().st_uid for path in (tree, *tree.rglob("*"))} == {os.geteuid()}
    assert Path("/etc").stat().st_uid == 0
