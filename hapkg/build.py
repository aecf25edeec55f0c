"""One source package becomes binary packages in one clean chroot."""

from __future__ import annotations

import fnmatch
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hapkg import command
from hapkg.chroot import BUILD_FOLDER, Chroot, Session, enter
from hapkg.errors import BuildError, MachineError, ProcessError
from hapkg.source import SourcePackage

TAIL_LINES = 25
SPARE_BYTES = 1 << 20
"""With less space than this left on its disk, a build has failed for want of it."""
LINTIAN_NAME = "lintian.txt"


@dataclass(frozen=True, kw_only=True)
class BuildTask:
    """One build: a source package, the chroot, and the packages of the stack it may use."""

    source: str
    package: SourcePackage
    chroot: Chroot
    stack_debs: tuple[Path, ...]
    forbidden: tuple[str, ...]
    """Patterns of package names of the distribution that must not be in the chroot."""
    parallel: int
    source_date_epoch: int


def build(task: BuildTask, target: Path, log_path: Path, report: Callable[[str], None]) -> dict[str, float]:
    """Build into the folder target, which must exist. Returns the seconds of each phase; report is told each.

    Raises BuildError with the end of the log when the package does not build.
    """
    seconds: dict[str, float] = {}
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab", buffering=0) as log, enter(task.chroot, task.source) as session:
        phases: tuple[tuple[str, Callable[[], None]], ...] = (
            ("dependencies", lambda: _install_dependencies(task, session, log)),
            ("compile", lambda: _compile(task, session, log)),
            ("collect", lambda: _collect(session, target)),
        )
        for name, act in phases:
            report(name)
            started = time.monotonic()
            _write(log, f"=== {name}")
            try:
                act()
            except ProcessError as error:
                raise _describe_failure(task, name, log_path, error) from error
            seconds[name] = round(time.monotonic() - started, 2)
    return seconds


def check_with_lintian(task: BuildTask, target: Path) -> None:
    """Run lintian over the finished packages; its report is kept beside them. Raises BuildError for an error tag."""
    changes = sorted(target.glob("*.changes"))
    argv = ["lintian", "--no-cfg", "--fail-on", "error", "--tag-display-limit", "0", "--allow-root"]
    with tempfile.TemporaryDirectory() as scratch:  # lintian leaves files behind in its temporary folder
        files = [*map(str, changes), str(task.package.dsc)]
        result = command.run([*argv, *files], check=False, environment={"TMPDIR": scratch})
    (target / LINTIAN_NAME).write_text(result.output, "utf-8")
    if result.status != 0:
        errors = [line for line in result.output.splitlines() if line.startswith("E:")]
        raise BuildError(
            f"{task.source}: lintian finds errors",
            details=errors or result.output.splitlines()[-TAIL_LINES:],
            hint="mend the package, or override the tag with its reason in recipe.toml, lintian-overrides",
        )


def _install_dependencies(task: BuildTask, session: Session, log: IO[bytes]) -> None:
    session.copy_in(task.package.files, BUILD_FOLDER)
    session.add_local_packages(task.stack_debs, log=log)
    session.install_build_depends(f"{BUILD_FOLDER}/{task.package.dsc.name}", log=log)
    present = session.installed_packages()
    intruders = sorted({name for name in present for pattern in task.forbidden if fnmatch.fnmatch(name, pattern)})
    if intruders:
        raise BuildError(
            f"{task.source}: the distribution's own stack got into the build chroot: {', '.join(intruders)}",
            details=["a build that sees both stacks may link against the wrong one"],
            hint="find the build dependency that pulls it in and replace it",
        )


def _compile(task: BuildTask, session: Session, log: IO[bytes]) -> None:
    tree = f"{BUILD_FOLDER}/{task.source}"  # a fixed path: some sources write it into what they build
    script = f"""set -e
        cd {BUILD_FOLDER}
        dpkg-source --no-check --extract {shlex.quote(task.package.dsc.name)} {shlex.quote(tree)}
        cd {shlex.quote(tree)}
        export DEB_BUILD_OPTIONS=parallel={task.parallel}
        dpkg-buildpackage --unsigned-source --unsigned-changes --build=binary"""
    session.run(["sh", "-c", script], log=log)


def _collect(session: Session, target: Path) -> None:
    listing = session.run(["sh", "-c", f"cd {BUILD_FOLDER} && ls -1 *.deb *.changes *.buildinfo"]).output.split()
    session.copy_out(listing, BUILD_FOLDER, target)


def _describe_failure(task: BuildTask, phase: str, log_path: Path, error: ProcessError) -> BuildError | MachineError:
    tail = [line for line in log_path.read_text("utf-8", "replace").splitlines() if line.strip()][-TAIL_LINES:]
    text = "\n".join((*tail, *error.details))
    details = (*tail, f"log: {log_path}", f"again: hapkg build {task.source} --suite {task.chroot.suite}")
    full = any(sign in text for sign in ("No space left on device", "enough free space"))
    if full or shutil.disk_usage(log_path.parent).free < SPARE_BYTES:  # a log on a full disk does not say so
        return MachineError(f"{task.source}: the disk is full", details=details, hint="free some space: hapkg clean")
    if "unrecognized options:" in text:
        return BuildError(
            f"{task.source}: configure does not know a switch of the recipe",
            details=details,
            hint="remove the switch from recipe.toml, configure; upstream has dropped or renamed it",
        )
    if phase == "dependencies" and "unmet dependencies" in text:
        return BuildError(
            f"{task.source}: a build dependency cannot be installed",
            details=details,
            hint="check build-depends in recipe.toml against the suite",
        )
    if phase == "collect":
        return BuildError(f"{task.source}: {error.brief}", details=(*error.details, *details))
    return BuildError(
        f"{task.source} fails in phase {phase}{error.brief.partition(' failed')[2]}",
        details=details,
        hint="the first error is further up in the log",
    )


def _write(log: IO[bytes], line: str) -> None:
    log.write(f"{line}\n".encode())
