"""Drafts of source packages, from an archive that Debian's own tools make and apt reads."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hapkg.apt.mirror import Mirror
from hapkg.distribution import read_debian
from hapkg.draft.debian_source import choose_relations, list_debian_sources, read_packaging
from hapkg.draft.draft import draft
from hapkg.errors import FetchError, UsageError
from hapkg.locations import State
from hapkg.recipe.model import read_recipe
from tests.support.drafts import SOURCE, make_project, make_tarball
from tests.support.samples import STYLES

CONTROL = """\
Source: one
Section: libs
Priority: optional
Maintainer: Somebody <somebody@example.org>
Build-Depends: debhelper-compat (= 13), dh-sequence-python3, libqb-dev (>= 2.0), pkg-config|pkgconf, zlib1g-dev:native,
 libnever-dev [kfreebsd-any], libboot-dev <stage1>, python3-sphinx <!nodoc>, libhere-dev [linux-any]
Standards-Version: 4.6.2
Homepage: https://one.example.org/page

Package: libone1
Architecture: any
Description: greetings - the library
 Nobody reads this.

Package: one
Architecture: any
Depends: ${misc:Depends}
Description: greetings in one word
 one greets, in one word,
 whoever asks for it.
 .
 It does nothing else.
"""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Source: https://one.example.org/

Files: *
Copyright: 2010 One Author
License: GPL-2+ and Own-1.0

Files: debian/*
Copyright: 2020 Somebody
License: MIT

License: Own-1.0
 Do as you like.
 .
 Really.
"""


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Mirror]:
    """Writes an archive whose suite has one source package in some versions, and what more of packaging is asked."""

    def make(*versions: str, suite: str = "bookworm", **files: str) -> Mirror:
        root = tmp_path / "archive"
        pool = root / "pool"
        pool.mkdir(parents=True, exist_ok=True)
        for version in versions:
            upstream = version.rpartition("-")[0].partition(":")[2] or version.rpartition("-")[0]
            tree = tmp_path / f"one-{upstream}"
            make_tarball(pool, SOURCE, top=tree.name, name=f"one_{upstream}.orig.tar.xz", suffix="xz")
            subprocess.run(["tar", "-xf", pool / f"one_{upstream}.orig.tar.xz", "-C", tmp_path], check=True)
            changelog = f"one ({version}) unstable; urgency=low\n\n  * One.\n\n -- S <s@example.org>  {DATE}\n"
            texts = {"control": CONTROL, "copyright": COPYRIGHT, "changelog": changelog, "source/format": FORMAT}
            for path, text in {**texts, "rules": "#!/usr/bin/make -f\n%:\n\tdh $@\n", **files}.items():
                file = tree / "debian" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            subprocess.run(["dpkg-source", "-b", tree], check=True, cwd=pool, capture_output=True)
        index = root / "dists" / suite / "main/source/Sources"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_bytes(read_output("apt-ftparchive", "sources", "pool", cwd=root))
        release = ["apt-ftparchive", "-o", f"APT::FTPArchive::Release::Codename={suite}", "release", f"dists/{suite}"]
        (index.parents[2] / "Release").write_bytes(read_output(*release, cwd=root))
        return Mirror(distribution=read_debian(), uri=f"[trusted=yes] {root.as_uri()}", security=None)

    return make


DATE = "Mon, 06 May 2024 07:08:09 +0000"
FORMAT = "3.0 (quilt)\n"
RULES = """\
#!/usr/bin/make -f
# --enable-told
ifeq ($(DEB_HOST_ARCH_OS),linux)
SWITCHES = --with-linux
endif
%:
\tdh $@ --without autoreconf
override_dh_auto_configure:
\tdh_auto_configure -- --with-kmod=no --disable-silent-rules --enable-a \\
\t    --with-units=/lib/systemd/system $(SWITCHES) --enable-static --enable-a -Dnot=its
"""
METADATA = "---\nRepository: https://git.example.org/one.git\n"


def read_output(*argv: str, cwd: Path) -> bytes:
    return subprocess.run(argv, check=True, cwd=cwd, capture_output=True).stdout


def read(file: Path) -> tuple[dict[str, Any], str]:
    """The draft as TOML and as text; read_recipe() takes it."""
    read_recipe(file.parent, package_prefix="ha-", styles=STYLES)
    text = file.read_text()
    return tomllib.loads(text), text


def test_a_draft_follows_the_source_package(archive: Callable[..., Mirror], tmp_path: Path) -> None:
    patch = "--- a/README\n+++ b/README\n@@ -1 +1 @@\n-one\n+two\n"
    more = {
        "rules": RULES,
        "upstream/metadata": METADATA,
        "patches/series": "# why\nfix-a.patch -p1\n",
        "patches/fix-a.patch": patch,
    }
    mirror = archive("1:1.1-2", "1:1.2-3", **more)
    project = make_project(tmp_path / "project", "libqb")
    file = draft(project, "one", "debian:one", State(tmp_path / "state"), mirror=mirror)
    table, text = read(file)
    assert (table["version"], table["homepage"]) == ("1.2", "https://one.example.org/page")
    assert table["build-depends"] == [
        "dh-python",
        "ha-libqb-dev",
        "libhere-dev",
        "pkg-config | pkgconf",
        "python3-sphinx",
        "zlib1g-dev:native",
    ]
    assert table["configure"] == ["--disable-static", "--with-kmod=no", "--enable-a"]
    assert "left out: libnever-dev [kfreebsd-any], libboot-dev <stage1>" in text
    assert table["upstream"]["git"] == "https://git.example.org/one.git"
    origin = table["origins"][0]
    assert (origin["type"], origin["package"], origin["version"]) == ("debian", "one", "1:1.2-3")
    assert "none of which is taken: fix-a.patch\n" in text
    assert table["copyright"][0]["license"] == "GPL-2+ and Own-1.0"
    assert (file.parent / "debian/licenses/Own-1.0").read_text() == " Do as you like.\n .\n Really.\n"
    package = table["packages"][0]
    assert package["synopsis"] == "greetings in one word"
    assert package["description"] == "one greets, in one word, whoever asks for it."


def test_a_version_whose_tarball_is_not_delivered_is_passed_over_and_named(
    archive: Callable[..., Mirror], tmp_path: Path
) -> None:
    mirror = archive("1.1-1", "1.2-1")
    (tmp_path / "archive/pool/one_1.2.orig.tar.xz").unlink()
    project = make_project(tmp_path / "project")
    table, text = read(draft(project, "one", "debian:one/bookworm", State(tmp_path / "state"), mirror=mirror))
    assert table["origins"][0]["version"] == "1.1-1"
    assert "# newer, but not delivered: 1.2-1\n" in text
    (tmp_path / "archive/pool/one_1.1.orig.tar.xz").unlink()
    with pytest.raises(FetchError, match="delivers the tarball of no version") as caught:
        draft(project, "other", "debian:one", State(tmp_path / "empty"), mirror=mirror)
    assert caught.value.details == ("versions: 1.2-1, 1.1-1",)
    assert not (project.recipes / "other").exists()


def test_a_lost_packaging_costs_descriptions_alone(archive: Callable[..., Mirror], tmp_path: Path) -> None:
    mirror = archive("1.2+dfsg-1")
    (packaging,) = (tmp_path / "archive/pool").glob("*.debian.tar.*")
    packaging.unlink()
    table, text = read(draft(make_project(tmp_path / "p"), "one", "debian:one", State(tmp_path / "s"), mirror=mirror))
    assert table["version"] == "1.2"
    assert "libqb-dev (>= 2.0)" in table["build-depends"]
    assert table["packages"][0]["synopsis"] == "greeting in one word"
    assert "# Debian's packaging of 1.2+dfsg-1 could not be read" in text
    assert "# Debian packed this tarball anew: it is not upstream's own" in text


@pytest.mark.parametrize(
    "origin", ["debian:", "debian:One", "debian:one/nowhere", "debian:../x", "debian:one/bookworm/x"]
)
def test_other_words_name_no_source_package(origin: str, archive: Callable[..., Mirror], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no source package of Debian"):
        list_debian_sources(origin, State(tmp_path / "state"), archive("1.2-1"))


def test_an_archive_without_the_package_says_so(archive: Callable[..., Mirror], tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="has no source package two in bookworm"):
        list_debian_sources("debian:two/bookworm", State(tmp_path / "state"), archive("1.2-1"))
    with pytest.raises(FetchError, match="no Debian archive is configured"):
        list_debian_sources("debian:one", State(tmp_path / "state"), None)


def test_a_packaging_that_the_index_does_not_know_is_not_read(archive: Callable[..., Mirror], tmp_path: Path) -> None:
    mirror, state = archive("1.2-1"), State(tmp_path / "state")
    (source,) = list_debian_sources("debian:one", state, mirror)
    (packaging,) = (tmp_path / "archive/pool").glob("*.debian.tar.*")
    packaging.write_bytes(packaging.read_bytes()[:-40])
    found = read_packaging(source, state, mirror)
    assert "could not be read" in found.unread
    assert found.synopsis == ""


def test_links_and_endless_files_of_a_packaging_are_not_followed(
    archive: Callable[..., Mirror], tmp_path: Path
) -> None:
    """The index vouches for such a packaging: the archive itself is hostile."""
    archive("1.2-1")
    pool = tmp_path / "archive/pool"
    (packaging,) = pool.glob("*.debian.tar.*")
    old = packaging.read_bytes()
    with tarfile.open(packaging, mode="w:xz") as tar:
        control = tarfile.TarInfo("debian/control")
        control.type, control.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(control)
        long = tarfile.TarInfo("debian/copyright")
        long.size = 3 << 20
        tar.addfile(long, io.BytesIO(COPYRIGHT.encode() + b"#" * long.size))
    (dsc,) = pool.glob("*.dsc")
    text = dsc.read_text()
    for name in ("md5", "sha1", "sha256"):
        text = text.replace(hashlib.new(name, old).hexdigest(), hashlib.new(name, packaging.read_bytes()).hexdigest())
    dsc.write_text(text.replace(f" {len(old)} {packaging.name}", f" {packaging.stat().st_size} {packaging.name}"))
    mirror, state = archive(), State(tmp_path / "state")
    (source,) = list_debian_sources("debian:one", state, mirror)
    found = read_packaging(source, state, mirror)
    assert found.unread == ""
    assert found.synopsis == ""
    assert found.licenses == ("GPL-2+", "Own-1.0")


def test_relations_of_helpers_go() -> None:
    relations = ["debhelper (>= 13)", "dh-autoreconf", "dh-sequence-gir", "quilt", "libx-dev (>= 1) | liby-dev"]
    assert choose_relations(relations, {}, "amd64") == (["libx-dev (>= 1) | liby-dev"], [])
    assert choose_relations(["a [!amd64]", "b [!i386]", "c <!nocheck>", "d <cross>"], {}, "amd64") == (
        ["b", "c"],
        ["a [!amd64]", "d <cross>"],
    )
