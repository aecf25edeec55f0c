"""A small project, rebuilt under every variation, and built where there is no network: `make rebuilds`."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from hapkg.rebuild.variations import VARIATIONS
from tests.support.machine import NOTHING, SUITE, Hapkg, find_leftovers
from tests.support.miniature import Miniature, add_stack, make_plain_source

TELL = "pwd; id -un; hostname; date +%Y; date +%z; locale -k decimal_point; nproc; uname -r"
"""A command that tells a line for each condition of a build."""
NO_NETWORK = ("unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A project and its builds."""

    project: Miniature
    hapkg: Hapkg


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    """The miniature, with a source that tells its conditions and lets the kernel's name into its package."""
    folder = Path(tempfile.mkdtemp(prefix="hapkg-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    project = Miniature.create(folder / "project", suite=SUITE)
    add_stack(project)
    project.add("leaky", make_plain_source(build=[TELL, "uname -r >> README"]))
    hapkg = Hapkg(project=project.root, cache=folder / "cache", home=folder / "home")
    hapkg.succeed("build-all", "--no-lintian")
    yield Place(project=project, hapkg=hapkg)
    hapkg.end()
    for cache in folder.glob("*cache"):
        replace(hapkg, cache=cache).run("chroot", "rm", SUITE)
    shutil.rmtree(folder)


def read_told(hapkg: Hapkg, label: str) -> list[str]:
    """Lines of the conditions that a rebuild of ha-leaky told."""
    lines = (hapkg.cache / f"logs/rebuild/{SUITE}/ha-leaky.{label}.log").read_text().splitlines()
    begin = lines.index(TELL) + 1
    return lines[begin : begin + TELL.count(";") + 1]


def digest_packages(hapkg: Hapkg) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in hapkg.cache.glob("builds/*/*.deb")}


def test_variations_change_what_a_build_sees_and_nothing_in_its_packages(place: Place) -> None:
    quiet = [name for name in VARIATIONS if name != "kernel"]
    words = [word for name in quiet for word in ("--variation", name)]
    found = json.loads(place.hapkg.succeed("rebuild", "--all", *words, "--json").stdout)
    assert len(found["table"]) == 8
    assert {outcome for row in found["table"].values() for outcome in row.values()} == {"same"}
    before, after = read_told(place.hapkg, "same"), read_told(place.hapkg, "-".join(quiet))
    same = [name for name, old, new in zip(TELL.split("; "), before, after, strict=True) if old == new]
    assert same == ["uname -r"]
    assert find_leftovers(place.hapkg.chroot, place.hapkg.cache) == NOTHING


def test_a_package_that_depends_on_a_variation_is_told_with_where(place: Place) -> None:
    done = place.hapkg.run("rebuild", "leaky", "--variation", "kernel", "--variation", "host")
    assert done.status == 7
    row = next(line for line in done.stdout.splitlines() if line.startswith("ha-leaky_"))
    assert row.split()[1:] == ["same", "same", "differs"], "as it was, host, kernel"
    report = Path(done.complaint.details[-1].rpartition(": ")[2])
    assert "README" in report.read_text() and "2.6." in report.read_text()


def test_other_versions_than_those_of_the_base_are_had_from_the_archive(place: Place) -> None:
    """A build of an older xz: the archive has it in its main suite, beside the one of the security suite."""
    (file,) = (file for file in place.hapkg.cache.glob("builds/*/ha-three_*.buildinfo"))
    text, record = file.read_text(), file.parent / "artifact.json"
    versions = dict(line.strip(" ,)").split(" (= ") for line in text.splitlines() if " (= " in line)
    base = place.hapkg.cache / "chroots" / SUITE / "root"
    lists = "".join(found.read_text() for found in base.glob("var/lib/apt/lists/*_Packages"))
    older = {}
    for name in ("patch", "xz-utils", "liblzma5"):
        offered = {
            dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line)["Version"]
            for stanza in lists.split("\n\n")
            if stanza.startswith(f"Package: {name}\n")
        }
        older[name] = min(offered - {versions[name]}, default=versions[name])
    assert older.items() - versions.items(), "the archive has another version of one of them"
    for name, version in older.items():
        text = text.replace(f" {name} (= {versions[name]})", f" {name} (= {version})")
    file.write_text(text)
    table = json.loads(record.read_text())
    table["files"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    record.write_text(json.dumps(table))
    found = json.loads(place.hapkg.succeed("rebuild", "three", "--json").stdout)
    assert list(found["table"].values()) == [{"as it was": "same"}]
    assert not list((place.hapkg.cache / "rebuild").glob("*")), "the base that was made for it is gone"


def test_a_machine_without_a_network_makes_the_same_bytes(place: Place) -> None:
    folder = place.hapkg.cache.parent / "collected"
    for words in (("lock",), ("lock", "--base"), ("vendor", str(folder))):
        place.hapkg.succeed(*words)
    bare = replace(place.hapkg, cache=place.hapkg.cache.with_name("bare-cache"), started=[])
    upstream = place.project.root / "upstream"
    upstream.rename(upstream.with_name("away"))
    try:
        done = bare.run("build-all", "--no-lintian", "--offline", "--from", str(folder), within=NO_NETWORK)
    finally:
        upstream.with_name("away").rename(upstream)
    assert done.status == 0, done.stderr
    assert digest_packages(bare) == digest_packages(place.hapkg)
