"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SuiteOption = Annotated[str | None, typer.Option("--suite", "-s", help="Debian suite to build for.", metavar="SUITE")]
MirrorOption = Annotated[str | None, typer.Option(help="Debian archive, instead of the host's own.", metavar="URL")]
JobsOption = Annotated[
    int | None, typer.Option("--jobs", "-j", min=1, help="Sources built at the same time [default: the cores].")
]
KeepGoingOption = Annotated[bool, typer.Option("--keep-going", "-k", help="Build what does not need a failed one.")]
LintianOption = Annotated[bool, typer.Option(help="Check the packages with lintian.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
NamesArgument = Annotated[list[str] | None, typer.Argument(help="Recipes or packages.", metavar="[NAME]...")]
RepoOption = Annotated[Path | None, typer.Option("--repo", help="Repository folder [default: ./apt].", metavar="DIR")]
KeyOption = Annotated[
    str | None, typer.Option("--key", help="Sign with this key of your own GnuPG [default: hapkg's own].")
]
UrlOption = Annotated[str | None, typer.Option(help="Where nodes will reach the repository [default: file:].")]
WaitOption = Annotated[float, typer.Option(help="Seconds to wait while another one publishes.", min=0)]
