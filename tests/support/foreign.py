"""Readers of bytes that others write, each with a sample. They end in a value or in an error of hapkg, in no other.

A reader is a function of a folder and the bytes. tests/unit/test_foreign_bytes.py gives it mutations of its sample,
tests/fuzz.py whatever a coverage-guided fuzzer finds.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hapkg.apt.mirror import Mirror
from hapkg.build.maintainer_scripts import is_made_of
from hapkg.build.results import Results, choose_names, unpack
from hapkg.chroot.base_lock import read_base_lock
from hapkg.control import Suite, is_relation, parse_pins, parse_relation_names
from hapkg.deb import read_deb_content, read_deb_control
from hapkg.distribution import read_debian
from hapkg.errors import ConfigError, SiteError
from hapkg.locations import read_toml
from hapkg.rebuild.buildinfo import read_buildinfo
from hapkg.recipe.model import read_recipe
from hapkg.recipe.settings import Settings
from hapkg.recipe.version import Version
from hapkg.repository.indexes import find_suites, read_digests, read_pool, read_release
from hapkg.repository.paths import check_path
from hapkg.repository.remote.location import parse_location
from hapkg.repository.snapshots import list_snapshots, read_held, read_removed, read_snapshot
from hapkg.repository.sources_file import Identity, find_url
from hapkg.repository.verify import verify
from hapkg.site.importing.cluster import Sources, import_site
from hapkg.site.importing.imported import write_site
from hapkg.site.importing.report import read_report
from hapkg.site.model import read_site
from hapkg.source.extraction import FAULTS, Extraction, HostileError
from hapkg.source.lockfile import read_lock
from hapkg.tables import parse_table
from hapkg.text import printable
from tests.support.samples import CHECKOUT, STYLES

SUITE = Suite("bookworm")
IDENTITY = Identity(origin="Test", label="Test", maintainer="Test <test@example.org>")
DIGEST = hashlib.sha256(b"").hexdigest()
RESULTS = Results(source="ha-one", version="1-1", architecture="amd64", packages={"ha-one": "any"})
ARCHIVE = Mirror(distribution=read_debian(), uri="http://a.invalid/debian/", security=None)
BASE_LOCK = f"""\
suite = "bookworm"
architecture = "amd64"
[base]
dpkg = {{ version = "1.21.23", path = "pool/main/d/dpkg/dpkg_1.21.23_amd64.deb", bytes = 9, sha256 = "{DIGEST}" }}
[depends]
"g++" = {{ version = "4:12.2.0-3", path = "pool/main/g/g++_12.2.0-3_amd64.deb", bytes = 9, sha256 = "{DIGEST}" }}
"""
BUILDINFO = f"""\
Format: 1.0
Source: ha-one
Version: 1.2-3+ha12.1
Build-Architecture: amd64
Build-Date: Sun, 29 Nov 2026 17:37:39 +0000
Checksums-Sha256:
 {DIGEST} 10 ha-one_1.2-3+ha12.1_all.deb
Installed-Build-Depends:
 autoconf (= 2.71-3),
 g++ (= 4:12.2.0-3)
Environment:
 DEB_BUILD_OPTIONS="parallel=2"
"""
PACKAGES = f"""\
Package: ha-one
Version: 1:1.2-3~a+ha12.1
Architecture: all
Source: ha-one (1.2-3)
Depends: ha-two (= 1.2), libc6 (>= 2.34) | libc7
Filename: pool/bookworm/main/h/ha-one/ha-one_1.2-3_all.deb
Size: 10
SHA256: {DIGEST}
Description: one
 more of it
"""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A function that reads foreign bytes."""

    read: Callable[[Path, bytes], object]
    sample: bytes
    also: tuple[type[Exception], ...] = ()
    """Errors that it raises by its contract, beside those of hapkg."""


def publish(root: Path, packages: bytes, suite: str = "bookworm") -> None:
    """An unsigned suite with an index as it is: whoever writes in a repository can have any bytes in it."""
    folder = root / "dists" / suite
    (folder / "main/binary-amd64").mkdir(parents=True, exist_ok=True)
    (folder / "main/binary-amd64/Packages").write_bytes(packages)
    digest = hashlib.sha256(packages).hexdigest()
    release = f"Suite: {suite}\nSHA256:\n {digest} {len(packages)} main/binary-amd64/Packages\n"
    (folder / "Release").write_text(release)


def look_at(root: Path) -> None:
    """Read a repository as the commands that only look do."""
    for suite in find_suites(root):
        for snapshot in list_snapshots(root, suite):
            read_snapshot(root, snapshot)
    read_held(root, SUITE)
    find_url(root, IDENTITY)
    verify(root, None)


def read_index(root: Path, content: bytes) -> None:
    """The index of a suite."""
    publish(root, content)
    read_pool(root, SUITE)
    look_at(root)


def read_release_file(root: Path, content: bytes) -> None:
    """The Release file of a suite."""
    publish(root, PACKAGES.encode())
    (root / "dists/bookworm/Release").write_bytes(content)
    read_digests(read_release(root / "dists/bookworm/Release"))
    look_at(root)


def read_private(name: str) -> Callable[[Path, bytes], None]:
    """A reader of a file that hapkg keeps in a repository."""

    def read(root: Path, content: bytes) -> None:
        publish(root, PACKAGES.encode())
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        read_removed(root)
        look_at(root)

    return read


def read_archive(folder: Path, content: bytes) -> None:
    """The archive in which a session hands out results."""
    target = folder / "made"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    unpack(io.BytesIO(content), [*RESULTS.debs, *RESULTS.papers], target, RESULTS.source)


def read_package(folder: Path, content: bytes) -> None:
    """A binary package."""
    deb = folder / "a.deb"
    deb.write_bytes(content)
    for read in (read_deb_control, read_deb_content):
        with contextlib.suppress(ValueError):
            read(deb)


def read_lock_file(root: Path, content: bytes) -> None:
    """The lock of a suite."""
    (root / "locks").mkdir(exist_ok=True)
    (root / "locks/bookworm.toml").write_bytes(content)
    read_lock(root, SUITE)


def read_lock_of_base(root: Path, content: bytes) -> None:
    """The lock of a base chroot; what it leads to stays in the pool of an archive and in a folder of packages."""
    (root / "locks").mkdir(exist_ok=True)
    (root / "locks/bookworm.base.toml").write_bytes(content)
    lock = read_base_lock(root, SUITE, "amd64")
    for archive in lock.locate(ARCHIVE).values() if lock else ():
        assert "/" not in archive.file and archive.uri.startswith("http://a.invalid/debian/pool/")
        assert ".." not in archive.uri.split("/")


def read_build_information(folder: Path, content: bytes) -> None:
    """A .buildinfo file."""
    (folder / "a.buildinfo").write_bytes(content)
    read_buildinfo(folder / "a.buildinfo")


def read_tarball(folder: Path, content: bytes) -> None:
    """The members of upstream's tarball, which a program of its own extracts."""
    target = folder / "unpacked"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    with contextlib.suppress(HostileError, *FAULTS), tarfile.open(fileobj=io.BytesIO(content)) as archive:
        Extraction(archive, target, 100, 10, 100_000).run()
    outside = [path for path in folder.rglob("*") if not (path.is_symlink() or path.is_dir() or path.is_file())]
    assert outside == []


def read_recipe_file(folder: Path, content: bytes) -> None:
    """A recipe."""
    (folder / "one").mkdir(exist_ok=True)
    (folder / "one/recipe.toml").write_bytes(content)
    read_recipe(folder / "one", package_prefix="ha-", styles=STYLES)


def read_scripts(folder: Path, content: bytes) -> None:
    """A maintainer script of a package."""
    text = content.decode("utf-8", "surrogateescape")
    known = [re.compile(re.escape("true "))]
    is_made_of(text, "#!/bin/sh\nset -e\n#DEBHELPER#\n", known)


def read_settings(folder: Path, content: bytes) -> None:
    """The settings of a project."""
    file = folder / "pyproject.toml"
    file.write_bytes(content)
    parse_table(Settings, read_toml(file, ConfigError), where="pyproject.toml", error=ConfigError)


def read_site_file(folder: Path, content: bytes) -> None:
    """A site file."""
    file = folder / "site.toml"
    file.write_bytes(content)
    read_site(file)


RING = """totem {
 cluster_name: c
}
nodelist {
 node {
  name: a
  nodeid: 1
  ring0_addr: 192.0.2.1
 }
 node {
  name: b
  ring0_addr: 192.0.2.2
 }
}
"""
MIRROR = """resource r { device /dev/drbd1; meta-disk internal; disk "/dev/a";
 on a { address 192.0.2.1:7789; } on b { address 192.0.2.2:7789; } }
"""


def read_cluster(_: Path, content: bytes) -> None:
    """Texts of a cluster, each with the others whole; what they became is TOML."""
    text = content.decode("utf-8", "replace")
    with contextlib.suppress(SiteError):
        tomllib.loads(write_site(import_site(Sources(corosync=text)).table))
    for sources in (
        Sources(corosync=RING, crm=text),
        Sources(corosync=RING, drbd={"r.res": text}),
        Sources(corosync=RING, crm="primitive i IPaddr2 params ip=192.0.2.9\n", booth=text),
    ):
        with contextlib.suppress(SiteError):
            tomllib.loads(write_site(import_site(sources).table))


def read_report_file(folder: Path, content: bytes) -> None:
    """An archive of crm report."""
    file = folder / "report.tar"
    file.write_bytes(content)
    read_report(file)


def make_report() -> bytes:
    """A report with one node."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo("report/a/corosync.conf")
        member.size = len(RING)
        archive.addfile(member, io.BytesIO(RING.encode()))
    return packed.getvalue()


def read_relations(_: Path, content: bytes) -> None:
    """The relations of a package."""
    text = content.decode("utf-8", "replace")
    parse_relation_names(text)
    parse_pins(text)
    is_relation(text)


def make_archive() -> bytes:
    """An archive with all results of a build."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in (*RESULTS.debs, *RESULTS.papers):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    return stream.getvalue()


def make_package() -> bytes:
    """A small binary package."""
    with tempfile.TemporaryDirectory() as folder:
        control = Path(folder, "tree/DEBIAN/control")
        control.parent.mkdir(parents=True)
        control.write_text("Package: ha-one\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: one\n")
        argv = ["dpkg-deb", "-Zgzip", "--root-owner-group", "--build", f"{folder}/tree", f"{folder}/a.deb"]
        subprocess.run(argv, check=True, capture_output=True)
        return Path(folder, "a.deb").read_bytes()


def make_readers() -> dict[str, Reader]:
    """All readers, by what they read."""
    text = bytes.decode
    state = {"act": "publish", "by": "a", "indexes": {"main/b/Sources": DIGEST}, "keys": [], "made": "2026"}
    return {
        "index": Reader(read=read_index, sample=PACKAGES.encode()),
        "Release": Reader(
            read=read_release_file,
            sample=f"Suite: a\nDate: Sun, 29 Nov 2026 10:00:00 UTC\nSHA256:\n {DIGEST} 0 main/b/Sources\n".encode(),
        ),
        "snapshot": Reader(
            read=read_private(".hapkg/snapshots/bookworm/00000001.json"), sample=json.dumps(state).encode()
        ),
        "removed": Reader(read=read_private(".hapkg/removed"), sample=f"{DIGEST}  pool/bookworm/a.dsc\n".encode()),
        "address": Reader(read=read_private(".hapkg/address"), sample=b"https://example.org/apt\n"),
        "sources": Reader(read=read_private("ha-stack.sources"), sample=b"Types: deb\nURIs: https://a.b/\nSuites: c\n"),
        "results": Reader(read=read_archive, sample=make_archive()),
        "names of results": Reader(
            read=lambda _, content: choose_names(content, RESULTS), sample=b"ha-one_1-1_amd64.deb\0a.deb\0"
        ),
        "package": Reader(read=read_package, sample=make_package()),
        "lock": Reader(read=read_lock_file, sample=(CHECKOUT / "locks/bookworm.toml").read_bytes()[:600]),
        "lock of the base": Reader(read=read_lock_of_base, sample=BASE_LOCK.encode()),
        "buildinfo": Reader(read=read_build_information, sample=BUILDINFO.encode()),
        "tarball": Reader(read=read_tarball, sample=make_archive()),
        "recipe": Reader(read=read_recipe_file, sample=(CHECKOUT / "recipes/libqb/recipe.toml").read_bytes()),
        "maintainer script": Reader(
            read=read_scripts,
            sample=b"#!/bin/sh\nset -e\n# Automatically added by a\ntrue \n# End automatically added section\n",
        ),
        "key in a bucket": Reader(
            read=lambda _, content: check_path(text(content, "utf-8", "surrogateescape"), where="s3://a/b"),
            sample=b"pool/bookworm/main/h/ha-one/ha-one_1-1_all.deb",
        ),
        "settings": Reader(
            read=read_settings, sample=b'maintainer = "a <a@b.c>"\nsuites = ["bookworm"]\n[limits]\nprocesses = 1\n'
        ),
        "site": Reader(read=read_site_file, sample=(CHECKOUT / "docs/site.example.toml").read_bytes()),
        "ring": Reader(read=read_cluster, sample=RING.encode()),
        "crm": Reader(
            read=read_cluster, sample=b"node 1: a attributes x=y\nms m p meta \\\n a=b\nprimitive f stonith:fence_x"
        ),
        "mirror": Reader(read=read_cluster, sample=MIRROR.encode()),
        "booth": Reader(read=read_cluster, sample=b'site = 192.0.2.9\nticket = "t"\n expire = 60\n'),
        "report": Reader(read=read_report_file, sample=make_report()),
        "relations": Reader(read=read_relations, sample=b"a (= 1) | b:any [amd64 !i386] <!nocheck>, ${c:D}"),
        "version": Reader(
            read=lambda _, content: Version.parse(text(content)), sample=b"1.2-3+ha12.4", also=(ValueError,)
        ),
        "location": Reader(
            read=lambda _, content: parse_location(text(content, "utf-8", "replace"), Path("/base")),
            sample=b"ssh://a@b:22/c s3://d/e",
        ),
        "terminal": Reader(
            read=lambda _, content: printable(text(content, "utf-8", "surrogateescape")), sample=b"a\x1b[2J"
        ),
    }
