from pathlib import Path
from typing import Any

from samples import PHOTOGRAPHS, ROW

from liif.tracking.run import Run


def test_a_run_that_is_not_kept_does_nothing(tmp_path: Path) -> None:
    run = Run()
    calls: dict[str, tuple[Any, ...]] = {
        "params": ({},),
        "tags": ({},),
        "epochs": ([ROW],),
        "measured": ({},),
        "sample": ("a", tmp_path),
        "file": (tmp_path, "a"),
        "text": ("a", "b"),
        "dataset": (PHOTOGRAPHS,),
        "model": (tmp_path,),
        "status": ("FAILED",),
        "problem": (ValueError(),),
    }
    for name, arguments in calls.items():
        getattr(run, name)(*arguments)
    with run.live():
        pass
    assert not run.kept
    # Whatever a record can, a run that is not kept can.
    own = {n for n, v in vars(Run).items() if callable(v) and not n.startswith("_")}
    assert own == {*calls, "image", "live"}
    assert not list(tmp_path.iterdir())
