"""Kinds of clusters that people run: each is accepted or refused, as its file says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hapkg.errors import SiteError
from hapkg.site.files import render_site
from hapkg.site.model import read_site
from tests.support.samples import SETTINGS, TEMPLATES

KINDS = sorted((Path(__file__).parent / "kinds").glob("*.toml"))
WARNED = {
    "20-in-the-open": "no crypto",
}
"""Those that are accepted with a warning, and its beginning."""


def read_verdict(file: Path) -> str:
    found = re.search(r"(?m)^# verdict: (.+)$", file.read_text("utf-8"))
    assert found, file
    return found[1]


def test_there_are_as_many_as_were_met() -> None:
    assert len(KINDS) == 27


@pytest.mark.parametrize("file", KINDS, ids=lambda file: file.stem)
def test_a_kind_of_cluster_is_judged_as_its_file_says(file: Path) -> None:
    verdict = read_verdict(file)
    if verdict == "accepted":
        site = read_site(file)
        assert [text[: len(WARNED.get(file.stem, ""))] for text in site.warnings] == (
            [WARNED[file.stem]] if file.stem in WARNED else []
        )
        assert render_site(site, SETTINGS, (TEMPLATES,))
        return
    with pytest.raises(SiteError) as caught:
        read_site(file)
    assert verdict.removeprefix("refused: ") in caught.value.brief
