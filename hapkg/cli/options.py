"""Options that several commands share, and what those before the command name: the project and the state folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hapkg.build.store import Store
from hapkg.host import check_architecture, read_architecture
from hapkg.locations import find_keys, find_state, search_settings

if TYPE_CHECKING:
    from hapkg.recipe.settings import Project

SuiteOption = Annotated[
    str | None,
    typer.Option(
        "--suite", "-s", help="Suite, such as bookworm or noble [default: suite of pyproject.toml].", metavar="SUITE"
    ),
]
ArchitectureOption = Annotated[
    str | None,
    typer.Option(help="Look at what was built for it [default: this machine's].", metavar="ARCHITECTURE"),
]
ArchitecturesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--architecture",
        help="Architecture, or several with commas: another one than this machine's by emulation, after what is built "
        "for this machine's. May be repeated.",
        metavar="ARCHITECTURE",
    ),
]
MirrorOption = Annotated[
    str | None, typer.Option(help="Archive of the suite's distribution [default: the host's own].", metavar="URL")
]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Sources built at the same time [default: the cores].")
]
KeepGoingOption = Annotated[bool, typer.Option("--keep-going", "-k", help="Build what does not need a failed one.")]
LintianOption = Annotated[bool, typer.Option(help="Check the packages with lintian.")]
TestsOption = Annotated[bool, typer.Option(help="Run upstream's tests; what is built without them is not published.")]
CcacheOption = Annotated[
    bool | None,
    typer.Option("--ccache/--no-ccache", help="Compile through ccache [default: as configured]."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
NamesArgument = Annotated[list[str] | None, typer.Argument(help="Recipes or packages.", metavar="[NAME]...")]
RepoOption = Annotated[
    str | None,
    typer.Option(
        "--repo", help="Folder, USER@HOST:FOLDER or s3://BUCKET/PREFIX [default: ./apt].", metavar="REPOSITORY"
    ),
]
KeyOption = Annotated[
    list[str] | None,
    typer.Option("--key", help="Sign with this key of your own GnuPG; twice: with both [default: hapkg's own]."),
]
CheckKeyOption = Annotated[
    list[str] | None,
    typer.Option("--key", help="Check with this key of your own GnuPG; may be repeated [default: hapkg's own]."),
]
KeyringOption = Annotated[
    Path | None, typer.Option("--keyring", help="Keys to check with [default: your own].", metavar="FILE")
]
UnsignedOption = Annotated[
    bool, typer.Option("--unsigned", help="Sign nothing: for tests alone, nodes are at the mercy of the network.")
]
AdoptOption = Annotated[
    bool,
    typer.Option("--adopt", help="Take an older state, or a snapshot without signature, because you know it is yours."),
]
SharedOption = Annotated[
    bool, typer.Option("--shared", help="Others may write in the repository's folder, and change what you sign.")
]
UrlOption = Annotated[
    str | None, typer.Option(help="Where nodes will reach the repository [default: as before, else file:].")
]
SiteOption = Annotated[
    Path | None,
    typer.Option(
        "--site", help="Site file, or a name in sites [default: site.toml and sites/*.toml, if any].", metavar="FILE"
    ),
]
WaitOption = Annotated[float, typer.Option(help="Seconds to wait while another one publishes.", min=0)]


DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
BuildCacheOption = Annotated[
    str | None,
    typer.Option(
        "--build-cache",
        help="Folder, HOST:FOLDER, s3://BUCKET/PREFIX or https address of shared builds [default: as configured].",
        metavar="PLACE",
    ),
]
ReuseOption = Annotated[
    str | None,
    typer.Option(
        "--reuse-from",
        help="Published repository whose builds are used [default: as configured].",
        metavar="URL",
    ),
]
SampleOption = Annotated[
    int,
    typer.Option(
        "--rebuild-sample",
        help="Build so much of what build cache or repository have again here, and compare the bytes.",
        metavar="PERCENT",
        min=0,
        max=100,
    ),
]
PushOption = Annotated[
    bool, typer.Option("--push", help="Put what was built into the build cache, signed with hapkg's own key.")
]

SchedulerOption = Annotated[
    str | None, typer.Option(help="Have the workers of this scheduler of Dask build.", metavar="tls://HOST:PORT")
]
WorkersOption = Annotated[
    int | None, typer.Option(help="Have so many workers on this machine build, for a try.", min=1, metavar="N")
]


def find_architectures(named: Sequence[str] | None) -> tuple[str, ...]:
    """The architectures that --architecture names, each once, this machine's own first: the others follow its builds.

    Raises UsageError for one that is none, MachineError for one that this machine cannot run, before anything is done.
    """
    words = dict.fromkeys(word.strip() for one in named or () for word in one.split(","))
    for word in words:
        check_architecture(word)
    return tuple(sorted(words, key=lambda word: word != read_architecture()))


class Context:
    """Options before the command; settings are read when a command first asks for them."""

    def __init__(self, project: Path | None, cache: Path | None, wait: float) -> None:
        self._start = project
        self.store = Store(root=find_state(cache).root, timeout=wait)

    @cached_property
    def project(self) -> Project:
        """The checkout that --project or the current folder lies in. Raises ConfigError."""
        from hapkg.recipe.settings import find_project  # noqa: PLC0415 - checking settings takes time, and not all need them

        return find_project(self._start or Path.cwd())

    @cached_property
    def keys(self) -> Path:
        """GnuPG home of hapkg's own keys: the project's, also when that is elsewhere. Raises ConfigError."""
        if os.environ.get("HAPKG_KEYS") or search_settings(self._start or Path.cwd()) is None:
            return find_keys()
        return find_keys(self.project.settings.key_home)


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Options of a build."""

    suite: str | None
    jobs: int | None
    keep_going: bool
    mirror: str | None
    lintian: bool
    tests: bool
    ccache: bool | None
    site: Path | None
    retry: bool
    """Build again what failed before with the same inputs."""
    offline: bool = False
    """Refuse to begin where a network would be needed."""
    folder: Path | None = None
    """The folder that is built from then."""
    architecture: str | None = None
    """Another one than this machine's."""
    dry_run: bool = False
    """Show the plan, and build nothing."""
    build_cache: str | None = None
    reuse_from: str | None = None
    rebuild_sample: int = 0
    """Percent of the builds of others that are built again."""
    push: bool = False
    scheduler: str | None = None
    """Address of a scheduler whose workers build."""
    workers: int | None = None
    """Workers on this machine that build."""
    names: Sequence[str] = ()
    """None named: all recipes."""
    origin: str | None = None
    ref: str | None = None
    snapshot: bool = False
    """Build each source from the default branch of its repository."""
