"""Source packages: made by hapkg, judged by dpkg-source."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hapkg.control import split_stanzas
from hapkg.errors import SourceError
from hapkg.recipe.debian_folder import DebianFolder
from hapkg.recipe.model import Recipe
from hapkg.source.fetch import Tarball
from hapkg.source.package import SourcePackage, lay_out, make_source_package
from tests.support.samples import AUTOTOOLS, DATE, META, PATCH, make_recipe, make_recipe_from

VERSION, NATIVE_VERSION = "1.2-1+ha12.1", "1.2+ha12.1"
UPSTREAM = {"one-1.2/greeting": "good bye\n", "one-1.2/configure": "#!/bin/sh\n"}
CHANGELOG = """\
ha-one ({}) bookworm; urgency=medium

  * A test.

 -- Test Person <test@example.org>  Mon, 06 May 2024 07:08:09 +0000
"""
CONTROL = """\
Source: ha-one
Maintainer: Test Person <test@example.org>
Standards-Version: 4.6.2

Package: ha-one
Architecture: any
Description: first of the samples
 One.
"""
WRONG_PATCH = PATCH.replace("good bye", "never said")


def read_fields(dsc: Path) -> Mapping[str, str]:
    """The fields of a .dsc that is not signed."""
    return next(split_stanzas(dsc.read_text("utf-8")))


def make_tarball(folder: Path, members: Mapping[str, str | None] | Sequence[tarfile.TarInfo]) -> Tarball:
    """A tarball of files (None for a folder) or of any members."""
    if isinstance(members, Mapping):
        infos = []
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            info.mode = 0o755 if content is None or content.startswith("#!") else 0o644
            info.size = len((content or "").encode())
            infos.append((info, (content or "").encode()))
    else:
        infos = [(info, b"") for info in members]
    folder.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, data in infos:
            archive.addfile(info, io.BytesIO(data))
    return keep(folder, gzip.compress(stream.getvalue(), mtime=0))


def keep(folder: Path, content: bytes) -> Tarball:
    """A tarball as the cache keeps it: without a name of its own."""
    digest = hashlib.sha256(content).hexdigest()
    path = folder / digest
    path.write_bytes(content)
    return Tarball(path=path, sha256=digest, suffix=".tar.gz", origin="a test")


def make_debian(patches: Mapping[str, str] | None = None, *, native: bool = False) -> DebianFolder:
    """A debian/ folder with these patches."""
    files = {
        "source/format": "3.0 (native)\n" if native else "3.0 (quilt)\n",
        "changelog": CHANGELOG.format(NATIVE_VERSION if native else VERSION),
        "control": CONTROL,
        "rules": "#!/usr/bin/make -f\n%:\n\tdh $@\n",
        **{f"patches/{name}": text for name, text in (patches or {}).items()},
    }
    if patches:
        files["patches/series"] = "".join(f"{name}\n" for name in patches)
    return DebianFolder(files={name: text.encode() for name, text in files.items()})


def make_quilt(target: Path, tarball: Tarball, patches: Mapping[str, str] | None = None) -> SourcePackage:
    series = "".join(f"{name}\n" for name in patches or {})
    recipe = make_recipe(target.parent / "recipes", AUTOTOOLS, {"series": series, **(patches or {})})
    return make_source_package(recipe, make_debian(patches), tarball, version=VERSION, target=target)


def unpack(package: SourcePackage, folder: Path) -> dict[str, str]:
    """The files of the source package as dpkg-source unpacks it, without debian/ and quilt's notes."""
    tree = folder / "unpacked"
    argv = ["dpkg-source", "--require-strong-checksums", "-x", str(package.dsc), str(tree)]
    subprocess.run(argv, check=True, capture_output=True)
    paths = {str(path.relative_to(tree)): path for path in sorted(tree.rglob("*")) if path.is_file()}
    return {name: path.read_text() for name, path in paths.items() if not name.startswith(("debian/", ".pc/"))}


def digests(package: SourcePackage) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in package.files}


def refuse(target: Path, tarball: Tarball, patches: Mapping[str, str] | None = None) -> SourceError:
    with pytest.raises(SourceError) as caught:
        make_quilt(target, tarball, patches)
    assert caught.value.exit_code == 8
    return caught.value


def test_code_that_was_laid_out_early_gives_the_same_source_package(tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path / "cache", {**UPSTREAM, "one-1.2/debian/rules": "upstream's\n"})
    at_once = make_quilt(tmp_path / "at-once", tarball, {"hello.patch": PATCH})
    seen: list[str] = []
    lay_out(
        make_recipe_from(AUTOTOOLS),
        tarball,
        target=tmp_path / "early",
        inspect=lambda tree: seen.extend(sorted(path.name for path in tree.iterdir())),
    )
    assert seen == ["configure", "debian", "greeting"]
    assert digests(make_quilt(tmp_path / "early", tarball, {"hello.patch": PATCH})) == digests(at_once)


def test_a_source_package_with_upstream_is_quilt_and_unpacks_with_its_patches(tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path / "cache", UPSTREAM)
    package = make_quilt(tmp_path / "made", tarball, {"hello.patch": PATCH})
    fields = read_fields(package.dsc)
    assert (fields["Format"], fields["Source"], fields["Version"]) == ("3.0 (quilt)", "ha-one", VERSION)
    assert [file.name for file in package.files] == [
        "ha-one_1.2-1+ha12.1.dsc",
        "ha-one_1.2.orig.tar.gz",
        "ha-one_1.2-1+ha12.1.debian.tar.xz",
    ]
    assert sorted(package.files) == sorted((tmp_path / "made").iterdir())
    assert unpack(package, tmp_path) == {"greeting": "hello\n", "configure": "#!/bin/sh\n"}
    assert stat.S_IMODE((tmp_path / "unpacked/debian/rules").stat().st_mode) == 0o755
    assert (tmp_path / "made/ha-one_1.2.orig.tar.gz").read_bytes() == tarball.path.read_bytes()


def test_a_source_package_without_upstream_is_native(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, META)
    debian = make_debian(native=True)
    package = make_source_package(recipe, debian, None, version=NATIVE_VERSION, target=tmp_path / "made")
    assert [file.name for file in package.files] == ["ha-one_1.2+ha12.1.dsc", "ha-one_1.2+ha12.1.tar.xz"]
    assert read_fields(package.dsc)["Format"] == "3.0 (native)"


@pytest.mark.parametrize(
    ("native", "date"),
    [(False, DATE), (True, datetime(2099, 1, 1, tzinfo=UTC))],
    ids=["upstream's, of the past", "native, of the future"],
)
def test_the_same_inputs_give_the_same_bytes_wherever_and_whenever(
    tmp_path: Path, date: datetime, native: bool
) -> None:
    tarball = None if native else make_tarball(tmp_path / "cache", UPSTREAM)
    recipe: Recipe = make_recipe_from({**(META if native else AUTOTOOLS), "date": date})
    version = NATIVE_VERSION if native else VERSION
    found = []
    for number, umask in enumerate((0o022, 0o077)):
        before = os.umask(umask)
        try:
            folder = tmp_path / ("deeper" * number) / str(number)
            debian = make_debian({} if native else {"hello.patch": PATCH}, native=native)
            files = dict(sorted(debian.files.items(), reverse=bool(number)))
            package = make_source_package(
                recipe, DebianFolder(files=files), tarball, version=version, target=folder / "made"
            )
        finally:
            os.umask(before)
        for file in package.files:
            os.utime(file, (number, number))
        found.append(digests(package))
    assert found[0] == found[1]


def test_a_patch_that_does_not_apply_is_named(tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path / "cache", UPSTREAM)
    good = PATCH.replace("good bye", "hello").replace("+hello", "+hello there")
    patches = {"one.patch": PATCH, "two.patch": good, "wrong-one.patch": WRONG_PATCH, "three.patch": PATCH}
    error = refuse(tmp_path / "made", tarball, patches)
    assert error.brief == "ha-one: patch wrong-one.patch does not apply to version 1.2"
    folder = tmp_path / "recipes" / "one" / "patches"
    assert error.hint == f"refresh {folder}/wrong-one.patch, or remove it from series if upstream has taken it"
    assert any("Hunk #1 FAILED" in line for line in error.details)


def test_a_pinned_patch_that_does_not_apply_is_named(tmp_path: Path) -> None:
    pinned = {"type": "url", "name": "x.patch", "url": "https://example.org/x", "sha256": "0" * 64}
    recipe = make_recipe_from({**AUTOTOOLS, "remote-patches": [pinned]})
    tarball = make_tarball(tmp_path / "cache", {"one-1.2/greeting": "line\n" * 60})
    hunks = (f"@@ -{line} +{line} @@\n-never {line}\n+said {line}\n" for line in range(1, 60, 2))
    debian = make_debian({"x.patch": WRONG_PATCH.partition("@@")[0] + "".join(hunks)})
    with pytest.raises(SourceError) as caught:
        make_source_package(recipe, debian, tarball, version=VERSION, target=tmp_path / "made")
    assert (caught.value.brief, caught.value.hint) == (
        "ha-one: patch x.patch does not apply to version 1.2",
        "pin the patch for this version in recipe.toml, [[remote-patches]], or remove it",
    )


@pytest.mark.parametrize(
    ("members", "found"),
    [
        ({"one/a": "", "two/b": ""}, "one, two"),
        ({"a": "", "b": ""}, "a, b"),
        ({"only-a-file": "x"}, "only-a-file"),
        ({}, "nothing"),
    ],
)
def test_a_tarball_that_is_not_one_folder_is_refused(
    tmp_path: Path, members: dict[str, str | None], found: str
) -> None:
    error = refuse(tmp_path / "made", make_tarball(tmp_path / "cache", members))
    assert (error.brief, error.details, error.hint) == (
        "ha-one: the tarball does not hold one folder with everything in it",
        (f"found: {found}",),
        "pin upstream's release tarball",
    )


def test_a_tarball_of_the_current_folder_is_unpacked_all_the_same(tmp_path: Path) -> None:
    members = {"./": None, "./one-1.2/": None, "./one-1.2/greeting": "good bye\n"}
    package = make_quilt(tmp_path / "made", make_tarball(tmp_path / "cache", members))
    assert unpack(package, tmp_path) == {"greeting": "good bye\n"}


@pytest.mark.parametrize("cut", [-1, 20, 0])
def test_a_damaged_tarball_is_refused(tmp_path: Path, cut: int) -> None:
    whole = make_tarball(tmp_path / "cache", {**UPSTREAM, "one-1.2/long": "".join(map(str, range(9999)))})
    content = whole.path.read_bytes()
    damaged = content[: len(content) // 2] if cut < 0 else content[:cut]
    error = refuse(tmp_path / "made", keep(tmp_path / "cache", damaged))
    assert error.brief == "ha-one: the tarball cannot be unpacked"
    assert error.hint == "its checksum matches the recipe, so upstream's file itself is damaged: pin another"
    assert error.details != ()


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", "one-1.2/../../evil", "one-1.2/sub/../../../evil"])
def test_a_tarball_cannot_write_above_itself(tmp_path: Path, name: str) -> None:
    tarball = make_tarball(tmp_path / "cache", {"one-1.2/greeting": "x", name: "evil"})
    error = refuse(tmp_path / "deep" / "made", tarball)
    assert error.brief == f"ha-one: the tarball holds a name that leads out of it: {name!r}"
    assert list(tmp_path.rglob("evil")) == []


def test_a_tarball_cannot_write_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tarfile.TarInfo("one-1.2/link")
    link.type, link.linkname = tarfile.SYMTYPE, str(outside)
    file = tarfile.TarInfo("one-1.2/link/evil")
    refuse(tmp_path / "made", make_tarball(tmp_path / "cache", [link, file]))
    assert list(outside.iterdir()) == []


def test_packaging_of_upstream_is_left_out(tmp_path: Path) -> None:
    members = {**UPSTREAM, "one-1.2/debian/control": "Source: theirs\n", "one-1.2/debian/theirs": "x"}
    package = make_quilt(tmp_path / "made", make_tarball(tmp_path / "cache", members))
    assert unpack(package, tmp_path) == {"greeting": "good bye\n", "configure": "#!/bin/sh\n"}
    assert sorted(path.name for path in (tmp_path / "unpacked/debian").iterdir()) == [
        "changelog",
        "control",
        "rules",
        "source",
    ]


def test_packaging_of_upstream_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    link = tarfile.TarInfo("one-1.2/debian")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
    package = make_quilt(tmp_path / "made", make_tarball(tmp_path / "cache", [link]))
    assert read_fields(package.dsc)["Source"] == "ha-one"
    assert [file.name for file in (tmp_path / "outside").iterdir()] == ["file"]


def test_a_version_that_the_changelog_does_not_have_is_an_error(tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path / "cache", UPSTREAM)
    with pytest.raises(SourceError) as caught:
        make_source_package(
            make_recipe_from(AUTOTOOLS), make_debian(), tarball, version="1.2-1+ha12.2", target=tmp_path / "made"
        )
    assert caught.value.brief == "ha-one: dpkg-source wrote no ha-one_1.2-1+ha12.2.dsc"


def test_what_dpkg_source_refuses_is_quoted(tmp_path: Path) -> None:
    debian = DebianFolder(files={**make_debian().files, "control": b"nonsense\n"})
    tarball = make_tarball(tmp_path / "cache", UPSTREAM)
    with pytest.raises(SourceError) as caught:
        make_source_package(make_recipe_from(AUTOTOOLS), debian, tarball, version=VERSION, target=tmp_path / "made")
    assert caught.value.brief == "ha-one: dpkg-source cannot make the source package"
    assert any("nonsense" in line or "control" in line for line in caught.value.details)
