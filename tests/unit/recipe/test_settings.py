"""Settings in pyproject.toml, and the place of the state folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from hapkg.control import Suite
from hapkg.distribution import read_distributions
from hapkg.errors import ConfigError, UsageError
from hapkg.locations import find_keys, find_state
from hapkg.recipe.settings import Project, Settings, find_further, find_project, find_template
from tests.support.samples import CHECKOUT, MAINTAINER, SETTINGS, format_toml

LINE = "must be one line of printable text, without blanks at its ends"
REFERENCE = "docs/configuration.md explains every key"
PREFIX = "prefix: string should match pattern '^(/[A-Za-z0-9][A-Za-z0-9._+-]*)+$'"


def write_project(folder: Path, **settings: object) -> Path:
    """A pyproject.toml with these settings."""
    folder.mkdir(parents=True, exist_ok=True)
    table = {"maintainer": MAINTAINER, **{key.replace("_", "-"): value for key, value in settings.items()}}
    lines = [f"{key} = {format_toml(value)}\n" for key, value in table.items() if value is not None]
    file = folder / "pyproject.toml"
    file.write_text("[tool.hapkg]\n" + "".join(lines), "utf-8")
    return file


KNOWN = f"({', '.join(read_distributions())})"


def test_this_checkout_is_a_project() -> None:
    project = find_project(CHECKOUT / "hapkg")
    assert (project.root, project.settings.suite) == (CHECKOUT, "bookworm")


def test_settings_have_defaults() -> None:
    assert Settings(maintainer=MAINTAINER).model_dump(by_alias=True) == {
        "suite": "bookworm",
        "suites": ("bookworm",),
        "architectures": (),
        "prefix": "/opt/ha",
        "package-prefix": "ha-",
        "cluster-user": "hacluster",
        "cluster-group": "haclient",
        "maintainer": MAINTAINER,
        "debian-mirror": None,
        "kernels": {},
        "optional": (),
        "repository": "apt",
        "origin": "hapkg",
        "label": "Linux HA stack",
        "key-home": None,
        "valid-days": 0,
        "build-vendor": None,
        "build-cache": None,
        "build-cache-trust": (),
        "reuse-from": None,
        "archives": (),
        "ccache": False,
        "refuse-beside": None,
        "limits": {
            "log-megabytes": 256,
            "silence-seconds": 3600,
            "total-seconds": 43200,
            "file-megabytes": 1 << 20,
            "memory-megabytes": 16384,
            "processes": 4096,
            "shm-megabytes": 2048,
            "disk-megabytes": 65536,
            "download-megabytes": 10000,
        },
    }


def test_a_file_of_the_project_goes_before_hapkg_s_own(tmp_path: Path) -> None:
    write_project(tmp_path)
    templates = find_project(tmp_path).templates
    shipped = CHECKOUT / "debian-templates/common/control.j2"
    assert find_template(templates, "common/control.j2") == shipped
    own = tmp_path / "debian-templates/common/control.j2"
    own.parent.mkdir(parents=True)
    own.write_text("")
    assert find_template(templates, "common/control.j2") == own
    assert find_template(templates, "common/none.j2") == tmp_path / "debian-templates/common/none.j2"
    assert find_project(CHECKOUT).templates == (CHECKOUT / "debian-templates",)


def test_the_nearest_project_upwards_is_found(tmp_path: Path) -> None:
    write_project(tmp_path, origin="outer")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'another'\n")
    project = find_project(inner)
    assert (project.root, project.settings.origin) == (tmp_path, "outer")
    assert (project.recipes, project.templates, project.repository) == (
        tmp_path / "recipes",
        (tmp_path / "debian-templates", CHECKOUT / "debian-templates"),
        tmp_path / "apt",
    )


@pytest.mark.parametrize("content", ["", "tool = 3\n", "[tool]\nother = 1\n"])
def test_without_a_project_the_remedy_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    with pytest.raises(ConfigError) as caught:
        find_project(tmp_path)
    assert (caught.value.exit_code, caught.value.brief) == (3, f"no project found from {tmp_path} upwards")
    assert caught.value.hint.startswith("run inside a checkout, or name it with --project")


@pytest.mark.parametrize(
    ("key", "value", "brief", "hint"),
    [
        ("maintainer", None, "missing key maintainer", REFERENCE),
        ("maintaner", "x", "unknown key maintaner", "did you mean maintainer?"),
        ("suite", 12, "suite: must be a string", "it says 12"),
        (
            "suite",
            "buster",
            f"suite: 'buster' is not a suite hapkg knows {KNOWN}",
            "",
        ),
        ("suite", "trixie", "suite trixie is the default but not in suites: add it there", ""),
        ("suites", [], "suites: must not be empty", ""),
        (
            "suites",
            ["bookwurm"],
            f"suites[1]: 'bookwurm' is not a suite hapkg knows {KNOWN}",
            "",
        ),
        ("prefix", "opt/ha", PREFIX, "it says 'opt/ha'"),
        ("prefix", "/opt/../etc", PREFIX, "it says '/opt/../etc'"),
        ("prefix", "/opt/ha/", PREFIX, "it says '/opt/ha/'"),
        ("prefix", "/opt/$(id)", PREFIX, "it says '/opt/$(id)'"),
        ("prefix", "/opt/ha\nexport X=1", PREFIX, "it says '/opt/ha\\nexport X=1'"),
        ("label", "a\nSuite: evil", f"label: 'a\\nSuite: evil' {LINE}", ""),
        ("maintainer", "A\nX: y <a@b.org>", f"maintainer: 'A\\nX: y <a@b.org>' {LINE}", ""),
        ("repository", "a\0b", f"repository: 'a\\x00b' {LINE}", ""),
        ("package_prefix", "HA", "package-prefix: string should match pattern '^[a-z][a-z0-9]*-$'", "it says 'HA'"),
        (
            "cluster_user",
            "a b",
            "cluster-user: string should match pattern '^[a-z_][a-z0-9_-]*$'",
            "it says 'a b'",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, key: str, value: object, brief: str, hint: str) -> None:
    file = write_project(tmp_path, **{key: value})
    with pytest.raises(ConfigError) as caught:
        find_project(tmp_path)
    assert (caught.value.brief, caught.value.details, caught.value.hint) == (f"{file} [tool.hapkg]: {brief}", (), hint)


@pytest.mark.parametrize(
    ("maintainer", "told"),
    [
        ("ACME, Inc. <ha@example.org>", "has a ',' in its name, where a Maintainer field ends: leave it out"),
        ("ACME; Inc. <ha@example.org>", "has a ';' in its name"),
        (
            "HA Team <ha@buildhost>",
            "buildhost is no domain that mail reaches from anywhere; write one such as example.org",
        ),
        ("HA Team <ha@cluster.lan>", "cluster.lan is no domain"),
        ("HA Team <ha@Cluster.LOCAL>", "Cluster.LOCAL is no domain"),
        ("HA Team <ha@example..org>", "example..org is no domain"),
        ("HA Team <ha@192.0.2.1>", "192.0.2.1 is no domain"),
        ("Joe <root@example.org>", "is root, whom nobody can write to: name a person or a team"),
        ("root <joe@example.org>", "is root, whom nobody can write to"),
    ],
)
def test_a_maintainer_whom_lintian_would_refuse_is_refused_at_once(tmp_path: Path, maintainer: str, told: str) -> None:
    file = write_project(tmp_path, maintainer=maintainer)
    with pytest.raises(ConfigError) as caught:
        find_project(tmp_path)
    assert caught.value.brief.startswith(f"{file} [tool.hapkg]: maintainer: '{maintainer}'")
    assert told in caught.value.brief


@pytest.mark.parametrize(
    "maintainer",
    [
        "hapkg maintainers <maintainers@hapkg.invalid>",
        "José Ñandú (Betrieb) <ha@example.org>",
        "ACME Inc. & Co. <ha+packages@xn--mnchen-3ya.example.org>",
        "Root Cause Team <roots@example.org>",
    ],
)
def test_a_maintainer_with_an_address_is_taken(tmp_path: Path, maintainer: str) -> None:
    write_project(tmp_path, maintainer=maintainer)
    assert find_project(tmp_path).settings.maintainer == maintainer


@pytest.mark.parametrize("key", ["origin", "label"])
def test_a_name_that_a_pin_cannot_hold_is_refused(tmp_path: Path, key: str) -> None:
    file = write_project(tmp_path, **{key: "Example, Inc."})
    with pytest.raises(ConfigError) as caught:
        find_project(tmp_path)
    assert caught.value.brief == (
        f"{file} [tool.hapkg]: {key}: 'Example, Inc.' has a comma, at which the pins of apt end: leave it out"
    )


def test_a_table_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\nhapkg = 3\n")
    with pytest.raises(ConfigError) as caught:
        find_project(tmp_path)
    assert caught.value.brief == f"{tmp_path}/pyproject.toml [tool.hapkg]: must be a table"
    assert caught.value.hint == "it says 3"


def test_a_suite_is_picked_by_name_or_by_default() -> None:
    project = Project(root=Path("/x"), settings=SETTINGS.model_copy(update={"suites": ("bookworm", "trixie")}))
    assert (project.pick_suite(None), project.pick_suite("trixie")) == ("bookworm", "trixie")
    with pytest.raises(UsageError) as caught:
        project.pick_suite("trixy")
    assert (caught.value.brief, caught.value.hint) == (
        "suite trixy is not built by this project",
        "did you mean trixie?",
    )
    with pytest.raises(UsageError) as caught:
        project.pick_suite("sid")
    assert caught.value.hint == "configured in pyproject.toml, [tool.hapkg] suites: bookworm, trixie"


def test_the_state_folder_is_named_by_option_then_environment_then_xdg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HAPKG_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert find_state(None).root == tmp_path / "home/.cache/hapkg"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert find_state(None).root == tmp_path / "home/.cache/hapkg"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert find_state(None).root == Path("/xdg/hapkg")
    monkeypatch.setenv("HAPKG_CACHE", "named")
    assert find_state(None).root == tmp_path / "named"
    assert find_state(Path("option")).root == tmp_path / "option"


def test_keys_live_outside_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HAPKG_KEYS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert find_keys() == tmp_path / ".local/share/hapkg/keys"
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    assert find_keys() == Path("/xdg/hapkg/keys")
    assert find_keys("acme") == Path("/xdg/hapkg/key-homes/acme/keys")
    monkeypatch.setenv("HAPKG_KEYS", "/named")
    assert find_keys() == Path("/named")
    assert find_keys("acme") == Path("/named")


@pytest.mark.parametrize("name", ["", "../keys", "Acme", "a/b", "-a", "a" * 65])
def test_a_home_of_keys_is_a_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[tool.hapkg]\nmaintainer = "a <a@b.invalid>"\nkey-home = "{name}"\n')
    with pytest.raises(ConfigError, match="key-home"):
        find_project(tmp_path)


def test_the_repository_of_a_project_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.hapkg]\nmaintainer = "a <a@b.invalid>"\nrepository = "s3://packages/apt"\n'
    )
    with pytest.raises(ConfigError, match="must be a folder; a repository elsewhere is named with --repo"):
        find_project(tmp_path)


FURTHER = """\
[[tool.hapkg.archives]]
uri = "https://packages.example.org/"
key = "keys/example.asc"
suite = "{suite}-stable"
components = ["main", "more"]
"""


def write_further(folder: Path, text: str = FURTHER) -> Project:
    """A project with a further archive."""
    file = write_project(folder)
    file.write_text(file.read_text() + text)
    return find_project(folder)


def test_a_further_archive_is_an_entry_with_its_key(tmp_path: Path) -> None:
    project = write_further(tmp_path / "one")
    key = project.root / "keys/example.asc"
    key.parent.mkdir()
    key.write_text("a key")
    (found,) = find_further(project, Suite("trixie"))
    assert found.line() == f"deb [signed-by={key}] https://packages.example.org/ trixie-stable main more"


@pytest.mark.parametrize(
    ("folder", "old", "new", "text"),
    [
        ("one", "", "", r"\[\[tool\.hapkg\.archives\]\] 1: there is no file keys/example\.asc$"),
        ("one", "keys/example", "keys/../../other", r"there is no file keys/\.\./\.\./other\.asc$"),
        ("a b", "keys/example.asc", "pyproject.asc", "apt cannot name "),
    ],
)
def test_a_key_that_apt_cannot_be_told_of(tmp_path: Path, folder: str, old: str, new: str, text: str) -> None:
    (tmp_path / "other.asc").write_text("a key")
    project = write_further(tmp_path / folder, FURTHER.replace(old, new))
    (project.root / "pyproject.asc").write_text("a key")
    with pytest.raises(ConfigError, match=text) as caught:
        find_further(project, Suite("bookworm"))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("https://packages", "ftp://packages", r"archives\[1\]\.uri: string should match"),
        ("https://packages", "https://me:secret@packages", r"archives\[1\]\.uri: the address .*/auth\.conf\.d/"),
        (
            "https://packages",
            "ftp://me:secret@packages",
            r"archives\[1\]\.uri: the address of the archive on packages\.",
        ),
        (
            "[[",
            'debian-mirror = "https://TOKEN@deb.example.org/"\n[[',
            r"debian-mirror: the address .* deb\.example\.org ",
        ),
        ('["main", "more"]', "[]", r"archives\[1\]\.components"),
        ("{suite}-stable", "a b", r"archives\[1\]\.suite: string should match"),
        ("example.asc", "example.txt", r"archives\[1\]\.key: string should match"),
        ('suite = "', 'suit = "', r"unknown key archives\[1\]\.suit"),
    ],
)
def test_a_further_archive_that_cannot_be(tmp_path: Path, old: str, new: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as told:
        write_further(tmp_path, FURTHER.replace(old, new))
    assert not any(word in f"{told.value} {told.value.hint} {told.value.details}" for word in ("secret", "TOKEN"))
