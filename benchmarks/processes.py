"""The processor's account: every task tells its times to the kernel as it ends, and the kernel us (taskstats).

Times of a clock say little where several builds share the processor; these add up. A task counts for the first of its
ancestors, itself included, that has a name in _KINDS. What a task did before it became another program counts for the
last one. The kernel takes the times by its tick, so a short task's are right on average only. For root alone.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

UPSTREAM = "upstream's own: configure, compile, install, tests"
"""Programs that debian/rules runs itself, some tests among them, are upstream's own: the kernel calls that "rules"."""
_KINDS = (
    ("lintian", r"/usr/share/lint"),
    ("source packages", r"dpkg-source"),
    (UPSTREAM, r"dh_auto_.*|dh_autoreconf|make|pybuild|rules"),
    ("packaging: debhelper, dpkg-dev, xz", r"dh|dh_.*|dpkg-(?!deb|query|split|preconf).*"),
    ("installing packages: apt, dpkg", r"apt-get|apt-cache|dpkg|mmdebstrap"),
    ("sbuild", r"sbuild"),
    ("sessions: schroot and what it calls", r"schroot"),
    ("hapkg and what it calls", r"hapkg"),
)
_PATTERNS = tuple((kind, re.compile(pattern)) for kind, pattern in _KINDS)
_GENERIC, _CONTROLLER, _DONE = 16, 16, 0.3
_ROW = struct.Struct("=QQQ")  # ac_etime, ac_utime, ac_stime: microseconds, at byte 144 of struct taskstats
_NAME, _NUMBERS, _TIMES = 80, 128, 144


@dataclass(frozen=True)
class _Task:
    ended: float
    number: int
    parent: int
    elapsed: float
    seconds: float
    name: str


@dataclass
class Work:
    """Processor time of a stretch of work."""

    wall: float = 0.0
    tasks: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    """User and system time in seconds, by kind."""

    @property
    def total(self) -> float:
        """Of all kinds."""
        return sum(self.seconds.values())


@contextlib.contextmanager
def watch() -> Iterator[Work]:
    """Follow all tasks of the machine; what they were is known when the block has ended."""
    work = Work()
    tasks: list[_Task] = []
    ended = threading.Event()
    with _listen() as channel:
        thread = threading.Thread(target=_receive, args=(channel, tasks, ended))
        thread.start()
        begun = time.monotonic()
        try:
            yield work
        finally:
            work.wall = time.monotonic() - begun
            time.sleep(_DONE)
            ended.set()
            thread.join()
    work.tasks = len(tasks)
    work.seconds = _add_up(tasks)


def _listen() -> socket.socket:
    channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _GENERIC)
    channel.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE: nothing is lost when we are late
    channel.bind((0, 0))
    channel.settimeout(0.2)
    _send(channel, _CONTROLLER, 3, 2, b"TASKSTATS\0")  # CTRL_CMD_GETFAMILY by CTRL_ATTR_FAMILY_NAME
    answer = channel.recv(65536)
    (family,) = struct.unpack("=H", dict(_read_attributes(answer[20:]))[1])
    cores = f"0-{(os.cpu_count() or 1) - 1}\0".encode()
    _send(channel, family, 1, 3, cores)  # TASKSTATS_CMD_GET, TASKSTATS_CMD_ATTR_REGISTER_CPUMASK
    return channel


def _send(channel: socket.socket, family: int, command: int, attribute: int, value: bytes) -> None:
    size = 4 + len(value)
    body = struct.pack("=BBHHH", command, 1, 0, size, attribute) + value + b"\0" * (-size % 4)
    channel.send(struct.pack("=IHHII", 16 + len(body), family, 1, 1, 0) + body)


def _read_attributes(block: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(block):
        size, kind = struct.unpack_from("=HH", block, at)
        if size < 4:
            return
        yield kind, block[at + 4 : at + size]
        at += (size + 3) & ~3


def _receive(channel: socket.socket, tasks: list[_Task], ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            message = channel.recv(1 << 16)
        except TimeoutError:
            continue
        now = time.time()
        for kind, nested in _read_attributes(message[20:]):
            if kind == 4:  # TASKSTATS_TYPE_AGGR_PID
                tasks.extend(_read_task(stats, now) for inner, stats in _read_attributes(nested) if inner == 3)


def _read_task(stats: bytes, now: float) -> _Task:
    number, parent = struct.unpack_from("=II", stats, _NUMBERS)
    elapsed, user, system = _ROW.unpack_from(stats, _TIMES)
    name = stats[_NAME : _NAME + 32].partition(b"\0")[0].decode("utf-8", "replace")
    return _Task(now, number, parent, elapsed / 1e6, (user + system) / 1e6, name)


def _add_up(tasks: list[_Task]) -> dict[str, float]:
    numbers: defaultdict[int, list[int]] = defaultdict(list)  # they come again
    for at, task in enumerate(tasks):
        numbers[task.number].append(at)
    kinds: dict[int, str] = {}

    def find_kind(at: int) -> str:
        way: list[int] = []
        step: int | None = at
        kind = "the rest"
        while step is not None and step not in way:
            if step in kinds:
                kind = kinds[step]
                break
            way.append(step)
            named = next((known for known, pattern in _PATTERNS if pattern.fullmatch(tasks[step].name)), None)
            if named:
                kind = named
                break
            step = find_parent(tasks[step])
        kinds.update(dict.fromkeys(way, kind))
        return kind

    def find_parent(task: _Task) -> int | None:
        lived = (at for at in numbers[task.parent] if tasks[at].ended >= task.ended - _DONE)
        return next((at for at in lived if tasks[at].ended - tasks[at].elapsed <= task.ended + _DONE), None)

    found: defaultdict[str, float] = defaultdict(float)
    for at, task in enumerate(tasks):
        found[find_kind(at)] += task.seconds
    return dict(found)


def compare_work(works: dict[str, Work], cores: int) -> list[list[str]]:
    """Rows of a table: seconds of the processor by kind, a column for each stretch of work."""
    kinds = [*(kind for kind, _ in _KINDS), "the rest"]
    rows = [[kind, *(f"{work.seconds.get(kind, 0):.0f}" for work in works.values())] for kind in kinds]
    rows.append(["all", *(f"{work.total:.0f}" for work in works.values())])
    rows.append([f"of {cores} cores", *(f"{100 * work.total / work.wall / cores:.0f} %" for work in works.values())])
    return rows
