"""Comparison of what came out with what was published, byte by byte; and diffoscope's report where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hapkg import disk
from hapkg.disk import sha256_file
from hapkg.locations import State
from hapkg.programs import confinement, launch, process

DIFFOSCOPE = "diffoscope"
_MOST_REPORT = 4 << 20
"""Bytes of a report."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One package: as it was published, and as it came out."""

    file: str
    sha256: str
    found: str
    """sha256 of what came out; "" where none of this name did."""
    report: Path | None = None
    """diffoscope's report, where they differ and it is installed."""

    @property
    def identical(self) -> bool:
        """True where every byte is the same."""
        return self.sha256 == self.found


def compare(debs: Mapping[str, Path], made: Path, label: str, state: State) -> tuple[Comparison, ...]:
    """Compare published packages with those of the same names in a folder; label names the rebuild in file names."""
    found = []
    for name, deb in sorted(debs.items()):
        sha256, other = sha256_file(deb), sha256_file(made / name) if (made / name).exists() else ""
        report = None if other in (sha256, "") else _describe(deb, made / name, f"{name}.{label}.txt", state)
        found.append(Comparison(file=name, sha256=sha256, found=other, report=report))
    return tuple(found)


def _describe(deb: Path, other: Path, name: str, state: State) -> Path | None:
    """Have diffoscope write down what differs; None where it is not installed. It reads bytes of others: confined."""
    if launch.find_program(DIFFOSCOPE) is None:
        return None
    folder = state.rebuilt / "differences"
    disk.make_folder(folder)
    work = disk.make_scratch(folder, ".new-")
    work.chmod(0o755)
    try:
        (work / "tmp").mkdir()
        names = []
        for kind, file in (("published", deb), ("rebuilt", other)):
            (work / kind).mkdir()
            names.append(str(work / kind / deb.name))
            Path(names[-1]).write_bytes(file.read_bytes())
        limits = ["--max-report-size", str(_MOST_REPORT), "--max-text-report-size", str(_MOST_REPORT)]
        done = confinement.run(
            [DIFFOSCOPE, "--no-progress", *limits, "--text", str(work / "report"), *names],
            writable=work,
            environment={"TMPDIR": str(work / "tmp"), "HOME": str(work / "tmp")},
            check=False,
        )
        report = work / "report"
        if report.is_symlink() or not report.is_file():
            report.unlink(missing_ok=True)
            report.write_text(f"diffoscope ended with {process.describe_status(done.status)}\n{done.output}", "utf-8")
        disk.settle(report)
        disk.move({report: folder / name})
        return folder / name
    finally:
        disk.remove_tree(work)
