"""How a site's lost nodes are switched off: its tables, and what would switch off the wrong machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from hapkg.site.secrets import refuse_secrets
from hapkg.site.tables import SiteTable
from hapkg.site.words import (
    AbsolutePath,
    Agent,
    CrmValue,
    Duration,
    Identifier,
    Name,
    OptionName,
    Plug,
    format_duration,
)
from hapkg.tables import Line

_ONE_MACHINE = re.compile(
    r"fence_(alom|amt|amt_ws|drac|idrac|ilo\d?|ilo\d?_(mp|ssh)|imm|ipmilan|ipmilanplus|redfish|rsa|rsb)"
    r"|external/(ipmi|riloe|ibmrsa|ibmrsa-telnet|drac5)|ipmilan|drac3"
)
"""Agents of management boards: whoever is asked for, the board switches off the machine that it is in."""
_BY_RESERVATION = ("fence_scsi", "fence_mpath")
"""Agents that take a node's disk away instead of its power; a node gets it when it starts: unfencing."""
_PLUGS = ("plug", "port")
_SELF_MADE = {"pcmk_host_list": "it follows from nodes", "pcmk_host_check": "it follows from nodes"}


class Operation(SiteTable):
    """How often something is done to a device, and how long that may take."""

    interval: Duration | None = None
    timeout: Duration | None = None


def write_operations(said: Mapping[str, Operation], interval: str) -> dict[str, dict[str, str]]:
    """Operations as pacemaker reads them; what is watched without a word of it is watched at this interval."""
    wanted = {"monitor": {"interval": interval, "timeout": "60s"}}
    for name, operation in said.items():
        times = {key: format_duration(value) for key, value in operation if value is not None}
        wanted[name] = {**wanted.get(name, {"interval": "0"}), **times}
    return wanted


class FencingDevice(SiteTable):
    """A way to switch off nodes."""

    name: Identifier
    agent: Agent
    nodes: Annotated[tuple[Name, ...], Field(strict=False, min_length=1)]
    """Those that it can switch off."""
    plugs: dict[Name, Plug] = Field(default_factory=dict)
    """By node, what the device calls it: an outlet, a virtual machine; several outlets as a list."""
    delay: Duration | None = None
    """Before it acts: of two nodes that lose sight of each other, the one that it switches off lives."""
    delays: dict[Name, Duration] = Field(default_factory=dict)
    """Delays by node, for a device of several."""
    delay_max: Duration | None = None
    """A random part of the delay, at most."""
    priority: Annotated[int, Field(ge=0)] | None = None
    """Of several devices for one node the highest is tried first."""
    meta: dict[OptionName, CrmValue] = Field(default_factory=dict)
    op: dict[Identifier, Operation] = Field(default_factory=dict)
    """By the name of the action; the monitor's default is every two minutes, in one."""
    parameters: dict[OptionName, CrmValue] = Field(default_factory=dict)

    @field_validator("parameters")
    @classmethod
    def _tells_no_secret(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        refuse_secrets(value, agent=info.data.get("agent", ""))
        for name, reason in _SELF_MADE.items():
            if name in value:
                raise ValueError(f"{name}: {reason}, leave it out")
        return value

    @model_validator(mode="after")
    def _switches_off_the_machine_that_is_meant(self) -> Self:
        where, parameters = f"fencing device {self.name}", self.parameters
        for key, own, table in (
            ("pcmk_host_map", "plugs", self.plugs),
            ("pcmk_delay_base", "delay", self.delay),
            ("pcmk_delay_base", "delays", self.delays),
            ("pcmk_delay_max", "delay-max", self.delay_max),
        ):
            if key in parameters and table not in (None, {}):
                raise ValueError(f"{where}: {own} and parameters.{key} say the same: leave one of them out")
        if self.delay is not None and self.delays:
            raise ValueError(f"{where}: delay is for all its nodes, delays for each: leave one of them out")
        # Agents of cluster-glue are told by the name of the node; their port is one of the network.
        static = [key for key in _PLUGS if key in parameters and self.agent.startswith("fence_")]
        if len(self.nodes) > 1 and static:
            raise ValueError(
                f"{where}: {static[0]} = {parameters[static[0]]!r} would be switched off whichever of "
                f"{', '.join(self.nodes)} is meant: say plugs = {{ {self.nodes[0]} = ..., {self.nodes[1]} = ... }}"
            )
        if static and self.plugs:
            raise ValueError(f"{where}: {static[0]} beside plugs: leave it out")
        by_address = parameters.get("port_as_ip") in (True, 1, "1", "true", "yes", "on")
        if len(self.nodes) > 1 and _ONE_MACHINE.fullmatch(self.agent) and not by_address:
            raise ValueError(
                f"{where}: {self.agent} speaks to one machine's board, and would switch off that one whichever of "
                f"{', '.join(self.nodes)} is meant: make a device for each node"
            )
        if by_address and not self.plugs and "pcmk_host_map" not in parameters:
            raise ValueError(f"{where}: port_as_ip needs plugs = {{ NODE = ADDRESS }}")
        self._check_plugs(where)
        return self

    def _check_plugs(self, where: str) -> None:
        plugs: Mapping[str, object] = self.plugs
        if written := self.parameters.get("pcmk_host_map"):
            plugs = dict(read_host_map(str(written)))
            if glued := next((f"{plug}" for plug in plugs.values() if re.search(r",[^,]*[:=]", str(plug))), ""):
                raise ValueError(
                    f"{where}: pcmk_host_map {written!r}: pairs are parted by ; or a blank, and this names one plug "
                    f"{glued!r}; or say plugs = {{ NODE = PLUG }}"
                )
        for key, names in (("plugs", plugs), ("delays", self.delays)):
            for name in names:
                if name not in self.nodes:
                    raise ValueError(f"{where}: {key} names {name}, which is not in its nodes")
        missing = [name for name in self.nodes if plugs and name not in plugs]
        if missing:
            raise ValueError(f"{where}: plugs says nothing of {', '.join(missing)}, which it can switch off")
        outlets = [plug for value in plugs.values() for plug in (value if isinstance(value, tuple) else [value])]
        if doubled := next((plug for number, plug in enumerate(outlets) if plug in outlets[:number]), None):
            raise ValueError(f"{where}: plug {doubled} stands there for two nodes, or twice")

    @property
    def unfences(self) -> bool:
        """True where a node gets its disk from the device when it starts."""
        return self.agent in _BY_RESERVATION

    @property
    def host_map(self) -> str:
        """The plugs as pacemaker reads them."""
        return ";".join(f"{name}:{_write_plug(plug)}" for name, plug in self.plugs.items())

    @property
    def all_parameters(self) -> dict[str, object]:
        """Parameters in the order in which they are written."""
        own: dict[str, object] = {"pcmk_host_list": " ".join(self.nodes)}
        if self.plugs:
            own["pcmk_host_map"] = self.host_map
        if self.delay is not None:
            own["pcmk_delay_base"] = format_duration(self.delay)
        if self.delays:
            own["pcmk_delay_base"] = ";".join(f"{name}:{format_duration(d)}" for name, d in self.delays.items())
        if self.delay_max is not None:
            own["pcmk_delay_max"] = format_duration(self.delay_max)
        return {**own, **dict(sorted(self.parameters.items()))}

    @property
    def all_meta(self) -> dict[str, object]:
        """Its meta attributes."""
        own: dict[str, object] = {"provides": "unfencing"} if self.unfences else {}
        own |= {"priority": self.priority} if self.priority is not None else {}
        return {**own, **dict(sorted(self.meta.items()))}

    @property
    def operations(self) -> dict[str, dict[str, str]]:
        """Its operations: their times as pacemaker reads them."""
        return write_operations(self.op, "120s")

    def find_delay(self, node: str) -> tuple[str, bool]:
        """Tell what delays the end of a node: the fixed part as it is written, and whether a random part is added."""
        written = str(self.parameters.get("pcmk_delay_base", ""))
        fixed = dict(read_host_map(written)).get(node, "" if ":" in written else written)
        fixed = str(self.delays.get(node, "" if self.delay is None else self.delay)) or fixed
        fixed = fixed or str(self.parameters.get("delay", ""))
        return fixed, self.delay_max is not None or "pcmk_delay_max" in self.parameters


class Sbd(SiteTable):
    """Nodes that end themselves: by a message on a disk that all of them see, or when they lose quorum."""

    devices: Annotated[tuple[AbsolutePath, ...], Field(strict=False, max_length=3)] = ()
    """Disks; none: a node that loses quorum ends by its watchdog alone."""
    watchdog: AbsolutePath = "/dev/watchdog"
    watchdog_timeout: Annotated[int, Field(ge=3, le=600)] = 5
    """Seconds until a node that hangs is reset."""
    delay_max: Duration = "30s"
    """A random time before a node is sent the message: two nodes do not end each other."""

    @field_validator("devices")
    @classmethod
    def _are_an_odd_number(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) == 2:
            raise ValueError("two disks are one too few or one too many: the majority of them decides")
        if len(set(value)) != len(value):
            raise ValueError("a disk stands there twice")
        return value

    @property
    def message_timeout(self) -> int:
        """Seconds until a message on a disk counts as read: twice the watchdog's."""
        return 2 * self.watchdog_timeout


class Fencing(SiteTable):
    """How the cluster makes sure that a lost node does no harm."""

    devices: Annotated[tuple[FencingDevice, ...], Field(strict=False)] = ()
    sbd: Sbd | None = None
    levels: dict[Name, tuple[tuple[Identifier, ...], ...]] = Field(default_factory=dict, strict=False)
    """By node, lists of devices: those of a list act together, the next list when one of them failed."""
    opt_out: Line | None = None
    """Why this site goes without, in words that its readers will see."""

    @field_validator("levels", mode="before")
    @classmethod
    def _are_lists(cls, value: object) -> object:
        if isinstance(value, dict):
            return {
                node: tuple(tuple(level) if isinstance(level, list) else (level,) for level in levels)
                if isinstance(levels, list)
                else levels
                for node, levels in value.items()
            }
        return value

    def check_levels(self) -> None:
        """Raise ValueError for a level that names what is not there, or cannot switch off its node."""
        devices = {device.name: device for device in self.devices}
        for node, levels in self.levels.items():
            for level in levels:
                for name in level:
                    if name not in devices:
                        raise ValueError(
                            f"fencing.levels of {node}: there is no device {name}; "
                            f"known: {', '.join(devices) or 'none'}"
                        )
                    if node not in devices[name].nodes:
                        raise ValueError(f"fencing.levels of {node}: device {name} cannot switch it off: see its nodes")

    def find_race(self, nodes: Sequence[str], properties: Mapping[str, object]) -> str:
        """Find what to write where two nodes can switch each other off at once; "" where they cannot."""
        if "priority-fencing-delay" in properties or not self.devices:
            return ""
        delays = {node: list(self._find_delays(node)) for node in nodes}
        fixed = [sorted({text for text, _ in found} | {""})[-1] for found in delays.values()]
        random = any(some for found in delays.values() for _, some in found)
        if random or len(set(fixed)) > 1 or not all(delays.values()):
            return ""
        device = next(device for device in self.devices if nodes[0] in device.nodes)
        key = "delay = 10" if device.nodes == (nodes[0],) else f"delays = {{ {nodes[0]} = 10 }}"
        return f"{device.name} needs {key}, so that {nodes[0]} lives"

    def _find_delays(self, node: str) -> Iterator[tuple[str, bool]]:
        for device in self.devices:
            if node in device.nodes and not device.unfences:
                yield device.find_delay(node)


def read_host_map(text: str) -> Iterator[tuple[str, str]]:
    """The pairs of a pcmk_host_map as pacemaker parts them; its rest without a sign in between is left out."""
    for pair in re.findall(r"(?:\\.|[^; \t])+", text):
        name, sign, plug = _part(pair)
        if sign:
            yield name, re.sub(r"\\(.)", r"\1", plug)


def _part(pair: str) -> tuple[str, str, str]:
    found = re.match(r"((?:\\.|[^:=\\])+)([:=])(.*)", pair, re.DOTALL)
    return (found[1], found[2], found[3]) if found else (pair, "", "")


def _write_plug(plug: object) -> str:
    """A plug as it stands in a pcmk_host_map: signs that part it are escaped."""
    parts = plug if isinstance(plug, tuple) else (plug,)
    return ",".join(re.sub(r"[\\; \t:=]", r"\\\g<0>", str(part)) for part in parts)
