"""Secrets by the meaning of their names: a case is a line."""

from __future__ import annotations

import pytest

from hapkg.site.secrets import is_secret, refuse_secret_words, refuse_secrets

SECRETS = (
    "passwd",
    "Password",
    "snmp_priv_passwd",
    "replication_passwd",
    "secret",
    "secret_key",
    "SECRET",
    "shared-secret",
    "token",
    "api_token",
    "apikey",
    "api-key",
    "access_key",
    "key",
    "community",
    "snmp_community",
    "credentials",
    "pin",
    "psk",
    "passphrase",
)
HARMLESS = (
    "password_script",
    "identity_file",
    "ssh-key-path",
    "key_name",
    "access_key_id",
    "token_timeout",
    "snmp_auth_prot",
    "sshkeys_dir",
    "username",
    "keyboard",
    "pinned",
    "monkey",
    "ip",
    "max-buffers",
)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_refused_and_the_way_that_works_is_told(name: str) -> None:
    assert is_secret(name)
    way = "name a script on the node|keep it in a file on the node|ha-stack keygen"
    with pytest.raises(ValueError, match=f"{name} is a secret, .*({way})"):
        refuse_secrets({"ip": "10.0.0.1", name: "word"})
    with pytest.raises(ValueError, match=f"{name} is a secret"):
        refuse_secret_words(f"primitive p ocf:heartbeat:X \\\n params ip=10.0.0.1 {name}=word")


@pytest.mark.parametrize("name", HARMLESS)
def test_other_words_pass(name: str) -> None:
    refuse_secrets({name: "word"})
    refuse_secret_words(f"primitive p ocf:heartbeat:X params {name}=word")


def test_a_switch_is_no_secret() -> None:
    refuse_secrets({"use_token": True})


@pytest.mark.parametrize("agent", ["fence_scsi", "fence_mpath"])
def test_the_key_of_a_reservation_is_none(agent: str) -> None:
    refuse_secrets({"key": "1"}, agent=agent)
    refuse_secret_words(f"primitive a stonith:{agent} \\\n params key=1\n")
    with pytest.raises(ValueError, match="key is a secret"):
        refuse_secret_words(
            f"primitive a stonith:{agent} params devices=/dev/sda\nprimitive b stonith:fence_x params key=1"
        )


@pytest.mark.parametrize("text", ['passwd="a b"', "passwd='a b'", "passwd=a"])
def test_quotes_hide_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="passwd is a secret"):
        refuse_secret_words(f"primitive a stonith:fence_x params {text}")
