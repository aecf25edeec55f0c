"""The chain of each package of a repository, as far as the repository and a keyring tell it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hapkg.control import Suite, parse_date
from hapkg.deb import read_members, read_text
from hapkg.disk import sha256_file
from hapkg.errors import RepositoryError
from hapkg.evidence.suite_sbom import SourceEntry, read_suite_sbom
from hapkg.evidence.vex import read_vex
from hapkg.records import digest_json
from hapkg.repository.documents.names import BUILDINFO, REBUILDS, SBOM, STATEMENTS, SUITE_SBOM, VEX
from hapkg.repository.documents.suite import read_documents, read_rebuilds
from hapkg.repository.indexes import (
    IndexedPackage,
    Pool,
    find_newest,
    name_by_hash,
    read_digests,
    read_pool,
    read_release,
)
from hapkg.repository.keys.signing import find_signature_fault
from hapkg.repository.last_published import Memory
from hapkg.repository.paths import read_file
from hapkg.verification.links import (
    ChainLink,
    LinkName,
    LinkState,
    PackageChain,
    SuiteChain,
    break_,
    hold,
    lack,
    sort_links,
)
from hapkg.verification.statement import Statement, read_statements

Judge = Callable[[IndexedPackage, Statement | None, Mapping[str, Path]], Iterable[ChainLink]]
"""Further links of a package: by its statement, and the files of its source package by name."""
_IN_PACKAGE = "/sbom.cdx.json"


@dataclass(frozen=True, kw_only=True)
class _SuiteState:
    """All that is read once of a suite."""

    root: Path
    suite: Suite
    pool: Pool
    entries: tuple[SourceEntry, ...]
    statements: tuple[Statement, ...]
    rebuilds: Mapping[str, Mapping[str, object]]
    faults: Mapping[str, str]
    """Documents that cannot be read, by path."""
    present: frozenset[str]
    """Documents that Release names."""
    known: dict[Path, str] = field(default_factory=dict)
    """sha256 of files that were read: those of a source are looked at for each of its packages."""

    def digest(self, file: Path) -> str:
        """The sha256 of a file, which is read once; "" where there is none."""
        if file not in self.known:
            self.known[file] = sha256_file(file) if file.is_file() else ""
        return self.known[file]

    def find_statement(self, package: IndexedPackage) -> Statement | None:
        """The statement of the build that a package is of, by name and version of its source.

        A source that was built for several architectures has one of each: the one that names the package's file.
        """
        name, version = package.source
        found = [one for one in self.statements if (one.source, one.version) == (name, version)]
        file = Path(next(iter(package.files))).name
        return next((one for one in found if file in one.subjects), found[0] if found else None)


def check_suite(
    root: Path,
    suite: Suite,
    keyring: Path | None,
    *,
    memory: Memory | None = None,
    judge: Judge = lambda package, statement, files: (),
    wanted: Callable[[IndexedPackage], bool] = lambda package: True,
) -> SuiteChain:
    """The chain of a suite and of the wanted packages in it. No link is looked at where what vouches for it breaks."""
    links = [_check_signature(root, suite, keyring), _check_age(root, suite, memory), *_check_indexes(root, suite)]
    if any(link.state is LinkState.BREAKS for link in links):
        return SuiteChain(suite=suite, links=sort_links(links), packages=())
    try:
        state = _read_state(root, suite, keyring)
    except RepositoryError as error:
        broken = break_(LinkName.INDEX, error.brief)
        return SuiteChain(suite=suite, links=sort_links([*links, broken]), packages=())
    links.append(_check_vex(state))
    chains = [
        _check_package(state, package, judge)
        for package in state.pool.packages
        if package.architecture != "source" and wanted(package)
    ]
    return SuiteChain(suite=suite, links=sort_links(links), packages=tuple(chains))


def _check_signature(root: Path, suite: Suite, keyring: Path | None) -> ChainLink:
    file = root / "dists" / suite / "InRelease"
    if not file.is_file():
        return lack(LinkName.SIGNATURE, f"{suite} is not signed")
    if keyring is None:
        return break_(LinkName.SIGNATURE, f"{suite} is signed, and there is no keyring to check it with")
    fault = find_signature_fault(keyring, file)
    return break_(LinkName.SIGNATURE, f"{suite}: {fault}") if fault else hold(LinkName.SIGNATURE, "by the keyring")


def _check_age(root: Path, suite: Suite, memory: Memory | None) -> ChainLink:
    release = read_release(find_newest(root, suite))
    if memory is not None and (fault := memory.find_faults(root).get(suite)):
        return break_(LinkName.FRESH, fault)
    date, end = release.get("Date", ""), release.get("Valid-Until", "")
    try:
        if end and parse_date(end) < datetime.now(UTC):
            return break_(LinkName.FRESH, f"{suite} of {date} counts until {end}: somebody keeps newer states back")
    except ValueError:
        return break_(LinkName.FRESH, f"{suite} has the date {end[:60]!a}")
    known = memory is not None and suite in memory.read()
    if known or end:
        return hold(LinkName.FRESH, f"of {date}" + (f", counts until {end}" if end else ", as published from here"))
    return lack(LinkName.FRESH, f"of {date}; nobody here knows a newer one, and it counts for ever")


def _check_indexes(root: Path, suite: Suite) -> Iterator[ChainLink]:
    """Every index and document that Release names, by hash, where apt reads it."""
    folder = root / "dists" / suite
    try:
        digests = read_digests(read_release(find_newest(root, suite)))
    except RepositoryError as error:
        yield break_(LinkName.INDEX, error.brief)
        return
    places = {
        "evidence/sbom.cdx.json": LinkName.SBOM,
        "evidence/vex.openvex.json": LinkName.VEX,
        "evidence/provenance.jsonl": LinkName.PROVENANCE,
        "evidence/rebuilds.json": LinkName.REBUILT,
    }
    whole = True
    for path, digest in digests.items():
        for name in (path, name_by_hash(path, digest)):
            file = folder / name
            if not file.is_file() or file.is_symlink() or sha256_file(file) != digest:
                whole = False
                yield break_(
                    places.get(path, LinkName.INDEX), f"dists/{suite}/{name} is missing, or is not what Release names"
                )
                break
    if whole:
        yield hold(LinkName.INDEX, f"{len(digests)} files of dists/{suite} are those that Release names")


def _read_state(root: Path, suite: Suite, keyring: Path | None) -> _SuiteState:
    digests = read_digests(read_release(find_newest(root, suite)))
    found = read_documents(root, suite, digests)
    faults: dict[str, str] = {}
    entries: tuple[SourceEntry, ...] = ()
    statements: tuple[Statement, ...] = ()
    rebuilds: Mapping[str, Mapping[str, object]] = {}
    try:
        entries = tuple(read_suite_sbom(found[SUITE_SBOM])) if SUITE_SBOM in found else ()
    except ValueError as error:
        faults[SUITE_SBOM] = str(error)
    try:
        statements = read_statements(found.get(STATEMENTS, b""), keyring)
    except ValueError as error:
        faults[STATEMENTS] = str(error)
    try:
        rebuilds = read_rebuilds(found[REBUILDS]) if REBUILDS in found else {}
    except ValueError as error:
        faults[REBUILDS] = str(error)
    return _SuiteState(
        root=root,
        suite=suite,
        pool=read_pool(root, suite),
        entries=entries,
        statements=statements,
        rebuilds=rebuilds,
        faults=faults,
        present=frozenset(digests),
    )


def _check_vex(state: _SuiteState) -> ChainLink:
    if VEX not in state.present:
        return lack(LinkName.VEX, f"{state.suite} has none")
    try:
        file = state.root / "dists" / state.suite / VEX
        statements, version = read_vex(read_file(file))
    except ValueError as error:
        return break_(LinkName.VEX, f"{state.suite}: {error}")
    known = {str(package["bom-ref"]) for entry in state.entries for package in entry.packages}
    if foreign := sorted({product for one in statements for product in one.products} - known):
        return break_(LinkName.VEX, f"it speaks of {foreign[0]}, which {state.suite} does not have")
    return hold(LinkName.VEX, f"version {version}, {len(statements)} statements")


def _check_package(state: _SuiteState, package: IndexedPackage, judge: Judge) -> PackageChain:
    name, version = package.source
    statement = state.find_statement(package)
    sources = [one for one in state.pool.packages if one.architecture == "source" and one.source == package.source]
    files = {Path(path).name: state.root / path for one in sources for path in one.files}
    links = [
        _check_deb(state, package),
        _check_source(state, sources, f"{name} {version}"),
        _check_sbom(state, package),
        *_check_provenance(state, package, statement, sources),
        _check_buildinfo(state, package, statement),
        _check_tarball(state, statement, files),
        *judge(package, statement, files),
    ]
    if not any(link.name is LinkName.REBUILT for link in links):
        links.append(_find_rebuild(state, package))
    if package.name.endswith(("-dbgsym", "-archive-keyring")):  # made beside a build, or by none
        links = [link for link in links if link.state is not LinkState.ABSENT]
    return PackageChain(
        suite=state.suite,
        package=package.name,
        version=package.version,
        architecture=package.architecture,
        links=sort_links(links),
    )


def _check_deb(state: _SuiteState, package: IndexedPackage) -> ChainLink:
    (path, (_, digest)), *_ = package.files.items()
    found = state.digest(state.root / path)
    if not found:
        return break_(LinkName.PACKAGE, f"{path} is missing from the pool")
    if found != digest:
        return break_(LinkName.PACKAGE, f"{path} has the sha256 {found}, and its index says {digest}")
    return hold(LinkName.PACKAGE, f"sha256 {digest}")


def _check_source(state: _SuiteState, sources: Iterable[IndexedPackage], what: str) -> ChainLink:
    checked = 0
    for source in sources:
        for path, (_, digest) in source.files.items():
            if state.digest(state.root / path) != digest:
                return break_(LinkName.SOURCE, f"{path} is missing, or is not what Sources says")
            checked += 1
    return hold(LinkName.SOURCE, f"{checked} files") if checked else lack(LinkName.SOURCE, f"no source of {what}")


def _check_sbom(state: _SuiteState, package: IndexedPackage) -> ChainLink:
    """The package in the suite's SBOM, the SBOM of its build, and the one inside it."""
    if fault := state.faults.get(SUITE_SBOM):
        return break_(LinkName.SBOM, f"the SBOM of {state.suite}: {fault}")
    (path, (_, digest)), *_ = package.files.items()
    others = False
    for entry in state.entries:
        for component in entry.packages:
            if (component.get("name"), component.get("version")) != (package.name, package.version):
                continue
            told = [str(one.get("content")) for one in component.get("hashes", ())]
            if told != [digest]:  # that of another architecture, perhaps
                others = True
                continue
            for document, expected in _list_documents(entry):
                if state.digest(state.root / document) != expected:
                    return break_(LinkName.SBOM, f"{document} is missing, or is not what the SBOM of the suite says")
            return _check_own_sbom(state.root / path, package, component)
    if others:
        return break_(LinkName.SBOM, f"the SBOM of {state.suite} is of another {package.name} {package.version}")
    return lack(LinkName.SBOM, f"the SBOM of {state.suite} has no {package.name} {package.version}")


def _list_documents(entry: SourceEntry) -> Iterator[tuple[str, str]]:
    for one in entry.source.get("externalReferences", ()):
        path = str(one["url"])
        if path.endswith(SBOM):
            yield path, str(one["hashes"][0]["content"])


def _check_own_sbom(deb: Path, package: IndexedPackage, component: Mapping[str, object]) -> ChainLink:
    """The SBOM that the package brings must tell the same code and patches."""
    try:
        inside = [
            json.loads(read_text(content))["metadata"]["component"]
            for member, content in read_members(deb, "data")
            if content is not None and member.name.endswith(f"/doc/{package.name}{_IN_PACKAGE}")
        ]
        told = [_find_pedigree(one) for one in (*inside, component)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return break_(LinkName.SBOM, f"the SBOM inside {deb.name} cannot be read: {error!r}")
    if len(inside) != 1:
        return lack(LinkName.SBOM, f"{deb.name} has no SBOM inside")
    if (inside[0].get("name"), inside[0].get("version")) != (package.name, package.version) or told[0] != told[1]:
        return break_(LinkName.SBOM, f"the SBOM inside {deb.name} is of something else")
    return hold(LinkName.SBOM, f"of the suite, of the build and inside {deb.name}")


def _find_pedigree(component: Mapping[str, object]) -> object:
    pedigree = component.get("pedigree") or {}
    if not isinstance(pedigree, dict):
        raise TypeError("pedigree")
    return pedigree.get("commits"), pedigree.get("patches")


def _check_provenance(
    state: _SuiteState, package: IndexedPackage, statement: Statement | None, sources: Iterable[IndexedPackage]
) -> Iterator[ChainLink]:
    if fault := state.faults.get(STATEMENTS):
        yield break_(LinkName.PROVENANCE, f"the statements of {state.suite}: {fault}")
        return
    name, version = package.source
    if statement is None:
        yield lack(LinkName.PROVENANCE, f"no statement of {name} {version}")
        yield lack(LinkName.KEY, f"no statement of {name} {version}")
        return
    (path, (_, digest)), *_ = package.files.items()
    told = statement.subjects.get(Path(path).name)
    if statement.fault and statement.fault != "unsigned":
        yield break_(LinkName.PROVENANCE, f"the statement of {name} {version}: {statement.fault}")
    elif told != digest:
        yield break_(LinkName.PROVENANCE, f"the statement of {name} {version} is not of {Path(path).name}")
    elif statement.fault:
        yield lack(LinkName.PROVENANCE, f"the statement of {name} {version} is not signed")
    else:
        yield hold(LinkName.PROVENANCE, f"signed; SLSA build level {statement.level}")
    computed = digest_json(statement.inputs)
    published = {one.fields.get("Hapkg-Key", "") for one in sources} - {""}
    leader = str(statement.inputs.get("lead") or statement.key)  # the source package is of the build that is followed
    if computed != statement.key or (published and published != {leader}):
        yield break_(LinkName.KEY, f"the inputs that the statement of {name} {version} names do not give its key")
    else:
        yield hold(LinkName.KEY, statement.key)


def _check_buildinfo(state: _SuiteState, package: IndexedPackage, statement: Statement | None) -> ChainLink:
    """The .buildinfo file that the index of documents names, the one of the statement, and its own list of files."""
    (path, (_, digest)), *_ = package.files.items()
    found = {
        document: expected
        for one in state.pool.documents
        if one.source == package.source
        for document, (_, expected) in one.files.items()
        if document.endswith(BUILDINFO)
    }
    if not found:
        return lack(LinkName.BUILDINFO, f"none of {' '.join(package.source)}")
    named = [document for document in found if statement and Path(document).name in statement.byproducts]
    document = next(iter(named or found))
    file, expected = state.root / document, found[document]
    if state.digest(file) != expected:
        return break_(LinkName.BUILDINFO, f"{document} is missing, or is not what the index of documents says")
    if statement and statement.byproducts.get(file.name) != expected:
        return break_(LinkName.BUILDINFO, f"{document} is not the one of the build's statement")
    if f" {digest} " not in read_file(file).decode("utf-8", "replace"):
        return break_(LinkName.BUILDINFO, f"{document} does not name {Path(path).name}")
    return hold(LinkName.BUILDINFO, file.name)


def _check_tarball(state: _SuiteState, statement: Statement | None, files: Mapping[str, Path]) -> ChainLink:
    if statement is None:
        return lack(LinkName.TARBALL, "no statement names one")
    if not statement.tarballs:
        return hold(LinkName.TARBALL, "written by hapkg: there is no upstream")
    for name, digest in statement.tarballs.items():
        if name not in files or not files[name].is_file():
            return break_(LinkName.TARBALL, f"{name} of the statement is not in the source package")
        if state.digest(files[name]) != digest:
            return break_(LinkName.TARBALL, f"{name} is not the one that the statement names")
    return hold(LinkName.TARBALL, ", ".join(statement.tarballs))


def _find_rebuild(state: _SuiteState, package: IndexedPackage) -> ChainLink:
    """The publisher's word on a rebuild, where there is no record here."""
    if fault := state.faults.get(REBUILDS):
        return break_(LinkName.REBUILT, f"the rebuilds of {state.suite}: {fault}")
    _, digest = next(iter(package.files.values()))
    told = state.rebuilds.get(digest)
    if told is None:
        return lack(LinkName.REBUILT, f"not here: hapkg rebuild {package.source[0]}")
    if told.get("identical") is not True:
        return break_(LinkName.REBUILT, "the publisher built it again, and it came out different")
    return hold(LinkName.REBUILT, "bit-identical, by the publisher's word")
