"""What the options before the command decide: the project and the state folder that all commands work with."""

from __future__ import annotations

from pathlib import Path

from hapkg.config import Project, find_cache, find_project
from hapkg.store import Store


class Context:
    """What the options before the command decide."""

    def __init__(self, project: Path | None, cache: Path | None) -> None:
        self._start = project
        self.store = Store(root=find_cache(cache))

    @property
    def project(self) -> Project:
        """The project that --project or the current folder lies in."""
        return find_project(self._start or Path.cwd())
