"""Work on patches: a tree with a commit for each, and the way back, which loses nothing."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from hapkg.disk import sha256_file
from hapkg.errors import HapkgError, SourceError, UsageError
from hapkg.recipe.model import Recipe, read_recipe
from hapkg.recipe.upstream import UrlPatch
from hapkg.source.work_tree import make_work_tree, take_patches
from tests.support.samples import AUTOTOOLS, DIGEST, PATCH, STYLES, change, write_recipe

WORDS = "".join(f"{number}\n" for number in range(20))
SECOND = """\
From: Somebody <somebody@example.org>
Subject: count from a hundred
\tand say so

--- a/words
+++ b/words
@@ -1,3 +1,3 @@
-0
+100
 1
 2
"""
SERIES = "# what we greet with\nhello.patch # until 2.0\ncount.patch\n# the end\n"
GIT = ("git", "-c", "user.name=Zoe", "-c", "user.email=zoe@example.org", "-c", "core.editor=true")


def git(tree: Path, *words: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    done = subprocess.run([*GIT, *words], cwd=tree, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Bench:
    """A recipe with two patches, and upstream's tarball."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "work/one"
        upstream = folder / "one-1.2"
        upstream.mkdir()
        (upstream / "greeting").write_text("good bye\n")
        (upstream / "words").write_text(WORDS)
        (upstream / ".git").write_text("gitdir: /nowhere\n")
        (upstream / ".gitattributes").write_text("* text eol=crlf\n")
        self.tarball = folder / "one-1.2.tar.gz"
        with tarfile.open(self.tarball, "w:gz") as archive:
            archive.add(upstream, upstream.name)
        table = change(AUTOTOOLS, "origins.0.sha256", sha256_file(self.tarball))
        patches: dict[str, str | bytes] = {"series": SERIES, "hello.patch": PATCH, "count.patch": SECOND}
        self.folder = write_recipe(folder / "recipes", table, patches)

    def read(self) -> Recipe:
        return read_recipe(self.folder, package_prefix="ha-", styles=STYLES)

    def make(self) -> None:
        make_work_tree(self.read(), self.tarball, {}, self.tree)

    def take(self) -> tuple[str, ...]:
        return take_patches(self.read(), self.tree)

    def files(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (self.folder / "patches").iterdir()}

    def refuse(self, kind: type[HapkgError], told: str) -> None:
        """Fail to take the patches, and leave the recipe as it was."""
        before = self.files()
        with pytest.raises(kind, match=told):
            self.take()
        assert self.files() == before


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.make()
    return made


def test_there_is_a_commit_for_each_patch(bench: Bench) -> None:
    assert (bench.tree / "greeting").read_text() == "hello\n"
    assert (bench.tree / "words").read_text().startswith("100\n")
    subjects = git(bench.tree, "log", "--reverse", "--format=%s").splitlines()
    assert subjects == [
        "ha-one 1.2: upstream",
        "hello.patch: say hello",
        "count.patch: count from a hundred and say so",
    ]
    assert git(bench.tree, "status", "--porcelain") == ""
    assert [path.name for path in bench.tree.parent.iterdir()] == ["one"]


def test_what_nobody_touched_stays_as_it_is_to_the_byte(bench: Bench) -> None:
    before = bench.files()
    assert bench.take() == ()
    assert bench.files() == before


def test_a_new_commit_becomes_a_patch_with_a_header(bench: Bench) -> None:
    before = bench.files()
    (bench.tree / "words").write_text((bench.tree / "words").read_text() + "20\n")
    git(bench.tree, "commit", "-qam", "Count to twenty\n\nAnd no further.")
    assert bench.take() == ("count-to-twenty.patch",)
    files = bench.files()
    text = files.pop("count-to-twenty.patch").decode()
    assert text.startswith(
        "Description: Count to twenty\n And no further.\nAuthor: Zoe <zoe@example.org>\n\n--- a/words"
    )
    assert files.pop("series").decode() == SERIES.replace("# the end\n", "count-to-twenty.patch\n# the end\n")
    assert files.items() <= before.items()
    assert [patch.name for patch in bench.read().patches] == ["hello.patch", "count.patch", "count-to-twenty.patch"]
    assert bench.read().patches[0].until == "2.0"
    assert bench.take() == (), "taken twice it is the same"


def test_a_changed_commit_keeps_its_header_and_a_dropped_one_loses_its_file(bench: Bench) -> None:
    git(bench.tree, "reset", "-q", "--hard", "HEAD^")
    (bench.tree / "greeting").write_text("good morning\n")
    git(bench.tree, "commit", "-q", "-a", "--amend", "--no-edit")
    assert bench.take() == ("hello.patch", "count.patch")
    files = bench.files()
    assert files.keys() == {"series", "hello.patch"}
    assert files["hello.patch"].decode() == PATCH.replace("+hello", "+good morning")
    assert files["series"].decode() == "# what we greet with\nhello.patch # until 2.0\n# the end\n"


def test_patches_for_other_versions_keep_their_places(bench: Bench) -> None:
    later = {"first.patch": "since 2.0", "hello-2.patch": "since 1.3 until 2.0"}
    for name in later:
        (bench.folder / "patches" / name).write_text(PATCH)
    series = bench.folder / "patches/series"
    lines = [f"{name} # {span}\n" for name, span in later.items()]
    series.write_text(SERIES.replace("count", f"{lines[1]}count").replace("# what", f"{lines[0]}# what"))
    before = bench.files()
    assert bench.take() == ()
    assert bench.files() == before
    git(bench.tree, "reset", "-q", "--hard", "HEAD^")
    assert bench.take() == ("count.patch",)
    assert series.read_text() == f"{lines[0]}# what we greet with\nhello.patch # until 2.0\n{lines[1]}# the end\n"
    git(bench.tree, "reset", "-q", "--hard", "HEAD^")
    assert bench.take() == ("hello.patch",)
    assert series.read_text() == f"{lines[0]}{lines[1]}# the end\n"
    (bench.tree / "greeting").write_text("good morning\n")
    git(bench.tree, "commit", "-qam", "Greet\n\nPatch-Name: hello-2.patch")
    bench.refuse(SourceError, r"hello-2\.patch is a patch for another version")


def test_without_any_commit_there_is_no_series(bench: Bench) -> None:
    git(bench.tree, "reset", "-q", "--hard", "HEAD~2")
    assert sorted(bench.take()) == ["count.patch", "hello.patch"]
    assert not (bench.folder / "patches").exists()
    assert bench.read().patches == ()


def test_changes_that_are_in_no_commit_are_told(bench: Bench) -> None:
    (bench.tree / "more").write_text("more\n")
    bench.refuse(UsageError, "changes that are in no commit")


def test_a_merge_is_no_series(bench: Bench) -> None:
    git(bench.tree, "checkout", "-q", "-b", "side", "HEAD^")
    git(bench.tree, "commit", "-q", "--allow-empty", "-m", "side")
    git(bench.tree, "checkout", "-q", "-")
    git(bench.tree, "merge", "-q", "--no-ff", "-m", "merge", "side")
    bench.refuse(SourceError, "is a merge")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("x\n\nPatch-Name: ../../x", "is no name of a patch"),
        ("x\n\nPatch-Name: hello.patch", "two commits are the patch hello.patch"),
    ],
)
def test_a_name_that_cannot_be_is_told(bench: Bench, message: str, told: str) -> None:
    (bench.tree / "words").write_text("none\n")
    git(bench.tree, "commit", "-qam", message)
    bench.refuse(SourceError, told)


def test_a_commit_without_a_change_is_no_patch(bench: Bench) -> None:
    git(bench.tree, "commit", "-q", "--allow-empty", "-m", "nothing")
    bench.refuse(SourceError, "changes nothing")


def test_history_of_its_own_is_told(bench: Bench) -> None:
    git(bench.tree, "checkout", "-q", "--orphan", "other")
    git(bench.tree, "commit", "-qam", "all")
    bench.refuse(UsageError, "no longer below HEAD")


def test_a_tree_of_another_version_or_of_nobody_is_told(bench: Bench, tmp_path: Path) -> None:
    recipe = bench.read().model_copy(update={"version": "1.3"})
    with pytest.raises(UsageError, match=r"is of ha-one 1\.2, the recipe is of ha-one 1\.3"):
        take_patches(recipe, bench.tree)
    with pytest.raises(UsageError, match="is no work tree"):
        take_patches(bench.read(), tmp_path)
    (bench.tree / ".git/hapkg.json").write_text("[]")
    bench.refuse(UsageError, "is no work tree")


def test_a_folder_that_is_there_is_kept(bench: Bench) -> None:
    with pytest.raises(UsageError, match="exists already"):
        bench.make()
    assert (bench.tree / "greeting").exists()


def test_a_patch_that_does_not_apply_leaves_nothing(tmp_path: Path) -> None:
    made = Bench(tmp_path)
    (made.folder / "patches/hello.patch").write_text(PATCH.replace("-good bye", "-bonjour"))
    with pytest.raises(SourceError, match=r"hello\.patch does not apply to version 1\.2"):
        made.make()
    assert [*made.tree.parent.iterdir()] == []


def test_remote_patches_lie_below_and_stay(tmp_path: Path) -> None:
    made = Bench(tmp_path)
    recipe = made.read()
    patch = UrlPatch.model_validate(
        {"type": "url", "name": "far.patch", "url": "https://example.org/far", "sha256": DIGEST}
    )
    recipe = recipe.model_copy(update={"remote_patches": (patch,), "every_patch": recipe.every_patch[1:]})
    make_work_tree(recipe, made.tarball, {"far.patch": PATCH.encode()}, made.tree)
    assert (made.tree / "greeting").read_text() == "hello\n"
    assert take_patches(recipe, made.tree) == ()
