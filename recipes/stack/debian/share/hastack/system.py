"""This machine: its prefix, its programs, its services, and files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PREFIX = Path(__file__).resolve().parents[3]
ETC = PREFIX / "etc"
STATE = PREFIX / "var/lib/ha-stack"
SYSTEMD = Path("/run/systemd/system")
PATIENCE = 120
"""Seconds for a program that should answer at once, on a busy machine."""
_PATH = f"{PREFIX}/sbin:{PREFIX}/bin:/usr/sbin:/usr/bin:/sbin:/bin"

DAEMONS = ("corosync", "pacemakerd", "pacemaker-based", "pacemaker-controld", "pacemaker-fenced", "dlm_controld")

FAILED, USAGE, REFUSED, UNCONFIGURED = 1, 2, 3, 6
"""Exit codes, beside 0: something is wrong, the command line is, it would do harm, the node is not configured."""


class Problem(Exception):  # noqa: N818 - it is told to a person, who has a problem
    """A reason to stop a command: one sentence, what to do about it, and how the command ends."""

    def __init__(self, brief: str, hint: str = "", code: int = FAILED) -> None:
        super().__init__(brief)
        self.brief, self.hint, self.code = brief, hint, code


@dataclass(frozen=True)
class Done:
    """A program that ran."""

    status: int
    output: str
    """The output and the complaints of a command."""


def run(*argv: str, stdin: str = "", timeout: float = PATIENCE, extra: dict[str, str] | None = None) -> Done:
    """Run a program with the stack's PATH. One that is missing or does not end gives a status like the shell's."""
    environment = {"PATH": _PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", **(extra or {})}
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            env=environment,
        )
    except FileNotFoundError:
        return Done(127, f"{argv[0]}: not found")
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else late.stdout or ""
        return Done(124, f"{said}\n{argv[0]}: no answer in {timeout:.0f} s")
    return Done(done.returncode, done.stdout)


def find(program: str) -> str | None:
    """Where a program is, with the stack's PATH."""
    return shutil.which(program, path=_PATH)


def need(done: Done, what: str, hint: str = "") -> str:
    """The output of a program that had to succeed. Raises Problem."""
    if done.status:
        lines = [line for line in done.output.splitlines() if line.strip()]
        raise Problem(f"{what}: {lines[-1] if lines else f'status {done.status}'}", hint)
    return done.output


def control_service(name: str, action: str, timeout: float) -> None:
    """Start or stop a service by whatever init the machine has. Raises Problem."""
    argv = ("systemctl", action, f"{name}.service") if SYSTEMD.is_dir() else ("service", name, action)
    need(run(*argv, timeout=timeout), f"{' '.join(argv)} failed", "its own words are in the system's log")


def find_pids(program: str) -> tuple[int, ...]:
    """Pids of one of the stack's daemons, by its file; also when an upgrade has replaced that file."""
    wanted = {str(PREFIX / "sbin" / program), str(PREFIX / "libexec/pacemaker" / program)}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                target = str((entry / "exe").readlink())
            except OSError:  # it has ended, or is a thread of the kernel
                continue
            if target.removesuffix(" (deleted)") in wanted:
                found.append(int(entry.name))
    return tuple(sorted(found))


def is_outdated(pid: int) -> bool:
    """Tell whether a process runs files, its own or libraries of the stack, that an upgrade has replaced since."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text("utf-8", "replace")
    except OSError:
        return False
    return any(line.endswith(" (deleted)") and f" {PREFIX}/" in line for line in maps.splitlines())


def find_outdated() -> tuple[str, ...]:
    """Daemons that run from before an upgrade."""
    return tuple(daemon for daemon in DAEMONS if any(is_outdated(pid) for pid in find_pids(daemon)))


def write_file(path: Path, content: str, mode: int = 0o644) -> None:
    """Write a file that is there whole or not at all, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    with open(new, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make what happened to the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_versions() -> dict[str, str]:
    """Installed packages of the stack and their versions."""
    done = run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n", "ha-*")
    fields = [line.split() for line in done.output.splitlines()]
    return {name: version for state, name, version in (f for f in fields if len(f) == 3) if state == "installed"}


def say(text: str, end: str = "\n") -> None:
    """Tell the administrator."""
    print(text, end=end, flush=True)
