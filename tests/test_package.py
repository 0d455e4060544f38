import subprocess
import sys

import pytest

import liif


def test_public_names() -> None:
    assert callable(liif.imresize)
    assert callable(liif.load)
    assert set(dir(liif)) == set(liif.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = liif.nothing


@pytest.mark.parametrize(
    "first", ["liif.inference.upscale", "liif.training.train", "liif.cli", "liif.images.imresize"]
)
def test_names_do_not_depend_on_what_was_imported_before(first: str) -> None:
    code = f"import {first}, liif; assert callable(liif.imresize) and callable(liif.load)"
    subprocess.run([sys.executable, "-c", code], check=True)
