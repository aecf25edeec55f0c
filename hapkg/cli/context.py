"""What the options before the command decide: the project and the state folder that all commands work with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hapkg.build.store import Store
from hapkg.locations import find_settings, find_state

if TYPE_CHECKING:
    from hapkg.recipe.settings import Project


class Context:
    """What the options before the command decide."""

    def __init__(self, project: Path | None, cache: Path | None) -> None:
        self._start = project
        self.store = Store(root=find_state(cache).root)

    @property
    def root(self) -> Path:
        """The checkout that --project or the current folder lies in; nobody has looked at its settings yet."""
        return find_settings(self._start or Path.cwd())[0]

    @property
    def project(self) -> Project:
        """The same with its settings."""
        from hapkg.recipe.settings import find_project  # noqa: PLC0415 - checking settings takes time, and not all need them

        return find_project(self._start or Path.cwd())
