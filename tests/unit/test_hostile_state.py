"""Records of the state folder and of the key folder, damaged in every way: none ends in a traceback.

A reviewer adds a kind of damage, or a record, by one line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hapkg import disk
from hapkg.apt.mirror import Mirror
from hapkg.build import failures
from hapkg.build.store import Store
from hapkg.build.timings import pick_record, read_records
from hapkg.chroot import resolver, schroot
from hapkg.chroot.archives import Archive
from hapkg.chroot.base import digest_contents
from hapkg.chroot.layer import find_layer, list_layers, make_layer_key
from hapkg.chroot.resolver import load_answer
from hapkg.chroot.schroot import Chroot, find_chroot, list_chroots
from hapkg.control import SourceName, Suite
from hapkg.currency.promises import tell_not_newer
from hapkg.deb import DebContent
from hapkg.distribution import read_debian
from hapkg.errors import BusyError, RepositoryError, UsageError
from hapkg.evidence.rebuilt import read_rebuilt
from hapkg.locations import State
from hapkg.prove.vm_image import find_image
from hapkg.records import FORMAT, format_record, read_record
from hapkg.repository.contents import ContentCache
from hapkg.repository.keys.signing import read_retired
from hapkg.repository.last_published import find_memory
from hapkg.repository.remote.s3 import _read_stamps

SUITE = Suite("bookworm")
KEY = "a" * 64
BELOW = "b" * 64
ARCHIVE = Mirror(distribution=read_debian(), uri=None, security=None)
DIGEST = "0" * 64
PLACE = "/srv/apt"
BASE = Chroot(suite=SUITE, name="base", folder=Path("/nonexistent"), digest=DIGEST, packages=1)
DATE = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Record:
    """A record of a state folder, the way to it, its content, and its reader, which gives nothing for a damaged one."""

    find: Callable[[State], Path]
    content: Any
    read: Callable[[State], object]
    names: bool = False
    """A table of names."""

    @property
    def whole(self) -> Any:
        """The table that stands in the file, without the number of its format."""
        return {"names": self.content} if self.names else self.content


def read_page(state: State) -> object:
    return ContentCache(state.root).read("pool/missing.deb", DIGEST)


RECORDS: dict[str, Record] = {
    "chroot.json": Record(
        lambda state: state.chroots / SUITE / "chroot.json",
        {"contents": digest_contents(), "digest": DIGEST, "index": DIGEST, "packages": 1},
        lambda state: find_chroot(state, SUITE) and list_chroots(state),
    ),
    "layers/KEY.json": Record(
        lambda state: state.layers / f"{KEY}.json",
        {"packages": {"m4": "1"}, "bytes": 10, "below": "", "base": DIGEST, "suite": SUITE},
        lambda state: find_layer(state, KEY) and list_layers(state),
    ),
    "resolved/KEY.json": Record(
        lambda state: state.resolved / f"{KEY}.json",
        {"m4": {"version": "1.4-1", "file": "m4_1.4-1_amd64.deb", "uri": "http://a/b", "bytes": 9, "sha256": DIGEST}},
        lambda state: load_answer(BASE, ("m4",), state),
        names=True,
    ),
    "artifact.json": Record(
        lambda state: state.builds / KEY / "artifact.json",
        {
            "key": KEY,
            "source": "ha-one",
            "version": "1-1",
            "suite": SUITE,
            "architecture": "amd64",
            "inputs": {"recipe": [1, None, {"a": 1.5}]},
            "origin": "a tarball",
            "files": {"a.deb": DIGEST},
            "seconds": {"unpack": 1},
            "memory": 5,
            "packages": {"ha-one": {"digest": DIGEST, "depends": ""}},
            "stamps": {"a.deb": [1, 1767225600123456789]},
        },
        lambda state: Store(root=state.root).list_builds(),
    ),
    "rebuilt/SHA256.json": Record(
        lambda state: state.rebuilt / f"{DIGEST}.json",
        {
            "sha256": DIGEST,
            "file": "ha-one_1-1_amd64.deb",
            "source": "ha-one",
            "version": "1-1",
            "suite": SUITE,
            "rebuilds": [
                {
                    "when": "2026-11-29T17:40:12Z",
                    "host": "builder",
                    "identical": True,
                    "variations": ["date"],
                    "found": DIGEST,
                    "report": "",
                }
            ],
        },
        lambda state: read_rebuilt(state, DIGEST),
    ),
    "failure.json": Record(
        lambda state: state.failed / SUITE / "ha-one" / "failure.json",
        {"key": KEY, "brief": "it fails", "details": ["a line"], "hint": "mend it", "code": 10},
        lambda state: failures.load(state.failed / SUITE / "ha-one", KEY, SourceName("ha-one")),
    ),
    "runs/TIME.json": Record(
        lambda state: state.runs / "2026-01-01T000000Z.json",
        {
            "started": "2026-01-01T00:00:00Z",
            "suite": SUITE,
            "jobs": 2,
            "seconds": 3.5,
            "sources": [
                {
                    "source": "ha-one",
                    "ending": "built",
                    "needs": ["ha-one"],
                    "spans": [{"phase": "test", "start": 0, "end": 3.5}],
                }
            ],
        },
        lambda state: [(found.find_critical_path(), found.break_down()) for found in read_records(state)],
    ),
    "a bucket's stamps": Record(
        lambda state: state.repositories / "copy.json",
        {"pool/a.deb": ["tag", 1, 1767225600123456789]},
        lambda state: _read_stamps(state.repositories / "copy.json"),
        names=True,
    ),
    "image.json": Record(
        lambda state: state.guests / SUITE / "image.json",
        {"kernel": "6.1.0", "packages": "300"},
        lambda state: find_image(state, SUITE, ["m4"], ARCHIVE),
    ),
    "promises/SUITE.json": Record(
        lambda state: state.promises / f"{SUITE}.json",
        {"asked": "2026-01-01", "sources": {"ha-one": {"version": "1.2", "promise": "newer"}}},
        lambda state: tell_not_newer(state, SUITE, [(SourceName("ha-one"), "1.2")]) == "",
    ),
    "KEYS-published": Record(
        lambda state: find_memory(state.root / "keys", PLACE).file,
        {"format": 1, "place": PLACE, "suites": {SUITE: [DIGEST, DATE.isoformat()]}},
        lambda state: find_memory(state.root / "keys", PLACE).read(),
    ),
    "the page's contents": Record(
        lambda state: state.root / ".hapkg/page/contents.json",
        {"format": 1, "contents": {DIGEST: {"files": ["usr/bin/a"], "changelog": "", "copyright": ""}}},
        read_page,
    ),
}


def retype(content: Any, other: Any) -> Any:
    """A record with its keys, and values of another type."""
    return {"names": dict.fromkeys(content["names"], other)} if "names" in content else dict.fromkeys(content, other)


DAMAGES: dict[str, Callable[[Any], bytes]] = {
    "empty": lambda _: b"",
    "zeros, as after a power cut": lambda _: b"\0" * 512,
    "cut off": lambda content: json.dumps(content).encode()[:-2],
    "a list": lambda content: json.dumps([content]).encode(),
    "a word": lambda _: b'"word"',
    "null": lambda _: b"null",
    "a number": lambda _: b"7",
    "null for every value": lambda content: json.dumps(retype(content, None)).encode(),
    "a list for every value": lambda content: json.dumps(retype(content, [None])).encode(),
    "a table for every value": lambda content: json.dumps(retype(content, {"a": {"b": 1}})).encode(),
    "infinity for every value": lambda content: json.dumps(retype(content, float("inf"))).encode(),
    "more than infinity": lambda content: json.dumps(retype(content, 0)).replace("0", "1e999").encode(),
    "a number of 5000 digits": lambda content: json.dumps(retype(content, 7)).replace("7", "7" * 5000).encode(),
    "half a letter": lambda content: json.dumps(retype(content, "\ud800")).encode(),
    "one key more": lambda content: json.dumps({**content, "newer": {"than": ["this"]}}).encode(),
    "a newer format": lambda content: json.dumps({**content, "format": 2}).encode(),
    "a format in words": lambda content: json.dumps({**content, "format": "1"}).encode(),
    "true for a format": lambda content: json.dumps({**content, "format": True}).encode(),
    "a key less": lambda content: json.dumps(dict(list(content.items())[1:])).encode(),
    "not UTF-8": lambda content: json.dumps(content).encode().replace(b'"', b'"\xff', 1),
    "UTF-16": lambda _: '{"a": "b"'.encode("utf-16"),
    "100,000 lists deep": lambda _: b"[" * 100_000 + b"]" * 100_000,
    "100,000 tables deep": lambda _: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep in a value": lambda content: json.dumps(retype(content, 7)).replace("7", "[" * 900 + "]" * 900).encode(),
}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """A state folder whose base chroot schroot knows, and whose layer has a listing."""
    state = State(tmp_path / "state")
    (state.chroots / SUITE).mkdir(parents=True)
    (state.chroots / SUITE / "listing").touch()
    for key in (KEY, BELOW):
        (state.layers / key).mkdir(parents=True)
        (state.layers / key / "listing").touch()
    monkeypatch.setattr(schroot, "_CONFIGURATIONS", tmp_path)
    (tmp_path / schroot.name_chroot(state, SUITE)).touch()
    monkeypatch.setattr("hapkg.chroot.resolver._find_answer", lambda *_: RECORDS["resolved/KEY.json"].find(state))
    monkeypatch.setattr("hapkg.prove.vm_image._find_folder", lambda *_: state.guests / SUITE)
    return state


def put(state: State, record: Record, content: bytes) -> Path:
    file = record.find(state)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("name", RECORDS)
def test_a_whole_record_is_read(state: State, name: str) -> None:
    assert not RECORDS[name].read(state)
    put(state, RECORDS[name], json.dumps(RECORDS[name].whole).encode())
    assert RECORDS[name].read(state)


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_as_good_as_absent(state: State, name: str, damage: str) -> None:
    record = RECORDS[name]
    content = DAMAGES[damage](record.whole)
    put(state, record, content)
    found = record.read(state)
    assert not found, found


@pytest.mark.parametrize("name", RECORDS)
def test_what_is_no_file_or_too_large_is_as_good_as_absent(state: State, name: str) -> None:
    file = put(state, RECORDS[name], json.dumps(RECORDS[name].whole).encode())
    os.truncate(file, 1 << 40)
    assert not RECORDS[name].read(state)
    file.unlink()
    os.mkfifo(file)
    assert not RECORDS[name].read(state)
    file.unlink()
    file.symlink_to(file)
    assert not RECORDS[name].read(state)
    file.unlink()
    file.mkdir()
    assert not RECORDS[name].read(state)


@pytest.mark.parametrize("name", [name for name in RECORDS if "format" not in RECORDS[name].content])
def test_what_is_written_has_the_number_of_its_format(state: State, name: str) -> None:
    record = RECORDS[name]
    content = format_record(record.content, names=record.names)
    assert json.loads(content)["format"] == FORMAT
    put(state, record, content)
    assert record.read(state)


def test_a_key_is_refused_where_the_caller_knows_the_field(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_text('{"changelog": "", "copyright": ""}')
    assert read_record(file, DebContent, files=("a",)) == DebContent(files=("a",), changelog="", copyright="")
    file.write_text('{"changelog": "", "copyright": "", "files": []}')
    assert read_record(file, DebContent, files=("a",)) is None


@pytest.mark.parametrize("below", [KEY, BELOW, "../x", "\0", "c" * 64])
def test_layers_that_lie_on_one_another_or_on_nothing_are_absent(state: State, below: str) -> None:
    note = {"packages": {"m4": "1"}, "bytes": 10}
    (state.layers / f"{KEY}.json").write_text(json.dumps({**note, "below": below}))
    (state.layers / f"{BELOW}.json").write_text(json.dumps({**note, "below": KEY}))
    assert list_layers(state) == ()


def test_runs_in_a_circle_have_a_path(state: State) -> None:
    record = RECORDS["runs/TIME.json"]
    put(state, record, json.dumps(record.whole).encode())
    assert [times.source for times in pick_record(state, 1).find_critical_path()] == ["ha-one"]
    put(state, record, b"")
    with pytest.raises(UsageError):
        pick_record(state, 1)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0", b"x", b"A" * 40, b"A" * 40 + b" soon\n", b"\xff 1\n", b"[" * 100_000]
)
def test_a_damaged_list_of_retired_keys_lets_none_sign_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "retired").write_bytes(content)
    with pytest.raises(RepositoryError, match="retired is damaged"):
        read_retired(tmp_path)


def test_retired_keys_are_read_or_there_are_none(tmp_path: Path) -> None:
    assert read_retired(tmp_path) == {}
    (tmp_path / "retired").write_text(f"{'A' * 40} 1767225600\n{'B' * 64} 7\n")
    assert read_retired(tmp_path) == {"A" * 40: 1767225600, "B" * 64: 7}
    (tmp_path / "retired").unlink()
    (tmp_path / "retired").mkdir()
    with pytest.raises(RepositoryError, match="cannot be read"):
        read_retired(tmp_path)


def test_a_lock_full_of_anything_is_still_a_lock(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with disk.lock(file, what="the state folder", hint=""):
        file.write_bytes(b"\xff\0[" * 1_000_000)
        with (
            pytest.raises(BusyError, match="in use by process") as refusal,
            disk.lock(file, what="the state folder", hint=""),
        ):
            pass
    assert len(refusal.value.brief) < 2000


def test_golden_keys_of_layers_and_answers() -> None:
    base = Chroot(
        suite=SUITE,
        name="any",
        folder=Path("/any"),
        digest="d" * 64,
        packages=1,
        index="e" * 64,
        contents="c" * 64,
    )
    m4, zlib = (Archive(version=v, file="f.deb", uri="u", bytes=1, sha256=v * 64) for v in ("1", "2"))
    layer = make_layer_key(base, {"m4": m4, "zlib1g-dev": zlib})
    assert layer == "050355323da760b0f3401e7565da843f8ea055584a182055ba8fa39a9f03cc76"
    answer = resolver._find_answer(base, ("m4", "debhelper-compat (= 13)"), State(Path("/any")))
    assert answer.stem == "d750a96bfd5f44f300fb96d43305ec5876e3f39432f7e667edbd98f6584ca519"
