"""Suites of a Debian archive, as far as indexes of source packages go. They are not signed."""

from __future__ import annotations

import hashlib
from pathlib import Path

SOURCES = """\
Package: {package}
Binary: {binaries}
Version: {version}
Maintainer: nobody <nobody@example.org>
Architecture: any
Format: 3.0 (quilt)
Files:
 d41d8cd98f00b204e9800998ecf8427e 0 x.dsc
 d41d8cd98f00b204e9800998ecf8427e 0 x.orig.tar.xz
Checksums-Sha256:
 {other} 0 x.dsc
 {orig} 0 x.orig.tar.xz
Directory: pool/x
"""
ORIG = "ab" * 32


def write_suite(archive: Path, suite: str, *packages: tuple[str, str, str]) -> None:
    """A suite with these source packages: name, version, binaries."""
    texts = [
        SOURCES.format(package=package, version=version, binaries=binaries, orig=ORIG, other="cd" * 32)
        for package, version, binaries in packages
    ]
    index = archive / "dists" / suite / "main/source/Sources"
    index.parent.mkdir(parents=True)
    index.write_text("\n".join(texts))
    content = index.read_bytes()
    digest = f" {hashlib.sha256(content).hexdigest()} {len(content)} main/source/Sources\n"
    (archive / "dists" / suite / "Release").write_text(
        f"Origin: Test\nSuite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64\n"
        f"Date: Sat, 28 Nov 2026 00:00:00 +0000\nSHA256:\n{digest}"
    )
