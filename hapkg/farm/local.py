"""A farm on this machine alone, for a try: a scheduler and some workers, each with a state folder of its own.

Whoever reaches a scheduler of Dask can run code as its workers, and every user of this machine reaches its ports: this
one speaks TLS, with a key of its own that is gone afterwards.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from distributed import Client, LocalCluster
from distributed.security import Security

from hapkg import disk
from hapkg.build.store import Store
from hapkg.chroot import schroot, sessions
from hapkg.control import Suite
from hapkg.errors import MachineError
from hapkg.host import count_cores
from hapkg.programs.process import GRACE_SECONDS, Process, run

_START_SECONDS = 120
_MAIN = "from hapkg.cli.main import main; main()"


@dataclass(frozen=True, kw_only=True)
class LocalFarm:
    """A scheduler on this machine, and how it is spoken to."""

    address: str
    security: Security


@contextlib.contextmanager
def open_local(store: Store, number: int) -> Iterator[LocalFarm]:
    """A scheduler with so many workers, which end with it; their logs are in the state folder meanwhile.

    The caller holds the store's lock. Raises MachineError where the workers do not come.
    """
    folder = store.state.workers
    _remove(folder)
    disk.make_folder(folder)
    try:
        security = make_security(folder)
        with (
            LocalCluster(
                n_workers=0,
                processes=False,
                host="127.0.0.1",
                protocol="tls://",
                security=security,
                dashboard_address=None,
            ) as cluster,
            _start_workers(folder, number, cluster.scheduler_address),
        ):
            with Client(cluster.scheduler_address, security=security, set_as_default=False) as client:
                _await_workers(client, number, folder)
            yield LocalFarm(address=cluster.scheduler_address, security=security)
    finally:
        _remove(folder)


def make_security(folder: Path) -> Security:
    """Credentials for scheduler, coordinator and workers alike: a certificate that vouches for itself."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "7",
         "-subj", "/CN=hapkg", "-keyout", str(key), "-out", str(certificate)],
    )  # fmt: skip
    key.chmod(0o600)
    names = {"ca_file": certificate}
    for role in ("scheduler", "worker", "client"):
        names |= {f"{role}_cert": certificate, f"{role}_key": key}
    return Security(require_encryption=True, **{f"tls_{name}": str(path) for name, path in names.items()})


def _describe_security(folder: Path) -> Mapping[str, str]:
    """The credentials of a worker, as variables that Dask's configuration reads."""
    start = "DASK_DISTRIBUTED__COMM__"
    return {
        f"{start}REQUIRE_ENCRYPTION": "true",
        f"{start}TLS__CA_FILE": str(folder / "certificate.pem"),
        f"{start}TLS__WORKER__CERT": str(folder / "certificate.pem"),
        f"{start}TLS__WORKER__KEY": str(folder / "key.pem"),
    }


@contextlib.contextmanager
def _start_workers(folder: Path, number: int, address: str) -> Iterator[None]:
    jobs = max(1, count_cores() // number)
    with contextlib.ExitStack() as stack:
        for one in range(1, number + 1):
            cache = folder / str(one)
            log = stack.enter_context((folder / f"{one}.log").open("wb"))
            variables = [f"{name}={value}" for name, value in _describe_security(folder).items()]
            words = [sys.executable, "-c", _MAIN, "--cache", str(cache), "worker", "--jobs", str(jobs)]
            worker = Process(["env", *variables, *words, "--scheduler", address], log)
            stack.callback(_end, worker)
        yield


def _end(worker: Process) -> None:
    """End a worker with what it builds."""
    worker.send(signal.SIGTERM)
    if not worker.wait(GRACE_SECONDS):
        worker.kill()


def _await_workers(client: Client, number: int, folder: Path) -> None:
    try:
        client.wait_for_workers(number, timeout=_START_SECONDS)
    except TimeoutError as error:
        lines = [line for log in sorted(folder.glob("*.log")) for line in log.read_text("utf-8").splitlines()[-5:]]
        raise MachineError("workers on this machine do not start", details=lines, hint="run: hapkg doctor") from error


def _remove(folder: Path) -> None:
    """Remove what workers left: chroots are known to schroot."""
    for state in (Store(root=cache).state for cache in folder.glob("[0-9]*") if cache.is_dir()):
        sessions.reclaim(state)
        for base in state.chroots.glob("[!.]*"):
            schroot.remove_chroot(state, Suite(base.name))
    disk.remove_tree(folder, of_root=True)
