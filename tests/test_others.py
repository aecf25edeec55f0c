"""What other programs make of the repository: mirrors take it whole, from the keyring it brings."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hapkg.mirror import find_mirror
from hapkg.signing import KeyChoice, find_active
from tests.packages import OWN, TRIXIE, Builds, Issue, read_index, run, serve


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


def test_reprepro_takes_the_newest(root: Path, url: str, tmp_path: Path, key: KeyChoice) -> None:
    conf = tmp_path / "reprepro" / "conf"
    conf.mkdir(parents=True)
    (conf / "distributions").write_text(
        f"Codename: bookworm\nArchitectures: {OWN} source\nComponents: main debug\nUpdate: ha\n"
    )
    signer = find_active(key.home)[0][-16:]
    (conf / "updates").write_text(
        f"Name: ha\nMethod: {url}\nSuite: bookworm\nComponents: main debug\nVerifyRelease: {signer}\n"
    )
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        run("gpg", "--batch", "--import", root / "hapkg-test-archive-keyring.gpg", GNUPGHOME=home)
        run("reprepro", "-b", tmp_path / "reprepro", "update", GNUPGHOME=home)
    folder = tmp_path / "reprepro/dists/bookworm"
    stanzas = read_index(folder / f"main/binary-{OWN}/Packages")
    assert sorted((stanza["Package"], stanza["Version"]) for stanza in stanzas) == [
        ("ha-stack", "1.2-2+ha12.0"),
        ("libha-logic1", "1.2-2+ha12.0"),
    ]
    theirs = {stanza["Package"]: stanza["SHA256"] for stanza in stanzas}
    ours = read_index(root / f"dists/bookworm/main/binary-{OWN}/Packages")
    assert {s["Package"]: s["SHA256"] for s in ours if s["Version"] == "1.2-2+ha12.0"} == theirs


def test_sqv_takes_the_signature(root: Path, url: str) -> None:
    folder = root / "dists/bookworm"
    keyring = root / "hapkg-test-archive-keyring.gpg"
    assert len(run("sqv", "--keyring", keyring, folder / "Release.gpg", folder / "Release").strip()) == 40


@pytest.mark.usefixtures("url")
def test_apt_ftparchive_without_our_caches_says_the_same(root: Path, tmp_path: Path) -> None:
    for component in ("main", "debug"):
        index = tmp_path / component
        index.write_text(run("apt-ftparchive", "packages", f"pool/bookworm/{component}", cwd=root))
        ours = read_index(root / f"dists/bookworm/{component}/binary-{OWN}/Packages")
        drop = ("MD5sum", "SHA1", "SHA512")
        theirs = [{name: value for name, value in s.items() if name not in drop} for s in read_index(index)]
        mine = [{name: value for name, value in s.items() if name not in drop} for s in ours]

        def order(stanza: dict[str, str]) -> str:
            return stanza["Filename"]

        assert sorted(mine, key=order) == sorted(theirs, key=order) != []


@pytest.mark.usefixtures("url")
def test_apt_of_trixie_reads_it_without_a_warning(root: Path, tmp_path: Path) -> None:
    mirror = find_mirror(None)
    chroot = tmp_path / "trixie"
    options = ("--quiet", "--mode=root", "--variant=apt", f"--architectures={OWN}")
    run("mmdebstrap", *options, "trixie", chroot, *(mirror.lines(TRIXIE)[:1] if mirror else ()))
    (chroot / "etc/apt/sources.list").unlink()
    shutil.copytree(root, chroot / "srv/apt")
    text = (root / "ha-stack.sources").read_text()
    sources = re.sub("URIs: .*", "URIs: file:/srv/apt", text).replace("Types: deb", "Types: deb deb-src")
    (chroot / "etc/apt/sources.list.d/ha.sources").write_text(sources)
    assert (chroot / "usr/bin/sqv").is_file()
    output = run("chroot", chroot, "apt-get", "update", "--audit", "-o", "APT::Update::Error-Mode=any")
    assert not re.search(r"^(W|E|N|A|Err|Audit|Warning|Notice)\b", output, re.MULTILINE | re.IGNORECASE), output
    assert "Inst ha-stack (1.2-2+ha12.0 " in run("chroot", chroot, "apt-get", "install", "--simulate", "ha-stack")
