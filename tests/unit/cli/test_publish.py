"""Uploads of a source that was built for several architectures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapkg.build.context import open_context
from hapkg.build.store import Artifact, Store
from hapkg.cli.main import app
from hapkg.cli.output import print_publication
from hapkg.cli.publish import make_upload
from hapkg.control import SourceName, Suite
from hapkg.errors import RepositoryError
from hapkg.recipe.settings import find_project
from hapkg.repository.change import Publication
from hapkg.repository.keys.signing import SigningKey
from tests.support.samples import AUTOTOOLS, CHECKOUT, MAINTAINER, TEMPLATES, write_recipe


def make_build(folder: Path, architecture: str, *names: str) -> Artifact:
    """A build of these files, which need not be there."""
    return Artifact(
        key=architecture,
        source=SourceName("ha-one"),
        version="1.2-1+ha12.1",
        suite=Suite("bookworm"),
        architecture=architecture,
        inputs={},
        origin="a test",
        files=dict.fromkeys(names, "0" * 64),
        seconds={},
        folder=folder / architecture,
    )


def test_a_source_and_its_packages_for_all_architectures_are_published_once(tmp_path: Path) -> None:
    context = open_context(find_project(CHECKOUT), Store(root=tmp_path / "cache"), None, None)
    source = ("ha-one_1.2-1+ha12.1.dsc", "ha-one_1.2.orig.tar.gz", "ha-one-common_1.2-1+ha12.1_all.deb")
    own = make_build(tmp_path, "amd64", *source, "ha-one_1.2-1+ha12.1_amd64.deb", "build.txt")
    other = make_build(tmp_path, "arm64", *source, "ha-one_1.2-1+ha12.1_arm64.deb")
    upload = make_upload(context, own, [(context, other)])
    assert sorted(str(path.relative_to(tmp_path)) for path in upload.files) == [
        "amd64/ha-one-common_1.2-1+ha12.1_all.deb",
        "amd64/ha-one_1.2-1+ha12.1.dsc",
        "amd64/ha-one_1.2-1+ha12.1_amd64.deb",
        "amd64/ha-one_1.2.orig.tar.gz",
        "arm64/ha-one_1.2-1+ha12.1_arm64.deb",
    ]
    assert set(make_upload(context, own).files) < set(upload.files)


@pytest.mark.parametrize(
    ("options", "brief", "hint"),
    [
        ([], "nothing is built yet", "run: hapkg build-all"),
        (
            ["--suite", "bookworm", "--pocket", "snapshots"],
            "no snapshot was built for bookworm",
            "run: hapkg build-all --snapshot",
        ),
    ],
)
def test_where_nothing_is_built_nothing_can_be_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], brief: str, hint: str
) -> None:
    write_recipe(tmp_path / "recipes", AUTOTOOLS)
    (tmp_path / "debian-templates").symlink_to(TEMPLATES)
    (tmp_path / "pyproject.toml").write_text(f'[tool.hapkg]\nmaintainer = "{MAINTAINER}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAPKG_CACHE", str(tmp_path / "cache"))
    with pytest.raises(RepositoryError) as caught:
        app(["publish", *options], standalone_mode=False)
    assert (caught.value.exit_code, caught.value.brief, caught.value.hint) == (11, brief, hint)
    assert not (tmp_path / "apt").exists()


def publish_for(*suites: str, url: str = "https://example.org/apt") -> Publication:
    """The result of a publish of these suites, with one command for each."""
    return Publication(
        added=(),
        present=(),
        written=tuple(map(Suite, suites)),
        unchanged=(),
        key=SigningKey(home=None, fingerprint="A" * 40),
        keyring=Path("/srv/apt/keyring.gpg"),
        sources=(),
        url=url,
        commands={Suite(suite): (f"use {suite}",) for suite in suites},
    )


def test_the_next_steps_of_each_published_suite_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_publication(publish_for("bookworm", "trixie"), as_json=False)
    said = capsys.readouterr()
    assert said.out == "use bookworm\nuse trixie\n"
    assert "on a node, as root, for bookworm:\non a node, as root, for trixie:\n" in said.err
    print_publication(publish_for("bookworm"), as_json=False)
    assert "on a node, as root:\n" in capsys.readouterr().err
    print_publication(publish_for("bookworm", "trixie", url=""), as_json=False)
    assert "on this machine alone, as root (for others publish once with --url" in capsys.readouterr().err
    print_publication(publish_for("trixie", "bookworm"), as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["commands"] == ["use trixie"]
    assert printed["commands_by_suite"] == {"trixie": ["use trixie"], "bookworm": ["use bookworm"]}
