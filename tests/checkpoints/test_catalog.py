import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from samples import as_the_authors_save
from typer.testing import CliRunner

from liif.checkpoints import catalog
from liif.checkpoints.catalog import BUNDLED, locate
from liif.checkpoints.convert import fetch_weights
from liif.checkpoints.describe import describe
from liif.checkpoints.load import load
from liif.cli import app
from liif.network.build import Architecture, build
from liif.network.model import LIIF
from liif.system.errors import UserError
from liif.system.files import file_sha256


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Fresh EDSR-baseline weights in the authors' layout on a server, in the catalog as `edsr`."""
    served = tmp_path / "served"
    served.mkdir()
    torch.manual_seed(0)
    state = build(Architecture()).state_dict()
    encoder = {"name": "edsr-baseline", "args": {"no_upsampling": True}}
    imnet = {"name": "mlp", "args": {"out_dim": 3, "hidden_list": [256, 256, 256, 256]}}
    args = {"encoder_spec": encoder, "imnet_spec": imnet}
    content = {"model": {"name": "liif", "args": args, "sd": state}, "epoch": 1000}
    torch.save(content, served / "a.pth")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(served))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/a.pth"
    digest = file_sha256(served / "a.pth")
    monkeypatch.setenv(catalog.CACHE, str(tmp_path / "cache"))
    entries = {
        "edsr": catalog.Entry("EDSR-baseline-LIIF", "the test", "tests", url, digest[:8]),
        "without": catalog.Entry("EDSR-baseline-LIIF", "the test", "tests", url),
        "rdn": catalog.Entry("RDN-LIIF", "the test", "tests", url, digest),
        "other": catalog.Entry("EDSR-baseline-LIIF", "the test", "tests", url, "0" * 64),
    }
    whole = dict(catalog.CATALOG)
    catalog.CATALOG.clear()
    catalog.CATALOG.update(entries)
    yield served / "a.pth"
    catalog.CATALOG.clear()
    catalog.CATALOG.update(whole)  # in its order
    server.shutdown()
    server.server_close()


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_fetched_once_and_used_by_name(published: Path) -> None:
    with pytest.raises(UserError, match="liif weights fetch edsr"):
        load("edsr")
    assert "no" in run("weights", "list").splitlines()[1].split()
    output = run("weights", "fetch", "edsr")
    assert f"the downloaded file has {file_sha256(published)}" in output
    assert "yes" in run("weights", "list").splitlines()[1].split()
    published.unlink()
    run("weights", "fetch", "edsr")  # is there
    torch.manual_seed(0)
    expected = build(Architecture()).state_dict()
    state = load("edsr").state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert "converted from  the authors' format" in run("info", "edsr")
    left = [p for p in (catalog.folder() / ".partial").iterdir() if p.suffix != ".lock"]
    assert left == []


def test_an_unpublished_checksum_is_logged(published: Path) -> None:
    assert "no checksum of it is published; the downloaded file has" in run(
        "weights", "fetch", "without"
    )


def test_another_file_is_refused(published: Path) -> None:
    digest = file_sha256(published)
    with pytest.raises(UserError, match="checksum of the file is wrong"):
        run("weights", "fetch", "other")
    with pytest.raises(UserError, match="its sha256 begins with"):
        run("weights", "fetch", "edsr", "--sha256", "f" * 64)
    with pytest.raises(UserError, match="checksum of the file is wrong"):
        run("weights", "fetch", "without", "--sha256", "f" * 64)
    assert digest in fetch_weights("without", sha256=digest).read_bytes().decode("latin-1")
    with pytest.raises(UserError, match="expected RDN-LIIF, found EDSR-baseline-LIIF"):
        run("weights", "fetch", "rdn")
    with pytest.raises(UserError, match="`nothing` is not one of edsr, without"):
        run("weights", "fetch", "nothing")
    assert sorted(p.stem for p in catalog.folder().glob("*.safetensors")) == ["without"]


def test_a_file_at_a_url_is_kept_as_it_is(published: Path, tmp_path: Path) -> None:
    url, digest = catalog.CATALOG["edsr"].url, file_sha256(published)
    out = tmp_path / "kept" / "a"
    with pytest.raises(UserError, match="a URL needs --sha256 and --out"):
        run("weights", "fetch", url)
    with pytest.raises(UserError, match="checksum of the file is wrong"):
        run("weights", "fetch", url, "--sha256", "f" * 64, "--out", str(out))
    run("weights", "fetch", url, "--sha256", digest, "--out", str(out))
    assert out.read_bytes() == published.read_bytes()
    assert [p for p in out.parent.rglob("*") if p.is_file()] == [out]


def test_a_file_is_imported_if_it_has_the_checksum(published: Path, tmp_path: Path) -> None:
    out, digest = tmp_path / "a.safetensors", file_sha256(published)
    with pytest.raises(UserError, match=f"its sha256 is {digest}, not {'f' * 64}"):
        run("import", str(published), str(out), "--sha256", "f" * 64)
    assert not out.exists()
    run("import", str(published), str(out), "--sha256", digest)
    assert out.exists()


def test_a_web_page_is_no_checkpoint(published: Path) -> None:
    published.write_text("<html>Sign in</html>")
    with pytest.raises(UserError):
        run("weights", "fetch", "without")
    assert list(catalog.folder().glob("*.safetensors")) == []


def test_an_unknown_name_leaves_nothing_behind(published: Path) -> None:
    with pytest.raises(UserError, match=r"`\.\./x` is not one of"):
        run("weights", "fetch", "../x")
    assert not catalog.folder().exists()


def test_bundled_weights_need_no_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalog.CACHE, str(tmp_path))
    (row,) = (r for r in run("weights", "list").splitlines() if r.startswith("edsr-baseline"))
    assert row.endswith("yes")
    assert run("weights", "fetch", "edsr-baseline").strip() == str(BUNDLED)


def test_the_list_shows_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(catalog.CACHE, "/tmp/cache")
    output = run("weights", "list")
    assert max(map(len, output.splitlines())) <= 120
    lines = {line.split()[0]: line for line in output.splitlines() if line}
    released = catalog.measurements()["models"]["edsr-baseline"]
    for scale in (4, 8):
        assert f"{catalog.as_used(released, 'clean', scale)['psnr']:.2f}" in lines["edsr-baseline"]
    assert " 6.3   1,567,299  1.00 " in lines["edsr-baseline"]
    assert lines["mmagic-rdn"].split()[-6:-4] == ["89.3", "22,320,835"]
    assert lines["mmagic-rdn"].split()[-3:] == ["–", "–", "no"]


@pytest.mark.parametrize("name", ["edsr-baseline", "fast"])
def test_a_file_is_preferred_to_a_name(
    name: str, small: LIIF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert catalog.is_name(name)
    (tmp_path / name).mkdir()  # no file
    assert catalog.is_name(name)
    (tmp_path / name).rmdir()
    as_the_authors_save(small, tmp_path / name)
    as_the_authors_save(small, tmp_path / "bundled")
    assert not catalog.is_name(name)
    assert locate(name) == Path(name)
    assert catalog.is_name("bundled")
    assert locate("bundled") == BUNDLED


def test_an_unknown_name_is_answered_with_all_names(tmp_path: Path) -> None:
    names = "bundled, edsr-baseline, fast, photo, rdn, mmagic-edsr-baseline, mmagic-rdn"
    message = f"fats: no such weights file; the names of weights are {names}"
    for use in (load, locate, describe):
        with pytest.raises(UserError) as caught:
            use("fats")
        assert str(caught.value) == message


def test_the_catalog_is_complete() -> None:
    names = ["edsr-baseline", "fast", "photo", "rdn", "mmagic-edsr-baseline", "mmagic-rdn"]
    assert list(catalog.CATALOG) == names
    for name, weights in catalog.CATALOG.items():
        if name in ("fast", "photo"):
            assert (weights.url, weights.file) == ("", f"{name}.safetensors")
            continue
        assert weights.url.startswith("https://")
        file = weights.url.rsplit("/", 1)[1]
        if "mmagic" in weights.origin:
            assert file.endswith(f"-{weights.sha256}.pth")
