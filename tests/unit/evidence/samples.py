"""Facts of one source, for every test of documents."""

from __future__ import annotations

from datetime import UTC, datetime

from hapkg.evidence.facts import DebianPlace, OriginFacts, PackageFacts, PatchFacts, SourceFacts, UpstreamFacts

UPSTREAM = UpstreamFacts(
    name="one",
    version="1.2",
    repositories=("git+https://github.com/some/one.git",),
    tag="v1.2",
    commit="c" * 40,
    origins=(
        OriginFacts(address=DebianPlace(package="one", version="1.2-3"), sha256="a" * 64),
        OriginFacts(address="https://example.org/one-1.2.tar.gz", sha256="a" * 64),
    ),
)
PACKAGES = (
    PackageFacts(name="ha-one", synopsis="first of the samples"),
    PackageFacts(name="ha-one-dev", synopsis="development files"),
)
FACTS = SourceFacts(
    name="ha-one",
    vendor="Some Vendor",
    distribution="debian-12",
    debian_name="one",
    homepage="https://example.org/one",
    date=datetime(2024, 1, 31, 12, tzinfo=UTC),
    license="GPL-2.0-or-later AND LicenseRef-Odd",
    upstream=UPSTREAM,
    patches=(
        PatchFacts(
            name="a.patch",
            address=DebianPlace(package="one", version="1.2-4", file="debian/patches/a.patch"),
            fixes=("CVE-2026-0002", "CVE-2026-0001"),
        ),
        PatchFacts(name="b.patch", address="https://example.org/b.patch", fixes=()),
        PatchFacts(name="own.patch", address="", fixes=("CVE-2025-0001",)),
    ),
    packages=PACKAGES,
)
