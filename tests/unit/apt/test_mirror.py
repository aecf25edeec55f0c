"""Where the Debian archive is, by the host's apt configuration."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hapkg.apt import mirror
from hapkg.apt.mirror import FurtherArchive, Mirror, digest_further, find_mirror
from hapkg.apt.settings import make_options
from hapkg.control import Suite
from hapkg.disk import sha256_file
from hapkg.distribution import read_debian, read_distributions
from hapkg.errors import ProcessError, UsageError
from hapkg.host import read_architecture
from hapkg.locations import State
from hapkg.programs import process
from hapkg.source.origins.debian import update_index

DEBIAN = "http://deb.example.org/debian"
SECURITY = "http://security.example.org/debian-security"
DISTRIBUTION = read_debian()
BOTH = Mirror(distribution=DISTRIBUTION, uri=DEBIAN, security=SECURITY)


def write_host(folder: Path, files: dict[str, str]) -> Path:
    """An /etc/apt with these files."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    return folder


def test_a_named_mirror_wins(tmp_path: Path) -> None:
    host = write_host(tmp_path, {"sources.list": f"deb {DEBIAN} bookworm main\n"})
    expected = Mirror(distribution=DISTRIBUTION, uri="http://other.example.org/debian/", security=None)
    assert find_mirror("http://other.example.org/debian", DISTRIBUTION, host) == expected
    assert find_mirror("http://other.example.org/debian/", DISTRIBUTION, host) == expected


def test_one_line_entries_are_read(tmp_path: Path) -> None:
    text = f"""
# deb http://comment.example.org/debian bookworm main
deb-src http://source.example.org/debian bookworm main
deb cdrom:[Debian 12 _Bookworm_]/ bookworm main
deb http://third.example.org/debian stable contrib # main
  deb\t[ arch=amd64 signed-by=/usr/share/keyrings/x.gpg ] {DEBIAN} bookworm main contrib # why
deb {DEBIAN} bookworm-updates main
deb [trusted=yes] {SECURITY} bookworm-security main
deb http://late.example.org/debian bookworm main
"""
    assert find_mirror(None, DISTRIBUTION, write_host(tmp_path, {"sources.list": text})) == Mirror(
        distribution=DISTRIBUTION,
        uri=f"[signed-by=/usr/share/keyrings/x.gpg] {DEBIAN}",
        security=f"[trusted=yes] {SECURITY}",
        updates=True,
    )


def test_stanzas_are_read(tmp_path: Path) -> None:
    text = f"""\
# The archive
Types: deb deb-src
# a comment inside
URIs: {DEBIAN} http://second.example.org/debian
Suites: bookworm bookworm-updates
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: {SECURITY}
Suites: bookworm-security
Components: main
"""
    host = write_host(tmp_path, {"sources.list.d/debian.sources": text})
    assert find_mirror(None, DISTRIBUTION, host) == replace(BOTH, updates=True)


@pytest.mark.parametrize(
    "change",
    [("Types: deb", "Types: deb-src"), ("Components: main", "Components: contrib"), ("bookworm", "bookworm-backports")]
    + [("Types:", f"Enabled: {word}\nTypes:") for word in ("no", "No", "false", "off", "0")],
)
def test_what_gives_no_packages_of_main_is_passed_over(tmp_path: Path, change: tuple[str, str]) -> None:
    stanza = f"Types: deb\nURIs: {DEBIAN}\nSuites: bookworm\nComponents: main\n"
    host = write_host(tmp_path, {"sources.list.d/debian.sources": stanza})
    assert find_mirror(None, DISTRIBUTION, host) == Mirror(distribution=DISTRIBUTION, uri=DEBIAN, security=None)
    assert (
        find_mirror(
            None, DISTRIBUTION, write_host(tmp_path, {"sources.list.d/debian.sources": stanza.replace(*change)})
        ).uri
        is None
    )


def test_another_distribution_is_no_debian_archive(tmp_path: Path) -> None:
    text = "deb http://other.example.org/ubuntu jammy main\ndeb http://other.example.org/ubuntu jammy-security main\n"
    assert find_mirror(None, DISTRIBUTION, write_host(tmp_path, {"sources.list": text})).uri is None
    assert find_mirror(None, DISTRIBUTION, tmp_path / "nowhere").uri is None


def test_each_distribution_finds_its_own_archive(tmp_path: Path) -> None:
    other = "http://other.example.org/ubuntu"
    text = f"deb {DEBIAN} bookworm main\ndeb {other} noble main universe\ndeb {other} noble-security main\n"
    host = write_host(tmp_path, {"sources.list": text})
    ubuntu = read_distributions()[Suite("noble")]
    assert find_mirror(None, DISTRIBUTION, host).uri == DEBIAN
    assert find_mirror(None, ubuntu, host) == Mirror(distribution=ubuntu, uri=other, security=other)
    first, *_ = find_mirror("http://near.example.org/ubuntu", ubuntu, host).lines(Suite("jammy"))
    assert first.endswith("http://near.example.org/ubuntu/ jammy main universe")


def test_an_older_release_names_its_security_suite_otherwise(tmp_path: Path) -> None:
    text = f"deb {DEBIAN} buster main\ndeb {SECURITY} buster/updates main\n"
    assert find_mirror(None, DISTRIBUTION, write_host(tmp_path, {"sources.list": text})) == BOTH


def test_a_list_of_mirrors_gives_its_first(tmp_path: Path) -> None:
    write_host(tmp_path, {"mirrors/debian.list": f"# near\n\n{DEBIAN}\tpriority:1\nhttp://far.example.org/debian\n"})
    stanza = f"Types: deb\nURIs: mirror+file:{tmp_path}/mirrors/debian.list\nSuites: bookworm\nComponents: main\n"
    host = write_host(tmp_path, {"sources.list.d/debian.sources": stanza})
    assert find_mirror(None, DISTRIBUTION, host) == Mirror(distribution=DISTRIBUTION, uri=DEBIAN, security=None)
    (tmp_path / "mirrors/debian.list").unlink()
    assert find_mirror(None, DISTRIBUTION, host).uri is None


@pytest.mark.parametrize("text", ["", "garbage\n", "deb\n", "deb [\n", "deb [x]\n", "\xff\x00\n", "deb a b\n"])
def test_a_file_that_says_nothing_is_no_harm(tmp_path: Path, text: str) -> None:
    assert (
        find_mirror(
            None, DISTRIBUTION, write_host(tmp_path, {"sources.list": text, "sources.list.d/x.sources": text})
        ).uri
        is None
    )


def test_a_mirror_gives_entries_for_a_suite(tmp_path: Path) -> None:
    distribution = DISTRIBUTION.model_copy(update={"keyring": f"{tmp_path}/keyring.gpg"})
    both = Mirror(distribution=distribution, uri=DEBIAN, security=SECURITY)
    assert both.lines(Suite("bookworm")) == (
        f"deb {DEBIAN} bookworm main",
        f"deb {DEBIAN} bookworm-updates main",
        f"deb {SECURITY} bookworm-security main",
    )
    assert both.lines(Suite("sid"), "deb-src") == (f"deb-src {DEBIAN} sid main",)
    assert replace(both, security=None).lines(Suite("bookworm")) == (f"deb {DEBIAN} bookworm main",)
    (tmp_path / "keyring.gpg").touch()
    named = replace(both, uri=f"[trusted=yes] {DEBIAN}")
    assert named.line("sid", "deb") == f"deb [trusted=yes] {DEBIAN} sid main"
    assert both.lines(Suite("sid")) == (f"deb [signed-by={tmp_path}/keyring.gpg] {DEBIAN} sid main",)


def test_updates_are_read_without_security_where_the_host_has_them(tmp_path: Path) -> None:
    far = "deb http://far.example.org/debian bookworm-updates main\n"
    host = write_host(tmp_path, {"sources.list": f"deb {DEBIAN} bookworm main\n{far}"})
    assert not find_mirror(None, DISTRIBUTION, host).updates, "they are of another archive"
    write_host(tmp_path, {"sources.list": f"deb {DEBIAN} bookworm main\ndeb {DEBIAN} bookworm-updates main\n"})
    found = find_mirror(None, DISTRIBUTION, host)
    assert found == Mirror(distribution=DISTRIBUTION, uri=DEBIAN, security=None, updates=True)
    assert [line.split()[-2] for line in found.lines(Suite("trixie"))] == ["trixie", "trixie-updates"]
    assert found.list_pockets("sid") == ()


def test_the_distribution_says_which_suites_come_with_one() -> None:
    other = DISTRIBUTION.model_copy(update={"pockets": ("fixes",), "rolling_suites": ("trixie",)})
    mirror = replace(BOTH, distribution=other)
    names = {suite: [line.split()[-2] for line in mirror.lines(Suite(suite))] for suite in ("bookworm", "trixie")}
    assert names == {"bookworm": ["bookworm", "bookworm-fixes"], "trixie": ["trixie"]}


def test_settings_are_told_to_apt_by_a_file_of_its_owner_alone(
    tmp_path: Path, lists: Path, request: pytest.FixtureRequest
) -> None:
    told: list[str] = []
    process.observe(lambda argv: told.append(" ".join(argv)))
    request.addfinalizer(lambda: process.observe(None))
    line = f"deb [trusted=yes] {make_archive(tmp_path / 'debian', 'Debian')} bookworm main"
    state, proxy = State(tmp_path / "state"), {"Acquire::http::Proxy": "http://me:secret@proxy.example.org:3128"}
    options = update_index(state, "bookworm", line, refresh=False, more=proxy)
    assert "secret" in process.run(["apt-config", *options, "dump", "Acquire::http::Proxy"]).output
    assert "Package: one" in process.run(["apt-cache", *options, "show", "one"]).output
    with pytest.raises(ProcessError) as failed:
        update_index(state, "bookworm", line.replace("debian", "nowhere"), refresh=True, more=proxy)
    assert len(told) > 3 and not any("secret" in line for line in (*told, *failed.value.details))
    (file, *_) = files = [
        file for file in state.sources.rglob("*") if file.is_file() and b"secret" in file.read_bytes()
    ]
    assert len(files) == 2 and file.stat().st_mode & 0o777 == 0o600


def test_an_address_with_a_password_is_refused(tmp_path: Path) -> None:
    fault = r"^the address of the archive on deb\.example\.org holds a user, a password or a token$"
    for login in ("me:secret", "TOKEN", "me:se@cret", ":secret", "me:"):
        with pytest.raises(UsageError, match=fault) as told:
            find_mirror(f"[trusted=yes] https://{login}@deb.example.org/debian", DISTRIBUTION)
        assert told.value.hint.startswith("put it into /etc/apt/auth.conf.d/: machine deb.example.org login")
    host = write_host(tmp_path, {"sources.list": "deb https://me:secret@deb.example.org/debian bookworm main\n"})
    found = find_mirror(None, DISTRIBUTION, host)
    assert found.uri and "secret" not in found.uri, "apt takes it out"
    assert find_mirror("https://deb.example.org/debian:1@2", DISTRIBUTION).uri


def make_archive(folder: Path, origin: str, suite: str = "bookworm", *fields: str) -> str:
    """An archive of one package, and its address."""
    name = f"main/binary-{read_architecture()}/Packages"
    index = folder / f"dists/{suite}/{name}"
    index.parent.mkdir(parents=True)
    index.write_text("Package: one\nVersion: 1\nArchitecture: all\nFilename: one.deb\nSize: 1\nDescription: one\n")
    lines = [f"Origin: {origin}", f"Codename: {suite}", f"Architectures: {read_architecture()}", "Components: main"]
    lines += [*fields, "SHA256:", f" {sha256_file(index)} {index.stat().st_size} {name}", ""]
    (folder / f"dists/{suite}/Release").write_text("\n".join(lines))
    return f"file:{folder}"


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """An empty folder for apt's lists."""
    (tmp_path / "lists/partial").mkdir(parents=True)
    return tmp_path / "lists"


def update(host: Path, lists: Path) -> None:
    """Fetch every index that a host's apt configuration names."""
    settings = {"Dir::Etc": host, "Dir::State::Lists": lists, "Dir::Cache": lists.parent, "APT::Sandbox::User": "root"}
    options = make_options({name: str(value) for name, value in settings.items()})
    process.run(["apt-get", *options, "--error-on=any", "update"])


def write_lists(folder: Path, **lines: str) -> Path:
    """An /etc/apt with a list for each line."""
    return write_host(folder, {f"sources.list.d/{name}.list": f"{line}\n" for name, line in lines.items()})


def test_an_archive_that_says_it_is_not_debians_is_passed_over(tmp_path: Path, lists: Path) -> None:
    other, debian = (
        f"[trusted=yes] {make_archive(tmp_path / name, origin)}"
        for name, origin in (("some_thing", "Some Thing"), ("debian", "Debian"))
    )
    host = write_lists(tmp_path / "etc", a=f"deb {other} bookworm main")
    update(host, lists)
    found = find_mirror(None, DISTRIBUTION, host, lists)
    assert found.uri is None
    assert found.remark == (
        f"file:{tmp_path}/some_thing of {host}/sources.list.d/a.list is passed over, its Release says Origin: "
        "Some Thing, not Debian: it can be named with --mirror"
    )
    host = write_lists(tmp_path / "etc", b=f"deb {debian} bookworm main")
    update(host, lists)
    found = find_mirror(None, DISTRIBUTION, host, lists)
    assert (found.uri, found.remark) == (debian, f"the archive is the one of {host}/sources.list.d/b.list")


def test_an_archive_without_an_index_never_goes_before_the_distributions_own(tmp_path: Path, lists: Path) -> None:
    debian = f"[trusted=yes] {make_archive(tmp_path / 'debian', 'Debian')}"
    update(write_lists(tmp_path / "etc", b=f"deb {debian} bookworm main"), lists)
    host = write_lists(tmp_path / "etc", a="deb http://ppa.example.org/x trixie main")
    assert find_mirror(None, DISTRIBUTION, host, lists, suite=Suite("trixie")).uri == debian
    assert find_mirror(None, DISTRIBUTION, host, lists).uri == debian


def test_an_index_tells_the_suite_that_stable_is(tmp_path: Path, lists: Path) -> None:
    old, new = (f"[trusted=yes] {make_archive(tmp_path / name, 'Debian', name)}" for name in ("bookworm", "trixie"))
    (tmp_path / "trixie/dists/stable").symlink_to("trixie")
    host = write_lists(tmp_path / "etc", a=f"deb {old} bookworm main", b=f"deb {new} stable main")
    update(host, lists)
    assert find_mirror(None, DISTRIBUTION, host, lists, suite=Suite("trixie")).uri == new
    assert find_mirror(None, DISTRIBUTION, host, lists, suite=Suite("bookworm")).uri == old
    assert find_mirror(None, DISTRIBUTION, host, lists, suite=Suite("forky")).uri == old


VENDOR = """Types: deb
URIs: https://vendor.example.org/apt/
Suites: {}
Components: main
Signed-By: /etc/apt/keyrings/vendor.gpg
"""


@pytest.mark.parametrize("other", ["stable", "bullseye", "bookworm"])
@pytest.mark.parametrize("pockets", ["", " bookworm-updates"])
def test_without_indexes_the_likeliest_archive_is_taken(tmp_path: Path, other: str, pockets: str) -> None:
    signed = "" if pockets else f"Signed-By: {DISTRIBUTION.keyring}\n"
    stanza = f"Types: deb\nURIs: {DEBIAN}\nSuites: bookworm{pockets}\nComponents: main\n{signed}"
    files = {"sources.list.d/aaa-vendor.sources": VENDOR.format(other), "sources.list.d/debian.sources": stanza}
    host = write_host(tmp_path / "etc", files)
    for suite in (Suite("bookworm"), Suite("trixie"), None):
        if not pockets or suite == "bookworm":
            assert find_mirror(None, DISTRIBUTION, host, tmp_path, suite=suite).uri == DEBIAN


def test_a_security_archive_of_the_suite_goes_first(tmp_path: Path) -> None:
    lines = (
        f"deb {DEBIAN} trixie main\ndeb {SECURITY}-old bookworm-security main\ndeb {SECURITY} trixie-security main\n"
    )
    host = write_host(tmp_path, {"sources.list": lines})
    assert find_mirror(None, DISTRIBUTION, host, tmp_path, suite=Suite("trixie")) == BOTH
    assert find_mirror(None, DISTRIBUTION, host, tmp_path, suite=Suite("bookworm")).security == f"{SECURITY}-old"


@pytest.fixture
def company(tmp_path: Path, gnupg: Callable[..., Path]) -> str:
    """A mirror that a company signs with its own key, long expired; the key is beside it, as it is and armoured."""
    uri = make_archive(tmp_path / "mirror", "Debian", "bookworm", "Valid-Until: Sat, 01 Jan 2022 00:00:00 UTC")
    gnupg("ed25519")
    release = tmp_path / "mirror/dists/bookworm/Release"
    for argv in (
        ["--output", f"{release.with_name('InRelease')}", "--clearsign", f"{release}"],
        ["--output", f"{tmp_path}/key.gpg", "--export"],
        ["--output", f"{tmp_path}/key.asc", "--armor", "--export"],
    ):
        subprocess.run(["gpg", "--batch", "--quiet", *argv], check=True)
    release.unlink()
    return uri


def test_a_mirror_with_a_key_of_its_own_is_read_with_that(tmp_path: Path, company: str) -> None:
    """Debian's keyring would say NO_PUBKEY, and the default that it is too old."""
    state, strict = State(tmp_path / "state"), {"Acquire::Check-Valid-Until": "true", "Acquire::Check-Date": "true"}
    stanza = f"Types: deb\nURIs: {company}\nSuites: bookworm\nComponents: main\nCheck-Valid-Until: no\nSigned-By:"
    armoured = "".join(f" {line or '.'}\n" for line in (tmp_path / "key.asc").read_text().splitlines())
    host = write_host(tmp_path / "etc", {"sources.list.d/x.sources": f"# ours\n\n{stanza}\n{armoured}"})
    found = find_mirror(None, DISTRIBUTION, host, tmp_path, state)
    (key,) = (state.apt / "keys").iterdir()
    assert key.read_text() == (tmp_path / "key.asc").read_text()
    assert found.uri == f"[signed-by={key} check-valid-until=no] {company}"
    update_index(state, "embedded", found.line("bookworm", "deb"), refresh=False, more=strict)
    (host / "sources.list.d/x.sources").unlink()
    for options, why in (
        (f"signed-by={tmp_path}/key.gpg check-valid-until=no", ""),
        (f"signed-by={tmp_path}/key.gpg", "is expired"),
        ("check-valid-until=no", "NO_PUBKEY|no longer signed|is not signed"),
    ):
        write_host(host, {"sources.list": f"deb [{options} arch={read_architecture()}] {company} bookworm main\n"})
        found = find_mirror(None, DISTRIBUTION, host, tmp_path, state)
        line = found.line("bookworm", "deb")
        told = ""
        try:
            update_index(state, "named", line, refresh=True, more=strict)
        except ProcessError as error:
            told = "\n".join(error.details)
        assert re.search(why, told) if why else not told, told


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("arch=amd64", ""),
        ("signed-by={keyring}", ""),
        ("signed-by={other}", ""),
        ("signed-by={keyring} check-date=no", "[signed-by={keyring} check-date=no] "),
        ("check-valid-until=no", "[signed-by={keyring} check-valid-until=no] "),
        ("trusted=yes", "[trusted=yes] "),
        ("trusted=no", "[signed-by={keyring} trusted=no] "),
        ('signed-by="/a.gpg,/b.gpg"', "[signed-by=/a.gpg,/b.gpg] "),
        (
            "allow-weak=yes signed-by=0123456789ABCDEF0123456789ABCDEF01234567 lang=de",
            "[signed-by=0123456789ABCDEF0123456789ABCDEF01234567 allow-weak=yes] ",
        ),
    ],
)
def test_options_by_which_the_host_believes_its_archive_are_kept(tmp_path: Path, options: str, expected: str) -> None:
    names = {"keyring": f"{tmp_path}/keyring.pgp", "other": f"{tmp_path}/keyring.gpg"}
    Path(names["keyring"]).touch()
    Path(names["other"]).symlink_to("keyring.pgp")
    distribution = DISTRIBUTION.model_copy(update={"keyring": names["keyring"]})
    entry = f"deb [{options.format(**names)}] {DEBIAN} bookworm main\n"
    found = find_mirror(None, distribution, write_host(tmp_path / "etc", {"sources.list": entry}), tmp_path)
    assert found.uri == f"{expected.format(**names)}{DEBIAN}"


def test_further_archives_come_last_and_bring_no_sources(tmp_path: Path) -> None:
    key = tmp_path / "x.gpg"
    further = FurtherArchive(uri="https://x.example.org/", suite="any", components=("main",), keyring=key)
    mirror = replace(BOTH, further=(further,))
    bookworm = Suite("bookworm")
    assert mirror.lines(bookworm) == (*BOTH.lines(bookworm), f"deb [signed-by={key}] https://x.example.org/ any main")
    assert mirror.lines(bookworm, "deb-src") == BOTH.lines(bookworm, "deb-src")
    assert " copy:///srv/apt any main" in replace(further, uri="file:///srv/apt").line()


def test_further_archives_are_told_apart_by_entry_and_key(tmp_path: Path) -> None:
    one, other = tmp_path / "one.gpg", tmp_path / "other.gpg"
    one.write_bytes(b"key")
    other.write_bytes(b"key")
    archive = FurtherArchive(uri="https://x.example.org/", suite="any", components=("main",), keyring=one)
    digest = digest_further((archive,))
    assert digest_further(()) == ""
    assert digest_further((replace(archive, keyring=other),)) == digest
    assert digest_further((replace(archive, components=("main", "more")),)) != digest
    assert digest_further((replace(archive, suite="other"),)) != digest
    other.write_bytes(b"another key")
    assert digest_further((replace(archive, keyring=other),)) != digest


def test_apts_digest_of_the_lists_is_kept_where_the_host_keeps_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_DIGEST", tmp_path / "nowhere/pkgcache.bin")
    host = write_host(tmp_path / "etc", {"sources.list": f"deb {DEBIAN} bookworm main\n"})
    state = State(tmp_path / "state")
    found = find_mirror(None, DISTRIBUTION, host, state=state)
    assert found == Mirror(distribution=DISTRIBUTION, uri=DEBIAN, security=None)
    digest = state.apt / "pkgcache.bin"
    made = digest.stat().st_mtime_ns
    assert find_mirror(None, DISTRIBUTION, host, state=state) == found
    assert digest.stat().st_mtime_ns == made
    (host / "sources.list").write_text(f"deb {DEBIAN}-other bookworm main\n")
    assert find_mirror(None, DISTRIBUTION, host, state=state).uri == f"{DEBIAN}-other"
    digest.write_bytes(b"no digest")
    assert find_mirror(None, DISTRIBUTION, host, state=state).uri == f"{DEBIAN}-other"
    shutil.rmtree(state.apt)
    state.apt.write_text("no folder")
    assert find_mirror(None, DISTRIBUTION, host, state=state).uri == f"{DEBIAN}-other"
    monkeypatch.setattr(mirror, "_DIGEST_ROOM", 1 << 60)
    full = State(tmp_path / "full")
    assert find_mirror(None, DISTRIBUTION, host, state=full).uri == f"{DEBIAN}-other"
    assert not (full.apt / "pkgcache.bin").exists(), "the disk has no room for it"
    monkeypatch.setattr(mirror, "_DIGEST", host / "sources.list")
    other = State(tmp_path / "other")
    assert find_mirror(None, DISTRIBUTION, host, state=other).uri == f"{DEBIAN}-other"
    assert not other.apt.exists(), "the host has one"
