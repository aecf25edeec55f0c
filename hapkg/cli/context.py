"""The project and the state folder that all commands work with, as the options before the command name them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hapkg.build.store import Store
from hapkg.locations import find_state

if TYPE_CHECKING:
    from hapkg.recipe.settings import Project


class Context:
    """Options before the command; settings are read when a command first asks for them."""

    def __init__(self, project: Path | None, cache: Path | None) -> None:
        self._start = project
        self.store = Store(root=find_state(cache).root)

    @cached_property
    def project(self) -> Project:
        """The checkout that --project or the current folder lies in. Raises ConfigError."""
        from hapkg.recipe.settings import find_project  # noqa: PLC0415 - checking settings takes time, and not all need them

        return find_project(self._start or Path.cwd())
