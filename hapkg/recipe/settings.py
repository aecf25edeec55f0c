"""Settings of a project: [tool.hapkg] of pyproject.toml, its suites and its folders."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

import hapkg
from hapkg.apt.mirror import FurtherArchive
from hapkg.control import SourceName, Suite
from hapkg.distribution import Distributions, read_distributions
from hapkg.errors import ConfigError, UsageError, did_you_mean
from hapkg.locations import SITE_FILE, SITES, find_settings
from hapkg.tables import Line, Table, check_address, check_line, parse_table


def _is_known_suite(value: str, info: ValidationInfo) -> str:
    known: Distributions = (info.context or {}).get(_DISTRIBUTIONS) or read_distributions()
    if value not in known:
        raise ValueError(f"{value!r} is not a suite hapkg knows ({', '.join(known)})")
    return value


_DISTRIBUTIONS = "distributions"
KnownSuite = Annotated[str, AfterValidator(_is_known_suite)]
TEMPLATES = "debian-templates"
Templates = tuple[Path, ...]
"""Folders of templates, each with a folder for every build style: the first that has a file wins."""
DEFAULT_KERNEL = "default"


def _is_kernel(value: str) -> str:
    module, equals, kernel = value.rpartition("=")
    known = kernel == DEFAULT_KERNEL or re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+[a-z0-9.+-]*", kernel)
    if not known or (equals and not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", module)):
        raise ValueError(
            f"{value!r} must be a kernel as uname -r names it, 6.1.0-38-amd64, or {DEFAULT_KERNEL!r}; "
            f"MODULE={DEFAULT_KERNEL} is for the recipe of one module alone"
        )
    return value


def _is_folder(value: str) -> str:
    if ":" in value.partition("/")[0]:
        raise ValueError(f"{value!r} must be a folder; a repository elsewhere is named with --repo")
    return value


_PRIVATE = frozenset({"corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost", "private"})
"""Domains of a house alone, which lintian takes for none: mail to them reaches nobody outside."""


def _is_contact(value: str) -> str:
    """Check NAME <ADDRESS> as lintian will, at the end of every build."""
    name, _, address = value.removesuffix(">").rpartition(" <")
    user, _, host = address.rpartition("@")
    if found := re.search(r"[][,;@]", name):
        raise ValueError(f"{value!r} has a {found[0]!r} in its name, where a Maintainer field ends: leave it out")
    if "root" in (user, name):
        raise ValueError(f"{value!r} is root, whom nobody can write to: name a person or a team")
    labels = host.lower().split(".")
    plain = all(re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", label) for label in labels)
    if not plain or len(labels) < 2 or labels[-1].isdigit() or labels[-1] in _PRIVATE:
        raise ValueError(
            f"{value!r}: {host} is no domain that mail reaches from anywhere; "
            "write one such as example.org, or NAME.invalid where there is none"
        )
    return value


def _has_no_comma(value: str) -> str:
    if "," in value:
        raise ValueError(f"{value!r} has a comma, at which the pins of apt end: leave it out")
    return value


Program = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9][A-Za-z0-9._+-]*)+$")]
Architecture = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)?$")]
Kernel = Annotated[str, AfterValidator(_is_kernel)]
ReleaseName = Annotated[Line, AfterValidator(_has_no_comma)]
"""A field of Release that a pin of apt names: o=, l=."""
Fingerprint = Annotated[str, Field(pattern=r"^[0-9A-F]{40}$")]


class RefuseBeside(Table):
    """The table [tool.hapkg.refuse-beside]: no package of the project is installed while one of these programs runs."""

    reference: ClassVar[str] = "docs/configuration.md"
    programs: Annotated[tuple[Program, ...], Field(strict=False, min_length=1)]
    packages: Annotated[tuple[Line, ...], Field(strict=False, min_length=1)]
    """Packages of the distribution that have them: the message says how to remove these."""


Amount = Annotated[int, Field(ge=1)]


class Limits(Table):
    """The table [tool.hapkg.limits]: a build that passes one of these is ended."""

    reference: ClassVar[str] = "docs/configuration.md"
    log_megabytes: Amount = 256
    silence_seconds: Amount = 3600
    """Time without a word in the log."""
    total_seconds: Amount = 12 * 3600
    file_megabytes: Amount = 1 << 20
    """Length of one file, holes included: tests of file systems make sparse ones of many gigabytes."""
    memory_megabytes: Amount = 16384
    processes: Amount = 4096
    shm_megabytes: Amount = 2048
    disk_megabytes: Amount = 1 << 16
    download_megabytes: Amount = 10_000


class ArchiveTable(Table):
    """A table [[tool.hapkg.archives]]: an archive beside the distribution's that builds take packages from."""

    reference: ClassVar[str] = "docs/configuration.md"
    uri: Annotated[str, AfterValidator(check_address), Field(pattern=r"^(https?|file)://[!-~]+$")]
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/+-]*\.(gpg|pgp|asc)$")]
    """File of the project with the keys that sign it."""
    suite: Annotated[str, Field(pattern=r"^[A-Za-z0-9{][A-Za-z0-9./+{}-]*$")] = "{suite}"
    """Its suite, {suite} for the one that is built for."""
    components: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")], ...], Field(strict=False, min_length=1)
    ] = ("main",)


class Settings(Table):
    """The [tool.hapkg] table."""

    reference: ClassVar[str] = "docs/configuration.md"
    suite: KnownSuite = "bookworm"
    suites: Annotated[tuple[KnownSuite, ...], Field(strict=False, min_length=1)] = ("bookworm",)
    architectures: Annotated[tuple[Architecture, ...], Field(strict=False)] = ()
    """Architectures that are built for beside the build machine's own, and published with it."""
    prefix: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9][A-Za-z0-9._+-]*)+$")] = "/opt/ha"
    package_prefix: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*-$")] = "ha-"
    cluster_user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] = "hacluster"
    cluster_group: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] = "haclient"
    maintainer: Annotated[
        str, Field(pattern=r"^[^<>]+ <[^<>@\s]+@[^<>@\s]+>$"), AfterValidator(check_line), AfterValidator(_is_contact)
    ]
    kernels: dict[KnownSuite, Annotated[tuple[Kernel, ...], Field(strict=False)]] = Field(default_factory=dict)
    """By suite, the kernels that module packages are built for; DEFAULT_KERNEL is the one that the suite installs.

    MODULE=KERNEL is for one recipe, by its name without the prefix or with it; a kernel alone is for all that are not
    optional.
    """
    optional: Annotated[tuple[Line, ...], Field(strict=False)] = ()
    """Optional recipes that are built with the others, by their names without the prefix or with it."""
    debian_mirror: Annotated[Line, AfterValidator(check_address)] | None = None
    """Debian's archive, from which sources for suites of other distributions are fetched. None: the host's."""
    repository: Annotated[Line, AfterValidator(_is_folder)] = "apt"
    origin: ReleaseName = "hapkg"
    label: ReleaseName = "Linux HA stack"
    key_home: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")] | None = None
    """Name of the project's own home of keys. None: the home of all projects that name none."""
    valid_days: Annotated[int, Field(ge=0)] = 0
    """How long apt trusts a published state (Valid-Until); 0: for ever."""

    build_vendor: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9-]*$")] | None = None
    """Vendor whose default flags dpkg builds with (DEB_VENDOR). None: the one that the suite's own dpkg names."""
    build_cache: Line | None = None
    """Where builds are shared with other machines: a folder, host or bucket, or an https address that is only read."""
    build_cache_trust: Annotated[tuple[Fingerprint, ...], Field(strict=False)] = ()
    """Keys whose entries of the build cache are used, and whose repositories."""
    reuse_from: Line | None = None
    """A published repository whose builds are used."""
    archives: Annotated[tuple[ArchiveTable, ...], Field(strict=False)] = ()
    ccache: bool = False
    """Builds reach their compilers through ccache."""
    refuse_beside: RefuseBeside | None = None
    limits: Limits = Limits()

    @property
    def stack_package(self) -> str:
        """Name of the package that stands for all of the project, and of the repository's .sources files: ha-stack."""
        return f"{self.package_prefix}stack"

    @property
    def site_package(self) -> SourceName:
        """How the packages of sites are called together: ha-stack-site. Each has its cluster's name behind that."""
        return SourceName(f"{self.package_prefix}stack-site")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.suite not in self.suites:
            raise ValueError(f"suite {self.suite} is the default but not in suites: add it there")
        return self


@dataclass(frozen=True, kw_only=True)
class Project:
    """One checkout: its settings and where its parts are."""

    root: Path
    settings: Settings
    distributions: Distributions = field(default_factory=read_distributions)
    """The distribution of each suite that could be built for; settings name those that are."""

    @property
    def recipes(self) -> Path:
        """One folder per upstream repository."""
        return self.root / "recipes"

    @property
    def templates(self) -> Templates:
        """Folders of templates of debian/: the project's own, then those that hapkg brings."""
        return tuple(dict.fromkeys((self.root / TEMPLATES, find_shipped_templates())))

    @property
    def site_file(self) -> Path:
        """The site file of a checkout with one cluster; there need be none."""
        return self.root / SITE_FILE

    @property
    def site_files(self) -> tuple[Path, ...]:
        """Site files that are used when none is named: site.toml, and those of the folder sites."""
        own = [self.site_file] if self.site_file.exists() else []
        return (*own, *sorted((self.root / SITES).glob("*.toml")))

    @property
    def repository(self) -> Path:
        """The apt repository that `publish` writes unless told otherwise."""
        return self.root / self.settings.repository

    def pick_suite(self, name: str | None) -> Suite:
        """The suite to build for: the named one, or the configured default. Raises UsageError for another."""
        chosen = name or self.settings.suite
        if chosen not in self.settings.suites:
            known = ", ".join(self.settings.suites)
            raise UsageError(
                f"suite {chosen} is not built by this project",
                hint=did_you_mean(chosen, self.settings.suites)
                or f"configured in pyproject.toml, [tool.hapkg] suites: {known}",
            )
        return Suite(chosen)


def find_further(project: Project, suite: Suite) -> tuple[FurtherArchive, ...]:
    """The further archives of a project for a suite. Raises ConfigError for a key that apt cannot be told of."""
    found = []
    for number, table in enumerate(project.settings.archives, 1):
        where, keyring = (
            f"{project.root / 'pyproject.toml'}, [[tool.hapkg.archives]] {number}",
            project.root / table.key,
        )
        if ".." in Path(table.key).parts or not keyring.is_file():
            raise ConfigError(
                f"{where}: there is no file {table.key}", hint="put the archive's keys there, as its owner gives them"
            )
        if not re.fullmatch(r"[A-Za-z0-9._/+~@-]+", str(keyring)):
            raise ConfigError(
                f"{where}: apt cannot name {keyring}", hint="move the project to a folder without blanks or brackets"
            )
        chosen = table.suite.replace("{suite}", suite)
        found.append(FurtherArchive(uri=table.uri, suite=chosen, components=table.components, keyring=keyring))
    return tuple(found)


def find_shipped_templates() -> Path:
    """The templates that came with hapkg: inside its package where it is installed, beside it in its checkout."""
    package = Path(hapkg.__file__).parent
    installed = package / TEMPLATES.replace("-", "_")
    return installed if installed.is_dir() else package.parent / TEMPLATES


def find_template(templates: Templates, path: str) -> Path:
    """The file at a path below the templates: of the first folder that has it, else as it would be in the first."""
    files = [folder / path for folder in templates]
    return next((file for file in files if file.is_file()), files[0])


def find_project(start: Path) -> Project:
    """The project that start lies in. Raises ConfigError where there is none, and for wrong settings."""
    root, table = find_settings(start)
    where, known = f"{root / 'pyproject.toml'} [tool.hapkg]", read_distributions(root)
    settings = parse_table(Settings, table, where=where, error=ConfigError, context={_DISTRIBUTIONS: known})
    return Project(root=root, settings=settings, distributions=known)
