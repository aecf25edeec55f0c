"""Patches on another tree, as patch(1) and git see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.source.patch_review import Fate, PatchReview, review_patches

HEAD = "Description: two becomes zwei\nAuthor: one <one@example.org>\n\n"
PATCH = f"""{HEAD}--- a/words
+++ b/words
@@ -1,7 +1,7 @@
 a
 b
 one
-two
+zwei
 three
 c
 d
"""
LINES = ["a", "b", "one", "two", "three", "c", "d"]
NEW_FILE = "Description: new\nAuthor: one\n\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+hello\n"


def write_tree(folder: Path, lines: list[str]) -> Path:
    tree = folder / "tree"
    tree.mkdir()
    (tree / "words").write_text("\n".join(lines) + "\n")
    (tree / ".gitignore").write_text("*\n")
    (tree / ".gitattributes").write_text("* text eol=crlf ident\n")
    return tree


def review(tree: Path, patch: str = PATCH, *, ours: bool = True) -> PatchReview:
    (found,) = review_patches(tree, [("p", patch.encode(), ours)])
    return found


@pytest.mark.parametrize("ours", [True, False])
def test_a_patch_that_fits_stays_as_it_is(tmp_path: Path, ours: bool) -> None:
    found = review(write_tree(tmp_path, LINES), ours=ours)
    assert (found.fate, found.content, found.details) == (Fate.KEPT, PATCH.encode(), ())


def test_a_patch_that_the_tree_has_is_dropped(tmp_path: Path) -> None:
    tree = write_tree(tmp_path, ["zwei" if line == "two" else line for line in LINES])
    assert review(tree).fate is Fate.DROPPED
    (tree / "new").write_text("hello\n")
    assert review(tree, NEW_FILE).fate is Fate.DROPPED


def test_lines_that_moved_are_written_anew_under_the_same_header(tmp_path: Path) -> None:
    found = review(write_tree(tmp_path, ["x"] * 9 + LINES))
    assert found.fate is Fate.REFRESHED
    assert found.content == PATCH.replace("@@ -1,7 +1,7 @@", "@@ -10,7 +10,7 @@ x").encode()
    assert "offset 9 lines" in found.details[0]


def test_a_changed_neighbour_is_taken_over_with_a_word(tmp_path: Path) -> None:
    found = review(write_tree(tmp_path, ["A", *LINES[1:]]))
    assert found.fate is Fate.REFRESHED
    assert b"\n A\n b\n one\n-two\n+zwei\n" in found.content
    assert "fuzz" in found.details[0]


def test_a_patch_of_others_is_never_changed(tmp_path: Path) -> None:
    (tmp_path / "moved").mkdir()
    moved = review(write_tree(tmp_path / "moved", ["x"] * 9 + LINES), ours=False)
    assert (moved.fate, moved.content) == (Fate.KEPT, PATCH.encode())
    assert review(write_tree(tmp_path, ["A", *LINES[1:]]), ours=False).fate is Fate.FAILED


def test_what_does_not_apply_is_said_in_patchs_words(tmp_path: Path) -> None:
    found = review(write_tree(tmp_path, ["something", "else"]))
    assert found.fate is Fate.FAILED
    assert any("FAILED" in line for line in found.details)


def test_each_patch_sees_the_tree_that_the_ones_before_it_made(tmp_path: Path) -> None:
    second = PATCH.replace("-two\n+zwei", "-zwei\n+deux")
    tree = write_tree(tmp_path, LINES)
    patches = [(patch[-9:], patch.encode(), True) for patch in (PATCH, second, NEW_FILE)]
    found = review_patches(tree, patches)
    assert [one.fate for one in found] == [Fate.KEPT] * 3
    assert "deux" in (tree / "words").read_text()
    assert (tree / "new").read_text() == "hello\n"


def test_no_patch_leaves_the_tree(tmp_path: Path) -> None:
    outside = "Description: x\nAuthor: x\n\n--- /dev/null\n+++ b/../outside\n@@ -0,0 +1 @@\n+hello\n"
    assert review(write_tree(tmp_path, LINES), outside).fate is Fate.FAILED
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("place", [".git", "sub/.git"])
def test_a_repository_inside_the_tree_runs_nothing(tmp_path: Path, place: str) -> None:
    tree = write_tree(tmp_path, ["x"] * 9 + LINES)
    config = tree / place / "config"
    config.parent.mkdir(parents=True)
    config.write_text(f'[core]\n\tfsmonitor = "touch {tmp_path}/run"\n\trepositoryformatversion = 0\n')
    for name in ("objects", "refs"):
        (config.parent / name).mkdir()
    (config.parent / "HEAD").write_text("ref: refs/heads/main\n")
    assert review(tree).fate is Fate.REFRESHED
    assert not (tmp_path / "run").exists()
