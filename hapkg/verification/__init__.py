"""The chain of evidence of what is published: from the signature of Release to upstream's, link by link.

Knows repositories, documents, recipes, locks and records of rebuilds; must not know builds or chroots. It reads only,
and believes nothing that the link before does not vouch for.
"""
