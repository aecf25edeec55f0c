"""A recipe's step to another release of upstream: prepared beside the recipe, made real by renames alone.

Everything that can fail happens on a copy. The recipe and the locks change when all of it has succeeded.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from hapkg import disk
from hapkg.apt.mirror import Mirror
from hapkg.build.context import BuildContext
from hapkg.control import SourceName, Suite
from hapkg.currency.bump_target import NewOrigins, Target, choose_target, find_origins
from hapkg.currency.debian_archive import DebianIndexes
from hapkg.currency.outdated import ask_remotes
from hapkg.currency.release_review import Change, compare_sets, list_files, list_switches
from hapkg.errors import FetchError, HapkgError, MachineError, ProcessError, SourceError, UsageError
from hapkg.locations import State
from hapkg.programs import process
from hapkg.recipe.model import RECIPE_FILE, Recipe, read_recipe
from hapkg.recipe.recipe_text import RecipeText
from hapkg.recipe.settings import Project
from hapkg.recipe.style import read_styles
from hapkg.recipe.upstream import SignaturePolicy
from hapkg.recipe.upstream_version import is_between
from hapkg.source.fetch import fetch, fetch_patches
from hapkg.source.lockfile import LockedSource, format_lock, lock_file, make_entry, read_lock
from hapkg.source.origins.repository import Commit
from hapkg.source.origins.tarball import download
from hapkg.source.patch_review import Fate, PatchReview, review_patches
from hapkg.source.unpack import unpack
from hapkg.source.vcs import find_commit, read_log

LOG_LINES = 40


@dataclass(frozen=True, kw_only=True)
class Bump:
    """A recipe that is ready to take the place of the present one, and what was seen on the way."""

    old: Recipe
    new: Recipe
    """Its folder is a copy, which goes when the block of prepare() ends."""
    entry: LockedSource
    """For the lock of every suite."""
    patches: tuple[PatchReview, ...]
    log: tuple[str, ...]
    """Upstream's newest commits between the two, or nothing where upstream was not asked."""
    files: Change
    switches: Change
    lost_switches: tuple[str, ...]
    """Switches that the recipe gives and upstream no longer takes."""
    notes: tuple[str, ...]


@contextmanager
def prepare(
    project: Project, recipe: Recipe, version: str | None, *, indexes: DebianIndexes, mirror: Mirror, state: State
) -> Iterator[Bump]:
    """Make a recipe's next release ready; indexes are Debian's versions as of now. The caller holds the store's lock.

    Raises UsageError where there is nothing to take, FetchError where it cannot be had, SourceError where a patch does
    not apply, and whatever reading the new recipe and its source raise. The recipe stays as it is.
    """
    if recipe.upstream is None:
        raise UsageError(f"{recipe.source} has no upstream", hint="its recipe is the whole source")
    target = choose_target(recipe, version, indexes, ask_remotes(recipe, state))
    with Workplace(project, recipe, state) as place:
        origins = find_origins(recipe, target, indexes, place.scratch)
        yield _Preparation(place, recipe, target, mirror, state).run(origins)


class Workplace:
    """A copy of a recipe on which a change is tried; it goes at the end of a `with` block."""

    def __init__(self, project: Project, recipe: Recipe, state: State) -> None:
        self._project, self._recipe, self._state = project, recipe, state
        disk.make_folder(state.sources)
        self.scratch = disk.make_scratch(state.sources, ".bump-")
        """A folder for anything."""
        self.folder = self.scratch / "recipes" / recipe.folder.name
        self.text = RecipeText((recipe.folder / RECIPE_FILE).read_text("utf-8"))
        """The recipe's text; read() writes it."""

    def __enter__(self) -> Self:
        shutil.copytree(self._recipe.folder, self.folder, ignore=shutil.ignore_patterns(".*.new"))
        return self

    def __exit__(self, *_: object) -> None:
        disk.remove_tree(self.scratch)

    def read(self) -> Recipe:
        """The copy as it stands now, checked as every recipe is. Raises RecipeError."""
        disk.replace(self.folder / RECIPE_FILE, str(self.text).encode())
        prefix, templates = self._project.settings.package_prefix, self._project.templates
        return read_recipe(self.folder, package_prefix=prefix, styles=read_styles(templates))

    def read_patches(self, recipe: Recipe, mirror: Mirror) -> list[tuple[str, bytes, bool]]:
        """The patches of the recipe as it stands now, in their order: name, content, and True for its own."""
        own = self.folder / "patches"
        fetched = fetch_patches(recipe, self._state, mirror).items()
        remote = ((name, content, False) for name, content in fetched)
        return [*remote, *((one.name, (own / one.name).read_bytes(), True) for one in recipe.patches)]

    def drop_patches(self, recipe: Recipe, names: Collection[str]) -> None:
        """Take patches out of the recipe as it stands now; comments in series stay."""
        self.text.drop_remote_patches(
            [place for place, patch in enumerate(recipe.remote_patches) if patch.name in names]
        )
        folder = self.folder / "patches"
        own = [patch.name for patch in recipe.every_patch if patch.name in names]
        for name in own:
            (folder / name).unlink()
        if own:
            lines = (folder / "series").read_text("utf-8").splitlines(keepends=True)
            kept = [line for line in lines if line.split("#")[0].strip() not in own]
            disk.replace(folder / "series", "".join(kept).encode())

    def add_patch(self, name: str, content: bytes) -> None:
        """Put a patch at the end of the series."""
        series = self.folder / "patches/series"
        before = series.read_text("utf-8") if series.exists() else ""
        disk.make_folder(series.parent)
        disk.replace(series.parent / name, content)
        disk.replace(series, f"{before}{'' if before.endswith(chr(10)) or not before else chr(10)}{name}\n".encode())


def unpack_source(recipe: Recipe, tarball: Path, tree: Path) -> Path:
    """Unpack a release as the folder tree, which does not exist yet."""
    tree.mkdir(parents=True)
    unpack(recipe, tarball, tree)
    return tree


class _Preparation:
    """The steps between a target and a recipe of it."""

    def __init__(self, place: Workplace, recipe: Recipe, target: Target, mirror: Mirror, state: State) -> None:
        self._place, self._old, self._target = place, recipe, target
        self._mirror, self._state = mirror, state
        self._folder, self._text = place.folder, place.text
        self._notes: list[str] = []

    def run(self, origins: NewOrigins) -> Bump:
        """Edit, fetch, compare, try the patches; and read the recipe that comes of it."""
        self._notes += origins.notes
        self._text.set_release(self._target.version, tag=self._target.tag, commit=self._target.commit)
        self._text.drop_homes(self._target.left)
        self._text.set_origins(origins.changes, origins.dropped)
        self._take_signature(origins)
        ended = self._drop_ended()
        draft = self._place.read()
        tarball = fetch(draft, self._state, self._mirror)
        tree = unpack_source(draft, tarball.path, self._place.scratch / "new/tree")
        entry = make_entry(draft, tarball, tree)
        commits = self._find_commits(draft)
        self._text.set_date(commits[1].date if commits else _find_newest(tree))
        old_tree = self._unpack_old()
        files = compare_sets(list_files(old_tree), list_files(tree)) if old_tree else Change(new=(), gone=())
        taken = list_switches(tree)
        switches = compare_sets(list_switches(old_tree), taken) if old_tree else Change(new=(), gone=())
        reviews = (*ended, *self._review(draft, tree))
        new = self._place.read()
        return Bump(
            old=self._old,
            new=new,
            entry=entry.model_copy(update={"patches": {patch.name: patch.sha256 for patch in new.remote_patches}}),
            patches=reviews,
            log=tuple(read_log(*commits, LOG_LINES + 1)) if commits else (),
            files=files,
            switches=switches,
            lost_switches=tuple(word for word in new.switches if word.partition("=")[0] in switches.gone),
            notes=tuple(self._notes),
        )

    def _take_signature(self, origins: NewOrigins) -> None:
        """Fetch the detached signature of the new tarball, unless somebody has put it beside the recipe already."""
        signature = self._old.signature
        if signature is None or signature.policy is not SignaturePolicy.PGP_TARBALL or signature.file is None:
            return
        name = signature.file.replace(self._old.version, self._target.version)
        file = self._folder / name
        if name != signature.file and not file.exists():
            url = next((values["url"] for values in origins.changes.values() if "url" in values), "")
            try:
                download(f"{url}{Path(name).suffix}", file)
            except FetchError as error:
                file.unlink(missing_ok=True)
                raise FetchError(
                    f"{self._old.source}: the signature of version {self._target.version} cannot be had",
                    details=[error.brief],
                    hint=f"put {name} into {self._old.folder}, and try again",
                ) from error
        if name != signature.file:
            (self._folder / signature.file).unlink()
        self._text.set_signature(name)

    def _find_commits(self, draft: Recipe) -> tuple[Commit, Commit] | None:
        """The commits of both tags, or None where upstream's repository does not answer."""
        if not self._target.commit:
            self._notes.append(f"the commit of {self._target.tag} is not known: upstream's repository did not answer")
            return None
        new = find_commit(draft, self._target.kind, None, self._state)
        try:
            return find_commit(self._old, self._target.kind, None, self._state), new
        except HapkgError as error:
            self._notes.append(f"no log: {error.brief}")
            return new, new

    def _unpack_old(self) -> Path | None:
        """The present release, if it can still be had."""
        try:
            tarball = fetch(self._old, self._state, self._mirror).path
            return unpack_source(self._old, tarball, self._place.scratch / "old/tree")
        except HapkgError as error:
            self._notes.append(f"not compared with {self._old.version}: {error.brief}")
            return None

    def _review(self, draft: Recipe, tree: Path) -> tuple[PatchReview, ...]:
        """Try every patch on the new tree, and bring the copy to the result. Raises SourceError where one fails."""
        reviews = review_patches(tree, self._place.read_patches(draft, self._mirror))
        failed = [review for review in reviews if review.fate is Fate.FAILED]
        if failed:
            words = [line for review in failed for line in (review.name, *(f"  {told}" for told in review.details))]
            raise SourceError(
                f"{draft.source}: {len(failed)} of {len(reviews)} patches do not apply to version {draft.version}",
                details=words,
                hint="carry them over by hand, or remove those that the new version needs no more; nothing was changed",
            )
        for review in reviews[len(draft.remote_patches) :]:
            disk.replace(self._folder / "patches" / review.name, review.content)
        self._place.drop_patches(draft, {review.name for review in reviews if review.fate is Fate.DROPPED})
        return reviews

    def _drop_ended(self) -> tuple[PatchReview, ...]:
        """Take out the patches that the new version has by the recipe's own word."""
        version = self._target.version
        every = (*self._old.remote_patches, *self._old.every_patch)
        ended = [patch.name for patch in every if not is_between(version, None, patch.until)]
        self._place.drop_patches(self._old, ended)
        return tuple(PatchReview(name=name, fate=Fate.DROPPED, content=b"") for name in ended)


def make_context(context: BuildContext, bump: Bump) -> BuildContext:
    """A context in which the new recipe stands in the old one's place, and is locked."""
    lock = context.lock and replace(context.lock, sources={**context.lock.sources, bump.new.name: bump.entry})
    return replace(context, recipes={**context.recipes, bump.new.name: bump.new}, lock=lock)


def settle(project: Project, bump: Bump) -> tuple[Path, ...]:
    """Put the new recipe and its entry in every lock in place; the paths that changed.

    New content is on the disk under other names before the first rename; a failure in between brings the old content
    back. Raises MachineError.
    """
    target, source = bump.old.folder, bump.new.folder
    before, after = list_files(target), list_files(source)
    contents = {target / name: (source / name).read_bytes() for name in sorted(after)}
    contents |= _make_locks(project, bump.new.name, bump.entry)
    changed = [file for file, content in contents.items() if not file.exists() or file.read_bytes() != content]
    gone = [target / name for name in sorted(before - after)]
    with _restore((*changed, *gone)):
        with disk.Batch() as batch:
            batch.replace({file: contents[file] for file in changed})
        for file in gone:
            file.unlink()
    with contextlib.suppress(OSError):  # it is none, or not empty
        (target / "patches").rmdir()
    return (*changed, *gone)


@contextmanager
def _restore(files: Sequence[Path]) -> Iterator[None]:
    """Bring files back to what they are now, if the block fails. Raises MachineError for an OSError of it."""
    before = {file: file.read_bytes() if file.exists() else None for file in files}
    try:
        yield
    except BaseException as error:
        for file, content in before.items():
            with contextlib.suppress(OSError):
                file.with_name(f".{file.name}.new").unlink()
            with contextlib.suppress(OSError):
                if content is None:
                    file.unlink()
                elif not file.exists() or file.read_bytes() != content:
                    disk.replace(file, content)
        if isinstance(error, OSError):
            raise MachineError(
                f"{error.filename} cannot be written: {error.strerror}",
                hint="nothing was changed; mend it, and try again",
            ) from error
        raise


def _make_locks(project: Project, source: SourceName, entry: LockedSource) -> dict[Path, bytes]:
    """Content of the locks that have the source, with its new entry."""
    found: dict[Path, bytes] = {}
    for name in project.settings.suites:
        suite = Suite(name)
        lock = read_lock(project.root, suite)
        if lock and source in lock.sources:
            found[lock_file(project.root, suite)] = format_lock(suite, {**lock.sources, source: entry})
    return found


def _find_newest(tree: Path) -> datetime:
    """The time of the newest file of an unpacked release."""
    newest = max(int((tree / name).lstat().st_mtime) for name in list_files(tree))
    return datetime.fromtimestamp(newest, UTC)


def check_clean(project: Project, recipe: Recipe) -> None:
    """Refuse a recipe or locks with changes that no commit has. Raises UsageError."""
    paths = [str(recipe.folder), str(lock_file(project.root, Suite("")).parent)]
    told = process.run(["git", "-C", str(project.root), "status", "--porcelain", "--", *paths], check=False)
    if told.status != 0:
        raise UsageError(f"{project.root} is no checkout of git", details=told.output.splitlines()[-3:])
    if told.output.strip():
        raise UsageError(
            f"{recipe.source} has changes that are not committed",
            details=told.output.splitlines(),
            hint="commit them first, or leave out --commit",
        )


def commit(project: Project, bump: Bump, paths: Sequence[Path]) -> str:
    """Commit these paths alone, as the user's git is configured; the commit's short id.

    Where git refuses, the paths are what they were in HEAD. Raises ProcessError.
    """
    git = ["git", "-C", str(project.root)]
    names = [str(path) for path in paths]
    fates = [f"{review.name}: {review.fate}" for review in bump.patches]
    message = [f"{bump.new.folder.name} {bump.new.version}", f"Before: {bump.old.version}.", "\n".join(fates)]
    try:
        process.run([*git, "add", "--all", "--", *names])
        process.run([*git, "commit", "-q", "--only", *(f"--message={text}" for text in message if text), "--", *names])
    except ProcessError:
        process.run([*git, "reset", "-q", "--", *names], cleanup=True)
        for path in paths:
            if process.run([*git, "checkout", "-q", "HEAD", "--", str(path)], check=False, cleanup=True).status != 0:
                path.unlink(missing_ok=True)  # HEAD does not have it
        raise
    return process.run([*git, "rev-parse", "--short", "HEAD"]).output.strip()
