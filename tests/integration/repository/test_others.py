"""Other readers of the repository: mirrors take it whole, from the keyring it brings."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from hapkg.apt.mirror import find_mirror
from hapkg.distribution import read_debian
from hapkg.repository.keyring_package import make_keyring
from hapkg.repository.keys import lifecycle
from hapkg.repository.keys.keyring import Key, read_keys
from hapkg.repository.keys.lint import NOW, SHORT_RSA, lint
from hapkg.repository.keys.signing import KeyChoice, find_active, find_key
from tests.support.packages import BOOKWORM, IDENTITY, OWN, TRIXIE, Builds, Issue, read_index, run, serve

KEYRING = "usr/share/keyrings/ha-archive-keyring.gpg"
POLICY = "/usr/share/apt/default-sequoia.config"


@pytest.fixture
def url(root: Path, issue: Issue, builds: Builds) -> Iterator[str]:
    """A repository with two versions of everything, over HTTP."""
    issue(builds(1))
    issue(builds(2))
    with serve(root) as address:
        yield address


def find_names(root: Path) -> set[str]:
    """The pool files of a repository."""
    return {file.name for file in root.rglob("*") if file.name.endswith((".deb", ".dsc", ".xz", ".gz"))} - {
        f"{kind}{suffix}" for kind in ("Packages", "Sources", f"Contents-{OWN}", "Release") for suffix in (".gz", ".xz")
    }


def test_debmirror_takes_it_whole(root: Path, url: str, tmp_path: Path) -> None:
    keyring = root / "hapkg-test-archive-keyring.gpg"
    host, _, path = url.removeprefix("http://").partition("/")
    options = ("--method=http", "--dist=bookworm", "--section=main,debug", f"--arch={OWN}", "--diff=none", "--source")
    run(
        "debmirror", *options, f"--keyring={keyring}", f"--host={host}", f"--root={path or '/'}",
        "--rsync-extra=none", tmp_path / "mirror", HOME=str(tmp_path),
    )  # fmt: skip
    assert find_names(tmp_path / "mirror" / "pool") == find_names(root / "pool")


def test_aptly_mirrors_it_whole(root: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "aptly.conf").write_text(json.dumps({"rootDir": str(tmp_path / "aptly"), "gpgProvider": "gpg"}))
    aptly = ("aptly", f"-config={tmp_path}/aptly.conf")
    trust = f"-keyring={root}/hapkg-test-archive-keyring.gpg"
    options = (trust, "-with-sources", f"-architectures={OWN}")
    run(*aptly, "mirror", "create", *options, "ha", url, "bookworm", "main", "debug")
    run(*aptly, "mirror", "update", trust, "ha")
    listed = run(*aptly, "mirror", "show", "-with-packages", "ha")
    for name in ("ha-stack", "libha-logic1", "libha-logic1-dbgsym"):
        assert f"{name}_1.2-1+ha12.0_" in listed
        assert f"{name}_1.2-2+ha12.0_" in listed
    assert "ha-logic_1.2-2+ha12.0_source" in listed


def test_reprepro_updates_from_it_and_pulls_on_with_sources_and_debug_symbols(
    root: Path, url: str, tmp_path: Path, key: KeyChoice
) -> None:
    conf = tmp_path / "reprepro" / "conf"
    conf.mkdir(parents=True)
    stanza = f"Architectures: {OWN} source\nComponents: main debug\n"
    (conf / "distributions").write_text(
        f"Codename: bookworm\n{stanza}Update: ha\n\nCodename: bookworm-kept\n{stanza}Pull: kept\n"
    )
    signer = find_active(key.home)[0][-16:]
    (conf / "updates").write_text(
        f"Name: ha\nMethod: {url}\nSuite: bookworm\nComponents: main debug\nVerifyRelease: {signer}\n"
    )
    (conf / "pulls").write_text("Name: kept\nFrom: bookworm\n")
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        run("gpg", "--batch", "--import", root / "hapkg-test-archive-keyring.gpg", GNUPGHOME=home)
        for act in ("update", "pull"):
            run("reprepro", "-b", tmp_path / "reprepro", act, GNUPGHOME=home)
    version = "1.2-2+ha12.0"
    for suite in ("bookworm", "bookworm-kept"):
        for component, names in (("main", ["ha-stack", "libha-logic1"]), ("debug", ["libha-logic1-dbgsym"])):
            index = f"{component}/binary-{OWN}/Packages"
            theirs = {s["Package"]: s for s in read_index(tmp_path / "reprepro/dists" / suite / index)}
            assert sorted((name, s["Version"]) for name, s in theirs.items()) == [(name, version) for name in names]
            ours = read_index(root / "dists/bookworm" / index)
            digests = {s["Package"]: s["SHA256"] for s in ours if s["Version"] == version}
            assert {name: s["SHA256"] for name, s in theirs.items()} == digests
        sources = gzip.decompress((tmp_path / f"reprepro/dists/{suite}/main/source/Sources.gz").read_bytes())
        (file := tmp_path / "Sources").write_bytes(sources)
        (taken,) = read_index(file)
        (ours_taken,) = [s for s in read_index(root / "dists/bookworm/main/source/Sources") if s["Version"] == version]

        def read_sums(source: dict[str, str]) -> list[str]:
            lines = source["Checksums-Sha256"].strip().splitlines()
            return sorted(line.strip() for line in lines if not line.endswith(".dsc"))

        assert (taken["Package"], taken["Version"]) == ("ha-logic", version)
        assert read_sums(taken) == read_sums(ours_taken) != []


def test_sqv_takes_the_signature(root: Path, url: str) -> None:
    folder = root / "dists/bookworm"
    keyring = root / "hapkg-test-archive-keyring.gpg"
    assert len(run("sqv", "--keyring", keyring, folder / "Release.gpg", folder / "Release").strip()) == 40


@pytest.mark.usefixtures("url")
def test_apt_ftparchive_without_our_caches_says_the_same(root: Path, tmp_path: Path) -> None:
    indexes = {
        f"main/binary-{OWN}/Packages": ("packages", "main"),
        f"debug/binary-{OWN}/Packages": ("packages", "debug"),
        "main/source/Sources": ("sources", "main"),
    }
    for name, (kind, component) in indexes.items():
        index = tmp_path / name.replace("/", "-")
        index.write_text(run("apt-ftparchive", kind, f"pool/bookworm/{component}", cwd=root))
        place = ("Filename", "Directory", "Package", "Version")
        theirs, ours = (
            sorted(read_index(file), key=lambda stanza: [stanza.get(field, "") for field in place])
            for file in (index, root / "dists/bookworm" / name)
        )
        assert len(theirs) == len(ours) > 1
        for their, our in zip(theirs, ours, strict=True):
            assert their == our
            assert {"SHA256", "Checksums-Sha256"} & our.keys()


@pytest.fixture(scope="module")
def trixie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node: trixie with its own apt and sqv, and no other source than what a test gives it."""
    mirror = find_mirror(None, read_debian())
    chroot = tmp_path_factory.mktemp("node") / "trixie"
    options = ("--quiet", "--mode=root", "--variant=apt", f"--architectures={OWN}")
    run("mmdebstrap", *options, "trixie", chroot, *mirror.lines(TRIXIE)[:1])
    (chroot / "etc/apt/sources.list").unlink()
    (chroot / "etc/apt/apt.conf.d/test").write_text('Acquire::http::Proxy "DIRECT"; APT::Sandbox::User "root";')
    assert (chroot / "usr/bin/sqv").is_file()
    return chroot


def write_sources(chroot: Path, text: str, url: str) -> None:
    """Give a node a .sources file for a repository at another address."""
    (chroot / "etc/apt/sources.list.d/ha.sources").write_text(re.sub("URIs: .*", f"URIs: {url}", text))


def update(chroot: Path, *words: str) -> None:
    """apt-get update without any complaint."""
    output = run("chroot", chroot, "apt-get", "update", "--audit", "-o", "APT::Update::Error-Mode=any", *words)
    assert not re.search(r"^(W|E|N|A|Err|Audit|Warning|Notice)\b", output, re.MULTILINE | re.IGNORECASE), output


def test_apt_of_trixie_reads_it_without_a_warning(root: Path, url: str, trixie: Path) -> None:
    text = (root / "ha-stack.sources").read_text()
    write_sources(trixie, text.replace("Types: deb", "Types: deb deb-src"), url)
    update(trixie)
    assert "Inst ha-stack (1.2-2+ha12.0 " in run("chroot", trixie, "apt-get", "install", "--simulate", "ha-stack")


def test_apt_of_trixie_is_told_that_there_are_no_snapshots_to_fetch(root: Path, url: str, trixie: Path) -> None:
    text = (root / "ha-stack.sources").read_text()
    write_sources(trixie, text, url)
    update(trixie)
    update(trixie, "--snapshot", "20250101T000000Z")  # what has none is taken as it is
    write_sources(trixie, text.replace("Suites:", "Snapshot: 20250101T000000Z\nSuites:"), url)
    refused = run("chroot", trixie, "apt-get", "update", check=False)
    assert f"E: Snapshots not supported for {url} bookworm" in refused


def test_a_node_with_the_keyring_package_gets_the_next_key_by_an_upgrade(
    root: Path, issue: Issue, stacks: Builds, trixie: Path, tmp_path: Path
) -> None:
    choice = KeyChoice(home=tmp_path / "keys")
    old = lifecycle.create(choice.home, IDENTITY.key_owner)

    def publish(number: int) -> None:
        folder = tmp_path / f"keyring{number}"
        folder.mkdir()
        signer = find_key(choice, owner=IDENTITY.key_owner)
        upload = make_keyring(
            root, folder, name="ha-archive-keyring", suite=BOOKWORM, identity=IDENTITY, choice=choice, key=signer
        )
        issue(stacks(number), upload, choice=choice)

    def apt(*words: str) -> str:
        return run("chroot", trixie, "apt-get", "-q", "-y", *words)

    def find_trusted() -> list[str]:
        return [key.fingerprint for key in read_keys((trixie / KEYRING).read_bytes())]

    publish(1)
    with serve(root) as url:
        text = (root / "ha-stack.sources").read_text()
        write_sources(trixie, text, url)
        update(trixie)
        apt("install", "ha-archive-keyring")
        write_sources(trixie, text.partition("Signed-By:")[0] + f"Signed-By: /{KEYRING}\n", url)
        update(trixie)
        assert find_trusted() == [old.fingerprint]
        old_keyring = (trixie / KEYRING).read_bytes()
        while time.time() < old.renewed + 1:  # the version of the keyring counts seconds
            time.sleep(0.1)
        new = lifecycle.rotate(choice.home, IDENTITY.key_owner)
        publish(2)
        update(trixie)
        apt("upgrade")
        assert find_trusted() == [old.fingerprint, new.fingerprint]
        while time.time() < new.renewed + 1:
            time.sleep(0.1)
        lifecycle.retire(choice.home, old.fingerprint)
        publish(3)
        update(trixie)
        apt("upgrade")
        assert find_trusted() == [new.fingerprint]
        update(trixie)
        assert "Inst ha-stack (1.2-3+ha12.0 " in apt("install", "--simulate", "ha-stack")
        (trixie / KEYRING).write_bytes(old_keyring)  # a node that slept through the rotation
        shutil.rmtree(trixie / "var/lib/apt/lists")
        assert "Missing key" in run("chroot", trixie, "apt-get", "update", check=False)
        apt("purge", "ha-archive-keyring")


DAYS = (None, date(2027, 12, 1), date(2030, 2, 2))
"""Today, and when apt's policy is stricter."""


def test_lint_says_what_sqv_of_trixie_says_under_apts_policy_now_and_later(
    gnupg: Callable[..., Path], trixie: Path
) -> None:
    quiet = ("--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", "")
    folder = trixie / "srv/lint"
    folder.mkdir(exist_ok=True)
    (folder / "text").write_text("text\n")

    def find(name: str) -> Key:
        (key,) = read_keys(run("gpg", "--armor", "--export", name).encode())
        return key

    def make(algorithm: str, *subkeys: tuple[str, ...], usage: str = "sign", digest: str = "SHA512") -> str:
        file = gnupg(algorithm, "--cert-digest-algo", digest, usage=usage)
        fingerprint = find(file.name.removesuffix(".gpg")).fingerprint
        for words in subkeys:
            time.sleep(1.1)  # gpg signs with the newest
            run("gpg", *quiet, "--quick-add-key", fingerprint, *words)
        return fingerprint

    def sign(name: str) -> None:
        run("gpg", *quiet, "--digest-algo", "SHA512", "-u", name, "-o", folder / f"{name}.sig", "-b", folder / "text")

    def edit(name: str, *answers: str) -> None:
        text = "".join(f"{line}\n" for line in answers)
        words = ["gpg", *quiet, "--command-fd", "0", "--status-fd", "2", "--edit-key", name]
        subprocess.run(words, input=text, text=True, check=True, capture_output=True)

    def add_user(name: str, digest: str) -> str:
        run("gpg", *quiet, "--cert-digest-algo", digest, "--quick-add-uid", name, f"second@{digest}.invalid")
        return name

    names = {name: make(name) for name in ("ed25519", "nistp256", "rsa2048", "dsa2048", "brainpoolP384r1")}
    names |= {digest: make("ed25519", digest=digest) for digest in ("SHA384", "SHA224", "SHA1", "RIPEMD160")}
    names |= {
        "a weak and a good user id": add_user(make("ed25519", digest="SHA1"), "SHA512"),
        "a good and a weak user id": add_user(make("ed25519"), "SHA1"),
        "signing subkey": make("rsa3072", ("ed25519", "sign"), usage="cert"),
        "weak signing subkey": make("ed25519", ("dsa2048", "sign"), usage="cert"),
        "weak signing subkey beside a key that signs": make("ed25519", ("dsa2048", "sign")),
        "weak, then good signing subkey": make("ed25519", ("rsa1024", "sign"), ("ed25519", "sign"), usage="cert"),
        "weak subkey that does not sign": make("ed25519", ("rsa1024", "encr")),
        "revoked": make("ed25519"),
        "revoked signing subkey": make("ed25519", ("ed25519", "sign"), usage="cert"),
        "expired": make("ed25519"),
        "expired signing subkey": make("ed25519", ("ed25519", "sign"), usage="cert"),
        "expired signing subkey beside a key that signs": make("ed25519", ("ed25519", "sign")),
    }

    def end(name: str) -> None:
        parts = [subkey.fingerprint for subkey in find(name).subkeys]
        run("gpg", *quiet, "--quick-set-expire", name, "seconds=1", *parts)
        key = find(name)
        ends = [key.expires, *(subkey.expires for subkey in key.subkeys)]
        while time.time() < max(moment or 0 for moment in ends) + 1:
            time.sleep(0.2)

    end(names["expired signing subkey beside a key that signs"])
    for name in names.values():
        sign(name)
    end(names["expired"])
    end(names["expired signing subkey"])
    certificate = (Path(os.environ["GNUPGHOME"]) / f"openpgp-revocs.d/{names['revoked']}.rev").read_text()
    (folder / "revocation").write_text(certificate.replace(":-----BEGIN", "-----BEGIN"))
    run("gpg", *quiet, "--import", folder / "revocation")
    edit(names["revoked signing subkey"], "key 1", "revkey", "y", "0", "", "y", "save")
    said, found = {}, {}
    for what, name in names.items():
        key = find(name)
        run("gpg", *quiet, "--export", "-o", folder / f"{name}.gpg", name)
        # of an expired key sqv takes what it signed before, and gpgv of bookworm nothing
        files = (folder / f"{name}.gpg", folder / f"{name}.sig", folder / "text")
        status = run("gpgv", "--status-fd", "1", "--keyring", *files, check=False)
        for day in DAYS:
            then = day or datetime.now(UTC).date()
            said[what, day] = [fault.reason for fault in lint(key, day=day) if fault.when == NOW]
            output = run(
                "chroot", trixie, "env", f"SEQUOIA_CRYPTO_POLICY={POLICY}", "sqv", "--policy-as-of", f"{then}",
                "--keyring", f"/srv/lint/{name}.gpg", "--signature-file", f"/srv/lint/{name}.sig", "/srv/lint/text",
                check=False,
            )  # fmt: skip
            found[what, day] = bool(re.search(r"^[0-9A-F]{40}$", output, re.MULTILINE)) and "] GOODSIG " in status
    assert {place: not reasons for place, reasons in said.items()} == found, said
    assert len({what for (what, _), good in found.items() if good}) > 8


def test_the_policy_of_trixies_apt_is_the_one_that_lint_knows(trixie: Path) -> None:
    text = (trixie / POLICY.lstrip("/")).read_text()
    rules = dict(re.findall(r"^([\w.]+)\s*=\s*(\S+)", text, re.MULTILINE))
    passed = {name for name, day in rules.items() if day < "2026-12-01"}
    assert passed == {"dsa2048", "dsa3072", "dsa4096", "sha1.second_preimage_resistance", "sha224", "signature.v3"}
    assert rules["rsa2048"] == f"{SHORT_RSA[1]}"
