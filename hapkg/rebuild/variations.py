"""Variations: each changes one condition of a build, which its packages must not depend on."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from hapkg.chroot.conditions import FAKETIME, LOCALES, Conditions
from hapkg.errors import UsageError, did_you_mean

DAYS = 400
UMASK = "0077"
LOCALE = "tr_TR.UTF-8"
"""Its small i has another capital, its decimals a comma."""


@dataclass(frozen=True, kw_only=True)
class Variation:
    """One variation."""

    tells: str
    """The change, in words."""
    apply: Callable[[Conditions], Conditions]
    tools: tuple[str, ...] = ()
    """Packages of the archive that it needs in the session, which no build dependency is."""


def _export(**values: str) -> Callable[[Conditions], Conditions]:
    return lambda conditions: replace(conditions, exports={**conditions.exports, **values})


def _set_locale(conditions: Conditions) -> Conditions:
    make = f"localedef -i {LOCALE.partition('.')[0]} -f UTF-8 {LOCALE}"
    return replace(_export(LC_ALL=LOCALE, LANG=LOCALE)(conditions), setup=(*conditions.setup, make))


def _put_before(*words: str) -> Callable[[Conditions], Conditions]:
    return lambda conditions: replace(conditions, command=(*conditions.command, *words))


VARIATIONS: Mapping[str, Variation] = {
    "path": Variation(
        tells="in another folder, of another depth",
        apply=lambda conditions: replace(conditions, folder="/var/tmp/another/way/to-the-tree"),
    ),
    "user": Variation(
        tells="by another account, with another number and a home",
        apply=lambda conditions: replace(conditions, user="somebody", uid=31415),
    ),
    "host": Variation(
        tells="on a machine of another name", apply=lambda conditions: replace(conditions, host="another-machine")
    ),
    # dh sets its own: what is left is how the tree is unpacked, and what debian/rules does around dh.
    "umask": Variation(tells=f"with the umask {UMASK}", apply=lambda conditions: replace(conditions, umask=UMASK)),
    "timezone": Variation(tells="13.5 hours east of Greenwich", apply=_export(TZ="FAR-13:30")),
    "locale": Variation(tells=f"in the locale {LOCALE}", apply=_set_locale, tools=(LOCALES,)),
    "date": Variation(
        tells=f"{DAYS} days later, by libfaketime",
        # Times of files stay: make compares them, and those that the kernel gives are true.
        apply=_export(
            LD_PRELOAD="/usr/$LIB/faketime/libfaketime.so.1",
            FAKETIME=f"+{DAYS}d",
            NO_FAKE_STAT="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
        ),
        tools=(FAKETIME,),
    ),
    "cores": Variation(tells="on one core instead of several, or on three instead of one", apply=lambda same: same),
    "kernel": Variation(
        tells="on a kernel that calls itself 2.6", apply=_put_before("setarch", platform.machine(), "--uname-2.6", "--")
    ),
}
"""All variations, by name and in the order in which they are shown."""


def choose(names: Sequence[str], everything: bool) -> tuple[str, ...]:
    """Names of the variations that the command line asks for. Raises UsageError for one that is none."""
    for name in names:
        if name not in VARIATIONS:
            raise UsageError(
                f"there is no variation {name[:100]!a}",
                hint=f"{did_you_mean(name, VARIATIONS)} There are: {', '.join(VARIATIONS)}".strip(),
            )
    return tuple(name for name in VARIATIONS if everything or name in names)


def make_conditions(names: Sequence[str], tools: Sequence[str], parallel: int, core: int) -> Conditions:
    """Conditions with all of these variations; tools are the files of the packages that they need.

    parallel is how many jobs make may run; where it is one, core is the one that the build may use.
    """
    conditions = Conditions(tools=tuple(tools))
    for name in names:
        conditions = VARIATIONS[name].apply(conditions)
    if "cores" in names and parallel == 1:
        conditions = _put_before("taskset", "-c", str(core))(conditions)
    return conditions


def choose_parallel(names: Sequence[str], before: int) -> int:
    """Jobs that make may run at once, where it ran so many before."""
    return (1 if before > 1 else 3) if "cores" in names else before
