"""Names of documents: those of builds in the pool, beside their packages, and those of a suite below its dists folder.

pool/…/NAME_VERSION_ARCH.buildinfo          as dpkg wrote it
pool/…/NAME_VERSION_ARCH.sbom.cdx.json      the SBOM of the build, with its chroot
pool/…/NAME_VERSION_ARCH.provenance.json    the statement of the build, without a signature
dists/SUITE/evidence/Index                  path, size and digest of these, in the form of Sources
dists/SUITE/evidence/sbom.cdx.json          the SBOM of the suite
dists/SUITE/evidence/vex.openvex.json       what is known of holes in it
dists/SUITE/evidence/provenance.jsonl       the statements, each signed (DSSE)
dists/SUITE/evidence/rebuilds.json          packages that were built again, and how that came out
"""

from __future__ import annotations

import re

from hapkg.repository.indexes import DOCUMENTS

BUILDINFO = ".buildinfo"
SBOM = ".sbom.cdx.json"
PROVENANCE = ".provenance.json"
KINDS = (BUILDINFO, SBOM, PROVENANCE)

FOLDER = "evidence"
INDEX = DOCUMENTS
SUITE_SBOM = f"{FOLDER}/sbom.cdx.json"
VEX = f"{FOLDER}/vex.openvex.json"
STATEMENTS = f"{FOLDER}/provenance.jsonl"
REBUILDS = f"{FOLDER}/rebuilds.json"
_NAME = re.compile(r"[^/_]+_[^/_]+_[^/_]+(?:\.buildinfo|\.sbom\.cdx\.json|\.provenance\.json)\Z")


def is_document(path: str) -> bool:
    """Tell whether a pool path is that of a build's document."""
    return _NAME.search(path) is not None


def name_document(source: str, version: str, architecture: str, kind: str) -> str:
    """The file name of a build's document. An epoch stands in no file name."""
    return f"{source}_{version.partition(':')[2] or version}_{architecture}{kind}"
