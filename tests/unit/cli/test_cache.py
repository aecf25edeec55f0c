"""Which shared builds a run asks: a build cache, a repository, both or none; and whose word counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.cache.library import BuildCache, SeveralCaches
from hapkg.cache.published import PublishedBuilds
from hapkg.cli.cache import open_shared
from hapkg.cli.options import Context
from hapkg.errors import UsageError
from hapkg.locations import State

PROJECT = '[tool.hapkg]\nsuite = "bookworm"\nsuites = ["bookworm"]\nmaintainer = "A <a@hapkg.invalid>"\n'
TRUST = f'build-cache-trust = ["{"A" * 40}"]\n'


def open_project(tmp_path: Path, settings: str) -> Context:
    (tmp_path / "pyproject.toml").write_text(f"{PROJECT}{settings}")
    return Context(tmp_path, tmp_path / "state", 0)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ("", type(None)),
        (f'{TRUST}build-cache = "shared"\n', BuildCache),
        (f'{TRUST}reuse-from = "https://apt.example.org/ha"\n', PublishedBuilds),
        (f'{TRUST}reuse-from = "apt"\nbuild-cache = "s3://builds/ours"\n', SeveralCaches),
    ],
)
def test_a_run_asks_what_the_settings_name(tmp_path: Path, settings: str, kind: type[object]) -> None:
    state = State(tmp_path / "state")
    assert type(open_shared(open_project(tmp_path, settings), None, None, state)) is kind


def test_options_come_before_settings(tmp_path: Path) -> None:
    context = open_project(tmp_path, f'{TRUST}reuse-from = "apt"\n')
    published = open_shared(context, None, "https://other.example.org", State(tmp_path / "state"))
    assert isinstance(published, PublishedBuilds)
    assert str(published.place) == "https://other.example.org"


@pytest.mark.parametrize("settings", ['build-cache = "shared"\n', 'reuse-from = "apt"\n'])
def test_builds_of_others_need_somebody_who_vouches_for_them(tmp_path: Path, settings: str) -> None:
    with pytest.raises(UsageError, match="no key is trusted to vouch for builds of others"):
        open_shared(open_project(tmp_path, settings), None, None, State(tmp_path / "state"))
