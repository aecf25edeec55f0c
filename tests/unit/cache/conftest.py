"""A store with a build, and the keys of two people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from hapkg.build.plan import make_key
from hapkg.build.store import Artifact, Store
from hapkg.cache.entry import find_blob_path, find_entry_path
from hapkg.cache.library import BuildCache, push
from hapkg.cache.place import FolderPlace
from hapkg.control import SourceName, Suite
from hapkg.disk import sha256_file
from hapkg.host import read_architecture
from hapkg.repository.keys.signing import KeyChoice, SigningKey, find_key

SOURCE, SUITE = SourceName("ha-one"), Suite("bookworm")


@pytest.fixture(scope="package")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[SigningKey, SigningKey]:
    """The key of who may write, and that of somebody else."""
    folder = tmp_path_factory.mktemp("keys")
    names = ("trusted", "other")
    first, second = (find_key(KeyChoice(home=folder / name), owner=f"{name} <{name}@hapkg.invalid>") for name in names)
    return first, second


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A cache in a folder, with one build that was pushed into it."""

    root: Path
    artifact: Artifact
    key: SigningKey
    other: SigningKey
    here: Store
    """The state folder of another machine."""

    @property
    def place(self) -> FolderPlace:
        """The folder."""
        return FolderPlace(self.root)

    @property
    def entry(self) -> Path:
        """The file of the entry."""
        return self.root / find_entry_path(self.artifact.key)

    def blob(self, name: str) -> Path:
        """The file of one of the build's."""
        return self.root / find_blob_path(self.artifact.files[name])

    def open(self, trusted: tuple[str, ...] | None = None) -> BuildCache:
        """The cache, as a run on the other machine sees it."""
        return BuildCache(self.place, (self.key.fingerprint,) if trusted is None else trusted, self.here.state)


def make_build(store: Store, folder: Path, *, text: str = "bytes") -> Artifact:
    """A build in a store."""
    folder.mkdir(parents=True)
    version = "1.2-1+ha12.1"
    for name in (f"ha-one_{version}_amd64.deb", f"ha-one_{version}.dsc", "lintian.txt", "build.log"):
        (folder / name).write_text(f"{text} of {name}")
    inputs = {"upstream": "1.2", "suite": SUITE}
    artifact = Artifact(
        key=make_key(inputs),
        source=SOURCE,
        version=version,
        suite=SUITE,
        architecture=read_architecture(),
        inputs=inputs,
        origin="a test",
        files={file.name: sha256_file(file) for file in folder.iterdir() if file.name != "build.log"},
        seconds={"compile": 1.0},
        folder=folder,
        packages={"ha-one": {"digest": "d", "depends": "libc6"}},
    )
    return store.add_build(artifact, folder)


@pytest.fixture
def shared(tmp_path: Path, keys: tuple[SigningKey, SigningKey]) -> Shared:
    """A cache with one build."""
    artifact = make_build(Store(root=tmp_path / "there"), tmp_path / "made")
    root = tmp_path / "cache"
    push(FolderPlace(root), artifact, keys[0])
    here = Store(root=tmp_path / "here")
    return Shared(root=root, artifact=artifact, key=keys[0], other=keys[1], here=here)
