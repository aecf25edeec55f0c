"""Package URLs: names of packages and of their code as scanners have them.

The vendor of a package is the repository's origin, never the distribution: pkg:deb/debian/ha-corosync would be a lie.
What a package is made of stands in `upstream`, where scanners look for the holes of the code.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from packageurl import PackageURL

from hapkg.evidence.facts import DebianPlace, SourceFacts, UpstreamFacts

_FORGES = {"github.com": "github", "gitlab.com": "gitlab", "bitbucket.org": "bitbucket"}


def name_package(facts: SourceFacts, package: str, version: str, architecture: str = "") -> str:
    """The package URL of a binary package; without an architecture where the document holds for all of them."""
    upstream = f"{facts.debian_name}@{facts.upstream.version}" if facts.upstream else None
    return _name_deb(facts, package, version, arch=architecture or None, upstream=upstream)


def name_source(facts: SourceFacts, version: str) -> str:
    """The package URL of a source package."""
    return _name_deb(facts, facts.name, version, arch="source", upstream=None)


def name_upstream(upstream: UpstreamFacts) -> str:
    """The package URL of upstream's code: by the forge of this version, else by its repository and commit."""
    home = upstream.repositories[-1]
    parts = urlsplit(home.partition("+")[2])
    owner, _, name = parts.path.strip("/").removesuffix(".git").rpartition("/")
    if owner and (kind := _FORGES.get(parts.hostname or "")):
        return PackageURL(kind, owner, name, upstream.tag).to_string()
    place = f"{home}@{upstream.commit}" if upstream.commit else home
    return PackageURL("generic", None, upstream.name, upstream.version, {"vcs_url": place}).to_string()


def name_debian_place(place: DebianPlace) -> str:
    """The package URL of a source package of Debian's own archive, or of one of its files."""
    return PackageURL("deb", "debian", place.package, place.version, {"arch": "source"}, place.file or None).to_string()


def name_address(place: str | DebianPlace) -> str:
    """An address as it is; the package URL of a place in Debian's archive."""
    return place if isinstance(place, str) else name_debian_place(place)


def read_qualifiers(purl: str) -> dict[str, str]:
    """Qualifiers of a package URL; none where it is none."""
    try:
        found = PackageURL.from_string(purl).qualifiers
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def make_vendor(origin: str) -> str:
    """The namespace of a vendor's packages: its name in lower case, with dashes for what no namespace has."""
    return re.sub(r"[^a-z0-9.+-]+", "-", origin.lower()).strip("-") or "unknown"


def _name_deb(facts: SourceFacts, name: str, version: str, *, arch: str | None, upstream: str | None) -> str:
    qualifiers = {"arch": arch, "distro": facts.distribution, "upstream": upstream}
    known = {key: value for key, value in qualifiers.items() if value}
    return PackageURL("deb", make_vendor(facts.vendor), name, version, known).to_string()
