"""What the command of the nodes is told of a site, as plain data: site.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hapkg.site.model import DLM_PORT, Site


def describe_site(site: Site) -> dict[str, Any]:
    """What the node's own command knows of the site, as plain data."""
    volumes = [volume for resource in site.drbd for volume in resource.volumes]
    modules = [name for name, wanted in (("dlm", site.uses_dlm), ("gfs2", site.gfs2), ("drbd", site.drbd)) if wanted]
    return {
        "format": 1,
        "cluster": site.cluster.name,
        "nodes": [{"name": node.name, "id": node.id, "addresses": list(node.addresses)} for node in site.nodes],
        "crypto": site.cluster.encrypted,
        "two_node": site.two_node,
        "modules": modules,
        "udp_ports": [site.cluster.port + link for link in range(site.links)],
        "tcp_ports": [*(resource.port for resource in site.drbd), *([DLM_PORT] if site.uses_dlm else [])],
        "devices": [disk for volume in volumes for disk in volume.disks] + [f.device for f in site.gfs2 if f.device],
        "drbd": [resource.name for resource in site.drbd],
        "mounts": [filesystem.mount for filesystem in site.gfs2],
        "fencing": site.fenced,
        "warnings": list(site.warnings),
        "prepare": list(_list_preparations(site)),
    }


def _list_preparations(site: Site) -> Iterator[str]:
    """What makes the site's devices, once, before the cluster uses them: commands that destroy what is on them."""
    for resource in site.drbd:
        yield f"drbdadm create-md {resource.name}"
        yield f"drbdadm up {resource.name}"
        yield f"drbdadm primary --force {resource.name}"
    for filesystem in site.gfs2:
        table = f"{site.cluster.name}:{filesystem.name}"
        journals = filesystem.journals or len(site.nodes)
        yield f"mkfs.gfs2 -p lock_dlm -j {journals} -t {table} {site.find_device(filesystem)}"
