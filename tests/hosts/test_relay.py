"""The relay passes bytes both ways, and passes the service's end for silence."""

import socket

import pytest

from rlbench.hosts.relay import Relay


@pytest.fixture
def ends():
    """A client's connection over a relay, and the service's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        relay = Relay("127.0.0.1", server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", relay.port)) as client:
            service, _ = server.accept()
            with service:
                for one in (client, service):
                    one.settimeout(10)
                yield client, service


def _read(connection, size):
    got = b""
    while len(got) < size:
        got += connection.recv(size - len(got))
    return got


def test_bytes_pass_both_ways(ends):
    for sender, receiver in (ends, ends[::-1]):
        data = bytes(range(256)) * 200
        sender.sendall(data)
        assert _read(receiver, len(data)) == data


def test_the_end_of_the_service_is_silence(ends):
    client, service = ends
    service.sendall(b"last")
    service.close()
    assert _read(client, 4) == b"last"
    client.settimeout(0.2)
    for _ in range(4):
        client.sendall(b"is anybody there?")
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_the_end_of_the_client_is_passed_on(ends):
    client, service = ends
    client.close()
    assert service.recv(1) == b""
