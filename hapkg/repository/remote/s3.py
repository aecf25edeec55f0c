"""A repository in an S3 bucket.

Objects are whole or not there at all, and what is listed is what was written: that is S3's promise. Its lock is an
object that is written on the condition that there is none. It names its owner, who writes it again and again; one that
was not written for a while may be taken over. Whoever lost the lock notices before the next write, and writes Release
and InRelease only over those that were fetched.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from hapkg import disk
from hapkg.errors import BusyError, RepositoryError
from hapkg.programs.process import check_stop
from hapkg.records import format_record, read_record
from hapkg.repository.paths import check_path, check_tree, is_of_repository
from hapkg.repository.remote.bucket_client import connect, find_refusal, is_absent, translate_errors
from hapkg.repository.remote.location import JOURNAL, LOCK, OWN, WAIT_HINT, BucketFolder

LEASE = 120.0
"""Seconds after which a lock that its owner does not renew is anybody's."""
_AT_ONCE = 8
"""Objects that are on their way at the same time."""
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".asc": "text/plain; charset=utf-8",
    ".sources": "text/plain; charset=utf-8",
}
_LASTING = "public, max-age=31536000, immutable"
_CHANGING = "no-cache"

_Stamp = tuple[str, int, int]
"""Of a file of the mirror: ETag of its object; its own size and time, by which a change here is told."""


class Bucket:
    """A Remote in a bucket."""

    def __init__(self, location: BucketFolder, lease: float | None = None) -> None:
        self._location = location
        self._lease = LEASE if lease is None else lease
        self._lock_tag = ""
        self._renewed = 0.0
        """When the lock was written last."""
        self._lost: str | None = None
        self._tags: dict[str, str] = {}
        """ETags of the files that say what the suites are, as they were fetched."""
        self._stamps: dict[str, _Stamp] = {}
        self._record = Path()
        self._client, self._refusal = connect(location, RepositoryError), find_refusal()

    @contextmanager
    def open(self, *, owner: str, change: bool, timeout: float) -> Iterator[None]:
        """See Remote."""
        if not change:
            yield
            return
        body = json.dumps({"owner": owner, "token": uuid.uuid4().hex}).encode()
        with self._translate_errors():
            self._take(body, time.monotonic() + timeout)
        done = threading.Event()
        renewer = threading.Thread(target=self._renew, args=(body, done), daemon=True)
        renewer.start()
        try:
            yield
        finally:
            done.set()
            renewer.join()
            if self._lost is None:
                with self._translate_errors():
                    # What was put just now is nobody else's for a lease; stores delete without a condition.
                    if self._try_put(body, IfMatch=self._lock_tag):
                        self._client.delete_object(Bucket=self._location.bucket, Key=self._key(LOCK))

    def fetch(self, mirror: Path) -> None:
        """See Remote."""
        self._record = mirror.with_name(f"{mirror.name}.json")
        self._stamps = _read_stamps(self._record)
        with self._translate_errors():
            first = {path: tag for path, tag in self._list("dists/").items() if _is_newest(path)}
            self._download(mirror, first)
            found = {path: tag for path, tag in self._list("").items() if path == JOURNAL or not path.startswith(OWN)}
            self._download(mirror, {path: tag for path, tag in found.items() if not _is_newest(path)})
        wanted = first.keys() | {path for path in found if not _is_newest(path)}
        for file in sorted(mirror.rglob("*"), reverse=True):
            path = str(file.relative_to(mirror))
            if file.is_dir():
                if not path.startswith(".hapkg") and not any(file.iterdir()):
                    file.rmdir()
            elif path not in wanted and (path == JOURNAL or not path.startswith(OWN)):
                file.unlink()
        self._tags = first
        self._write_stamps()

    def store(self, mirror: Path, paths: Sequence[str]) -> None:
        """See Remote."""
        with self._translate_errors():
            self._each(lambda path: self._upload(mirror, path), paths)
        self._write_stamps()

    def remove(self, paths: Sequence[str]) -> None:
        """See Remote."""

        def delete(path: str) -> None:
            self._client.delete_object(Bucket=self._location.bucket, Key=self._key(path))
            self._stamps.pop(path, None)

        with self._translate_errors():
            self._each(delete, paths)
        self._write_stamps()

    def _key(self, path: str) -> str:
        return self._location.prefix + path

    def _each(self, operate: Callable[[str], None], paths: Sequence[str]) -> None:
        def guarded(path: str) -> None:
            check_stop()
            self._check_lock()
            operate(path)

        with ThreadPoolExecutor(max_workers=min(_AT_ONCE, max(1, len(paths)))) as pool:
            try:
                for _ in pool.map(guarded, paths):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _list(self, start: str) -> dict[str, str]:
        """ETags by path."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._location.bucket, Prefix=self._key(start)
        )
        tags = {
            check_path(entry["Key"].removeprefix(self._location.prefix), where=str(self._location)): entry["ETag"]
            for page in pages
            for entry in page.get("Contents", ())
            if not entry["Key"].endswith("/")  # what some tools write for a folder
        }
        check_tree(tags.keys(), where=str(self._location))
        return {path: tag for path, tag in tags.items() if is_of_repository(path)}

    def _download(self, mirror: Path, wanted: dict[str, str]) -> None:
        def download(path: str) -> None:
            answer = self._client.get_object(Bucket=self._location.bucket, Key=self._key(path))
            file = mirror / path
            new = file.with_name(f".{file.name}.new")
            disk.make_folder(file.parent)
            with new.open("wb") as out:
                for part in answer["Body"].iter_chunks(1 << 20):
                    out.write(part)
            moment = answer["LastModified"].timestamp()  # a file of the pool is as old as its publication
            os.utime(new, (moment, moment))
            new.chmod(0o644)
            new.replace(file)
            self._note(mirror, path, answer["ETag"])
            if _is_newest(path):
                wanted[path] = answer["ETag"]

        self._each(download, [path for path, tag in wanted.items() if not self._has(mirror, path, tag)])

    def _has(self, mirror: Path, path: str, tag: str) -> bool:
        """Tell whether the mirror's file is the object with this tag, still untouched."""
        stamp = _stamp(mirror, path, tag)
        return stamp is not None and self._stamps.get(path) == stamp

    def _upload(self, mirror: Path, path: str) -> None:
        content = (mirror / path).read_bytes()
        newest = _is_newest(path)
        condition = ({"IfMatch": self._tags[path]} if path in self._tags else {"IfNoneMatch": "*"}) if newest else {}
        if newest and path in self._tags:
            self._outlast(path)
        try:
            answer = self._put(path, content, **condition)
        except self._refusal as refusal:
            if not _is_unmet(refusal):
                raise
            answer = self._client.get_object(Bucket=self._location.bucket, Key=self._key(path))
            if answer["Body"].read() != content:  # else the first try had succeeded, and its answer was lost
                raise RepositoryError(
                    f"{path} of {self._location} was changed by somebody else meanwhile",
                    hint="the repository is whole; run the same again",
                ) from refusal
        self._note(mirror, path, answer["ETag"])

    def _outlast(self, path: str) -> None:
        """Wait until Last-Modified, in whole seconds, will differ: by it apt knows a newer object."""
        while True:
            try:
                answer = self._client.get_object(Bucket=self._location.bucket, Key=self._key(path))
            except self._refusal as refusal:
                if is_absent(refusal):  # the upload says what is wrong with that
                    return
                raise
            answer["Body"].close()
            now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
            if answer["LastModified"].replace(microsecond=0) < now:
                return
            time.sleep(0.2)

    def _put(self, path: str, content: bytes, **conditions: str) -> Any:
        return self._client.put_object(
            Bucket=self._location.bucket,
            Key=self._key(path),
            Body=content,
            ContentType=_TYPES.get(Path(path).suffix, "application/octet-stream"),
            CacheControl=_LASTING if path.startswith("pool/") or "/by-hash/" in path else _CHANGING,
            **conditions,
        )

    def _note(self, mirror: Path, path: str, tag: str) -> None:
        stamp = _stamp(mirror, path, tag)
        if stamp is not None:
            self._stamps[path] = stamp

    def _write_stamps(self) -> None:
        disk.replace(self._record, format_record(self._stamps, names=True))

    def _take(self, body: bytes, deadline: float) -> None:
        """Write the lock, or take over one that nobody holds any more."""
        while not self._try_put(body, IfNoneMatch="*"):
            held, tag, age = self._read_lock()
            mine = held.get("token") == json.loads(body)["token"]
            if mine:  # the answer to the first try was lost
                self._lock_tag, self._renewed = tag, _read_clock() - age
                break
            if tag and age > self._lease:
                if self._try_put(body, IfMatch=tag):
                    break
            elif tag and time.monotonic() >= deadline:
                raise BusyError(
                    f"the repository {self._location} is in use by process {held.get('owner', 'unknown')}",
                    hint=f"{WAIT_HINT}; the lock of one that died ends by itself, {self._lease:.0f} seconds after it",
                )
            else:
                check_stop()
                time.sleep(0.5 if tag else 0)
        if self._try_put(body, IfNoneMatch="*"):
            self._client.delete_object(Bucket=self._location.bucket, Key=self._key(LOCK))
            raise RepositoryError(
                f"{self._location} does not know conditional writes (If-None-Match), so that it cannot be locked",
                hint="use a store that does: AWS, MinIO, Ceph and others in their newer versions",
            )

    def _try_put(self, body: bytes, **condition: str) -> bool:
        try:
            started = _read_clock()
            self._lock_tag = self._put(LOCK, body, **condition)["ETag"]
            self._renewed = started
        except self._refusal as refusal:
            if _is_unmet(refusal):
                return False
            raise
        return True

    def _read_lock(self) -> tuple[dict[str, Any], str, float]:
        """The lock's content, its ETag, its age in seconds by the store's own clock; nothing when it is gone."""
        try:
            answer = self._client.get_object(Bucket=self._location.bucket, Key=self._key(LOCK))
        except self._refusal as refusal:
            if is_absent(refusal):
                return {}, "", 0
            raise
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        try:
            held = json.loads(answer["Body"].read())
        except (ValueError, RecursionError):
            held = {}
        return (held if isinstance(held, dict) else {}), answer["ETag"], (now - answer["LastModified"]).total_seconds()

    def _renew(self, body: bytes, done: threading.Event) -> None:
        """Write the lock again and again, until it is done or another one has it."""
        while not done.wait(self._lease / 6):
            try:
                if not self._try_put(body, IfMatch=self._lock_tag):
                    self._lost = "another one took it"
                    return
            except Exception as error:
                if _read_clock() - self._renewed > self._lease / 2:
                    self._lost = str(error)
                    return

    def _check_lock(self) -> None:
        """Raise BusyError when the lock may be another's by now, as after a machine's sleep."""
        if self._lost is None and self._lock_tag and _read_clock() - self._renewed > self._lease / 2:
            self._lost = "it was not renewed in time"
        if self._lost is not None:
            raise BusyError(
                f"the lock of {self._location} is lost: {self._lost}",
                hint="the repository is whole; run the same again",
            )

    def _translate_errors(self) -> AbstractContextManager[None]:
        return translate_errors(self._location, RepositoryError)


def _read_clock() -> float:
    """Seconds of a clock that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _is_newest(path: str) -> bool:
    return path.startswith("dists/") and path.endswith(("/InRelease", "/Release"))


def _is_unmet(refusal: Any) -> bool:
    """Tell whether a store refused because a condition is not met, or is being changed in this very moment."""
    status = refusal.response["ResponseMetadata"]["HTTPStatusCode"]
    return status in (409, 412) or is_absent(refusal)


def _stamp(mirror: Path, path: str, tag: str) -> _Stamp | None:
    try:
        state = (mirror / path).stat()
    except FileNotFoundError:
        return None
    return tag, state.st_size, state.st_mtime_ns


def _read_stamps(file: Path) -> dict[str, _Stamp]:
    return read_record(file, dict[str, _Stamp]) or {}  # without any, all is fetched again
