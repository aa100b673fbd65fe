"""Workers find each other by TF_CONFIG, and distinguish each other from other programs."""

import json
import socket
import threading

import pytest

from mnist.core.errors import UserError
from mnist.training import workers as module
from mnist.training.workers import Workers, join_workers
from tools.cluster import free_addresses


@pytest.mark.parametrize(
    ("config", "workers", "message"),
    [
        (None, 2, "train.workers is 2, but the environment variable TF_CONFIG names 1 "),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}, 1, "TF_CONFIG names 2"),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}, 2, "not that of a chief"),
        ({"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}, 2, "not that of a chief"),
        ({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": -1}}, 2, "not that of a chief"),
        ({"cluster": ["a:1"], "task": {"type": "worker", "index": 0}}, 2, "not that of a chief"),
        ({"task": {}}, 2, "TF_CONFIG names 1 "),
        ("{not json", 2, "not that of a chief"),
        ("7", 2, "not that of a chief"),
    ],
)
def test_an_invalid_tf_config_is_explained(
    monkeypatch: pytest.MonkeyPatch, config: object, workers: int, message: str
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config if isinstance(config, str) else json.dumps(config))
    with pytest.raises(UserError, match=message):
        join_workers(workers)


@pytest.mark.parametrize(
    "config",
    [
        None,
        "",
        "{}",
        '{"cluster": {}}',
        '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"master": ["a:2222"]}, "task": {"type": "master", "index": 0}}',
    ],
)
def test_one_machine_by_itself_joins_no_workers(monkeypatch: pytest.MonkeyPatch, config: str | None) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    assert join_workers(1) is None


@pytest.mark.parametrize("message", [b"", (1).to_bytes(4), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_another_program_that_connects_does_not_count_as_a_worker(
    monkeypatch: pytest.MonkeyPatch, message: bytes
) -> None:
    monkeypatch.setattr(module, "JOIN_SECONDS", 1)
    addresses = free_addresses(2)
    ports = [int(address.rpartition(":")[2]) for address in addresses]

    def connect() -> None:
        """Accept a connection at worker 1's port, and connect to worker 0's."""
        with socket.create_server(("127.0.0.1", ports[1])) as server:
            server.accept()[0].close()
            with socket.create_connection(("127.0.0.1", ports[0])) as connection:
                connection.sendall(message)

    thread = threading.Thread(target=connect)
    thread.start()
    with pytest.raises(UserError, match=rf"worker 1 \({addresses[1]}\) did not start within 1 s"):
        module._wait_for_workers(Workers(tuple(addresses), 0))
    thread.join()


def test_all_workers_reach_each_other() -> None:
    addresses = tuple(free_addresses(3))
    threads = [
        threading.Thread(target=module._wait_for_workers, args=[Workers(addresses, index)]) for index in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
