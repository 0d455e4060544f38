from pathlib import Path
from typing import Any

import numpy as np
from samples import PHOTOGRAPHS, ROW

from liif.tracking.records import Record
from liif.tracking.run import Run


def test_a_run_that_is_not_kept_does_nothing(tmp_path: Path) -> None:
    run = Run()
    calls: dict[str, tuple[Any, ...]] = {
        "log_params": ({},),
        "set_tags": ({},),
        "log_epochs": ([ROW],),
        "log_system": ({"cpu": 1.0},),
        "log_metrics": ({},),
        "log_sample": ("a", tmp_path),
        "log_file": (tmp_path, "a"),
        "log_text": ("a", "b"),
        "log_dataset": (PHOTOGRAPHS,),
        "log_model": (tmp_path,),
        "set_status": ("FAILED",),
        "append": ({"kind": "status"},),
        "append_file": ({"kind": "file"}, lambda _: None),
    }
    for name, arguments in calls.items():
        getattr(run, name)(*arguments)
    run.log_image("a", np.zeros((2, 3, 3), np.uint8), step=1)
    with run.active():
        pass
    assert not run.recorded
    assert run.known.params == {}
    own = {n for n, v in vars(Run).items() if callable(v) and not n.startswith("_")}
    assert own == {*calls, "log_image", "active"}
    assert not list(tmp_path.iterdir())
    # A record keeps what the run passes on.
    assert {"append", "append_file", "known", "active"} <= set(vars(Record))
