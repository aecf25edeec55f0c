"""hapkg source, patch: the tree of a source to work on its patches, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hapkg.build.context import open_context
from hapkg.cli import output
from hapkg.cli.options import MirrorOption, SuiteOption
from hapkg.cli.select import find
from hapkg.errors import UsageError
from hapkg.recipe.model import Recipe
from hapkg.source.fetch import fetch, fetch_patch
from hapkg.source.work_tree import make_work_tree, take_patches

app = typer.Typer()
NameArgument = Annotated[str, typer.Argument(help="Recipe or package.")]
FolderArgument = Annotated[
    Path | None, typer.Argument(help="Folder of the tree [default: SOURCE-VERSION].", metavar="[DIR]")
]


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
    state, archive = build_context.store.state, build_context.mirror
    with context.obj.store.lock():
        tarball = fetch(recipe, state, archive)
        remote = {patch.name: fetch_patch(recipe, patch, state, archive) for patch in recipe.remote_patches}
        make_work_tree(recipe, tarball.path, remote, tree)
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
