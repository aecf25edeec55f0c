"""Distributions: facts of Debian, Ubuntu and their like that hapkg needs to build for their suites.

Each is one TOML file. Those of data/distributions come with hapkg; a project adds its own in its folder distributions/,
and a file there replaces one of hapkg's with the same name. docs/distributions.md explains the keys.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hapkg.control import Suite
from hapkg.errors import ConfigError
from hapkg.locations import DATA, read_toml
from hapkg.tables import Line, Table, check_address, parse_table

FOLDER = "distributions"
SECURITY = "security"
Codename = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*$")]
Release = Annotated[str, Field(pattern=r"^[1-9][0-9]*(\.[0-9]+)*$")]
Address = Annotated[str, AfterValidator(check_address), Field(pattern=r"^(https?|file)://[!-~]+$")]
PackageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
Component = Annotated[str, Field(pattern=r"^[a-z][a-z-]*$")]


class Distribution(Table):
    """One distribution: its archive, its kernels, and the suites that can be built for."""

    reference: ClassVar[str] = "docs/distributions.md"
    vendor: Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9-]*$")]
    """Origin in the Release files of its archive, and its name to dpkg."""
    suites: Annotated[dict[Codename, Release], Field(min_length=1)]
    """Release number of each suite, by codename: it is part of versions and orders suites in them."""
    other_suites: Annotated[tuple[Codename, ...], Field(strict=False)] = ()
    """Further names of suites in its archive, by which a host's apt entries are recognised as entries of it."""
    rolling_suites: Annotated[tuple[Codename, ...], Field(strict=False)] = ()
    """Suites that are never released, in which newer versions show themselves before any release: sid."""
    components: Annotated[tuple[Component, ...], Field(strict=False, min_length=1)] = ("main",)
    """Components that build dependencies are taken from."""
    pockets: Annotated[tuple[Codename, ...], Field(strict=False)] = ("updates", SECURITY)
    """Suites that come with each suite, SUITE-POCKET; security is the one that may be an archive of its own."""
    ports: dict[Codename, Address] = Field(default_factory=dict)
    """Archives of the architectures that are not in the main one, by architecture; they have all the pockets."""
    keyring: Annotated[Line, Field(pattern=r"^/")]
    """Keys that its archive is signed with, as a file of the build machine."""
    keyring_package: Line | None = None
    """Package of the build machine that has the keyring."""
    kernel_headers: Line
    """Package that depends on the headers of a suite's kernel; {architecture} stands for the architecture in it."""
    kernel_source: PackageName = "linux-source"
    """Package that depends on the source of a suite's kernel, called as this one and its series: linux-source-6.1."""
    debug_packages: Literal["deb", "ddeb"] = "deb"
    """Ending that its debhelper gives to packages of debug symbols. hapkg builds all packages as .deb."""

    split_packages: dict[PackageName, Annotated[tuple[PackageName, ...], Field(strict=False)]] = Field(
        default_factory=dict
    )
    """Packages that have the content of one of Debian's, by its name, where the distribution split it."""

    @model_validator(mode="after")
    def _has_an_order(self) -> Self:
        # 14.2 is a rebuild for release 14, and would sort above the first build for a release 14.1.
        if len({release.count(".") for release in self.suites.values()}) > 1:
            raise ValueError(f"suites: releases must have the same number of parts ({', '.join(self.suites.values())})")
        return self

    def name_kernel_headers(self, architecture: str) -> str:
        """The package that depends on the headers of the kernel that a suite installs: linux-headers-amd64."""
        return self.kernel_headers.replace("{architecture}", architecture)

    def name_packages(self, *names: str) -> tuple[str, ...]:
        """The distribution's packages that have what Debian's of these names have, each after the name itself."""
        return tuple(dict.fromkeys(one for name in names for one in (name, *self.split_packages.get(name, ()))))

    def name_release(self, suite: Suite) -> str:
        """A suite as package URLs name it: debian-12."""
        return f"{self.vendor.lower()}-{self.suites[suite]}"

    def list_pockets(self, suite: str) -> tuple[str, ...]:
        """The suites that come with a suite: bookworm-updates, bookworm-security."""
        return () if suite in self.rolling_suites else tuple(f"{suite}-{pocket}" for pocket in self.pockets)

    @property
    def missing_keys(self) -> str:
        """The command that brings the keys of its archive to this machine; "" where they are here."""
        if Path(self.keyring).exists():
            return ""
        return f"apt install {self.keyring_package}" if self.keyring_package else f"put {self.keyring} there"

    @property
    def known_suites(self) -> frozenset[str]:
        """Every name of a suite of its archive."""
        return frozenset((*self.suites, *self.other_suites, *self.rolling_suites))

    @property
    def bases(self) -> tuple[Suite, ...]:
        """Suites that stand on their own, the oldest first, and those that are never released."""
        released = sorted(self.suites, key=lambda suite: _read_numbers(self.suites[suite]))
        return tuple(Suite(name) for name in (*released, *self.rolling_suites))

    def list_later(self, suite: Suite) -> tuple[Suite, ...]:
        """Suites that come after one of the distribution's, those that are never released last."""
        return self.bases[self.bases.index(suite) + 1 :]


Distributions = Mapping[Suite, Distribution]
"""The distribution of each suite that can be built for."""
_SHIPPED = DATA / FOLDER


def read_distributions(root: Path | None = None) -> Distributions:
    """Distributions that hapkg knows and those of the project in root. Raises ConfigError naming file and key."""
    own = sorted((root / FOLDER).glob("*.toml")) if root else []
    files = {file.name: file for file in (*sorted(_SHIPPED.glob("*.toml")), *own)}
    found: dict[Suite, Distribution] = {}
    places: dict[Suite, str] = {}
    for file in files.values():
        distribution = _read(file)
        for name, release in distribution.suites.items():
            suite, place = Suite(name), f"{file} suites.{name}"
            for other, taken in places.items():
                if other == suite or _read_numbers(found[other].suites[other]) == _read_numbers(release):
                    what = "the suite" if other == suite else f"release {release}"
                    raise ConfigError(f"{place}: {what} is taken by {taken}", hint="a suite and a release stand once")
            found[suite], places[suite] = distribution, place
    return found


@functools.cache
def read_debian() -> Distribution:
    """Debian, as it comes with hapkg: tarballs and patches of recipes are fetched from its archive for every suite."""
    return _read(_SHIPPED / "debian.toml")


def _read(file: Path) -> Distribution:
    return parse_table(Distribution, read_toml(file, ConfigError), where=str(file), error=ConfigError)


def _read_numbers(release: str) -> tuple[int, ...]:
    """The parts of a release number, as dpkg compares them: 24.4 and 24.04 are one."""
    return tuple(int(part) for part in release.split("."))
