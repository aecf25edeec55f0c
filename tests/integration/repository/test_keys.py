"""Keys over the years: what gpgv and sqv say of them is what lint says, and a rotation locks nobody out."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from hapkg.cli import output
from hapkg.cli.main import app
from hapkg.errors import RepositoryError, UsageError
from hapkg.repository.change import Publication, PublishTarget
from hapkg.repository.keyring_package import make_keyring
from hapkg.repository.keys import lifecycle
from hapkg.repository.keys.keyring import Key, read_keys
from hapkg.repository.keys.lint import lint
from hapkg.repository.keys.signing import KeyChoice, add_key, find_active, find_key
from hapkg.repository.publishing import refresh
from tests.support.packages import BOOKWORM, IDENTITY, Builds, Client, Issue, run

OWNER = IDENTITY.key_owner
QUIET = ("--batch", "--yes", "--pinentry-mode", "loopback", "--passphrase", "")
LATER = date(2030, 2, 2)


def judge(file: Path, folder: Path) -> bool:
    """Tell whether sqv takes a signature that gpg makes with a key."""
    text, keyring = folder / "text", folder / "keyring"
    text.write_text("text\n")
    name = file.name.removesuffix(".gpg")
    run("gpg", "--batch", "--yes", "--output", keyring, "--export", name)
    run("gpg", "--batch", "--yes", "--digest-algo", "SHA512", "-u", name, "--output", f"{text}.sig", "-b", text)
    return bool(re.search(r"^[0-9A-F]{40}$", run("sqv", "--keyring", keyring, f"{text}.sig", text, check=False), re.M))


def test_lint_agrees_with_sqv(gnupg: Callable[..., Path], tmp_path: Path) -> None:
    weak = ("--cert-digest-algo", "SHA1", "--weak-digest", "MD5")
    made = {
        "": gnupg("ed25519"),
        "RSA of 1024 bits is too short": gnupg("rsa1024"),
        "its user id is bound to it by a SHA-1 signature": gnupg("rsa3072", *weak),
    }
    for reason, file in made.items():
        (key,) = read_keys(file.read_bytes())
        assert [fault.reason for fault in lint(key)] == ([reason] if reason else [])
        assert judge(file, tmp_path) == (not reason)


def test_lint_tells_what_ends_soon(gnupg: Callable[..., Path]) -> None:
    def find(file: Path) -> list[tuple[str, str]]:
        (key,) = read_keys(file.read_bytes())
        return [(fault.reason, fault.when) for fault in lint(key)]

    assert find(gnupg("rsa2048")) == [("RSA of 2048 bits is refused", "2030-02-01")]
    (soon,) = find(gnupg("ed25519", expires="30d"))
    assert soon[0] == "it expires"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", soon[1])
    assert find(gnupg("ed25519", usage="cert")) == [("it cannot sign", "now")]
    assert find(gnupg("ed25519", expires="5y")) == []
    assert [fault.when for fault in lint(read_keys(gnupg("rsa2048").read_bytes())[0], day=LATER)] == ["now"]


def test_every_algorithm_has_its_own_name(gnupg: Callable[..., Path]) -> None:
    for name in ("ed25519", "nistp384", "brainpoolP256r1", "rsa2048", "dsa2048"):
        (key,) = read_keys(gnupg(name).read_bytes())
        assert (key.algorithm, key.subkeys, key.certifies_only) == (name, (), False)
    (key,) = read_keys(gnupg("nistp256", usage="cert").read_bytes())
    run("gpg", *QUIET, "--quick-add-key", key.fingerprint, "cv25519", "encr")
    run("gpg", *QUIET, "--quick-add-key", key.fingerprint, "rsa3072", "sign")
    (key,) = read_keys(run("gpg", "--armor", "--export", key.fingerprint).encode())
    assert (key.algorithm, key.certifies_only) == ("nistp256", True)
    assert [subkey.algorithm for subkey in key.subkeys] == ["rsa3072"]


def test_an_expired_key_of_hapkg_is_extended_and_a_publish_warns_before(
    root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    choice = KeyChoice(home=tmp_path / "keys")
    key = lifecycle.create(choice.home, OWNER, "20d")
    output.print_publication(publication := issue(builds(1), choice=choice), as_json=False)
    assert f"WARNING: the key {key.fingerprint} expires on 20" in capsys.readouterr().err
    (fault,) = lint(key, own=True)
    assert (fault.reason, fault.remedy) == ("it expires", f"hapkg key extend {key.fingerprint}")
    add_key(choice.home, "--quick-set-expire", key.fingerprint, "seconds=1", doing="let the key expire")
    while find_active(choice.home):
        time.sleep(0.1)
    with pytest.raises(RepositoryError, match="holds no key that can sign") as refused:
        issue(builds(2), choice=choice)
    assert "hapkg key extend" in refused.value.hint
    assert [fault.reason for fault in lint(lifecycle.list_keys(choice.home)[0])] == ["it has expired"]
    extended = lifecycle.extend(choice.home, key.fingerprint[-8:])
    assert extended.fingerprint == key.fingerprint
    assert (extended.expires or 0) > time.time() + 4 * 365 * 86400
    output.print_publication(publication := issue(builds(2), choice=choice), as_json=False)
    assert "WARNING" not in capsys.readouterr().err
    client(publication.sources[0].read_text()).update()
    with pytest.raises(RepositoryError, match="ABCD is not one of the keys here"):
        lifecycle.extend(choice.home, "ABCD")


@pytest.mark.parametrize("expires", ["1d", "20", "3w", "2m", "2030-01-31", "1970-01-01"])
@pytest.mark.parametrize("before", ["never", "10y"])
def test_a_key_is_not_extended_to_an_earlier_day(tmp_path: Path, before: str, expires: str) -> None:
    home = tmp_path / "keys"
    key = lifecycle.create(home, OWNER, before)
    with pytest.raises(RepositoryError, match="and would end sooner with --expires") as refused:
        lifecycle.extend(home, expires=expires)
    assert ("never expires" if before == "never" else "is valid until 20") in refused.value.brief
    assert lifecycle.list_keys(home) == (key,)


def test_a_key_is_extended_to_a_later_day_and_for_ever(tmp_path: Path) -> None:
    home = tmp_path / "keys"
    lifecycle.create(home, OWNER, "1y")
    for expires in ("800", "3y", "2099-12-31", "never"):
        before = lifecycle.list_keys(home)[0].expires or 0
        after = lifecycle.extend(home, expires=expires).expires
        assert after is None if expires == "never" else after and after > before
    for expires in ("soon", "", "5 years", "2030-02-31", "\x1b[2J"):
        with pytest.raises(UsageError, match="is no time that a key can last") as refused:
            lifecycle.extend(home, expires=expires)
        assert refused.value.brief.isprintable()


def test_two_keys_of_the_users_own_gnupg_sign_a_rotation(
    gnupg: Callable[..., Path], root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client],
    tmp_path: Path,
) -> None:  # fmt: skip
    old, new = (gnupg("ed25519").name.removesuffix(".gpg") for _ in range(2))

    def publish(*names: str) -> tuple[Publication, Path]:
        choice = KeyChoice(home=tmp_path / "unused", names=names)
        folder = tmp_path / f"keyring-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        signer = find_key(choice, owner=OWNER)
        upload = make_keyring(
            root, folder, name="ha-archive-keyring", suite=BOOKWORM, identity=IDENTITY, choice=choice, key=signer
        )
        publication = issue(builds(1), upload, choice=choice)
        return publication, upload.files[0]

    early = client(publish(old)[0].sources[0].read_text())
    early.update()
    publication, both = publish(new, old)
    assert len(publication.key.fingerprints) == 2
    signed = run("gpgv", "--keyring", publication.keyring, root / "dists/bookworm/InRelease")
    assert signed.count("Good signature") == 2
    early.update()
    late = client(publication.sources[0].read_text())
    late.update()
    again, same = publish(new, old)
    assert (again.written, again.added, same.is_relative_to(root)) == ((), (), True)
    publication, alone = publish(new)
    late.update()
    assert early.refuses()
    assert late.candidate("ha-archive-keyring") == alone.name.split("_")[1] > both.name.split("_")[1]
    assert publish(new)[0].added == ()


def find_grip(name: str) -> str:
    return str(re.findall(r"^grp:+(\w+):", run("gpg", "--with-colons", "--with-keygrip", "-K", name), re.M)[0])


def test_a_passphrase_is_the_agents_business(
    gnupg: Callable[..., Path], root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    home = Path(os.environ["GNUPGHOME"])
    (home / "gpg-agent.conf").write_text("allow-preset-passphrase\n")
    name = gnupg("ed25519", passphrase="an open secret").name.removesuffix(".gpg")
    run("gpgconf", "--kill", "gpg-agent")
    for variable in ("GPG_TTY", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    choice = KeyChoice(home=tmp_path / "unused", names=(name,))
    with pytest.raises(RepositoryError, match="gpg cannot sign: the key has a passphrase, and nobody") as refused:
        issue(builds(1), choice=choice)
    assert "gpg-preset-passphrase" in refused.value.hint
    assert not (root / "dists").exists()
    preset = ("/usr/lib/gnupg/gpg-preset-passphrase", "--preset", "--passphrase", "an open secret", find_grip(name))
    run("gpg-connect-agent", "/bye")
    run(*preset)
    client(issue(builds(1), choice=choice).sources[0].read_text()).update()


def test_a_rotation_locks_nobody_out(
    root: Path, issue: Issue, builds: Builds, client: Callable[[str], Client], tmp_path: Path
) -> None:
    home = tmp_path / "keys"
    old = lifecycle.create(home, OWNER)
    choice = KeyChoice(home=home)
    site = PublishTarget(root=root, identity=IDENTITY, choice=choice)
    early = client(issue(builds(1), choice=choice).sources[0].read_text())
    early.update()
    new = lifecycle.rotate(home, OWNER)
    publication = refresh(site)
    assert set(publication.key.fingerprints) == {new.fingerprint, old.fingerprint}
    signed = run("gpgv", "--keyring", publication.keyring, root / "dists/bookworm/InRelease")
    assert signed.count("Good signature") == 2
    early.update()
    late = client(publication.sources[0].read_text())
    late.update()
    assert issue(builds(1), choice=choice).unchanged == (BOOKWORM,)
    assert [fault for key in lifecycle.list_keys(home) for fault in lint(key)] == []
    assert lifecycle.retire(home, old.fingerprint[-16:]).fingerprint == old.fingerprint
    publication = issue(builds(1), choice=choice)
    assert publication.written == (BOOKWORM,)
    late.update()
    assert early.refuses()
    assert [key.fingerprint for key in read_keys(publication.keyring.read_bytes())] == [new.fingerprint]


def test_what_cannot_be_done_with_keys_is_said(tmp_path: Path) -> None:
    home = tmp_path / "keys"
    with pytest.raises(RepositoryError, match="there is no key to rotate"):
        lifecycle.rotate(home, OWNER)
    with pytest.raises(RepositoryError, match="there is no key yet"):
        lifecycle.export(home, armored=True)
    key = lifecycle.create(home, OWNER, "5y")
    assert isinstance(key, Key)
    assert key.expires is not None
    with pytest.raises(RepositoryError, match="there is a signing key already"):
        lifecycle.create(home, OWNER)
    with pytest.raises(RepositoryError, match="is the only key that signs"):
        lifecycle.retire(home, key.fingerprint)
    with pytest.raises(RepositoryError, match="ABCD is not one of the keys that sign"):
        lifecycle.retire(home, "ABCD")
    assert lifecycle.list_keys(home) == (key,)


def test_a_key_is_imported_only_when_it_can_sign_and_apt_takes_it(gnupg: Callable[..., Path], tmp_path: Path) -> None:
    home = tmp_path / "keys"
    (tmp_path / "junk").write_text("junk")
    for file, message in (
        (gnupg("rsa1024"), "apt refuses the key in .*: RSA of 1024 bits is too short"),
        (gnupg("ed25519", passphrase="secret"), "cannot sign here"),
        (tmp_path / "junk", "gpg cannot import .*junk: it holds no OpenPGP key"),
    ):
        with pytest.raises(RepositoryError, match=message) as refused:
            lifecycle.import_key(home, file)
        assert refused.value.hint
        assert not [line for line in refused.value.details if "/tmp/hapkg-gpg" in line]
        assert not home.exists()
    good = gnupg("ed25519")
    key = lifecycle.import_key(home, good)
    assert lifecycle.list_keys(home) == (key,)
    assert find_active(home) == [key.fingerprint]


def test_what_gpg_refuses_is_told_without_a_command_that_nobody_can_repeat(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="gpg cannot make a key: exit status 2") as refused:
        lifecycle.create(tmp_path / "keys", OWNER, "2020-01-01")
    assert refused.value.details == ("gpg: Key generation failed: Invalid value",)


def test_the_keyring_package_brings_the_keys_of_a_rotation(
    root: Path, issue: Issue, client: Callable[[str], Client], tmp_path: Path
) -> None:
    choice = KeyChoice(home=tmp_path / "keys")
    lifecycle.create(choice.home, OWNER)

    def publish_keyring(folder: Path) -> Path:
        folder.mkdir()
        signer = find_key(choice, owner=OWNER)
        upload = make_keyring(
            root, folder, name="ha-archive-keyring", suite=BOOKWORM, identity=IDENTITY, choice=choice, key=signer
        )
        issue(upload, choice=choice)
        return upload.files[0]

    first = publish_keyring(tmp_path / "1")
    assert publish_keyring(tmp_path / "2").is_relative_to(root)
    time.sleep(1.1)
    lifecycle.rotate(choice.home, OWNER)
    second = publish_keyring(tmp_path / "3")
    machine = client((root / "ha-stack.sources").read_text())
    machine.update()
    version = second.name.split("_")[1]
    assert machine.candidate("ha-archive-keyring") == version
    assert run("dpkg", "--compare-versions", version, "gt", first.name.split("_")[1]) == ""
    run("dpkg-deb", "-x", second, tmp_path / "node")
    keyring = tmp_path / "node/usr/share/keyrings/ha-archive-keyring.gpg"
    assert [key.fingerprint for key in read_keys(keyring.read_bytes())] == find_active(choice.home)
    assert run("lintian", "--allow-root", "--fail-on", "error,warning,info", "--display-info", second) == ""


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setenv("HAPKG_KEYS", str(tmp_path / "keys"))

    def call(*words: str) -> bytes:
        app(["key", *words], standalone_mode=False)
        return capfdbinary.readouterr().out

    call("create", "--expires", "5y")
    call("rotate")
    old, new = json.loads(call("list", "--json"))
    assert (old["state"], new["state"], new["expires"]) == ("signs", "signs", "never")
    call("retire", old["fingerprint"])
    assert [row["state"] for row in json.loads(call("list", "--json"))] == ["retired", "signs"]
    assert [key.fingerprint for key in read_keys(call("export"))] == [new["fingerprint"]]
    assert call("export", "--armor").startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----")
    assert json.loads(call("lint", "--json")) == []
    with pytest.raises(UsageError, match="does not exist"):
        call("import", str(tmp_path / "none"))


def test_projects_with_keys_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.delenv("HAPKG_KEYS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def call(place: Path, *words: str) -> bytes:
        monkeypatch.chdir(place)
        app(["key", *words], standalone_mode=False)
        return capfdbinary.readouterr().out

    projects = tmp_path / "one", tmp_path / "two", tmp_path / "plain"
    for folder in projects:
        app(["init", str(folder), "--maintainer", "T <t@example.org>"], standalone_mode=False)
    settings = projects[2] / "pyproject.toml"
    settings.write_text(settings.read_text().replace('key-home = "plain"\n', ""))
    capfdbinary.readouterr()
    for folder in projects:
        call(folder, "create")
    made = [call(folder, "export") for folder in projects]
    assert len(set(made)) == 3
    assert [bool(list((tmp_path / "data/hapkg" / name).glob("*.kbx"))) for name in ("key-homes/one/keys", "keys")] == [
        True,
        True,
    ]
    assert call(projects[0] / "recipes", "export") == made[0]
    assert call(tmp_path, "export") == made[2], "outside of projects it is the home of those that name none"
    monkeypatch.setenv("HAPKG_KEYS", str(tmp_path / "data/hapkg/key-homes/two/keys"))
    assert call(projects[0], "export") == made[1], "the environment goes before"
