"""The stack's installed files against the repository's word: from the signed index to each file's bytes.

dpkg's own list of checksums lies on the same disk as the files: who changes the one can change the other. So each
package is fetched again, or taken from apt's cache, compared with the sha256 that the signed index of apt's lists
names, and its files with the installed ones.
"""

from __future__ import annotations

import base64
import hashlib
import re
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hastack.system import find, list_versions, run

LISTS = Path("/var/lib/apt/lists")
HELPER = "/usr/lib/apt/apt-helper"
HOLDS, ABSENT, BREAKS = "ok", "absent", "BREAKS"
_MARK = "@@"
"""Begins a record of apt's: the key of an entry may have many lines."""


@dataclass
class Verified:
    """One installed package: each link's state, and what is to be told of it."""

    package: str
    version: str
    index: str = ABSENT
    """The index that names the package is signed, and is the one that Release names."""
    deb: str = ABSENT
    """The package has the sha256 that the index names."""
    files: str = ABSENT
    """The installed files are those of the package."""
    told: list[str] = field(default_factory=list)

    @property
    def breaks(self) -> bool:
        """True where a link breaks."""
        return BREAKS in (self.index, self.deb, self.files)


@dataclass(frozen=True)
class Index:
    """An index of apt's lists."""

    text: str
    fault: str
    """A sentence on its signature or its bytes; "" where both are good."""
    checked: bool
    """Its signature could be checked."""


def verify_node(root: Path = Path("/")) -> list[Verified]:
    """Look at every installed package of the stack."""
    versions = list_versions()
    indexes = list(read_indexes(versions))
    found = []
    for name, version in sorted(versions.items()):
        one = Verified(name, version)
        found.append(one)
        digest = _find_digest(one, indexes)
        if digest:
            with tempfile.TemporaryDirectory(prefix="ha-stack-verify-") as scratch:
                deb = _fetch(one, Path(scratch))
                if deb is not None:
                    _compare(one, deb, digest, root)
    return found


def read_indexes(names: Iterable[str]) -> Iterator[Index]:
    """The Packages indexes of apt's lists that name one of these packages."""
    wanted = re.compile(rf"^Package: (?:{'|'.join(map(re.escape, names))})$", re.MULTILINE)
    form = f"{_MARK}$(FILENAME)|$(METAKEY)|$(SOURCESENTRY)|$(SIGNED_BY)"
    done = run("apt-get", "indextargets", "--format", form, "Created-By: Packages")
    for record in done.output.split(_MARK)[1:]:
        filename, key, entry, told = record.split("|", 3)
        signed_by = read_signed_by(entry) if told.startswith("$(") else told  # by the apt of bookworm
        file = Path(filename)
        text = run(HELPER, "cat-file", filename).output
        if not wanted.search(text):
            continue
        release = file.with_name(f"{file.name.partition(key.replace('/', '_'))[0]}InRelease")
        fault, checked = check_release(release, signed_by.strip())
        named = re.search(rf"^ ([0-9a-f]{{64}}) +\d+ {re.escape(key)}$", _read(release), re.MULTILINE)
        if not fault and (named is None or hashlib.sha256(text.encode()).hexdigest() != named[1]):
            fault = f"{file.name} is not the index that {release.name} names"
        yield Index(text, fault, checked)


def read_signed_by(entry: str) -> str:
    """The key or keyring of an entry of apt's sources, FILE:NUMBER; "" where it names none.

    The number is that of the stanza in a .sources file, of the line in another one.
    """
    name, _, number = entry.rpartition(":")
    lines = _read(Path(name)).splitlines()
    if not number.isdigit() or not name.endswith(".sources"):
        line = lines[int(number) - 1] if number.isdigit() and 0 < int(number) <= len(lines) else ""
        return next(iter(re.findall(r"^[^#]*\bsigned-by=([^\s\]]+)", line)), "")
    text = "\n".join(line for line in lines if not line.startswith("#"))
    stanzas = [stanza for stanza in re.split(r"\n[ \t]*\n", text) if stanza.strip()]
    stanza = stanzas[int(number) - 1] if 0 < int(number) <= len(stanzas) else ""
    field_ = re.search(r"^Signed-By:[ \t]*(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE | re.IGNORECASE)
    return field_[1].strip() if field_ else ""


def check_release(release: Path, signed_by: str) -> tuple[str, bool]:
    """A sentence on the signature of an InRelease file, "" where it is good; and whether it could be checked.

    signed_by is the entry's: a keyring, or a key as text.
    """
    if not release.is_file():
        return f"{release.name} is missing", True
    if not is_signed_whole(_read(release)):
        return f"{release.name} has lines that no signature is over", True
    with tempfile.TemporaryDirectory(prefix="ha-stack-key-") as scratch:
        keyring = Path(re.split(r"[, ]", signed_by)[0])
        if "-----BEGIN PGP" in signed_by:
            keyring = Path(scratch) / "key.gpg"
            keyring.write_bytes(strip_armor(signed_by))
        if not keyring.is_file():
            return "", False
        if find("gpgv"):
            good = "GOODSIG" in run("gpgv", "--status-fd", "1", "--keyring", str(keyring), str(release)).output
        elif find("sqv"):
            options = ("--keyring", str(keyring), "--cleartext", "--output", f"{scratch}/text")
            good = run("sqv", *options, str(release)).status == 0
        else:
            return "", False
    return ("" if good else f"{release.name} carries no good signature of apt's key for it"), True


def is_signed_whole(text: str) -> bool:
    """True for one signed message with nothing around it: programs that check a signature pass over the rest."""
    message, signature = "-----BEGIN PGP SIGNED MESSAGE-----\n", "\n-----BEGIN PGP SIGNATURE-----\n"
    end = "-----END PGP SIGNATURE-----"
    marks = [line for line in text.splitlines() if line.startswith("-----")]
    whole = text.startswith(message) and text.rstrip("\n").endswith(f"\n{end}")
    return whole and marks == [message.strip(), signature.strip(), end]


def strip_armor(text: str) -> bytes:
    """The key inside its text form, which apt writes in one line with the ends of lines as " ." or "\\n"."""
    lines = [line.strip() for line in re.split(r"\n|\\n", text)]
    body = [line for line in lines if re.fullmatch(r"[A-Za-z0-9+/]{4,}={0,2}", line)]
    return base64.b64decode("".join(body))


def find_stanza(text: str, name: str, version: str) -> str:
    """The sha256 of a package in the text of an index; "" where it is not there."""
    for match in re.finditer(rf"^Package: {re.escape(name)}$", text, re.MULTILINE):
        block = text[text.rfind("\n\n", 0, match.start()) + 1 :].lstrip("\n").partition("\n\n")[0]
        fields: dict[str, str] = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", block, re.MULTILINE))
        if fields.get("Version") == version:
            return fields.get("SHA256", "")
    return ""


def _find_digest(one: Verified, indexes: list[Index]) -> str:
    for index in indexes:
        if digest := find_stanza(index.text, one.package, one.version):
            one.index = BREAKS if index.fault else HOLDS if index.checked else ABSENT
            one.told.append(
                index.fault
                or ("" if index.checked else "its signature cannot be checked here: no sqv, no gpgv, or no key")
            )
            return digest
    one.told.append("no index of apt's lists has this version: apt-get update, or it is published no more")
    return ""


def _fetch(one: Verified, folder: Path) -> Path | None:
    """The package out of apt's cache, or fetched again."""
    argv = ("sh", "-c", 'cd "$0" && exec apt-get download -qq -o APT::Sandbox::User=root "$1"', str(folder))
    cached = list(Path("/var/cache/apt/archives").glob(f"{one.package}_*.deb"))
    for file in cached:
        if run("dpkg-deb", "-f", str(file), "Version").output.strip() == one.version:
            return file
    run(*argv, f"{one.package}={one.version}")
    found = sorted(folder.glob("*.deb"))
    if not found:
        one.told.append("the package is neither in apt's cache nor to be fetched")
    return found[0] if found else None


def _compare(one: Verified, deb: Path, digest: str, root: Path) -> None:
    with deb.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    one.deb = HOLDS if actual == digest else BREAKS
    if one.deb == BREAKS:
        one.told.append(f"{deb.name} has the sha256 {actual}, and the index says {digest}")
        return
    changed, edited = compare_files(deb, root)
    one.files = BREAKS if changed else HOLDS
    one.told += [f"{path} is not what the package has" for path in changed]
    one.told += [f"{path} was edited, as configuration may be" for path in edited]


def compare_files(deb: Path, root: Path) -> tuple[list[str], list[str]]:
    """Files of a package that are others on this machine or missing, and configuration that somebody edited."""
    with tempfile.TemporaryDirectory(prefix="ha-stack-deb-") as scratch:
        run("dpkg-deb", "--control", str(deb), f"{scratch}/control")
        conffiles = set(_read(Path(scratch) / "control/conffiles").split())
        if run("sh", "-c", 'dpkg-deb --fsys-tarfile "$0" > "$1"', str(deb), f"{scratch}/data").status:
            return ["/"], []
        changed: list[str] = []
        edited: list[str] = []
        with tarfile.open(f"{scratch}/data") as archive:
            for member in archive:
                path = "/" + member.name.removeprefix("./").strip("/")
                if member.isdir() or _is_same(archive, member, root / path[1:]):
                    continue
                (edited if path in conffiles else changed).append(path)
    return changed, edited


def _is_same(archive: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> bool:
    """Compare content or target. Documents that are missing were left out on purpose: dpkg's path-exclude."""
    try:
        if member.issym():
            return place.is_symlink() and str(place.readlink()) == member.linkname
        if not member.isfile():
            return True  # a second name of a file that is compared under its first
        content = archive.extractfile(member)
        with place.open("rb") as file:
            return content is not None and hashlib.file_digest(file, "sha256").digest() == _digest(content)
    except FileNotFoundError:
        return any(f"/usr/share/{part}/" in str(place) for part in ("doc", "man", "locale"))
    except OSError:
        return False


def _digest(content: object) -> bytes:
    return hashlib.file_digest(content, "sha256").digest()  # type: ignore[arg-type]


def _read(file: Path) -> str:
    return file.read_text("utf-8", "replace") if file.is_file() else ""
