"""git repositories of upstream."""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

from hapkg.errors import FetchError, ProcessError, SourceError, UsageError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.recipe.model import Recipe
from hapkg.source.origins.repository import Commit, Vcs, is_commit, read_remote_environment
from hapkg.source.origins.request import BOUNDED
from hapkg.source.signature import GIT_ALONE, GIT_OPTIONS, check_tag
from hapkg.text import printable

_REMOTE = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1"}
"""Where the network is asked, the user's configuration stays: it may know a proxy, or who may read the repository."""
_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
"""Of all that a server may offer, the names that people give."""
_LIST_SECONDS = 60
_LISTED = re.compile(r"^([0-9a-f]{40})\trefs/tags/(\S+)$", re.MULTILINE)
"""A tag in the listing of a server; what a tag object names follows with ^{} at its name."""
_ATTRIBUTES = "* -export-subst\n"
"""Overrides upstream's .gitattributes: $Format:…$ would put names of today's branches and tags into the archive."""


def _make_remote() -> dict[str, str]:
    command = os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")  # nobody is there to be asked
    return {**read_remote_environment(), **_REMOTE, "GIT_SSH_COMMAND": command}


class Git(Vcs):
    """git."""

    kind: ClassVar[str] = "git"
    default_branch: ClassVar[str] = "HEAD"

    def clone(self, url: str, mirror: Path) -> None:
        """Make a mirror without hooks of a template."""
        process.run(["git", "init", "--quiet", "--bare", "--template=", str(mirror)], environment=GIT_ALONE)
        self.update(url, mirror)

    def update(self, url: str, mirror: Path) -> None:
        """Take the server's branches and tags, and drop those it has no more."""
        fetch = ["fetch", "--quiet", "--prune", "--force", "--no-tags", "--no-recurse-submodules"]
        argv = [*BOUNDED, "git", "-C", str(mirror), *GIT_OPTIONS, *fetch, "--", url, *_REFS]
        process.run(argv, environment=_make_remote())

    def find_tag(self, mirror: Path, tag: str) -> str | None:
        """The commit of refs/tags/TAG."""
        return self._resolve(mirror, f"refs/tags/{tag}")

    def find_ref(self, url: str, mirror: Path, ref: str) -> str | None:
        """The commit of a tag, a branch, HEAD of the server, or an id, which may be cut short."""
        if is_commit(ref):
            return self._resolve(mirror, ref) or self._fetch_id(url, mirror, ref)
        for name in (f"refs/tags/{ref}", f"refs/heads/{ref}"):
            if (commit := self._resolve(mirror, name)) is not None:
                return commit
        if ref == "HEAD":
            told = process.run(
                ["git", *GIT_OPTIONS, "ls-remote", "--", url, "HEAD"], environment=_make_remote()
            ).output.split()
            return self._resolve(mirror, told[0]) if told and is_commit(told[0]) else None
        if re.fullmatch(r"[0-9a-f]{4,39}", ref):
            objects = self._ask(mirror, "rev-parse", f"--disambiguate={ref}").split()
            commits = [name for name in objects if self._resolve(mirror, name) == name]
            return commits[0] if len(commits) == 1 else None
        return None

    def read_date(self, mirror: Path, commit: str) -> int:
        """The committer's date."""
        return int(self._ask(mirror, "show", "-s", "--format=%ct", commit))

    def list_tags(self, mirror: Path) -> list[tuple[str, str]]:
        """Every tag; the id is that of the tag itself where it is an object."""
        listing = self._ask(mirror, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/tags")
        return [(tag, node) for tag, _, node in (line.rpartition(" ") for line in listing.splitlines())]

    def list_tags_before(self, mirror: Path, commit: str) -> list[str]:
        """Tags by `git for-each-ref`."""
        return self._ask(
            mirror, "for-each-ref", "--format=%(refname:lstrip=2)", f"--merged={commit}", "refs/tags"
        ).splitlines()

    def read_log(self, mirror: Path, old: str, new: str, most: int) -> list[str]:
        """Commits by `git log`."""
        wanted = ["log", "--no-merges", "--no-color", "--format=%h %s", f"--max-count={most}", new, f"^{old}", "--"]
        return self._ask(mirror, *wanted).splitlines()

    def ask_tags(self, url: str, state: State) -> dict[str, str]:
        """Tags as the server lists them: no object is fetched for that. Raises FetchError."""
        argv = ["timeout", str(_LIST_SECONDS), "git", *GIT_OPTIONS, "ls-remote", "--tags", "--", url]
        try:
            listing = process.run(argv, environment=_make_remote()).output
        except ProcessError as error:
            raise FetchError(
                f"{url} cannot be reached", details=error.details, hint="check the address and the network"
            ) from error
        ids = {name: id_ for id_, name in _LISTED.findall(listing)}
        return {name: ids.get(f"{name}^{{}}", id_) for name, id_ in ids.items() if not name.endswith("^{}")}

    def check_tag(self, recipe: Recipe, mirror: Path, tag: str, commit: str) -> str:
        """Signer of the tag, by OpenPGP or SSH."""
        return check_tag(recipe, mirror, tag, commit)

    def check_whole(self, recipe: Recipe, mirror: Path, commit: str) -> None:
        """Refuse submodules whose repository the recipe does not name. Raises SourceError."""
        known = recipe.upstream.submodules if recipe.upstream else {}
        unknown = [path for path in self._find_submodules(mirror, commit) if path not in known]
        if unknown:
            raise SourceError(
                f"{recipe.source}: the tree has submodules, which git archive leaves empty: {', '.join(unknown)}",
                hint="name their repositories in recipe.toml, [upstream] submodules, or use upstream's release tarball",
            )

    def write_tar(self, mirror: Path, commit: str, prefix: str, out: IO[bytes]) -> None:
        """Write what `git archive` gives."""
        attributes = mirror / "info/attributes"
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text(_ATTRIBUTES)
        archive = ["-c", "tar.umask=0022", "archive", "--format=tar", f"--prefix={prefix}", commit]
        process.run(["git", "-C", str(mirror), *GIT_OPTIONS, *archive], stdout=out, environment=GIT_ALONE)

    def write_parts(self, recipe: Recipe, commit: Commit, prefix: str, tar: Path, state: State) -> None:
        """Append each submodule at the commit that the tree names, from where the recipe says. Raises SourceError."""
        for path, wanted in self._find_submodules(commit.mirror, commit.id).items():
            url = recipe.upstream.submodules[path] if recipe.upstream else ""
            try:
                part = self.find_commit(url, wanted, state, tag=False)
            except UsageError as error:
                raise SourceError(
                    f"{recipe.source}: {url} does not have {wanted}, the commit of submodule {path}",
                    hint="check recipe.toml, [upstream] submodules",
                ) from error
            if inner := self._find_submodules(part.mirror, part.id):
                raise SourceError(
                    f"{recipe.source}: submodule {path} has submodules: {', '.join(inner)}",
                    hint="use upstream's release tarball",
                )
            with tempfile.NamedTemporaryFile(dir=tar.parent) as scratch:
                self.write_tar(part.mirror, part.id, f"{prefix}{path}/", scratch)
                _append(Path(scratch.name), tar)

    def _find_submodules(self, mirror: Path, commit: str) -> dict[str, str]:
        """The commits of a tree's submodules, by path."""
        entries = [entry for entry in self._ask(mirror, "ls-tree", "-r", "-z", commit).split("\0") if entry]
        found = (entry.split("\t", 1) for entry in entries if entry.startswith("160000 "))
        return {path: head.split()[2] for head, path in found}

    def _ask(self, mirror: Path, *arguments: str) -> str:
        return process.run(["git", "-C", str(mirror), *GIT_OPTIONS, *arguments], environment=GIT_ALONE).output

    def _resolve(self, mirror: Path, name: str) -> str | None:
        """The commit that a full name or a whole id stands for."""
        argv = ["git", "-C", str(mirror), *GIT_OPTIONS, "rev-parse", "--verify", "-q", "--end-of-options"]
        found = process.run([*argv, f"{name}^{{commit}}"], check=False, environment=GIT_ALONE)
        return found.output.strip() if found.status == 0 else None

    def _fetch_id(self, url: str, mirror: Path, commit: str) -> str | None:
        """A commit that no branch or tag has, from a server that gives such."""
        argv = [*BOUNDED, "git", "-C", str(mirror), *GIT_OPTIONS, "fetch", "--quiet", "--no-tags", "--", url, commit]
        done = process.run(argv, check=False, environment=_make_remote())
        return self._resolve(mirror, commit) if done.status == 0 else None


def _append(part: Path, tar: Path) -> None:
    """Put the members of one tar archive behind those of another."""
    with tarfile.open(part, "r:") as source, tarfile.open(tar, "a:") as target:
        for member in source:
            member.pax_headers = {}  # git writes the commit into a header that tarfile would repeat for every member
            target.addfile(member, source.extractfile(member) if member.isreg() else None)


@dataclass(frozen=True, kw_only=True)
class UpstreamChange:
    """A commit, against its first parent."""

    author: str
    subject: str
    diff: str
    """As git writes it, without renames."""


def read_change(commit: Commit) -> UpstreamChange:
    """The change that a commit is. Raises SourceError for a first commit, and for text that is no UTF-8."""
    git = ["git", "-C", str(commit.mirror), *GIT_OPTIONS]
    head = process.run([*git, "show", "-s", "--format=%an <%ae>%n%s", commit.id], environment=GIT_ALONE).output
    author, _, subject = head.strip().partition("\n")
    plain = ["diff", "--no-ext-diff", "--no-renames", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"]
    done = process.run([*git, *plain, f"{commit.id}^1", commit.id, "--"], check=False, environment=GIT_ALONE)
    if done.status != 0:
        raise SourceError(f"{commit.id} has no parent to compare it with", hint="name the commit of a fix")
    if "\ufffd" in done.output:
        raise SourceError(f"{commit.id} changes text that is not UTF-8", hint="carry the change over by hand")
    return UpstreamChange(author=printable(author), subject=printable(subject), diff=done.output)
