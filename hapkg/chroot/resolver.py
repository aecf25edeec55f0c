"""Packages of the archive that a build needs, in exact versions: apt's answer, from the base chroot's own index.

The host's apt asks the index that lies in the base, so that no session is needed and the answer follows from base and
relations alone. It is remembered in the state folder, with the digests of the packages: apt has checked the signature
of that index when the base was made.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from hapkg import disk
from hapkg.apt.query import query_root
from hapkg.chroot.archives import Archive, parse_uris
from hapkg.chroot.schroot import Chroot
from hapkg.control import BinaryName, parse_relation_names, split_stanzas
from hapkg.errors import BuildError, ProcessError
from hapkg.locations import State
from hapkg.records import digest_json, format_record, read_record

_FIELDS = ("Build-Depends", "Build-Depends-Arch", "Build-Depends-Indep")
_Question = tuple[str, ...] | Mapping[str, str]
"""Relations to fulfil, or packages by version."""
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
    known = _load(base, relations, state)
    return None if known is None else _name_versions(known)


def resolve(base: Chroot, relations: tuple[str, ...], state: State, *, source: str) -> Mapping[str, str]:
    """Names and versions to install into the base so that all relations are fulfilled.

    Raises BuildError, in the name of the source, when the archive cannot fulfil them.
    """
    if (known := load_answer(base, relations, state)) is not None:
        return known
    answer = _ask(base, relations, source)
    versions = _name_versions(answer)
    _save(base, versions, state, answer)  # who resolves wants the packages next
    _save(base, relations, state, answer)
    return versions


def find_archives(base: Chroot, packages: Mapping[str, str], state: State) -> Mapping[str, Archive]:
    """Files of these packages, which need no others beside the base.

    Raises BuildError when the index in the base does not have exactly these.
    """
    if (known := _load(base, packages, state)) is not None:
        return known
    answer: dict[str, Archive] = {}
    details: Sequence[str] = ()
    try:
        answer = _query(base, ["install", *(f"{name}={version}" for name, version in packages.items())])
    except ProcessError as error:
        details = error.details
    found = _name_versions(answer)
    if other := sorted(name for name in {*found, *packages} if found.get(name) != packages.get(name)):
        raise BuildError(
            f"the archive's index in the base chroot of {base.suite} does not give {other[0]} as it was resolved",
            details=details
            or [f"{name}: {found.get(name, 'absent')}, not {packages.get(name)}" for name in other[:10]],
            hint=f"run: hapkg chroot update --suite {base.suite}",
        )
    _save(base, packages, state, answer)
    return answer


def read_remembered(state: State) -> Iterator[tuple[str, Archive]]:
    """Names and files of all packages that apt's remembered answers tell of."""
    for file in sorted(state.resolved.glob("[!.]*.json")):
        yield from (read_record(file, dict[str, Archive]) or {}).items()


def _load(base: Chroot, question: _Question, state: State) -> Mapping[str, Archive] | None:
    file = _find_answer(base, question, state)
    try:
        return _read_answer(file, file.stat().st_mtime_ns)
    except OSError:
        return None


def _save(base: Chroot, question: _Question, state: State, answer: Mapping[str, Archive]) -> None:
    file = _find_answer(base, question, state)
    disk.make_folder(file.parent)
    scratch = disk.make_scratch(file.parent, ".new-")  # two sources may ask the same at the same time
    table = {name: vars(archive) for name, archive in answer.items()}
    disk.write(scratch / file.name, format_record(table, names=True))
    disk.move({scratch / file.name: file})
    scratch.rmdir()


def _find_answer(base: Chroot, question: _Question, state: State) -> Path:
    asked = dict(question) if isinstance(question, Mapping) else question
    return state.resolved / f"{digest_json([base.suite, base.digest, base.index, asked])}.json"


def _name_versions(answer: Mapping[str, Archive]) -> dict[str, str]:
    return {name: archive.version for name, archive in answer.items()}


@functools.lru_cache(maxsize=16)
def read_installed(base: Chroot) -> Mapping[str, str]:
    """Names and versions of what a base chroot holds. One that replaces it while hapkg runs has another digest."""
    status = base.root / "var/lib/dpkg/status"
    return {stanza["Package"]: stanza["Version"] for stanza in split_stanzas(status.read_text("utf-8"))}


@functools.cache
def _read_answer(file: Path, changed: int) -> Mapping[str, Archive] | None:
    return read_record(file, dict[str, Archive])


def _split(field: str) -> tuple[str, ...]:
    return tuple(clean for relation in field.split(",") if (clean := " ".join(relation.split())))


def _ask(base: Chroot, relations: tuple[str, ...], source: str) -> dict[str, Archive]:
    try:
        return _query(base, ["satisfy", ", ".join(relations)])
    except _RemovalError as error:
        raise BuildError(
            f"{source}: a build dependency would remove {error.brief} from the base chroot",
            hint="check build-depends in recipe.toml for packages that exclude each other",
        ) from error
    except ProcessError as error:
        raise BuildError(
            f"{source}: a build dependency cannot be installed",
            details=error.details,
            hint="check build-depends in recipe.toml against the suite; hapkg chroot update reads its index anew",
        ) from error


class _RemovalError(ProcessError):
    """apt would remove packages of the base, which are its brief."""


def _query(base: Chroot, words: Sequence[str]) -> dict[str, Archive]:
    # The files that it would fetch into an empty folder, by name. --simulate says as much after acting out every step,
    # which takes three times as long.
    output = query_root(
        base.root, base.folder / "apt", ["apt-get", "--option=Acquire::ForceHash=SHA256", "--print-uris", *words]
    )
    if removed := _REMOVED.search(output):
        raise _RemovalError(", ".join(removed[1].split()))
    found = parse_uris(output)
    if len(found) != len(re.findall(r"^'", output, re.MULTILINE)):
        raise ProcessError("apt names packages without a SHA256", details=output.splitlines()[-12:])
    return found
