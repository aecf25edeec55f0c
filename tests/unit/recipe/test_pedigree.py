"""Facts of recipes: what the SBOM tells of them, and licences in SPDX's words."""

from __future__ import annotations

from pathlib import Path

import pytest
from license_expression import get_spdx_licensing

from hapkg.evidence.facts import DebianPlace
from hapkg.recipe.collection import read_recipes
from hapkg.recipe.pedigree import make_expression, tell_facts
from hapkg.recipe.settings import find_project
from tests.support.samples import AUTOTOOLS, CHECKOUT, META, PATCH, SETTINGS, change, make_recipe, make_recipe_from

DEBIAN_PATCH = {
    "type": "debian",
    "package": "one",
    "version": "1.2-4",
    "file": "debian/patches/x.patch",
    "sha256": "b" * 64,
    "fixes": ["CVE-2026-0001"],
}


@pytest.mark.parametrize(
    ("licenses", "expression"),
    [
        (["GPL-2+"], "GPL-2.0-or-later"),
        (["GPL-2+ and LGPL-2.1+", "GPL-2"], "GPL-2.0-or-later AND LGPL-2.1-or-later AND GPL-2.0-only"),
        (["GPL-2+", "GPL-2+"], "GPL-2.0-or-later"),
        (["BSD-3-clause or Expat", "GPL-3+"], "(BSD-3-Clause OR MIT) AND GPL-3.0-or-later"),
        (["Odd+one"], "LicenseRef-Odd-one"),
    ],
)
def test_licences_become_spdx(licenses: list[str], expression: str) -> None:
    assert make_expression(licenses) == expression


def test_spdx_knows_the_licences_of_every_recipe() -> None:
    known = get_spdx_licensing()
    for recipe in read_recipes(find_project(CHECKOUT)).values():
        expression = make_expression(paragraph.license for paragraph in recipe.copyright)
        assert known.validate(expression).errors == [], recipe.source


def test_a_recipe_tells_its_upstream_and_its_patches(tmp_path: Path) -> None:
    table = change(AUTOTOOLS, "remote-patches", [DEBIAN_PATCH])
    recipe = make_recipe(tmp_path, table, {"series": "own.patch\n", "own.patch": PATCH})
    facts = tell_facts(recipe, SETTINGS, "debian-12")
    assert (facts.vendor, facts.distribution, facts.debian_name) == ("hapkg", "debian-12", "one")
    assert facts.upstream is not None
    assert facts.upstream.repositories == ("git+https://git.example.org/one.git",)
    assert [origin.address for origin in facts.upstream.origins] == ["https://example.org/one-1.2.tar.gz"]
    remote, own = facts.patches
    assert remote.address == DebianPlace(package="one", version="1.2-4", file="debian/patches/x.patch")
    assert remote.fixes == ("CVE-2026-0001",)
    assert (own.name, own.address) == ("own.patch", "")


def test_a_source_written_by_hapkg_has_no_upstream() -> None:
    facts = tell_facts(make_recipe_from(META), SETTINGS, "debian-12")
    assert (facts.upstream, facts.patches, facts.license) == (None, (), "GPL-3.0-or-later")


def test_whatever_an_sbom_tells_changes_its_digest() -> None:
    facts = tell_facts(make_recipe_from(AUTOTOOLS), SETTINGS, "debian-12")
    others = [
        tell_facts(make_recipe_from(change(AUTOTOOLS, "homepage", "https://example.net")), SETTINGS, "debian-12"),
        tell_facts(make_recipe_from(AUTOTOOLS), SETTINGS.model_copy(update={"origin": "else"}), "debian-12"),
        tell_facts(make_recipe_from(AUTOTOOLS), SETTINGS, "debian-13"),
    ]
    assert len({facts.digest, *(other.digest for other in others)}) == 4
