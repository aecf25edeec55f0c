"""Unit tests need no root and no network beyond loopback; hypothesis keeps no examples on the disk."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("unit", deadline=None, database=None, print_blob=True)
hypothesis.settings.load_profile("unit")
