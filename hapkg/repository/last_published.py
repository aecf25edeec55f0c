"""The publisher's own memory of a repository, beside the keys: which InRelease of each suite was published last.

A signature says who signed, and never that nothing newer was signed since. Whoever can write in the repository can put
an older state back, or take all signatures away so that it looks like one that was never signed. The memory knows
better. It only ever refuses: a machine that has none, such as a second one with a copy of the keys, publishes as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hapkg import disk
from hapkg.control import Suite, parse_date
from hapkg.disk import sha256_file
from hapkg.records import read_record
from hapkg.repository.indexes import find_suites, read_release
from hapkg.repository.snapshots import find_ended

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Published:
    """The InRelease of a suite as it was written last."""

    digest: str
    """SHA256 of the file; "" when the suite was ended."""
    date: datetime
    """Its field Date, or the time of the end."""


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The file: digest and date of the InRelease by suite."""

    format: int
    place: str
    suites: Mapping[str, tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The memory of one repository."""

    file: Path
    place: str
    """Location of the repository, as a person would name it."""

    def read(self) -> dict[Suite, Published]:
        """Published states by suite; none where nothing is known, or the file is damaged or of another format."""
        table = read_record(self.file, _Table)
        if table is None or table.format != _FORMAT or table.place != self.place:
            return {}
        try:
            return {
                Suite(suite): Published(digest=digest, date=datetime.fromisoformat(date).astimezone(UTC))
                for suite, (digest, date) in table.suites.items()
            }
        except (ValueError, OverflowError):
            return {}

    def find_faults(self, root: Path) -> dict[Suite, str]:
        """Suites that are not what was published last or something newer, with a sentence for each."""
        faults = {}
        for suite, known in self.read().items():
            file = root / "dists" / suite / "InRelease"
            if not file.is_file():
                if suite in find_suites(root):
                    faults[suite] = (
                        f"suite {suite} of {root} was signed at {known.date:%F %T} UTC, and has lost its InRelease"
                    )
                elif known.digest and suite not in find_ended(root):
                    faults[suite] = (
                        f"suite {suite} of {root} was published from here at {known.date:%F %T} UTC, and is gone; "
                        "hapkg repo drop ends one, and hapkg repo refresh --adopt forgets one"
                    )
                continue
            date = _read_date(file)
            if sha256_file(file) != known.digest and (date is None or date < known.date):
                of = f"is of {date:%F %T}" if date else "has no date"
                act = "published" if known.digest else "ended"
                faults[suite] = f"suite {suite} of {root} {of}, and was {act} from here at {known.date:%F %T} UTC"
        return faults

    @contextlib.contextmanager
    def keep(self) -> Iterator[dict[Suite, Published | None]]:
        """Keep the states that the caller puts into a table, None for a suite to forget; nothing when it fails."""
        states: dict[Suite, Published | None] = {}
        yield states
        if not states:
            return
        kept = self.read()
        for suite, state in states.items():
            before = kept.pop(suite, None)
            if state is not None:
                kept[suite] = before if before and before.date > state.date else state
        suites = {str(suite): (state.digest, state.date.isoformat()) for suite, state in sorted(kept.items())}
        table = _Table(format=_FORMAT, place=self.place, suites=suites)
        with contextlib.suppress(OSError):  # keys that lie where nobody may write sign all the same
            disk.replace(self.file, (json.dumps(vars(table), indent=1) + "\n").encode())


def find_gone(root: Path, memory: Memory) -> dict[Suite, Published | None]:
    """Suites that the memory knows and that are there no more, for it to forget; but for those that were ended."""
    suites = find_suites(root)
    return {suite: None for suite, known in memory.read().items() if known.digest and suite not in suites}


def find_memory(keys: Path, place: str) -> Memory:
    """The memory of a repository beside hapkg's own keys."""
    name = f"{hashlib.sha256(place.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}.json"
    return Memory(file=keys.with_name(f"{keys.name}-published") / name, place=place)


def read_published(root: Path) -> dict[Suite, Published | None]:
    """The state of every suite of a repository that was just changed; None for one that is not signed."""
    found: dict[Suite, Published | None] = {}
    for suite in find_suites(root):
        file = root / "dists" / suite / "InRelease"
        date = _read_date(file) if file.is_file() else None
        found[suite] = Published(digest=sha256_file(file), date=date) if date else None
    return found


def _read_date(file: Path) -> datetime | None:
    try:
        return parse_date(read_release(file)["Date"]).astimezone(UTC)
    except (KeyError, ValueError):
        return None
