"""One source package becomes binary packages in one clean chroot."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import shlex
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hapkg.build.failures import read_cause, read_tail
from hapkg.build.limits import Gauge, LimitGuard, find_refusal, make_command
from hapkg.build.results import Results, collect
from hapkg.build.timings import Clock, follow
from hapkg.chroot.base import BUILD_FOLDER, read_data
from hapkg.chroot.ccache import lend_cache, make_exports
from hapkg.chroot.conditions import Conditions, prepare, run_build
from hapkg.chroot.layer import LayerGiver, enter_layer, provide_layer
from hapkg.chroot.resolver import read_installed
from hapkg.chroot.schroot import Chroot
from hapkg.chroot.sessions import Session
from hapkg.errors import BuildError, FetchError, HapkgError, MachineError, ProcessError
from hapkg.locations import State
from hapkg.programs import confinement
from hapkg.programs.process import Process
from hapkg.recipe.settings import Limits
from hapkg.source.package import SourcePackage

TAIL_LINES = 25
"""Of the end of a log, where the first error of a build that runs in parallel is looked for."""
_TAIL_BYTES = 1 << 18
SPARE_BYTES = 1 << 20
"""With less space than this left on its disk, a build has failed for want of it."""
LINTIAN_NAME = "lintian.txt"
_OTHER_SUITE = "bad-distribution-in-changes-file"
"""An error for suites that the machine's lintian does not know: those of other distributions, and newer ones."""
_SLOW_CHECK = "shell/non-posix/bash-centric"
"""Bashisms: it translates its expressions anew for every line of every script, which takes a minute for resource
agents, to tell what is not shown of them (info) and a warning about maintainer scripts."""
_SLOW_FILE = Path("/usr/share/lintian/lib/Lintian/Check/Shell/NonPosix/BashCentric.pm")
_BUILD = ("dpkg-buildpackage", "--unsigned-source", "--unsigned-changes", "--build=binary", "--no-pre-clean")
_TEST = ("dpkg-buildpackage", "--no-check-builddeps", "--no-pre-clean", "--rules-target=hapkg-tests")
"""The target has a name that no file has: where Python left a folder called build, make takes that target for done."""
_TEST_TOOLS = "/srv/hapkg/tests"
"""The folder in a session of what makes dh run upstream's tests alone."""
_TIMEOUT_FACTOR = 20
"""How much longer emulated tests may take; libraries of tests are told, such as check (libqb's)."""
_TEST_DH = '#!/bin/sh\nshift\nexec /usr/bin/dh build "$@" --with hapkg_tests\n'


@dataclass(frozen=True, kw_only=True)
class BuildTask:
    """One build: a source package, the chroot, and the packages of the stack it may use."""

    source: str
    package: SourcePackage
    chroot: Chroot
    state: State
    packages: Mapping[str, str]
    """Packages of the archive that the key names, with their versions."""
    stack_debs: tuple[Path, ...]
    results: Results
    """Names and architectures of the binary packages that it is to give."""
    forbidden: tuple[str, ...]
    """Patterns of package names of the distribution that must not be in the chroot."""
    parallel: int
    """Jobs that make may run at once."""
    of_architecture_only: bool = False
    """Packages for all architectures are not made."""
    again: str
    """The command that repeats the build."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the build is not wanted any more: it is ended."""
    limits: Limits = field(default_factory=Limits)
    gauge: Gauge = field(default_factory=Gauge)
    """Follows the memory that the build holds."""
    ccache: Mapping[str, str] = field(default_factory=dict)
    """Packages of the archive beside those, with their versions, where compilers are reached through ccache."""
    nice: int = 0
    """The nice value of all that the build runs."""
    conditions: Conditions = field(default_factory=Conditions)
    label: str = ""
    """A word in the name of the session, where the source is built more than once at the same time."""

    @property
    def tree(self) -> str:
        """The tree in the session: a fixed path in all builds but rebuilds, which ask whether it matters."""
        return f"{self.conditions.folder}/{self.source}"

    @property
    def installed(self) -> Mapping[str, str]:
        """All packages of the archive: those of the layer."""
        return {**self.packages, **self.ccache}


@dataclass(frozen=True, kw_only=True)
class Built:
    """Facts about a build that ended well, beside its packages."""

    seconds: Mapping[str, float]
    """Of each phase."""
    libraries: Mapping[str, frozenset[str]]
    """File names of all libraries that were installed when it ended, and the packages of each."""
    session: Session
    """The session that it was built in, for upstream's tests."""


def build(
    task: BuildTask, target: Path, log_path: Path, report: Callable[[str], None], held: contextlib.ExitStack
) -> Built:
    """Build into the folder target, which must exist and be empty; report is told each phase.

    Upstream's tests are left to run_tests(): packages do not wait for them. The session stays open until held is
    closed. Raises BuildError with the end of the log when the package does not build.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    clock = Clock(report)
    with contextlib.ExitStack() as stack, log_path.open("ab", buffering=0) as log:
        try:
            clock.enter("dependencies", log)
            session = stack.enter_context(
                enter_layer(task.state, task.chroot, task.installed, task.source + task.label, log, nice=task.nice)
            )
            with _within_limits(task, session, log_path, clock):
                _install_dependencies(task, session, log)
                prepare(session, task.conditions, log)
                clock.enter("unpack", log)
                with _watch(log_path, clock):
                    _compile(task, session, log)
                clock.enter("collect", log)
                collect(session, task.results, target)
                libraries = _list_libraries(session)
        except ProcessError as error:
            raise _describe_failure(task, clock.phase, log_path, error) from error
        held.push(stack.pop_all())
        return Built(seconds=clock.stop(), libraries=libraries, session=session)


def run_tests(task: BuildTask, session: Session, log_path: Path, report: Callable[[str], None]) -> Mapping[str, float]:
    """Run upstream's tests where the packages were built; seconds of each phase.

    debian/rules builds once more, with a dh that finds everything done but the tests: their command, environment and
    user are those that a build with tests would give them. Raises BuildError with the end of the log when one fails.
    """
    clock = Clock(report)
    lines = [
        f"export PATH={_TEST_TOOLS}:$PATH PERL5LIB={_TEST_TOOLS} DEB_BUILD_OPTIONS='parallel={task.parallel}'",
        f"cd {shlex.quote(task.tree)}",
        "rm -f debian/debhelper-build-stamp",
        *([f"export CK_TIMEOUT_MULTIPLIER={_TIMEOUT_FACTOR}"] if task.of_architecture_only else []),
    ]
    script = task.conditions.describe_build(lines, _TEST)
    with log_path.open("ab", buffering=0) as log:
        clock.enter("test", log)
        try:
            with _within_limits(task, session, log_path, clock):
                _bring_test_tools(session)
                run_build(session, task.conditions, [*make_command(task.limits), "sh", "-c", script], log)
        except ProcessError as error:
            raise _describe_failure(task, clock.phase, log_path, error) from error
    return clock.stop()


def _bring_test_tools(session: Session) -> None:
    """Put a dh before the suite's that hands it the add-on."""
    files = {"dh": _TEST_DH, "Debian/Debhelper/Sequence/hapkg_tests.pm": read_data("hapkg-tests.pm")}
    for path, text in files.items():
        with tempfile.TemporaryFile() as content:
            content.write(text.encode())
            content.seek(0)
            session.run(
                ["install", "-D", "-m", "755", "/dev/stdin", f"{_TEST_TOOLS}/{path}"], user="root", stdin=content
            )


@contextlib.contextmanager
def enter_tree(task: BuildTask, log_path: Path) -> Iterator[Session]:
    """The session of a build before anything is compiled, with the tree unpacked where task.tree says."""
    with contextlib.ExitStack() as stack:
        try:
            with log_path.open("ab", buffering=0) as log:
                session = stack.enter_context(enter_layer(task.state, task.chroot, task.installed, task.source, log))
                _install_dependencies(task, session, log)
                session.run(["sh", "-c", "\n".join(["set -e", *_extract(task)])], log=log)
        except ProcessError as error:
            raise _describe_failure(task, "unpack", log_path, error) from error
        yield session


def make_layer(task: BuildTask, log_path: Path, giver: LayerGiver | None = None) -> None:
    """Have the layer of build dependencies ready before the build has its turn."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab", buffering=0) as log:
        try:
            provide_layer(task.state, task.chroot, task.installed, log, nice=task.nice, giver=giver)
        except ProcessError as error:
            raise _describe_failure(task, "layer", log_path, error) from error


@contextlib.contextmanager
def _watch(log_path: Path, clock: Clock) -> Iterator[None]:
    """Follow the phases inside dpkg-buildpackage by what dh writes into the log, from its end on."""
    rest = b""

    def look(stream: IO[bytes], rest: bytes) -> bytes:
        *lines, rest = (rest + stream.read(_TAIL_BYTES)).split(b"\n")  # a flood is not read as fast as it comes
        for phase in follow([line.decode("utf-8", "replace") for line in lines], clock.phase):
            clock.enter(phase)
        return rest[-_TAIL_BYTES:]

    def watch() -> None:
        nonlocal rest
        rest = look(stream, rest)

    with log_path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        try:
            with _repeat(watch, 0.1):
                yield
        finally:  # a build that fails is named by the phase that it reached since the last look
            stream.seek(max(stream.tell(), log_path.stat().st_size - _TAIL_BYTES))
            look(stream, rest)


@contextlib.contextmanager
def _repeat(act: Callable[[], None], seconds: float) -> Iterator[None]:
    """Do something every so many seconds, in a thread of its own."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            act()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def check_with_lintian(task: BuildTask, target: Path) -> None:
    """Run lintian over the finished packages; its report is kept beside them. Raises BuildError for an error tag."""
    changes = sorted(target.glob("*.changes"))
    argv = ["lintian", "--no-cfg", "--fail-on", "error", "--tag-display-limit", "0", "--suppress-tags", _OTHER_SUITE]
    if _SLOW_FILE.exists():  # lintian refuses names of checks that it does not have
        argv += ["--dont-check-part", _SLOW_CHECK]
    for path in (target, task.package.dsc.parent, *task.package.files):  # for the user that lintian is
        path.chmod(0o755 if path.is_dir() else 0o644)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:  # lintian leaves files behind in it
        result = confinement.run(
            [*argv, *map(str, changes), str(task.package.dsc)],
            readable=[target, task.package.dsc.parent],
            writable=Path(scratch),
            environment={"TMPDIR": scratch},
            check=False,
            nice=task.nice,
        )
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
    session.install_local(task.stack_debs, log=log)
    present = session.installed_packages()
    intruders = sorted({name for name in present for pattern in task.forbidden if fnmatch.fnmatch(name, pattern)})
    if intruders:
        raise BuildError(
            f"{task.source}: the distribution's own stack got into the build chroot: {', '.join(intruders)}",
            details=["a build that sees both stacks may link against the wrong one"],
            hint="find the build dependency that pulls it in and replace it",
        )
    stack = {deb.name.split("_")[0] for deb in task.stack_debs}
    expected = {**read_installed(task.chroot), **task.installed}
    found = {name: version for name, version in present.items() if name not in stack}
    if found != expected:
        names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise BuildError(
            f"{task.source}: the build chroot does not hold what its key says: {', '.join(names[:5])}",
            details=[f"{name}: {found.get(name, 'absent')}, not {expected.get(name, 'absent')}" for name in names],
            hint=f"run: hapkg chroot update --suite {task.chroot.suite}",
        )


@contextlib.contextmanager
def _within_limits(task: BuildTask, session: Session, log_path: Path, clock: Clock) -> Iterator[None]:
    """Measure all that a build does once a second, and end it where it passes a limit: a BuildError that names it."""
    with Path(os.devnull).open("wb") as null:
        held = Process(["sleep", "infinity"], null)  # the build ends with it, also that of an ordinary user
    session.holder = held.pid
    guard = LimitGuard(task.limits, session.name, log_path, task.gauge, end=held.kill)

    def look() -> None:
        guard.look()
        if task.cancelled.is_set():
            held.kill()

    try:
        with _repeat(look, 1):
            yield
    except ProcessError as error:
        tail = read_tail(log_path, TAIL_LINES)
        excess = guard.reason or find_refusal(task.limits, tail)
        if not excess:
            raise
        raise BuildError(
            f"{task.source} {excess}, and was ended in phase {clock.phase}",
            details=(*tail, f"log: {log_path}"),
            hint="find out why; a build that needs more has its limit in pyproject.toml, [tool.hapkg.limits]",
        ) from error
    finally:
        held.kill()
        session.holder = os.getpid()


def _compile(task: BuildTask, session: Session, log: IO[bytes]) -> None:
    lines = [*_extract(task), f"export DEB_BUILD_OPTIONS='parallel={task.parallel} nocheck'"]
    if task.ccache:
        lines.append(make_exports(task.chroot, task.packages, task.state))
    words = [word.replace("=binary", "=any") for word in _BUILD] if task.of_architecture_only else _BUILD
    script = task.conditions.describe_build(lines, words)
    kept = lend_cache(session, task.state, task.chroot.suite, task.source, log)
    with kept if task.ccache else contextlib.nullcontext():
        run_build(session, task.conditions, [*make_command(task.limits), "sh", "-c", script], log)


def _extract(task: BuildTask) -> list[str]:
    """Lines of a shell script that unpack the source package, and go into its tree."""
    dsc = shlex.quote(f"{BUILD_FOLDER}/{task.package.dsc.name}")
    return [f"dpkg-source --no-check --extract {dsc} {shlex.quote(task.tree)}", f"cd {shlex.quote(task.tree)}"]


def _list_libraries(session: Session) -> dict[str, frozenset[str]]:
    """dpkg's own list, the stack's packages included: lines such as "libc6:amd64: /lib/x86_64-linux-gnu/libc.so.6"."""
    owners: dict[str, set[str]] = {}
    for line in session.run(["dpkg-query", "--search", "*.so*"]).output.splitlines():
        packages, _, path = line.partition(": ")
        name = path.rpartition("/")[2]
        if re.search(r"\.so(\.|$)", name) and not packages.startswith("diversion by "):
            owners.setdefault(name, set()).update(word.partition(":")[0] for word in packages.split(", "))
    return {name: frozenset(found) for name, found in owners.items()}


def _describe_failure(task: BuildTask, phase: str, log_path: Path, error: ProcessError) -> HapkgError:
    tail = read_tail(log_path, TAIL_LINES)
    text = "\n".join((*tail, *error.details))
    details = (*tail, f"log: {log_path}", f"again: {task.again}")
    full = any(sign in text for sign in ("No space left on device", "enough free space"))
    if full or shutil.disk_usage(log_path.parent).free < SPARE_BYTES:  # a log on a full disk does not say so
        return MachineError(f"{task.source}: the disk is full", details=details, hint="free some space: hapkg clean")
    if "unrecognized options:" in text:
        return BuildError(
            f"{task.source}: configure does not know a switch of the recipe",
            details=details,
            hint="remove the switch from recipe.toml, configure; upstream has dropped or renamed it",
        )
    if phase in ("layer", "dependencies") and "Failed to fetch" in text:
        return FetchError(
            f"{task.source}: the archive does not deliver a build dependency",
            details=details,
            hint="check the network; if the archive has other versions now: hapkg chroot update",
        )
    if phase in ("layer", "dependencies"):
        return BuildError(
            f"{task.source}: a build dependency cannot be installed",
            details=(*tail, error.brief, *details[len(tail) :]),
            hint="check build-depends in recipe.toml against the suite",
        )
    if phase == "collect":
        return BuildError(f"{task.source}: {error.brief}", details=(*error.details, *details))
    return BuildError(
        f"{task.source} fails in phase {phase}{error.brief.partition(' failed')[2]}",
        details=details,
        hint=cause.remedy if (cause := read_cause(log_path)) else "the first error is further up in the log",
    )
