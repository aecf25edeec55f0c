"""Reading of SBOMs by CycloneDX's own validator."""

from __future__ import annotations


def is_cyclonedx(text: str) -> bool:
    """True for a document that follows the schema of CycloneDX 1.6 to the letter."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
