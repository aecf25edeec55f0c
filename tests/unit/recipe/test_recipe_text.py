"""Changes of a recipe's text: what was not meant stays, to the byte."""

from __future__ import annotations

from datetime import UTC, datetime

from hapkg.recipe.recipe_text import RecipeText

TEXT = """\
# Why this recipe is as it is.
source = "ha-one"
version = "1.2" # the last one
revision = 3
date = 2024-01-01T00:00:00Z
configure = [
  "--one", # said so
]

[upstream]
git = "https://git.example.org/one.git"
tag = "v1.2"
commit = "aaaa"

# The archive first.
[[origins]]
type = "debian"
version = "1.2-1"
sha256 = "00"

[[origins]]
type = "tarball"
url = "https://example.org/one-1.2.tar.gz"
sha256 = "00"

[[remote-patches]]
type = "url"
name = "p"
"""


def test_nothing_changed_is_the_same_text() -> None:
    assert str(RecipeText(TEXT)) == TEXT


def test_only_what_is_meant_changes() -> None:
    text = RecipeText(TEXT)
    text.set_release("1.3", tag="v1.3", commit="bbbb")
    text.set_date(datetime(2025, 2, 3, 4, 5, 6, tzinfo=UTC))
    text.set_origins({0: {"version": "1.3-1", "sha256": "11"}, 1: {"url": "u", "sha256": "11"}}, [])
    expected = (
        TEXT.replace('version = "1.2" #', 'version = "1.3" #')
        .replace("revision = 3\n", "")
        .replace("2024-01-01T00:00:00Z", "2025-02-03T04:05:06Z")
        .replace('"v1.2"', '"v1.3"')
        .replace("aaaa", "bbbb")
        .replace('"1.2-1"', '"1.3-1"')
        .replace('sha256 = "00"', 'sha256 = "11"')
        .replace("https://example.org/one-1.2.tar.gz", "u")
    )
    assert str(text) == expected


def test_what_goes_takes_its_table_along() -> None:
    text = RecipeText(TEXT)
    text.set_release("1.3", tag="v1.3", commit="")
    text.set_origins({}, [0])
    text.drop_remote_patches([0])
    changed = str(text)
    assert "commit" not in changed
    assert "remote-patches" not in changed
    assert changed.count("[[origins]]") == 1
    assert "# Why this recipe" in changed
