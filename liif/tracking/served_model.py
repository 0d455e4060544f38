"""Models as MLflow serves them: picture in, upscaled picture out."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import suppress
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liif.tracking.pages import CHAMPION
from liif.tracking.run import Event
from liif.tracking.store import Store

MODEL_CODE = "from liif.tracking.served_model import serve\n\nserve()\n"
"""All that MLflow runs to load a model; the rest is the copy of this package beside it."""
_TEST = re.compile(r"test/x([\d.]+)/psnr$")


def _registry_name(model: str) -> str:
    """A model's name in the registry, which refuses dots, slashes and more."""
    return f"liif-{re.sub(r'[^A-Za-z0-9_-]', '_', model)}"


def registered(client: Any, name: str, run: str) -> Any | None:
    """A run's version in the model registry."""
    query = f"name = '{_registry_name(name)}' and run_id = '{run}'"
    return next(iter(client.search_model_versions(query)), None)


def model_of(version: Any) -> str:
    """Identifier of the logged model behind a version in the registry."""
    return str(version.source).removeprefix("models:/")


def register(store: Store, name: str, run: str, step: int, weights: Path) -> Any:
    """Store a run's model and register it; returns its version in the registry.

    Repeated after a kill, it completes what is incomplete. `step` is the optimiser's, which keeps
    it apart from the epochs' metrics.
    """
    client = store.client
    if (found := registered(client, name, run)) is not None:
        return found
    name, query = _registry_name(name), f"source_run_id = '{run}'"
    logged = client.search_logged_models([store.experiment], filter_string=query)
    model = (
        logged[0]
        if logged
        else client.create_logged_model(store.experiment, name, run, model_type="super-resolution")
    )
    if model.status != "READY":
        _log_model(client, model, run, step, weights)
    with suppress(store.mlflow.MlflowException):  # it exists; otherwise, the next request fails
        client.create_registered_model(name)
    source = f"models:/{model.model_id}"
    return client.create_model_version(name, source, run, model_id=model.model_id)


def crown(client: Any, version: Any, measured: list[Event]) -> None:
    """Give the alias `champion` to the version with the highest PSNR on the test pictures.

    `measured` are the events of a version; its largest scale counts. Versions that were measured
    on other test pictures do not compete.
    """
    found = {float(m[1]): e for e in measured for key in e["values"] if (m := _TEST.match(key))}
    if not found:
        return
    scale = max(found)
    key, (_, digest) = f"test/x{scale:g}/psnr", found[scale].get("data", ("", ""))
    client.set_model_version_tag(version.name, version.version, "test.data", digest)
    rivals = [
        other
        for other in client.search_model_versions(f"name = '{version.name}'")
        if other.tags.get("test.data") == digest and key in other.tags
    ]
    best = max(rivals, key=lambda rival: float(rival.tags[key]))
    client.set_registered_model_alias(version.name, CHAMPION, best.version)


def _log_model(client: Any, model: Any, run: str, step: int, weights: Path) -> None:
    """Store weights and the code that reads them; no pickle."""
    import mlflow
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    picture = Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, 3))])
    params = ParamSchema(
        [
            ParamSpec("scale", "double", 8.0),
            ParamSpec("precision", "string", "auto"),
            ParamSpec("back_projection", "boolean", True),
        ]
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.py").write_text(MODEL_CODE)
        shutil.copytree(
            Path(__file__).parents[1],
            folder / "liif",
            ignore=shutil.ignore_patterns("__pycache__", "photos", "*.safetensors"),
        )
        # MLflow keeps the path in the model's description, which should name no folder of ours.
        shutil.copyfile(weights, folder / weights.name)
        mlflow.pyfunc.save_model(
            folder / "model",
            mlflow_model=Model(model.artifact_location, run, model_id=model.model_id),
            python_model=str(folder / "model.py"),
            code_paths=[str(folder / "liif")],
            artifacts={"weights": str(folder / weights.name)},
            pip_requirements=_requirements(),
            signature=ModelSignature(picture, picture, params),
            input_example=np.full((12, 16, 3), 128, np.uint8),
        )
        client.log_model_artifacts(model.model_id, str(folder / "model"))
        outputs = client.get_run(run).outputs
        if outputs is None or not outputs.model_outputs:
            client.log_outputs(run, [LoggedModelOutput(model.model_id, step)])
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _requirements() -> list[str]:
    """Requirements of the served code, in the installed versions."""
    from packaging.requirements import Requirement

    needed = [Requirement(text) for text in requires("liif") or []]
    names = [r.name for r in needed if r.marker is None]
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]


class Upscaling:
    """A served model. MLflow advises on type hints only in subclasses of its own."""

    def load_context(self, context: Any) -> None:
        """Read the weights stored in the served model."""
        from liif.checkpoints.load import load
        from liif.network import device as devices

        self.model = load(context.artifacts["weights"], device=devices.choose())

    def predict(  # type: ignore[no-untyped-def]
        self,
        context: Any,
        model_input,  # noqa: ANN001 (MLflow would read a hint as a list of inputs)
        params: dict[str, Any] | None = None,
    ) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 → upscaled by `scale`, 8 by default.

        `precision` and `back_projection` are as for `LIIF.upscale`.
        """
        given = {"scale": 8.0, "precision": "auto", "back_projection": True, **(params or {})}
        given["scale"] = float(given["scale"])
        return np.asarray(self.model.upscale(model_input, **given))


def serve() -> None:
    """Make `Upscaling` the model that MLflow is loading."""
    import mlflow

    class Served(Upscaling, mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        pass

    mlflow.models.set_model(Served())
