"""An upstream with two releases, an archive that knows it, and a project whose recipe is one release behind."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from hapkg.apt.mirror import Mirror
from hapkg.control import SourceName, Suite
from hapkg.currency.bump import Bump, prepare, settle
from hapkg.currency.debian_archive import read_indexes
from hapkg.disk import sha256_file
from hapkg.distribution import read_debian
from hapkg.errors import HapkgError
from hapkg.locations import State
from hapkg.recipe.model import Recipe, read_recipe
from hapkg.recipe.settings import Project
from hapkg.source.lockfile import LockedSource, write_lock
from tests.support.archive import write_suite
from tests.support.samples import AUTOTOOLS, SETTINGS, STYLES, TEMPLATES, write_recipe

SUITE = Suite("bookworm")
NAME = SourceName("ha-one")
WHO = ("-c", "user.name=one", "-c", "user.email=one@example.org", "-c", "init.defaultBranch=main")
OLD = {"words": ["a", "b", "one", "two", "three", "c", "d"], "configure.ac": ["AC_ARG_ENABLE([fast], x)"], "old": ["x"]}
NEW = {"words": ["x", *OLD["words"]], "configure.ac": ["AC_ARG_ENABLE([slow], x)"], "new": ["x"], "given": ["hello"]}


def make_patch(what: str, before: str, after: str, *, file: str = "words") -> str:
    """A patch of one line of the old release, with a header."""
    lines = OLD[file]
    place = lines.index(before)
    start = max(place - 3, 0) + 1
    near = lines[start - 1 : place + 4]
    body = [f"-{before}\n+{after}\n" if line == before else f" {line}\n" for line in near]
    return (
        f"Description: {what}\nAuthor: one <one@example.org>\n\n--- a/{file}\n+++ b/{file}\n"
        f"@@ -{start},{len(body)} +{start},{len(body)} @@\n{''.join(body)}"
    )


GIVEN = "Description: given (CVE-2026-0009)\nAuthor: one\n\n--- /dev/null\n+++ b/given\n@@ -0,0 +1 @@\n+hello\n"
PATCHES = {
    "series": "# in this order\nmoved.patch\ngiven.patch # from a mailing list\n",
    "moved.patch": make_patch("moved", "two", "zwei"),
    "given.patch": GIVEN,
}


def git(repository: Path, *words: str) -> str:
    """Output of git, for a committer and a time that are always the same."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_COMMITTER_DATE": "2025-02-03T04:05:06Z"}
    argv = ["git", "-C", str(repository), *WHO, *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout.strip()


class World:
    """Upstream's repository and tarballs, and a Debian archive: made once, and changed by nobody."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repository = folder, folder / "one.git"
        self.address = f"[trusted=yes] {(folder / 'debian').as_uri()}"
        self.mirror = Mirror(distribution=read_debian(), uri=self.address, security=None)
        self.repository.mkdir()
        git(self.repository, "init", "-q")
        for version, files in (("1.2", OLD), ("1.10", NEW)):
            git(self.repository, "rm", "-rqf", "--ignore-unmatch", ".")
            for name, lines in files.items():
                (self.repository / name).write_text("\n".join(lines) + "\n")
            git(self.repository, "add", "--all")
            git(self.repository, "commit", "-qm", f"one {version}")
            git(self.repository, "tag", f"v{version}")
            top = f"--prefix=one-{version}/"
            git(self.repository, "archive", "--format=tar.gz", top, "-o", str(self.tarball(version)), f"v{version}")
        for suite in ("bookworm", "bookworm-backports", "trixie", "forky", "sid"):
            write_suite(folder / "debian", suite, ("one", "1.2-1", "one"))
        self.indexes = read_indexes(State(folder / "state"), self.mirror, self.mirror, SUITE, ["one"])

    def tarball(self, version: str) -> Path:
        """The release tarball of a version."""
        return self.folder / f"one-{version}.tar.gz"


class Place:
    """A project with one recipe, and upstream of its own."""

    def __init__(self, folder: Path, world: World) -> None:
        shutil.copytree(world.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("debian", "state"))
        self.folder, self.repository = folder, folder / "one.git"
        self.address, self.mirror, self.indexes = world.address, world.mirror, world.indexes
        self.state = State(folder / "state")
        self.project = Project(root=folder / "project", settings=SETTINGS)

    def tarball(self, version: str) -> Path:
        """The release tarball of a version."""
        return self.folder / f"one-{version}.tar.gz"

    def write(self, change: Mapping[str, Any] | None = None, patches: Mapping[str, str] = PATCHES) -> Recipe:
        """The project with the recipe of 1.2, whose table is changed so."""
        (self.project.root / "debian-templates").parent.mkdir(exist_ok=True)
        (self.project.root / "debian-templates").symlink_to(TEMPLATES)
        digest = sha256_file(self.tarball("1.2"))
        pin = git(self.repository, "rev-parse", "v1.2")
        table = {
            **AUTOTOOLS,
            "revision": 4,
            "upstream": {"git": self.repository.as_uri(), "tag": "v1.2", "commit": pin},
            "origins": [{"type": "tarball", "url": self.tarball("1.2").as_uri(), "sha256": digest}, {"type": "git"}],
            "configure": ["--enable-fast"],
        }
        folder = write_recipe(self.project.recipes, {**table, **(change or {})}, patches)
        entry = LockedSource(version="1.2", origin="here", sha256=digest, tree="0" * 64, patches={})
        write_lock(self.project.root, SUITE, {NAME: entry, SourceName("ha-two"): entry})
        return read_recipe(folder, package_prefix="ha-", styles=STYLES)

    def bump(self, recipe: Recipe, version: str | None = None) -> Bump:
        """Take the step."""
        with prepare(
            self.project, recipe, version, indexes=self.indexes, mirror=self.mirror, state=self.state
        ) as prepared:
            settle(self.project, prepared)
        return prepared

    def refuse(self, recipe: Recipe, kind: type[HapkgError], version: str | None = None) -> HapkgError:
        """Fail to take it, and leave everything as it was."""
        before = self.read()
        with pytest.raises(kind) as caught:
            self.bump(recipe, version)
        assert self.read() == before
        assert [*self.state.sources.glob(".bump-*")] == []
        return caught.value

    def prepare(self, recipe: Recipe, version: str | None = None) -> AbstractContextManager[Bump]:
        """The step, ready to be taken."""
        return prepare(self.project, recipe, version, indexes=self.indexes, mirror=self.mirror, state=self.state)

    def read(self) -> dict[Path, bytes]:
        """Every file of the project."""
        return {file: file.read_bytes() for file in self.project.root.rglob("*") if file.is_file()}
