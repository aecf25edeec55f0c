"""Remedies of ha-stack check: for each line that it prints, the harm that makes it do so, and who runs the line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = "/opt/ha/etc/corosync"
REINSTALL = "apt install --reinstall -o Dpkg::Options::=--force-confask -o Dpkg::Options::=--force-confmiss"
JOURNAL = Path("/opt/ha/var/lib/ha-stack/upgrade.json")
KILL = "kill -9 $(pidof {0}); while pidof {0}; do sleep 0.1; done"


@dataclass(frozen=True)
class Cure:
    """Harm on a member of the cluster, the words that it is found by, and the line that is printed and run."""

    harm: str
    check: str
    words: str
    remedy: str
    first: str = ""
    """Mended before, where the line alone cannot: its cause."""
    test: str = "test_check: test_the_printed_line_cures_what_it_is_printed_for"
    """The test that runs it."""


CURES = (
    Cure(
        "crm_attribute --name maintenance-mode --update true",
        "maintenance",
        "the whole cluster",
        "crm configure property maintenance-mode=false",
    ),
    Cure("crm node maintenance fiesta-ha1", "maintenance", "node fiesta-ha1", "crm node ready fiesta-ha1"),
    Cure("crm resource unmanage follower", "unmanaged", "follower is left alone", "crm resource manage follower"),
    Cure("crm resource ban follower fiesta-ha2", "constraint", "cli-ban-follower", "crm resource clear follower"),
    Cure(
        "crm configure location cli-prefer-follower follower inf: fiesta-ha1",
        "constraint",
        "cli-prefer-follower",
        "crm resource clear follower",
    ),
    Cure(f"echo '# mine' >> {FOLDER}/corosync.conf", "configuration", "corosync.conf was changed", REINSTALL),
    Cure(f"rm {FOLDER}/corosync.conf", "configuration", "corosync.conf is missing", REINSTALL),
    Cure(
        f"chmod 0644 {FOLDER}/authkey", "authkey", "0644", f"chown root: {FOLDER}/authkey; chmod 0400 {FOLDER}/authkey"
    ),
    Cure(
        KILL.format("corosync"),
        "pacemaker",
        "pacemaker runs without corosync",
        "service corosync start && service pacemaker restart",
    ),
    Cure(
        "kill -STOP $(pidof corosync)",
        "engine",
        "corosync runs and does not answer",
        "kill -9 $(pidof corosync); service corosync start && service pacemaker restart",
    ),
    Cure(
        "service pacemaker stop",
        "cluster",
        "pacemaker does not run",
        "service corosync start && service pacemaker start",
    ),
    Cure(
        "sed -i /fiesta-ha1/d /etc/hosts",
        "resolution",
        "fiesta-ha1 does not resolve",
        "echo '192.168.132.11 fiesta-ha1' >> /etc/hosts",
    ),
    Cure(
        "crm_resource --resource state-clone --meta --set-parameter notify --parameter-value false",
        "drift",
        "state-clone: notify is false, the site says true",
        "ha-stack bootstrap --force",
    ),
    Cure("crm configure delete state-then-follower", "drift", "state-then-follower of", "ha-stack bootstrap"),
    Cure(
        "truncate -s 0 /opt/ha/share/ha-stack/components.json",
        "age",
        "components.json cannot be read",
        "apt install --reinstall ha-stack",
    ),
    Cure(
        "crm_resource --fail --resource follower --node $(crm_resource --resource follower --locate --quiet)",
        "failure",
        "follower_asyncmon_0 on fiesta-ha",
        "crm resource cleanup",
    ),
    Cure(
        "dpkg --unpack $(find /srv/apt/pool -name 'ha-gfs2-utils_*.deb' | head -1)",
        "packages",
        "dpkg has not finished: ha-gfs2-utils",
        "dpkg --configure -a",
    ),
    Cure(
        f"mkdir -p {JOURNAL.parent}; echo half > {JOURNAL}",
        "upgrade",
        "upgrade.json cannot be read",
        f"rm {JOURNAL}",
    ),
)
"""Each is done to the second node, and undone by the printed line alone."""
OTHERS = (
    Cure(
        "ip address del 192.168.132.12/24 dev ring0",
        "address",
        "no interface has 192.168.132.12",
        "ip address add 192.168.132.12/24 dev ring0",
        test="test_check: test_an_address_that_is_gone_comes_back_by_the_printed_line",
    ),
    Cure(
        "a daemon that ends and is not started anew",
        "pacemaker",
        "pacemaker-schedulerd missing",
        "service pacemaker restart",
        test="test_check: test_a_daemon_that_pacemaker_gave_up_is_missed",
    ),
    Cure(
        "an empty site.json",
        "",
        "site.json cannot be read",
        REINSTALL,
        test="test_check: test_a_broken_list_of_facts_comes_back_by_the_printed_line",
    ),
    Cure(
        "a site with fencing agents, without the programs that they run",
        "fencing",
        "needs ipmitool, which is missing",
        "apt install ipmitool",
        test="test_check: test_programs_of_fencing_agents_come_by_the_printed_lines",
    ),
    Cure(
        "crm_attribute --name stonith-enabled --update false",
        "fencing",
        "off: a lost node is never switched off",
        "crm_attribute --name stonith-enabled --update true",
        test="test_fencing: test_fencing_that_was_switched_off_comes_back_by_the_printed_line",
    ),
    Cure(
        "a site with fencing devices that are not loaded yet",
        "fencing",
        "off: a lost node is never switched off",
        "ha-stack bootstrap --force",
        test="test_fencing: test_devices_of_a_site_are_loaded_when_it_is_asked_for",
    ),
    Cure(
        "packages that apt has upgraded",
        "daemons",
        "run from before an upgrade",
        "ha-stack upgrade-node",
        test="test_node: test_what_apt_upgraded_before_runs_after_it",
    ),
    Cure(
        "a stack that is 200 days old, beside a newer one in the repository",
        "age",
        "200 days old",
        "ha-stack upgrade-node",
        test="test_check: test_an_old_stack_is_told_and_the_printed_line_brings_the_newest",
    ),
    Cure(
        "a service of the site whose unit is enabled, before the cluster runs",
        "units",
        "systemd starts served at boot, and pacemaker runs it",
        "systemctl disable --now served",
        test="test_systemd: test_a_unit_that_systemd_starts_too_is_told_and_the_printed_line_ends_that",
    ),
    Cure(
        "the same in a cluster that runs",
        "units",
        "systemd starts served at boot, and pacemaker runs it",
        "systemctl disable served",
        test="test_systemd: test_a_unit_that_systemd_starts_too_is_told_and_the_printed_line_ends_that",
    ),
    Cure(
        "lvmlockd that Debian's unit started before pacemaker",
        "units",
        "lvm.conf does not use lvmlockd",
        "crm resource restart lvmlockd_clone",
        test="hapkg prove --step lvm",
    ),
    Cure(
        "a DRBD module that calls /sbin/drbdadm (its parameter is a file in the test)",
        "module",
        "no handler runs",
        "echo /opt/ha/sbin/drbdadm > /sys/module/drbd/parameters/usermode_helper",
        test="unit: test_a_module_that_calls_another_drbdadm_is_named",
    ),
)
"""Those that need more than a line of harm."""
