"""Mercurial repositories of upstream."""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, ClassVar

from hapkg.errors import SourceError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.recipe.model import Recipe
from hapkg.source.origins.repository import Commit, Vcs, read_remote_environment
from hapkg.source.origins.request import BOUNDED

_REMOTE = {"HGPLAIN": "1", "HGRCSKIPREPO": "1"}
"""No .hg/hgrc is read, whose hooks would run: neither the mirror's nor that of a repository on this disk."""
_LOCAL = {**_REMOTE, "HGRCPATH": ""}
"""The user's configuration neither."""


def _make_remote() -> dict[str, str]:
    return {**read_remote_environment(), **_REMOTE}


class Hg(Vcs):
    """Mercurial."""

    kind: ClassVar[str] = "hg"
    default_branch: ClassVar[str] = "default"

    def clone(self, url: str, mirror: Path) -> None:
        """Make a mirror without a working copy."""
        process.run(
            [*BOUNDED, "hg", "clone", "--quiet", "--noupdate", "--", url, str(mirror)], environment=_make_remote()
        )

    def update(self, url: str, mirror: Path) -> None:
        """Take what is new."""
        process.run([*BOUNDED, "hg", "-R", str(mirror), "pull", "--quiet", "--", url], environment=_make_remote())

    def find_tag(self, mirror: Path, tag: str) -> str | None:
        """The commit of a tag; a bookmark or branch of its name does not count."""
        return self._resolve(mirror, "tag", tag)

    def find_ref(self, url: str, mirror: Path, ref: str) -> str | None:
        """The commit of a tag (tip is one), a bookmark, a branch, or an id, which may be cut short."""
        kinds = ("tag", "bookmark", "branch") if not re.fullmatch(r"[0-9a-f]{40}", ref) else ()
        for kind in kinds:
            if (commit := self._resolve(mirror, kind, ref)) is not None:
                return commit
        return self._log(mirror, f"id({ref})") if re.fullmatch(r"[0-9a-f]{4,40}", ref) else None

    def read_date(self, mirror: Path, commit: str) -> int:
        """The date of the commit."""
        return int(self._ask(mirror, "log", "--rev", commit, "--template", "{date|hgdate}").split()[0])

    def list_tags(self, mirror: Path) -> list[tuple[str, str]]:
        """Every tag with its commit."""
        listing = self._ask(mirror, "tags", "--template", "{tag} {node}\n")
        return [(tag, node) for tag, _, node in (line.rpartition(" ") for line in listing.splitlines())]

    def list_tags_before(self, mirror: Path, commit: str) -> list[str]:
        """Tags by `hg log`."""
        wanted = ["log", "--rev", f"ancestors({commit}) and tag()", "--template", "{join(tags, '\\n')}\\n"]
        return self._ask(mirror, *wanted).splitlines()

    def read_log(self, mirror: Path, old: str, new: str, most: int) -> list[str]:
        """Commits by `hg log`."""
        wanted = ["--rev", f"reverse(only({new}, {old}) and not merge())", "--limit", str(most)]
        template = "{node|short} {desc|firstline}\n"
        return self._ask(mirror, "log", *wanted, "--template", template).splitlines()

    def check_whole(self, recipe: Recipe, mirror: Path, commit: str) -> None:
        """Refuse subrepositories. Raises SourceError."""
        argv = ["hg", "-R", str(mirror), "cat", "--rev", commit, "path:.hgsub"]
        listing = process.run(argv, check=False, environment=_LOCAL)
        if listing.status == 0:
            names = [line.partition("=")[0].strip() for line in listing.output.splitlines() if "=" in line]
            raise SourceError(
                f"{recipe.source}: the tree has subrepositories, which hg archive leaves out: {', '.join(names)}",
                hint="use upstream's release tarball, or a recipe of its own for each subrepository",
            )

    def write_parts(self, recipe: Recipe, commit: Commit, prefix: str, tar: Path, state: State) -> None:
        """Nothing: subrepositories are refused."""

    def write_tar(self, mirror: Path, commit: str, prefix: str, out: IO[bytes]) -> None:
        """Write what `hg archive` gives, without its note about the commit, which changes with the next tag."""
        archive = [
            "archive",
            "--config",
            "ui.archivemeta=no",
            "--rev",
            commit,
            "--type",
            "tar",
            "--prefix",
            prefix,
            "-",
        ]
        process.run(["hg", "-R", str(mirror), *archive], stdout=out, environment=_LOCAL)

    def _ask(self, mirror: Path, *arguments: str) -> str:
        return process.run(["hg", "-R", str(mirror), *arguments], environment=_LOCAL).output

    def _resolve(self, mirror: Path, kind: str, name: str) -> str | None:
        """The newest commit of a name of one kind, taken literally."""
        quoted = name.replace("\\", "\\\\").replace("'", "\\'")
        return self._log(mirror, f"max({kind}('literal:{quoted}'))")

    def _log(self, mirror: Path, expression: str) -> str | None:
        """The one commit that a revset finds."""
        argv = ["hg", "-R", str(mirror), "log", "--limit", "1", "--rev", expression, "--template", "{node}"]
        found = process.run(argv, check=False, environment=_LOCAL)
        return found.output.strip() or None if found.status == 0 else None
