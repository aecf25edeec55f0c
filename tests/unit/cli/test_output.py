"""`hapkg show` of a recipe, for a person and for a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hapkg.build.events import Ending, Outcome
from hapkg.cli.main import app
from hapkg.cli.output import describe_outcome
from hapkg.control import SourceName, Suite
from hapkg.errors import BuildError
from hapkg.recipe.debian_folder import render_debian
from hapkg.recipe.dep3 import read_header
from hapkg.recipe.model import read_recipe
from tests.support.samples import AUTOTOOLS, CHECKOUT, DIGEST, PATCH, SETTINGS, STYLES, TEMPLATES, write_recipe

FOLDED = """\
From 5f5f5f Mon Sep 17 00:00:00 2001
From: Somebody <somebody@example.org>
Date: Mon, 6 May 2024 07:08:09 +0000
Subject: [PATCH 1/2] greet: do not read
 past the end

An answer that is too long was read (CVE-2024-0002), as in
CVE-2024-0001 and CVE-2024-0002.
---
 greeting | 2 +-
 1 file changed, 1 insertion(+), 1 deletion(-)

diff --git a/greeting b/greeting
--- a/greeting
+++ b/greeting
@@ -1 +1 @@
-hello
+CVE-1999-0001
"""
DEP3 = f"""\
Description:
 Say hello
 .
 Fixes CVE-2024-12345.
Origin: upstream, https://example.org/commit/5f
Forwarded: not-needed
{PATCH.partition("<test@example.org>")[2]}"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one recipe, with patches of every kind and tests that do not all run."""
    fetched = {"type": "url", "name": "far.patch", "url": "https://example.org/far", "sha256": DIGEST}
    table = {
        **AUTOTOOLS,
        "tests-left-out": ["slow: it takes an hour"],
        "remote-patches": [{**fetched, "fixes": ["CVE-2024-0009"], "until": "2.0"}],
    }
    patches: dict[str, str | bytes] = {
        "series": "own.patch # until 1.10\nmail.patch\n",
        "own.patch": DEP3,
        "mail.patch": FOLDED,
    }
    write_recipe(tmp_path / "recipes", table, patches)
    (tmp_path / "pyproject.toml").write_text('[tool.hapkg]\nmaintainer = "Test Person <test@example.org>"\n')
    (tmp_path / "debian-templates").symlink_to(TEMPLATES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAPKG_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The program's output."""
    app(list(arguments), standalone_mode=False)
    return capsys.readouterr().out


@pytest.mark.usefixtures("project")
def test_every_patch_is_listed_with_what_its_header_says(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, "show", "one").splitlines()
    start = lines.index("patches:")
    assert lines[start + 1 : start + 4] == [
        "  far.patch: origin https://example.org/far; fixes CVE-2024-0009; until 2.0",
        "  own.patch: description Say hello; origin upstream, https://example.org/commit/5f; forwarded not-needed; "
        "fixes CVE-2024-12345; until 1.10",
        "  mail.patch: description greet: do not read past the end; author Somebody <somebody@example.org>; "
        "fixes CVE-2024-0002, CVE-2024-0001",
    ]
    assert lines[lines.index("tests: run at build time") :][1:3] == ["tests left out:", "  slow: it takes an hour"]


@pytest.mark.usefixtures("project")
def test_a_script_reads_the_same_patches(capsys: pytest.CaptureFixture[str]) -> None:
    facts: dict[str, Any] = json.loads(run(capsys, "show", "one", "--json"))
    assert facts["patches"] == [
        {"name": "far.patch", "origin": "https://example.org/far", "fixes": ["CVE-2024-0009"], "until": "2.0"},
        {
            "name": "own.patch",
            "description": "Say hello",
            "author": "",
            "origin": "upstream, https://example.org/commit/5f",
            "forwarded": "not-needed",
            "fixes": ["CVE-2024-12345"],
            "since": None,
            "until": "1.10",
        },
        {
            "name": "mail.patch",
            "description": "greet: do not read past the end",
            "author": "Somebody <somebody@example.org>",
            "origin": "",
            "forwarded": "",
            "fixes": ["CVE-2024-0002", "CVE-2024-0001"],
            "since": None,
            "until": None,
        },
    ]
    assert facts["tests left out"] == ["slow: it takes an hour"]
    assert facts["upstream"] == ["git https://git.example.org/one.git v1.2"]


def test_the_recipes_of_this_project_tell_whose_every_patch_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(CHECKOUT)
    monkeypatch.setenv("HAPKG_CACHE", str(tmp_path / "cache"))
    facts = json.loads(run(capsys, "show", "corosync", "--json"))
    assert [patch["fixes"] for patch in facts["patches"] if patch["fixes"]] == [
        ["CVE-2025-30472"],
        ["CVE-2026-35091"],
        ["CVE-2026-35092"],
    ]
    for folder in sorted(CHECKOUT.glob("recipes/*/patches")):
        own = (folder / "series").read_text().split()
        for patch in json.loads(run(capsys, "show", folder.parent.name, "--json"))["patches"]:
            assert patch["name"] not in own or patch["description"], patch
            assert patch["origin"] or patch["author"], patch


def test_the_changelog_names_what_our_own_patches_fix(project: Path) -> None:
    recipe = read_recipe(project / "recipes/one", package_prefix="ha-", styles=STYLES)
    debian = render_debian(
        recipe, SETTINGS, (TEMPLATES,), suite=Suite("bookworm"), version="1.2-1+ha12.1", key="0" * 64, versions={}
    )
    lines = debian.files["changelog"].decode().splitlines()
    assert [line for line in lines if "Patch:" in line] == [
        "  * Patch: far.patch (CVE-2024-0009)",
        "  * Patch: own.patch (CVE-2024-12345)",
        "  * Patch: mail.patch (CVE-2024-0002, CVE-2024-0001)",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "--- a/x\n+++ b/x\n",
        "Description: x\n\n--- a/x\n+++ b/x\n",
        "Author: x\n\n--- a/x\n+++ b/x\n",
        "Description:\nAuthor: x\n\n--- a/x\n+++ b/x\n",
        "diff --git a/x b/x\nDescription: x\nAuthor: x\n",
    ],
)
def test_a_header_says_what_a_patch_does_and_whose_it_is(text: str) -> None:
    assert read_header(text) is None


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("main.c:1:10: fatal error: zip.h: No such file or directory", ("build dependency", ["zip.h"])),
        (
            "dh_missing: error: opt/ha/bin/x exists in debian/tmp but is not installed to anywhere",
            ("file that no package takes", ["opt/ha/bin/x"]),
        ),
        ("nothing that is known", None),
    ],
)
def test_a_script_is_told_the_cause_that_a_log_tells(
    tmp_path: Path, line: str, cause: tuple[str, list[str]] | None
) -> None:
    log = tmp_path / "log"
    log.write_text(f"checking for cc\n{line}\n")
    failed = Outcome(
        source=SourceName("ha-x"),
        ending=Ending.FAILED,
        version="1",
        reason="",
        seconds=1,
        log=log,
        error=BuildError("it failed"),
        fault="recipe",
    )
    told = describe_outcome(failed)["cause"]
    assert (told and (told["lack"], told["words"])) == cause
    assert cause is None or "recipe.toml" in told["remedy"]
