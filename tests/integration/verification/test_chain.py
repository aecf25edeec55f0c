"""Each link of the chain is broken once, as somebody would who can write in the repository, or who has its key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hapkg.control import SourceName
from hapkg.evidence.dsse import IN_TOTO, Envelope, encode, read_envelope
from hapkg.evidence.rebuilt import RebuiltPackage, make_rebuild, note_rebuilds
from hapkg.host import read_architecture
from hapkg.locations import State
from hapkg.recipe.model import Recipe, read_recipe
from hapkg.repository.change import PublishTarget
from hapkg.repository.documents.suite import Claims
from hapkg.repository.indexes import make_release, read_release
from hapkg.repository.keys import lifecycle
from hapkg.repository.keys.signing import KeyChoice, export_key, find_key, sign, sign_detached
from hapkg.repository.last_published import Memory, find_memory, read_published
from hapkg.repository.publishing import publish
from hapkg.source.lockfile import Lock, LockedSource
from hapkg.verification.chain import check_suite
from hapkg.verification.links import ChainLink, LinkName, LinkState, SuiteChain, find_first_break
from hapkg.verification.source_links import Checkout, judge_source
from tests.support.evidence import digest, make_documented, make_followed, make_statements
from tests.support.machine import wait_until
from tests.support.packages import BOOKWORM, IDENTITY, run
from tests.support.samples import AUTOTOOLS, STYLES, write_recipe

SOURCE = SourceName("ha-logic")
OWNER = "Test <test@hapkg.invalid>"
VERSION = "1.0-1"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A repository with a whole chain, and all that a check of it is given."""

    root: Path
    choice: KeyChoice
    keyring: Path
    state: State
    lock: Lock
    memory: Memory

    def find(self, pattern: str) -> Path:
        (found,) = [file for file in self.root.rglob(pattern) if "by-hash" not in file.parts]
        return found

    def check(self, **others: Any) -> SuiteChain:
        checkout = Checkout(recipes=others.pop("recipes", {}), lock=others.pop("lock", self.lock))

        def judge(*words: Any) -> Iterator[ChainLink]:
            yield from judge_source(self.state, checkout, *words)

        given = {"keyring": self.keyring, "memory": self.memory, **others}
        return check_suite(self.root, BOOKWORM, judge=judge, **given)

    def sign_again(self) -> None:
        """Name what lies there now in a new Release file, signed by the right key: by who has stolen it."""
        staging = self.root.parent / "staging"
        shutil.rmtree(staging, ignore_errors=True)
        shutil.copytree(self.root / "dists", staging / "dists")
        fields = dict(read_release(self.root / "dists" / BOOKWORM / "Release"))
        kept = {name: value for name, value in fields.items() if name not in ("SHA256", "Date", "Snapshots")}
        release = make_release(staging, BOOKWORM, kept)
        folder = self.root / "dists" / BOOKWORM
        inline, detached = sign(find_key(self.choice, owner=OWNER), staging / f"Release-{BOOKWORM}")
        for name, content in (("Release", release), ("InRelease", inline), ("Release.gpg", detached)):
            (folder / name).write_bytes(content)
        for line in release.decode().split("SHA256:\n")[1].splitlines():
            found, _, path = line.split()
            by_hash = (folder / path).parent / "by-hash/SHA256" / found
            by_hash.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / path, by_hash)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = tmp_path_factory.mktemp("whole")
    root, choice = folder / "apt", KeyChoice(home=folder / "keys")
    lifecycle.create(choice.home, OWNER)
    upload = make_documented(folder / "build", VERSION)
    state = State(folder / "state", "")
    records = {
        digest(file): RebuiltPackage(
            sha256=digest(file),
            file=file.name,
            source=SOURCE,
            version=VERSION,
            suite=BOOKWORM,
            rebuilds=(make_rebuild(identical=True, variations=("date",), state=state),),
        )
        for file in upload.files
        if file.suffix == ".deb"
    }
    note_rebuilds(state, records)
    target = PublishTarget(root=root, identity=replace(IDENTITY, valid_days=30), choice=choice)
    claims = Claims(vex=make_statements(upload, VERSION), rebuilds={found: {"identical": True} for found in records})
    publish(target, [upload], claims={BOOKWORM: claims})
    memory = find_memory(choice.home, str(root))
    with memory.keep() as states:
        states.update(read_published(root))
    (orig,) = [file for file in upload.files if ".orig." in file.name]
    locked = LockedSource.model_validate(
        {"version": "1.0", "origin": "somewhere", "sha256": digest(orig), "tree": "a" * 64}
    )
    return Published(
        root=root,
        choice=choice,
        keyring=next(root.glob("*-archive-keyring.gpg")),
        state=state,
        lock=Lock(file=folder / "locks/bookworm.toml", sources={SOURCE: locked}),
        memory=memory,
    )


@pytest.fixture
def published(whole: Published, tmp_path: Path) -> Published:
    """A copy to be broken. Its memory is the publisher's."""
    root = tmp_path / "apt"
    shutil.copytree(whole.root, root, symlinks=True)
    keyring = tmp_path / "keyring.gpg"
    shutil.copyfile(whole.keyring, keyring)
    state = State(tmp_path / "state", "")
    shutil.copytree(whole.state.root, state.root)
    return replace(whole, root=root, keyring=keyring, state=state)


def append(file: Path, content: bytes = b"\n") -> None:
    file.write_bytes(file.read_bytes() + content)


def change_json(file: Path, change: Callable[[Any], None]) -> None:
    table = json.loads(file.read_bytes())
    change(table)
    file.write_text(json.dumps(table))


def change_statement(it: Published, change: Callable[[Any], None], *, signed: bool = True) -> None:
    """Another statement in the place of the published one, signed by the right key or with the old signature."""
    file = it.find("provenance.jsonl")
    envelope = read_envelope(file.read_bytes())
    table = json.loads(envelope.payload)
    change(table)
    payload, signatures = json.dumps(table).encode(), envelope.signatures
    if signed:
        plain = it.root.parent / "statement"
        plain.write_bytes(encode(IN_TOTO, payload))
        (signatures,) = sign_detached(find_key(it.choice, owner=OWNER), [plain])
    file.write_bytes(Envelope(payload=payload, payload_type=IN_TOTO, signatures=signatures).format())
    it.sign_again()


def change_subjects(table: Any) -> None:
    for subject in table["subject"]:
        subject["digest"]["sha256"] = "0" * 64


def change_inputs(table: Any) -> None:
    table["predicate"]["buildDefinition"]["internalParameters"]["inputs"]["chroot"] = "0" * 64


def change_tarball(table: Any) -> None:
    for material in table["predicate"]["buildDefinition"]["resolvedDependencies"]:
        if ".orig." in material.get("name", ""):
            material["digest"]["sha256"] = "0" * 64


def change_hashes(table: Any) -> None:
    for component in table["components"]:
        for told in component.get("hashes", ()):
            told["content"] = "0" * 64


def sign_statement_by_another(it: Published) -> None:
    other = KeyChoice(home=it.root.parent / "other")
    lifecycle.create(other.home, OWNER)
    change_statement(replace(it, choice=other), lambda table: None)
    it.sign_again()


def replace_statement(it: Published) -> None:
    it.find("provenance.jsonl").write_bytes(b"{}\n")
    it.sign_again()


def change_release(it: Published) -> None:
    file = it.root / "dists" / BOOKWORM / "InRelease"
    file.write_bytes(file.read_bytes().replace(b"Codename: bookworm", b"Codename: bullworm"))


def put_lines_before(it: Published) -> None:
    """Another Release before the signed one: gpgv takes no notice, and a reader would believe it."""
    folder = it.root / "dists" / BOOKWORM
    signed = (folder / "InRelease").read_bytes()
    keyless = ("gpgv", "--keyring", it.keyring, folder / "InRelease")
    (folder / "InRelease").write_bytes((folder / "Release").read_bytes() + b"\n" + signed)
    run(*keyless)


def change_suite_sbom(it: Published) -> None:
    change_json(it.root / "dists" / BOOKWORM / "evidence/sbom.cdx.json", change_hashes)
    it.sign_again()


def change_vex(it: Published) -> None:
    def forget(table: Any) -> None:
        table["statements"][0]["products"][0]["@id"] = "pkg:deb/else/where@1"

    change_json(it.find("vex.openvex.json"), forget)
    it.sign_again()


def note_difference(it: Published) -> None:
    for file in it.root.rglob("libha-logic1_*.deb"):
        found = digest(file)
        record = RebuiltPackage(
            sha256=found,
            file=file.name,
            source=SOURCE,
            version=VERSION,
            suite=BOOKWORM,
            rebuilds=(make_rebuild(identical=False, variations=("path",), state=it.state),),
        )
        note_rebuilds(it.state, {found: record})


def swap_own_sbom(it: Published) -> None:
    """A package with the SBOM of another inside, and what the suite says of it changed with it."""
    deb, tree = it.find("ha-stack_*.deb"), it.root.parent / "tree"
    before = digest(deb)
    run("dpkg-deb", "-R", deb, tree)
    place = tree / "usr/share/doc/ha-stack/sbom.cdx.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"metadata": {"component": {"name": "ha-other", "version": "9"}}}))
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, deb)
    for file in (it.root / "dists").rglob("*"):
        if file.is_file() and "by-hash" not in file.parts:
            content = file.read_bytes()
            if before.encode() in content:
                file.write_bytes(content.replace(before.encode(), digest(deb).encode()))
    it.sign_again()


BREAKS: Mapping[str, tuple[Callable[[Published], None], LinkName, str]] = {
    "Release is changed": (change_release, LinkName.SIGNATURE, "it was changed after it was signed"),
    "lines before the signed text": (put_lines_before, LinkName.SIGNATURE, "lines that no signature is over"),
    "an index is changed": (
        lambda it: append(it.root / "dists" / BOOKWORM / "main/source/Sources"),
        LinkName.INDEX,
        "is not what Release names",
    ),
    "a .deb is changed": (lambda it: append(it.find("libha-logic1_*.deb")), LinkName.PACKAGE, "its index says"),
    "a .deb is gone": (lambda it: it.find("libha-logic1_*.deb").unlink(), LinkName.PACKAGE, "missing from the pool"),
    "the tarball is changed": (
        lambda it: append(it.find("*.orig.tar.gz")),
        LinkName.SOURCE,
        "is not what Sources says",
    ),
    "the SBOM is changed": (
        lambda it: append(it.root / "dists" / BOOKWORM / "evidence/sbom.cdx.json"),
        LinkName.SBOM,
        "is not what Release names",
    ),
    "the SBOM is of other bytes": (change_suite_sbom, LinkName.SBOM, "is of another"),
    "the SBOM of the build is changed": (
        lambda it: append(it.find("*_*.sbom.cdx.json")),
        LinkName.SBOM,
        "is not what the SBOM of the suite says",
    ),
    "the SBOM inside is another package's": (swap_own_sbom, LinkName.SBOM, "is of something else"),
    "a statement is changed": (
        lambda it: change_statement(it, change_subjects, signed=False),
        LinkName.PROVENANCE,
        "it was changed after it was signed",
    ),
    "a statement is of another package": (
        lambda it: change_statement(it, change_subjects),
        LinkName.PROVENANCE,
        "is not of libha-logic1",
    ),
    "a statement is signed by an unknown key": (sign_statement_by_another, LinkName.PROVENANCE, "does not have"),
    "a statement is no statement": (
        replace_statement,
        LinkName.PROVENANCE,
        "line 1",
    ),
    "the inputs are not those of the key": (
        lambda it: change_statement(it, change_inputs),
        LinkName.KEY,
        "do not give its key",
    ),
    "the .buildinfo file is changed": (
        lambda it: append(it.find("*.buildinfo")),
        LinkName.BUILDINFO,
        "is not what the index of documents says",
    ),
    "the VEX speaks of others": (change_vex, LinkName.VEX, "which bookworm does not have"),
    "the statement names another tarball": (
        lambda it: change_statement(it, change_tarball),
        LinkName.TARBALL,
        "is not the one that the statement names",
    ),
    "a rebuild came out different": (note_difference, LinkName.REBUILT, "it came out different here"),
}


def test_a_whole_chain_holds(published: Published) -> None:
    chain = published.check()
    assert find_first_break([chain]) is None
    links = [link for one in chain.packages for link in one.links]
    absent = {(link.name, link.told) for link in (*chain.links, *links) if link.state is LinkState.ABSENT}
    assert {name for name, _ in absent} == {LinkName.SBOM, LinkName.UPSTREAM}, absent
    assert {link.name for link in links if link.state is LinkState.HOLDS} >= {
        LinkName.PACKAGE,
        LinkName.SOURCE,
        LinkName.PROVENANCE,
        LinkName.KEY,
        LinkName.BUILDINFO,
        LinkName.TARBALL,
        LinkName.LOCK,
        LinkName.REBUILT,
    }


@pytest.mark.parametrize("how", BREAKS)
def test_the_first_broken_link_is_named(published: Published, how: str) -> None:
    act, name, words = BREAKS[how]
    act(published)
    found = find_first_break([published.check()])
    assert found is not None
    assert (found[1].name, words in found[1].told) == (name, True), found[1].told
    assert found[1].meaning


def test_a_lock_that_says_something_else_is_a_break(published: Published) -> None:
    entry = published.lock.sources[SOURCE].model_copy(update={"sha256": "0" * 64})
    found = find_first_break([published.check(lock=replace(published.lock, sources={SOURCE: entry}))])
    assert found is not None
    assert (found[1].name, "locks another tarball" in found[1].told or "has another tarball" in found[1].told) == (
        LinkName.LOCK,
        True,
    )


def make_signed_recipe(it: Published, folder: Path, signed: Path, signer: KeyChoice) -> dict[SourceName, Recipe]:
    """The recipe of the source, with the key of its upstream, and somebody's signature of some file."""
    key = find_key(signer, owner=OWNER)
    copy = folder / "signed"
    shutil.copyfile(signed, copy)
    (signatures,) = sign_detached(key, [copy])
    signature = {"policy": "pgp-tarball", "keys": "keys.asc", "file": "logic.asc"}
    table = {**AUTOTOOLS, "source": SOURCE, "version": "1.0", "signature": signature}
    recipe = write_recipe(folder / "recipes", table)
    (recipe / "keys.asc").write_bytes(export_key(find_key(it.choice, owner=OWNER), armored=True))
    (recipe / "logic.asc").write_bytes(next(iter(signatures.values())))
    return {SOURCE: read_recipe(recipe, package_prefix="ha-", styles=STYLES)}


def test_upstreams_signature_is_over_the_published_tarball(published: Published, tmp_path: Path) -> None:
    tarball = published.find("*.orig.tar.gz")
    recipes = make_signed_recipe(published, tmp_path, tarball, published.choice)
    chain = published.check(recipes=recipes)
    states = {link.state for one in chain.packages for link in one.links if link.name is LinkName.UPSTREAM}
    assert (find_first_break([chain]), states) == (None, {LinkState.HOLDS})


def test_a_signature_of_other_bytes_or_by_another_is_a_break(published: Published, tmp_path: Path) -> None:
    tarball, other = published.find("*.orig.tar.gz"), published.find("*.dsc")
    stranger = KeyChoice(home=tmp_path / "stranger")
    lifecycle.create(stranger.home, OWNER)
    for signed, signer in ((other, published.choice), (tarball, stranger)):
        recipes = make_signed_recipe(published, tmp_path, signed, signer)
        found = find_first_break([published.check(recipes=recipes)])
        assert found is not None
        assert (found[1].name, "is not a good signature of the tarball" in found[1].told) == (LinkName.UPSTREAM, True)


def test_an_unknown_key_vouches_for_nothing(published: Published, tmp_path: Path) -> None:
    other = KeyChoice(home=tmp_path / "others")
    lifecycle.create(other.home, OWNER)
    keyring = tmp_path / "others.gpg"
    keyring.write_bytes(export_key(find_key(other, owner=OWNER), armored=False))
    chain = published.check(keyring=keyring)
    found = find_first_break([chain])
    assert found is not None
    assert (found[1].name, "a key that the keyring does not have" in found[1].told) == (LinkName.SIGNATURE, True)
    assert chain.packages == ()


def test_a_chain_holds_for_each_architecture_of_a_source(tmp_path: Path) -> None:
    other = "arm64" if read_architecture() != "arm64" else "riscv64"
    root, choice = tmp_path / "apt", KeyChoice(home=tmp_path / "keys")
    publish(
        PublishTarget(root=root, identity=IDENTITY, choice=choice),
        [make_followed(tmp_path / "build", VERSION, other)],
    )
    chain = check_suite(root, BOOKWORM, next(root.glob("*-archive-keyring.gpg")))
    assert find_first_break([chain]) is None
    compiled = {package.architecture for package in chain.packages if package.package.startswith("libha-logic")}
    assert compiled == {read_architecture(), other}
    held = {
        (package.package, package.architecture): {link.name for link in package.links if link.state is LinkState.HOLDS}
        for package in chain.packages
        if "-dbgsym" not in package.package and "keyring" not in package.package
    }
    wanted = {LinkName.PROVENANCE, LinkName.KEY, LinkName.BUILDINFO}
    assert {name: wanted - links for name, links in held.items() if wanted - links} == {}


def test_an_expired_key_vouches_for_nothing(gnupg: Callable[..., Path], tmp_path: Path) -> None:
    gnupg("ed25519")
    choice = KeyChoice(home=tmp_path / "none", names=("u0@user.invalid",))
    root = tmp_path / "apt"
    publish(PublishTarget(root=root, identity=IDENTITY, choice=choice), [make_documented(tmp_path / "build", VERSION)])
    keyring = next(root.glob("*-archive-keyring.gpg"))
    assert find_first_break([check_suite(root, BOOKWORM, keyring)]) is None
    key = find_key(choice, owner=OWNER)
    run("gpg", "--batch", "--quick-set-expire", key.fingerprint, "seconds=1")
    keyring.write_bytes(export_key(key, armored=False))

    def find() -> tuple[LinkName, bool] | None:
        found = find_first_break([check_suite(root, BOOKWORM, keyring)])
        return (found[1].name, "has expired" in found[1].told) if found else None

    # not after one sleep: a key may end between two links of one check, and a clock may be set back
    wait_until(
        lambda: find() == (LinkName.SIGNATURE, True), "word of an expired key", seconds=60, evidence=lambda: str(find())
    )


def test_an_older_state_is_told_by_whoever_remembers(published: Published, whole: Published, tmp_path: Path) -> None:
    newer = Memory(file=tmp_path / "memory.json", place=str(whole.root))
    old = tmp_path / "old"
    shutil.copytree(whole.root, old)
    published.sign_again()
    run("sleep", "1.1")
    published.sign_again()
    with newer.keep() as states:
        states.update(read_published(published.root))
    shutil.rmtree(published.root)
    shutil.copytree(old, published.root)
    found = find_first_break([published.check(memory=newer)])
    assert found is not None
    assert found[1].name is LinkName.FRESH
    assert found[1].told.startswith("suite bookworm")


def test_a_state_that_counts_no_more_is_a_break(published: Published) -> None:
    release = published.root / "dists" / BOOKWORM / "Release"
    fields = dict(read_release(release))
    text = release.read_text().replace(fields["Valid-Until"], "Sat, 01 Jan 2000 00:00:00 UTC")
    release.write_text(text)
    inline, detached = sign(find_key(published.choice, owner=OWNER), release)
    (release.parent / "InRelease").write_bytes(inline)
    (release.parent / "Release.gpg").write_bytes(detached)
    found = find_first_break([published.check(memory=None)])
    assert found is not None
    assert (found[1].name, "keeps newer states back" in found[1].told) == (LinkName.FRESH, True)


def test_the_command_names_the_link_and_its_meaning(published: Published, tmp_path: Path) -> None:
    def verify(*words: str | Path) -> tuple[int, str, str]:
        argv = [Path(sys.executable).with_name("hapkg"), "--cache", published.state.root, "verify", *words]
        done = subprocess.run(
            [*map(str, argv), "--keyring", str(published.keyring)],
            cwd=tmp_path,
            env={**os.environ, "HAPKG_KEYS": str(tmp_path / "nothing")},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    root, deb = published.root, published.find("libha-logic1_*.deb")
    status, table, _ = verify(root)
    assert (status, "libha-logic1" in table, "BREAKS" in table) == (0, True, False)
    status, table, _ = verify(deb, "--repo", root)
    assert (status, "libha-logic1" in table, "ha-stack" in table) == (0, True, False)
    status, _, told = verify(root, "--strict")
    assert (status, "links are absent: " in told) == (7, True)
    append(deb)
    status, _, told = verify(root)
    assert (status, "error: link package of libha-logic1 1.0-1 of bookworm breaks" in told) == (7, True)
    assert "the bytes are somebody else's" in told
    status, text, _ = verify(root, "--json")
    (suite,) = json.loads(text)
    states = {link["state"] for one in suite["packages"] for link in one["links"] if link["name"] == "package"}
    assert (status, states) == (7, {"breaks", "holds"})
    status, _, told = verify(deb, "--repo", root)
    assert (status, "no suite of the repository has" in told) == (7, True)


@pytest.mark.parametrize("name", ["sbom.cdx.json", "vex.openvex.json", "provenance.jsonl", "rebuilds.json"])
def test_a_document_of_anything_is_never_a_traceback(published: Published, name: str) -> None:
    """tests/unit has more of what their readers refuse."""
    (published.root / "dists" / BOOKWORM / "evidence" / name).write_bytes(b'[{"components": 7}]')
    published.sign_again()
    shutil.rmtree(published.state.rebuilt)
    assert find_first_break([published.check()])


def test_a_signature_that_is_no_base64_is_a_break(published: Published) -> None:
    file = published.find("provenance.jsonl")
    line = json.loads(file.read_bytes())
    line["signatures"][0]["sig"] = "?"
    file.write_text(json.dumps(line) + "\n")
    published.sign_again()
    found = find_first_break([published.check()])
    assert found is not None
    assert found[1].name is LinkName.PROVENANCE
