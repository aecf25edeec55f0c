"""Settings of a project: [tool.hapkg] of pyproject.toml, its suites and its folders."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

import hapkg
from hapkg.control import SourceName, Suite, is_line
from hapkg.errors import ConfigError, HapkgError, UsageError, did_you_mean
from hapkg.locations import SITE_FILE, SITES, find_settings
from hapkg.version import RELEASES


def check_line(value: str) -> str:
    """The value, if it is text for one line; otherwise a ValueError."""
    if not is_line(value):
        raise ValueError(f"{value!r} must be one line of printable text, without blanks at its ends")
    return value


def _is_known_suite(value: str) -> str:
    if value not in RELEASES:
        raise ValueError(f"{value!r} is not a suite hapkg knows ({', '.join(RELEASES)})")
    return value


KnownSuite = Annotated[str, AfterValidator(_is_known_suite)]
Line = Annotated[str, AfterValidator(check_line)]
"""Text that stands on one line of a file that hapkg writes, and cannot start another."""


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


Program = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9][A-Za-z0-9._+-]*)+$")]
Kernel = Annotated[str, AfterValidator(_is_kernel)]


def to_key(name: str) -> str:
    """A Python field name as a key of our TOML files: Debian writes hyphens."""
    return name.replace("_", "-")


class Table(BaseModel):
    """A table of one of our TOML files: unknown keys are errors, values never change, lists become tuples."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_key, strict=True, populate_by_name=False, defer_build=True
    )
    reference: ClassVar[str] = "docs/recipes.md"
    """Where the keys are explained."""


T = TypeVar("T", bound=Table)

_WORDS = {
    "bool_type": "must be true or false",
    "datetime_type": "must be a date with time and zone, such as 2024-01-31T12:00:00Z",
    "int_type": "must be a whole number",
    "model_type": "must be a table",
    "string_type": "must be a string",
    "too_short": "must not be empty",
    "tuple_type": "must be a list",
}
"""TOML's words for those of Python's that pydantic uses."""


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


class Settings(Table):
    """The [tool.hapkg] table."""

    reference: ClassVar[str] = "docs/configuration.md"
    suite: KnownSuite = "bookworm"
    suites: Annotated[tuple[KnownSuite, ...], Field(strict=False, min_length=1)] = ("bookworm",)
    prefix: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9][A-Za-z0-9._+-]*)+$")] = "/opt/ha"
    package_prefix: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*-$")] = "ha-"
    cluster_user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] = "hacluster"
    cluster_group: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] = "haclient"
    maintainer: Annotated[str, Field(pattern=r"^[^<>]+ <[^<>@\s]+@[^<>@\s]+>$"), AfterValidator(check_line)]
    kernels: dict[KnownSuite, Annotated[tuple[Kernel, ...], Field(strict=False)]] = {}
    """By suite, the kernels that module packages are built for; DEFAULT_KERNEL is the one that the suite installs.

    MODULE=KERNEL is for one recipe, by its name without the prefix or with it; a kernel alone is for all that are not
    optional.
    """
    optional: Annotated[tuple[Line, ...], Field(strict=False)] = ()
    """Optional recipes that are built with the others, by their names without the prefix or with it."""
    repository: Annotated[Line, AfterValidator(_is_folder)] = "apt"
    origin: Line = "hapkg"
    label: Line = "Linux HA stack"
    valid_days: Annotated[int, Field(ge=0)] = 0
    """How long apt trusts a published state (Valid-Until); 0: for ever."""

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
    where = f"{root / 'pyproject.toml'} [tool.hapkg]"
    return Project(root=root, settings=parse_table(Settings, table, where=where, error=ConfigError))


def parse_table(
    model: type[T],
    table: dict[str, Any],
    *,
    where: str,
    error: type[HapkgError],
    context: dict[str, Any] | None = None,
) -> T:
    """A table checked against its model. Every fault is named with file, key and remedy in one error."""
    try:
        return model.model_validate(table, context=context)
    except ValidationError as cause:
        faults = [_describe(model, fault) for fault in _pick_faults(cause.errors())]
        (first, hint), rest = faults[0], faults[1:]
        details = [f"also: {text}" + (f" ({more})" if more else "") for text, more in rest]
        raise error(f"{where}: {first}", details=details, hint=hint) from None


def _describe(model: type[Table], fault: Any) -> tuple[str, str]:
    """One fault that pydantic found, as a sentence and a hint."""
    key, table = _locate(model, fault["loc"])
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        known = [field.alias or to_key(name) for name, field in table.model_fields.items() if not field.exclude]
        return f"unknown key {key}", did_you_mean(
            str(fault["loc"][-1]), known
        ) or f"known keys: {', '.join(sorted(known))}"
    tag = context.get("discriminator", "").strip("'")
    if kind in ("missing", "union_tag_not_found"):
        return f"missing key {key}.{tag}".rstrip("."), f"{table.reference} explains every key"
    if kind == "union_tag_invalid":
        return f"{key}.{tag}: {context['tag']!r} is not known", f"known: {context['expected_tags']}"
    start = f"{key}: " if key else ""
    if kind == "value_error":
        return f"{start}{context['error']}", ""
    text = _WORDS.get(kind, fault["msg"][0].lower() + fault["msg"][1:])
    return start + text, "" if kind == "too_short" else f"it says {fault['input']!r}"


def _pick_faults(faults: Sequence[Any]) -> list[Any]:
    """Without the lists that pydantic calls empty only because what stands in them is wrong."""
    places = [fault["loc"] for fault in faults]
    return [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(len(place) > len(fault["loc"]) and place[: len(fault["loc"])] == fault["loc"] for place in places)
    ]


def _locate(model: type[Table], location: Sequence[int | str]) -> tuple[str, type[Table]]:
    """Where a fault lies, as a person writes it, and the innermost table that holds the place."""
    key, holder, tables = "", model, [model]
    for step in location:
        if isinstance(step, int):
            key += f"[{step + 1}]"
            continue
        chosen = [table for table in tables if _is_tagged(table, step)]
        if len(tables) > 1 and chosen:
            tables = chosen  # pydantic names the member of a union where the file has no key
            continue
        key += f".{step}" if key else step
        holder = tables[0] if tables else holder
        field = next((field for name, field in holder.model_fields.items() if to_key(name) == step), None)
        tables = list(_find_tables(field.annotation)) if field else []
    return key, holder


def _is_tagged(table: type[Table], tag: str) -> bool:
    """True if one of a table's keys can only be this word."""
    return any(get_args(field.annotation) == (tag,) for field in table.model_fields.values())


def _find_tables(annotation: Any) -> Iterator[type[Table]]:
    """The tables that a key's value can be or hold."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        yield annotation
    else:
        for argument in get_args(annotation):
            yield from _find_tables(argument)
