"""Maintainer scripts of built packages: as debian/ was rendered, with debhelper's own snippets, and nothing else.

A build runs code of others, and root runs these scripts: on nodes, and in the builds of what depends on the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from hapkg.deb import read_members, read_text
from hapkg.errors import BuildError

SNIPPETS = "usr/share/debhelper/autoscripts"
"""Folder of a root, with the snippets that debhelper and its like insert."""
SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")
_DATA = ("", "control", "md5sums", "conffiles", "shlibs", "symbols")
"""Members of a control archive that run nothing."""
_MARK = "#DEBHELPER#"
_EMPTY = f"#!/bin/sh\nset -e\n{_MARK}\n"
"""A script that debhelper writes where debian/ has none."""
_BLOCK = re.compile(r"# Automatically added by [^\n]*\n(.*?)\n# End automatically added section\n", re.DOTALL)
_PLACE = re.compile(r"#[A-Z_]+#")
_MOST_BYTES = 1 << 16
"""Of a script: patterns may take long for more."""
_VALUE = r"(?:(?!\.\.)[A-Za-z0-9@%+=:,./_ '~-]|\\[.+:~-]){0,1000}"
"""In the place of a snippet's variable: names, paths and versions; nothing that a shell acts upon."""
_TRIGGERS = re.compile(r"(# Triggers added by dh_makeshlibs/\S+\n)?activate-noawait ldconfig\n?")


def check_scripts(debs: Iterable[Path], rendered: Mapping[str, bytes], main: str, snippets: Sequence[Path]) -> None:
    """Compare the scripts of packages with the files of debian/, by path there. snippets are folders of debhelper's.

    main is the package that files without a package's name in theirs are for.

    Raises BuildError that names each script that is another, and each member that no package of ours has.
    """
    known = [_compile(file) for folder in snippets for file in sorted(folder.iterdir()) if file.is_file()]
    faults = [fault for deb in debs for fault in _check_package(deb, rendered, main, known)]
    if faults:
        raise BuildError(
            faults[0],
            details=[f"also: {fault}" for fault in faults[1:]],
            hint="write the script in debian/ of the recipe, with #DEBHELPER# in it; the build must not change it",
        )


def _check_package(
    deb: Path, rendered: Mapping[str, bytes], main: str, known: Sequence[re.Pattern[str]]
) -> Iterator[str]:
    package = deb.name.partition("_")[0]
    for member, content in read_members(deb, "control"):
        name = member.name.removeprefix("./").strip("/.")
        own = rendered.get(f"{package}.{name}", rendered.get(name) if package == main else None)
        if name in _DATA:
            continue
        if content is None:
            yield f"{deb.name} has {name!a} among its control files, which is no file"
            continue
        text = read_text(content).decode("utf-8", "surrogateescape")
        if name in SCRIPTS:
            if not is_made_of(text, own.decode() if own is not None else _EMPTY, known):
                yield f"{deb.name} has a {name} that is not what debian/ says and debhelper adds"
        elif not (text.encode("utf-8", "surrogateescape") == own or (name == "triggers" and _TRIGGERS.fullmatch(text))):
            yield f"{deb.name} has {name!a} among its control files, which debian/ does not say"


def is_made_of(text: str, template: str, known: Sequence[re.Pattern[str]]) -> bool:
    """Test for a template in whose place for debhelper there are snippets alone."""
    start, mark, end = template.partition(_MARK)
    if not mark or len(text) > _MOST_BYTES:
        return text == template
    end = end.removeprefix("\n")
    if len(text) < len(start) + len(end) or not (text.startswith(start) and text.endswith(end)):
        return False
    middle = text[len(start) : len(text) - len(end)]
    blocks = _BLOCK.findall(middle)
    return not _BLOCK.sub("", middle).strip("\n") and all(_is_snippet(block, known) for block in blocks)


def _is_snippet(text: str, known: Sequence[re.Pattern[str]]) -> bool:
    return any(pattern.fullmatch(text.strip("\n")) for pattern in known)


def _compile(file: Path) -> re.Pattern[str]:
    """A snippet as a pattern, with values in the places of its variables."""
    return re.compile(_VALUE.join(map(re.escape, _PLACE.split(file.read_text("utf-8").strip("\n")))))
