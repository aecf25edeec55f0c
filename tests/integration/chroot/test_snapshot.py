"""Builds out of upstream's own repository, of git and of Mercurial."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from hapkg.control import compare_versions
from hapkg.distribution import read_debian
from tests.integration.chroot.test_build import read_content
from tests.support.machine import SUITE, Hapkg
from tests.support.miniature import Miniature, make_package, make_plain_source

MARK = f"+ha{read_debian().suites[SUITE]}.1"
BRANCH = {"git": "main", "hg": "default"}


class Repository:
    """A repository with one source in it."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.kind = kind
        self._run("init", *(["-q", "-b", BRANCH[kind]] if kind == "git" else []), str(folder))

    def commit(self, files: Mapping[str, str], seconds: int) -> str:
        """Commit these files at a time of UTC; the commit's id."""
        for path, text in files.items():
            file = self.folder / path
            file.write_text(text)
            file.chmod(0o755 if text.startswith("#!") else 0o644)
        if self.kind == "git":
            self._work("add", ".")
            self._work("commit", "-qm", "a change", GIT_COMMITTER_DATE=f"@{seconds} +0000")
            return self._work("rev-parse", "HEAD")
        self._work("commit", "-qAm", "a change", "-u", "one", "-d", f"{seconds} 0")
        return self._work("log", "-r", ".", "-T", "{node}")

    def tag(self, name: str, commit: str) -> None:
        """Put a tag on a commit, whether it was elsewhere before or not."""
        if self.kind == "git":
            self._work("tag", "-f", name, commit)
        else:
            self._work("tag", "-f", "-r", commit, name, "-u", "one", "-d", "1714980000 0")

    def _work(self, *words: str, **environment: str) -> str:
        return self._run("-C" if self.kind == "git" else "-R", str(self.folder), *words, **environment)

    def _run(self, *words: str, **environment: str) -> str:
        who = {"GIT_AUTHOR_NAME": "one", "GIT_AUTHOR_EMAIL": "one@example.org"}
        who |= {"GIT_COMMITTER_NAME": "one", "GIT_COMMITTER_EMAIL": "one@example.org"}
        base = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "HGPLAIN": "1", **who}
        done = subprocess.run(
            [self.kind, *words], capture_output=True, text=True, env={**base, **environment}, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def build(hapkg: Hapkg, kind: str, ref: str = "") -> tuple[str, bytes]:
    """The version of a snapshot, and what its one file says."""
    words = [f"{kind}-one@{ref}"] if ref else [f"{kind}-one", "--origin", kind]
    outcome = hapkg.succeed("build", *words, "--no-lintian", "--json").outcomes[f"ha-{kind}-one"]
    (deb,) = hapkg.folder(outcome).glob("*.deb")
    return outcome["version"], read_content(deb)["/opt/ha/share/plain/README"]


@pytest.mark.parametrize("kind", ["git", "hg"])
def test_a_snapshot_is_the_commit_and_sorts_between_releases(
    hapkg: Hapkg, project: Miniature, tmp_path: Path, kind: str
) -> None:
    home = Repository(tmp_path / kind, kind)
    released = home.commit(make_plain_source(README="Of the release.\n"), 1714979289)
    home.tag("v1.0", released)
    later = home.commit({"README": "Of the branch.\n"}, 1714982889)
    project.add(
        f"{kind}-one",
        make_plain_source(README="Of the tarball.\n"),
        upstream={kind: home.folder.as_uri(), "tag": "v1.0", "commit": released},
        packages=[make_package(f"{kind}-one", ["share/plain"], architecture="all")],
    )
    own = hapkg.on(project.root)
    first, content = build(own, kind)
    assert (first, content) == (f"1.0+git20240506070809.{released[:7]}-1{MARK}", b"Of the release.\n")
    second, content = build(own, kind, ref=BRANCH[kind])
    assert (second, content) == (f"1.0+git20240506080809.{later[:7]}-1{MARK}", b"Of the branch.\n")
    order = [f"1.0-1{MARK}", first, second, f"1.0.1-1{MARK}", f"1.1-1{MARK}"]
    assert [compare_versions(a, b) for a, b in pairwise(order)] == [-1] * 4
    (released_outcome,) = own.succeed("build", f"{kind}-one", "--no-lintian", "--json").outcomes.values()
    assert released_outcome["version"] == order[0], "without --origin it is the release's tarball"
    home.tag("v1.0", later)
    refused = own.run("build", f"{kind}-one", "--origin", kind)
    assert refused.status == 7
    assert refused.complaint.brief == f"ha-{kind}-one: tag v1.0 is commit {later}, the recipe says {released}"


def test_the_newest_of_everything_is_built_and_published_beside_the_releases(
    hapkg: Hapkg, place: Path, tmp_path: Path
) -> None:
    project = Miniature.create(place / "nightly", suite=SUITE)
    own, commits = hapkg.on(project.root), {}
    for name in ("moving", "staying"):
        home = Repository(tmp_path / name, "git")
        released = home.commit(make_plain_source(README="Of the release.\n"), 1714979289)
        home.tag("v1.0", released)
        commits[name] = home.commit({"README": "Of the branch.\n"}, 1714982889)
        project.add(
            name,
            make_plain_source(README="Of the tarball.\n"),
            upstream={"git": home.folder.as_uri(), "tag": "v1.0", "commit": released},
            packages=[make_package(name, ["share/plain"], architecture="all")],
        )
    # Upstream changed what this one patches.
    project.add_patch("staying", "--- a/README\n+++ b/README\n@@ -1 +1 @@\n-Of the tarball.\n+Of the patch.\n")
    project.add_meta("stack", ["ha-moving", "ha-staying"])
    own.succeed("build-all", "--no-lintian")
    assert "no snapshot was built" in own.run("publish", "--unsigned", "--pocket", "snapshots").complaint.brief
    done = own.run("build-all", "--snapshot", "--no-lintian", "--json")
    assert done.status == 8
    assert "note: ha-staying stays at its release: ha-staying: 1 of 1 patches for 1.0 do not apply" in done.stderr
    assert done.endings == {"ha-moving": "built", "ha-staying": "reused", "ha-stack": "built"}
    newest = f"1.0+git20240506080809.{commits['moving'][:7]}-1{MARK}"
    assert done.outcomes["ha-moving"]["version"] == newest
    own.succeed("publish", "--unsigned", "--pocket", "snapshots")
    own.succeed("publish", "--unsigned")
    # A commit of upstream's since then is of the next night.
    Repository(tmp_path / "moving", "git").commit({"README": "Of tomorrow.\n"}, 1714986489)
    own.succeed("publish", "--unsigned", "--pocket", "snapshots")
    for suite, version in ((f"{SUITE}-snapshots", newest), (SUITE, f"1.0-1{MARK}")):
        index = (project.root / f"apt/dists/{suite}/main/binary-amd64/Packages").read_text()
        assert "Package: ha-moving\n" in index
        assert f"Version: {version}\n" in index
        assert f"ha-moving (= {version})" in index
