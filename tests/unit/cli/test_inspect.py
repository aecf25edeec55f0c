"""hapkg list, show, logs, times and clean of what was built for another architecture, or without a recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hapkg.build.events import Ending, Outcome
from hapkg.build.store import LOG_NAME, Artifact, Store
from hapkg.build.timings import Recorder
from hapkg.cli.main import app
from hapkg.control import SourceName, Suite
from hapkg.errors import UsageError
from hapkg.host import read_architecture
from tests.support.samples import AUTOTOOLS, TEMPLATES, write_recipe

OTHER = "arm64" if read_architecture() != "arm64" else "amd64"
NAME, SUITE = SourceName(AUTOTOOLS["source"]), Suite("bookworm")


def add_build(store: Store, version: str, source: str = NAME) -> None:
    """A finished build, of the one recipe if no other source is named, with its log and the record of its run."""
    made = store.root / "made"
    made.mkdir(exist_ok=True)
    (made / LOG_NAME).write_text(f"log of {version}\n")
    artifact = Artifact(
        key=version,
        source=SourceName(source),
        version=version,
        suite=SUITE,
        architecture=store.architecture or read_architecture(),
        inputs={},
        origin="a test",
        files={},
        seconds={},
        folder=made,
    )
    store.add_build(artifact, made)
    recorder = Recorder(0.0, SUITE, len(version), {NAME: ()})
    recorder.notify(Outcome(source=NAME, ending=Ending.BUILT, version=version, reason="", seconds=1.0, at=1.0))
    recorder.save(store.state)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The state folder of a project of one recipe, built for this machine's architecture alone."""
    write_recipe(tmp_path / "recipes", AUTOTOOLS)
    (tmp_path / "pyproject.toml").write_text('[tool.hapkg]\nmaintainer = "Test Person <test@example.org>"\n')
    (tmp_path / "debian-templates").symlink_to(TEMPLATES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAPKG_CACHE", str(tmp_path / "cache"))
    store = Store(root=tmp_path / "cache")
    store.root.mkdir()
    add_build(store, "1")
    return store


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The program's output."""
    app(list(arguments), standalone_mode=False)
    return capsys.readouterr().out


def look(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[str, str, str, int]:
    """The version that list and show tell, the log, and the number of jobs of the last run."""
    (listed,) = json.loads(run(capsys, "list", "--json", *options))
    shown = json.loads(run(capsys, "show", NAME, "--json", *options))
    times = json.loads(run(capsys, "times", "--json", *options))
    return listed["built"], json.dumps(shown), run(capsys, "logs", NAME, *options), times["jobs"]


def test_what_was_built_for_another_architecture_is_looked_at_by_name(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    add_build(store.turn_to(OTHER), "22")
    for name, version in ((None, "1"), (read_architecture(), "1"), (OTHER, "22")):
        options = ("--architecture", name) if name else ()
        built, shown, log, jobs = look(capsys, *options)
        assert (built, log, jobs) == (version, f"log of {version}\n", len(version))
        assert f'"last build": "{version} (a test)"' in shown


@pytest.mark.usefixtures("store")
def test_what_was_built_for_this_machine_alone_is_not_another_s(capsys: pytest.CaptureFixture[str]) -> None:
    (listed,) = json.loads(run(capsys, "list", "--json", "--architecture", OTHER))
    assert listed["built"] is None
    with pytest.raises(UsageError) as caught:
        run(capsys, "logs", NAME, "--architecture", OTHER)
    assert caught.value.brief == f"{NAME} was never built for bookworm on {OTHER}"
    assert caught.value.hint == f"run: hapkg build {NAME} --suite bookworm --architecture {OTHER}"
    with pytest.raises(UsageError) as caught:
        run(capsys, "times", "--architecture", OTHER)
    assert caught.value.hint == f"run: hapkg build-all --architecture {OTHER}"


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("words", [["list"], ["show", NAME], ["logs", NAME], ["times"]])
def test_a_word_that_is_no_architecture_is_told(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    with pytest.raises(UsageError, match="Debian has no architecture 'arm46'"):
        run(capsys, *words, "--architecture", "arm46")


def list_built(store: Store) -> list[str]:
    return sorted(build.source for build in store.list_builds())


def test_builds_of_a_site_whose_file_is_elsewhere_are_cleaned_by_name(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    add_build(store.turn_to(OTHER), "2", "ha-stack-site-web")
    with pytest.raises(UsageError) as caught:
        run(capsys, "clean", "ha-stack-site")
    assert caught.value.brief == "ha-stack-site itself was never built"
    assert caught.value.hint == "built are: ha-stack-site-web"
    assert "build" in run(capsys, "clean", "--dry-run", "stack-site-web")
    run(capsys, "clean", "ha-stack-site-web")
    assert (list_built(store), list_built(store.turn_to(OTHER))) == ([NAME], [])
    with pytest.raises(UsageError, match="there is no recipe ha-stack-site-web"):
        run(capsys, "clean", "ha-stack-site-web")
    run(capsys, "clean", "one")
    assert list_built(store) == []
