"""A scanner that is not ours, on what is published: it says of the stack exactly what `hapkg audit` says.

`make scanner`, with the stack built. Data of holes are the fixture of the audit and holes made up for this.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hapkg.locations import find_state
from tests.system.scanner.trivy import Finding, Report, scan, write_database

CHECKOUT = Path(__file__).parents[3]
HAPKG = Path(sys.executable).with_name("hapkg")
SUITE = os.environ.get("HAPKG_SUITE", "bookworm")
KNOWN = CHECKOUT / "tests/unit/currency/known.json"

OPEN = {"status": "open", "urgency": "not yet assigned"}
UNDETERMINED = {"status": "undetermined", "urgency": "not yet assigned"}


def fixed(version: str) -> dict[str, str]:
    return {"status": "resolved", "fixed_version": version, "urgency": "not yet assigned"}


MADE_UP = {
    "pacemaker": {"CVE-2099-0001": {SUITE: OPEN, "sid": OPEN}},
    "libqb": {"CVE-2099-0002": {SUITE: OPEN, "sid": fixed("99.0-1")}},
    "corosync": {"CVE-2099-0003": {SUITE: fixed("99.0-1"), "sid": fixed("99.0-1")}},
    "resource-agents": {"CVE-2099-0004": {SUITE: fixed("1:4.0.0-1"), "sid": fixed("1:4.0.0-1")}},
    "booth": {"CVE-2099-0005": {SUITE: fixed("0"), "sid": fixed("0")}},
}
"""Open everywhere; fixed elsewhere; by a newer version; by an older one, whose epoch is Debian's; in no version."""
SEEN_BY_AUDIT_ALONE = {
    "kronosnet": {"CVE-2099-0006": {SUITE: fixed("1.0-1+deb12u1"), "sid": fixed("99.0-1")}},
    "fence-agents": {"CVE-2099-0007": {SUITE: UNDETERMINED, "sid": OPEN}},
    "cluster-glue": {"CVE-2099-0008": {"sid": OPEN}},
}
"""Fixed in the suite's older version by a patch of Debian's; not judged there; of no package of the suite."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A repository, the audit that it was published after, and Trivy's database of the same data."""

    folder: Path
    audit: list[dict[str, Any]]

    @property
    def sbom(self) -> Path:
        return self.folder / f"apt/dists/{SUITE}/evidence/sbom.cdx.json"

    @property
    def vex(self) -> Path:
        return self.sbom.with_name("vex.openvex.json")

    @property
    def components(self) -> dict[str, dict[str, Any]]:
        """Packages of the SBOM by name."""
        table = json.loads(self.sbom.read_text())
        return {one["name"]: one for one in table["components"] if one.get("group") != "sources"}

    def tell(self, findings: frozenset[Finding]) -> set[tuple[str, str]]:
        """Findings as an audit has them: hole and source."""
        return {(one.hole, self._find_source(one.package)) for one in findings}

    def find_packages(self, source: str) -> set[str]:
        return {name for name in self.components if name != "debian" and self._find_source(name) == source}

    def _find_source(self, package: str) -> str:
        told = {one["name"]: one["value"] for one in self.components[package]["properties"]}
        return str(told["hapkg:source"].partition("@")[0].rpartition("/")[2])


def _hapkg(*arguments: str, may_find: bool = False) -> str:
    done = subprocess.run([HAPKG, *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode in ((0, 1) if may_find else (0,)), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def published() -> Iterator[Published]:
    """The finished builds, published after an audit. The memory of holes is put back as it was."""
    folder = Path(tempfile.mkdtemp(prefix="hapkg-test-", dir="/var/tmp"))
    tracker: dict[str, dict[str, Any]] = json.loads(KNOWN.read_text())
    for made_up in (MADE_UP, SEEN_BY_AUDIT_ALONE):
        for source, holes in made_up.items():
            tracker.setdefault(source, {}).update({hole: {"releases": states} for hole, states in holes.items()})
    (folder / "tracker.json").write_text(json.dumps(tracker))
    memory = find_state(None).known_holes
    before = memory.read_bytes() if memory.exists() else None
    try:
        told = _hapkg("audit", "--suite", SUITE, "--data", str(folder / "tracker.json"), "--json", may_find=True)
        _hapkg("publish", "--suite", SUITE, "--repo", str(folder / "apt"))
    finally:
        memory.write_bytes(before) if before is not None else memory.unlink(missing_ok=True)
    made = Published(folder=folder, audit=json.loads(told))
    write_database(folder / "cache", tracker, SUITE, made.components["debian"]["version"])
    yield made
    shutil.rmtree(folder)


def _print(title: str, report: Report) -> None:
    print(f"\n{title}: {len(report.holes)} holes, {len(report.open)} findings")
    for hole in sorted(report.holes):
        print(f"  {hole}  {' '.join(sorted(one.package for one in report.open if one.hole == hole))}")
    if report.closed:
        print(f"  closed by VEX: {' '.join(sorted({one.hole for one in report.closed}))}")


def test_a_node_alone_says_nothing_of_the_stack(published: Published) -> None:
    root = published.folder / "node"
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "etc").mkdir()
    version = published.components["debian"]["version"]
    (root / "etc/os-release").write_text(f'ID=debian\nVERSION_ID="{version}"\n')
    (root / "etc/debian_version").write_text(f"{version}.0\n")
    stanzas = [
        "\n".join(line for line in stanza.splitlines() if not line.startswith(("Filename:", "Size:", "SHA", "MD5")))
        + "\nStatus: install ok installed"
        for index in (published.folder / f"apt/dists/{SUITE}").glob("main/binary-*/Packages")
        for stanza in index.read_text().strip().split("\n\n")
    ]
    # Debian's own package of old, so that silence about the others is not that of a scanner that sees nothing.
    stanzas.append("Package: corosync\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1")
    (root / "var/lib/dpkg/status").write_text("\n\n".join(stanzas) + "\n")
    report = scan(published.folder / "cache", "rootfs", root)
    _print("a node, without our documents", report)
    assert len(stanzas) > len(published.find_packages("ha-pacemaker")) > 1
    assert {one.package for one in report.open} == {"corosync"}


def test_the_sbom_alone_reports_what_patches_have_closed(published: Published) -> None:
    report = scan(published.folder / "cache", "sbom", published.sbom)
    _print("SBOM, without VEX", report)
    patched = {(one["id"], one["source"]) for one in published.audit if one["verdict"] == "patched"}
    assert published.tell(report.open) > _find_open(published) - _find_missed()
    assert published.tell(report.open) & patched


def test_sbom_and_vex_say_what_the_audit_says(published: Published) -> None:
    report = scan(published.folder / "cache", "sbom", published.sbom, published.vex)
    _print("SBOM and VEX", report)
    audit = _find_open(published)
    print(f"hapkg audit: {len(audit)} open: {' '.join(sorted(hole for hole, _ in audit))}")
    assert {hole for hole, _ in audit} > {"CVE-2099-0001", "CVE-2099-0002", "CVE-2099-0003"}
    assert published.tell(report.open) == audit - _find_missed()
    for hole, source in published.tell(report.open):
        assert {one.package for one in report.open if one.hole == hole} == published.find_packages(source)


def test_the_vex_says_the_rest(published: Published) -> None:
    """Of holes that only an audit finds: a VEX document closes findings, and no scanner takes new ones from it."""
    statements = json.loads(published.vex.read_text())["statements"]
    affected = {one["vulnerability"]["name"] for one in statements if one["status"] == "affected"}
    assert affected == {hole for hole, _ in _find_open(published)}
    assert _find_missed() <= _find_open(published)


def _find_open(published: Published) -> set[tuple[str, str]]:
    return {(one["id"], one["source"]) for one in published.audit if one["verdict"] == "open"}


def _find_missed() -> set[tuple[str, str]]:
    return {(hole, f"ha-{source}") for source, holes in SEEN_BY_AUDIT_ALONE.items() for hole in holes}
