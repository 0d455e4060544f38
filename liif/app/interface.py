"""The HTTP interface of `liif serve`: a picture in the body, the upscaled one out."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from liif import __version__
from liif.app import options as choices
from liif.app.engine import Engine, plain_name
from liif.app.jobs import Job
from liif.app.limits import Refused
from liif.app.options import LARGEST_SCALE
from liif.app.responses import NOTES, attachment, body, engine_of
from liif.images.write import FORMATS
from liif.network.precision import NAMES as PRECISIONS

_POLL = 0.5
"""Seconds between looks whether the client still waits."""


async def upscale(request: Request) -> Response:
    """Upscale the picture in the body with the options in the query."""
    engine = engine_of(request)
    query = dict(request.query_params)
    name = plain_name(query.pop("name", "picture.png"))
    options = choices.parse(query, engine.weights, engine.default)
    picture = await engine.add(name, "", body(request, name))
    try:
        job = engine.submit(picture, options)
        await _finished(request, engine, job)
    except BaseException:
        await asyncio.shield(engine.remove(picture))
        raise
    headers = attachment(job.file.name)
    if job.notes:
        headers[NOTES] = "\t".join(map(quote, job.notes))
    return FileResponse(
        job.file,
        media_type=choices.media_type(options.suffix),
        headers=headers,
        background=BackgroundTask(engine.remove, picture),
    )


async def _finished(request: Request, engine: Engine, job: Job) -> None:
    """Wait for a job, and stop it if the client has gone."""
    while not job.finished.is_set():
        try:
            async with asyncio.timeout(_POLL):
                await job.finished.wait()
        except TimeoutError:
            if await request.is_disconnected():
                await engine.cancel(job)
    if job.state == "failed":
        raise Refused(job.error, 422)
    if job.state == "cancelled":
        raise Refused("the job was stopped", 499)


async def schema(request: Request) -> Response:
    """The description of this interface."""
    return JSONResponse(openapi(engine_of(request)))


async def documentation(request: Request) -> Response:
    """The description as a page."""
    template = request.app.state.documentation
    html = template.render(api=openapi(engine_of(request)), base=str(request.base_url))
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
    headers = {"Content-Security-Policy": policy}
    return Response(html, media_type="text/html", headers=headers)


async def home(_: Request) -> Response:
    """Redirect to the documentation."""
    return RedirectResponse("/docs")


def openapi(engine: Engine) -> dict[str, Any]:
    """The interface in OpenAPI 3.1."""
    endings = sorted({suffix[1:] for suffix in FORMATS})
    whole = {"type": "integer", "minimum": 1}
    switch = {"type": "boolean", "default": False}
    scale = {"type": "number", "minimum": 1, "maximum": LARGEST_SCALE, "default": 8}
    parameters = [
        ("scale", "Scale factor.", scale),
        ("size", "Exact output size, width first.", {"type": "string", "example": "1920x1080"}),
        ("width", "Output width in pixels; the height follows.", whole),
        ("height", "Output height in pixels; the width follows.", whole),
        ("weights", "Weights by name.", _one_of([*engine.weights], engine.default)),
        ("format", "Format of the output.", _one_of(endings, "png")),
        ("quality", "Of JPEG and WebP.", {**whole, "maximum": 100, "default": 95}),
        ("precision", "Of the network's products.", _one_of([*PRECISIONS], "auto")),
        ("self_ensemble", "Mean over 8 flips and rotations.", switch),
        (
            "back_projection",
            "Correct the result so that, downscaled, it is closer to the input.",
            {**switch, "default": True},
        ),
        ("name", "Name of the picture, for messages and the output's name.", {"type": "string"}),
    ]
    binary = {"schema": {"type": "string", "format": "binary"}}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    statuses = {
        "400": "A wrong option, a size that is too large, or an empty body.",
        "413": "The file is too large.",
        "415": "The body is no picture, or a damaged one.",
        "422": "The picture could not be upscaled.",
        "429": "Too many pictures wait; try again later.",
        "507": "The disk is full.",
    }
    images = {choices.media_type(suffix): binary for suffix in FORMATS}
    operation = {
        "summary": "Upscale a picture",
        "parameters": [
            {"name": name, "in": "query", "description": about, "schema": schema}
            for name, about, schema in parameters
        ],
        "requestBody": {"required": True, "content": {"image/*": binary}},
        "responses": {
            "200": {"description": "The upscaled picture.", "content": images},
            **{s: {"description": text, "content": error} for s, text in statuses.items()},
        },
    }
    text = {"type": "string", "description": "One line."}
    return {
        "openapi": "3.1.0",
        "info": {"title": "liif", "version": __version__},
        "paths": {"/upscale": {"post": operation}},
        "components": {
            "schemas": {"Error": {"type": "object", "properties": {"error": text}}},
        },
    }


def _one_of(names: list[str], default: str) -> dict[str, Any]:
    return {"type": "string", "enum": names, "default": default}


ROUTES = [
    Route("/", home),
    Route("/upscale", upscale, methods=["POST"]),
    Route("/openapi.json", schema),
    Route("/docs", documentation),
]
"""All of the interface's."""
