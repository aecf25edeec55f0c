"""hapkg key: the keys that sign the repository, over the years."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hapkg.cli import output
from hapkg.cli.options import JsonOption
from hapkg.cli.target import make_identity
from hapkg.errors import RepositoryError, UsageError
from hapkg.repository.keys import lifecycle
from hapkg.repository.keys import lint as lints
from hapkg.repository.keys.keyring import Key, read_keys
from hapkg.repository.keys.signing import find_active, read_retired

app = typer.Typer(no_args_is_help=True, help="Make, judge, rotate and retire the keys that sign the repository.")

ExpiresOption = Annotated[str, typer.Option(help="When it ends to be valid: never, 5y, 2030-01-31.", metavar="WHEN")]


@app.command()
def create(context: typer.Context, expires: ExpiresOption = "never") -> None:
    """Make the key that signs the repository, before the first publish makes one that never expires."""
    _tell("made", lifecycle.create(context.obj.keys, make_identity(context.obj.project).key_owner, expires))


@app.command()
def rotate(context: typer.Context, expires: ExpiresOption = "never") -> None:
    """Make a second key. From the next publish or refresh on both sign, until one is retired."""
    _tell("made", lifecycle.rotate(context.obj.keys, make_identity(context.obj.project).key_owner, expires))
    output.say("run: hapkg repo refresh; when every node has the new keyring: hapkg key retire OLD")


@app.command("import")
def import_key(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Secret key without passphrase, as gpg exports it.")],
) -> None:
    """Take a secret key of your own. It signs from now on."""
    if not file.is_file():
        raise UsageError(f"{file} does not exist", hint="write one: gpg --export-secret-keys FINGERPRINT > FILE")
    _tell("imported", lifecycle.import_key(context.obj.keys, file))


@app.command()
def retire(
    context: typer.Context,
    fingerprint: Annotated[str, typer.Argument(help="The key, or the end of its fingerprint.")],
) -> None:
    """Retire a key: it signs no more."""
    _tell("retired", lifecycle.retire(context.obj.keys, fingerprint))
    output.say("run: hapkg repo refresh")


@app.command()
def extend(
    context: typer.Context,
    fingerprint: Annotated[str, typer.Argument(help="The key, or the end of its fingerprint.")] = "",
    expires: ExpiresOption = "5y",
) -> None:
    """Extend the validity of a key, an expired one too. Nodes need the new keyring before the old date."""
    _tell("extended", lifecycle.extend(context.obj.keys, fingerprint, expires))
    output.say("run: hapkg repo refresh, then hapkg publish for the keyring package")


@app.command("list")
def list_keys(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the keys, the oldest first."""
    home = context.obj.keys
    active, retired = find_active(home), read_retired(home)
    rows = [
        {
            "fingerprint": key.fingerprint,
            "state": "signs" if key.fingerprint in active else "retired" if key.fingerprint in retired else "unusable",
            "algorithm": key.algorithm,
            "made": _date(key.made),
            "expires": _date(key.expires),
            "owner": key.owner,
        }
        for key in lifecycle.list_keys(home)
    ]
    if as_json:
        output.print_json(rows)
    else:
        names = ("fingerprint", "state", "algorithm", "made", "expires", "owner")
        output.print_table(names, [[row[name] for name in names] for row in rows])


@app.command()
def lint(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Keyring file [default: hapkg's own keys that sign].")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what apt refuses of keys, now or from a known day on."""
    if file is not None and not file.is_file():
        raise UsageError(f"{file} does not exist")
    found = read_keys(file.read_bytes() if file else lifecycle.export(context.obj.keys, armored=False))
    faults = [fault for key in found for fault in lints.lint(key, own=file is None)]
    if as_json:
        output.print_json([vars(fault) for fault in faults])
    else:
        names = ("fingerprint", "when", "reason", "remedy")
        output.print_table(names, [[getattr(fault, name) for name in names] for fault in faults])
    if not found:
        raise RepositoryError(f"{file} holds no key")
    refused = [fault for fault in faults if fault.when == lints.NOW]
    if refused:
        raise RepositoryError(f"apt refuses {refused[0].fingerprint}: {refused[0].reason}", hint=refused[0].remedy)
    output.say(f"{len(found)} keys, none that apt refuses today")


@app.command()
def export(
    context: typer.Context,
    armor: Annotated[bool, typer.Option("--armor", help="As text.")] = False,
) -> None:
    """Write the public keys that sign to standard output, as a keyring for Signed-By."""
    sys.stdout.buffer.write(lifecycle.export(context.obj.keys, armored=armor))


def _tell(what: str, key: Key) -> None:
    output.say(f"{what} {key.fingerprint} {key.owner}")
    for fault in lints.lint(key, own=True):
        output.say(f"{fault.when}: {fault.reason}")


def _date(seconds: int | None) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}" if seconds else "never"
