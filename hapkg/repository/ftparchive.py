"""apt-ftparchive, which makes the index entries of incoming packages. It runs here alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hapkg.disk import make_scratch, remove_tree
from hapkg.errors import RepositoryError
from hapkg.programs.process import describe_status
from hapkg.repository.coprocess import converse
from hapkg.repository.indexes import COMPONENTS

_CONFIGURATION = """\
Dir {{ ArchiveDir "."; FileListDir "{scratch}"; CacheDir "{scratch}"; }};
Default {{ Packages::Compress "."; Sources::Compress "."; Contents::Compress "."; }};
TreeDefault {{
  FileList "$(SECTION).deb"; SourceFileList "$(SECTION).dsc";
  Packages "{scratch}/$(SECTION)/binary-$(ARCH)/Packages"; Sources "{scratch}/$(SECTION)/source/Sources";
  Contents "{scratch}/$(SECTION)/Contents-$(ARCH)";
}};
Tree "new" {{ Sections "{components}"; Architectures "{architectures} source"; }};
"""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Index entries of some packages, by apt-ftparchive."""

    paths: tuple[str, ...]
    """Of .deb and .dsc files, sorted."""
    architectures: tuple[str, ...]
    indexes: dict[str, bytes]
    """By their path below a suite's folder; of a component without such packages there are none."""
    messages: tuple[str, ...]
    """Its complaints."""


@contextmanager
def begin_reading(folder: Path, paths: Sequence[str], architectures: Sequence[str]) -> Iterator[Callable[[], Reading]]:
    """Start apt-ftparchive on packages below a folder, where they stay until the caller has waited for the result.

    It leaves out what it cannot read. Raises RepositoryError, when waited for, if it failed.
    """
    paths = sorted(paths)
    scratch = make_scratch(folder, ".index-")
    try:
        names = _prepare(scratch, paths, architectures)
        with converse(["apt-ftparchive", "-q", "generate", str(scratch / "indexes.conf")], cwd=folder) as program:

            def finish() -> Reading:
                done = program.finish()
                if done.status != 0:
                    raise RepositoryError(
                        f"the indexes cannot be made: apt-ftparchive failed with {describe_status(done.status)}",
                        details=done.output.splitlines()[-12:],
                        hint="see whether the disk is full",
                    )
                return Reading(
                    paths=tuple(paths),
                    architectures=tuple(architectures),
                    indexes={name: (scratch / name).read_bytes() for name in names},
                    messages=tuple(line for line in done.output.splitlines() if line.startswith(("E:", "W:"))),
                )

            yield finish
    finally:
        remove_tree(scratch)


def _prepare(scratch: Path, paths: Sequence[str], architectures: Sequence[str]) -> list[str]:
    """Write lists of the packages and a configuration; return the names of the indexes to come."""
    components = [name for name in COMPONENTS if any(path.split("/")[2] == name for path in paths)]
    for component in components:
        for suffix in (".deb", ".dsc"):
            listed = [path for path in paths if path.endswith(suffix) and path.split("/")[2] == component]
            (scratch / f"{component}{suffix}").write_text("".join(f"{path}\n" for path in listed), "utf-8")
    names = name_indexes(components, architectures)
    for name in names:
        (scratch / name).parent.mkdir(parents=True, exist_ok=True)
    configuration = _CONFIGURATION.format(
        scratch=scratch, components=" ".join(components), architectures=" ".join(architectures)
    )
    (scratch / "indexes.conf").write_text(configuration, "utf-8")
    return names


def name_indexes(components: Sequence[str], architectures: Sequence[str]) -> list[str]:
    """The plain index files of a suite, by path below it: those that Contents are made of come before them."""
    kinds = [*(f"binary-{name}/Packages" for name in architectures), "source/Sources"]
    kinds += [f"Contents-{name}" for name in architectures]
    return [f"{component}/{kind}" for component in components for kind in kinds]
