"""A build cache in an S3 bucket. Objects are whole or not there at all, so that no lock is needed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from hapkg.disk import sha256_file
from hapkg.errors import FetchError
from hapkg.programs.process import check_stop
from hapkg.repository.paths import is_inside
from hapkg.repository.remote.bucket_client import connect, find_refusal, is_absent, translate_errors
from hapkg.repository.remote.location import BucketFolder

_BLOCK = 1 << 20
_NOT_FOUND = 404
_NOTE = "sha256"
"""The word of an object's metadata for its digest."""


class BucketPlace:
    """A WritablePlace of objects whose keys begin alike. The bucket is reached when it is first needed."""

    def __init__(self, location: BucketFolder) -> None:
        self._location = location
        self._lock = threading.Lock()
        self._connected: Any = None

    def __str__(self) -> str:
        return str(self._location)

    def read(self, path: str, target: Path, most_bytes: int) -> bool:
        """See Place. An object that says that it is too large is not fetched."""
        size = 0
        with self._translate_errors():
            try:
                answer = self._client.get_object(**self._name(path))
            except find_refusal() as refusal:
                if is_absent(refusal):
                    return False
                raise
            with closing(answer["Body"]) as body, target.open("wb") as copy:
                if answer["ContentLength"] <= most_bytes:
                    for block in body.iter_chunks(_BLOCK):
                        check_stop()
                        size += copy.write(block)
                        if size > most_bytes:
                            break
        if max(size, answer["ContentLength"]) > most_bytes:
            raise FetchError(f"{path} of {self} has more than {most_bytes:,} bytes")
        return True

    def write(self, path: str, file: Path) -> None:
        """See WritablePlace. A file whose name is its digest is not sent again where the store holds it."""
        digest, size = sha256_file(file), file.stat().st_size
        if path.endswith(f"/{digest}") and self.holds(path, digest, size):
            self.touch(path)
            return
        with self._translate_errors():
            self._client.put_object(**self._name(path), Body=file.read_bytes(), Metadata={_NOTE: digest})

    def holds(self, path: str, sha256: str, size: int) -> bool:
        """See WritablePlace. An object is known by its size and the digest that its writer noted."""
        answer = self._look(path)
        return answer is not None and answer["ContentLength"] == size and answer["Metadata"].get(_NOTE) == sha256

    def list(self, folder: str) -> Iterator[tuple[str, float]]:
        """See WritablePlace. Objects of names that hapkg never gives are nobody's business."""
        start = f"{self._location.prefix}{folder}/"
        with self._translate_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._location.bucket, Prefix=start)
            found = [(entry["Key"], entry["LastModified"]) for page in pages for entry in page.get("Contents", ())]
        for key, moment in found:
            path = key.removeprefix(self._location.prefix)
            if is_inside(path):
                yield path, moment.timestamp()

    def touch(self, path: str) -> None:
        """See WritablePlace. An object's date is that of its last copy: it is copied onto itself."""
        name, answer = self._name(path), self._look(path)
        if answer is None:
            return
        with self._translate_errors():
            try:
                self._client.copy_object(
                    **name, CopySource=name, MetadataDirective="REPLACE", Metadata=answer["Metadata"]
                )
            except find_refusal() as refusal:
                if not is_absent(refusal):
                    raise

    def remove(self, path: str) -> None:
        """See WritablePlace."""
        with self._translate_errors():
            self._client.delete_object(**self._name(path))

    def _look(self, path: str) -> Any:
        """Facts of an object; None where there is none."""
        with self._translate_errors():
            try:
                return self._client.head_object(**self._name(path))
            except find_refusal() as refusal:
                if refusal.response["ResponseMetadata"]["HTTPStatusCode"] == _NOT_FOUND:
                    return None
                raise

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._connected is None:
                self._connected = connect(self._location, FetchError)
            return self._connected

    def _name(self, path: str) -> dict[str, str]:
        return {"Bucket": self._location.bucket, "Key": self._location.prefix + path}

    def _translate_errors(self) -> AbstractContextManager[None]:
        return translate_errors(self._location, FetchError)
