"""What the project wants built and for whom: [tool.hapkg] of pyproject.toml, suites, and where state lives."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from hapkg.control import Suite
from hapkg.errors import ConfigError, HapkgError, UsageError, did_you_mean

RELEASES: dict[str, int] = {"bookworm": 12, "trixie": 13, "forky": 14}
"""Debian's release number of every suite hapkg knows: the order of suites in versions."""


def _is_absolute(value: str) -> str:
    if not value.startswith("/") or value.endswith("/") or ".." in value.split("/"):
        raise ValueError("must be an absolute path without a trailing slash")
    return value


def _is_known_suite(value: str) -> str:
    if value not in RELEASES:
        raise ValueError(f"{value!r} is not a suite hapkg knows ({', '.join(RELEASES)})")
    return value


KnownSuite = Annotated[str, AfterValidator(_is_known_suite)]


def to_key(name: str) -> str:
    """A Python field name as a key of our TOML files: Debian writes hyphens."""
    return name.replace("_", "-")


class Table(BaseModel):
    """A table of one of our TOML files: unknown keys are errors, values never change, lists become tuples."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_key, strict=True, populate_by_name=False)


T = TypeVar("T", bound=Table)


class Settings(Table):
    """The [tool.hapkg] table."""

    suite: KnownSuite = "bookworm"
    suites: Annotated[tuple[KnownSuite, ...], Field(strict=False, min_length=1)] = ("bookworm",)
    prefix: Annotated[str, AfterValidator(_is_absolute)] = "/opt/ha"
    package_prefix: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*-$")] = "ha-"
    cluster_user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] = "hacluster"
    cluster_group: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$")] = "haclient"
    maintainer: Annotated[str, Field(pattern=r"^[^<>]+ <[^<>@\s]+@[^<>@\s]+>$")]
    repository: Annotated[str, Field(min_length=1)] = "apt"
    origin: Annotated[str, Field(pattern=r"^[^\n]+$")] = "hapkg"
    label: Annotated[str, Field(pattern=r"^[^\n]+$")] = "Linux HA stack"


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
    def templates(self) -> Path:
        """What becomes debian/."""
        return self.root / "debian-templates"

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


def find_project(start: Path) -> Project:
    """The project that start lies in: the nearest folder upwards whose pyproject.toml has a [tool.hapkg] table."""
    for folder in (start.resolve(), *start.resolve().parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            table = read_toml(file, ConfigError).get("tool", {}).get("hapkg")
            if table is not None:
                settings = parse_table(Settings, table, where=f"{file} [tool.hapkg]", error=ConfigError)
                return Project(root=folder, settings=settings)
    raise ConfigError(
        f"no project found from {start} upwards",
        hint="run inside a checkout, or name it with --project; its pyproject.toml needs a [tool.hapkg] table",
    )


def find_cache(option: Path | None) -> Path:
    """The state folder: the option, $HAPKG_CACHE, or $XDG_CACHE_HOME/hapkg."""
    if option is not None:
        return option.absolute()
    if named := os.environ.get("HAPKG_CACHE"):
        return Path(named).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hapkg"


def find_keys() -> Path:
    """Where hapkg's own signing key lives: not in the cache, because a key cannot be made again."""
    if named := os.environ.get("HAPKG_KEYS"):
        return Path(named).absolute()
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "hapkg" / "keys"


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
    except tomllib.TOMLDecodeError as cause:
        raise error(f"{file} is not valid TOML: {cause}") from cause


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
        faults = [_describe(model, fault) for fault in cause.errors()]
        (first, hint), rest = faults[0], faults[1:]
        details = [f"also: {text}" + (f" ({more})" if more else "") for text, more in rest]
        raise error(f"{where}: {first}", details=details, hint=hint) from None


def _describe(model: type[Table], fault: Any) -> tuple[str, str]:
    """One fault that pydantic found, as a sentence and a hint."""
    steps = [step for step in fault["loc"] if not (isinstance(step, str) and step.startswith("function-"))]
    key = ""
    for step in steps:
        key += f"[{step + 1}]" if isinstance(step, int) else f".{step}" if key else str(step)
    kind, context = fault["type"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        known = _keys_at(model, steps[:-1])
        return f"unknown key {key}", did_you_mean(str(steps[-1]), known) or f"known keys: {', '.join(sorted(known))}"
    if kind == "missing":
        return f"missing key {key}", "docs/recipes.md explains every key"
    if kind == "value_error":
        return (f"{key}: {context['error']}" if key else str(context["error"])), ""
    message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{key}: {message}", f"it says {fault['input']!r}"


def _keys_at(model: type[Table], steps: list[Any]) -> list[str]:
    """The keys allowed in the table that a location leads to."""
    current: type[Table] = model
    for step in steps:
        field = next((f for name, f in current.model_fields.items() if to_key(name) == step), None)
        inner = _find_table(field.annotation) if field else None
        current = inner or current
    return [field.alias or to_key(name) for name, field in current.model_fields.items()]


def _find_table(annotation: Any) -> type[Table] | None:
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    for argument in get_args(annotation):
        if found := _find_table(argument):
            return found
    return None
