"""doctor: the remedy fits the distribution of the machine, and the archives those of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.control import Suite
from hapkg.distribution import Distribution, read_debian, read_distributions
from hapkg.doctor import HostCheck, advise_confinement, check_archives, check_state
from hapkg.errors import UsageError
from hapkg.locations import State

NOBLE = Suite("noble")
DEBIAN = "http://deb.example.org/debian"
UBUNTU = "http://archive.example.org/ubuntu"
DEBIAN_ENTRY, UBUNTU_ENTRY = f"deb {DEBIAN} bookworm main\n", f"deb {UBUNTU} noble main universe\n"


@pytest.mark.parametrize(
    ("said", "root", "words"),
    [
        (None, False, "sysctl kernel.unprivileged_userns_clone=1"),
        ("0\n", False, "sysctl kernel.unprivileged_userns_clone=1"),
        ("1\n", False, "/usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && apparmor_parser"),
        ("0\n", True, "CAP_SYS_ADMIN"),
        ("1\n", True, "by an ordinary user"),
    ],
)
def test_namespaces_that_apparmor_forbids_want_a_profile(
    tmp_path: Path, said: str | None, root: bool, words: str
) -> None:
    restriction = tmp_path / "apparmor_restrict_unprivileged_userns"
    if said is not None:
        restriction.write_text(said)
    remedy = advise_confinement(restriction, root=root)
    assert words in remedy
    assert ("AppArmor" in remedy) == (said == "1\n")
    assert ("unprivileged_userns_clone" in remedy) == (said != "1\n")


def look(
    folder: Path, entries: str, distributions: tuple[Distribution, ...], debian_mirror: str | None = None
) -> dict[str, HostCheck]:
    """Results, by their names, on a host whose apt has these entries and has fetched nothing."""
    (folder / "etc").mkdir()
    (folder / "etc/sources.list").write_text(entries)
    checks = check_archives(distributions, debian_mirror, host=folder / "etc", lists=folder / "lists")
    assert len({check.check for check in checks}) == len(checks)
    return {check.check: check for check in checks}


def test_each_distribution_has_its_archive_and_its_keys(tmp_path: Path) -> None:
    here, gone = tmp_path / "here.gpg", tmp_path / "gone.gpg"
    here.touch()
    debian = read_debian().model_copy(update={"keyring": str(here)})
    ubuntu = read_distributions()[NOBLE].model_copy(update={"keyring": str(gone)})
    found = look(tmp_path, DEBIAN_ENTRY + UBUNTU_ENTRY, (debian, ubuntu))
    assert found["Debian archive"].found == f"{DEBIAN} (from the host's apt)"
    assert found["Ubuntu archive"].found == f"{UBUNTU} (from the host's apt)"
    assert (found["Debian keys"].ok, found["Debian keys"].found, found["Debian keys"].remedy) == (True, str(here), "")
    keys = found["Ubuntu keys"]
    assert (keys.ok, keys.found, keys.remedy) == (False, f"{gone} is missing", "apt install ubuntu-keyring")
    assert found["Debian sources"].found == f"{DEBIAN} (from the host's apt)"


def test_an_archive_that_the_host_does_not_know_is_told_with_what_names_it(tmp_path: Path) -> None:
    ubuntu = read_distributions()[NOBLE]
    found = look(tmp_path, DEBIAN_ENTRY, (ubuntu,))
    assert found["Ubuntu archive"].ok
    assert found["Ubuntu archive"].found == "not in the host's apt: --mirror, else mmdebstrap's default"
    assert set(found) == {"Ubuntu archive", "Ubuntu keys", "Debian sources", "Debian keys"}


@pytest.mark.parametrize(
    ("entries", "setting", "words", "keys"),
    [
        (UBUNTU_ENTRY, None, "upstream's own addresses alone: [tool.hapkg] debian-mirror is not set", False),
        (UBUNTU_ENTRY, DEBIAN, f"{DEBIAN}/ ([tool.hapkg] debian-mirror)", True),
        (UBUNTU_ENTRY, f"[signed-by=/srv/k.gpg] {DEBIAN}", f"{DEBIAN}/ ([tool.hapkg] debian-mirror)", False),
        (UBUNTU_ENTRY + DEBIAN_ENTRY, None, f"{DEBIAN} (from the host's apt)", True),
    ],
)
def test_sources_for_another_distribution_are_debians(
    tmp_path: Path, entries: str, setting: str | None, words: str, keys: bool
) -> None:
    found = look(tmp_path, entries, (read_distributions()[NOBLE],), setting)
    assert words in found["Debian sources"].found
    assert "--mirror" not in found["Debian sources"].found
    assert ("Debian keys" in found) == keys


def test_a_project_of_debians_suites_has_its_sources_from_where_its_packages_are(tmp_path: Path) -> None:
    found = look(tmp_path, "", (read_debian(),), "http://unused.example.org/debian")
    assert set(found) == {"Debian archive", "Debian keys"}
    assert found["Debian archive"].found.endswith("mmdebstrap's default, which has no sources")


def test_a_password_in_the_mirror_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds a user, a password or a token"):
        look(tmp_path, "", (read_distributions()[NOBLE],), "http://me:secret@deb.example.org/debian")


@pytest.mark.parametrize("place", ["file", "file/state"])
def test_a_state_folder_that_is_none_is_told_as_such(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (check,) = check_state(State(tmp_path / place))
    assert (check.check, check.ok, check.found) == ("state folder", False, f"{tmp_path}/file is no folder")
    assert "HAPKG_CACHE" in check.remedy
