import pytest

from bascule.net.tls_server import TlsServer


def test_ciphers_that_nobody_knows_are_refused() -> None:
    with pytest.raises(ValueError, match="no cipher of 'nonsense' is known"):
        TlsServer(lambda name: None, ciphers="nonsense")


def test_ticket_keys_go_by_secret_and_time() -> None:
    one, other = (TlsServer(lambda name: None, secret=secret, tickets=True) for secret in (b"a", b"b"))
    name, cipher_key, mac_key = one.ticket_keys(7)
    assert (len(name), len(cipher_key), len(mac_key)) == (16, 32, 32)
    assert one.ticket_keys(7) == (name, cipher_key, mac_key)
    assert one.ticket_keys(8) != (name, cipher_key, mac_key)
    assert other.ticket_keys(7) != (name, cipher_key, mac_key)
    assert TlsServer(lambda name: None, secret=b"a", tickets=True).ticket_keys(7) == (name, cipher_key, mac_key)
