"""The content digest of a package: changes that its users see, and those that they do not."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from hapkg.build.content_digest import CONTENT_FORMAT, clear_marks, read_content

PLAIN = {"opt/ha/share/one/README": "One.\n"}
ONE = "int one(void) { return 1; }"


def make_deb(
    scratch: Path,
    files: Mapping[str, str | bytes] = PLAIN,
    *,
    version: str = "1-1+ha12.1",
    depends: str = "libc6",
    scripts: Mapping[str, str] | None = None,
    mode: int = 0o644,
) -> Path:
    """A real .deb of these files."""
    tree = scratch / f"tree{len(list(scratch.iterdir()))}"
    for path, content in files.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        file.chmod(mode)
    changelog = tree / "usr/share/doc/ha-one/changelog.Debian.gz"
    changelog.parent.mkdir(parents=True)
    changelog.write_bytes(gzip.compress(f"ha-one ({version}) bookworm\n".encode(), mtime=0))
    (tree / "DEBIAN").mkdir()
    size = len(version) + len(files)
    fields = {
        "Package": "ha-one",
        "Version": version,
        "Architecture": "amd64",
        "Maintainer": "Test Person <test@example.org>",
        "Installed-Size": str(size),
        "Depends": depends,
        "Description": "first of the samples",
    }
    (tree / "DEBIAN/control").write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
    (tree / "DEBIAN/md5sums").write_text(f"{size:032}  changelog\n")
    for name, text in (scripts or {}).items():
        (tree / "DEBIAN" / name).write_text(text)
    for entry in (tree, *tree.rglob("*")):  # whatever the umask is
        entry.chmod(0o755 if entry.is_dir() else 0o644 if entry.parent.name == "DEBIAN" else mode)
    deb = scratch / f"{tree.name}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(tree), str(deb)], capture_output=True, check=True)
    return deb


def normalize(content: bytes) -> bytes:
    """A file without what changes with a comment."""
    changed = bytearray(content)
    clear_marks(changed)
    return bytes(changed)


def make_library(scratch: Path, code: str) -> bytes:
    """A stripped library with build-id and debug link, as dh_strip leaves it. The place of its source is no part."""
    scratch.mkdir()
    (scratch / "one.c").write_text(code)
    script = """set -e
        gcc -g -O2 -ffile-prefix-map="$PWD"=. -shared -fPIC -Wl,--build-id=sha1 -o one.so one.c
        objcopy --only-keep-debug one.so one.debug
        strip --strip-unneeded one.so
        objcopy --add-gnu-debuglink=one.debug one.so"""
    subprocess.run(["sh", "-c", script], cwd=scratch, check=True)
    return (scratch / "one.so").read_bytes()


@pytest.mark.parametrize("version", ["1-1+ha12.2", "1-1+ha12.10"])
def test_a_version_and_what_follows_from_it_do_not_matter(tmp_path: Path, version: str) -> None:
    one = read_content(make_deb(tmp_path, depends="ha-one-data (= 1-1+ha12.1), libc6"))
    two = read_content(make_deb(tmp_path, depends=f"ha-one-data (= {version}), libc6", version=version))
    assert one.digest == two.digest
    assert two.depends == f"ha-one-data (= {version}), libc6"


@pytest.mark.parametrize(
    ("files", "keys"),
    [
        ({"opt/ha/share/one/README": "Two.\n"}, {}),
        ({"opt/ha/share/one/README.txt": "One.\n"}, {}),
        ({**PLAIN, "opt/ha/share/one/NEWS": "More.\n"}, {}),
        (PLAIN, {"mode": 0o755}),
        (PLAIN, {"depends": "libc6 (>= 2.34)"}),
        (PLAIN, {"depends": "libc6, ha-two (= 1-1+ha12.2)"}),
        (PLAIN, {"scripts": {"triggers": "activate-noawait ldconfig\n"}}),
    ],
    ids=["bytes", "name", "file", "mode", "relation", "pin of another version", "trigger"],
)
def test_what_a_user_can_see_matters(tmp_path: Path, files: Mapping[str, str], keys: dict[str, object]) -> None:
    plain = read_content(make_deb(tmp_path)).digest
    assert read_content(make_deb(tmp_path, files, **keys)).digest != plain  # type: ignore[arg-type]


def test_a_comment_in_the_code_of_a_library_does_not_matter(tmp_path: Path) -> None:
    old = make_library(tmp_path / "old", f"/* A comment. */\n{ONE}\n")
    new = make_library(tmp_path / "new", f"/* Another\n   comment, of two lines. */\n{ONE}\n")
    assert old != new, "the build-id and the debug link tell of the comment"
    assert normalize(old) == normalize(new)
    debs = [make_deb(tmp_path, {"opt/ha/lib/libone.so.1": library}) for library in (old, new)]
    assert read_content(debs[0]).digest == read_content(debs[1]).digest
    changed = make_library(tmp_path / "changed", f"/* A comment. */\n{ONE.replace('1', '2')}\n")
    assert normalize(old) != normalize(changed)


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 100, b"#!/bin/sh\n"])
def test_what_is_no_whole_elf_file_stays_as_it_is(content: bytes) -> None:
    assert normalize(content) == content


def test_the_digest_of_a_package_is_what_it_was(tmp_path: Path) -> None:
    """If another one is meant, raise CONTENT_FORMAT: what is built already is not taken for something else then."""
    scripts = {"triggers": "activate-noawait ldconfig\n"}
    found = read_content(make_deb(tmp_path, depends="ha-one-data (= 1-1+ha12.1), libc6", scripts=scripts))
    assert (CONTENT_FORMAT, found.digest) == (1, "16aafa8f8ddc9f47fc29dae239f96c021664d0115eaf4f8c827b76a4fa3b64d6")
