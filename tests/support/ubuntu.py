"""A stand-in for Ubuntu's archive: its names, suites, components and signatures, made of packages of Debian trixie."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hapkg.apt.mirror import find_mirror
from hapkg.apt.settings import describe_index, make_options, read_apt_options
from hapkg.control import Suite
from hapkg.distribution import read_debian

CODENAME, RELEASE = "noble", "24.04"
COMPONENTS = ("main", "restricted", "universe", "multiverse")
BASE = ("?essential", "?priority(required)", "apt", "build-essential")
"""Packages that mmdebstrap installs: Ubuntu keeps them in main. Everything else goes to universe here."""
SECURITY_MARK = "+ubuntu1.1"
TOOLS = {
    "libdebhelper-perl": (
        "usr/share/perl5/Debian/Debhelper/Dh_Lib.pm",
        "('DBGSYM_PACKAGE_TYPE' *=> *)DEFAULT_PACKAGE_TYPE",
        r"\g<1>'ddeb'",
    ),
    "dpkg-dev": ("usr/bin/dpkg-gencontrol", r"my \$pkg_type = ", r"\g<0>$override{'Package-Type'} || "),
}
"""Packages whose tools Ubuntu changed, so that debug symbols become .ddeb: the file, and what is changed in it."""
_ORIGIN = "Vendor: Ubuntu\nVendor-URL: https://www.ubuntu.com/\nParent: Debian\n"
_OS_RELEASE = f'NAME="Ubuntu"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="{RELEASE}"\nVERSION_CODENAME={CODENAME}\n'


_SOURCE = f"""\
Package: {{name}}
Format: 3.0 (quilt)
Binary: {{name}}
Architecture: any
Version: {{version}}
Directory: pool/universe/{{name}}
Files:
 {"0" * 32} 1 {{name}}_{{version}}.dsc
Checksums-Sha256:
 {"0" * 64} 1 {{name}}_{{version}}.dsc
"""


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """The archive: the folder that a web server shows, and its keyring."""

    folder: Path
    keyring: Path

    def sources(self, address: str) -> str:
        """ubuntu.sources as a server of this release has it."""
        last = f"Components: {' '.join(COMPONENTS)}\nSigned-By: {self.keyring}\n"
        stanza = f"Types: deb\nURIs: {address}\nSuites: {{}}\n{last}"
        suites = (f"{CODENAME} {CODENAME}-updates {CODENAME}-backports", f"{CODENAME}-security")
        return "\n".join(stanza.format(names) for names in suites)


def make_stand_in(folder: Path, packages: Iterable[str], sources: Mapping[str, Mapping[str, str]]) -> StandIn:
    """Make the archive in an empty folder: what is installed by itself, the packages, and all that these depend on.

    sources has the versions of source packages by suite: they stand in universe's index, and nowhere else.
    """
    options = _open_index(folder / "apt")
    lines = {place: _resolve(options, names) for place, names in (("main", BASE), ("all", (*BASE, *packages)))}
    pools = {name: folder / "ubuntu/pool" / name for name in ("main", "universe", "security")}
    for pool in pools.values():
        pool.mkdir(parents=True)
    _run("apt-get", *options, "install", "--download-only", "-qq", "-y", *lines["all"])
    for deb in (folder / "apt/cache/archives").glob("*.deb"):
        name = deb.name.partition("_")[0]
        shutil.move(deb, pools["main" if name in lines["main"] else "universe"])
    _make_ubuntus(pools, folder / "scratch")
    _change_tools(pools, folder / "tools")
    home = folder / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase", "")
    _run(*gpg, "--quick-gen-key", "Ubuntu stand-in <nobody@example.org>", "ed25519", "sign", "1d")
    keyring = folder / "keyring.gpg"
    _run(*gpg, "--output", str(keyring), "--export")
    contents: dict[str, Mapping[str, Path]] = {
        CODENAME: {"main": pools["main"], "universe": pools["universe"]},
        f"{CODENAME}-updates": {},
        f"{CODENAME}-backports": {},
        f"{CODENAME}-security": {"main": pools["security"]},
    }
    for suite, components in contents.items():
        _write_suite(folder / "ubuntu", suite, components, sources.get(suite, {}), gpg)
    return StandIn(folder=folder, keyring=keyring)


def _run(*argv: str, cwd: Path | None = None, text: str | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _open_index(folder: Path) -> list[str]:
    """Options of apt for the index of trixie, as a machine without any package sees it."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    lines = find_mirror(None, read_debian()).lines(Suite("trixie"))[:1]
    assert lines, "these tests take Debian's packages from the archive that the machine's apt is configured for"
    (folder / "sources.list").write_text("\n".join(lines) + "\n")
    options = make_options(
        {
            **describe_index(folder / "lists", folder / "sources.list"),
            "Dir::Cache": str(folder / "cache"),
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "false",
            **read_apt_options(),
        }
    )
    _run("apt-get", *options, "--error-on=any", "update", "-qq")
    return options


def _resolve(options: Sequence[str], names: Iterable[str]) -> list[str]:
    """Packages that are installed when these are, into nothing."""
    told = _run("apt-get", *options, "install", "--simulate", *names)
    return re.findall(r"(?m)^Inst (\S+)", told)


def _make_ubuntus(pools: Mapping[str, Path], scratch: Path) -> None:
    """base-files that say Ubuntu, and higher ones for the security suite."""
    (deb,) = pools["main"].glob("base-files_*.deb")
    _run("dpkg-deb", "--raw-extract", str(deb), str(scratch))
    (scratch / "usr/lib/os-release").write_text(_OS_RELEASE)
    (scratch / "etc/dpkg/origins/ubuntu").write_text(_ORIGIN)
    (scratch / "etc/dpkg/origins/default").unlink(missing_ok=True)
    postinst = scratch / "DEBIAN/postinst"
    postinst.write_text(postinst.read_text().replace("origins/default", "origins/default.none") + "\n")
    (scratch / "etc/dpkg/origins/default").symlink_to("ubuntu")
    deb.unlink()
    control = scratch / "DEBIAN/control"
    text = control.read_text()
    for mark, pool in (("+ubuntu1", "main"), (SECURITY_MARK, "security")):
        control.write_text(re.sub(r"(?m)^(Version: .*)$", rf"\g<1>{mark}", text))
        _run("dpkg-deb", "--root-owner-group", "--build", str(scratch), str(pools[pool]))


def change_tool(package: str, root: Path) -> None:
    """Change a tool of this package, which lies below root, as Ubuntu changes it."""
    name, found, wanted = TOOLS[package]
    file = root / name
    text, count = re.subn(found, wanted, file.read_text())
    assert count == 1, f"{file} says elsewhere now of which type packages of debug symbols are"
    file.write_text(text)


def _change_tools(pools: Mapping[str, Path], scratch: Path) -> None:
    """Changed tools in the place of Debian's, with their versions: others depend on these alone."""
    for package in TOOLS:
        (deb,) = (deb for pool in pools.values() for deb in pool.glob(f"{package}_*.deb"))
        root = scratch / package
        root.mkdir(parents=True)
        _run("dpkg-deb", "--raw-extract", str(deb), str(root))
        change_tool(package, root)
        _run("dpkg-deb", "--root-owner-group", "--build", str(root), str(deb))


def _write_suite(
    root: Path, suite: str, components: Mapping[str, Path], sources: Mapping[str, str], gpg: Sequence[str]
) -> None:
    """Indexes of a suite below root, its Release, and the signed InRelease alone, as Ubuntu's clients read it."""
    dists = root / "dists" / suite
    architecture = _run("dpkg", "--print-architecture").strip()
    for component in COMPONENTS:
        pool = components.get(component)
        text = _run("apt-ftparchive", "packages", str(pool.relative_to(root)), cwd=root) if pool else ""
        index = dists / component / f"binary-{architecture}"
        index.mkdir(parents=True)
        (index / "Packages").write_text(text)
        (index / "Packages.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
        (dists / component / "source").mkdir()
        stanzas = [_SOURCE.format(name=name, version=version) for name, version in sources.items()]
        (dists / component / "source/Sources").write_text("\n".join(stanzas if component == "universe" else ()))
    fields = {
        "Origin": "Ubuntu",
        "Label": "Ubuntu",
        "Suite": suite,
        "Version": RELEASE,
        "Codename": CODENAME,
        "Architectures": architecture,
        "Components": " ".join(COMPONENTS),
        "Description": f"Ubuntu Noble {RELEASE}",
    }
    options = [f"APT::FTPArchive::Release::{name}={value}" for name, value in fields.items()]
    release = _run("apt-ftparchive", *(word for option in options for word in ("-o", option)), "release", str(dists))
    (dists / "InRelease").write_text(_run(*gpg, "--clearsign", text=release))
