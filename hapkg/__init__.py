"""hapkg: the Linux HA stack as Debian packages under a private prefix."""

__version__ = "0.1.0"
