"""The reader of .deb files: every compression, damage, and packages that unpack to more than they seem."""

from __future__ import annotations

import io
import lzma
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from hapkg import deb
from hapkg.deb import read_deb_content, read_deb_control, read_members

CONTROL = "Package: ha-one\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: one\n two\n"


def make_tree(folder: Path) -> Path:
    """The tree that a package is built from."""
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL)
    (tree / "opt/ha").mkdir(parents=True)
    (tree / "opt/ha/file").write_text("content")
    (tree / "opt/ha/link").symlink_to("file")
    for entry in (tree, *tree.rglob("*")):
        if not entry.is_symlink():
            entry.chmod(0o755 if entry.is_dir() else 0o644)
    return tree


def build(tree: Path, compression: str = "xz") -> Path:
    """The .deb of a tree."""
    file = tree.with_name("one.deb")
    subprocess.run(["dpkg-deb", f"-Z{compression}", "--build", str(tree), str(file)], capture_output=True, check=True)
    return file


def make_deb(file: Path, control: bytes, data: bytes, suffix: str = "") -> Path:
    """A .deb of these archives."""
    members = {"debian-binary": b"2.0\n", "control.tar": control, f"data.tar{suffix}": data}
    with file.open("wb") as opened:
        opened.write(b"!<arch>\n")
        for name, content in members.items():
            opened.write(f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode())
            opened.write(content + b"\n" * (len(content) % 2))
    return file


def make_archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A tar archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def make_member(name: str, size: int) -> tarfile.TarInfo:
    """A file."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member


CONTROL_TAR = make_archive((make_member("./control", len(CONTROL)), CONTROL.encode()))


@pytest.mark.parametrize("compression", ["none", "xz", "gzip", "zstd"])
def test_every_compression_is_read(tmp_path: Path, compression: str) -> None:
    file = build(make_tree(tmp_path), compression)
    assert read_deb_control(file)["Description"] == "one\n two"
    assert read_deb_content(file).files == ("/opt/ha/file", "/opt/ha/link")
    contents = {member.name: content.read() for member, content in read_members(file, "data") if content}
    assert contents == {"./opt/ha/file": b"content"}


def test_an_archive_of_several_streams_is_read_to_its_end(tmp_path: Path) -> None:
    archive = make_archive((make_member("./one", 1000), bytes(1000)), (make_member("./two", 3), b"two"))
    data = lzma.compress(archive[:700]) + bytes(4) + lzma.compress(archive[700:])
    assert read_deb_content(make_deb(tmp_path / "one.deb", CONTROL_TAR, data, ".xz")).files == ("/one", "/two")


@pytest.mark.parametrize("compression", ["none", "xz", "gzip"])
@pytest.mark.parametrize("part", [1, 2, 3, 5, 7, 8, 9])
def test_a_damaged_package_is_a_value_error(tmp_path: Path, compression: str, part: int) -> None:
    file = build(make_tree(tmp_path), compression)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * part // 10])
    with pytest.raises(ValueError, match=r"one\.deb"):
        read_deb_content(file)
    file.write_text("no package")
    with pytest.raises(ValueError, match="is not a Debian package"):
        read_deb_control(file)


def test_limits_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = build(make_tree(tmp_path))
    monkeypatch.setattr(deb, "MOST_MEMBERS", 2)
    with pytest.raises(ValueError, match="more than 2 files"):
        read_deb_content(file)
    huge = make_member("./huge", deb.MOST_BYTES + 1)
    header = huge.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(ValueError, match="8 GiB"):
        read_deb_content(make_deb(tmp_path / "huge.deb", CONTROL_TAR, header + bytes(1024)))


@pytest.mark.parametrize("kind", ["file", "changelog", "long name", "control"])
def test_a_small_package_does_not_take_much_memory(tmp_path: Path, kind: str) -> None:
    names = {"changelog": "./usr/share/doc/one/changelog", "control": "./control"}
    member = make_member(names.get(kind, "./file"), 300 << 20)
    if kind == "long name":
        member.type = tarfile.GNUTYPE_LONGNAME
    packer = lzma.LZMACompressor(preset=0)
    packed = [packer.compress(member.tobuf(tarfile.GNU_FORMAT))]
    packed += [packer.compress(bytes(1 << 20)) for _ in range(300)]
    data = b"".join((*packed, packer.compress(bytes(1024)), packer.flush()))
    file = make_deb(tmp_path / "bomb.deb", CONTROL_TAR, data, ".xz")
    if kind == "control":
        file.write_bytes(
            file.read_bytes().replace(b"data.tar.xz    ", b"control.tar.xz ").replace(b"control.tar ", b"other.tar   ")
        )
    assert file.stat().st_size < 1 << 20
    program = f"""
import re
from pathlib import Path
from hapkg.build.content_digest import read_content
from hapkg.deb import read_deb_content, read_deb_control
from hapkg.errors import BuildError
for read in (read_deb_content, read_content, read_deb_control):
    try:
        read(Path({str(file)!r}))
    except (BuildError, ValueError) as error:
        print(error)
print(re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # Not ru_maxrss: a process inherits that of its parent, here of however many tests ran before.
    assert int(done.stdout.split()[-1]) < 120 << 10, done.stdout
