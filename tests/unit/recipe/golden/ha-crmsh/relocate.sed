# crmsh names programs, configuration and state by fixed paths, in its code and in its tests. These are ours.

# The modules are where Python does not look by itself.
s|^    from crmsh import log$|    sys.path.insert(0, "/opt/ha/lib/python3/dist-packages")\n    from crmsh import log|
s#/usr/bin/env python3 -m crmsh#env PYTHONPATH=/opt/ha/lib/python3/dist-packages python3 -m crmsh#
s|^import crm_script$|import sys\nsys.path.insert(0, "/opt/ha/lib/python3/dist-packages")\n&|
/^import shutil$/{
n
s|^from crmsh import utils$|sys.path.insert(0, "/opt/ha/lib/python3/dist-packages")\n&|
}

# What a report tells the versions of: all that is installed of the stack. And what sets a node up.
s#^PACKAGES = "#&$(dpkg-query -W -f '${db:Status-Status} ${Package}\\n' 'ha-*' | sed -n 's/^installed //p') #
s|utils\.fatal\(f"Package '\{package\}' is not installed"\)|utils.fatal("nodes of this stack are set up by ha-stack-site, or from /opt/ha/etc/corosync/corosync.conf.example; see ha-stack(8)")|

# Pacemaker's own log is there without a journal, too, where the file of the journal says that there is none.
s#"journal\.log", "pacemaker\.log"#"pacemaker.log", "journal.log"#

s|Booth not installed|&: apt install ha-booth|

s#/usr/s?bin/(corosync-qdevice-net-certutil|crm|pacemaker_remoted|pacemakerd)\b#/opt/ha/sbin/\1#
s#/etc/crm/profiles\.yml#/opt/ha/share/crmsh/profiles.yml#
s#(^|[^[:alnum:]_./-])/etc/(corosync|crm|drbd\.conf|drbd\.d|pacemaker)\b#\1/opt/ha/etc/\2#g
s#(^|[^[:alnum:]_./-])/var/(lib|log)/(cluster|corosync|crmsh|heartbeat|pacemaker)\b#\1/opt/ha/var/\2/\3#g
s#/usr/share/(crmsh|pacemaker)\b#/opt/ha/share/\1#g
s#/etc/sysconfig/(pacemaker|sbd)\b#/etc/default/\1#g

# Folders it searches in, and its PATH.
s#\('/usr/lib64', #('/opt/ha/libexec', '/opt/ha/usr/lib', '/opt/ha/lib', '/usr/lib64', #
s#'datadir': \(#&'/opt/ha/share', #
s#'(varlib|cachedir)': \('/var/(lib|cache)'#'\1': ('/opt/ha/var/\2', '/var/\2'#
s#paths\.extend\(\[#&'/opt/ha/sbin', '/opt/ha/bin', #
s#pacemaker_dirs\.add\(os\.path\.dirname\(sys\.argv\[0\]\)\)#pacemaker_dirs.update(('/opt/ha/sbin', '/opt/ha/bin'))#

# What setup.py would install by absolute path is installed by debian/rules.
/^      data_files=/d
