"""A repository is input: whoever can write there reaches nothing beside it. A case is a line of a table."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hapkg.cli.main import app
from hapkg.control import Suite
from hapkg.disk import remove_tree
from hapkg.errors import HapkgError, MachineError, RepositoryError, UsageError
from hapkg.locations import State
from hapkg.repository.change import Publication, PublishTarget
from hapkg.repository.keys.signing import KeyChoice, export_key, find_key
from hapkg.repository.pruning import prune
from hapkg.repository.publishing import promote, publish, publish_with_keyring, refresh, rollback
from hapkg.repository.remote.location import parse_location
from hapkg.repository.remote.sync import open_repository
from hapkg.repository.snapshots import list_snapshots, read_held
from hapkg.repository.sources_file import ADDRESS
from hapkg.repository.trust import open_keyring
from hapkg.repository.verify import verify
from tests.support.packages import BOOKWORM, IDENTITY, OWN, Builds, make_deb

PRECIOUS = b"not to be touched"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file beside the repository, of hapkg's user."""
    file = tmp_path / "victim"
    file.write_bytes(PRECIOUS)
    return file


OUTSIDE = ("{victim}", "../../victim", "pool/../../../victim", "pool//x", "dists/bookworm/InRelease", "index.html")
"""Lines of a journal that name no file of the pool; {victim} is absolute."""


@pytest.mark.parametrize("line", OUTSIDE)
def test_a_journal_removes_nothing_but_pool_files(
    root: Path, issue: Callable[..., Publication], stacks: Builds, key: KeyChoice, victim: Path, line: str
) -> None:
    issue(stacks(1))
    page = (root / "index.html").read_bytes()
    journal = root / ".hapkg/staging/journal"
    journal.parent.mkdir(exist_ok=True)
    journal.write_text(f"pool/bookworm/gone.deb\n{line.format(victim=victim)}\n")
    with pytest.raises(RepositoryError, match=r"the journal .* names .* does not lie below pool/"):
        refresh(PublishTarget(root=root, identity=IDENTITY, choice=key))
    assert victim.read_bytes() == PRECIOUS
    assert (root / "index.html").read_bytes() == page
    assert (root / "dists/bookworm/InRelease").exists()


def test_a_staging_folder_of_any_depth_is_cleared(
    root: Path, issue: Callable[..., Publication], stacks: Builds, key: KeyChoice, victim: Path
) -> None:
    issue(stacks(1))
    staging = root / ".hapkg/staging"
    staging.mkdir(exist_ok=True)
    (staging / "link").symlink_to(victim)
    below = os.open(staging, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("a", dir_fd=below)
        deeper = os.open("a", os.O_RDONLY, dir_fd=below)
        os.close(below)
        below = deeper
    os.close(below)
    refresh(PublishTarget(root=root, identity=IDENTITY, choice=key))
    assert not staging.exists()
    assert victim.read_bytes() == PRECIOUS


KEYS = ("/{victim}", "../victim", "pool/../../victim", "pool//x", "dists/./x", "pool/a\x07b", f"pool/{251 * 'x'}/y")
"""Names of objects below the repository's prefix; {victim} is absolute, so that the name has two slashes."""


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("change", [False, True], ids=["look", "change"])
def test_an_object_of_a_bucket_is_written_nowhere_but_in_its_copy(
    bucket: Any, tmp_path: Path, victim: Path, name: str, change: bool
) -> None:
    path = name.format(victim=str(victim).lstrip("/"))
    bucket.put_object(Bucket="packages", Key=f"some/apt/{path}", Body=b"attacker")
    place = parse_location("s3://packages/some/apt/", tmp_path)
    with (
        pytest.raises(RepositoryError, match=r"s3://packages/some/apt/? names .* does not lie inside the repository"),
        open_repository(place, State(tmp_path / "state"), change=change),
    ):
        pass
    assert victim.read_bytes() == PRECIOUS


FILES_AND_FOLDERS = (("pool/x", "pool/x/y"), ("dists/bookworm", "dists/bookworm/InRelease"), ("pool/x/y/z", "pool/x"))
"""Pairs of objects that no folder can hold."""


@pytest.mark.parametrize("names", FILES_AND_FOLDERS, ids=str)
def test_an_object_beside_objects_below_its_name_is_refused(
    bucket: Any, tmp_path: Path, names: tuple[str, str]
) -> None:
    for name in names:
        bucket.put_object(Bucket="packages", Key=f"some/apt/{name}", Body=b"attacker")
    place = parse_location("s3://packages/some/apt/", tmp_path)
    with (
        pytest.raises(RepositoryError, match=r"s3://packages/some/apt names .* as a file and as a folder"),
        open_repository(place, State(tmp_path / "state"), change=False),
    ):
        pass


def test_objects_that_are_not_the_repositorys_are_left_alone(
    bucket: Any, tmp_path: Path, key: KeyChoice, stacks: Builds
) -> None:
    bucket.put_object(Bucket="packages", Key="some/apt/favicon.ico", Body=b"icon")
    place = parse_location("s3://packages/some/apt/", tmp_path)
    with open_repository(place, State(tmp_path / "state"), change=True) as copy:
        publish(PublishTarget(root=copy, identity=IDENTITY, choice=key, url="https://example.invalid/"), [stacks(1)])
        assert not (copy / "favicon.ico").exists()
    assert bucket.get_object(Bucket="packages", Key="some/apt/favicon.ico")["Body"].read() == b"icon"


def _change_snapshot(root: Path, **values: object) -> None:
    file = root / ".hapkg/snapshots/bookworm/00000001.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


DIGEST = "a" * 64
SNAPSHOTS = (
    {"indexes": {"../../../victim": DIGEST}},
    {"indexes": {"/etc/passwd": DIGEST}},
    {"indexes": {"main/binary-amd64/Packages": "../" + "a" * 61}},
    {"indexes": {"main/binary-amd64/Packages": 7}},
    {"indexes": ["main"]},
    {"suite": "../x"},
    {"number": 2},
    {"number": "1"},
    {"number": True},
    {"keys": 5},
    {"keys": [5]},
    {"made": "yesterday"},
    {"made": "2024-01-31T12:00:00"},
    {"act": "\x1b[2J"},
    {"by": None},
    {"format": 2},
    {"format": "1"},
    {"format": True},
    {"more": 1},
)


@pytest.mark.parametrize("values", SNAPSHOTS, ids=str)
def test_a_snapshot_of_other_words_is_refused_in_one_sentence(
    root: Path, issue: Callable[..., Publication], stacks: Builds, values: dict[str, object]
) -> None:
    issue(stacks(1))
    _change_snapshot(root, **values)
    with pytest.raises(RepositoryError) as caught:
        list_snapshots(root, BOOKWORM)
    assert caught.value.brief.isprintable()
    assert caught.value.hint


def test_a_snapshot_from_before_formats_had_numbers_is_of_the_first(
    root: Path, issue: Callable[..., Publication], stacks: Builds
) -> None:
    issue(stacks(1))
    file = root / ".hapkg/snapshots/bookworm/00000001.json"
    before, table = list_snapshots(root, BOOKWORM), json.loads(file.read_text())
    assert table.pop("format") == 1
    file.write_text(json.dumps(table))
    assert list_snapshots(root, BOOKWORM) == before


REMOVED = (
    f"{DIGEST}  ../victim",
    f"{DIGEST}  /etc/passwd",
    "x  pool/a.deb",
    f"{DIGEST}  dists/x",
    "\udc80".encode("utf-8", "surrogatepass").hex(),
)


@pytest.mark.parametrize("line", REMOVED)
def test_the_list_of_removed_files_names_pool_files_alone(
    root: Path, issue: Callable[..., Publication], stacks: Builds, line: str
) -> None:
    issue(stacks(1))
    (root / ".hapkg/removed").write_text(f"{line}\n")
    with pytest.raises(RepositoryError, match=r"removed (names|has) "):
        read_held(root, BOOKWORM)


STANZAS = (
    ("Filename: ", "Filename: /etc/passwd#"),
    ("Filename: pool/", "Filename: pool/../../"),
    ("Filename: pool/", "Filename: dists/"),
    ("Size: ", "Size: -"),
    ("SHA256: ", "SHA256: x"),
    ("SHA256: ", "Sha257: "),
)
"""Texts of the unsigned repository's index and their replacements."""


@pytest.mark.parametrize(("old", "new"), STANZAS)
def test_an_index_names_pool_files_alone(root: Path, stacks: Builds, tmp_path: Path, old: str, new: str) -> None:
    import hashlib

    from hapkg.repository.indexes import parse_index, read_entries

    publish(
        PublishTarget(root=root, identity=IDENTITY, choice=KeyChoice(home=tmp_path / "none", unsigned=True)),
        [stacks(1)],
    )
    (index,) = root.glob("dists/bookworm/main/binary-*/Packages")
    text = index.read_text()
    assert old in text
    with pytest.raises(RepositoryError) as caught:
        [read_entries(package.fields) for package in parse_index(text.replace(old, new))]
    assert caught.value.brief.isprintable()
    assert hashlib.sha256(text.encode()).hexdigest() in (root / "dists/bookworm/Release").read_text()


def forge(file: Path) -> None:
    """Change a signed text and keep its signature."""
    file.write_bytes(file.read_bytes().replace(b"\nLabel: ", b"\nLabel: owned ", 1))


def put_before(file: Path) -> None:
    """Put a message of one's own before the signed one."""
    file.write_bytes(b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nSuite: x\n" + file.read_bytes())


SIGNED: dict[str, Callable[[Path], object]] = {
    "changed": forge,
    "another message before": put_before,
    "another message after": lambda file: file.write_bytes(file.read_bytes() * 2),
    "empty": lambda file: file.write_bytes(b""),
    "not signed": lambda file: file.write_bytes((file.parent / "Release").read_bytes()),
    "taken away": lambda file: file.unlink(),
}
"""Acts on the InRelease of a suite."""


@pytest.mark.parametrize("act", SIGNED)
def test_nothing_is_signed_again_that_ones_own_keys_have_not_signed(
    root: Path, issue: Callable[..., Publication], stacks: Builds, key: KeyChoice, act: str
) -> None:
    issue(stacks(1))
    file = root / "dists/bookworm/InRelease"
    SIGNED[act](file)
    before = file.read_bytes() if file.exists() else None
    target = PublishTarget(root=root, identity=IDENTITY, choice=key)
    changes: tuple[Callable[[], object], ...] = (lambda: refresh(target), lambda: issue(stacks(2)))
    for change in changes:
        with pytest.raises(RepositoryError, match="suite bookworm of ") as refused:
            change()
        assert refused.value.hint
        assert (file.read_bytes() if file.exists() else None) == before


LINKS = (
    ".index.html.new",
    "index.html",
    ".ha-stack.sources.new",
    ".ha-stack-bookworm.sources.new",
    "ha-stack.sources",
    ".hapkg-test-archive-keyring.gpg.new",
    "hapkg-test-archive-keyring.asc",
    ".hapkg/.removed.new",
    ".hapkg/snapshots/bookworm/.00000002.json.new",
    ".hapkg/page/.contents.json.new",
    ".hapkg/staging/journal.new",
    ".hapkg/staging/Release-bookworm",
    ".hapkg/staging/dists/bookworm/InRelease",
    "dists/bookworm/Release",
)
"""Names that hapkg writes in a repository."""


READ = (
    "dists/bookworm/InRelease",
    "dists/bookworm/Release",
    f"dists/bookworm/main/binary-{OWN}/Packages",
    ".hapkg/address",
    ".hapkg/lock",
    ".hapkg/removed",
    ".hapkg/staging/journal",
    ".hapkg/snapshots/bookworm/00000001.json",
    ".hapkg/page/contents.json",
    "changelogs",
    "index.html",
    "ha-stack.sources",
    "hapkg-test-archive-keyring.gpg",
)
"""Files that hapkg reads in a repository."""
KINDS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "100 MB": lambda file: file.write_bytes(bytes(100_000_000)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", READ)
def test_a_file_of_another_kind_or_without_measure_is_one_error_or_none(
    root: Path, issue: Callable[..., Publication], stacks: Builds, key: KeyChoice, name: str, kind: str
) -> None:
    issue(stacks(1))
    file, saved = root / name, root.with_name("saved")
    file.parent.mkdir(exist_ok=True)
    if file.exists():
        file.rename(saved)
    KINDS[kind](file)
    target = PublishTarget(root=root, identity=IDENTITY, choice=key)

    def look() -> tuple[str, ...]:
        with open_keyring(key) as keyring:
            return verify(root, keyring).faults

    acts: tuple[Callable[[], object], ...] = (
        lambda: list_snapshots(root, BOOKWORM),
        look,
        lambda: refresh(target),
    )
    signal.alarm(60)  # nothing waits for a FIFO's other end
    for act in acts:
        try:
            act()
        except HapkgError as error:
            assert error.brief.isprintable()
            assert error.hint
    signal.alarm(0)
    if file.exists() and not (file.is_file() and file.stat().st_size < 100_000_000):
        remove_tree(file)
        if saved.exists():
            saved.rename(file)
    refresh(target)
    assert look() == ()


@pytest.mark.parametrize("target", ["a file", "nothing"])
def test_links_at_names_that_hapkg_writes_are_not_followed(
    root: Path, issue: Callable[..., Publication], stacks: Builds, victim: Path, target: str
) -> None:
    issue(stacks(1))
    victim.chmod(0o600)
    other = victim.with_name("other")
    for name in LINKS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(victim if target == "a file" else other)
    (root / "dists/bookworm/Release").unlink()
    issue(stacks(2))
    assert victim.read_bytes() == PRECIOUS
    assert victim.stat().st_mode & 0o777 == 0o600
    assert not other.exists()
    for name in ("index.html", "ha-stack.sources", "hapkg-test-archive-keyring.asc"):
        assert not (root / name).is_symlink()
    assert b"1.2-2+ha12.0" in (root / "index.html").read_bytes()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", [".hapkg/lock", ".hapkg", "dists", "pool"])
def test_a_link_in_the_place_of_a_lock_or_a_folder_is_refused(
    root: Path, issue: Callable[..., Publication], stacks: Builds, key: KeyChoice, victim: Path, name: str, shared: bool
) -> None:
    issue(stacks(1))
    moved = victim.with_name("moved")
    (root / name).rename(moved)
    before = moved.read_bytes() if moved.is_file() else b""
    (root / name).symlink_to(moved)
    with pytest.raises((RepositoryError, MachineError), match=r"is a symbolic link|is no folder") as refused:
        refresh(PublishTarget(root=root, identity=IDENTITY, choice=key, shared=shared))
    assert refused.value.hint
    assert not moved.is_file() or moved.read_bytes() == before


@pytest.mark.parametrize("name", ["pool/bookworm", "pool/bookworm/main", "pool/bookworm/main/h/ha-stack"])
def test_a_link_in_the_place_of_a_folder_of_the_pool_is_not_followed(
    root: Path, issue: Callable[..., Publication], stacks: Builds, key: KeyChoice, victim: Path, name: str
) -> None:
    issue(stacks(1))
    folder = victim.with_name("folder")
    (root / name).rename(folder)
    (root / name).symlink_to(folder)
    before = sorted(folder.rglob("*"))
    target = PublishTarget(root=root, identity=IDENTITY, choice=key, shared=True)
    with pytest.raises(RepositoryError, match="is no folder"):
        publish(target, [stacks(2)])
    prune(target, keep=1, days=0, at_once=True)
    assert sorted(folder.rglob("*")) == before


OTHERS: dict[str, Callable[[Path], object]] = {
    "belongs to user nobody": lambda folder: os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1),
    "is writable for everybody": lambda folder: folder.chmod(0o777),
    "is writable for its group": lambda folder: folder.chmod(0o2775),
}
"""Complaints about a folder, and the act that causes each."""


@pytest.mark.parametrize("said", OTHERS)
@pytest.mark.parametrize("name", [".", ".hapkg", "pool", "dists"])
def test_a_repository_that_others_can_write_is_changed_only_when_that_is_said(
    root: Path, issue: Callable[..., Publication], stacks: Builds, key: KeyChoice, said: str, name: str
) -> None:
    issue(stacks(1))
    OTHERS[said](root / name)
    target = PublishTarget(root=root, identity=IDENTITY, choice=key)
    with pytest.raises(RepositoryError, match=f"{said}, who can change what you sign") as refused:
        refresh(target)
    assert "--shared" in refused.value.hint
    assert refresh(replace(target, shared=True)).written == (BOOKWORM,)


def test_verify_believes_no_key_that_lies_in_the_repository(
    root: Path, issue: Callable[..., Publication], stacks: Builds, key: KeyChoice, tmp_path: Path
) -> None:
    other = KeyChoice(home=tmp_path / "other")
    theirs = issue(stacks(1), choice=other).keyring
    for choice, file, good in (
        (key, None, False),
        (other, None, True),
        (key, theirs, True),
        (key, theirs.with_suffix(".asc"), True),
    ):
        with open_keyring(choice, file) as keyring:
            report = verify(root, keyring)
        assert (report.faults == ()) == good, (choice, file)
        assert (find_key(choice if file is None else other, owner="").fingerprint,) == report.keys
    with open_keyring(KeyChoice(home=tmp_path / "none")) as keyring:
        assert keyring is None
        assert verify(root, keyring).faults


FRONT: dict[str, Callable[[Path, bytes], object]] = {
    "keyring": lambda root, theirs: (root / "hapkg-test-archive-keyring.gpg").write_bytes(theirs),
    "armored keyring": lambda root, theirs: (root / "hapkg-test-archive-keyring.asc").write_bytes(theirs),
    "sources": lambda root, theirs: (root / "ha-stack.sources").write_bytes(b"Types: deb\nSigned-By:\n " + theirs),
    "page": lambda root, theirs: (root / "index.html").write_bytes(theirs),
    "note": lambda root, theirs: _plant(root / ".hapkg/signed/.keyring", theirs),
}
"""Places of a repository where somebody puts a key of his own."""


def _plant(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


@pytest.mark.parametrize("place", FRONT)
def test_no_key_that_lies_in_the_repository_is_handed_out(
    root: Path, issue: Callable[..., Publication], stacks: Builds, key: KeyChoice, tmp_path: Path, place: str
) -> None:
    issue(stacks(1))
    names = ("hapkg-test-archive-keyring.gpg", "hapkg-test-archive-keyring.asc", "ha-stack.sources", "index.html")

    def look() -> dict[str, bytes]:
        return {name: re.sub(rb"Published .*;", b"", (root / name).read_bytes()) for name in names}

    before = look()
    theirs = find_key(KeyChoice(home=tmp_path / "theirs"), owner="Mallory <mallory@user.invalid>")
    FRONT[place](root, export_key(theirs, armored=True))
    refresh(PublishTarget(root=root, identity=IDENTITY, choice=key))
    assert look() == before


def test_a_keyring_package_that_was_put_into_the_pool_is_not_published(
    root: Path, stacks: Builds, key: KeyChoice, tmp_path: Path
) -> None:
    site = PublishTarget(root=root, identity=IDENTITY, choice=key)
    add = partial(publish_with_keyring, site, [stacks(1)], [BOOKWORM], package="ha-archive-keyring")
    add()
    (package,) = root.glob("pool/**/ha-archive-keyring_*.deb")
    shutil.rmtree(root)
    planted = make_deb(tmp_path, "ha-archive-keyring", package.name.split("_")[1])
    package.parent.mkdir(parents=True)
    shutil.move(planted, package)
    with pytest.raises(RepositoryError, match=r"ha-archive-keyring_.* is already published with other bytes"):
        add()
    assert not (root / "dists").exists()


ADDRESSES = (
    "http://x y/",
    "https://x/\x1b[2J",
    "javascript:alert(1)",
    "http://",
    "https://u:p@host/",
    "https://host/?q",
    "s3://bucket/apt",
    "/srv",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_in_the_repository_is_checked_as_one(
    root: Path, issue: Callable[..., Publication], stacks: Builds, address: str
) -> None:
    issue(stacks(1), url="https://example.org/apt")
    for file in (*root.glob("*.sources"), root / ADDRESS):
        file.write_text(file.read_text().replace("https://example.org/apt", address))
    with pytest.raises(RepositoryError, match="as the repository's address") as refused:
        issue(stacks(2))
    assert refused.value.brief.isprintable()
    assert "URIs: https://new.example/\n" in issue(stacks(2), url="https://new.example/").sources[0].read_text()


@pytest.mark.parametrize("address", [*ADDRESSES, "ha.example.org/apt", "https//ha"])
def test_an_address_on_the_command_line_is_checked_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """It is looked at before anything else: there is nothing to publish here."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.hapkg]\nmaintainer = "{IDENTITY.maintainer}"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HAPKG_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UsageError) as refused:
        app(["publish", "--repo", str(tmp_path / "apt"), "--url", address], standalone_mode=False)
    assert refused.value.brief == f"--url {address!a} is no address of a repository"
    assert refused.value.hint == "say --url https://HOST/FOLDER/"
    assert [file.name for file in tmp_path.iterdir()] == ["pyproject.toml"]


def test_no_other_file_of_the_repository_gives_its_address(
    root: Path, issue: Callable[..., Publication], stacks: Builds
) -> None:
    issue(stacks(1), url="https://example.org/apt")
    other = "Types: deb\nURIs: https://evil.example/\nSuites: bookworm\n"
    for name in ("debian.sources", "ha-stack-gone.sources", "ha-stack.sources"):
        (root / name).write_text(other)
    assert "URIs: https://example.org/apt\n" in issue(stacks(2)).sources[0].read_text()
    (root / ADDRESS).unlink()  # as an older hapkg left it
    (root / "debian.sources").write_text(other)
    assert issue(stacks(2)).url == "https://example.org/apt"


def test_the_address_of_a_stick_is_remembered(root: Path, issue: Callable[..., Publication], stacks: Builds) -> None:
    issue(stacks(1), url="file:/mnt/stick/apt")
    published = issue(stacks(2))
    assert published.url == "file:/mnt/stick/apt"
    assert "URIs: file:/mnt/stick/apt\n" in published.sources[0].read_text()


NO_SUITES = ("bookworm-", "bookworm-A", "bookworm-a b", "bookworm-../x", "bookworm-a-b", "bookworm-\n")


@pytest.mark.parametrize("name", NO_SUITES)
def test_nothing_is_promoted_to_what_is_no_name_of_a_suite(
    root: Path, issue: Callable[..., Publication], stacks: Builds, key: KeyChoice, name: str
) -> None:
    issue(stacks(1))
    with pytest.raises(RepositoryError, match="is no name of a suite"):
        promote(PublishTarget(root=root, identity=IDENTITY, choice=key), BOOKWORM, Suite(name))
    assert [folder.name for folder in (root / "dists").iterdir()] == ["bookworm"]


def _forge_digest(file: Path) -> None:
    table = json.loads(file.read_text())
    path = min(table["indexes"])
    file.write_text(json.dumps({**table, "indexes": {**table["indexes"], path: DIGEST}}))


SNAPSHOT_ACTS: dict[str, Callable[[Path], object]] = {
    "another state": _forge_digest,
    "no signature": lambda file: file.with_suffix(".signed").unlink(),
    "a forged signature": lambda file: forge(file.with_suffix(".signed")),
    "the signature of another state": lambda file: shutil.copy(
        file.parents[3] / "dists/bookworm/InRelease", file.with_suffix(".signed")
    ),
}
"""Acts on the file of a snapshot, or on what proves it."""


@pytest.mark.parametrize("act", SNAPSHOT_ACTS)
def test_a_snapshot_that_ones_own_keys_have_not_signed_does_not_become_real(
    root: Path, issue: Callable[..., Publication], stacks: Builds, key: KeyChoice, act: str
) -> None:
    issue(stacks(1))
    issue(stacks(2))
    target = PublishTarget(root=root, identity=IDENTITY, choice=key)
    SNAPSHOT_ACTS[act](root / ".hapkg/snapshots/bookworm/00000001.json")
    before = (root / "dists/bookworm/InRelease").read_bytes()
    changes: tuple[Callable[[], object], ...] = (
        lambda: rollback(target, BOOKWORM, 1),
        lambda: promote(target, BOOKWORM, Suite("bookworm-old"), 1),
    )
    for change in changes:
        with pytest.raises(RepositoryError, match="snapshot 1 of bookworm is nothing that your keys signed") as refused:
            change()
        assert "--adopt" in refused.value.hint
    assert (root / "dists/bookworm/InRelease").read_bytes() == before
    if act != "another state":
        assert rollback(replace(target, adopt=True), BOOKWORM, 1).written == (BOOKWORM,)
