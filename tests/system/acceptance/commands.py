"""Commands on a formed cluster and their outcomes: crm's, all of them, pcs's and what an exporter tells.

docs/node-tested.md is written from these tables (`pytest tests/unit/test_node_tested.py --golden`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ANY = -1
"""A status that depends on where a resource runs at that moment."""
NAVIGATION = ("cd", "help", "ls", "quit", "up")
"""Commands that every level of crm has."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A line for a program, and what comes of it on the first node of the cluster."""

    line: str
    outcome: str
    """In words, for the documentation."""
    words: str = ""
    """A part of what it prints."""
    status: int = 0
    after: str = ""
    """A script that takes it back."""
    settles: bool = False
    """True where the cluster has to settle before the next one."""

    @property
    def path(self) -> str:
        """The line without options of crm itself."""
        return re.sub(r"^(-H \S+ |-\w )*", "", self.line)


def does(
    line: str, words: str = "", outcome: str = "works", *, status: int = 0, after: str = "", settles: bool = False
) -> Command:
    """A row of a table."""
    return Command(line=line, outcome=outcome, words=words, status=status, after=after, settles=settles)


def refuses(line: str, words: str, outcome: str = "", *, status: int = 1) -> Command:
    """A row of what cannot be done here: it says so."""
    return Command(line=line, outcome=f"refused: {outcome or words}", words=words, status=status)


SITES = "a=192.168.132.99 b=192.168.132.98"
CRM = (
    does("status", "Online: [ fiesta-ha1 fiesta-ha2 ]"),
    refuses("verify", "Blind faith", "warns of a cluster without fencing, status 1"),
    does("cluster status", "pacemaker        active"),
    does("cluster run uptime", "[fiesta-ha2]", "works, by ssh"),
    does("cluster copy /etc/hosts", "fiesta-ha2", "works, by ssh"),
    does("cluster diff /etc/hosts", outcome="works, by ssh"),
    does("cluster health", "Check perms for /opt/ha/var/lib/pacemaker: OK", "works, by ssh"),
    refuses("cluster init -y", "set up by ha-stack-site", "says what sets a node up"),
    refuses("cluster join -c fiesta-ha2 -y", "set up by ha-stack-site", "says what sets a node up"),
    refuses(
        "cluster geo_init --clusters 'a=192.168.132.99 b=192.168.132.98'", "apt install ha-booth", "names the package"
    ),
    refuses(
        "cluster geo_join -c 192.168.132.13 --clusters 'a=192.168.132.99 b=192.168.132.98'",
        "apt install ha-booth",
        "names the package",
    ),
    refuses("cluster geo_init_arbitrator -c 192.168.132.13", "apt install ha-booth", "names the package"),
    refuses("cluster rename", "Expected (new_name)", "wants a name"),
    refuses("cluster remove nobody -y", "nobody", "there is no such node"),
    refuses("cluster crash_test --kill-corosync", "Require stonith enabled"),
    does("cluster enable", "Cluster services enabled on fiesta-ha1"),
    does("cluster disable", "Cluster services disabled on fiesta-ha1"),
    does("cluster start", "already started on fiesta-ha1"),
    does("cluster wait_for_startup 60"),
    does("cluster restart", "The cluster stack started on fiesta-ha1", settles=True),
    does("cluster stop", "The cluster stack stopped on fiesta-ha1", after="crm cluster start", settles=True),
    does("corosync status", "2 fiesta-ha2 member"),
    does("corosync show", "cluster_name: fiestaha"),
    does("corosync get totem.cluster_name", "fiestaha"),
    does("corosync set totem.token 3000", outcome="writes the packaged file, which `ha-stack check` then tells"),
    does("corosync diff", "token", "works, by ssh"),
    does("corosync push", "fiesta-ha2", "works, by ssh"),
    does("corosync pull fiesta-ha2", "No change", "works, by ssh"),
    does("corosync reload"),
    does("corosync edit", outcome="opens the editor"),
    refuses("corosync log", "No corosync log file configured", "corosync logs to syslog"),
    does("corosync link show", "192.168.132.12"),
    refuses(
        "corosync link add fiesta-ha1=10.0.0.1 fiesta-ha2=10.0.0.2",
        "not a configured interface address",
        "no interface has the address",
    ),
    does("corosync link update 0 options knet_link_priority=2", "Synchronizing corosync.conf", "works, by ssh"),
    refuses("corosync link remove 1", "Link 1 does not exist"),
    does("node show", "fiesta-ha2(2): member"),
    does("node server", "fiesta-ha2"),
    does("node status-attr fiesta-ha1 set foo bar", after="crm node status-attr fiesta-ha1 delete foo"),
    does("node attribute fiesta-ha1 set rack 1", after="crm node attribute fiesta-ha1 delete rack"),
    does("node utilization fiesta-ha1 set cpu 4", after="crm node utilization fiesta-ha1 delete cpu"),
    does("node maintenance fiesta-ha1"),
    does("node ready fiesta-ha1"),
    does("node standby fiesta-ha2"),
    does("node online fiesta-ha2", settles=True),
    refuses("node fence fiesta-ha2", "requires stonith device"),
    refuses("node clearstate fiesta-ha2", "", "asks; without an answer nothing is done"),
    refuses("-F node delete nobody", "nobody", "there is no such node"),
    does("resource status", "follower"),
    does("resource locate follower", "is running on"),
    does("resource operations follower", "follower_monitor_10000"),
    does("resource constraints follower", "state-clone"),
    does("resource scores", "follower allocation score"),
    does("resource ban follower fiesta-ha1", "cli-ban-follower-on-fiesta-ha1"),
    does("resource clear follower", "Removed migration constraints", settles=True),
    does("resource move follower fiesta-ha1", "Move constraint created", after="crm resource clear follower"),
    does("resource failcount follower show fiesta-ha1", "value=0"),
    does("resource meta follower set priority 5", "value=5", after="crm resource meta follower delete priority"),
    does("resource param follower set fake x", "value=x", after="crm resource param follower delete fake"),
    does("resource utilization follower set cpu 1", "value=1", after="crm resource utilization follower delete cpu"),
    does(
        "resource secret follower set password hunter2",
        "syncing",
        "works, by ssh",
        after="crm resource secret follower delete password",
    ),
    does("resource unmanage follower"),
    does("resource manage follower"),
    does("resource maintenance follower on"),
    does("resource maintenance follower off"),
    does("resource trace follower monitor", "Trace for follower:monitor is written to /opt/ha/var/lib/heartbeat"),
    does("resource untrace follower", "Stop tracing follower"),
    does("resource demote state-clone", "Unpromoted"),
    does(
        "resource promote state-clone",
        "Promoted",
        after="crm_resource --resource state-clone --meta --delete-parameter target-role",
        settles=True,
    ),
    does("resource cleanup follower", "Cleaned up follower"),
    does("resource refresh follower", "Cleaned up follower"),
    does("resource restart follower", "ordering follower to start"),
    does("resource stop follower"),
    does(
        "resource start follower",
        after="crm_resource --resource follower --meta --delete-parameter target-role",
        settles=True,
    ),
    does("maintenance on"),
    does("maintenance action follower monitor", outcome="asks the agent on this node, wherever it runs", status=ANY),
    does("maintenance off", settles=True),
    does("ra classes", "ocf / heartbeat linbit pacemaker"),
    does("ra providers Dummy", "heartbeat pacemaker"),
    does("ra list ocf pacemaker", "Stateful"),
    does("ra info stonith:fence_ipmilan", "lanplus"),
    does("ra validate ocf:pacemaker:Dummy"),
    does("script list", "virtual-ip"),
    does("script show health", "Verify health"),
    does(r"""script json '[\"list\"]'""", "virtual-ip"),
    does("script verify virtual-ip id=a ip=192.168.132.77", "primitive a ocf:heartbeat:IPaddr2"),
    does("script run health", "Check perms for /opt/ha/var/lib/pacemaker: OK", "works, by ssh"),
    does("-F site ticket grant t1", after="crm_ticket --ticket t1 --cleanup --force"),
    refuses("sbd status", "Package sbd is not installed"),
    refuses("sbd configure show", "Package sbd is not installed"),
    refuses("sbd device add /dev/sda", "Package sbd is not installed"),
    refuses("sbd purge", "Package sbd is not installed"),
    does("report -f 1H /tmp/report", "The report is saved in /tmp/report.tar", "works, by ssh"),
    does("options show", "color.style"),
    does("-H /tmp/report.tar.gz history info", "Nodes:"),
    does("-H /tmp/report.tar.gz history latest", outcome="works, by ssh: looks at the running cluster"),
    does("-H /tmp/report.tar.gz history limit 1H"),
    does("-H /tmp/report.tar.gz history peinputs", "/pengine/pe-input-"),
    does("-H /tmp/report.tar.gz history transitions", "pe-input-"),
    does("-H /tmp/report.tar.gz history transition", "pe-input-"),
    does("-H /tmp/report.tar.gz history transition -1", "pe-input-"),
    does("-H /tmp/report.tar.gz history node fiesta-ha1", "fiesta-ha1"),
    does("-H /tmp/report.tar.gz history resource follower", "follower"),
    does("-H /tmp/report.tar.gz history log", "pacemaker"),
    does("-H /tmp/report.tar.gz history events", "executing - rsc:"),
    does("-H /tmp/report.tar.gz history exclude show"),
    does("-H /tmp/report.tar.gz history detail 1"),
    does("-H /tmp/report.tar.gz history setnodes fiesta-ha1"),
    does("-H /tmp/report.tar.gz history show -1", "primitive follower"),
    refuses("-H /tmp/report.tar.gz history graph -1", "dotty not found", "needs a screen, and dotty"),
    does("-H /tmp/report.tar.gz history diff -2 -1"),
    does("-H /tmp/report.tar.gz history wdiff -2 -1"),
    does("-H /tmp/report.tar.gz history source", "/tmp/report.tar.gz"),
    does("-H /tmp/report.tar.gz history session list"),
    does("-H /tmp/report.tar.gz history refresh"),
    does("options user root", ""),
    does("options pager cat", ""),
    does("options output plain", ""),
    does("options colorscheme normal", ""),
    does("options skill-level expert", ""),
    does("options sort-elements yes", ""),
    does("options check-frequency always", ""),
    does("options check-mode strict", ""),
    does("options add-quotes yes", ""),
    does("options manage-children ask", ""),
    does("options wait no", ""),
    refuses("options editor nothing", "nothing does not exist"),
    does("options set core.wait no", ""),
    does("options save", ""),
    does("options reset", ""),
    does("configure show", "primitive follower"),
    does("configure save /tmp/saved.crm", ""),
    does("configure load update /tmp/saved.crm", ""),
    does("configure verify", ""),
    does("configure validate-all follower", ""),
    does("configure get_property stonith-enabled", "false"),
    does("configure property batch-limit=7", ""),
    refuses("configure set follower.state /run/x", "Attribute not found"),
    does("configure rsc_defaults priority=1", ""),
    does("configure op_defaults timeout=30", ""),
    does("configure schema", "pacemaker-"),
    does("configure upgrade force", "already the latest"),
    does("configure primitive p1 ocf:pacemaker:Dummy op monitor interval=30s", ""),
    does("configure primitive p2 ocf:pacemaker:Dummy", ""),
    does("configure primitive p3 ocf:pacemaker:Dummy", ""),
    does("configure monitor p2 20s:20s", ""),
    does("configure group g1 p1", ""),
    does("configure modgroup g1 add p2", ""),
    does("configure clone c3 p3", ""),
    refuses("configure rename c3 c4", "cannot rename a running resource"),
    does("configure rsc_template t1 ocf:pacemaker:Dummy", ""),
    does("configure location l1 g1 100: fiesta-ha1", ""),
    does("configure colocation co1 inf: g1 follower", ""),
    does("configure order o1 Mandatory: follower g1", ""),
    does("configure rsc_ticket rt1 ticketA: g1", ""),
    does("configure tag tag1: p1 p2", ""),
    does(
        "configure fencing_topology fiesta-ha1: none1",
        "does not exist",
        "works, and warns of a device that does not exist",
    ),
    does(
        "configure bundle b1 docker image=x network ip-range-start=192.168.132.80",
        "",
        after="crm configure delete b1 || true",
    ),
    does("configure node fiesta-ha1 attributes rack=1", ""),
    does("configure alert al1 /bin/true", ""),
    does("configure role watch read xpath:/cib", ""),
    does("configure acl_target jane watch", ""),
    refuses("configure user joe role:watch", "not supported by the RNG schema", "acl_target in this schema"),
    does("configure xml \"<primitive id='px' class='ocf' provider='pacemaker' type='Dummy'/>\"", ""),
    does("configure default-timeouts p1", ""),
    does("configure filter \"sed 's/interval=30s/interval=31s/'\"", ""),
    refuses("configure edit p1", "edit not allowed in batch mode"),
    does("configure graph dot /tmp/graph.dot", ""),
    does("configure ptest nograph", "Transition Summary"),
    does("configure rsctest p1", "Testing on fiesta-ha1"),
    does("configure refresh", ""),
    does("configure commit", "nothing to commit"),
    refuses("configure erase", "is running, can't delete it", "of what runs"),
    refuses("configure delete px", "is running, can't delete it", "of what runs"),
    refuses("configure assist weak-bond", "Need at least two arguments"),
    refuses("configure assist template", "Expected at least one primitive"),
    does("configure template list", "virtual-ip"),
    does("configure template new web1 virtual-ip params ip=192.168.132.70", "pulling in template virtual-ip"),
    does("configure template show web1", "primitive virtual-ip"),
    does("configure template edit web1", ""),
    does("configure template load web1", ""),
    refuses("configure template apply", "please load a config first", "load and apply belong into one session"),
    does("configure template delete web1", ""),
    does("cib new shadow1", "shadow CIB created"),
    does("cib list", "shadow1"),
    does("cib diff", ""),
    does("cib reset shadow1", "copied live CIB"),
    does("cib use shadow1", ""),
    does("cib commit shadow1", "committed 'shadow1'"),
    does("cib import /opt/ha/var/lib/pacemaker/pengine/pe-input-1.bz2", ""),
    does("cib delete shadow1", "deleted"),
    does("cibstatus show", "lrm_resource"),
    does("cibstatus load live", ""),
    refuses("cibstatus save /tmp/status.xml", "didn't modify status"),
    refuses("cibstatus node fiesta-ha1 online", "node fiesta-ha1 created", "the change is lost with the session"),
    refuses("cibstatus op monitor follower success", "need interval for the monitor op"),
    does("cibstatus origin", ""),
    does("cibstatus quorum true", ""),
    does("cibstatus ticket t9 grant", ""),
    does("cibstatus run nograph", "Transition Summary"),
    does("cibstatus simulate nograph", "Transition Summary"),
)
"""Every command of crm, in the order in which they are run."""

AGENT = "/opt/ha/usr/lib/ocf/resource.d/{}/Dummy"
TOOLS = (
    does(
        "crm_report -S -f \"$(date -d '1 hour ago' '+%F %T')\" /tmp/report-old",
        "tarball",
        after="rm /tmp/report-old.tar*",
    ),
    does(f"OCF_ROOT=/opt/ha/usr/lib/ocf ocf-tester -n t {AGENT.format('heartbeat')}", "passed all tests"),
    refuses(
        f"OCF_ROOT=/opt/ha/usr/lib/ocf ocf-tester -n t {AGENT.format('pacemaker')}",
        "does not conform to ra-api-1.dtd",
        "it knows OCF 1.0, and pacemaker's own agents are of 1.1; nothing else is wrong",
    ),
)
PCS = (
    does("status", "follower"),
    does("status xml", "<pacemaker-result"),
    does("cluster status", "fiesta-ha2"),
    does("cluster cib", "<cib "),
    does("cluster corosync", "totem {"),
    does("cluster verify", ""),
    does("config", "Cluster Name: fiestaha"),
    does("quorum status", "Quorate:"),
    does("quorum config", ""),
    does("resource config", "follower"),
    does("resource describe ocf:heartbeat:Dummy", "stateless"),
    does("resource list ocf:pacemaker", "Stateful"),
    does("stonith describe fence_ipmilan", "IPMI"),
    does("stonith config", ""),
    does("property config", "cluster-infrastructure"),
    does("property set batch-limit=7", ""),
    does("property unset batch-limit", ""),
    does("constraint", "state-clone"),
    does("node attribute", ""),
    does("node standby fiesta-ha1", ""),
    does("node unstandby fiesta-ha1", ""),
    does("resource create extra ocf:pacemaker:Dummy --wait=60", "extra"),
    does("resource delete extra", "extra"),
)
"""Commands of Debian's pcs that need no pcsd."""
EXPORTER = (
    does("ha_cluster_corosync_quorate", "ha_cluster_corosync_quorate 1", "tells quorum"),
    does(
        "ha_cluster_pacemaker_nodes",
        'ha_cluster_pacemaker_nodes{node="fiesta-ha1",status="online",type="member"} 1',
        "tells each node",
    ),
    does(
        "ha_cluster_pacemaker_nodes",
        'ha_cluster_pacemaker_nodes{node="fiesta-ha2",status="online",type="member"} 1',
        "tells each node",
    ),
)
"""Metrics of Debian's prometheus-hacluster-exporter."""
