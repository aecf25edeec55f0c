"""One commit of upstream as a patch: what is taken of it, and every way to fail."""

from __future__ import annotations

import pytest

from hapkg.currency.bump import settle
from hapkg.currency.security_fix import prepare_fix
from hapkg.errors import HapkgError, SourceError, UsageError
from hapkg.recipe.model import Recipe, read_recipe
from tests.support.samples import STYLES
from tests.support.upstream import OLD, PATCHES, Place, git

ID = "CVE-2026-0009"


def fix(place: Place, **files: str) -> str:
    """A commit of upstream after 1.10 that changes these files."""
    for name, content in files.items():
        file = place.repository / name.replace("__", "/")
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    git(place.repository, "add", "--all")
    git(place.repository, "commit", "-qm", "Check the word\x1b[2J", "-m", "A longer text.")
    return git(place.repository, "rev-parse", "HEAD")


def take(place: Place, recipe: Recipe, commit: str, *fixes: str) -> tuple[str, ...]:
    """Take the fix; the notes."""
    with prepare_fix(place.project, recipe, commit, fixes, mirror=place.mirror, state=place.state) as ready:
        settle(place.project, ready)
        return ready.notes


def words(*, last: str) -> str:
    """The file words as it is in 1.10, with another last line."""
    return "\n".join(["x", *OLD["words"][:-1], last]) + "\n"


@pytest.mark.parametrize("patches", [PATCHES, {}, {"series": "moved.patch", "moved.patch": PATCHES["moved.patch"]}])
def test_the_fix_is_the_last_patch_and_the_version_stays(place: Place, patches: dict[str, str]) -> None:
    old = place.write(patches=patches)
    commit = fix(place, words=words(last="D"), tests__new="x")
    notes = take(place, old, commit, ID)
    new = read_recipe(old.folder, package_prefix="ha-", styles=STYLES)
    assert (new.version, new.revision, new.series) == ("1.2", 5, (*old.series, f"{ID}.patch"))
    assert new.date == max(old.date, new.date)
    patch = new.patches[-1]
    assert patch.fixes == (ID,)
    assert patch.header.description == f"Check the word\\x1b[2J ({ID})"
    assert patch.header.origin == f"upstream, {place.repository.as_uri()} {commit}"
    text = (old.folder / f"patches/{ID}.patch").read_text()
    assert "-d\n+D\n" in text
    assert "+++ b/tests/new" not in text
    assert any("tests/new is left out" in note for note in notes)


def test_a_recipe_without_revision_gets_one(place: Place) -> None:
    recipe = place.write()
    file = recipe.folder / "recipe.toml"
    file.write_text(file.read_text().replace("revision = 4\n", ""))
    bare = read_recipe(recipe.folder, package_prefix="ha-", styles=STYLES)
    take(place, bare, fix(place, words=words(last="D")))
    new = read_recipe(recipe.folder, package_prefix="ha-", styles=STYLES)
    assert (new.revision, new.series[-1]) == (2, "check-the-word-x1b-2j.patch")


@pytest.mark.parametrize(
    ("files", "fixes", "kind", "told"),
    [
        ({"words": "quite\nanother\n"}, [ID], SourceError, "does not apply to version 1.2"),
        ({"elsewhere__a": "x"}, [ID], UsageError, "touches no file of the release"),
        ({"words": "x"}, ["../../etc"], UsageError, "is no CVE id"),
    ],
)
def test_what_cannot_be_taken_changes_nothing(
    place: Place, files: dict[str, str], fixes: list[str], kind: type[HapkgError], told: str
) -> None:
    recipe = place.write()
    commit = fix(place, **files)
    before = place.read()
    with pytest.raises(kind) as caught:
        take(place, recipe, commit, *fixes)
    assert told in caught.value.brief
    assert place.read() == before
    assert [*place.state.sources.glob(".bump-*")] == []


def test_a_fix_is_taken_once(place: Place) -> None:
    recipe = place.write(patches={})
    commit = fix(place, words=words(last="D"))
    take(place, recipe, commit, ID)
    again = read_recipe(recipe.folder, package_prefix="ha-", styles=STYLES)
    with pytest.raises(UsageError, match="has a patch"):
        take(place, again, commit, ID)
    with pytest.raises(UsageError, match="has this change already"):
        take(place, again, commit)
