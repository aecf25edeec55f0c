"""A build cache: what one machine built, another one takes, and nothing else that lies there."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from hapkg.build.store import Store
from hapkg.cache.library import push
from hapkg.cache.place import FolderPlace
from hapkg.control import SourceName
from hapkg.disk import sha256_file
from hapkg.repository.keys.signing import KeyChoice, find_key
from tests.support.machine import NOTHING, SUITE, Done, Hapkg, find_leftovers
from tests.support.miniature import Miniature, make_plain_source

NAMES = (SourceName("ha-lent-below"), SourceName("ha-lent-above"))
RUN = ("build-all", "--no-lintian", "--json")


def configure(project: Miniature, **keys: object) -> None:
    """Add keys to the project's settings, in the place of those that were added before."""
    file = project.root / "pyproject.toml"
    plain = file.read_text().partition("# added\n")[0]
    file.write_text(plain + "# added\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()))


@pytest.fixture
def lender(hapkg: Hapkg, project: Miniature) -> Hapkg:
    """A project with two sources whose builds are in the cache, and no longer in the store."""
    program = hapkg.on(project.root)
    project.add("lent-below", make_plain_source())
    project.add("lent-above", make_plain_source(), build_depends=["ha-lent-below"])
    configure(project, **{"build-cache": "shared"})
    program.succeed("clean", "lent-below", "lent-above")  # another test's builds have the same keys
    refused = program.run(*RUN, "--push")
    assert refused.status == 2
    fingerprint = refused.complaint.brief.split()[2]
    assert re.fullmatch("[0-9A-F]{40}", fingerprint)
    configure(project, **{"build-cache": "shared", "build-cache-trust": [fingerprint]})
    done = program.succeed(*RUN, "--push")
    assert done.endings == {"ha-lent-below": "built", "ha-lent-above": "built"}
    pushed = {" ".join(line.split()[1:3]) for line in done.stderr.splitlines() if line.startswith("pushed ")}
    assert {words.split()[0] for words in pushed if words.startswith("ha-")} == {"ha-lent-above", "ha-lent-below"}
    assert {words for words in pushed if not words.startswith("ha-")} == {"the base", "the layer"}
    assert "pushed " not in program.succeed(*RUN, "--push").stderr
    return program


def find_debs(program: Hapkg, done: Done) -> dict[str, bytes]:
    folders = [program.folder(outcome) for outcome in done.outcomes.values()]
    return {deb.name: deb.read_bytes() for folder in folders for deb in folder.glob("*.deb")}


def test_builds_come_from_the_cache_and_are_named_so(lender: Hapkg, project: Miniature) -> None:
    before = find_debs(lender, lender.succeed(*RUN))
    lender.succeed("clean", "lent-below", "lent-above")
    steps = {step["source"]: step for step in json.loads(lender.succeed("plan", "--json").stdout)}
    for step in steps.values():
        assert step["action"] == "fetch"
        assert step["reason"].startswith("from the cache, signed by ")
    done = lender.succeed(*RUN)
    assert done.endings == {"ha-lent-below": "reused", "ha-lent-above": "reused"}
    assert {outcome["reason"].rpartition(" ")[0] for outcome in done.outcomes.values()} == {"from the cache, signed by"}
    assert "compile" not in done.stderr
    assert find_debs(lender, done) == before
    log = lender.folder(done.outcomes["ha-lent-above"]) / "build.log"
    assert "=== test" in log.read_text()
    assert lender.succeed(*RUN).endings == done.endings
    assert "2 entries" in lender.succeed("cache", "verify").stderr
    assert len(lender.succeed("cache", "list").stdout.splitlines()) == 3


def test_a_fresh_machine_takes_the_base_chroot_and_its_layers_as_well(lender: Hapkg, place: Path) -> None:
    fresh = replace(lender, cache=place / "second", started=[])
    try:
        done = fresh.succeed(*RUN)
        assert set(done.endings.values()) == {"reused"}
        bases = [json.loads(one.succeed("chroot", "list", "--json").stdout)[0] for one in (lender, fresh)]
        assert bases[0]["digest"] == bases[1]["digest"]
        assert not (fresh.cache / "logs").exists(), "nothing was bootstrapped"
        fresh.succeed("clean", "lent-above")
        for entry in (lender.project / "shared/entries").glob("*.json"):
            entry.unlink()
        done = fresh.succeed(*RUN)
        assert done.endings == {"ha-lent-below": "reused", "ha-lent-above": "built"}
        log = (fresh.folder(done.outcomes["ha-lent-above"]) / "build.log").read_text()
        taken = re.findall("the layer ([0-9a-f]{12}) of build dependencies comes from the build cache", log)
        layers = read_layers(fresh)
        assert sorted(taken) == sorted(key[:12] for key in layers), "none was made, nor taken in vain"
        assert layers.items() <= read_layers(lender).items()
        assert not list((fresh.cache / "layers").glob(".*"))

        for entry in (lender.project / "shared/layers").glob("*.json"):
            size = json.loads(json.loads(entry.read_text())["entry"])["file"]
            (lender.project / "shared/blobs" / size["sha256"][:2] / size["sha256"]).write_bytes(b"x" * size["size"])
        shutil.rmtree(fresh.cache / "layers")
        fresh.succeed("clean", "lent-above")
        done = fresh.succeed(*RUN)
        assert done.endings == {"ha-lent-below": "reused", "ha-lent-above": "built"}
        assert "has another layer.tar.zst than it names" in done.stderr
        assert read_layers(fresh).keys() == layers.keys(), "they were made here"
        assert find_leftovers(fresh.chroot, fresh.cache) == NOTHING
    finally:
        fresh.end()
        fresh.succeed("chroot", "rm", SUITE)


def test_a_poisoned_file_is_built_anew_and_named(lender: Hapkg, project: Miniature) -> None:
    (deb,) = find_deb_blobs(lender, "ha-lent-below")
    deb.write_bytes(b"poison" * 100)
    lender.succeed("clean", "lent-below", "lent-above")
    done = lender.succeed(*RUN)
    assert done.endings == {"ha-lent-below": "built", "ha-lent-above": "reused"}
    assert "of the build cache" in done.outcomes["ha-lent-below"]["reason"]
    refused = lender.run("cache", "verify")
    assert refused.status == 7
    assert any("ha-lent-below" in line for line in refused.complaint.details)
    assert find_leftovers(lender.chroot, lender.cache) == NOTHING
    mended = lender.succeed(*RUN, "--push").stderr
    assert re.findall("^pushed (.*?) ", mended, re.MULTILINE) == ["ha-lent-below"]
    lender.succeed("cache", "verify")


def test_what_a_key_signed_that_is_trusted_no_more_is_not_used(lender: Hapkg, project: Miniature) -> None:
    lender.succeed("clean", "lent-below", "lent-above")
    lender.succeed(*RUN)
    configure(project, **{"build-cache": "shared", "build-cache-trust": ["A" * 40]})
    steps = json.loads(lender.succeed("plan", "--json").stdout)
    assert steps[0]["action"] == "build"
    assert "which build-cache-trust does not name" in steps[0]["reason"]
    assert lender.run("publish").status == 11


def test_what_a_repository_publishes_is_taken_from_it(lender: Hapkg, project: Miniature) -> None:
    before = find_debs(lender, lender.succeed(*RUN))
    lender.succeed("publish", "--repo", "elsewhere")
    lender.succeed("clean", "lent-below", "lent-above")
    trust = json.loads(lender.succeed("key", "list", "--json").stdout)[0]["fingerprint"]
    configure(project, **{"reuse-from": "elsewhere", "build-cache-trust": [trust]})
    steps = json.loads(lender.succeed("plan", "--json").stdout)
    told = f"from {project.root}/elsewhere, signed by {trust}"
    assert [(step["action"], step["reason"]) for step in steps] == [("fetch", told)] * 2
    done = lender.succeed(*RUN)
    assert done.endings == {"ha-lent-below": "reused", "ha-lent-above": "reused"}
    assert find_debs(lender, done) == before
    lender.succeed("publish", "--repo", "elsewhere")
    lender.succeed("publish", "--repo", "another")
    lender.succeed("repo", "verify", "--repo", "another")


def test_a_sample_is_built_again_and_another_byte_is_told(lender: Hapkg, project: Miniature, tmp_path: Path) -> None:
    before = find_debs(lender, lender.succeed(*RUN))
    lender.succeed("clean", "lent-below", "lent-above")
    done = lender.succeed(*RUN, "--rebuild-sample", "100")
    assert done.endings == {"ha-lent-below": "built", "ha-lent-above": "built"}
    assert all("to be compared with that of the cache" in one["reason"] for one in done.outcomes.values())
    assert find_debs(lender, done) == before

    (below,) = [one for one in Store(root=lender.cache).list_builds() if one.source == NAMES[0]]
    folder = shutil.copytree(below.folder, tmp_path / "other")
    (deb,) = folder.glob("ha-lent-below_*.deb")
    with deb.open("ab") as file:
        file.write(b"\n")
    forged = replace(below, folder=folder, files={**below.files, deb.name: sha256_file(deb)})
    key = find_key(KeyChoice(home=lender.home / "keys"), owner="")
    push(FolderPlace(project.root / "shared"), forged, key)
    lender.succeed("clean", "lent-below", "lent-above")
    failed = lender.run(*RUN, "--rebuild-sample", "100")
    assert failed.status == 7
    assert key.fingerprint in failed.complaint.brief
    assert deb.name in failed.complaint.details
    assert failed.endings == {"ha-lent-below": "failed", "ha-lent-above": "skipped"}
    assert not [one for one in Store(root=lender.cache).list_builds() if one.source in NAMES]


def read_layers(program: Hapkg) -> dict[str, str]:
    """The listings of a machine's layers by their keys: digests of names, kinds, modes, owners, sizes and times."""
    return {file.parent.name: file.read_text() for file in (program.cache / "layers").glob("[!.]*/listing")}


def find_deb_blobs(program: Hapkg, source: str) -> list[Path]:
    """Files of the cache with the packages of a source."""
    found = []
    for entry in (program.project / "shared/entries").glob("*.json"):
        told = json.loads(json.loads(entry.read_text())["entry"])
        if told["source"] == source:
            digests = [file["sha256"] for name, file in told["files"].items() if name.endswith(".deb")]
            found += [program.project / "shared/blobs" / digest[:2] / digest for digest in digests]
    return found
