"""Manifests of packages of Python and of crates: what upstream states in the file that its index reads."""

from __future__ import annotations

import configparser
import email.parser
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PackageManifest:
    """Statements of a manifest, each on one line; "" for what it does not tell."""

    version: str = ""
    license: str = ""
    summary: str = ""
    homepage: str = ""
    repository: str = ""


def read_manifest(files: Mapping[str, str], style: str) -> PackageManifest:
    """Statements of the manifests of a build style, of the first that makes each; none for styles that have none."""
    found = [read(files[name]) for name, read in _READERS.get(style, {}).items() if files.get(name)]
    return PackageManifest(
        **{
            field: next((value for manifest in found if (value := getattr(manifest, field))), "")
            for field in PackageManifest.__dataclass_fields__
        }
    )


def _read_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # the beginning alone was read, or it is none
        return {}


def _read_pyproject(text: str) -> PackageManifest:
    project = _table(_read_toml(text).get("project"))
    urls = {key.casefold(): value for key, value in _table(project.get("urls")).items()}
    stated = project.get("license")
    return PackageManifest(
        version=_line(project.get("version")),
        license=_line(stated if isinstance(stated, str) else _table(stated).get("text")),
        summary=_line(project.get("description")),
        homepage=_line(urls.get("homepage")),
        repository=_line(next((urls[key] for key in ("repository", "source", "source code") if key in urls), "")),
    )


def _read_setup_cfg(text: str) -> PackageManifest:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return PackageManifest()
    keys = dict(parser["metadata"]) if parser.has_section("metadata") else {}
    # "attr: module.value" and "file: NAME" are computed when it is built.
    plain = {key: _line(value) for key, value in keys.items() if not value.startswith(("attr:", "file:"))}
    return PackageManifest(
        version=plain.get("version", ""),
        license=plain.get("license", ""),
        summary=plain.get("description", ""),
        homepage=plain.get("url", "") or plain.get("home-page", ""),
    )


def _read_pkg_info(text: str) -> PackageManifest:
    fields = email.parser.HeaderParser().parsestr(text)
    told = {name: _line(fields.get(name)) for name in ("Version", "License", "Summary", "Home-page")}
    told = {name: "" if value == "UNKNOWN" else value for name, value in told.items()}
    return PackageManifest(
        version=told["Version"],
        license=_line(fields.get("License-Expression")) or told["License"],
        summary=told["Summary"],
        homepage=told["Home-page"],
    )


def _read_cargo(text: str) -> PackageManifest:
    read = _read_toml(text)
    shared = _table(_table(read.get("workspace")).get("package"))
    crate = _table(read.get("package"))
    # A member says "version.workspace = true" for what the workspace states.
    told = {key: crate[key] if isinstance(crate.get(key), str) else shared.get(key) for key in (*crate, *shared)}
    return PackageManifest(
        version=_line(told.get("version")),
        license=_line(told.get("license")).replace("/", " OR "),
        summary=_line(told.get("description")),
        homepage=_line(told.get("homepage")),
        repository=_line(told.get("repository")),
    )


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _line(value: object) -> str:
    """A string on one line; "" for anything else."""
    return " ".join(value.split()) if isinstance(value, str) else ""


_PYTHON = {"pyproject.toml": _read_pyproject, "setup.cfg": _read_setup_cfg, "PKG-INFO": _read_pkg_info}
_READERS: Mapping[str, Mapping[str, Callable[[str], PackageManifest]]] = {
    "cargo": {"Cargo.toml": _read_cargo},
    "pyproject": _PYTHON,
    "python": _PYTHON,
}
