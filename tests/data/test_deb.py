import random
import re
from pathlib import Path

import pytest
from samples import make_deb

from liif.data.deb import read_deb
from liif.system.errors import UserError

FILES = {f"usr/share/{name}": name.encode() * 2000 for name in ("one", "two", "three")}


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz", ".zst"])
def test_files_of_a_package_in_each_compression(suffix: str, tmp_path: Path) -> None:
    deb = make_deb(tmp_path / "a.deb", FILES, suffix=suffix)
    assert dict(read_deb(deb, FILES)) == FILES
    assert dict(read_deb(deb, ["usr/share/two"])) == {"usr/share/two": FILES["usr/share/two"]}


def test_a_file_that_the_package_lacks(tmp_path: Path) -> None:
    deb = make_deb(tmp_path / "a.deb", FILES)
    with pytest.raises(UserError, match=r"a\.deb: has no usr/share/four; download Debian 12"):
        list(read_deb(deb, [*FILES, "usr/share/four"]))


@pytest.mark.parametrize("suffix", ["", ".xz", ".gz", ".zst"])
def test_damaged_packages_are_one_line(suffix: str, tmp_path: Path) -> None:
    whole = make_deb(tmp_path / "a.deb", FILES, suffix=suffix).read_bytes()
    rng = random.Random(0)
    damaged = [whole[: rng.randrange(len(whole))] for _ in range(40)]
    for _ in range(40):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        damaged.append(bytes(flipped))
    messages = []
    for data in [b"", b"!<arch>\n", b"no package", *damaged]:
        (tmp_path / "b.deb").write_bytes(data)
        try:
            list(read_deb(tmp_path / "b.deb", FILES))  # a flipped bit of contents is not noticed
        except UserError as error:
            messages.append(str(error))
    assert len(messages) >= 43  # all that are truncated
    start = re.escape(f"{tmp_path}/b.deb: ")
    assert [m for m in messages if not re.fullmatch(start + "(is damaged|has no).*", m)] == []
