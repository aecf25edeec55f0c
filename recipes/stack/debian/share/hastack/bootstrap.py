"""keygen and bootstrap: the cluster's key, and what pacemaker runs."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from hastack import cluster, engine
from hastack.site import AUTHKEY, CRM, DRBD_SECRET, read_crm, read_site
from hastack.system import REFUSED, Problem, need, run, say, sync_folder

_SECRET_BYTES = 24
"""DRBD takes 63 letters: these are 48."""
_SLOW = 1200.0
"""Seconds. crm asks every agent of the configuration for its parameters, which takes a slow machine minutes."""
_SECTIONS = (
    *("crm_config", "resources", "constraints", "rsc_defaults", "op_defaults", "tags", "fencing-topology"),
    *("alerts", "acls"),
)


def make_keys() -> None:
    """Make the cluster's key and DRBD's secret, where the site wants them and they are not there.

    Raises Problem when there is nothing to make: another key would lock this node out.
    """
    site = read_site()
    wanted = [path for path, wants in ((AUTHKEY, site.crypto), (DRBD_SECRET, site.drbd_secret)) if wants]
    if not wanted:
        raise Problem(
            "this cluster encrypts nothing and needs no key", "its corosync.conf says crypto_hash: none", REFUSED
        )
    missing = [path for path in wanted if not path.exists()]
    if not missing:
        raise Problem(f"{wanted[0]} exists, and is never replaced", _describe_copies(wanted), REFUSED)
    for path in missing:
        _make(path)
        say(f"made {path}, for root alone")
    say(_describe_copies(missing))
    if there := [node.name for node in site.others if engine.answers_ping(node.addresses)]:
        say(f"one that {' or '.join(there)} has already is to be copied here instead: nodes with two keys never meet")


def _make(path: Path) -> None:
    """Make a key or a secret under another name, and link it to its own once it is on the disk."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        if path == AUTHKEY:
            need(run("corosync-keygen", "-l", "-k", str(new)), "corosync-keygen failed")
        else:
            new.touch(0o600, exist_ok=False)
            secret = secrets.token_hex(_SECRET_BYTES)
            new.write_text(f'common {{\n\tnet {{\n\t\tcram-hmac-alg sha256;\n\t\tshared-secret "{secret}";\n\t}}\n}}\n')
        new.chmod(0o400)
        descriptor = os.open(new, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        try:
            os.link(new, path)  # unlike a rename it never takes the place of another key
        except FileExistsError as cause:
            raise Problem(f"{path} was made meanwhile, and is kept", code=REFUSED) from cause
        sync_folder(path.parent)
    finally:
        new.unlink(missing_ok=True)


def _describe_copies(paths: Sequence[Path]) -> str:
    others = [node for node in read_site().others if node.addresses]
    lines = [f"    scp -p {path} root@{node.addresses[0]}:{path}" for node in others for path in paths]
    what = "key" if len(paths) == 1 else "keys"
    return "\n".join([f"every other node needs the same {what}:", *lines]) if lines else "no other node needs it"


def load_configuration(*, force: bool) -> None:
    """Load what the site runs into the running cluster. A second time there is nothing to do.

    Raises Problem when the cluster is not whole, or when something that runs would change and nobody said force.
    """
    site = read_site()
    wanted = read_crm()
    state = cluster.read_state()
    if not state.quorate or not state.controller:
        raise Problem(
            "the cluster has no quorum", "start corosync and pacemaker on the other nodes: ha-stack status", REFUSED
        )
    absent = [node.name for node in site.nodes if not ((member := state.find(node.name)) and member.online)]
    if absent:
        raise Problem(
            f"not all nodes are online: {', '.join(absent)}", "what is loaded now would start without them", REFUSED
        )
    before, after = _try_out()
    added, changed = compare(before, after)
    if not added and not changed:
        say(f"nothing to do: the cluster runs what {CRM} says")
        return
    if changed and not force:
        raise Problem(
            f"this would change what the cluster has: {', '.join(changed)}",
            "look at crm configure show; --force loads it anyway",
            REFUSED,
        )
    with _write_crm(wanted) as file:
        said = run("crm", "--display", "plain", "configure", "load", "update", str(file), timeout=_SLOW)
    need(said, "crm refuses the configuration")
    for line in said.output.splitlines():
        say(line)
    need(run("crm_verify", "--live-check", "--verbose"), "crm_verify refuses what the cluster has now")
    if compare(read_cib(), after) != ((), ()):
        raise Problem("the cluster did not take all of it", "crm configure show tells what it has")
    say(f"loaded {len(wanted.splitlines())} lines: {', '.join((*added, *changed))}")
    if site.drbd:
        say("DRBD and file systems need their devices made once: ha-stack prepare lists how")


def _try_out() -> tuple[str, str]:
    """The cluster's configuration, and what would become of it, as XML. Changes nothing."""
    before = read_cib()
    return before, load_into(before)


def load_into(cib: str) -> str:
    """A configuration, as XML, after the site's was loaded into it. Raises Problem when crm refuses."""
    with _write_crm(read_crm()) as wanted:
        file = wanted.with_name("cib.xml")
        file.write_text(cib, "utf-8")
        extra = {"CIB_file": str(file)}
        argv = ("crm", "--display", "plain", "--force", "configure", "load", "update", str(wanted))
        done = run(*argv, extra=extra, timeout=_SLOW)
        lines = [line for line in done.output.splitlines() if line.strip()]
        errors = [line for line in lines if "ERROR" in line]
        if done.status or errors:
            reason = (errors or lines[-1:] or [f"status {done.status}"])[0]
            raise Problem(f"crm refuses {CRM}: {reason}", "hapkg site check finds it earlier")
        need(run("crm_verify", "--xml-file", str(file)), "crm_verify refuses the configuration")
        return file.read_text("utf-8")


@contextlib.contextmanager
def _write_crm(text: str) -> Iterator[Path]:
    """A file for crm, in a folder that goes at the end."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / CRM.name
        file.write_text(text, "utf-8")
        yield file


def read_cib() -> str:
    """The cluster's configuration, as XML. Raises Problem."""
    return need(run("cibadmin", "--query"), "the cluster's configuration cannot be read")


def compare(before: str, after: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Objects that a configuration adds to another, and those that it changes in it, by name."""
    old, new = _list_objects(before), _list_objects(after)
    added = tuple(sorted(name for name in new if name not in old))
    return added, tuple(sorted(name for name, text in old.items() if name in new and new[name] != text))


def _list_objects(cib: str) -> dict[str, str]:
    """Everything that a CIB configures, by name, as text that does not depend on layout."""
    found: dict[str, str] = {}
    configuration = ET.fromstring(cib).find("configuration")
    for section in _SECTIONS:
        part = configuration.find(section) if configuration is not None else None
        for element in part if part is not None else ():
            if section in ("crm_config", "rsc_defaults", "op_defaults"):
                found.update(
                    {f"{section} {pair.get('name')}": pair.get("value", "") for pair in element.iter("nvpair")}
                )
            else:
                found[element.get("id", "?")] = ET.canonicalize(ET.tostring(element, "unicode"), strip_text=True)
    for node in configuration.iterfind("nodes/node") if configuration is not None else ():
        for pair in node.iter("nvpair"):
            found[f"node {node.get('uname')} {pair.get('name')}"] = pair.get("value", "")
    with contextlib.suppress(KeyError):  # pacemaker writes it itself
        del found["crm_config last-lrm-refresh"]
    return found
