"""The repository, with real programs: dpkg-deb, dpkg-source and apt-ftparchive feed it, apt and gpg judge it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import lzma
import os
import random
import re
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import pytest

from hapkg import disk
from hapkg.control import BinaryName, SourceName, Suite, read_stanzas, split_stanzas
from hapkg.errors import BusyError, MachineError, RepositoryError
from hapkg.programs import launch
from hapkg.repository import index_merge, indexes, publishing, snapshots, staging, transaction
from hapkg.repository.change import PublishTarget
from hapkg.repository.indexes import Pool, PublishedSource, read_pool
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.sources_file import make_sources
from hapkg.repository.upload import Upload
from tests.support.machine import wait_until
from tests.support.packages import (
    BOOKWORM,
    IDENTITY,
    LOGIC,
    OWN,
    TRIXIE,
    Builds,
    Client,
    Issue,
    fork,
    make_deb,
    make_upload,
    read_index,
    run,
    serve,
    take_snapshot,
    verify_here,
)

# What users get


@pytest.mark.parametrize("scheme", ["file", "http"])
def test_apt_installs_from_the_ready_sources_file(
    scheme: str, root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client]
) -> None:
    with serve(root) if scheme == "http" else contextlib.nullcontext("") as url:
        publication = issue(builds(1), url=url)
        assert publication.sources == (root / "ha-stack.sources", root / "ha-stack-bookworm.sources")
        machine = client(publication.sources[0].read_text())
        machine.update()
        assert machine.candidate("ha-stack") == "1.2-1+ha12.0"
        simulated = machine.apt("apt-get", "install", "--simulate", "ha-stack")
        assert re.findall(r"^Inst (\S+) \((\S+) (.*?) \[", simulated, re.MULTILINE) == [
            ("libha-logic1", "1.2-1+ha12.0", f"{IDENTITY.label}:bookworm"),
            ("ha-stack", "1.2-1+ha12.0", f"{IDENTITY.label}:bookworm"),
        ]
        machine.apt("apt-get", "download", "libha-logic1")
    (downloaded,) = machine.folder.glob("got/*.deb")
    (built,) = [file for file in builds(1).files if file.name.startswith("libha-logic1_")]
    assert downloaded.read_bytes() == built.read_bytes()


def test_apt_fetches_and_unpacks_the_source(issue: Issue, builds: Builds, client: Callable[[str], Client]) -> None:
    sources = issue(builds(1)).sources[0].read_text()
    machine = client(sources.replace("Types: deb", "Types: deb-src"))
    machine.update()
    machine.apt("apt-get", "source", "ha-logic")
    assert (machine.folder / "got" / "ha-logic-1.2" / "README").read_text() == "upstream\n"


def test_debug_symbols_are_a_component_of_their_own(
    root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client]
) -> None:
    sources = issue(builds(1)).sources[0].read_text()
    (symbols,) = root.glob("pool/**/*-dbgsym_*")
    assert symbols.parent == root / "pool/bookworm/debug/h/ha-logic"
    without, having = client(sources), client(sources.replace("Components: main", "Components: main debug"))
    without.update()
    having.update()
    assert without.candidate("libha-logic1-dbgsym") == ""
    assert having.candidate("libha-logic1-dbgsym") == "1.2-1+ha12.0"


def test_an_upgrade_is_seen_by_a_machine_that_knows_the_version_before(
    issue: Issue, builds: Builds, client: Callable[[str], Client]
) -> None:
    machine = client(issue(builds(1)).sources[0].read_text())
    machine.update()
    for number in (2, 3):
        issue(builds(number))
        machine.update()
        assert machine.candidate("ha-stack") == f"1.2-{number}+ha12.0"


def test_packages_say_what_dpkg_deb_says(root: Path, issue: Issue, builds: Builds) -> None:
    issue(builds(1))
    stanzas = [
        stanza
        for component in ("main", "debug")
        for stanza in read_index(root / f"dists/bookworm/{component}/binary-{OWN}/Packages")
    ]
    assert len(stanzas) == 3
    for stanza in stanzas:
        file = root / stanza["Filename"]
        fields = dict(re.findall(r"^(\S+): ?(.*(?:\n .*)*)", run("dpkg-deb", "-f", file), re.MULTILINE))
        assert {name: stanza.get(name) for name in fields} == fields
        assert stanza["SHA256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert int(stanza["Size"]) == file.stat().st_size


def test_the_fast_reader_of_indexes_agrees_with_python_debian(root: Path, issue: Issue, builds: Builds) -> None:
    issue(builds(1))
    issue(builds(2))
    folder = root / "dists/bookworm"
    for name in ("Release", "main/source/Sources", f"main/binary-{OWN}/Packages"):
        text = (folder / name).read_text()
        assert list(split_stanzas(text)) == list(read_stanzas(text)) != []


def test_every_architecture_found_has_an_index_with_the_packages_for_all(
    root: Path, issue: Issue, tmp_path: Path
) -> None:
    files = (make_deb(tmp_path, "ha-a", "1", architecture="riscv64"), make_deb(tmp_path, "ha-b", "1"))
    issue(Upload(suite=BOOKWORM, source=SourceName("ha-a"), files=files))
    names = {
        folder.name: [stanza["Package"] for stanza in read_index(folder / "Packages")]
        for folder in (root / "dists/bookworm/main").glob("binary-*")
    }
    assert {name: "ha-b" in packages for name, packages in names.items()} == {
        f"binary-{OWN}": True,
        "binary-riscv64": True,
    }
    assert "ha-a" in names["binary-riscv64"]
    assert read_pool(root, BOOKWORM).architectures == tuple(sorted((OWN, "riscv64")))


def test_compressed_and_hashed_forms_hold_the_same_index(root: Path, issue: Issue, builds: Builds) -> None:
    issue(builds(1))
    folder = root / "dists/bookworm"
    for plain in (folder / f"main/binary-{OWN}/Packages", folder / "main/source/Sources"):
        content = plain.read_bytes()
        assert content
        assert gzip.decompress(plain.with_name(f"{plain.name}.gz").read_bytes()) == content
        assert lzma.decompress(plain.with_name(f"{plain.name}.xz").read_bytes()) == content
    named = re.findall(r"^ (\w{64}) +(\d+) (\S+)$", (folder / "Release").read_text(), re.MULTILINE)
    assert len(named) == 18
    for digest, size, path in named:
        for file in (folder / path, (folder / path).parent / "by-hash/SHA256" / digest):
            assert hashlib.sha256(file.read_bytes()).hexdigest() == digest
            assert file.stat().st_size == int(size)


def test_release_names_the_publisher_and_the_suite(root: Path, issue: Issue, builds: Builds) -> None:
    issue(builds(1))
    (stanza,) = read_index(root / "dists/bookworm/Release")
    del stanza["Date"], stanza["SHA256"]
    assert stanza == {
        "Acquire-By-Hash": "yes",
        "Architectures": OWN,
        "Changelogs": "no",
        "Codename": "bookworm",
        "Components": "main debug",
        "Description": f"{IDENTITY.label} for bookworm",
        "Label": IDENTITY.label,
        "Origin": "Hapkg Test",
        "Snapshots": "no",
        "Suite": "bookworm",
    }


def test_contents_say_which_package_brings_a_file(root: Path, issue: Issue, builds: Builds) -> None:
    issue(builds(1))
    lines = (root / f"dists/bookworm/main/Contents-{OWN}").read_text().splitlines()
    assert [line.split() for line in lines] == [
        ["opt/ha-stack", "ha-stack"],
        ["opt/libha-logic1", "libha-logic1"],
    ]


def test_a_state_ends_when_the_identity_says_so_and_is_renewed_in_time(
    root: Path,
    issue: Issue,
    builds: Builds,
    client: Callable[[str], Client],
    key: KeyChoice,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    identity = replace(IDENTITY, valid_days=10)
    machine = client(issue(builds(1), identity=identity).sources[0].read_text())
    machine.update()

    def read_dates() -> list[datetime]:
        (stanza,) = read_index(root / "dists/bookworm/Release")
        return [parsedate_to_datetime(stanza[name]) for name in ("Date", "Valid-Until")]

    made, end = read_dates()
    assert abs(end - made - timedelta(days=10)) < timedelta(minutes=1)
    assert issue(identity=identity).unchanged == (BOOKWORM,)
    make, site = indexes.make_release, PublishTarget(root=root, identity=identity, choice=key)

    def sign_for(seconds: int) -> None:
        """Sign the suite for less time than the identity says."""

        def make_short(folder: Path, suite: Suite, fields: Mapping[str, str]) -> bytes:
            return make(folder, suite, {**fields, "ValidTime": str(seconds)})

        with monkeypatch.context() as patched:
            patched.setattr(staging, "make_release", make_short)
            publishing.refresh(site)

    sign_for(4 * 86400)
    assert issue(identity=identity).written == (BOOKWORM,)
    before = snapshots.list_snapshots(root, BOOKWORM)
    time.sleep(1.1)
    assert publishing.refresh(site).written == (BOOKWORM,)
    assert read_dates()[1] > end
    assert snapshots.list_snapshots(root, BOOKWORM) == before
    machine.update()
    sign_for(1)
    wait_until(lambda: bool(machine.refuses()), "end of what is valid for a second", seconds=60)


def test_the_short_sources_file_stays_with_the_suite_that_was_there_first(
    root: Path, issue: Issue, builds: Builds, tmp_path: Path
) -> None:
    issue(builds(1))
    assert (root / "ha-stack.sources").read_text() == (root / "ha-stack-bookworm.sources").read_text()
    other = make_upload(tmp_path / "trixie", "1.2-1+ha13.0", suite=TRIXIE)
    publication = issue(other)
    assert publication.sources == (root / "ha-stack-trixie.sources", root / "ha-stack-bookworm.sources")
    assert (publication.written, publication.unchanged) == ((TRIXIE,), (BOOKWORM,))
    assert "Suites: trixie\n" in (root / "ha-stack-trixie.sources").read_text()
    issue(other, url="https://example.org/apt")  # what it says is brought up to date as the others are
    assert "URIs: https://example.org/apt\nSuites: bookworm\n" in (root / "ha-stack.sources").read_text()
    assert (root / "ha-stack.sources").read_text() == (root / "ha-stack-bookworm.sources").read_text()


def test_of_suites_that_came_at_once_no_short_sources_file_tells_one(
    root: Path, issue: Issue, builds: Builds, tmp_path: Path
) -> None:
    other = make_upload(tmp_path / "trixie", "1.2-1+ha13.0", suite=TRIXIE)
    publication = issue(builds(1), other)
    assert not (root / "ha-stack.sources").exists()
    assert list(publication.commands) == [BOOKWORM, TRIXIE]
    for suite, commands in publication.commands.items():
        assert shlex.split(commands[0])[-2:] == [
            str(root / f"ha-stack-{suite}.sources"),
            "/etc/apt/sources.list.d/ha-stack.sources",
        ]


def test_a_short_sources_file_of_a_suite_that_is_not_published_goes(
    root: Path, issue: Issue, builds: Builds, tmp_path: Path
) -> None:
    issue(builds(1), make_upload(tmp_path / "trixie", "1.2-1+ha13.0", suite=TRIXIE))
    (root / "ha-stack.sources").write_text((root / "ha-stack-trixie.sources").read_text().replace("trixie", "sid"))
    issue(builds(2))
    assert not (root / "ha-stack.sources").exists()


def test_a_sources_file_carries_the_key() -> None:
    armored = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n"
    assert make_sources("http://127.0.0.1/", BOOKWORM, armored) == (
        "# For source packages add deb-src to Types; for debug symbols add debug to Components.\n"
        "Types: deb\nURIs: http://127.0.0.1/\nSuites: bookworm\nComponents: main\nSigned-By:\n"
        " -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END PGP PUBLIC KEY BLOCK-----\n"
    )


def test_published_files_are_readable_for_everybody(root: Path, issue: Issue, builds: Builds) -> None:
    before = os.umask(0o077)
    try:
        issue(builds(1))
    finally:
        os.umask(before)
    for path in (root, *root.rglob("*")):
        if ".hapkg" not in path.parts:
            assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


# Signatures


@pytest.mark.parametrize("path", [f"main/binary-{OWN}/Packages", "InRelease"])
def test_apt_refuses_a_repository_with_tampered_files(
    path: str, root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client]
) -> None:
    machine = client(issue(builds(1)).sources[0].read_text())
    machine.update()
    target = root / "dists/bookworm" / path
    for file in (target, *target.parent.glob(f"{target.name}.*"), *target.parent.glob("by-hash/*/*")):
        content = file.read_bytes()
        file.write_bytes(content.replace(b"ha-stack", b"ha-stuck").replace(b"Suite: b", b"Suite: c") + b"\n")
    assert machine.refuses()


def test_another_key_is_refused_before_it_locks_out_every_node(
    root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client], tmp_path: Path
) -> None:
    publication = issue(builds(1))
    before = take_snapshot(root)
    other = KeyChoice(home=tmp_path / "other")
    acts: tuple[Callable[[], object], ...] = (
        lambda: issue(builds(2), choice=other),
        lambda: publishing.refresh(PublishTarget(root=root, identity=IDENTITY, choice=other)),
    )
    for act in acts:
        with pytest.raises(RepositoryError, match=f"signed by {publication.key.fingerprint}, and none") as refused:
            act()
        assert "HAPKG_KEYS" in refused.value.hint
        assert not other.home.exists()
    assert take_snapshot(root) == before
    client(publication.sources[0].read_text()).update()


def test_gpgv_accepts_both_signatures_with_the_exported_keyring(root: Path, issue: Issue, builds: Builds) -> None:
    keyring = issue(builds(1)).keyring
    assert keyring == root / "hapkg-test-archive-keyring.gpg"
    folder = root / "dists/bookworm"
    for signed in (("InRelease",), ("Release.gpg", "Release")):
        output = run("gpgv", "--keyring", keyring, *(folder / name for name in signed))
        assert "Good signature" in output


def test_the_key_is_made_once_and_is_for_its_owner_alone(issue: Issue, builds: Builds, tmp_path: Path) -> None:
    choice = KeyChoice(home=tmp_path / "state" / "keys")
    first, second = issue(builds(1), choice=choice).key, issue(builds(1), choice=choice).key
    assert (first.made, second.made) == (True, False)
    assert first.fingerprint == second.fingerprint
    assert choice.home.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in choice.home.parent.iterdir()] == ["keys"]


def test_a_long_path_of_the_key_folder_does_no_harm(issue: Issue, builds: Builds, tmp_path: Path) -> None:
    assert issue(builds(1), choice=KeyChoice(home=tmp_path / ("long" * 40) / "keys")).key.made


def test_what_a_killed_maker_of_keys_left_is_removed(issue: Issue, builds: Builds, tmp_path: Path) -> None:
    pid = fork(lambda: None)
    os.waitpid(pid, 0)
    left = [tmp_path / f".keys-{pid}-x", Path("/tmp") / f"hapkg-gpg-{pid}-x", tmp_path / f".keys-{os.getpid()}-x"]
    for folder in left:
        folder.mkdir()
    issue(builds(1), choice=KeyChoice(home=tmp_path / "keys"))
    assert [folder.exists() for folder in left] == [False, False, True]


def test_the_repository_holds_no_secret_key(root: Path, issue: Issue, builds: Builds, tmp_path: Path) -> None:
    issue(builds(1), choice=KeyChoice(home=tmp_path / "keys"))
    for file in root.rglob("*"):
        if file.is_file():
            assert b"PRIVATE KEY" not in file.read_bytes(), file
            assert b"(private-key" not in file.read_bytes(), file
    keyring = root / "hapkg-test-archive-keyring.gpg"
    home = tmp_path / "reader"
    home.mkdir(mode=0o700)
    run("gpg", "--batch", "--list-keys", GNUPGHOME=str(home))  # in a new home it tells what it makes there
    listing = run("gpg", "--batch", "--show-keys", "--with-colons", keyring, GNUPGHOME=str(home))
    assert {line.split(":")[0] for line in listing.splitlines()} == {"pub", "fpr", "uid"}


def test_a_key_folder_inside_the_repository_is_refused_before_a_key_is_made(
    root: Path, issue: Issue, builds: Builds, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    root.mkdir(parents=True)
    link.symlink_to(root)
    for home in (root / "keys", link / "keys"):
        with pytest.raises(RepositoryError, match="the secret key would lie inside the repository"):
            issue(builds(1), choice=KeyChoice(home=home))
    assert not (root / "keys").exists()


def test_no_gpg_agent_is_left(issue: Issue, builds: Builds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes: list[str] = []

    def make(*, prefix: str, dir: str) -> str:
        homes.append(tempfile.mktemp(prefix=prefix, dir=dir))
        Path(homes[-1]).mkdir(mode=0o700)
        return homes[-1]

    monkeypatch.setattr(disk, "tempfile", type("T", (), {"mkdtemp": make}))
    issue(builds(1), choice=KeyChoice(home=tmp_path / "keys"))
    assert homes
    commands = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            commands.append(file.read_text("utf-8", "replace"))
    assert [line for line in commands if any(home in line for home in homes)] == []
    assert not any(Path(home).exists() for home in homes if "hapkg-gpg" in home)


@pytest.fixture
def user(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A user with keys of her own: two for one address, one expired. Fingerprints in the order of making."""
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        monkeypatch.setenv("GNUPGHOME", home)
        for address, expiry in (("one", "never"), ("two", "never"), ("two", "never"), ("old", "seconds=1")):
            act = ("--passphrase", "", "--quick-generate-key", f"U {address}@user.invalid", "ed25519", "sign", expiry)
            run("gpg", "--batch", "--yes", *act)
        listing = run("gpg", "--batch", "--list-keys", "--with-colons")
        yield re.findall(r"^fpr:+(\w+):", listing, re.MULTILINE)
        run("gpgconf", "--kill", "all")


def test_the_user_may_sign_with_her_own_key(
    user: list[str], root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client], tmp_path: Path
) -> None:
    unused = tmp_path / "unused"
    for name in ("one@user.invalid", user[1]):
        shutil.rmtree(root, ignore_errors=True)  # what one key has signed another one does not go on with
        publication = issue(builds(1), choice=KeyChoice(home=unused, names=(name,)))
        assert publication.key.fingerprint == user[0 if "@" in name else 1]
        assert publication.written == (BOOKWORM,)
        client(publication.sources[0].read_text()).update()
    assert not unused.exists()
    with pytest.raises(RepositoryError, match=r"two@user\.invalid names several keys") as several:
        issue(builds(1), choice=KeyChoice(home=unused, names=("two@user.invalid",)))
    assert sorted(several.value.details) == sorted(user[1:3])
    with pytest.raises(RepositoryError, match=r"no secret key for nobody@user\.invalid"):
        issue(builds(1), choice=KeyChoice(home=unused, names=("nobody@user.invalid",)))
    # not after one sleep: a clock may be set back
    wait_until(lambda: "\npub:e:" in run("gpg", "--list-keys", "--with-colons"), "end of the old key", seconds=60)
    with pytest.raises(RepositoryError, match="cannot sign"):
        issue(builds(1), choice=KeyChoice(home=unused, names=("old@user.invalid",)))


def test_what_comes_in_is_read_once_and_before_the_repository_is_locked(
    root: Path, issue: Issue, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, bool]] = []

    def note(module: ModuleType) -> None:
        begin = module.begin_reading

        def begin_reading(*arguments: Any) -> Any:
            (root / ".hapkg").mkdir(parents=True, exist_ok=True)
            with (root / ".hapkg/lock").open("a") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    read.append((module.__name__, False))
                except BlockingIOError:
                    read.append((module.__name__, True))
            return begin(*arguments)

        monkeypatch.setattr(module, "begin_reading", begin_reading)

    note(index_merge)
    note(staging)
    issue(builds(1))
    issue(builds(2))  # with the same orig.tar, which lies in the pool
    issue(builds(3), builds(4))
    assert read == [("hapkg.repository.staging", False)] * 3
    sources = (root / "dists/bookworm/main/source/Sources").read_text()
    assert len(re.findall(r"^ [0-9a-f]{64} \d+ \S+\.orig\.tar", sources, re.MULTILINE)) == 4
    assert not [file for file in root.rglob("pool/**/*") if file.is_symlink()]


# The pool never changes


def test_other_bytes_under_a_published_name_are_refused_and_nothing_changes(
    root: Path, issue: Issue, builds: Builds, tmp_path: Path
) -> None:
    issue(builds(1))
    before = take_snapshot(root)
    other = make_upload(tmp_path / "other", "1.2-1+ha12.0", content="other")
    with pytest.raises(RepositoryError) as refused:
        issue(builds(2), other)
    name = f"{LOGIC}_1.2-1+ha12.0.debian.tar.xz"
    assert refused.value.brief == f"{name} of source package ha-logic is already published with other bytes"
    assert f"published: {root}/pool/bookworm/main/h/ha-logic/{name}" in refused.value.details
    assert f"also: libha-logic1_1.2-1+ha12.0_{OWN}.deb of ha-logic" in refused.value.details
    assert refused.value.hint == "raise the revision in the recipe of ha-logic and build again"
    assert take_snapshot(root) == before


def test_a_package_cannot_return_with_other_bytes_from_another_source(
    root: Path, issue: Issue, builds: Builds, tmp_path: Path
) -> None:
    issue(builds(1))
    deb = make_deb(tmp_path, "ha-stack", "1.2-1+ha12.0", content="other")
    with pytest.raises(RepositoryError, match="of source package ha-meta is already published with other bytes"):
        issue(Upload(suite=BOOKWORM, source=SourceName("ha-meta"), files=(deb,)))


def test_two_uploads_that_contradict_each_other_are_refused(root: Path, issue: Issue, tmp_path: Path) -> None:
    uploads = [make_upload(tmp_path / content, "1-1+ha12.0", content=content) for content in ("a", "b")]
    with pytest.raises(RepositoryError, match="with other bytes"):
        issue(*uploads)
    assert take_snapshot(root) == {}


def test_the_same_again_changes_nothing(root: Path, issue: Issue, builds: Builds) -> None:
    first = issue(builds(1))
    assert (len(first.added), first.present, first.written) == (6, (), (BOOKWORM,))
    before = take_snapshot(root)
    second = issue(builds(1), builds(1))
    assert (second.added, second.written, second.unchanged) == ((), (), (BOOKWORM,))
    assert sorted(second.present) == sorted(first.added)
    assert take_snapshot(root) == before
    assert issue().unchanged == (BOOKWORM,)


def test_revisions_share_their_orig_tarball(root: Path, issue: Issue, tmp_path: Path) -> None:
    first = make_upload(tmp_path / "a", "1.2-1+ha12.0")
    second = make_upload(tmp_path / "a", "1.2-2+ha12.0")
    issue(first)
    publication = issue(second)
    assert publication.present == ("pool/bookworm/main/h/ha-logic/ha-logic_1.2.orig.tar.gz",)
    assert len(publication.added) == 5


def test_the_pool_holds_copies(root: Path, issue: Issue, tmp_path: Path) -> None:
    deb = make_deb(tmp_path, "libfoo", "1")
    (path,) = issue(Upload(suite=BOOKWORM, source=SourceName("libfoo"), files=(deb,))).added
    assert path == "pool/bookworm/main/libf/libfoo/libfoo_1_all.deb"
    before = (root / path).read_bytes()
    with deb.open("ab") as file:
        file.write(b"more")
    assert (root / path).read_bytes() == before


def test_a_lost_pool_file_comes_back_only_as_it_was(root: Path, issue: Issue, builds: Builds, tmp_path: Path) -> None:
    issue(builds(1))
    (lost,) = root.glob("pool/**/ha-stack_*")
    content = lost.read_bytes()
    lost.unlink()
    with pytest.raises(RepositoryError, match=r"ha-stack_1.2-1\+ha12.0_all.deb is missing from the pool"):
        issue(builds(2))
    other = make_deb(tmp_path, "ha-stack", "1.2-1+ha12.0", content="other")
    with pytest.raises(RepositoryError, match="with other bytes"):
        issue(Upload(suite=BOOKWORM, source=SourceName(LOGIC), files=(other,)))
    issue(builds(1))
    assert lost.read_bytes() == content


# What cannot be published


def make_broken_uploads(folder: Path) -> Mapping[str, Upload]:
    """Uploads with one fault each, by what the refusal must say."""
    folder.mkdir()
    upload = make_upload(folder / "good", "3-1+ha12.0")
    dsc = next(file for file in upload.files if file.suffix == ".dsc")
    orig = next(file for file in upload.files if ".orig." in file.name)
    deb = upload.files[0]

    def change(old: Path, name: str, content: bytes) -> Upload:
        new = folder / str(len(list(folder.iterdir()))) / name
        new.parent.mkdir()
        new.write_bytes(content)
        return replace(upload, files=tuple(new if file == old else file for file in upload.files))

    return {
        "not a package that apt-ftparchive can read": change(deb, deb.name, b"junk"),
        "should be called libha-logic1_3-1": change(deb, "libha-logic1_4_all.deb", deb.read_bytes()),
        "is not the file that its index or .dsc describes": change(orig, orig.name, orig.read_bytes() + b"x"),
        "is incomplete: ha-logic_3.orig.tar.gz is missing": replace(
            upload, files=tuple(file for file in upload.files if file != orig)
        ),
        "is not a source package": change(dsc, dsc.name, b"junk\n"),
        "does not exist": replace(upload, files=(*upload.files, folder / "gone_1_all.deb")),
    }


def test_broken_packages_are_refused_and_nothing_changes(
    root: Path, issue: Issue, builds: Builds, tmp_path: Path
) -> None:
    issue(builds(1))
    before = take_snapshot(root)
    for message, upload in make_broken_uploads(tmp_path / "broken").items():
        with pytest.raises(RepositoryError) as refused:
            issue(builds(2), upload)
        assert message in refused.value.brief
        assert take_snapshot(root) == before
        assert not (root / ".hapkg/staging").exists()


def test_nothing_to_publish_is_an_error(issue: Issue) -> None:
    with pytest.raises(RepositoryError, match="there is nothing to publish"):
        issue()


def test_a_full_disk_leaves_what_was_published(
    root: Path, issue: Issue, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(builds(1))
    before = take_snapshot(root)

    def fill(_source: IO[bytes], target: IO[bytes], _length: int = 0) -> None:
        target.write(b"beginning")
        raise OSError(errno.ENOSPC, "No space left on device", target.name)

    monkeypatch.setattr(shutil, "copyfileobj", fill)
    with pytest.raises(MachineError, match="cannot be written: No space left on device"):
        issue(builds(2))
    assert take_snapshot(root) == before
    assert not (root / ".hapkg/staging").exists()


def test_a_clock_that_went_back_is_an_error(
    root: Path, issue: Issue, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(builds(1))
    before = take_snapshot(root)
    make = indexes.make_release

    def make_earlier(*arguments: object) -> bytes:
        return re.sub(rb"Date: .*", b"Date: Mon, 01 Jan 2024 00:00:00 +0000", make(*arguments))  # type: ignore[arg-type]

    monkeypatch.setattr(staging, "make_release", make_earlier)
    assert issue(builds(1)).unchanged == (BOOKWORM,)
    with pytest.raises(MachineError, match="the clock of this machine is wrong"):
        issue(builds(2))
    assert take_snapshot(root) == before


def test_a_missing_program_is_named(
    issue: Issue, builds: Builds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gpg", "gpg-agent", "gpgconf", "dpkg"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setattr(launch, "SEARCH_PATH", str(tmp_path))
    with pytest.raises(MachineError, match="the program apt-ftparchive is not installed"):
        issue(builds(1))


# Generations, kills and rivals


@pytest.mark.parametrize("days", [0, 1])
def test_earlier_generations_stay_readable_by_hash(
    days: int, root: Path, issue: Issue, stacks: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "SLOW_CLIENT", timedelta(days=days))
    releases = []
    for number in (1, 2, 3, 4, 5):
        issue(stacks(number))
        releases.append((root / "dists/bookworm/Release").read_text())
    complete = []
    for text in releases:
        named = re.findall(r"^ (\w{64}) +\d+ (\S+)/[\w.-]+$", text, re.MULTILINE)
        complete.append(
            all((root / "dists/bookworm" / folder / "by-hash/SHA256" / digest).is_file() for digest, folder in named)
        )
    assert complete == [days > 0, days > 0, True, True, True]
    kept = list((root / "dists/bookworm").glob(f"main/binary-{OWN}/by-hash/SHA256/*"))
    assert len(kept) == (15 if days else 9 + 2)


def die_at_the_last_rename(source: Path, target: Path, rename: Callable[[Path, Path], Path] = Path.replace) -> Path:
    if target.name == "InRelease":
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(source, target)


def test_a_first_publish_that_is_killed_before_its_last_rename_has_published_nothing(
    root: Path, issue: Issue, stacks: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", die_at_the_last_rename)
        os.waitpid(fork(partial(issue, stacks(1), pocket="testing")), 0)
    assert (root / "dists/bookworm-testing/Release").is_file()
    issue(stacks(1))
    report = verify_here(root)
    assert (report.faults, report.unfinished, report.surplus) == ((), (), ())


def test_a_first_publish_that_ends_after_inrelease_has_its_key_and_is_said_to_be_unfinished(
    root: Path, issue: Issue, stacks: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.replace

    def stop(source: Path, target: Path) -> Path:
        if target.suffix == ".sources":
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stop)
        os.waitpid(fork(partial(issue, stacks(1))), 0)
    assert (root / "dists/bookworm/InRelease").is_file()
    assert not (root / "index.html").exists()
    report = verify_here(root)  # with the keyring that lies there
    assert (report.faults, len(report.unfinished)) == ((), 1)
    issue(stacks(1))
    report = verify_here(root)
    assert (report.faults, report.unfinished, report.surplus) == ((), (), ())
    assert (root / "ha-stack.sources").is_file()


@pytest.mark.parametrize("end", ["killed", "failed"])
def test_what_a_killed_publish_left_is_known_as_such_until_it_is_mended(
    root: Path, issue: Issue, stacks: Builds, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    def stop(*_: object, **__: object) -> None:
        if end == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RepositoryError("nothing can be staged")

    issue(stacks(1))
    issue(stacks(1), pocket="testing")
    faults = (
        (Path, "replace", die_at_the_last_rename, partial(issue, stacks(2), pocket="testing")),
        (transaction, "stage", stop, partial(issue, stacks(3))),
    )
    for holder, name, fault, act in faults:
        with monkeypatch.context() as patched:
            patched.setattr(holder, name, fault)
            _, status = os.waitpid(fork(act), 0)
        assert os.waitstatus_to_exitcode(status) != 0
        report = verify_here(root)
        assert (report.faults, bool(report.unfinished)) == ((), True), name
    issue(stacks(3))
    report = verify_here(root)
    assert (report.faults, report.unfinished, report.surplus) == ((), (), ())
    assert not (root / ".hapkg/staging").exists()


def test_a_kill_at_any_rename_leaves_a_repository_that_apt_can_use(
    root: Path, issue: Issue, stacks: Builds, client: Callable[[str], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = issue(stacks(1)).sources[0].read_text()
    rename = Path.replace
    stop, countdown = "", 0

    def step(source: Path, target: Path) -> Path:
        nonlocal countdown
        if stop and stop in str(target):
            countdown -= 1
            if countdown == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return rename(source, target)

    monkeypatch.setattr(Path, "replace", step)
    published = 1
    stops = ("/journal", "/pool/", "/snapshots/", "/by-hash/ 2", "/Packages.gz")
    with serve(root) as url:
        machines = [client(sources), client(re.sub(r"URIs: .*", f"URIs: {url}", sources))]
        for number, point in enumerate((*stops, "/Release.gpg", "/InRelease", "/index.html"), 2):
            stop, countdown = point.split()[0], int((point.split()[1:] or ["1"])[0])
            pid = fork(partial(issue, stacks(number)))
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL, point
            stop = ""
            published = number if point == "/index.html" else published
            machine = machines[number % 2]
            report = verify_here(root)
            assert report.faults == (), point
            assert bool(report.unfinished) == (point != "/journal"), point  # which tells of it
            assert not machine.refuses(), point
            assert machine.candidate("ha-stack") == f"1.2-{published}+ha12.0", point
            assert issue(stacks(published)).added == ()
            assert verify_here(root).unfinished == (), point
            taken = root / f"pool/bookworm/main/h/ha-stack/ha-stack_1.2-{number}+ha12.0_all.deb"
            assert taken.exists() == (number == published), point
            if point == "/journal":
                published = number
                issue(stacks(number))
    assert not (root / ".hapkg/staging").exists()


def test_a_kill_at_any_time_leaves_a_repository_that_apt_can_use(
    root: Path, issue: Issue, stacks: Builds, client: Callable[[str], Client]
) -> None:
    machine = client(issue(stacks(1)).sources[0].read_text())
    dice = random.Random(7)
    for number in (2, 3, 4, 5):
        pid = fork(partial(issue, stacks(number)))
        time.sleep(dice.uniform(0.02, 0.35))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert not machine.refuses()
        issue(stacks(number))
        machine.update()
        assert machine.candidate("ha-stack") == f"1.2-{number}+ha12.0"
    assert not (root / ".hapkg/staging").exists()


def test_a_name_that_a_killed_publish_took_is_free_again(
    root: Path, issue: Issue, builds: Builds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue(builds(1))

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "add_snapshot", die)
        os.waitpid(fork(partial(issue, builds(2))), 0)
    assert list(root.glob("pool/**/ha-stack_1.2-2*"))
    assert (root / ".hapkg/staging/journal").is_file()
    assert read_pool(root, BOOKWORM).binaries[BinaryName("ha-stack")] == ("1.2-1+ha12.0",)
    other = make_upload(tmp_path / "other", "1.2-2+ha12.0", content="other")
    assert len(issue(other).added) == 5
    assert not (root / ".hapkg/staging").exists()


def test_a_second_publisher_is_told_who_is_at_work_and_a_dead_one_holds_nobody_up(
    root: Path, issue: Issue, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(transaction, "find_key", lambda *_, **__: time.sleep(60))
        pid = fork(partial(issue, builds(1)))
    try:
        lock = root / ".hapkg/lock"
        deadline = time.monotonic() + 10
        while not (lock.is_file() and lock.read_text()) and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(BusyError, match=f"the repository .* is in use by process {pid} on .* since 20.*Z$"):
            issue(builds(1))
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert issue(builds(1)).written == (BOOKWORM,)


def test_an_index_that_cannot_be_gone_on_with_is_made_from_the_packages(
    root: Path, issue: Issue, builds: Builds
) -> None:
    issue(builds(1))
    contents = root / f"dists/bookworm/main/Contents-{OWN}"
    whole = contents.read_bytes()
    for file in contents.parent.glob("by-hash/*/*"):
        file.write_bytes(b"junk")
    for damage in (whole[: len(whole) // 2], b""):
        contents.write_bytes(damage)
        assert issue(builds(1)).written == (BOOKWORM,)
        assert contents.read_bytes() == whole
    contents.write_bytes(b"junk")
    issue(builds(2))
    assert contents.read_bytes() == whole  # the same files, of the same packages
    assert len(read_index(root / f"dists/bookworm/main/binary-{OWN}/Packages")) == 4


def test_damage_to_the_indexes_is_mended_by_a_publish_without_changes(root: Path, issue: Issue, builds: Builds) -> None:
    issue(builds(1))
    folder = root / "dists/bookworm"
    for name in (f"main/binary-{OWN}/Packages.xz", "Release.gpg", "Release"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        assert issue().written == (BOOKWORM,)
        assert len((folder / name).read_bytes()) == len(content)


# What the planner reads


def test_the_pool_tells_versions_and_keys(root: Path, issue: Issue, builds: Builds) -> None:
    assert read_pool(root, BOOKWORM) == Pool()
    issue(builds(10))
    issue(builds(9))
    pool = read_pool(root, BOOKWORM)
    assert pool.sources == {
        SourceName(LOGIC): (
            PublishedSource(version="1.2-9+ha12.0", key="key9"),
            PublishedSource(version="1.2-10+ha12.0", key="key10"),
        )
    }
    assert pool.binaries == {
        BinaryName(name): ("1.2-9+ha12.0", "1.2-10+ha12.0")
        for name in ("ha-stack", "libha-logic1", "libha-logic1-dbgsym")
    }
    assert len(pool.files) == 11
    assert all(
        hashlib.sha256((root / file.path).read_bytes()).hexdigest() == file.digest for file in pool.files.values()
    )
    assert read_pool(root, TRIXIE) == Pool()


def test_an_index_that_is_not_the_signed_one_is_an_error(root: Path, issue: Issue, builds: Builds) -> None:
    issue(builds(1))
    index = root / "dists/bookworm/main/source/Sources"
    index.unlink()
    assert read_pool(root, BOOKWORM).sources
    for file in index.parent.glob("by-hash/*/*"):
        file.unlink()
    with pytest.raises(RepositoryError, match="is missing, or is not the one that InRelease names"):
        read_pool(root, BOOKWORM)
    with pytest.raises(RepositoryError, match="is missing, or is not the one that InRelease names"):
        issue(builds(2))


def test_the_address_that_nodes_know_stays_until_another_one_is_given(issue: Issue, builds: Builds) -> None:
    assert "URIs: file:/" in issue(builds(1)).sources[0].read_text()
    assert "URIs: https://one.example/\n" in issue(builds(1), url="https://one.example/").sources[0].read_text()
    assert "URIs: https://one.example/\n" in issue(builds(2)).sources[0].read_text()
    assert "URIs: https://two.example/\n" in issue(url="https://two.example/").sources[0].read_text()
