"""recipe.toml as a person writes it."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime

import pytest

from hapkg.draft.recipe_text import Entry, TomlTable, format_tables


def format_entry(*entries: Entry) -> str:
    return format_tables([TomlTable("", entries)])


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (Entry("source", "ha-one"), 'source = "ha-one"\n'),
        (Entry("section", ""), ""),
        (Entry("homepage", "", "not known"), "# not known\n"),
        (Entry("tag", "v1", "guessed"), '# guessed\ntag = "v1"\n'),
        (Entry("tag", "v1", "a\x1b[2Jb\nc"), '# a?[2Jb?c\ntag = "v1"\n'),
        (Entry("date", datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)), "date = 2024-05-06T07:08:09Z\n"),
        (Entry("make", []), ""),
        (Entry("make", ["A=1", 'B="2"']), 'make = ["A=1", "B=\\"2\\""]\n'),
        (Entry("make", ["x" * 100, "y" * 10]), f'make = [\n  "{"x" * 100}",\n  "{"y" * 10}",\n]\n'),
        (
            Entry("description", "word " * 20),
            f'description = """\n{("word " * 15).strip()}\n{("word " * 5).strip()}"""\n',
        ),
    ],
)
def test_an_entry(entry: Entry, text: str) -> None:
    assert format_entry(entry) == text


def test_tables_are_read_back() -> None:
    text = format_tables(
        [
            TomlTable("", [Entry("source", "ha-\u00e9\u2028")]),
            TomlTable("[upstream]", [Entry("tag", "v1", "why " * 50)]),
            TomlTable("[[packages]]", [Entry("description", 'a """ and \\ in it')]),
        ]
    )
    assert max(map(len, text.split("\n"))) <= 120
    assert tomllib.loads(text) == {
        "source": "ha-\u00e9\u2028",
        "upstream": {"tag": "v1"},
        "packages": [{"description": 'a """ and \\ in it'}],
    }
