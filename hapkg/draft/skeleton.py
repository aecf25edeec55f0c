"""`hapkg init`: the files of a project of one's own."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hapkg import disk
from hapkg.control import Suite
from hapkg.errors import ConfigError, MachineError, UsageError
from hapkg.locations import DATA
from hapkg.programs import launch, process
from hapkg.recipe.settings import Settings
from hapkg.tables import parse_table

_FILES: Mapping[str, str] = {
    "recipes/stack/recipe.toml": "stack.toml.j2",
    "README.md": "README.md.j2",
    ".gitignore": "gitignore.j2",
    ".github/workflows/packages.yml": "github.yml.j2",
    ".gitlab-ci.yml": "gitlab.yml.j2",
    "pyproject.toml": "pyproject.toml.j2",
}
"""Templates by the file that they become, in the order of writing: the last one makes it a project."""


def make_project(folder: Path, table: Mapping[str, str | None], programs: Sequence[str]) -> list[Path]:
    """Write the files of a new project into a folder, which is made where it is missing; their paths.

    table has keys of [tool.hapkg]: suite, prefix, package-prefix and maintainer; one that is None follows from the
    folder's name, and from git's or Debian's variables. programs are the Debian packages that a machine of continuous
    integration installs. Raises UsageError where a file is there already, ConfigError for wrong values, MachineError
    where the folder cannot be written.
    """
    name = re.sub(r"[^a-z0-9]+", "", folder.resolve().name.lower()).lstrip("0123456789")
    if not name:
        raise UsageError(f"{folder.resolve().name!r} has no letter to name packages by", hint="name another folder")
    chosen = {
        "suite": table.get("suite") or "bookworm",
        "prefix": table.get("prefix") or f"/opt/{name}",
        "package-prefix": table.get("package-prefix") or f"{name}-",
        "maintainer": table.get("maintainer") or find_maintainer(),
    }
    settings = parse_table(
        Settings,
        {**chosen, "suites": [chosen["suite"]], "origin": name, "label": f"{name} packages"},
        where="hapkg init",
        error=ConfigError,
    )
    if there := [path for path in _FILES if os.path.lexists(folder / path)]:
        raise UsageError(f"{folder / there[0]} exists already", hint="name a folder without a project")
    contents = render_files(name, settings, programs, datetime.now(UTC))
    try:
        for path, content in contents.items():
            disk.make_folder((folder / path).parent)
            disk.replace(folder / path, content)
    except OSError as cause:
        raise MachineError(
            f"{cause.filename or folder}: {cause.strerror}", hint="free some space, or mend the folder"
        ) from cause
    return [folder / path for path in contents]


def render_files(name: str, settings: Settings, programs: Sequence[str], now: datetime) -> dict[str, bytes]:
    """The files of a project by path."""
    from hapkg.jinja import make_environment  # noqa: PLC0415 - it takes time, and few commands render

    environment = make_environment((DATA / "project",))
    environment.filters["toml"] = lambda text: json.dumps(text, ensure_ascii=False)
    values = {
        "name": name,
        "suite": Suite(settings.suite),
        "prefix": settings.prefix,
        "package_prefix": settings.package_prefix,
        "maintainer": settings.maintainer,
        "date": now.date(),
        "programs": " ".join(programs),
    }
    return {path: environment.get_template(file).render(values).encode() for path, file in _FILES.items()}


def find_maintainer() -> str:
    """NAME <ADDRESS>, by DEBFULLNAME and DEBEMAIL or by git's configuration. Raises UsageError where neither tells."""
    name, address = os.environ.get("DEBFULLNAME", ""), os.environ.get("DEBEMAIL", "")
    if not (name and address) and launch.find_program("git"):
        asked = (process.run(["git", "config", "--get", key], check=False) for key in ("user.name", "user.email"))
        name, address = (answer.output.strip() if answer.status == 0 else "" for answer in asked)
    if not (name and address):
        raise UsageError("nobody says who maintains the packages", hint='say it: --maintainer "NAME <ADDRESS>"')
    return f"{name} <{address}>"
