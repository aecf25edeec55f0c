"""Where a checkout and the state folder are, and how a file of settings is read: what every command begins with."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from hapkg.errors import ConfigError, HapkgError

SITE_FILE = "site.toml"
"""The site file that is used when none is named; there need be none."""


def find_settings(start: Path) -> tuple[Path, Any]:
    """The checkout that start lies in, and its settings as they are written.

    It is the nearest folder upwards whose pyproject.toml has a [tool.hapkg] table.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            tool = read_toml(file, ConfigError).get("tool")
            table = tool.get("hapkg") if isinstance(tool, dict) else None
            if table is not None:
                return folder, table
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
    return _find_base("XDG_CACHE_HOME", ".cache") / "hapkg"


def find_keys() -> Path:
    """Where hapkg's own signing key lives: not in the cache, because a key cannot be made again."""
    if named := os.environ.get("HAPKG_KEYS"):
        return Path(named).absolute()
    return _find_base("XDG_DATA_HOME", ".local/share") / "hapkg" / "keys"


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
