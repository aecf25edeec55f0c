"""Places: hapkg's own data, the checkout, the state folder with all that lies in it, the keys; and reading settings."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hapkg.errors import ConfigError, HapkgError

DATA = Path(__file__).parent / "data"
"""Files of hapkg's own that others read or run."""
SITE_FILE = "site.toml"
"""The site file of a checkout with one cluster; there need be none."""
SITES = "sites"
"""The folder of a checkout with several, a site file for each."""


@dataclass(frozen=True)
class State:
    """The state folder of one user, or of one test: the only place that knows its layout.

    A thing in it is finished when its name exists: it is written under another one and renamed.
    """

    root: Path
    suite: str = ""
    """The one suite that its user works for: others may work for other suites at the same time."""
    architecture: str = ""
    """The one that is worked for, where it is not this machine's own: its chroots and builds lie apart."""

    @property
    def own(self) -> Path:
        """The folder of what is of one architecture."""
        return self.root / "architectures" / self.architecture if self.architecture else self.root

    def __str__(self) -> str:
        return str(self.root)

    def list_architectures(self) -> list[str]:
        """The architectures, beside this machine's own, that something lies here of."""
        return sorted(folder.name for folder in (self.root / "architectures").glob("[a-z]*"))

    @property
    def lock_file(self) -> Path:
        """Held by the one process that changes state, or by all that work for one suite each."""
        return self.root / "lock"

    @property
    def suite_lock_file(self) -> Path:
        """Held by the one process that works for the suite."""
        return self.root / f"lock-{self.suite}"

    @property
    def work(self) -> Path:
        """Scratch of the lock's holder, emptied at every start."""
        return self.own / "work" / self.suite

    @property
    def sources(self) -> Path:
        """Upstream's code: files by content, mirrors of repositories, indexes of source packages."""
        return self.root / "sources"

    @property
    def apt(self) -> Path:
        """apt's digest of the host's lists, and keys that stand in its sources."""
        return self.root / "apt"

    @property
    def downloads(self) -> Path:
        """Upstream files and patches, each named by its sha256."""
        return self.root / "sources/sha256"

    @property
    def source_indexes(self) -> Path:
        """apt's folders with the indexes of source packages, by archive."""
        return self.sources / "apt"

    def find_commits(self, kind: str) -> Path:
        """Archives of commits of the repositories of a kind, git or hg."""
        return self.sources / kind / "archives"

    @property
    def chroots(self) -> Path:
        """Base chroots by suite."""
        return self.own / "chroots"

    @property
    def archives(self) -> Path:
        """Debian packages that builds installed, by suite."""
        return self.own / "archives"

    @property
    def pinned(self) -> Path:
        """Packages in the versions that a base chroot was pinned to, each set with an index; links into archives."""
        return self.own / "pinned"

    @property
    def layers(self) -> Path:
        """Installed build dependencies by key."""
        return self.own / "layers"

    @property
    def resolved(self) -> Path:
        """apt's answers by question."""
        return self.own / "resolved"

    @property
    def runs(self) -> Path:
        """Records of runs: which source was when in which phase."""
        return self.own / "runs"

    @property
    def ccache(self) -> Path:
        """Archives of ccache's folder, by suite and source."""
        return self.own / "ccache"

    @property
    def templates(self) -> Path:
        """Compiled templates."""
        return self.root / "templates"

    @property
    def builds(self) -> Path:
        """Finished builds by key: artifact.json, packages, log."""
        return self.own / "builds"

    @property
    def rebuilt(self) -> Path:
        """Records of rebuilds, by the sha256 of each .deb; reports on those that differ are in differences."""
        return self.own / "rebuilt"

    @property
    def rebuild_states(self) -> Path:
        """State folders of rebuilds whose base chroots are others, while they run."""
        return self.root / "rebuild"

    @property
    def cache_entries(self) -> Path:
        """By key, the entry of a build cache that was used last."""
        return self.own / "cache-entries"

    @property
    def reused(self) -> Path:
        """Files of published builds that a plan looked at, by key, until a build takes them."""
        return self.own / "reused"

    @property
    def workers(self) -> Path:
        """State folders of workers on this machine, while there are some."""
        return self.root / "workers"

    @property
    def worker_files(self) -> Path:
        """The build cache through which files travel to these workers."""
        return self.workers / "files"

    @property
    def failed(self) -> Path:
        """The last failure of each source, by suite."""
        return self.own / "failed"

    @property
    def logs(self) -> Path:
        """Logs of what is no build: chroots, machines, checks."""
        return self.own / "logs"

    @property
    def guests(self) -> Path:
        """Images of virtual machines, by suite and key."""
        return self.root / "guests"

    @property
    def known_holes(self) -> Path:
        """The last answer about holes."""
        return self.root / "holes.json"

    @property
    def promises(self) -> Path:
        """By suite, which versions of ours were newer than Debian's when it was asked last."""
        return self.root / "promises"

    @property
    def snapshots(self) -> Path:
        """By suite, the commits that the last run with snapshots was built from."""
        return self.root / "snapshots"

    @property
    def repositories(self) -> Path:
        """Local copies of repositories on other machines."""
        return self.root / "repositories"


def search_settings(start: Path) -> tuple[Path, Any] | None:
    """The checkout that start lies in, and its settings as they are written; None where start lies in none.

    It is the nearest folder upwards whose pyproject.toml has a [tool.hapkg] table.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            tool = read_toml(file, ConfigError).get("tool")
            table = tool.get("hapkg") if isinstance(tool, dict) else None
            if table is not None:
                return folder, table
    return None


def find_settings(start: Path) -> tuple[Path, Any]:
    """The checkout that start lies in, and its settings as they are written. Raises ConfigError where there is none."""
    if found := search_settings(start):
        return found
    raise ConfigError(
        f"no project found from {start} upwards",
        hint="run inside a checkout, or name it with --project; its pyproject.toml needs a [tool.hapkg] table",
    )


def find_state(option: Path | None) -> State:
    """The state folder: the option, $HAPKG_CACHE, or $XDG_CACHE_HOME/hapkg."""
    if option is not None:
        return State(option.absolute())
    if named := os.environ.get("HAPKG_CACHE"):
        return State(Path(named).absolute())
    return State(_find_base("XDG_CACHE_HOME", ".cache") / "hapkg")


def find_keys(key_home: str | None = None) -> Path:
    """GnuPG home of hapkg's own keys: $HAPKG_KEYS, the one of this name, or the one of all projects that name none.

    It is not in the state folder, because a key cannot be made again, and never in a checkout, which others read.
    """
    if named := os.environ.get("HAPKG_KEYS"):
        return Path(named).absolute()
    base = _find_base("XDG_DATA_HOME", ".local/share") / "hapkg"
    return (base / "key-homes" / key_home if key_home else base) / "keys"


def read_toml(file: Path, error: type[HapkgError]) -> dict[str, Any]:
    """A TOML file as a dictionary; whatever is wrong with it is raised as the given error."""
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError as cause:
        raise error(f"{file} does not exist") from cause
    except OSError as cause:
        raise error(f"{file} cannot be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise error(f"{file} is not UTF-8 text", hint=f"byte {cause.start} is the first that is not") from cause
    except (ValueError, RecursionError) as cause:  # beyond TOMLDecodeError: a number or a nesting without end
        raise error(f"{file} is not valid TOML: {cause}") from cause


def _find_base(variable: str, fallback: str) -> Path:
    """A base folder of the XDG specification, which says to ignore a relative one."""
    named = Path(os.environ.get(variable, ""))
    return named if named.is_absolute() else Path.home() / fallback
