from pathlib import Path
from typing import Any

from samples import PHOTOGRAPHS, ROW

from liif.tracking.run import Run


def test_a_run_that_is_not_kept_does_nothing(tmp_path: Path) -> None:
    run = Run()
    calls: dict[str, tuple[Any, ...]] = {
        "log_params": ({},),
        "set_tags": ({},),
        "log_epochs": ([ROW],),
        "log_metrics": ({},),
        "log_sample": ("a", tmp_path),
        "log_file": (tmp_path, "a"),
        "log_text": ("a", "b"),
        "log_dataset": (PHOTOGRAPHS,),
        "log_model": (tmp_path,),
        "set_status": ("FAILED",),
        "report_problem": (ValueError(),),
    }
    for name, arguments in calls.items():
        getattr(run, name)(*arguments)
    with run.active():
        pass
    assert not run.recorded
    # Whatever a record can, a run that is not kept can.
    own = {n for n, v in vars(Run).items() if callable(v) and not n.startswith("_")}
    assert own == {*calls, "log_image", "active"}
    assert not list(tmp_path.iterdir())
