"""Workers find each other, and take no other program for one."""

import socket
import threading

import pytest

from stages.lib import join as module
from stages.lib.cluster import Cluster
from stages.lib.errors import UserError
from tools.cluster import free_addresses


@pytest.mark.parametrize("said", [b"", (1).to_bytes(4), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_another_program_that_connects_is_not_taken_for_a_worker(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(module, "JOIN_SECONDS", 1)
    addresses = free_addresses(2)
    ports = [int(address.rpartition(":")[2]) for address in addresses]

    def talk() -> None:
        """Answer at worker 1's port, and call at worker 0's."""
        with socket.create_server(("127.0.0.1", ports[1])) as server:
            server.accept()[0].close()
            with socket.create_connection(("127.0.0.1", ports[0])) as connection:
                connection.sendall(said)

    thread = threading.Thread(target=talk)
    thread.start()
    with pytest.raises(UserError, match=rf"worker 1 \({addresses[1]}\) did not come within 1 s"):
        module._meet(Cluster(tuple(addresses), 0))
    thread.join()


def test_all_workers_meet() -> None:
    addresses = tuple(free_addresses(3))
    threads = [threading.Thread(target=module._meet, args=[Cluster(addresses, index)]) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
