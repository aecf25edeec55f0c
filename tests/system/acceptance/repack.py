"""Packages of the stack in another version: the same files under a version that is higher or lower."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from hapkg.deb import read_deb_control

ORIGIN = "hapkg"
"""The release that the node's pin for the stack's packages asks for (/etc/apt/preferences.d/ha-stack)."""


def repack(
    debs: Iterable[Path], folder: Path, suffix: str, change: Callable[[Path], None] = lambda tree: None
) -> Mapping[str, str]:
    """Give packages and what they pin of each other a version with a suffix, in a flat repository: the versions.

    change is done to the files of each.
    """
    controls = {deb: read_deb_control(deb) for deb in debs}
    versions = {str(control["Package"]): str(control["Version"]) for control in controls.values()}
    folder.mkdir(parents=True)
    for deb in controls:
        tree = folder / "tree"
        subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
        change(tree)
        file = tree / "DEBIAN/control"
        text = re.sub(r"(?m)^(Version: .*)$", rf"\1{suffix}", file.read_text())
        for name, version in versions.items():
            text = text.replace(f" {name} (= {version})", f" {name} (= {version}{suffix})")
        file.write_text(text)
        subprocess.run(["dpkg-deb", "--build", "-Znone", tree, folder], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["rm", "-r", tree], check=True)
    _index(folder)
    return {name: version + suffix for name, version in versions.items()}


def _index(folder: Path) -> None:
    packages = subprocess.run(["apt-ftparchive", "packages", "."], cwd=folder, capture_output=True, check=True).stdout
    (folder / "Packages").write_bytes(packages)
    argv = ["apt-ftparchive", "-o", f"APT::FTPArchive::Release::Origin={ORIGIN}", "release", "."]
    release = subprocess.run(argv, cwd=folder, capture_output=True, check=True).stdout
    (folder / "Release").write_bytes(release)
