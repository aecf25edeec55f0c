"""The .sources files of a repository, with the key inside; how nodes get them; and the identity of its publisher."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from hapkg.control import Suite
from hapkg.disk import Batch
from hapkg.errors import RepositoryError
from hapkg.repository.indexes import Pool, recommend

_ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9-]*\+)?(?:https?|mirror)://"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"
    r"(?:/[A-Za-z0-9._~%!$&'()*+,;=:@-]*)*"
)
_LONGEST = 1024
_MOST_BYTES = 1 << 20
ADDRESS = ".hapkg/address"
"""The file that remembers the URL of a repository."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Identity of the publisher. origin, label and maintainer ("NAME <ADDRESS>") are one line each."""

    origin: str
    label: str
    maintainer: str
    name: str = "ha-stack"
    """Name of the .sources files."""
    valid_days: int = 0
    """Days for which apt may trust a Release file; 0: for ever. The second half of it is for renewing."""

    @property
    def keyring(self) -> str:
        """Name of the keyring file without suffix."""
        return (re.sub(r"[^a-z0-9.+-]+", "-", self.origin.lower()).strip("-.") or "hapkg") + "-archive-keyring"

    @property
    def key_owner(self) -> str:
        """User id of the key made on first use."""
        return f"{re.sub('[<>()]', ' ', self.origin)} archive key <{self.maintainer.rpartition('<')[2].strip('> ')}>"


def make_sources(uri: str, suite: Suite, armored_key: str) -> str:
    """A .sources file (deb822) for one suite; the key is part of it, so that this one file is all a machine needs.

    Without a key it says so, and makes apt take what anybody on the way may have changed.
    """
    if not armored_key:
        return (
            "# NOT SIGNED: whoever can change the repository, or what comes over the network, owns this machine.\n"
            f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\nTrusted: yes\n"
        )
    lines = ["Signed-By:", *(f" {line}" if line else " ." for line in armored_key.strip().splitlines())]
    return (
        "# For source packages add deb-src to Types; for debug symbols add debug to Components.\n"
        f"Types: deb\nURIs: {uri}\nSuites: {suite}\nComponents: main\n" + "\n".join(lines) + "\n"
    )


def make_commands(url: str, file: Path, identity: Identity, pool: Pool) -> tuple[str, ...]:
    """Commands with which root of a node begins to use a suite: its .sources file, its packages, its keyring's package.

    A node has one .sources file of a repository, however many suites that has: with two that name the same, apt warns.
    Once the package of the keys is installed, apt takes them from there: the next ones come by an upgrade, and apt
    writes no copy of the key below /tmp, which it forgets there when it is in a hurry.
    """
    target = f"/etc/apt/sources.list.d/{identity.name}.sources"
    if is_web(url):
        address = f"{url.rstrip('/')}/{quote(file.name)}"
        get = ["/usr/lib/apt/apt-helper", "-o", "APT::Sandbox::User=root", "download-file", address, target]
    else:
        folder = Path(unquote(url.partition(":")[2])) if is_folder_address(url) else Path() if url else file.parent
        get = ["install", "-m", "644", str(folder / file.name), target]
    keyrings = [name for name in pool.binaries if name.endswith("-archive-keyring")]
    names = " ".join([*recommend(pool, identity.name).split(), *keyrings])
    commands = [shlex.join(get), f"apt update && apt install {names}" if names else "apt update"]
    if len(keyrings) == 1:
        edit = f"/^Signed-By:/,$c Signed-By: /usr/share/keyrings/{keyrings[0]}.gpg"
        commands.append(shlex.join(["sed", "-i", edit, target]))
    return tuple(commands)


def find_url(root: Path, identity: Identity) -> str:
    """URL of the repository for nodes, as it was given last; "" when it is reached in its folder alone.

    A repository of an older hapkg has it only in the .sources files of its suites: of those, one that points at a
    folder is as good as none. Raises RepositoryError when what is read is no address: somebody else has written it.
    """
    noted = _read(root / ADDRESS)
    suites = sorted(folder.name for folder in (root / "dists").glob("*") if folder.is_dir())
    files = [root / f"{identity.name}.sources", *(root / name_sources(identity, Suite(suite)) for suite in suites)]
    lines = {file: re.search(r"^URIs:(.+)$", _read(file), re.MULTILINE) for file in files}
    found = {root / ADDRESS: noted.strip()} if noted else {}
    found |= {file: line[1].strip() for file, line in lines.items() if line}
    for file, address in found.items():
        if not address or (file.suffix == ".sources" and address.startswith("file:")):
            continue
        if not is_address(address) and not (noted and is_folder_address(address)):
            raise RepositoryError(
                f"{file} gives {address[:200]!a} as the repository's address",
                hint="say where nodes reach it: --url https://HOST/FOLDER/",
            )
        return address
    return ""


def _read(file: Path) -> str:
    """Text of a file of a repository, but not through a link; "" when there is none."""
    if file.is_symlink() or not file.is_file():
        return ""
    with file.open("rb") as opened:
        return opened.read(_MOST_BYTES).decode("utf-8", "replace")


def is_web(url: str) -> bool:
    """Tell whether an address is one of a web server, below which files have theirs."""
    return re.match(r"(?:tor\+)?https?://", url) is not None


def is_folder_address(text: str) -> bool:
    """Tell whether a text is the address of a folder that nodes have: a stick, a disc, a mount."""
    return re.fullmatch(r"(?:file|copy):/[!-~]*", text) is not None and len(text) <= _LONGEST


def is_address(text: str) -> bool:
    """Tell whether a text is one address for a .sources file: scheme, host and path; no user, no query."""
    return _ADDRESS.fullmatch(text) is not None and len(text) <= _LONGEST


def name_sources(identity: Identity, suite: Suite) -> str:
    """Name of the .sources file of a suite."""
    return f"{identity.name}-{suite}.sources"


def write_sources(root: Path, identity: Identity, stanzas: Mapping[Suite, str], batch: Batch) -> tuple[Path, ...]:
    """Write NAME-SUITE.sources for every suite, and NAME.sources for the one that was there alone first.

    Whoever took that file takes it again, so it stays with its suite when others follow. Where several came at once
    there is none: one that does not say its suite would be wrong on most machines. Returns the files, the one to
    recommend first.
    """
    files = {root / name_sources(identity, suite): stanza for suite, stanza in stanzas.items()}
    short = root / f"{identity.name}.sources"
    named = re.search(r"^Suites: (\S+)$", _read(short), re.MULTILINE)
    kept = Suite(named[1]) if named else None
    if len(stanzas) == 1:
        (kept,) = stanzas
    if kept is not None and kept in stanzas:
        files = {short: stanzas[kept], **files}
    else:
        short.unlink(missing_ok=True)
    batch.replace({file: text.encode() for file, text in files.items()})
    return tuple(files)
