"""The command line of ha-stack."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from hastack import age, bootstrap, check, cluster, difference, engine, installed, members, metrics, upgrade
from hastack.finding import FAIL, OK
from hastack.site import FACTS, read_site
from hastack.system import FAILED, USAGE, Problem, find, find_outdated, find_pids, list_versions, run, say


def main(argv: Sequence[str]) -> int:
    """Run one command; what it ends with."""
    options = _parse(argv)
    if os.geteuid() != 0:
        print("ha-stack: only root can ask the cluster: sudo ha-stack", file=sys.stderr)
        return USAGE
    try:
        return int(options.command(options))
    except Problem as problem:
        print(f"ha-stack: {problem.brief}", file=sys.stderr)
        if problem.hint:
            print(problem.hint, file=sys.stderr)
        return problem.code
    except KeyboardInterrupt:
        print("ha-stack: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return FAILED


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ha-stack", description="Look after this node of a cluster. See ha-stack(8).")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, action: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=action, name=name)
        return command

    for name, action, text in (
        ("check", _check, "Look at what this node needs, and say how to mend what is missing."),
        ("status", _status, "Show quorum, nodes, resources, DRBD, DLM and versions."),
        ("verify", _verify, "Compare the installed files with the signed repository; 1 where something differs."),
        ("diff", _compare, "Show what the cluster runs and the site does not say, and back; 1 where they differ."),
    ):
        looking = add(name, action, text).add_mutually_exclusive_group()
        looking.add_argument("--json", action="store_true", help="machine-readable output")
        if name == "check":
            looking.add_argument("--metrics", action="store_true", help="Prometheus' text format")
    add("keygen", _make_key, "Make the cluster's key and DRBD's secret, once, and say how to copy them.")
    loading = add("bootstrap", _load, "Load what the site's package says the cluster runs.")
    loading.add_argument("--force", action="store_true", help="also change what the cluster has")
    add("prepare", _prepare, "List the commands that make the site's devices, once, and the nodes that each is for.")
    for name, (_, text) in members.COMMANDS.items():
        add(name, _change_members, text).add_argument(
            "node", metavar="NODE", help="its name, as uname -n tells it there"
        )
    upgrading = add("upgrade-node", _upgrade, "Upgrade this node while the others serve; resumes what was interrupted.")
    upgrading.add_argument("--to", default="", metavar="VERSION", help="version of ha-stack [default: the newest]")
    upgrading.add_argument("--dry-run", action="store_true", help="say what would be done")
    upgrading.add_argument("--abort", action="store_true", help="give up an interrupted upgrade; the node serves again")
    return parser.parse_args(argv)


def _check(options: argparse.Namespace) -> int:
    findings = check.check_node()
    if options.metrics:
        say(metrics.describe(findings), end="")
    elif options.json:
        say(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            say(f"{finding.level:<4}  {finding.check:<{width}}  {finding.found}")
            for line in (finding.remedy, finding.advice) if finding.level != OK else ():
                if line:
                    say(f"{'':<{width + 6}}  -> {line}")
    return FAILED if any(finding.level == FAIL for finding in findings) else 0


def _verify(options: argparse.Namespace) -> int:
    found = installed.verify_node()
    if options.json:
        say(json.dumps([asdict(one) for one in found], indent=2))
    else:
        width = max((len(one.package) for one in found), default=0)
        say(f"{'package':<{width}}  index   deb     files")
        for one in found:
            say(f"{one.package:<{width}}  {one.index:<6}  {one.deb:<6}  {one.files}")
            for line in filter(None, one.told):
                say(f"{'':<{width + 2}}-> {line}")
    return FAILED if any(one.breaks for one in found) else 0


def _make_key(_: argparse.Namespace) -> int:
    bootstrap.make_keys()
    return 0


def _load(options: argparse.Namespace) -> int:
    bootstrap.load_configuration(force=options.force)
    return 0


def _compare(options: argparse.Namespace) -> int:
    return difference.show_differences(as_json=options.json)


def _prepare(_: argparse.Namespace) -> int:
    steps = read_site().prepare
    for nodes, command in steps:
        say(f"on {' and on '.join(nodes)}: {command}")
    say(
        "each once, in this order, before ha-stack bootstrap: they destroy what is there"
        if steps
        else "nothing to make"
    )
    return 0


def _change_members(options: argparse.Namespace) -> int:
    return members.COMMANDS[options.name][0](options.node)


def _upgrade(options: argparse.Namespace) -> int:
    upgrade.upgrade_node(dry_run=options.dry_run, abort=options.abort, version=options.to)
    return 0


def _status(options: argparse.Namespace) -> int:
    site = read_site()
    facts: dict[str, object] = {"cluster": site.cluster, "versions": list_versions(), "running": cluster.is_running()}
    running = cluster.is_running()
    state = None
    if engine.is_alone():
        facts["problem"] = "pacemaker runs without corosync: ha-stack check"
    if running:
        links = engine.parse_links(run("corosync-cfgtool", "-s").output)
        names = {node.id: node.name for node in site.nodes}
        facts["quorate"] = engine.ask_quorum()
        facts["links"] = [
            f"{link.number} to {names.get(link.node, link.node)}: {'connected' if link.connected else 'DOWN'}"
            for link in links
        ]
        try:
            state = cluster.read_state()
        except Problem as problem:  # what else there is to see is seen all the same
            facts["problem"] = problem.brief
    if state is not None:
        facts |= {
            "controller": state.controller,
            "maintenance": state.maintenance,
            "unmanaged": sorted({r.id for r in state.resources if not r.managed}),
            "nodes": {member.name: member.describe() for member in state.members},
            "resources": [f"{r.id}: {r.role} {' '.join(r.nodes)}".strip() for r in state.resources],
            "failures": list(state.failures),
        }
    if site.drbd and find("drbdadm"):
        facts["drbd"] = run("drbdadm", "status").output.strip().splitlines()
    if "dlm" in site.modules and find_pids("dlm_controld"):
        facts["dlm"] = run("dlm_tool", "ls").output.strip().splitlines()
    mounted = {line.split()[1] for line in Path("/proc/mounts").read_text("utf-8", "replace").splitlines()}
    facts["mounts"] = {mount: mount in mounted for mount in site.mounts}
    facts["outdated"] = list(find_outdated())
    facts["holes"] = age.list_holes()
    if (journal := upgrade.read_journal()) is not None:
        facts["upgrade"] = upgrade.describe(journal)
    if options.json:
        say(json.dumps(facts, indent=2))
        return 0
    say(f"cluster     {site.cluster} ({FACTS if site.packaged else 'corosync.conf'})")
    say(f"ha-stack    {list_versions().get('ha-stack', 'not installed')}")
    say(f"            {age.describe()}")
    if not running:
        say("corosync    does not run on this node")
    if not facts.get("maintenance"):
        facts.pop("maintenance", None)
    for name in (
        "problem",
        "quorate",
        "links",
        "controller",
        "maintenance",
        "nodes",
        "unmanaged",
        "resources",
        "failures",
        "drbd",
        "dlm",
        "mounts",
        "outdated",
        "upgrade",
    ):
        _show(name, facts.get(name))
    return 0


def _show(name: str, value: object) -> None:
    if isinstance(value, dict):
        value = [
            f"{key}: {'yes' if state is True else 'no' if state is False else state}" for key, state in value.items()
        ]
    if isinstance(value, bool):
        value = "yes" if value else "NO"
    lines = value if isinstance(value, list) else [] if value is None else [str(value)]
    for number, line in enumerate(lines):
        say(f"{name if number == 0 else '':<12}{line}")
