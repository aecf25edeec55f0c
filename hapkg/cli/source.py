"""hapkg shell, source, patch: the tree of a source, in its build or to work on its patches."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from hapkg.build.context import open_context
from hapkg.build.run import enter_source
from hapkg.chroot.base import BUILD_USER
from hapkg.cli import output
from hapkg.cli.options import MirrorOption, SuiteOption
from hapkg.cli.select import find
from hapkg.errors import UsageError
from hapkg.recipe.model import Recipe
from hapkg.source.fetch import fetch, fetch_patches
from hapkg.source.work_tree import make_work_tree, take_patches

app = typer.Typer()
NameArgument = Annotated[str, typer.Argument(help="Recipe or package.")]
FolderArgument = Annotated[
    Path | None, typer.Argument(help="Folder of the tree [default: SOURCE-VERSION].", metavar="[DIR]")
]


@app.command()
def shell(
    context: typer.Context,
    name: NameArgument,
    command: Annotated[
        list[str] | None, typer.Argument(help="Command to run [default: a shell].", metavar="[-- COMMAND...]")
    ] = None,
    suite: SuiteOption = None,
    mirror: MirrorOption = None,
    root: Annotated[bool, typer.Option("--root", help="As root of the session, not as the build user.")] = False,
) -> None:
    """Enter the clean chroot of a build: the tree is unpacked and patched, exports.sh is loaded."""
    build_context = open_context(context.obj.project, context.obj.store, suite, mirror)
    recipe = find(build_context, name)
    with build_context.store.lock(), enter_source(build_context, recipe.name) as (session, tree):
        lines = [f"cd {shlex.quote(tree)}", ". debian/exports.sh"]
        if not command:
            output.say(f"{recipe.source} as it is built for {build_context.suite}; exit ends it, and nothing stays")
            lines += [f"export TERM={shlex.quote(os.environ.get('TERM', 'dumb'))}"]
        argv = ["sh", "-c", " && ".join([*lines, 'exec "$@"']), "sh", *(command or ["bash"])]
        status = session.attach(argv, user="root" if root else BUILD_USER)
    raise typer.Exit(status if status >= 0 else 128 - status)


@app.command()
def source(
    context: typer.Context,
    name: NameArgument,
    folder: FolderArgument = None,
    suite: SuiteOption = None,
    mirror: MirrorOption = None,
) -> None:
    """Unpack a source as a git repository with a commit for each of its patches."""
    build_context = open_context(context.obj.project, context.obj.store, suite, mirror)
    recipe = find(build_context, name)
    tree = _name_tree(recipe, folder)
    state, archive = build_context.store.state, build_context.debian_mirror
    with build_context.store.lock():
        tarball = fetch(recipe, state, archive)
        make_work_tree(recipe, tarball.path, fetch_patches(recipe, state, archive), tree)
    output.say(f"wrote {tree}")
    output.print_lines([f"cd {tree}", f"hapkg patch {recipe.source} {tree}"])


@app.command()
def patch(context: typer.Context, name: NameArgument, folder: FolderArgument = None, suite: SuiteOption = None) -> None:
    """Take the commits of such a repository back as the recipe's patches."""
    recipe = find(open_context(context.obj.project, context.obj.store, suite, None), name)
    changed = take_patches(recipe, _name_tree(recipe, folder))
    for name_of_patch in changed:
        output.say(f"changed {recipe.folder / 'patches' / name_of_patch}")
    if not changed:
        output.say("nothing changed")


def _name_tree(recipe: Recipe, folder: Path | None) -> Path:
    """The folder of a source's tree. Raises UsageError for a source that is nothing but debian/."""
    if recipe.native:
        raise UsageError(f"{recipe.source} has no upstream", hint=f"its files are in {recipe.folder / 'debian'}")
    return (folder or Path(f"{recipe.source}-{recipe.version}")).absolute()
