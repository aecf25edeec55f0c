"""Files that travel from machine to machine: put into a place by their content, and brought from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from hapkg.cache.entry import CachedFile, find_blob_path
from hapkg.cache.place import Place, WritablePlace
from hapkg.disk import sha256_file
from hapkg.errors import FetchError, IntegrityError


def put_files(place: WritablePlace, files: Iterable[Path]) -> dict[str, CachedFile]:
    """Put files into a place; their digests and sizes by name."""
    put: dict[str, CachedFile] = {}
    for path in files:
        put[path.name] = file = CachedFile(sha256=sha256_file(path), size=path.stat().st_size)
        place.write(find_blob_path(file.sha256), path)
    return put


def bring_files(place: Place, files: Mapping[str, CachedFile], folder: Path, *, what: str) -> None:
    """Bring files into a folder under their names; what is the subject of the sentences about those that are wrong.

    Raises FetchError for one that is absent, IntegrityError for one of another content, which is not left there.
    """
    for name, file in files.items():
        wanted = folder / name
        if not place.read(find_blob_path(file.sha256), wanted, file.size):
            raise FetchError(f"{what} lacks {name}")
        if wanted.stat().st_size != file.size or sha256_file(wanted) != file.sha256:
            wanted.unlink()
            raise IntegrityError(f"{what} has another {name} than it names")
