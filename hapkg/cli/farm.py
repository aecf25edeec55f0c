"""hapkg worker; and the workers that build-all and build are told to use."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hapkg.build.context import BuildContext
from hapkg.cli import output
from hapkg.cli.options import BuildOptions, Context
from hapkg.errors import MachineError, UsageError
from hapkg.host import count_cores

if TYPE_CHECKING:
    from hapkg.build.run import Farm

app = typer.Typer()


@app.command()
def worker(
    context: typer.Context,
    scheduler: Annotated[str, typer.Option(help="Address of Dask's scheduler.", metavar="tls://HOST:PORT")],
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Sources compiled at the same time [default: the cores].")
    ] = None,
    build_cache: Annotated[
        str | None,
        typer.Option(
            "--build-cache", help="The build cache as this machine reaches it [default: as coordinators name it]."
        ),
    ] = None,
) -> None:
    """Build what coordinators on other machines order, until it is stopped."""
    _check_scheduler(scheduler)
    with _told_of_dask():
        from hapkg.farm.worker import Bench, serve  # noqa: PLC0415 - Dask takes a second, and few have it

    store = context.obj.store
    with store.lock():
        bench = Bench(store=store, base=Path.cwd(), place=build_cache)
        serve(scheduler, bench, jobs=jobs or count_cores(), say=output.say)


@contextlib.contextmanager
def open_workers(context: Context, build_context: BuildContext, options: BuildOptions) -> Iterator[Farm | None]:
    """The workers that the options name; None where this machine builds. The caller holds the store's lock."""
    if options.scheduler is None and options.workers is None:
        yield None
        return
    if options.scheduler is not None and options.workers is not None:
        raise UsageError("--scheduler and --workers contradict each other", hint="drop one of them")
    scheduler = options.scheduler and _check_scheduler(options.scheduler)
    with _told_of_dask():
        from hapkg.farm.coordinator import open_farm  # noqa: PLC0415
        from hapkg.farm.local import open_local  # noqa: PLC0415

    place, base = options.build_cache or context.project.settings.build_cache, context.project.root
    if options.build_cache:
        base = Path.cwd()
    state = build_context.store.state
    with contextlib.ExitStack() as stack:
        if options.workers is not None:
            local = stack.enter_context(open_local(build_context.store, options.workers))
            scheduler, place = local.address, place or str(state.worker_files)
            yield stack.enter_context(open_farm(scheduler, place, base, security=local.security))
            return
        if not place or scheduler is None:
            raise UsageError(
                "files travel to workers through a build cache, and none is named",
                hint="say --build-cache, or set build-cache in [tool.hapkg]: a place that all machines reach",
            )
        yield stack.enter_context(open_farm(scheduler, place, base))


def _check_scheduler(address: str) -> str:
    """Raise UsageError for no address of a scheduler; say what tcp:// means where others may reach it."""
    found = re.fullmatch(r"(tcp|tls)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", address)
    if found is None or not 0 < int(found[3]) < 1 << 16:
        raise UsageError(
            f"{address[:200]!a} is no address of a scheduler", hint="say tls://HOST:PORT, or tcp://HOST:PORT"
        )
    if found[1] == "tcp" and not _is_own(found[2].strip("[]")):
        output.say(
            f"note: whoever reaches {address} runs code on its workers, as root where they are: "
            "use tls:// unless the network is yours alone; docs/workers.md shows how"
        )
    return address


def _is_own(host: str) -> bool:
    """True for an address of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def _told_of_dask() -> Iterator[None]:
    """Say how Dask is installed where it is not."""
    os.environ.setdefault("DASK_DISTRIBUTED__LOGGING__DISTRIBUTED", "critical")  # its words are for its developers
    try:
        yield
    except ImportError as error:
        raise MachineError(
            f"workers need the Python package distributed: {error}",
            hint="install it beside hapkg: pip install 'hapkg[dask]'",
        ) from error
