"""In which phase a build is, from what dh says in its log. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

BUILD_PHASES = ("unpack", "configure", "compile", "test", "package")
"""What happens inside dpkg-buildpackage, in order."""
ALL_PHASES = ("fetch", "layer", "source", "dependencies", *BUILD_PHASES, "collect", "check", "lint")
"""Every phase of a source, in order."""
_MARKS: Mapping[str, str] = {
    "update_autotools_config": "configure",
    "autoreconf": "configure",
    "auto_configure": "configure",
    "auto_build": "compile",
    "auto_test": "test",
    "testroot": "package",
    "prep": "package",
    "auto_install": "package",
    "install": "package",
}
_MARK = re.compile(r"^\s*(?:debian/rules (?:override|execute_before)_)?dh_([a-z_]+)\b")


def find_phase(line: str) -> str | None:
    """The phase that a line of the log begins, or None."""
    match = _MARK.match(line)
    return _MARKS.get(match[1]) if match else None


def follow(lines: Sequence[str], phase: str) -> Iterator[str]:
    """The phases that these lines enter, after this one. Phases never go back: dh calls some commands twice."""
    for line in lines:
        found = find_phase(line)
        if found is not None and BUILD_PHASES.index(found) > BUILD_PHASES.index(phase):
            phase = found
            yield phase
