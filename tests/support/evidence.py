"""Documents of the tiny packages: those that a build of hapkg leaves, written by the same code."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hapkg.build.plan import make_key
from hapkg.control import read_file_names
from hapkg.deb import read_deb_control
from hapkg.evidence.build_facts import BuildFacts, BuiltFile, BuiltPackage, Material
from hapkg.evidence.buildinfo import parse_buildinfo
from hapkg.evidence.facts import PackageFacts, PatchFacts, SourceFacts, UpstreamFacts
from hapkg.evidence.provenance import write_statement
from hapkg.evidence.purl import name_package
from hapkg.evidence.source_sbom import write_source_sbom
from hapkg.evidence.vex import VexStatement, VexStatus
from hapkg.repository.documents.names import BUILDINFO, PROVENANCE, SBOM
from hapkg.repository.upload import Upload
from tests.support.packages import OWN, make_upload, run

INPUTS: dict[str, Any] = {"format": 3, "chroot": "c" * 64, "depends": {"gcc": "4:12.2.0-3"}, "stack": {}}
KEY = make_key(INPUTS)
BUILDINFO_TEXT = """\
Format: 1.0
Source: ha-logic
Binary: libha-logic1
Architecture: amd64
Version: {version}
Checksums-Sha256:
{checksums}
Build-Origin: Debian
Build-Architecture: amd64
Build-Date: Sun, 29 Nov 2026 17:37:39 +0000
Build-Path: /build/ha-logic
Installed-Build-Depends:
 gcc (= 4:12.2.0-3),
 libc6 (= 2.36-9+deb12u10),
 make (= 4.3-4.1)
Environment:
 LANG="C.UTF-8"
"""


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def tell_facts(upload: Upload) -> SourceFacts:
    """Facts of the source of an upload."""
    packages = {read_deb_control(deb)["Package"]: deb for deb in upload.files if deb.suffix == ".deb"}
    return SourceFacts(
        name=upload.source,
        vendor="Hapkg Test",
        distribution="debian-12",
        debian_name="logic",
        homepage="https://example.org/logic",
        date=datetime(2024, 1, 1, tzinfo=UTC),
        license="GPL-2.0-or-later",
        upstream=UpstreamFacts(
            name="logic",
            version="1.0",
            repositories=("git+https://github.com/some/logic.git",),
            tag="v1.0",
            commit="c" * 40,
            origins=(),
        ),
        patches=(PatchFacts(name="x.patch", address="", fixes=("CVE-2026-0001",)),),
        packages=tuple(PackageFacts(name=name, synopsis=f"{name} of a test") for name in packages),
    )


def make_documented(folder: Path, version: str, **more: Any) -> Upload:
    """The upload of make_upload() with the documents of its build."""
    upload = make_upload(folder, version, key=KEY, **more)
    debs = [file for file in upload.files if file.suffix == ".deb"]
    documents = write_documents(folder, upload, version, debs, OWN, INPUTS)
    return dataclasses.replace(upload, files=(*upload.files, *documents))


def make_followed(folder: Path, version: str, architecture: str) -> Upload:
    """The upload of make_documented(), and of its build for another architecture."""
    upload = make_documented(folder, version)
    debs = [repack(deb, architecture) for deb in upload.files if deb.name.endswith(f"_{OWN}.deb")]
    documents = write_documents(folder, upload, version, debs, architecture, {**INPUTS, "lead": KEY})
    return dataclasses.replace(upload, files=(*upload.files, *debs, *documents))


def repack(deb: Path, architecture: str) -> Path:
    """A copy of a package for another architecture."""
    other = deb.with_name(deb.name.replace(f"_{OWN}.deb", f"_{architecture}.deb"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "package"
        run("dpkg-deb", "--raw-extract", deb, folder)
        control = folder / "DEBIAN/control"
        control.write_text(control.read_text().replace(f"Architecture: {OWN}\n", f"Architecture: {architecture}\n"))
        run("dpkg-deb", "--root-owner-group", "--build", folder, other)
    return other


def write_documents(
    folder: Path, upload: Upload, version: str, debs: Sequence[Path], architecture: str, inputs: Mapping[str, Any]
) -> tuple[Path, ...]:
    """Write the documents of a build of an upload: the one that made these packages."""
    (dsc,) = [file for file in upload.files if file.suffix == ".dsc"]
    sources = [dsc, *(dsc.with_name(name) for name in read_file_names(dsc))]
    stem = f"{upload.source}_{version}_{architecture}"
    info, sbom, statement = (folder / f"{stem}{kind}" for kind in (BUILDINFO, SBOM, PROVENANCE))
    checksums = "\n".join(f" {digest(deb)} {deb.stat().st_size} {deb.name}" for deb in debs)
    text = BUILDINFO_TEXT.format(version=version, checksums=checksums).replace(": amd64\n", f": {architecture}\n")
    info.write_text(text)
    told = parse_buildinfo(info.read_text())
    named = [deb for deb in debs if "-dbgsym_" not in deb.name]
    build = BuildFacts(
        source=upload.source,
        version=version,
        suite=upload.suite,
        vendor="debian",
        architecture=architecture,
        key=make_key(inputs),
        inputs=inputs,
        packages=tuple(
            BuiltPackage(
                name=deb.name.split("_")[0],
                architecture=deb.stem.rpartition("_")[2],
                sha256=digest(deb),
                depends=read_deb_control(deb).get("Depends", ""),
                built_using="linux (= 6.1.1-1)" if deb.name.startswith("libha") else "",
            )
            for deb in named
        ),
        files=tuple(BuiltFile(name=file.name, sha256=digest(file)) for file in (*debs, *sources)),
        byproducts=(BuiltFile(name=info.name, sha256=digest(info)),),
        materials=(
            Material(name="recipes/logic", address="", digests={"gitCommit": "d" * 40}, annotations={}),
            *(
                Material(
                    name=file.name,
                    address="https://example.org/logic-1.0.tar.gz",
                    digests={"sha256": digest(file)},
                    annotations={},
                )
                for file in sources
                if ".orig." in file.name
            ),
        ),
        environment=told.installed,
        finished=told.date,
        builder="builder",
        hapkg="0.1.0",
    )
    sbom.write_bytes(write_source_sbom(tell_facts(upload), build))
    statement.write_bytes(write_statement(build))
    return info, sbom, statement


def make_statements(upload: Upload, version: str, status: VexStatus = VexStatus.FIXED) -> tuple[VexStatement, ...]:
    """Knowledge of one hole in the packages of an upload."""
    facts = tell_facts(upload)
    debs = [file for file in upload.files if file.suffix == ".deb" and "-dbgsym_" not in file.name]
    products = frozenset(
        name_package(facts, deb.name.split("_")[0], version, deb.stem.rpartition("_")[2]) for deb in debs
    )
    return (VexStatement(hole="CVE-2026-0001", products=products, status=status, why="x.patch"),)
