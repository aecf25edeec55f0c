"""The files of a site on each of its nodes, and site.json, which tells the nodes' own command what the site is."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hapkg.recipe.rendering import make_debian_environment, render
from hapkg.recipe.settings import Settings, Templates, find_template
from hapkg.site.model import DLM_PORT, REMOTE_PORT, Site
from hapkg.site.tables import Logging
from hapkg.site.words import format_duration, quote_crm, write_crm, write_drbd

_FILTERS: Mapping[str, Callable[[Any], Any]] = {
    "crm_quoted": quote_crm,
    "crm_value": write_crm,
    "duration": format_duration,
    "drbd_value": write_drbd,
    "drbd_address": lambda address: f"ipv6 [{address}]" if ":" in address else address,
}


def name_package(settings: Settings, cluster: str) -> str:
    """The package of a cluster: ha-stack-site-NAME, in the letters that names of packages have."""
    return f"{settings.site_package}-{re.sub('_', '-', cluster.lower()).rstrip('-')}"


def render_site(site: Site, settings: Settings, templates: Templates) -> dict[str, bytes]:
    """The files of a site on each of its nodes, by absolute path: the same bytes for all of them.

    Raises RecipeError when a template is wrong.
    """
    package = name_package(settings, site.cluster.name)
    etc, environment = f"{settings.prefix}/etc", make_debian_environment(templates)
    environment.filters.update(_FILTERS)
    base = {"site": site, "prefix": settings.prefix, "package": package}
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        f"{etc}/corosync/corosync.conf": ("corosync.conf", {}),
        f"{etc}/ha-stack/cluster.crm": ("cluster.crm", {}),
    }
    if site.uses_dlm:
        wanted[f"{etc}/dlm/dlm.conf"] = ("dlm.conf", {})
    if site.fencing.sbd:
        wanted["/etc/default/sbd"] = ("sbd", {})
    if site.booth:
        wanted[f"{etc}/booth/booth.conf"] = ("booth.conf", {})
    for resource in site.drbd:
        members = site.find_members(resource)
        wanted[f"{etc}/drbd.d/{resource.name}.res"] = ("drbd.res", {"resource": resource, "members": members})
    default = Logging()
    if (site.logging.facility, site.logging.file) != (default.facility, default.file):
        wanted["/etc/rsyslog.d/ha-stack-site.conf"] = ("rsyslog.conf", {})
    if site.logging.file != default.file:
        wanted["/etc/logrotate.d/ha-stack-site"] = ("logrotate", {})
    files = {
        path: render(environment, find_template(templates, f"site-files/{name}.j2"), {**base, **more}).rstrip() + b"\n"
        for path, (name, more) in sorted(wanted.items())
    }
    digests = {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    facts = json.dumps({**describe_site(site), "package": package, "files": digests}, indent=2)
    return {**files, f"{etc}/ha-stack/site.json": f"{facts}\n".encode()}


def describe_site(site: Site) -> dict[str, Any]:
    """Facts about the site for the node's own command, as plain data."""
    volumes = [volume for resource in site.drbd for volume in resource.volumes]
    kinds = (("dlm", site.uses_dlm), ("gfs2", site.gfs2), ("drbd", site.drbd), ("sctp", site.dlm_by_sctp))
    modules = [name for name, wanted in kinds if wanted]
    return {
        "format": 1,
        "cluster": site.cluster.name,
        "nodes": [{"name": node.name, "id": node.id, "addresses": list(node.addresses)} for node in site.nodes],
        "remote": [node.name for node in site.remote],
        "crypto": site.cluster.encrypted,
        "two_node": site.two_node,
        "modules": modules,
        "udp_ports": [
            *(site.cluster.find_port(link) for link in range(site.links)),
            *([site.booth.port] if site.booth else []),
        ],
        "tcp_ports": [
            *(resource.port for resource in site.drbd),
            *([REMOTE_PORT] if site.remote else []),
            *([DLM_PORT] if site.uses_dlm and not site.dlm_by_sctp else []),
        ],
        "sctp_ports": [DLM_PORT] if site.dlm_by_sctp else [],
        "devices": [
            *(disk for volume in volumes for disk in volume.disks),
            *(filesystem.device for filesystem in site.gfs2 if filesystem.device),
            *(site.fencing.sbd.devices if site.fencing.sbd else ()),
        ],
        "drbd": [resource.name for resource in site.drbd],
        "drbd_secret": any(resource.authenticate for resource in site.drbd),
        "services": [service.name for service in site.service],
        "mounts": [filesystem.mount for filesystem in site.gfs2],
        "fencing": site.fenced,
        "warnings": list(site.warnings),
        "prepare": list(_list_preparations(site)),
    }


def _list_preparations(site: Site) -> Iterator[dict[str, Any]]:
    """Commands that make the site's devices once, and on which nodes: they destroy what is there."""
    everywhere = tuple(node.name for node in site.nodes)
    one = everywhere[:1]
    if site.booth:
        yield _prepare(one, "booth-keygen")
    if (sbd := site.fencing.sbd) and sbd.devices:
        disks = " ".join(f"-d {disk}" for disk in sbd.devices)
        yield _prepare(one, f"sbd {disks} -1 {sbd.watchdog_timeout} -4 {sbd.message_timeout} create")
    if site.quorum.device and site.quorum.device.tls != "off":
        names = " ".join(everywhere)
        yield _prepare(
            one, f"corosync-qdevice-net-certutil -Q -n {site.cluster.name} {site.quorum.device.host} {names}"
        )
    for resource in site.drbd:
        members = tuple(node.name for node in site.find_members(resource))
        yield _prepare(members, f"drbdadm create-md {resource.name}")
        yield _prepare(members, f"drbdadm up {resource.name}")
        # Its disk becomes the source of the first synchronization: on a second node it would be overwritten, or both.
        yield _prepare(members[:1], f"drbdadm primary --force {resource.name}")
    for mount in (mount for service in site.service for mount in service.mounts):
        if found := site.find_volume(mount.volume) if mount.volume else None:
            where = tuple(node.name for node in site.find_members(found[0]))[:1]
            yield _prepare(where, f"mkfs.{mount.type} {found[1].device}")
    for filesystem in site.gfs2:
        table = f"{site.cluster.name}:{filesystem.name}"
        journals = filesystem.journals or len(site.nodes)
        yield _prepare(one, f"mkfs.gfs2 -p lock_dlm -j {journals} -t {table} {site.find_device(filesystem)}")


def _prepare(nodes: tuple[str, ...], command: str) -> dict[str, Any]:
    return {"nodes": list(nodes), "command": command}
