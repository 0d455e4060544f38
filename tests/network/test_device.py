import ctypes
import tempfile
from types import SimpleNamespace

import pytest
import torch

from liif.network import device
from liif.system.errors import UserError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two GPUs, the second with more free memory."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: (10 + i, 100))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda i: SimpleNamespace(uuid=f"gpu{i}")
    )
    folder = tmp_path_factory.mktemp("locks")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    monkeypatch.setattr(device, "_held", [])


@pytest.mark.usefixtures("gpus")
def test_jobs_take_free_gpus_in_turn() -> None:
    chosen = [device.choose().index for _ in range(3)]
    assert chosen == [0, 1, 1]  # when all are taken, the one with most memory is shared
    for file in device._held:
        file.close()


def test_the_default_device_without_a_gpu_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.choose() == torch.device("cpu")
    assert device.loader_workers(torch.device("cpu")) == 0


def test_freed_memory_is_kept_only_where_the_system_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows refuses to load a library without a name."""

    def load(name: str | None) -> None:
        raise TypeError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    device.keep_freed_memory()


def test_unknown_devices_are_named() -> None:
    for name in ("gpu", "cuda:99", "meta", "vulkan"):
        with pytest.raises(UserError, match=f"device `{name}` is not available"):
            device.choose(name)
