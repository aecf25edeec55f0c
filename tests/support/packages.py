"""Tiny packages, machines that use them, and a web server between: what tests of the repository work with."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

from hapkg.control import SourceName, Suite
from hapkg.repository.change import Publication
from hapkg.repository.sources_file import Identity
from hapkg.repository.upload import Upload
from hapkg.repository.verify import Report, verify

BOOKWORM, TRIXIE = Suite("bookworm"), Suite("trixie")
IDENTITY = Identity(origin="Hapkg Test", label='HA "stack", ünïcode', maintainer="hapkg tests <tests@hapkg.invalid>")
OWN = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
LOGIC = "ha-logic"

Issue = Callable[..., Publication]
Builds = Callable[[int], Upload]


def run(*argv: str | Path, check: bool = True, cwd: Path | None = None, **environment: str) -> str:
    """Run a program; its output."""
    done = subprocess.run(
        [str(word) for word in argv],
        check=False,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert not check or done.returncode == 0, done.stdout
    return done.stdout


def verify_here(root: Path) -> Report:
    """Verify a repository with the keyring that lies in it, which in a test is the publisher's."""
    return verify(root, next(root.glob("*-archive-keyring.gpg"), None))


def make_deb(
    folder: Path,
    name: str,
    version: str,
    *,
    architecture: str = "all",
    content: str = "",
    files: Mapping[str, bytes] = MappingProxyType({}),
    **more: str,
) -> Path:
    """A tiny binary package with further files; further keywords are further fields."""
    tree = folder / f"tree-{name}"
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "opt").mkdir()
    (tree / "opt" / name).write_text(content)
    for path, data in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(data)
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": architecture,
        "Maintainer": IDENTITY.maintainer,
        "Description": f"{name} of a test\n It has a long description, too.",
        **{key.replace("_", "-"): value for key, value in more.items()},
    }
    (tree / "DEBIAN" / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    file = folder / f"{name}_{version.rpartition(':')[2]}_{architecture}.deb"
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, file)
    return file


def make_source(folder: Path, name: str, version: str, *, content: str = "", key: str = "") -> tuple[Path, ...]:
    """A tiny source package, with an orig tarball if the version has a revision."""
    upstream, _, revision = version.partition("-")
    tree = folder / f"{name}-{upstream}"
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "debian" / "source").mkdir(parents=True)
    (tree / "README").write_text("upstream\n")
    orig = folder / f"{name}_{upstream}.orig.tar.gz"
    if revision and not orig.exists():
        same = ("--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner")
        run("tar", *same, "--exclude=debian", "-I", "gzip -n", "-cf", orig, "-C", folder, tree.name)
    (tree / "debian" / "source" / "format").write_text("3.0 (quilt)\n" if revision else "3.0 (native)\n")
    (tree / "debian" / "note").write_text(content)
    (tree / "debian" / "changelog").write_text(
        f"{name} ({version}) bookworm; urgency=medium\n\n  * test\n\n"
        f" -- {IDENTITY.maintainer}  Mon, 01 Jan 2024 00:00:00 +0000\n"
    )
    (tree / "debian" / "control").write_text(
        f"Source: {name}\nMaintainer: {IDENTITY.maintainer}\nStandards-Version: 4.6.2\n"
        + (f"XS-Hapkg-Key: {key}\n" if key else "")
        + f"\nPackage: {name}\nArchitecture: any\nDescription: x\n y\n"
    )
    run("dpkg-source", "--build", tree.name, cwd=folder)
    dsc = folder / f"{name}_{version}.dsc"
    debian = [
        file for file in folder.glob(f"{name}_{version}.*tar.*") if not file.name.endswith((".dsc", ".orig.tar.gz"))
    ]
    return (dsc, *debian, *([orig] if revision else []))


def make_upload(folder: Path, version: str, *, suite: Suite = BOOKWORM, content: str = "", key: str = "") -> Upload:
    """The upload of a build of ha-logic: library, debug symbols, metapackage, source, and files for other readers."""
    folder.mkdir(parents=True, exist_ok=True)
    debs = (
        make_deb(folder, "libha-logic1", version, architecture=OWN, content=content, Source=LOGIC),
        make_deb(folder, "libha-logic1-dbgsym", version, architecture=OWN, content=content, Source=LOGIC),
        make_deb(folder, "ha-stack", version, Depends=f"libha-logic1 (= {version})", Source=LOGIC),
    )
    ignored = folder / f"{LOGIC}_{version}_{OWN}.changes"
    ignored.write_text("not for the pool\n")
    source = make_source(folder, LOGIC, version, content=content, key=key)
    return Upload(suite=suite, source=SourceName(LOGIC), files=(*debs, *source, ignored))


def make_stack(folder: Path) -> Upload:
    """A stack with documents and dependencies: what a page has to show."""
    folder.mkdir(parents=True, exist_ok=True)
    version = "2.1.5+dfsg-1+ha12.1"
    needs = {
        "libha-base3": (),
        "ha-ring": ("libha-base3",),
        "ha-resource-agents": ("libha-base3",),
        "ha-manager": ("ha-ring", "libha-base3", "ha-resource-agents"),
        "ha-manager-dbgsym": ("ha-manager",),
        "ha-stack": ("ha-manager", "ha-ring", "ha-resource-agents", "libha-base3"),
    }
    entry = f"{LOGIC} ({{}}) bookworm; urgency=medium\n\n  * {{}} change\n\n -- {IDENTITY.maintainer}  {'x' * 150}\n"
    debs = []
    for name, names in needs.items():
        documents = f"opt/ha/share/doc/{name}"
        debs.append(
            make_deb(
                folder,
                name,
                version,
                architecture=OWN,
                files={
                    f"{documents}/changelog.Debian.gz": gzip.compress(entry.format(version, "Debian").encode()),
                    f"{documents}/changelog.gz": gzip.compress(entry.format(version, "upstream").encode()),
                    f"{documents}/copyright": f"Licence of {name}: GPL-2+\n {'word ' * 60}\n".encode(),
                    f"opt/ha/lib/{'deep/' * 20}{name}": b"",
                },
                Depends=", ".join((*(f"{need} (= {version})" for need in names), "libc6 (>= 2.36)")),
                Source=LOGIC,
            )
        )
    return Upload(suite=BOOKWORM, source=SourceName(LOGIC), files=(*debs, *make_source(folder, LOGIC, version)))


class Client:
    """A machine that uses the repository: an apt with folders of its own."""

    def __init__(self, folder: Path, sources: str) -> None:
        self.folder = folder
        for name in ("etc/sources.list.d", "etc/none", "lists/partial", "cache/archives/partial", "got"):
            (folder / name).mkdir(parents=True)
        (folder / "status").touch()
        (folder / "etc" / "sources.list.d" / "ha.sources").write_text(sources)
        (folder / "apt.conf").write_text(
            f'Dir::Etc "{folder}/etc/"; Dir::Etc::Parts "none"; Dir::Etc::Main "none/x"; Dir::Etc::SourceList "none/x";'
            f'Dir::Etc::TrustedParts "none"; Dir::Etc::Trusted "none/x"; Dir::Etc::Preferences "none/x";'
            f'Dir::Etc::PreferencesParts "none"; Dir::State "{folder}"; Dir::State::Lists "{folder}/lists/";'
            f'Dir::State::Status "{folder}/status"; Dir::Cache "{folder}/cache"; Dir::Log "{folder}";'
            'APT::Sandbox::User "root"; Acquire::Retries "0"; Acquire::http::Proxy "DIRECT";'
            f'APT::Architecture "{OWN}"; APT::Architectures {{ "{OWN}"; }};'
        )

    def apt(self, program: str, *words: str, check: bool = True) -> str:
        return run(
            f"/usr/bin/{program}", *words, check=check, cwd=self.folder / "got", APT_CONFIG=f"{self.folder}/apt.conf"
        )

    def update(self) -> None:
        """apt-get update without any complaint."""
        output = self.apt("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
        assert not re.search(r"^(W|E|N|Err)\b", output, re.MULTILINE), output

    def refuses(self) -> bool:
        """Tell whether apt-get update fails, starting from nothing."""
        shutil.rmtree(self.folder / "lists")
        (self.folder / "lists" / "partial").mkdir(parents=True)
        return "E: " in self.apt("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any", check=False)

    def candidate(self, package: str) -> str:
        """The version that apt would install."""
        found = re.search(r"Candidate: (\S+)", self.apt("apt-cache", "policy", package))
        return found[1] if found else ""


class Quiet(SimpleHTTPRequestHandler):
    """A web server that writes no log."""

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback; its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def take_snapshot(root: Path) -> dict[str, tuple[int, int, str]]:
    """Inode, change time and digest of everything that users of the repository can see."""
    return {
        str(file.relative_to(root)): (
            file.stat().st_ino,
            file.stat().st_mtime_ns,
            hashlib.sha256(file.read_bytes()).hexdigest(),
        )
        for file in sorted(root.rglob("*"))
        if file.is_file() and ".hapkg" not in file.parts
    }


def read_index(file: Path) -> list[dict[str, str]]:
    """Stanzas of an index, read without hapkg."""
    stanzas = []
    for block in file.read_text().strip().split("\n\n"):
        fields = re.findall(r"^(\S+): ?(.*(?:\n .*)*)", block, re.MULTILINE)
        stanzas.append(dict(fields))
    return [stanza for stanza in stanzas if stanza]


def fork(act: Callable[[], object]) -> int:
    """Run something in a process of its own; its id."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            act()
            os._exit(0)
        os._exit(1)
    return pid
