"""What `auto` is on a device, and answers to other precisions."""

import pytest
import torch

from liif.network.precision import NAMES, Precision, choose, parse
from liif.system.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("units", "used"), [("amx_bf16", "bf16"), ("avx512_bf16", "bf16"), ("avx512_f", "float32")]
)
def test_auto_is_bf16_on_a_cpu_with_units_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], units: str, used: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, units: True})
    assert choose("auto", CPU) == used
    assert choose("float32", CPU) == "float32"
    assert capsys.readouterr().err == ""
    assert choose("bf16", CPU) == "bf16"
    assert ("precision float32 is faster" in capsys.readouterr().err) == (used == "float32")


@pytest.mark.parametrize(
    ("capability", "used"), [((7, 5), "float32"), ((8, 0), "bf16"), ((9, 0), "bf16")]
)
def test_auto_is_bf16_on_gpus_with_units_for_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], used: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose("auto", torch.device("cuda", 0)) == used


def test_other_devices_are_not_known_to_be_faster() -> None:
    assert choose("auto", torch.device("mps")) == "float32"


@pytest.mark.parametrize("name", ["half", "fp16", "BF16", ""])
def test_other_names_are_refused_with_the_choices(name: str) -> None:
    with pytest.raises(UserError, match=f"^precision `{name}` is not one of auto, float32, bf16$"):
        parse(name)


def test_the_names_are_those_of_the_type() -> None:
    names: list[Precision] = ["auto", "float32", "bf16"]
    assert [parse(name) for name in NAMES] == names
