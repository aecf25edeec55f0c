"""Packages by the files in them, from a small archive that apt reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.apt.mirror import Mirror
from hapkg.control import Suite
from hapkg.disk import sha256_file
from hapkg.distribution import read_debian
from hapkg.draft.contents import find_owners
from hapkg.errors import FetchError
from hapkg.host import read_architecture
from hapkg.locations import State

SUITE = Suite("bookworm")
CONTENTS = """\
bin/spin                                                utils/spin
usr/bin/spin-doctor                                     admin/spin,devel/spin-tools
usr/include/a.h                                         libdevel/liba-dev
usr/include/sub/a.h                                     libdevel/libother-dev
usr/include/both.h                                      libdevel/libone-dev,libdevel/libtwo-dev
usr/include/x86_64-linux-gnu/deep/b.h                   libdevel/libb-dev
usr/lib/x86_64-linux-gnu/libgnome.so                    libdevel/libgnome-dev
usr/lib/x86_64-linux-gnu/libgnome.so.1                  libs/libgnome1
usr/lib/x86_64-linux-gnu/private/libhidden.so           libs/hidden
usr/lib/x86_64-linux-gnu/pkgconfig/gnomic++-1.0.pc      libdevel/libgnomic-dev
usr/share/doc/a file with blanks/spin                   doc/spin-doc
usr/share/pkgconfig/data.pc                             misc/data
"""


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    """An archive whose one suite has nothing but a Contents index."""
    suite = tmp_path / "debian/dists" / SUITE
    name = f"main/Contents-{read_architecture()}"
    (suite / "main").mkdir(parents=True)
    (suite / name).write_text(CONTENTS)
    fields = (f"Codename: {SUITE}", f"Architectures: {read_architecture()}", "Components: main", "SHA256:")
    digest = f" {sha256_file(suite / name)} {(suite / name).stat().st_size} {name}"
    (suite / "Release").write_text("\n".join([*fields, digest, ""]))
    uri = f"[trusted=yes] {(tmp_path / 'debian').as_uri()}"
    return Mirror(distribution=read_debian(), uri=uri, security=None)


def test_each_kind_of_word_is_found_where_it_belongs(mirror: Mirror, tmp_path: Path) -> None:
    words = ("spin", "a.h", "deep/b.h", "-lgnome", "gnomic++-1.0.pc", "data.pc")
    assert find_owners(words, SUITE, mirror, State(tmp_path / "state")) == {
        "spin": "spin",
        "a.h": "liba-dev",
        "deep/b.h": "libb-dev",
        "-lgnome": "libgnome-dev",
        "gnomic++-1.0.pc": "libgnomic-dev",
        "data.pc": "data",
    }


def test_what_nobody_or_several_have_is_left_to_a_person(mirror: Mirror, tmp_path: Path) -> None:
    words = (
        "nothing.pc",
        "-lhidden",
        "both.h",
        "spin-doctor",
        "AC_X",
        "-l.*",
        "$(rm)",
        "gnomicxx-1.0.pc",
        "../spin",
        "",
    )
    assert find_owners(words, SUITE, mirror, State(tmp_path / "state")) == {}


def test_the_index_is_fetched_once(mirror: Mirror, tmp_path: Path) -> None:
    state = State(tmp_path / "state")
    assert find_owners(["spin"], SUITE, mirror, state)
    (tmp_path / "debian/dists").rename(tmp_path / "debian/gone")
    assert find_owners(["data.pc"], SUITE, mirror, state) == {"data.pc": "data"}


def test_an_archive_that_cannot_be_asked_is_told(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "debian/dists").rename(tmp_path / "debian/gone")
    with pytest.raises(FetchError, match="the archive has no Contents index of bookworm"):
        find_owners(["spin"], SUITE, mirror, State(tmp_path / "state"))
    assert find_owners(["AC_X"], SUITE, mirror, State(tmp_path / "state")) == {}, "nothing to ask for"


def test_without_an_archive_there_is_no_answer(tmp_path: Path) -> None:
    none = Mirror(distribution=read_debian(), uri=None, security=None)
    with pytest.raises(FetchError, match="no archive is configured"):
        find_owners(["spin"], SUITE, none, State(tmp_path / "state"))
