"""gpg, in a home of hapkg's own or the user's. It runs here alone.

gpg never works in hapkg's own home itself but in a short-lived one that links to it: sockets fit there however long the
real path is, two publishers never share an agent, and nothing is left running.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hapkg.disk import make_scratch
from hapkg.errors import RepositoryError
from hapkg.programs.process import describe_status, run

GPG = ("--batch", "--no-tty", "--quiet", "--trust-model", "always")
SECRET_PARTS = ("private-keys-v1.d", "openpgp-revocs.d")
_SESSION = ("GNUPGHOME", "GPG_TTY", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""Variables by which the user's own agent finds the user's keys and asks for a passphrase."""
_UNASKED = (
    r"signing failed: (Inappropriate ioctl|No pinentry|Operation cancelled|Timeout|No passphrase|Bad passphrase|.*tty)"
)
"""Message of gpg when an agent has no passphrase and no way to get it."""
_NO_KEY = "no valid OpenPGP data found"
"""Words of gpg about a file that it is to import."""


@contextlib.contextmanager
def open_home(home: Path) -> Iterator[Path]:
    """A short-lived gpg home that links to what is in home."""
    short = make_scratch(Path("/tmp"), "hapkg-gpg-")
    try:
        for part in (*SECRET_PARTS, "pubring.kbx"):
            if (home / part).exists():
                (short / part).symlink_to(home.resolve() / part)
        yield short
    finally:
        shutil.rmtree(short, ignore_errors=True)  # gpg's daemons remove their own sockets meanwhile


def run_gpg(home: Path | None, *arguments: str, doing: str, secret: bool = False) -> bytes:
    """Run gpg in hapkg's own home, or with None in the user's; return its standard output.

    `secret` tells that the secret key is needed, and so the agent that guards it. `doing` completes "gpg cannot …".
    Raises RepositoryError when gpg fails.
    """
    if home is None:
        environment = {name: os.environ[name] for name in _SESSION if name in os.environ}
        return _capture(["gpg", *GPG, *arguments], doing=doing, environment=environment)
    with open_home(home) as short:
        if secret:
            return run_with_agent(short, *arguments, doing=doing)
        return _capture(["gpg", "--homedir", str(short), "--no-autostart", *GPG, *arguments], doing=doing)


def sign_each(home: Path | None, users: Sequence[str], files: Sequence[Path]) -> None:
    """Have gpg write a detached signature of each key beside each file, as FILE.USER, with one agent for all of them.

    Raises RepositoryError when it cannot.
    """
    script = (
        f'for file; do for user in $0; do gpg {shlex.join(GPG)} --yes --digest-algo SHA512 --local-user "$user" '
        '--output "$file.$user" --detach-sign "$file" || exit; done; done'
    )
    argv = ["sh", "-c", script, " ".join(users), *map(str, files)]
    if home is None:
        environment = {name: os.environ[name] for name in _SESSION if name in os.environ}
        _capture(argv, doing="sign", environment=environment)
        return
    with open_home(home) as short:
        _run_below_agent(short, ["env", f"GNUPGHOME={short}", *argv], doing="sign")


def run_with_agent(home: Path, *arguments: str, doing: str) -> bytes:
    """Run gpg as the command of an agent: one started so ends with its command, soon, even if hapkg is killed."""
    return _run_below_agent(home, ["gpg", "--homedir", str(home), *GPG, *arguments], doing=doing)


def _run_below_agent(home: Path, argv: Sequence[str], *, doing: str) -> bytes:
    ended = '"$@"; status=$?; gpgconf --homedir "$0" --kill gpg-agent >&2; exit $status'
    agent = ("gpg-agent", "--homedir", str(home), "--daemon", "--", "sh", "-c", ended, str(home))
    try:
        return _capture([*agent, *argv], doing=doing)
    finally:
        _remove_sockets(home)


def _remove_sockets(home: Path) -> None:
    """Remove what an agent that has ended leaves."""
    if Path(f"/run/user/{os.getuid()}/gnupg").is_dir():  # there gpg keeps sockets when it can
        run(["gpgconf", "--homedir", str(home), "--remove-socketdir"], check=False, cleanup=True)


def _capture(argv: Sequence[str], *, doing: str, environment: Mapping[str, str] | None = None) -> bytes:
    with tempfile.TemporaryFile() as out:
        result = run(argv, environment=environment, stdout=out, check=False)
        out.seek(0)
        output = out.read()
    if result.status != 0:
        raise _describe_failure(result.status, result.output, doing=doing)
    return output


def _describe_failure(status: int, output: str, *, doing: str) -> RepositoryError:
    """Translate the failure of gpg into an error with a remedy."""
    lines = output.splitlines()[-12:]
    if re.search(_UNASKED, output):
        return RepositoryError(
            f"gpg cannot {doing}: the key has a passphrase, and nobody could be asked for it",
            details=lines,
            hint="unlock it first: export GPG_TTY=$(tty), and sign anything with gpg; "
            "for a timer: gpg-preset-passphrase, or hapkg's own key, which has none",
        )
    if _NO_KEY in output:
        return RepositoryError(
            f"gpg cannot {doing}: it holds no OpenPGP key",
            hint="write one: gpg --export-secret-keys FINGERPRINT > FILE",
        )
    # Not the command: its home of gpg is gone by now, and nobody could repeat it.
    return RepositoryError(f"gpg cannot {doing}: {describe_status(status)}", details=lines)
