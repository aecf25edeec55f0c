"""Rebuilds of the miniature: the same bytes under other conditions, and what is said where they cannot be had."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hapkg.evidence.rebuilt import read_rebuilt
from hapkg.locations import State
from tests.integration.chroot.conftest import Built
from tests.support.machine import NOTHING, find_leftovers

OUTCOME = {"as it was": "same", "path": "same", "umask": "same"}


@pytest.fixture
def buildinfo(built: Built) -> Iterator[Path]:
    """The .buildinfo of a build in the store, to be changed; as it was afterwards."""
    (file,) = built.hapkg.folder(built.run.outcomes["ha-three"]).glob("*.buildinfo")
    record = file.parent / "artifact.json"
    whole = {file: file.read_bytes(), record: record.read_bytes()}
    yield file
    for path, content in whole.items():
        path.write_bytes(content)


def change(buildinfo: Path, old: str, new: str) -> None:
    """Change words of a stored .buildinfo, as if the build had been so."""
    text = buildinfo.read_text()
    assert old in text
    buildinfo.write_text(text.replace(old, new))
    record = buildinfo.parent / "artifact.json"
    table = json.loads(record.read_text())
    table["files"][buildinfo.name] = hashlib.sha256(buildinfo.read_bytes()).hexdigest()
    record.write_text(json.dumps(table))


def test_packages_come_out_again_and_that_is_noted(built: Built) -> None:
    told = built.hapkg.succeed("rebuild", "three", "--variation", "umask", "--variation", "path", "--json")
    found = json.loads(told.stdout)
    deb = built.deb("ha-three")
    assert found["table"] == {deb.name: OUTCOME}
    record = read_rebuilt(State(built.hapkg.cache), hashlib.sha256(deb.read_bytes()).hexdigest())
    assert record is not None and record.identical and record.variations == ("path", "umask")
    assert find_leftovers(built.hapkg.chroot, built.hapkg.cache) == NOTHING


def test_a_version_that_is_nowhere_any_more_is_named(built: Built, buildinfo: Path) -> None:
    version = next(line.strip() for line in buildinfo.read_text().splitlines() if line.startswith(" patch (= "))
    change(buildinfo, version, "patch (= 0.1-1),")
    done = built.hapkg.run("rebuild", "three")
    assert done.status == 6
    assert done.complaint.brief == "ha-three was built with patch 0.1-1, which is nowhere any more"
    assert version.removeprefix("patch (= ").rstrip("),") in done.complaint.details[0], "and what there is instead"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("\nSource: ha-three\n", "\nSource: ../three\n", "source '../three'"),
        ("\nInstalled-Build-Depends:\n", "\nInstalled:\n", "no field Installed-Build-Depends"),
        (" patch (= ", " patch (>= ", "the line 'patch (>= "),
    ],
    ids=["source", "no dependencies", "a range"],
)
def test_a_buildinfo_that_is_none_is_refused(built: Built, buildinfo: Path, old: str, new: str, fault: str) -> None:
    change(buildinfo, old, new)
    done = built.hapkg.run("rebuild", "three")
    assert done.status == 7 and fault in done.complaint.brief


def test_a_buildinfo_of_other_packages_is_refused(built: Built, buildinfo: Path) -> None:
    digest = hashlib.sha256(built.deb("ha-three").read_bytes()).hexdigest()
    change(buildinfo, digest, "0" * 64)
    done = built.hapkg.run("rebuild", "three")
    assert (done.status, done.complaint.details[0]) == (7, f"sha256 {digest}, there {'0' * 64}")


@pytest.mark.parametrize(
    ("argv", "brief"),
    [
        (("three", "--all"), "rebuild takes names or --all"),
        (("nobody",), "no source package 'nobody' has been built"),
        (("three", "--variation", "weather"), "there is no variation 'weather'"),
    ],
    ids=["names and all", "unknown source", "unknown variation"],
)
def test_a_wrong_command_line_is_refused(built: Built, argv: tuple[str, ...], brief: str) -> None:
    done = built.hapkg.run("rebuild", *argv)
    assert (done.status, done.complaint.brief) == (2, brief)
