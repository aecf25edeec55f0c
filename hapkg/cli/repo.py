"""hapkg repo: look at a published repository, and change what it publishes without building anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from hapkg.cli import output
from hapkg.cli.options import (
    AdoptOption,
    CheckKeyOption,
    JsonOption,
    KeyOption,
    KeyringOption,
    RepoOption,
    SharedOption,
    UnsignedOption,
    UrlOption,
    WaitOption,
)
from hapkg.cli.target import find_own_memory, find_root, make_choice, open_root, open_target
from hapkg.control import Suite
from hapkg.errors import IntegrityError, UsageError
from hapkg.repository import pruning, publishing
from hapkg.repository.indexes import find_suites
from hapkg.repository.snapshots import (
    Snapshot,
    compare,
    find_ended,
    find_missing,
    find_snapshot,
    list_snapshots,
    read_snapshot,
)
from hapkg.repository.trust import open_keyring
from hapkg.repository.verify import is_unsigned, verify_at_rest

app = typer.Typer(no_args_is_help=True, help="Show, compare, roll back, promote and verify what is published.")

SuiteArgument = Annotated[str, typer.Argument(help="Published suite, bookworm or bookworm-testing.", metavar="SUITE")]


@app.command("list")
def list_states(context: typer.Context, repo: RepoOption = None, as_json: JsonOption = False) -> None:
    """List the snapshots of every suite, oldest first; the last one of a suite is what it is now, or that it ended."""
    root = find_root(context, repo)
    rows: list[dict[str, Any]] = []
    for suite in find_suites(root):
        held = list_snapshots(root, suite)
        rows += [_describe_snapshot(root, snapshot, current=snapshot is held[-1]) for snapshot in held]
    rows += [_describe_snapshot(root, snapshot, current=False) for snapshot in find_ended(root).values()]
    if as_json:
        output.print_json(rows)
    else:
        output.print_table(
            ("suite", "snapshot", "made", "packages", "by", "act"),
            [
                (
                    r["suite"],
                    str(r["snapshot"]) + ("*" if r["current"] else ""),
                    r["made"],
                    str(r["packages"]),
                    r["by"],
                    r["act"] + (f" ({len(r['missing'])} files are gone)" if r["missing"] else ""),
                )
                for r in rows
            ],
        )


def _describe_snapshot(root: Path, snapshot: Snapshot, *, current: bool) -> dict[str, Any]:
    pool = read_snapshot(root, snapshot)
    return {
        "suite": snapshot.suite,
        "snapshot": snapshot.number,
        "made": snapshot.made,
        "by": snapshot.by,
        "keys": list(snapshot.keys),
        "packages": len(pool.packages),
        "missing": list(find_missing(root, pool)),
        "act": snapshot.act,
        "current": current,
    }


@app.command("show")
def show_state(
    context: typer.Context,
    suite: SuiteArgument,
    number: Annotated[int | None, typer.Argument(help="Snapshot [default: what it is now].")] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the packages of a suite, as it is now or was in a snapshot."""
    root = find_root(context, repo)
    pool = read_snapshot(root, find_snapshot(root, Suite(suite), number))
    rows = [
        {
            "package": package.name,
            "version": package.version,
            "architecture": package.architecture,
            "source": package.source[0],
            "files": {path: digest for path, (_, digest) in package.files.items()},
        }
        for package in pool.packages
    ]
    if as_json:
        output.print_json(rows)
    else:
        output.print_table(
            ("package", "version", "architecture", "source", "sha256"),
            [
                (str(r["package"]), str(r["version"]), str(r["architecture"]), str(r["source"]), digest)
                for r, package in zip(rows, pool.packages, strict=True)
                for digest in [next(iter(package.files.values()))[1]]
            ],
        )


@app.command()
def diff(
    context: typer.Context,
    suite: SuiteArgument,
    old: Annotated[int, typer.Argument(help="Snapshot to start from.")],
    new: Annotated[int | None, typer.Argument(help="Snapshot to compare with [default: what it is now].")] = None,
    other: Annotated[str | None, typer.Option("--with", help="Look for NEW in this suite.", metavar="SUITE")] = None,
    repo: RepoOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which packages came (+) and went (-) between two snapshots."""
    root = find_root(context, repo)
    before = read_snapshot(root, find_snapshot(root, Suite(suite), old))
    after = read_snapshot(root, find_snapshot(root, Suite(other or suite), new))
    difference = compare(before, after)
    if as_json:
        output.print_json({"added": difference.added, "removed": difference.removed})
    else:
        for sign, names in (("-", difference.removed), ("+", difference.added)):
            for name in names:
                typer.echo(f"{sign} {name}")


@app.command()
def rollback(
    context: typer.Context,
    suite: SuiteArgument,
    number: Annotated[int, typer.Argument(help="Snapshot that the suite becomes again.")],
    repo: RepoOption = None,
    key: KeyOption = None,
    unsigned: UnsignedOption = False,
    url: UrlOption = None,
    shared: SharedOption = False,
    adopt: AdoptOption = False,
    wait: WaitOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a suite what it was in a snapshot: at once, without building. Nothing is lost: that is a snapshot, too."""
    with open_target(context, repo, key, unsigned, url, wait, shared=shared, adopt=adopt) as target:
        publication = publishing.rollback(target, Suite(suite), number)
    output.print_publication(publication, as_json=as_json)


@app.command()
def promote(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="Suite to take from: bookworm-testing.", metavar="FROM")],
    suite: Annotated[str, typer.Argument(help="Suite that gets them too: bookworm.", metavar="TO")],
    snapshot: Annotated[int | None, typer.Option(help="Snapshot to take [default: what FROM is now].")] = None,
    repo: RepoOption = None,
    key: KeyOption = None,
    unsigned: UnsignedOption = False,
    url: UrlOption = None,
    shared: SharedOption = False,
    adopt: AdoptOption = False,
    wait: WaitOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Publish what one suite offers in another one too: the same files, at once, without building."""
    with open_target(context, repo, key, unsigned, url, wait, shared=shared, adopt=adopt) as target:
        is_new = suite not in find_suites(target.root)
        publication = publishing.promote(target, Suite(source), Suite(suite), snapshot)
    if is_new:
        output.say(f"{suite} is a new suite")
    output.print_publication(publication, as_json=as_json)


@app.command()
def drop(
    context: typer.Context,
    suite: SuiteArgument,
    repo: RepoOption = None,
    key: KeyOption = None,
    unsigned: UnsignedOption = False,
    url: UrlOption = None,
    shared: SharedOption = False,
    adopt: AdoptOption = False,
    wait: WaitOption = 0,
    as_json: JsonOption = False,
) -> None:
    """End a suite: a pocket, the release before. Nodes that follow it are refused; its packages go with a prune."""
    with open_target(context, repo, key, unsigned, url, wait, shared=shared, adopt=adopt, ended=Suite(suite)) as target:
        publication = publishing.drop(target, Suite(suite))
    output.say(f"{suite} has ended: remove its .sources file on nodes that follow it")
    output.say("its packages stay in the pool until: hapkg repo prune")
    output.print_publication(publication, as_json=as_json)


@app.command()
def refresh(
    context: typer.Context,
    repo: RepoOption = None,
    key: KeyOption = None,
    unsigned: UnsignedOption = False,
    url: UrlOption = None,
    shared: SharedOption = False,
    adopt: AdoptOption = False,
    wait: WaitOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Sign every suite anew with a later Valid-Until: for a timer, when valid-days is set."""
    with open_target(context, repo, key, unsigned, url, wait, shared=shared, adopt=adopt) as target:
        publication = publishing.refresh(target)
    output.print_publication(publication, as_json=as_json)


@app.command()
def prune(
    context: typer.Context,
    keep: Annotated[int, typer.Option(min=1, help="Versions to keep of every source in every suite.")] = 3,
    days: Annotated[
        float,
        typer.Option("--younger-than", min=0, help="Also keep what was published in so many days.", metavar="DAYS"),
    ] = 30,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="Also remove what clients may still fetch that read the state before.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    repo: RepoOption = None,
    key: KeyOption = None,
    unsigned: UnsignedOption = False,
    url: UrlOption = None,
    shared: SharedOption = False,
    wait: WaitOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Remove old versions. What a kept package pins with an exact version stays, whatever its age."""
    with open_target(context, repo, key, unsigned, url, wait, shared=shared, change=not dry_run) as target:
        if dry_run:
            pruned = pruning.decide_pruning(target.root, keep=keep, days=days, at_once=at_once)
        else:
            _, pruned = pruning.prune(target, keep=keep, days=days, at_once=at_once)
    if as_json:
        output.print_json(
            {
                "files": pruned.files,
                "delayed": pruned.delayed,
                "releases": [" ".join(source) for source in pruned.releases],
                "snapshots": [f"{snapshot.suite} {snapshot.number}" for snapshot in pruned.snapshots],
            }
        )
    else:
        _print_pruning(pruned, dry_run=dry_run)


def _print_pruning(pruned: pruning.Pruning, *, dry_run: bool) -> None:
    for source, version in pruned.releases:
        typer.echo(f"{source} {version}")
    for snapshot in pruned.snapshots:
        is_forgotten = "would be forgotten" if dry_run else "is forgotten"
        output.say(f"snapshot {snapshot.number} of {snapshot.suite} {is_forgotten}")
    total, later = (output.size(sum(files.values())) for files in (pruned.files, pruned.delayed))
    output.say(f"{len(pruned.files)} files, {total}: {'would be removed' if dry_run else 'removed'}")
    if pruned.delayed:
        output.say(f"{len(pruned.delayed)} files, {later}: for a prune when no client fetches them, in a day")


@app.command("verify")
def verify_repository(
    context: typer.Context,
    repo: RepoOption = None,
    key: CheckKeyOption = None,
    keyring: KeyringOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check signatures with your own keys, every index and every file of the pool, and that snapshots are whole."""
    choice = make_choice(context, key, unsigned=False)
    seen: list[tuple[Path, bool, tuple[Suite, ...]]] = []

    @contextmanager
    def look() -> Iterator[Path]:
        with open_root(context, repo) as root:
            seen.append((root, not is_unsigned(root), tuple(find_suites(root))))
            if keys is None and seen[-1][1]:
                raise UsageError(
                    f"{root} is signed, and {choice.folder} holds no key to check that with",
                    hint="name a copy of the publisher's keyring that you trust: --keyring FILE",
                )
            yield root

    with open_keyring(choice, keyring) as keys:
        report = verify_at_rest(look, keys, find_own_memory(context, repo, choice))
    root, is_signed, suites = seen[-1]
    if as_json:
        output.print_json(asdict(report))
    else:
        for line in report.surplus:
            output.say(f"not published: {line}")
        for line in report.unfinished:
            output.say(f"unfinished: {line}")
        if report.unfinished:
            output.say("a publish runs, or was killed; apt reads a whole state, and the next publish ends it")
        if is_signed:
            output.say(f"signatures of {', '.join(report.keys)}, from {keyring or choice.folder}")
        else:
            output.warn("nothing is signed")
        output.say(f"checked {report.checked} files of {', '.join(suites)}")
    if report.faults:
        raise IntegrityError(
            report.faults[0] if len(report.faults) == 1 else f"{len(report.faults)} faults in the repository {root}",
            details=report.faults if len(report.faults) > 1 else (),
            hint="publish again what is missing, roll back to a whole snapshot, or restore from a copy",
        )
