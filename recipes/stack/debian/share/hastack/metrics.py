"""Findings of check as Prometheus reads them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hastack.finding import FAIL, OK, WARN, Finding


def describe(findings: Sequence[Finding]) -> str:
    """Findings in the text format of Prometheus: how many of each check and level, and how bad each check is."""
    counted = Counter((finding.check, finding.level) for finding in findings)
    checks = sorted({finding.check for finding in findings})
    lines = ["# HELP ha_stack_findings Findings of ha-stack check.", "# TYPE ha_stack_findings gauge"]
    for check in checks:
        for level in (OK, WARN, FAIL):
            labels = f'check="{check}",level="{level.lower()}"'
            lines.append(f"ha_stack_findings{{{labels}}} {counted[check, level]}")
    lines += [
        "# HELP ha_stack_healthy 0 when ha-stack check found what must be mended.",
        "# TYPE ha_stack_healthy gauge",
    ]
    lines.append(f"ha_stack_healthy {int(not any(finding.level == FAIL for finding in findings))}")
    return "\n".join((*lines, ""))
