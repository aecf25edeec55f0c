"""The repository that the options of a command name: to be looked at, or to be changed with the publisher's keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import typer

from hapkg.control import Suite
from hapkg.errors import UsageError
from hapkg.recipe.settings import Project
from hapkg.repository.change import PublishTarget
from hapkg.repository.indexes import find_suites
from hapkg.repository.keys.signing import KeyChoice
from hapkg.repository.last_published import Memory, Published, find_gone, find_memory, read_published
from hapkg.repository.remote.location import Location, parse_location
from hapkg.repository.remote.sync import open_repository
from hapkg.repository.sources_file import Identity, find_url, is_address, is_folder_address


@contextmanager
def open_target(
    context: typer.Context,
    repo: str | None,
    keys: Sequence[str] | None,
    unsigned: bool,
    url: str | None,
    wait: float,
    *,
    shared: bool,
    change: bool = True,
    adopt: bool = False,
    ended: Suite | None = None,
) -> Iterator[PublishTarget]:
    """Open the repository that the options name, to be changed. Raises UsageError when there is none.

    `ended`: a suite that the caller ends.
    """
    project: Project = context.obj.project
    choice = make_choice(context, keys, unsigned)
    memory = find_own_memory(context, repo, choice)
    with memory.keep() as states, open_root(context, repo, change=change, wait=wait) as root:
        yield make_target(project, root, choice, url, wait, shared=shared, memory=memory, adopt=adopt)
        if change:
            states.update(read_published(root))
        if adopt:
            states.update(find_gone(root, memory))
        if ended:
            states[ended] = Published(digest="", date=datetime.now(UTC))


def find_own_memory(context: typer.Context, repo: str | None, choice: KeyChoice) -> Memory:
    """The memory, beside the keys, of the repository that --repo names or the project's own."""
    location = find_location(context, repo)
    return find_memory(choice.home, str(location.resolve() if isinstance(location, Path) else location))


def make_target(
    project: Project,
    root: Path,
    choice: KeyChoice,
    url: str | None,
    wait: float,
    *,
    shared: bool,
    memory: Memory,
    adopt: bool = False,
) -> PublishTarget:
    """A repository in a folder, as the options and the project's settings have it. Raises UsageError for a bad URL."""
    check_address(url)
    return PublishTarget(
        root=root.absolute(),
        identity=make_identity(project),
        choice=choice,
        url=url or "",
        timeout=wait,
        shared=shared,
        memory=memory,
        adopt=adopt,
    )


def check_address(url: str | None) -> None:
    """Raise UsageError for a --url that no .sources file can hold."""
    if url and not is_address(url) and not is_folder_address(url):
        raise UsageError(f"--url {url!a} is no address of a repository", hint="say --url https://HOST/FOLDER/")


def make_choice(context: typer.Context, keys: Sequence[str] | None, unsigned: bool) -> KeyChoice:
    """The choice of keys that the options make."""
    if keys and unsigned:
        raise UsageError("--key and --unsigned contradict each other", hint="drop one of them")
    return KeyChoice(home=context.obj.keys, names=tuple(keys or ()), unsigned=unsigned)


def make_identity(project: Project) -> Identity:
    """Identity of the publisher, by the project's settings."""
    settings = project.settings
    return Identity(
        origin=settings.origin,
        label=settings.label,
        maintainer=settings.maintainer,
        name=settings.stack_package,
        valid_days=settings.valid_days,
    )


def find_location(context: typer.Context, repo: str | None) -> Location:
    """Location of the repository that --repo names, which needs no project, or of the project's own."""
    return parse_location(repo, Path.cwd()) if repo else context.obj.project.repository


def find_root(context: typer.Context, repo: str | None) -> Path:
    """The repository that the options name, as a folder to look at. Raises UsageError when there is none."""
    return context.with_resource(open_root(context, repo))


def check_url(project: Project, root: Path, location: Location, url: str | None) -> None:
    """Raise UsageError when nobody said how nodes reach a repository that is not on this machine."""
    if not isinstance(location, Path) and not (url or find_url(root, make_identity(project))):
        raise UsageError(f"how nodes reach {location} is not known", hint="say it once: --url https://HOST/FOLDER/")


@contextmanager
def open_root(context: typer.Context, repo: str | None, *, change: bool = False, wait: float = 0) -> Iterator[Path]:
    """The repository that the options name, as a folder. Raises UsageError when there is none."""
    location = find_location(context, repo)
    with open_repository(location, context.obj.store.state, change=change, timeout=wait) as root:
        if not find_suites(root):
            raise UsageError(f"{location} is not a published repository", hint=f"run: hapkg publish --repo {location}")
        yield root
