"""Packages of the archive that a build needs, in exact versions: apt's answer, from the base chroot's own index.

The host's apt asks the index that lies in the base, so that no session is needed and the answer follows from base and
relations alone. It is remembered in the state folder.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote

from hapkg import disk
from hapkg.apt import query_root
from hapkg.chroot.schroot import Chroot
from hapkg.control import BinaryName, parse_relation_names, split_stanzas
from hapkg.errors import BuildError, ProcessError
from hapkg.locations import State
from hapkg.records import read_record

_FIELDS = ("Build-Depends", "Build-Depends-Arch", "Build-Depends-Indep")
_INSTALLED = re.compile(r"^'\S+' ([^\s_]+)_([^\s_]+)_[^\s_]+\.deb \d", re.MULTILINE)
_REMOVED = re.compile(r"^The following packages will be REMOVED:\n((?: +.*\n)+)", re.MULTILINE)


def read_relations(control: str) -> tuple[str, ...]:
    """Build dependencies of the source stanza of a debian/control, one relation each."""
    stanza = next(split_stanzas(re.sub(r"(?m)^#.*\n", "", control)))
    return _split(", ".join(stanza.get(field, "") for field in _FIELDS))


def choose_relations(fields: Iterable[str], stack: Collection[BinaryName]) -> tuple[str, ...]:
    """The relations that the archive must fulfil: those that no package of the stack does."""
    relations = {relation for field in fields for relation in _split(field)}
    return tuple(
        sorted(
            relation
            for relation in relations
            if not any(name in stack for names in parse_relation_names(relation) for name in names)
        )
    )


def load_answer(base: Chroot, relations: tuple[str, ...], state: State) -> Mapping[str, str] | None:
    """A cached answer of resolve(), or None."""
    file = _find_answer(base, relations, state)
    try:
        return _read_answer(file, file.stat().st_mtime_ns)
    except OSError:
        return None


def resolve(base: Chroot, relations: tuple[str, ...], state: State, *, source: str) -> Mapping[str, str]:
    """Names and versions to install into the base so that all relations are fulfilled.

    Raises BuildError, in the name of the source, when the archive cannot fulfil them.
    """
    if (known := load_answer(base, relations, state)) is not None:
        return known
    answer = _ask(base, relations, source)
    file = _find_answer(base, relations, state)
    disk.make_folder(file.parent)
    scratch = disk.make_scratch(file.parent, ".new-")  # two sources may ask the same at the same time
    disk.write(scratch / file.name, json.dumps(answer, indent=1, sort_keys=True).encode() + b"\n")
    disk.move({scratch / file.name: file})
    scratch.rmdir()
    return answer


def _find_answer(base: Chroot, relations: tuple[str, ...], state: State) -> Path:
    question = json.dumps([base.suite, base.digest, base.index, relations])
    return state.resolved / f"{hashlib.sha256(question.encode()).hexdigest()}.json"


def read_installed(base: Chroot) -> Mapping[str, str]:
    """Names and versions of what the base chroot holds."""
    return _read_status(base.root / "var/lib/dpkg/status")


@functools.cache
def _read_status(status: Path) -> Mapping[str, str]:
    return {stanza["Package"]: stanza["Version"] for stanza in split_stanzas(status.read_text("utf-8"))}


@functools.cache
def _read_answer(file: Path, changed: int) -> Mapping[str, str] | None:
    return read_record(file, dict[str, str])


def _split(field: str) -> tuple[str, ...]:
    return tuple(clean for relation in field.split(",") if (clean := " ".join(relation.split())))


def _ask(base: Chroot, relations: tuple[str, ...], source: str) -> dict[str, str]:
    # The files that it would fetch into an empty folder, by name. --simulate says as much after acting out every step,
    # which takes three times as long.
    argv = ["apt-get", "--print-uris", "satisfy", ", ".join(relations)]
    try:
        output = query_root(base.root, base.folder / "apt", argv)
    except ProcessError as error:
        raise BuildError(
            f"{source}: a build dependency cannot be installed",
            details=error.details,
            hint="check build-depends in recipe.toml against the suite; hapkg chroot update reads its index anew",
        ) from error
    if removed := _REMOVED.search(output):
        raise BuildError(
            f"{source}: a build dependency would remove {', '.join(removed[1].split())} from the base chroot",
            hint="check build-depends in recipe.toml for packages that exclude each other",
        )
    return {name: unquote(version) for name, version in _INSTALLED.findall(output)}
