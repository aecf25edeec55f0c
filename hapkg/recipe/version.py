"""The version scheme: how the version of every package hapkg builds is put together and taken apart.

    UPSTREAM[+gitDATE.SHORT]-REVISION+haRELEASE.REBUILD      with an upstream source
    UPSTREAM+haRELEASE.REBUILD                               written by hapkg itself (no upstream)

REVISION counts changes of the recipe, RELEASE is the release number of the suite (bookworm 12, trixie 13, noble 24.04),
and REBUILD counts rebuilds with other bytes of the same recipe in the same suite. docs/versions.md argues it; the order
is tested against `dpkg --compare-versions`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_UPSTREAM = re.compile(r"[0-9][A-Za-z0-9.+~]*\Z")
_BUILT = re.compile(
    r"(?P<upstream>[0-9][A-Za-z0-9.+~]*?)(?:-(?P<revision>[1-9][0-9]*))?"
    r"\+ha(?P<release>(?:0|[1-9][0-9]*)(?:\.[0-9]+)*)\.(?P<rebuild>0|[1-9][0-9]*)\Z"
)


def is_upstream_version(text: str) -> bool:
    """Check the upstream part: it starts with a digit, no epoch, no hyphen, no mark of our own."""
    return bool(_UPSTREAM.match(text)) and "+ha" not in text


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a source package and of the binary packages built from it."""

    upstream: str
    revision: int | None
    """None for a source without upstream (a native source package)."""
    release: str
    """Release number of the suite; distribution.py has them."""
    rebuild: int

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"-{self.revision}"
        return f"{self.upstream}{revision}+ha{self.release}.{self.rebuild}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The inverse of str(). Raises ValueError for a version that hapkg did not make."""
        match = _BUILT.match(text)
        if match is None:
            raise ValueError(f"{text!r} is not a version made by hapkg")
        revision = match["revision"]
        return cls(
            upstream=match["upstream"],
            revision=None if revision is None else int(revision),
            release=match["release"],
            rebuild=int(match["rebuild"]),
        )

    @property
    def base(self) -> str:
        """Everything but the rebuild number: what a recipe and a suite decide."""
        return str(self).rpartition(".")[0]


def make_snapshot(upstream: str, date: str, commit: str) -> str:
    """The upstream version of a snapshot taken after a release: sorts above the release and below the next.

    date is digits alone (YYYYMMDD or YYYYMMDDHHMMSS, UTC) so that two snapshots sort by time; commit is a full id.
    """
    return f"{upstream}+git{date}.{commit[:7]}"
