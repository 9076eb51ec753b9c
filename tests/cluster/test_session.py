"""Which Ray cluster a run uses: its own on loopback, or the one that it is told to use and that answers."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray

from rlpost.cluster.session import ray_session
from rlpost.errors import UnavailableError
from rlpost.recipe.schema import ClusterConfig

_REFUSED = "must answer; .*Connection refused.*ray start --head"
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Ray's folder for temporary files: the path of a socket in it has at most 107 bytes."""
    for name in ("RAY_ADDRESS", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.delenv(name, raising=False)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ray-", ignore_cleanup_errors=True) as name:
        monkeypatch.setenv("RAY_TMPDIR", name)
        yield Path(name)


@pytest.mark.ray
def test_a_run_without_an_address_starts_its_own_cluster_on_loopback_beside_another_one(scratch: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        # Ray notes the last cluster that was started on a machine in this file, and joins it unless told otherwise.
        for folder in (scratch, scratch / "ray"):
            folder.mkdir(exist_ok=True)
            (folder / "ray_current_cluster").write_text(f"127.0.0.1:{other.getsockname()[1]}")
        with ray_session(ClusterConfig(name="own", cpus=1)):
            assert ray.get_runtime_context().gcs_address != f"127.0.0.1:{other.getsockname()[1]}"
            assert ray.cluster_resources()["CPU"] == 1
            listening = _listening()
            assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ, "a later cluster of this process is free"
            other.settimeout(0.1)
            with pytest.raises(TimeoutError):
                other.accept()
    assert len(listening) >= 5
    assert {address for address, _ in listening} <= LOOPBACK


def _listening() -> set[tuple[str, int]]:
    """Addresses and ports on which this process and all that it started accept connections."""
    me = psutil.Process()
    found: set[tuple[str, int]] = set()
    for process in (me, *me.children(recursive=True)):
        connections = process.net_connections(kind="inet")
        found |= {(each.laddr.ip, each.laddr.port) for each in connections if each.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.parametrize("form", ["{}", "ray://{}"])
@pytest.mark.parametrize("by", ["variable", "cluster file"])
def test_the_address_of_a_dead_head_is_refused_within_seconds(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, form: str, by: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = form.format(f"127.0.0.1:{gone.getsockname()[1]}")
    if by == "variable":
        monkeypatch.setenv("RAY_ADDRESS", address)
    cluster = ClusterConfig(name="own", cpus=1, address=None if by == "variable" else address)
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=_REFUSED), ray_session(cluster):
        pass
    assert time.monotonic() - began < 5
    assert not ray.is_initialized()


def test_a_folder_too_deep_for_sockets_is_refused_with_the_variable_to_set(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(scratch / ("d" * 80)))
    (scratch / ("d" * 80)).mkdir()
    with pytest.raises(UnavailableError, match=r"107 bytes.*set RAY_TMPDIR"), ray_session(_own()):
        pass
    assert not ray.is_initialized()
    assert not [child for child in psutil.Process().children() if "ray" in " ".join(child.cmdline())]


def _own() -> ClusterConfig:
    return ClusterConfig(name="own", cpus=1)
