"""Keys of one recipe, and every rule it can break. docs/recipes.md is the reference of the keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from hapkg.control import BinaryName, SourceName, is_relation, parse_relation_names
from hapkg.errors import RecipeError
from hapkg.locations import read_toml
from hapkg.recipe.series import OwnPatch, read_series
from hapkg.recipe.style import EXTERNAL_MODULE, KERNEL_MODULE, META, Style, pick_style
from hapkg.recipe.upstream import (
    Advisory,
    DebianOrigin,
    DebianPatch,
    Origin,
    PackageName,
    RemotePatch,
    Signature,
    SignaturePolicy,
    Upstream,
    UpstreamVersion,
    check_address,
)
from hapkg.recipe.upstream_version import is_between
from hapkg.tables import Line, Table, check_line, parse_table

RECIPE_FILE = "recipe.toml"


def _style(value: object, info: ValidationInfo) -> object:
    """A style by its name, among those that the context has; a generated recipe brings its own."""
    return pick_style((info.context or {}).get("styles", {}), value) if isinstance(value, str) else value


def _relation(value: str) -> str:
    if not is_relation(value):
        raise ValueError(f"{value!r} is not a relation such as 'zlib1g-dev (>= 1.2)'")
    return value


def _prefix_path(value: str) -> str:
    parts = PurePosixPath(value).parts
    unsafe = not value.isprintable() or re.search(r"[\s\\${}]", value)
    if not value or value.startswith("/") or ".." in parts or unsafe:
        raise ValueError(
            f"{value!r} must be a path or pattern below the prefix: no leading slash, '..', blank, $ or {{}}"
        )
    return value


def _moment(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("needs a time zone, such as 2024-01-31T12:00:00Z")
    if not 0 <= value.timestamp() < 1 << 32:
        raise ValueError(f"{value.year} is not a year between 1970 and 2105")
    return value.astimezone(UTC)


def _prose(value: str) -> str:
    if not value.strip() or not all(line.isprintable() for line in value.split("\n")):
        raise ValueError("must be lines of printable text")
    return value


def _remark(value: str) -> str:
    if re.search(r"[$\\]", value):
        raise ValueError(f"{value!r} becomes a comment in debian/rules: write it without $ and \\")
    return value


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if values.count(value) > 1:
            raise ValueError(f"{value!r} stands there twice")
    return values


Relations = Annotated[
    tuple[Annotated[str, AfterValidator(_relation)], ...], AfterValidator(_distinct), Field(strict=False)
]
Paths = Annotated[
    tuple[Annotated[str, AfterValidator(_prefix_path)], ...], AfterValidator(_distinct), Field(strict=False)
]
Lines = Annotated[tuple[Line, ...], Field(strict=False)]
Section = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+./-]*$")]


class CopyrightFiles(Table):
    """One Files paragraph of debian/copyright."""

    files: Line = "*"
    copyright: Annotated[tuple[Line, ...], Field(strict=False, min_length=1)]
    license: Annotated[str, Field(pattern=r"^[A-Za-z0-9.+-]+( (and|or) [A-Za-z0-9.+-]+)*$")]


class LintianOverride(Table):
    """One tag that lintian reports and that is right here, with the reason."""

    tag: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    context: Line = ""
    reason: Line


class VersionedSwitches(Table):
    """Switches of configure that not every version of upstream knows."""

    since: UpstreamVersion | None = None
    until: UpstreamVersion | None = None
    switches: Annotated[tuple[Line, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _names_a_version(self) -> Self:
        if self.since is None and self.until is None:
            raise ValueError("since or until says which versions they are for; others belong into configure")
        return self


class SnapshotNeeds(Table):
    """Needs of a commit of upstream's repository where a release brings a file finished, such as manual pages."""

    build_depends: Relations = ()
    without: Annotated[tuple[Line, ...], Field(strict=False)] = ()
    """Switches of configure that say that it is there."""


class Module(Table):
    """A module of the kernel's own source (style kernel-module), or of upstream's (style external-module)."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    """Of the .ko file."""
    parts: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")], ...], Field(strict=False)] = ()
    """Further .ko files that are built and installed with it, without the suffix."""
    tree: Annotated[str, Field(pattern=r"^[a-z0-9_-]+(/[a-z0-9_-]+)*$")]
    """Its folder in that source."""
    synopsis: Annotated[str, Field(max_length=40), AfterValidator(check_line)]
    description: Annotated[str, AfterValidator(_prose)]

    @property
    def objects(self) -> tuple[str, ...]:
        """All .ko files, without the suffix."""
        return (self.name, *self.parts)


class Package(Table):
    """One binary package."""

    package: PackageName
    architecture: Literal["any", "all"] = "any"
    section: Section | None = None
    synopsis: Annotated[str, Field(max_length=79), AfterValidator(check_line)]
    description: Annotated[str, AfterValidator(_prose)]
    files: Paths = ()
    """Patterns below the prefix."""
    outside_prefix: Paths = ()
    """Patterns below / of files that must lie outside the prefix: units, init scripts, configuration of the system."""
    pre_depends: Relations = ()
    depends: Relations = ()
    recommends: Relations = ()
    suggests: Relations = ()
    conflicts: Relations = ()
    provides: Relations = ()
    breaks: Relations = ()
    replaces: Relations = ()
    stack: Annotated[tuple[PackageName, ...], AfterValidator(_distinct), Field(strict=False)] = ()
    """Packages of other recipes that this one depends on in exactly the version built together (style meta)."""
    lintian_overrides: Annotated[tuple[LintianOverride, ...], Field(strict=False)] = ()

    @property
    def name(self) -> BinaryName:
        """Name of the binary package."""
        return BinaryName(self.package)


class Recipe(Table):
    """One source package: where its code comes from, how it builds, which binary packages it gives."""

    source: PackageName
    version: UpstreamVersion
    revision: Annotated[int, Field(ge=1)] = 1
    style: Annotated[Style, BeforeValidator(_style)]
    date: Annotated[datetime, AfterValidator(_moment)]
    """SOURCE_DATE_EPOCH: when upstream released, or when the recipe last changed what it builds."""
    section: Section = "admin"
    homepage: Annotated[str, Field(pattern=r"^https?://[!-~]+$"), AfterValidator(check_address)]
    upstream: Upstream | None = None
    signature: Signature | None = None
    origins: Annotated[tuple[Origin, ...], Field(strict=False)] = ()
    remote_patches: Annotated[tuple[RemotePatch, ...], Field(strict=False)] = ()
    """Patches of others, fetched like a source and applied before our own."""
    advisories: Annotated[tuple[Advisory, ...], Field(strict=False)] = ()
    """Holes that a person decided about."""
    build_depends: Relations = ()
    optional: Line | None = None
    """Reason why it is built with the others only where the project names it."""
    shadows: Annotated[tuple[Line, ...], Field(strict=False)] = ()
    """Patterns of the distribution's package names that this source stands in for: never in a build chroot."""
    configure: Lines = ()
    """Switches for configure, after the ones every source gets."""
    snapshot: SnapshotNeeds = SnapshotNeeds()
    configure_by_version: Annotated[tuple[VersionedSwitches, ...], Field(strict=False)] = ()
    """Those that some versions of upstream alone know."""
    make: Lines = ()
    """Variables on make's command line."""
    tests: bool = True
    tests_parallel: bool = True
    """False for tests that share a file."""
    tests_off_reason: Annotated[Line, AfterValidator(_remark)] | None = None
    tests_left_out: Lines = ()
    """Where upstream's tests run, but not all of them: which do not, and why."""
    not_installed: Paths = ()
    """Patterns of files that upstream installs and no package carries."""
    module: Module | None = None
    copyright: Annotated[tuple[CopyrightFiles, ...], Field(strict=False, min_length=1)]
    lintian_overrides: Annotated[tuple[LintianOverride, ...], Field(strict=False)] = ()
    """Overrides of the source package."""
    packages: Annotated[tuple[Package, ...], Field(strict=False, min_length=1)]

    folder: Path = Field(exclude=True)
    every_patch: Annotated[tuple[OwnPatch, ...], Field(strict=False, exclude=True)] = ()
    """Those of patches/series, in order, whatever version they are for."""
    values: Mapping[str, Any] = Field(default={}, exclude=True)
    """Further values for the templates of a generated recipe: the kernel of a kernel-package, the site of a site."""
    files: Mapping[str, bytes] = Field(default={}, exclude=True)
    """Ready files of a generated recipe, by path below debian/."""

    @property
    def name(self) -> SourceName:
        """Name of the source package."""
        return SourceName(self.source)

    @property
    def debian_source(self) -> SourceName:
        """Debian's source package of the same code: that of the first origin in its archive, else the folder's name."""
        pinned = (*self.origins, *self.remote_patches)
        known = (pin.package for pin in pinned if isinstance(pin, DebianOrigin | DebianPatch))
        return SourceName(next(known, self.folder.name))

    @property
    def native(self) -> bool:
        """True where there is no tarball of upstream: debian/ is the whole source."""
        return self.style.native

    @property
    def switches(self) -> tuple[str, ...]:
        """Switches for configure that upstream's tree knows; those of configure keep their places."""
        wanted = dict.fromkeys(self.configure)
        for table in self.configure_by_version:
            known = is_between(self.version, table.since, table.until)
            for switch in table.switches:
                if known:
                    wanted.setdefault(switch)
                else:
                    wanted.pop(switch, None)
        return tuple(wanted)

    @property
    def needs(self) -> tuple[BinaryName, ...]:
        """Every package the build names: build dependencies with all alternatives, and a meta-package's exact stack."""
        relations = parse_relation_names(", ".join(self.build_depends))
        named = [name for alternatives in relations for name in alternatives]
        pinned = [BinaryName(name) for package in self.packages for name in package.stack]
        return tuple(dict.fromkeys((*named, *pinned)))

    @property
    def patches(self) -> tuple[OwnPatch, ...]:
        """The recipe's own patches for its version, in order."""
        return tuple(patch for patch in self.every_patch if patch.is_for(self.version))

    @property
    def series(self) -> tuple[str, ...]:
        """Names of all patches in the order in which they are applied."""
        return (*(patch.name for patch in (*self.remote_patches, *self.patches)),)

    @property
    def pins(self) -> tuple[str, ...]:
        """Digests and commits that decide what the source is."""
        pins = {origin.pin(self.upstream) for origin in (*self.origins, *self.remote_patches)}
        return tuple(sorted(pin for pin in pins if pin))

    @property
    def source_date_epoch(self) -> int:
        """Seconds since 1970."""
        return int(self.date.timestamp())

    @model_validator(mode="after")
    def _describes_its_module(self) -> Self:
        if (self.style.name in (KERNEL_MODULE, EXTERNAL_MODULE)) != (self.module is not None):
            raise ValueError("style kernel-module or external-module and the table [module] go together")
        if self.module and [package.package for package in self.packages] != [f"{self.source}-source"]:
            raise ValueError(f"style {self.style} gives one package, {self.source}-source for module-assistant")
        if self.module and not self.source.endswith("-module"):
            raise ValueError(f"source {self.source} of style {self.style} must be named …-module")
        return self

    @model_validator(mode="after")
    def _agrees_with_itself(self, info: ValidationInfo) -> Self:
        names = [package.package for package in self.packages]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"package {name} is described twice")
        prefix = (info.context or {}).get("package_prefix", "")
        for name in (self.source, *names):
            if name != prefix.removesuffix("-") and (not name.removeprefix(prefix) or not name.startswith(prefix)):
                raise ValueError(f"package {name} must be named {prefix}…, or it would shadow the distribution's")
        if self.style.name != META and any(package.stack for package in self.packages):
            raise ValueError("stack is for style meta; others name their run-time needs in depends")
        if self.tests == (self.tests_off_reason is not None):
            raise ValueError("tests = false and tests-off-reason go together")
        if self.tests_left_out and not self.tests:
            raise ValueError("tests-left-out is for tests that run; where none do, tests-off-reason says why")
        return self

    @model_validator(mode="after")
    def _says_where_it_is_from(self) -> Self:
        native = self.native
        _distinct(tuple(advisory.id for advisory in self.advisories))
        if "series" in _distinct(self.series):
            raise ValueError("a patch cannot be named series, which is the list of them")
        for patch in (*self.remote_patches, *self.every_patch):
            if not is_between(self.version, None, patch.until):
                raise ValueError(f"patch {patch.name} is in upstream since {patch.until}: remove it")
        if native and (self.origins or self.upstream or self.series or self.signature):
            raise ValueError(f"a {self.style} recipe has no upstream: remove upstream, signature, origins and patches")
        if not native and not (self.origins and self.upstream):
            raise ValueError(f"style {self.style} needs [upstream] and at least one [[origins]]")
        policy = self.signature.policy if self.signature else SignaturePolicy.PINNED_ONLY
        for origin in sorted(self.origins, key=lambda origin: origin.type):
            if origin.pin(self.upstream) is None:
                raise ValueError(f"an origin of type {origin.type} needs {origin.type} and commit in [upstream]")
            if policy is not SignaturePolicy.PINNED_ONLY and policy not in origin.checked_by:
                raise ValueError(
                    f"policy {policy} checks nothing of an origin of type {origin.type}: remove one of them"
                )
        return self


def read_recipe(folder: Path, *, package_prefix: str, styles: Mapping[str, Style]) -> Recipe:
    """The recipe in one folder; styles are those that it may name. Raises RecipeError naming file, key and remedy."""
    file = folder / RECIPE_FILE
    table = read_toml(file, RecipeError)
    for hidden in ("folder", "every-patch", "patches", "tree-version", "values", "files"):
        if hidden in table:
            raise RecipeError(f"{file}: unknown key {hidden}", hint="patches are listed in patches/series")
    table["folder"] = folder
    table["every-patch"] = read_series(folder)
    context = {"package_prefix": package_prefix, "styles": styles}
    recipe = parse_table(Recipe, table, where=str(file), error=RecipeError, context=context)
    for name in (recipe.signature.keys, recipe.signature.file) if recipe.signature else ():
        if name is not None and not (folder / name).is_file():
            raise RecipeError(f"{file}: [signature] names {name}, which is not there", hint="put it beside recipe.toml")
    if recipe.source != package_prefix + folder.name:
        raise RecipeError(
            f"{file}: source {recipe.source} does not match its folder",
            hint=f"name the source {package_prefix}{folder.name}, or rename the folder",
        )
    return recipe
