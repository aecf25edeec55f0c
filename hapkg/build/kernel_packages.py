"""Kernel modules: a package for each kernel that the configuration names. docs/kernel-modules.md tells how it is used.

A recipe of style kernel-module or external-module gives the source that module-assistant builds from. For every kernel
it gets a companion here, a recipe of style kernel-package whose build calls module-assistant. A companion is a source
like any other from then on: planned, keyed, built in a clean chroot, kept and published by the same code.

Which kernels a suite has is read from the index of its base chroot, which is also the one that builds install from.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hapkg.apt.query import query_root
from hapkg.chroot.schroot import Chroot, find_chroot
from hapkg.control import SourceName, Suite
from hapkg.distribution import Distribution
from hapkg.errors import ConfigError, did_you_mean
from hapkg.locations import State
from hapkg.recipe.model import Package, Recipe
from hapkg.recipe.selection import find_kernels
from hapkg.recipe.settings import DEFAULT_KERNEL, Project, Settings
from hapkg.recipe.style import EXTERNAL_MODULE, KERNEL_PACKAGE, Style

HEADERS = "linux-headers-"
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+.*(?<!-common)(?<!-common-rt)\Z")
_HIGHEST_FIRST = 5


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """The kernels of a suite, by what its archive can build modules for."""

    default: str
    """The one that the suite's own package of headers is for."""
    series: str
    """Of the suite's kernel source: 6.1."""
    source: str
    """The package that depends on that: linux-source."""
    available: tuple[str, ...]
    """Those that have headers, of any series, the newest first."""


@functools.cache  # a run asks for its recipes and for its targets, and the index of a base never changes
def read_kernels(base: Chroot, headers: str, source: str) -> Kernels:
    """Kernels that the apt index inside a base chroot knows. apt keeps its digest of the index beside the chroot.

    headers is the package that depends on the headers of the suite's own kernel, source the one for its source.
    """
    cache = base.folder / "apt"
    wanted = ["apt-cache", "depends", "--important", headers, source]
    depends = query_root(base.root, cache, wanted, check=False)
    names = query_root(base.root, cache, ["apt-cache", "pkgnames", HEADERS], check=False)
    return parse_kernels(depends, names, source)


def parse_kernels(depends: str, names: str, source: str) -> Kernels:
    """Kernels from what `apt-cache depends` and `apt-cache pkgnames` print."""
    default = re.search(rf"^  Depends: {HEADERS}([0-9]\S*)$", depends, re.MULTILINE)
    series = re.search(rf"^  Depends: {re.escape(source)}-([0-9.]+)$", depends, re.MULTILINE)
    found = {name.removeprefix(HEADERS) for name in names.split()}
    found -= {name.rpartition("-")[0] for name in found}  # 6.8.0-31: what the flavours of 6.8.0-31-generic share
    return Kernels(
        default=default[1] if default else "",
        series=series[1] if series else "",
        source=source,
        available=tuple(sorted(filter(_VERSION.match, found), key=_rank)),
    )


def needs_chroot(settings: Settings, suite: Suite, state: State) -> bool:
    """True when the base chroot must be made before a plan: the suite's kernels are read from it."""
    return bool(settings.kernels.get(suite)) and find_chroot(state, suite) is None


def add_packages(
    recipes: Mapping[SourceName, Recipe], project: Project, suite: Suite, state: State, architecture: str
) -> dict[SourceName, Recipe]:
    """The recipes and, for each kernel of the suite, the companions of those that are kernel modules.

    Without a base chroot the default kernel is not known yet, and has none.
    """
    named = {name: find_kernels(recipe, project.settings, suite) for name, recipe in recipes.items() if recipe.module}
    base = find_chroot(state, suite) if any(DEFAULT_KERNEL in words for words in named.values()) else None
    default = (_read(base, project.distributions[suite], architecture).default or DEFAULT_KERNEL) if base else None
    made: dict[SourceName, Recipe] = {}
    for name, words in named.items():
        kernels = [word for word in words if word != DEFAULT_KERNEL]
        kernels += [default] if default and DEFAULT_KERNEL in words else []
        for kernel in kernels:
            package = make_package(recipes[name], kernel)
            made[package.name] = package
    return {**recipes, **made}


def make_package(recipe: Recipe, kernel: str) -> Recipe:
    """The companion of a kernel module's recipe for one kernel."""
    if recipe.module is None:
        raise AssertionError("the recipe of a kernel module has its module")
    name = name_package(recipe, kernel)
    package = Package.model_construct(
        package=name,
        synopsis=f"{recipe.module.synopsis} for Linux {kernel}",
        description=recipe.module.description,
        outside_prefix=tuple(f"lib/modules/{kernel}/updates/{object_}.ko" for object_ in recipe.module.objects),
    )
    update = {
        "source": name,
        "style": Style(name=KERNEL_PACKAGE, native=True),
        "values": {"kernel": kernel, "module_style": recipe.style.name},
        "build_depends": ("module-assistant", f"{HEADERS}{kernel}", recipe.packages[0].package),
        "lintian_overrides": (),
        "packages": (package,),
        # Its source is the module's package, whatever that was made of.
        **{"upstream": None, "signature": None, "origins": (), "remote_patches": (), "patches": (), "advisories": ()},
        "optional": None,
        "folder": recipe.folder / KERNEL_PACKAGE,  # there is none: what the recipe's debian/ says is for its own build
    }
    return recipe.model_copy(update=update)


def name_package(recipe: Recipe, kernel: str) -> SourceName:
    """The name of a module's package for one kernel, and of its source: ha-drbd-modules-KERNEL of ha-drbd-module."""
    return SourceName(f"{recipe.source}s-{kernel}")


def check_kernels(recipes: Iterable[Recipe], project: Project, suite: Suite, state: State, architecture: str) -> None:
    """Refuse companions that cannot be built. Raises ConfigError naming kernel, key and what there is instead."""
    values = [recipe.values for recipe in recipes if recipe.style.name == KERNEL_PACKAGE]
    wanted = sorted({(value["kernel"], value["module_style"] == EXTERNAL_MODULE) for value in values})
    base = find_chroot(state, suite) if wanted else None
    if base is not None:
        kernels = _read(base, project.distributions[suite], architecture)
        for kernel, any_series in wanted:
            check_kernel(kernel, kernels, suite, any_series=any_series)


def check_kernel(kernel: str, kernels: Kernels, suite: Suite, *, any_series: bool = False) -> None:
    """Refuse a kernel without headers, or of another series than the source of the kernel's own modules.

    Raises ConfigError.
    """
    usable = [name for name in kernels.available if any_series or _is_of(name, kernels.series)]
    if kernel in usable:
        return
    key = f"pyproject.toml, [tool.hapkg.kernels] {suite}"
    details = (f"kernels with headers in {suite}: {_shorten(usable)}", f"default: {kernels.default or 'none'}")
    hint = f'name one of these, or "{DEFAULT_KERNEL}" to follow the suite; hapkg chroot update reads them anew'
    if kernel in kernels.available:
        raise ConfigError(
            f"{key}: kernel {kernel} is not of the series {kernels.series}, which {kernels.source} of {suite} is of",
            details=details,
            hint=hint,
        )
    if guess := did_you_mean(kernel, usable):
        hint = f"{guess} Or {hint}"
    raise ConfigError(f"{key}: kernel {kernel} has no {HEADERS}{kernel} in {suite}", details=details, hint=hint)


def _read(base: Chroot, distribution: Distribution, architecture: str) -> Kernels:
    return read_kernels(base, distribution.name_kernel_headers(architecture), distribution.kernel_source)


def _is_of(kernel: str, series: str) -> bool:
    return kernel.startswith((f"{series}.", f"{series}-"))  # Debian's 6.1 of 6.1.0-38-amd64, Ubuntu's 6.8.0


def _shorten(kernels: Sequence[str]) -> str:
    more = len(kernels) - _HIGHEST_FIRST
    shown = ", ".join(kernels[:_HIGHEST_FIRST]) or "none"
    return f"{shown} and {more} older" if more > 0 else shown


def _rank(kernel: str) -> tuple[tuple[int, ...], str]:
    """The newest first: by all numbers in the name, then by the name."""
    return tuple(-int(number) for number in re.findall(r"[0-9]+", kernel)), kernel
