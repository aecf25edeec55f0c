"""Manifests of Python's packages and of crates, as far as a draft reads them."""

from __future__ import annotations

import pytest

from hapkg.draft.manifest import PackageManifest, read_manifest
from hapkg.recipe.settings import Project
from tests.support.drafts import configure, draft_from

PYPROJECT = """\
[build-system]
requires = ["setuptools"]

[project]
name = "one"
version = "1.2"
description = "Say one word"
license = { text = "MIT" }

[project.urls]
Homepage = "https://one.example.org/"
Source = "https://github.com/one/one"
"""
SETUP_CFG = """\
[metadata]
version = attr: one.__version__
license = BSD-3-Clause
description = Say one
    word
url = https://one.example.org/cfg
"""
PKG_INFO = "Metadata-Version: 2.1\nName: one\nVersion: 1.3\nSummary: Say a word\nLicense: UNKNOWN\n\nVersion: 9\n"
CARGO = """\
[workspace.package]
version = "0.4.0"
license = "MIT/Apache-2.0"

[package]
name = "one"
version.workspace = true
license.workspace = true
description = "Say one word"
repository = "https://codeberg.org/one/one"
"""


@pytest.mark.parametrize(
    ("style", "files", "manifest"),
    [
        (
            "pyproject",
            {"pyproject.toml": PYPROJECT, "setup.cfg": SETUP_CFG},
            PackageManifest(
                version="1.2",
                license="MIT",
                summary="Say one word",
                homepage="https://one.example.org/",
                repository="https://github.com/one/one",
            ),
        ),
        (
            "python",
            {"setup.cfg": SETUP_CFG, "PKG-INFO": PKG_INFO},
            PackageManifest(
                version="1.3", license="BSD-3-Clause", summary="Say one word", homepage="https://one.example.org/cfg"
            ),
        ),
        (
            "cargo",
            {"Cargo.toml": CARGO},
            PackageManifest(
                version="0.4.0",
                license="MIT OR Apache-2.0",
                summary="Say one word",
                repository="https://codeberg.org/one/one",
            ),
        ),
        ("autotools", {"pyproject.toml": PYPROJECT}, PackageManifest()),
        ("cargo", {"Cargo.toml": "[package"}, PackageManifest()),
        ("cargo", {"Cargo.toml": 'package = "x"\n[workspace]\npackage = 3\n'}, PackageManifest()),
        ("pyproject", {"pyproject.toml": "[project]\nversion = 1\nurls = []\nlicense = [1]\n"}, PackageManifest()),
        ("python", {"setup.cfg": "no section\n", "PKG-INFO": "\0"}, PackageManifest()),
    ],
)
def test_what_upstream_states(style: str, files: dict[str, str], manifest: PackageManifest) -> None:
    assert read_manifest(files, style) == manifest


def test_a_crate_is_drafted_from_its_manifest(project: Project) -> None:
    recipe = draft_from(project, {"Cargo.toml": CARGO, "src/main.rs": "// SPDX-License-Identifier: MIT\n"})
    (package,) = recipe.packages
    assert (recipe.version, recipe.style.name, recipe.build_depends) == ("0.4.0", "cargo", ("cargo", "rustc"))
    assert (package.synopsis, package.architecture) == ("Say one word", "any")
    assert recipe.upstream
    assert recipe.upstream.git == "https://codeberg.org/one/one.git"


@pytest.mark.parametrize(
    ("files", "blocks"),
    [
        ({"configure.ac": configure("AM_INIT_AUTOMAKE([foreign])")}, []),
        ({"configure.ac": "AC_INIT([one], [1.2])\nAC_OUTPUT\n"}, ["automake"]),
        ({"configure": "#!/bin/sh\n"}, ["automake", "option_checking"]),
    ],
)
def test_a_configure_without_automake_is_not_asked_for_its_switches(
    project: Project, files: dict[str, str], blocks: list[str]
) -> None:
    draft_from(project, files)
    rules = project.recipes / "one/debian/rules.j2"
    written = rules.read_text().splitlines() if rules.exists() else []
    assert written[1:] == [f"{{% block {block} %}}{{% endblock %}}" for block in blocks]
