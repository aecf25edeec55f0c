"""Conditions of a build that its packages must not depend on: where, when, by whom and on what they are made."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

from hapkg.chroot.base import BUILD_FOLDER, BUILD_USER, DEFAULT_HOST
from hapkg.chroot.sessions import Session

FAKETIME, LOCALES = TOOLS = ("libfaketime", "locales")
"""Packages of the archive that some conditions need, and no build otherwise."""

RESULTS = ("(", "-name", "*.deb", "-o", "-name", "*.changes", "-o", "-name", "*.buildinfo", ")")
"""Words of find for the files that a build leaves."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Conditions of one build. The defaults are those of every build that is not a rebuild."""

    folder: str = BUILD_FOLDER
    """The folder that the tree is unpacked in."""
    host: str = DEFAULT_HOST
    """The name of the machine."""
    user: str = BUILD_USER
    """The account that builds; another one than the default is made first."""
    uid: int = 0
    """The number of another account."""
    umask: str = "0022"
    exports: Mapping[str, str] = field(default_factory=dict)
    """Variables of the build."""
    command: tuple[str, ...] = ()
    """Words before the command that builds."""
    tools: tuple[str, ...] = ()
    """Files of packages of the archive that these conditions need: they are installed last."""
    setup: tuple[str, ...] = ()
    """Lines of a shell script that root runs before the build."""

    @property
    def is_own_user(self) -> bool:
        """True where the default account builds."""
        return self.user == BUILD_USER

    def describe_build(self, lines: Sequence[str], argv: Sequence[str]) -> str:
        """A shell script that does the lines, and then the command argv, under these conditions."""
        exports = [f"export {name}={shlex.quote(value)}" for name, value in self.exports.items()]
        command = shlex.join([*self.command, *argv])
        return "\n".join(["set -e", f"umask {self.umask}", *lines, *exports, command])


def prepare(session: Session, conditions: Conditions, log: IO[bytes]) -> None:
    """Have all that the conditions need in a session. Raises ProcessError."""
    if conditions.tools:
        session.install(conditions.tools, log=log)
    lines = list(conditions.setup)
    if not conditions.is_own_user:
        home = f"/home/{conditions.user}"
        lines.append(f"useradd --uid {conditions.uid} --user-group --create-home --home-dir {home} {conditions.user}")
    if conditions.folder != BUILD_FOLDER or not conditions.is_own_user:
        lines += [f"mkdir -p {conditions.folder}", f"chown {conditions.user} {conditions.folder}"]
    if lines:
        session.run(["sh", "-c", "\n".join(["set -e", *lines])], user="root", log=log)


def run_build(session: Session, conditions: Conditions, argv: Sequence[str], log: IO[bytes]) -> None:
    """Run the command of a build under its conditions, and have the results in the build folder as ever."""
    if conditions.is_own_user:
        session.run(argv, host=conditions.host, log=log)
    else:
        number, home = str(conditions.uid), f"/home/{conditions.user}"
        account = ["setpriv", "--reuid", number, "--regid", number, "--clear-groups", "--"]
        account += ["env", f"HOME={home}", f"USER={conditions.user}", f"LOGNAME={conditions.user}"]
        session.run([*account, *argv], user="root", host=conditions.host, log=log)
    if conditions != Conditions():
        found = f"find {conditions.folder} -mindepth 1 -maxdepth 1 {shlex.join(RESULTS)}"
        script = [f"chown {BUILD_USER}: {BUILD_FOLDER}", f"{found} -exec chown -h {BUILD_USER}: {{}} +"]
        if conditions.folder != BUILD_FOLDER:
            script.append(f"{found} -exec mv -t {BUILD_FOLDER} {{}} +")
        session.run(["sh", "-c", "\n".join(["set -e", *script])], user="root", log=log)
