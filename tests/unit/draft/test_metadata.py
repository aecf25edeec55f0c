"""Single guesses: version, addresses, licence, holders."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hapkg.control import Suite
from hapkg.recipe.debian_folder import render_debian
from hapkg.recipe.model import read_recipe
from hapkg.recipe.settings import Project
from tests.support.drafts import GPL_NOTICE, configure, draft_from, draft_text, make_project, make_tarball
from tests.support.samples import SETTINGS, STYLES, TEMPLATES


@pytest.mark.parametrize(
    ("init", "version"),
    [
        ("[one], [3.4]", "3.4"),
        ("[one], 3.4", "3.4"),
        ("one, v3.4", "3.4"),
        ("[one],\n  [3.4-rc1],\n  [a, (b)]", "3.4~rc1"),
        ("[one], [3.4_5]", "3.4.5"),
        ("[one], [major.minor]", "3.4"),
        ("[one], [from_file]", "6.0"),
        ("[one], m4_esyscmd([build-aux/git-version-gen .tarball-version])", "5.6"),
        ("[one], [loop]", "5.6"),
        ("[one], [$VERSION]", "5.6"),
    ],
)
def test_versions_of_configure_ac(project: Project, init: str, version: str) -> None:
    macros = "m4_define([major], [3])\nm4_define([minor], [4])\nm4_define([loop], [loop loop])\n"
    files = {
        "configure.ac": macros + configure(init=init),
        "version.m4": "m4_define([from_file], [6.0])\n",
        ".tarball-version": "5.6\n",
    }
    assert draft_from(project, files).version == version


@pytest.mark.parametrize(
    ("files", "top", "version"),
    [
        ({"configure.ac": "AC_INIT(one.c)\nAM_INIT_AUTOMAKE(one, 2.5)\n"}, "one", "2.5"),
        ({"configure.ac": configure(init="[one], [2.5.0]")}, "one-2.5.0-rc1", "2.5.0~rc1"),
        ({"configure.ac": configure(init="[one], [2.5]")}, "one-2.50~rc1", "2.5"),
        ({"configure.ac": "AC_INIT(one.c)\n", "VERSION": "2.6\n"}, "one", "2.6"),
        ({"configure.ac": "AC_INIT(one.c)\n", "VERSION": "2.6\n"}, "one-2-7.1", "2.7.1"),
        ({"configure.ac": "AC_INIT(one.c)\n"}, "one-v2.1.12-stable", "2.1.12"),
        ({"configure.ac": "AC_INIT(one.c)\n"}, "one-2 of them-2.8", "2.8"),
        ({"configure": "#!/bin/sh\n"}, "one_4.0beta2", "4.0~beta2"),
        ({"configure.ac": "", "meson.build": "project('one', 'c',\n  version : '7.8')\n"}, "one", "7.8"),
    ],
)
def test_versions_of_other_places(project: Project, files: dict[str, str], top: str, version: str) -> None:
    assert draft_from(project, files, top=top).version == version


@pytest.mark.parametrize(
    ("url", "git", "tag"),
    [
        ("https://github.com/example/one/archive/refs/tags/1.2.tar.gz", "https://github.com/example/one.git", "1.2"),
        ("https://gitlab.com/example/one/-/archive/one-1.2/x.tar.gz", "https://gitlab.com/example/one.git", "one-1.2"),
        ("https://releases.example.org/one-1.2.tar.gz", "https://github.com/other/one.git", "v1.2"),
    ],
)
def test_addresses_of_forges(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, git: str, tag: str
) -> None:
    """As if the network had delivered it."""
    readme = "Needs https://github.com/other/two and https://other.github.io/one/.\n"
    tarball = make_tarball(tmp_path, {"configure.ac": configure(), "README.md": readme})
    monkeypatch.setattr("hapkg.draft.upstream_release.download", lambda _, target: shutil.copyfile(tarball, target))
    draft_text(project, url)
    recipe = read_recipe(project.recipes / "one", package_prefix="ha-", styles=STYLES)
    assert recipe.upstream is not None
    assert (recipe.upstream.git, recipe.upstream.tag) == (git, tag)
    assert recipe.homepage == git.removesuffix(".git")


@pytest.mark.parametrize(
    ("init", "files", "page"),
    [
        ("[one], [1], [], [], [http://one.example.org/~one/]", {}, "http://one.example.org/~one/"),
        (
            "[one], [1]",
            {"one.spec.in": "URL: https://%{host}/\nURL: https://a.example.org/\n"},
            "https://a.example.org/",
        ),
        ("[one], [1]", {"README": "https://codeberg.org/me/one"}, "https://codeberg.org/me/one"),
        ("[one], [1], [], [], [not an address]", {}, "https://upstream.invalid/one"),
    ],
)
def test_pages_of_upstream(project: Project, init: str, files: dict[str, str], page: str) -> None:
    assert draft_from(project, {"configure.ac": configure(init=init), **files}).homepage == page


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.c": "// SPDX-License-Identifier: GPL-2.0-or-later\n"}, "GPL-2+"),
        ({"a.c": "/* SPDX-License-Identifier: LGPL-2.1+ */\n"}, "LGPL-2.1+"),
        ({"a.c": "// SPDX-License-Identifier: (GPL-2.0-only OR BSD-3-Clause)\n"}, "GPL-2 or BSD-3-clause"),
        ({"a.c": "// SPDX-License-Identifier: LicenseRef-odd_one\n"}, "LicenseRef-odd-one"),
        ({"a.c": "// SPDX-License-Identifier: MIT OR ...\n"}, "one-license"),
        ({"a.c": GPL_NOTICE}, "GPL-2+"),
        ({"a.c": GPL_NOTICE.replace("General", "Lesser General").replace("version 2 ", "version 2.1 ")}, "LGPL-2.1+"),
        ({"a.c": "Licensed under the GNU General Public License version 2\n"}, "GPL-2"),
        ({"a.c": "GNU General Public License version 2 or later (GPLv2+)\n"}, "GPL-2+"),
        ({"a.c": "* of the GNU General Public License v2 or (at your option) any later version.\n"}, "GPL-2+"),
        ({"a.c": "* of the GNU General Public License v.2.\n"}, "GPL-2"),
        ({"a.c": "* This software licensed under LGPL-2.0+\n"}, "LGPL-2+"),
        ({"a.c": GPL_NOTICE, "b.c": GPL_NOTICE, "c.c": "LGPL-2.1+\n"}, "GPL-2+ and LGPL-2.1+"),
        ({"COPYING": "GNU GENERAL PUBLIC LICENSE\n Version 2, June 1991\n\n Copyright (C) 1989\n"}, "GPL-2"),
        ({"COPYING": "GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999\n"}, "LGPL-2.1"),
        ({"License": "Permission is hereby granted, free of charge, to\n"}, "Expat"),
        ({"LICENSE.md": "Permission to use, copy, modify, and/or\n"}, "ISC"),
        ({"LICENSE": "Apache License\n   Version 2.0, January 2004\n"}, "Apache-2.0"),
        ({"LICENSE": "Mozilla Public License Version 2.0\n"}, "MPL-2.0"),
        (
            {"a.h": "* Redistribution and use in source and\n * binary forms, with\n * Neither the name of\n"},
            "BSD-3-clause",
        ),
        ({"a.h": "# Redistribution and use in source and\n# binary forms, with\n"}, "BSD-2-clause"),
        ({"README.md": "one is free: LGPL v2.1 or later, see COPYING\n"}, "LGPL-2.1+"),
        ({"m4/a.sh": GPL_NOTICE, "a.txt": GPL_NOTICE, "README": "No licence."}, "one-license"),
    ],
)
def test_licences(project: Project, files: dict[str, str], expected: str) -> None:
    assert draft_from(project, {"configure.ac": configure(), **files}).copyright[0].license == expected


def test_a_licence_without_a_text_gets_a_remark(project: Project, tmp_path: Path) -> None:
    files = {"configure.ac": configure(), "a.c": "SPDX-License-Identifier: GPL-2.0+ AND Zlib\n"}
    text = draft_text(project, make_tarball(tmp_path, files))
    remark = "# to be written: debian/licenses/Zlib"
    assert f'{remark}\nlicense = "GPL-2+ and Zlib"\n' in text


TWO_CLAUSE = (
    "Copyright (c) 2001 Someone",
    "",
    "Redistribution and use in source and binary forms, with or without modification, are permitted.",
    'THIS SOFTWARE IS PROVIDED "AS IS".',
)


@pytest.mark.parametrize(
    "comment",
    [
        "/*\n" + "".join(f" * {line}\n" for line in TWO_CLAUSE) + " */\n",
        "/* " + "\n   ".join(TWO_CLAUSE) + " */\n",
        "".join(f"// {line}\n" for line in (*TWO_CLAUSE, "")),
    ],
)
def test_a_licence_that_only_a_source_holds_is_quoted(project: Project, tmp_path: Path, comment: str) -> None:
    files = {"configure.ac": configure(), "a.c": GPL_NOTICE, "b.c": comment + "int b;\n", "c.c": comment}
    assert "to be written" not in draft_text(project, make_tarball(tmp_path, files))
    written = (project.recipes / "one/debian/licenses/BSD-2-clause").read_text()
    assert [line.strip() for line in written.splitlines()] == [line or "." for line in TWO_CLAUSE]


def test_a_notice_that_is_not_whole_is_no_licence(project: Project, tmp_path: Path) -> None:
    notice = "/* " + "\n   ".join(TWO_CLAUSE[:3]) + " */\n"
    text = draft_text(project, make_tarball(tmp_path, {"configure.ac": configure(), "b.c": notice}))
    assert "# to be written: debian/licenses/BSD-2-clause" in text


@pytest.mark.parametrize(
    ("text", "name", "quoted"),
    [
        (
            "Permission is hereby granted, free of charge,\n\n\tto you\x1b[2J\n\n",
            "Expat",
            " .\n         to you\\x1b[2J\n",
        ),
        ("Do what you like.\n", "one-license", " Do what you like.\n"),
    ],
)
def test_upstreams_own_text_comes_along_where_debian_has_none(
    project: Project, text: str, name: str, quoted: str
) -> None:
    recipe = draft_from(project, {"configure.ac": configure(), "LICENSE": text})
    assert recipe.copyright[0].license == name
    assert (recipe.folder / "debian/licenses" / name).read_text().endswith(quoted)
    suite = Suite("bookworm")
    debian = render_debian(recipe, SETTINGS, (TEMPLATES,), suite=suite, version="1.2-1", key="k", versions={})
    assert quoted in debian.files["copyright"].decode()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([" * Copyright (C) 2004-2006 One Author <one@example.org>"], ["2004-2006 One Author"]),
        (["Copyright 2010, 2012 by A", "Copyright © 2015 a."], ["2010-2015 A"]),
        (["Copyright (c) 2009-present, Example Corp. All rights reserved. */"], ["2009 Example Corp."]),
        (["// SPDX-FileCopyrightText: 2021 Jos\u00e9"], ["2021 Jos\u00e9"]),
        (["Copyright (C) Some Body 1999"], ["1999 Some Body"]),
        (["Copyright (C) 2005-07 Red Hat Inc., Durham", "Copyright 2001 Red Hat, Inc."], ["2001-2005 Red Hat Inc."]),
        (['Copyright 2003 "Quoted \\ Name"'], ["2003 Quoted \\ Name"]),
        (["the above copyright notice and 2003 conditions"], ["2003 notice and conditions"]),
        (["copyright holders", "Copyright (C) YEAR Nobody", "Copyright 2003"], ["2024 the authors of one"]),
        ([f"Copyright 20{n:02} H{n}" for n in range(20, 10, -1)], [f"20{n} H{n}" for n in range(11, 16)]),
    ],
)
def test_holders(project: Project, lines: list[str], expected: list[str]) -> None:
    files = {"configure.ac": configure(), "a.c": "\n".join(lines) + "\n"}
    assert list(draft_from(project, files).copyright[0].copyright) == expected


def test_holders_in_other_encodings_and_in_the_licence(project: Project, tmp_path: Path) -> None:
    latin = "/* Copyright 2001 Jos\u00e9 */\n".encode("latin-1")
    assert draft_from(project, {"configure.ac": configure(), "a.c": latin}).copyright[0].copyright == (
        "2001 Jos\u00e9",
    )
    other = make_project(tmp_path / "other" / "project")
    licence = "MIT\nCopyright (c) 2002 Me\nCopyright 1989 Free Software Foundation, Inc.\n"
    found = draft_from(other, {"configure.ac": configure(), "LICENSE": licence, "a.c": "int a;\n"})
    assert found.copyright[0].copyright == ("2002 Me",)


def test_more_than_a_handful_of_holders_are_counted(project: Project, tmp_path: Path) -> None:
    lines = "".join(f"// Copyright 2001 Holder {letter}\n" for letter in "ABCDEFG")
    text = draft_text(project, make_tarball(tmp_path, {"configure.ac": configure(), "a.c": lines}))
    assert "# 2 more are named in the sources\ncopyright = [" in text


def test_the_folder_of_a_forges_archive_names_the_tag(project: Project) -> None:
    recipe = draft_from(project, {"configure.ac": configure()}, top="one-One-1.2", name="x.tar.gz")
    assert recipe.upstream is not None
    assert recipe.upstream.tag == "One-1.2"
