"""A project that builds on the packages of another one, out of the repository that this published."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.chroot.test_build import read_content
from tests.support.machine import NOTHING, SUITE, Hapkg, find_leftovers
from tests.support.miniature import LIBRARY, PROGRAM, Miniature, make_package

TABLE = """
[[tool.hapkg.archives]]
uri = "{uri}"
key = "keys/lower.gpg"
"""


@pytest.fixture
def own(place: Path) -> Iterator[Hapkg]:
    """hapkg with a state folder of its own: its base chroot is made with the archive and without."""
    folder = place / "further"
    hapkg = Hapkg(project=folder, cache=folder / "cache", home=folder / "home")
    yield hapkg
    hapkg.end()
    assert find_leftovers(hapkg.chroot, hapkg.cache) == NOTHING
    hapkg.run("chroot", "rm", SUITE)


def test_a_project_builds_on_the_packages_of_another(own: Hapkg, place: Path) -> None:
    lower = Miniature.create(place / "lower", suite=SUITE)
    library = ["include/one.h", "lib/libone.so", "lib/pkgconfig/one.pc"]
    depends = ["ha-one (= ${binary:Version})"]
    lower.add(
        "one",
        LIBRARY,
        version="1.2",
        build_depends=["pkgconf"],
        configure=["--disable-static"],
        packages=[
            make_package("one", ["lib/libone.so.*"]),
            make_package("one-dev", library, section="libdevel", depends=depends),
        ],
    )
    below = replace(own, project=lower.root)
    below.succeed("build-all", "--no-lintian")
    below.succeed("publish")
    (keyring,) = (lower.root / "apt").glob("*.gpg")

    upper = Miniature.create(place / "upper", suite=SUITE)
    above, settings = replace(own, project=upper.root), upper.root / "pyproject.toml"
    plain = f'{settings.read_text()}package-prefix = "up-"\n'
    settings.write_text(plain + TABLE.format(uri=(lower.root / "apt").as_uri()))
    upper.add("two", PROGRAM, build_depends=["pkgconf", "ha-one-dev"], packages=[make_package("two", ["bin/two"])])
    recipe = upper.root / "recipes/two/recipe.toml"
    recipe.write_text(recipe.read_text().replace("ha-two", "up-two"))
    refused = above.run("build-all", "--no-lintian")
    assert (refused.status, "there is no file keys/lower.gpg" in refused.complaint.brief) == (3, True)

    (upper.root / "keys").mkdir()
    shutil.copy(keyring, upper.root / "keys/lower.gpg")
    done = above.succeed("build-all", "--no-lintian", "--json")
    assert done.endings == {"up-two": "built"}
    (deb,) = above.folder(done.outcomes["up-two"]).glob("up-two_*.deb")
    assert "/opt/ha/bin/two" in read_content(deb)
    assert above.succeed("build-all", "--no-lintian", "--json").endings == {"up-two": "reused"}

    settings.write_text(plain)
    recipe.write_text(recipe.read_text().replace("date = 2024-05-06", "date = 2024-05-07"))
    gone = above.run("build-all", "--no-lintian")
    assert gone.status == 10
    assert "a build dependency cannot be installed" in gone.stderr
