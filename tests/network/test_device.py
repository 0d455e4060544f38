import ctypes
import subprocess
import sys
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
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    monkeypatch.setattr(device, "use_exact_float32", lambda: None)


@pytest.mark.usefixtures("gpus")
def test_jobs_take_free_gpus_in_turn() -> None:
    chosen = [device.choose().index for _ in range(3)]
    assert chosen == [0, 1, 1]  # when all are taken, the one with most memory is shared
    for file in device._held:
        file.close()


def test_float32_on_a_gpu_is_not_tf32() -> None:
    """In a process of its own, since PyTorch restores no such setting."""
    code = """if True:
        import torch
        from liif.network import device

        products = torch.backends.cuda.matmul, torch.backends.cudnn.conv
        current = []
        torch.cuda.set_device = current.append
        device.named = torch.device  # there may be no GPU to put a tensor on
        for name in ("cpu", "cuda", "cuda:1"):
            device.choose(name)
            print([each.fp32_precision for each in products], current)
    """
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "['none', 'tf32'] []",
        "['ieee', 'ieee'] []",
        "['ieee', 'ieee'] [device(type='cuda', index=1)]",
    ]


def test_cudnn_measures_convolutions_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    for name in ("cuda", "cpu"):
        device.time_convolutions(torch.device(name))
        assert torch.backends.cudnn.benchmark == (name == "cuda")


def test_the_default_device_without_a_gpu_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.choose() == torch.device("cpu")
    assert device.loader_workers(torch.device("cpu")) == 0
    assert 1 <= device.loader_workers(torch.device("cuda")) <= 8


def test_memory_that_pytorch_keeps_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("mem_get_info", (100, 500)), ("memory_reserved", 70)):
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 20)
    assert device.free_memory(torch.device("cuda", 0)) == 150


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
