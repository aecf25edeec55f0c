"""Site files from clusters that run: corosync.conf, pacemaker's configuration, DRBD's resources, booth.conf, reports.

Knows what the programs write; must not run any.
"""
