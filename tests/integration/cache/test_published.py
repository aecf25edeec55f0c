"""A published repository gives its builds to another machine, as far as it carries them and InRelease vouches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hapkg.build.content_digest import read_content
from hapkg.build.context import CacheAnswer
from hapkg.build.store import Store
from hapkg.cache.library import SeveralCaches
from hapkg.cache.place import find_place
from hapkg.cache.published import PublishedBuilds
from hapkg.control import SourceName
from hapkg.disk import sha256_file
from hapkg.errors import IntegrityError
from hapkg.repository.change import PublishTarget
from hapkg.repository.keys.signing import KeyChoice, find_key
from hapkg.repository.publishing import publish, refresh
from hapkg.repository.upload import Upload
from tests.support.evidence import INPUTS, KEY, make_documented
from tests.support.harm import lengthen, poison, truncate
from tests.support.packages import BOOKWORM, IDENTITY, serve

SOURCE = SourceName("ha-logic")
VERSION = "1.0-1+ha12.1"


@pytest.fixture(scope="module")
def upload(tmp_path_factory: pytest.TempPathFactory) -> Upload:
    """A build with its documents."""
    return make_documented(tmp_path_factory.mktemp("upload"), VERSION)


class Published:
    """A repository with one build, and another machine that asks it."""

    def __init__(self, root: Path, choice: KeyChoice, state: Path) -> None:
        self.root, self.store = root, Store(root=state)
        self.target = PublishTarget(root=root, identity=IDENTITY, choice=choice, url="https://example.org/apt")
        self.fingerprint = find_key(choice, owner=IDENTITY.key_owner).fingerprint

    @property
    def release(self) -> Path:
        """Its InRelease."""
        return self.root / "dists" / BOOKWORM / "InRelease"

    def open(self, place: str = "", trusted: str = "") -> PublishedBuilds:
        """The repository, as one run on the other machine sees it."""
        named = find_place(place or str(self.root), Path("/"))
        return PublishedBuilds(named, f"{IDENTITY.keyring}.gpg", (trusted or self.fingerprint,), self.store.state)

    def ask(self, place: str = "", trusted: str = "") -> CacheAnswer:
        """The answer of a new run."""
        return self.open(place, trusted).find(KEY, SOURCE, BOOKWORM)

    def locate(self, ending: str) -> Path:
        """A file of the pool."""
        (file,) = [file for file in self.root.glob("pool/**/*") if file.name.endswith(ending)]
        return file


@pytest.fixture
def published(root: Path, key: KeyChoice, upload: Upload, tmp_path: Path) -> Published:
    """A repository with one build."""
    made = Published(root, key, tmp_path / "state")
    publish(made.target, [upload])
    return made


@pytest.fixture
def address(published: Published) -> Iterator[str]:
    """Its address on a web server."""
    with serve(published.root) as url:
        yield url


def test_a_published_build_is_brought_with_all_that_is_published_of_it(
    published: Published, upload: Upload, address: str, tmp_path: Path
) -> None:
    cache = published.open(address)
    assert cache.find("0" * 64, SOURCE, BOOKWORM) == CacheAnswer()
    assert published.open(address).find(KEY, SourceName("ha-other"), BOOKWORM) == CacheAnswer()
    found = cache.find(KEY, SOURCE, BOOKWORM)
    assert found.artifact is not None, found.note
    assert (found.artifact.signer, found.artifact.version) == (published.fingerprint, VERSION)
    assert (found.place, dict(found.artifact.inputs)) == (address.rstrip("/"), INPUTS)
    (tmp_path / "target").mkdir()
    stored = published.store.add_build(cache.bring(found.artifact, tmp_path / "target"), tmp_path / "target")
    published.store.verify(stored)
    given = {file.name: file for file in upload.files}
    for name, digest in stored.files.items():
        assert digest == sha256_file(given[name])
    assert {name for name in given if name.endswith((".deb", ".dsc", ".buildinfo"))} <= stored.files.keys()
    assert {file.name for file in (stored.folder / "documents").iterdir()} == {
        name for name in given if name.endswith(".json")
    }
    contents = {deb.name.split("_")[0]: read_content(deb) for deb in stored.paths(".deb") if "-dbgsym" not in deb.name}
    assert {name: told["digest"] for name, told in stored.packages.items()} == {
        name: content.digest for name, content in contents.items()
    }
    assert "was not built here" in stored.log.read_text()
    assert published.fingerprint in stored.log.read_text()
    assert not list(published.store.state.reused.iterdir())


def test_a_key_that_is_not_trusted_vouches_for_nothing(published: Published) -> None:
    answer = published.ask(trusted="A" * 40)
    assert answer.artifact is None
    assert "no key that build-cache-trust names" in answer.note


def test_a_keyring_with_two_keys_does_not_make_the_other_one_count(
    published: Published, upload: Upload, tmp_path: Path
) -> None:
    """Somebody adds his own key to the keyring, and signs a state of his own with it."""
    other = KeyChoice(home=tmp_path / "other")
    evil = Published(tmp_path / "evil", other, tmp_path / "nothing")
    publish(evil.target, [upload])
    keyring = published.root / f"{IDENTITY.keyring}.gpg"
    keyring.write_bytes(keyring.read_bytes() + (evil.root / keyring.name).read_bytes())
    assert published.ask().artifact is not None
    published.release.write_bytes((evil.release).read_bytes())
    answer = published.ask()
    assert answer.artifact is None
    assert "no good signature of a key that build-cache-trust names" in answer.note


@pytest.mark.parametrize("ending", [".dsc", ".buildinfo", ".provenance.json", "_all.deb"])
@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (poison, "is not the file that its signed index names"),
        (truncate, "is not the file that its signed index names"),
        (lengthen, "has more than"),
        (Path.unlink, "it lacks pool/"),
    ],
)
def test_a_file_that_is_not_the_published_one_is_not_used_and_named(
    published: Published, ending: str, harm: Callable[[Path], None], told: str
) -> None:
    file = next(file for file in sorted(published.root.glob("pool/**/*")) if file.name.endswith(ending))
    harm(file)
    answer = published.ask()
    assert answer.artifact is None
    assert told in answer.note
    assert file.name in answer.note
    assert not [one for one in published.store.state.reused.iterdir() if not one.name.startswith(".new-")]


def test_an_index_that_is_not_the_signed_one_is_not_used(published: Published) -> None:
    for file in published.root.glob("dists/**/source/**/*"):
        if file.is_file():
            poison(file)
    answer = published.ask()
    assert answer.artifact is None
    assert "is not the one that InRelease names" in answer.note


def test_a_state_that_was_put_back_is_refused_once_a_newer_one_was_used(published: Published, tmp_path: Path) -> None:
    old = published.release.read_text()
    date = re.search("^Date: (.*)$", old, re.MULTILINE)
    assert date is not None
    while re.search("^Date: (.*)$", published.release.read_text(), re.MULTILINE)[1] == date[1]:  # type: ignore[index]
        refresh(published.target)
    cache = published.open()
    found = cache.find(KEY, SOURCE, BOOKWORM)
    assert found.artifact is not None
    (tmp_path / "target").mkdir()
    cache.bring(found.artifact, tmp_path / "target")
    assert published.ask().artifact is not None
    published.release.write_text(old)
    answer = published.ask()
    assert answer.artifact is None
    assert "is older than the one that was used before" in answer.note


def test_a_state_that_counts_no_more_is_refused(published: Published, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        """The clock of a machine, some days on."""

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=ahead)

    ahead = 0
    monkeypatch.setattr("hapkg.cache.published.datetime", Later)
    target = published.target
    limited = PublishTarget(
        root=target.root,
        identity=type(IDENTITY)(**{**vars(IDENTITY), "valid_days": 10}),
        choice=target.choice,
        url="https://example.org/apt",
    )
    refresh(limited)
    assert published.ask().artifact is not None
    ahead = 11
    assert "somebody keeps newer states back" in published.ask().note
    ahead = -2
    assert "InRelease is of the future" in published.ask().note


def test_an_unsigned_or_missing_suite_is_told(published: Published, tmp_path: Path) -> None:
    published.release.unlink()
    assert "it has no signed suite bookworm" in published.ask().note
    assert "it has no signed suite bookworm" in published.ask(str(tmp_path / "none")).note


def test_files_that_changed_since_they_were_looked_at_are_not_stored(published: Published, tmp_path: Path) -> None:
    cache = published.open()
    found = cache.find(KEY, SOURCE, BOOKWORM)
    assert found.artifact is not None
    deb = next(published.store.state.reused.glob("*/*.deb"))
    truncate(deb)
    (tmp_path / "target").mkdir()
    with pytest.raises(IntegrityError, match="is not what the repository"):
        cache.bring(found.artifact, tmp_path / "target")
    assert published.ask().artifact is not None, "they are fetched again"


def test_several_places_are_asked_one_after_another(published: Published, tmp_path: Path) -> None:
    nothing = published.open(str(tmp_path / "none"))
    both = SeveralCaches([nothing, published.open()])
    found = both.find(KEY, SOURCE, BOOKWORM)
    assert found.artifact is not None
    (tmp_path / "target").mkdir()
    both.bring(found.artifact, tmp_path / "target")
    assert "it has no signed suite" in SeveralCaches([nothing, nothing]).find(KEY, SOURCE, BOOKWORM).note
