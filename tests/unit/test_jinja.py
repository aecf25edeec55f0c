"""Compiled templates: a folder that does not serve costs time alone, and what is damaged in it is made anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.jinja import make_environment


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "greeting").write_text("Hello {{ name }}")
    return folder


def render(templates: Path, compiled: Path) -> str:
    """The template, by an environment that nobody has used before."""
    make_environment.cache_clear()
    return make_environment((templates,), compiled).get_template("greeting").render(name="world")


@pytest.mark.parametrize("place", ["file", "file/compiled", "missing/compiled"])
def test_a_folder_that_cannot_be_is_done_without(tmp_path: Path, templates: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert render(templates, tmp_path / place) == "Hello world"
    assert (tmp_path / "file").read_text() == "not a folder"
    assert not (tmp_path / "missing").exists()


def test_a_compiled_template_is_read_again(tmp_path: Path, templates: Path) -> None:
    assert render(templates, tmp_path / "compiled") == "Hello world"
    (kept,) = (tmp_path / "compiled").iterdir()
    before = kept.stat().st_mtime_ns, kept.stat().st_ino
    assert render(templates, tmp_path / "compiled") == "Hello world"
    assert (kept.stat().st_mtime_ns, kept.stat().st_ino) == before


@pytest.mark.parametrize("damage", ["cut", "head", "garbage", "folder"])
def test_a_damaged_one_is_made_anew(tmp_path: Path, templates: Path, damage: str) -> None:
    render(templates, tmp_path / "compiled")
    (kept,) = (tmp_path / "compiled").iterdir()
    whole = kept.read_bytes()
    if damage == "folder":
        kept.unlink()
        kept.mkdir()
    else:
        kept.write_bytes(
            {"cut": whole[: len(whole) // 2], "head": whole[:20], "garbage": whole[:20] + b"\xff" * 99}[damage]
        )
    assert render(templates, tmp_path / "compiled") == "Hello world"
    if damage != "folder":
        assert kept.read_bytes() == whole
