"""The package that brings the repository's public keys to a node, and the next ones while they are rotated."""

from __future__ import annotations

import gzip
import hashlib
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hapkg.control import SourceName, Suite, format_date
from hapkg.disk import sha256_file
from hapkg.evidence.facts import PackageFacts, SourceFacts
from hapkg.programs.process import run
from hapkg.repository.indexes import find_suites, read_pool
from hapkg.repository.keys.keyring import read_keys
from hapkg.repository.keys.signing import KeyChoice, SigningKey, export_key, read_retired
from hapkg.repository.sources_file import Identity
from hapkg.repository.upload import Upload, find_pool_file

_CONTROL = """\
Package: {name}
Version: {version}
Architecture: all
Multi-Arch: foreign
Maintainer: {maintainer}
Installed-Size: {size}
Section: misc
Priority: optional
Description: keys that sign the packages of {origin}
{description}
"""
_DESCRIPTION = (
    'The repository "{label}" signs its Release files with one of these keys. '
    "They are in /usr/share/keyrings/{name}.gpg, for the field Signed-By of a .sources file."
)
_CHANGELOG = """\
{name} ({version}) unstable; urgency=medium

  * Keys that sign now:
{keys}

 -- {maintainer}  {date}
"""
_VERSION = "%Y.%m.%d.%H%M%S"
_COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: {name}

Files: *
Copyright: {year} {maintainer}
License: public-domain
 Public keys are facts, and free for everybody to use.
"""


def make_keyring(
    root: Path, folder: Path, *, name: str, suite: Suite, identity: Identity, choice: KeyChoice, key: SigningKey
) -> Upload:
    """The package of the keys that sign now, made below folder, for a suite of the repository at root.

    Its version is the time at which the keys changed last. One that an index names already is taken as it is; a file
    that merely lies in its place is not.
    """
    content = export_key(key, armored=False)
    keys = read_keys(content)
    retired = () if choice.names else read_retired(choice.home).values()
    changed = datetime.fromtimestamp(max([*(one.renewed for one in keys), *retired]), UTC)
    if choice.names:  # nobody writes down when one of these signs no more
        pattern = find_pool_file(root, Upload(suite=suite, source=SourceName(name), files=()), f"{name}_*_all.deb")
        found = [file for file in pattern.parent.glob(pattern.name) if _is_published(root, file)]
        newest = max(found, key=lambda file: file.name, default=None)
        if newest and _read_keyring(newest, name, folder) == content:
            return Upload(suite=suite, source=SourceName(name), files=(newest,))
        if newest:  # two changes in one second are two versions
            before = datetime.strptime(newest.name.split("_")[1], _VERSION).replace(tzinfo=UTC)
            changed = max(datetime.now(UTC), before + timedelta(seconds=1))
    version = f"{changed:{_VERSION}}"
    file = f"{name}_{version}_all.deb"
    upload = Upload(suite=suite, source=SourceName(name), files=(folder / file,))
    published = find_pool_file(root, upload, file)
    if _is_published(root, published):
        return Upload(suite=suite, source=SourceName(name), files=(published,))
    if not (folder / file).is_file():
        values = _describe(name, version, changed, identity, [one.fingerprint for one in keys])
        _build(folder / "tree", folder / file, values, content, int(changed.timestamp()))
    return upload


def remake_keyring(package: Path, folder: Path, *, name: str, version: str, identity: Identity) -> Path:
    """Make a published package of keys once more, from the keys in it. Raises ValueError for a version of others."""
    changed = datetime.strptime(version, _VERSION).replace(tzinfo=UTC)
    content = _read_keyring(package, name, folder)
    values = _describe(name, version, changed, identity, [one.fingerprint for one in read_keys(content)])
    _build(folder / "tree", folder / package.name, values, content, int(changed.timestamp()))
    return folder / package.name


def _is_published(root: Path, file: Path) -> bool:
    """Tell whether an index of the repository names a file with just its bytes."""
    if file.is_symlink() or not file.is_file():
        return False
    path = str(file.relative_to(root))
    digests = {
        one.digest for suite in find_suites(root) for one in read_pool(root, suite).files.values() if one.path == path
    }
    return sha256_file(file) in digests


def _describe(
    name: str, version: str, changed: datetime, identity: Identity, fingerprints: Sequence[str]
) -> dict[str, object]:
    """Values for control file, changelog and copyright."""
    description = textwrap.fill(_DESCRIPTION.format(label=identity.label, name=name), 75)
    return {
        "name": name,
        "version": version,
        "maintainer": identity.maintainer,
        "origin": identity.origin,
        "description": textwrap.indent(description, " "),
        "size": 12,
        "keys": "\n".join(f"    {fingerprint}" for fingerprint in fingerprints),
        "date": format_date(changed),
        "year": changed.year,
    }


def _read_keyring(package: Path, name: str, folder: Path) -> bytes:
    run(["dpkg-deb", "--extract", str(package), str(folder / "published")])
    return (folder / "published/usr/share/keyrings" / f"{name}.gpg").read_bytes()


def _build(tree: Path, file: Path, values: dict[str, object], keyring: bytes, time: int) -> None:
    name = str(values["name"])
    files = {
        f"usr/share/keyrings/{name}.gpg": keyring,
        f"usr/share/doc/{name}/changelog.gz": gzip.compress(_CHANGELOG.format(**values).encode(), 9, mtime=0),
        f"usr/share/doc/{name}/copyright": _COPYRIGHT.format(**values).encode(),
        f"usr/share/doc/{name}/sbom.cdx.json": _write_sbom(name, values, time),
    }
    digests = "".join(
        f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}  {path}\n" for path, content in files.items()
    )
    control = {"DEBIAN/control": _CONTROL.format(**values).encode(), "DEBIAN/md5sums": digests.encode()}
    for path, content in {**files, **control}.items():
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o644)
    for entry in (tree, *tree.rglob("*")):
        if entry.is_dir():
            entry.chmod(0o755)
    argv = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(file)]
    run(argv, environment={"SOURCE_DATE_EPOCH": str(time)})


def _write_sbom(name: str, values: Mapping[str, object], time: int) -> bytes:
    from hapkg.evidence.package_sbom import write_package_sbom  # noqa: PLC0415 - CycloneDX takes time, and few publishes make the package

    package = PackageFacts(name=name, synopsis=f"keys that sign the packages of {values['origin']}")
    facts = SourceFacts(
        name=name,
        vendor=str(values["origin"]),
        distribution="",
        debian_name=name,
        homepage="",
        date=datetime.fromtimestamp(time, UTC),
        license="LicenseRef-public-domain",
        upstream=None,
        patches=(),
        packages=(package,),
    )
    return write_package_sbom(facts, package, str(values["version"]))
