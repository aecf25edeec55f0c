"""Uploads of a source that was built for several architectures."""

from __future__ import annotations

from pathlib import Path

from hapkg.build.context import open_context
from hapkg.build.store import Artifact, Store
from hapkg.cli.publish import make_upload
from hapkg.control import SourceName, Suite
from hapkg.recipe.settings import find_project
from tests.support.samples import CHECKOUT


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
