"""Entries of the host's apt sources: what apt lists, with the options that stand in their files.

apt tells addresses, suites and what it fetched of them; of the options it tells only where their entry stands.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hapkg.control import split_stanzas
from hapkg.programs import process

_FIELDS = ("SITE", "RELEASE", "COMPONENT", "SOURCESENTRY", "ORIGIN", "CODENAME")
_TARGET = "|".join(f"$({name})" for name in _FIELDS)
_KEPT = (
    "trusted",
    "allow-weak",
    "check-valid-until",
    "valid-until-min",
    "valid-until-max",
    "check-date",
    "date-max-future",
)
"""Options that decide whether an archive is believed, but the keys that sign it."""
_ARMOURED = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


@dataclass(frozen=True, kw_only=True)
class AptEntry:
    """A suite of an archive, as an entry of apt's sources has it."""

    site: str
    release: str
    """Its suite as the entry names it: bookworm, stable, noble-security."""
    component: str
    file: str
    """The file that the entry stands in."""
    origin: str
    """Who it says that it is; "" where apt never fetched it."""
    codename: str
    """"" where apt never fetched it."""
    signers: tuple[str, ...] = ()
    """Files and fingerprints of the keys that sign it, where the entry names them."""
    key: str = ""
    """An armoured key that the entry holds."""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Other options that decide whether it is believed."""

    @property
    def base(self) -> str:
        """Its suite without the name of what comes beside that: bookworm of bookworm-updates."""
        return _cut(self.release)

    @property
    def names(self) -> frozenset[str]:
        """Names of that suite: those of the entry and of the archive itself."""
        return frozenset((_cut(self.release), _cut(self.codename)))

    @property
    def is_trusted(self) -> bool:
        """True where it needs no signature."""
        return self.options.get("trusted", "").lower() in ("yes", "true", "on", "1")


def list_entries(options: Sequence[str]) -> list[AptEntry]:
    """Entries for binary packages that apt sees with these options, in its order; none where it refuses its sources."""
    told = {tuple(words[:2]): words for words in _list_targets(options) if words[4] != "$(ORIGIN)"}
    found: dict[AptEntry, None] = {}
    read = functools.cache(_read_options)
    # An index that was never fetched is only listed without release info, and then nobody knows its origin.
    for site, release, component, place, *_ in _list_targets([*options, "--no-release-info"]):
        origin, codename = told.get((site, release), ["", ""])[-2:]
        all_options = read(place)
        signed_by = all_options.get("signed-by", "")
        key = _unfold(signed_by) if _ARMOURED in signed_by else ""
        entry = AptEntry(
            site=site,
            release=release,
            component=component,
            file=place.rpartition(":")[0],
            origin=origin,
            codename=codename,
            signers=() if key else tuple(re.findall(r"[^\s,\]]+", signed_by)),
            key=key,
            options={name: all_options[name] for name in _KEPT if re.fullmatch(r"[\w-]+", all_options.get(name, ""))},
        )
        found[entry] = None
    return list(found)


def _list_targets(options: Sequence[str]) -> Iterator[list[str]]:
    """The fields of every index of binary packages; nothing where apt refuses its sources."""
    argv = ["apt-get", *options, "indextargets", "--format", _TARGET, "Created-By: Packages"]
    result = process.run(argv, check=False)
    for line in result.output.splitlines() if result.status == 0 else ():
        words = line.split("|")
        if len(words) == len(_FIELDS):  # apt's warnings are there, too
            yield words


def _read_options(place: str) -> dict[str, str]:
    """All options of the entry at a place, as apt tells places: FILE.list:LINE, or FILE.sources:STANZA."""
    name, _, number = place.rpartition(":")
    try:
        text = Path(name).read_text("utf-8", "replace")
        if not name.endswith(".sources"):
            line = text.splitlines()[int(number) - 1]
            bracket = re.match(r"\s*deb\S*\s+\[([^\]]*)\]", line)
            found = re.findall(r"(\S+?)=(\S+)", bracket[1]) if bracket else []
            return {option.lower(): value.strip('"') for option, value in found}
        stanzas = list(split_stanzas(re.sub(r"(?m)^#.*\n?", "", text)))
        return {option.lower(): value for option, value in stanzas[int(number) - 1].items()}
    except (OSError, ValueError, IndexError):
        return {}


def _unfold(value: str) -> str:
    """Text that stands folded in a field: each line after a blank, an empty one as a full stop."""
    lines = (line.strip() for line in value.strip().splitlines())
    return "".join("\n" if line == "." else f"{line}\n" for line in lines)


def _cut(release: str) -> str:
    """A suite's name without what comes behind it: bookworm of bookworm-updates, buster of buster/updates."""
    return release.partition("-")[0].partition("/")[0]
