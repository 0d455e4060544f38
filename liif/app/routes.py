"""The page's addresses: pictures, jobs, and the events of a tab."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import TypeVar
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from liif.app import options as choices
from liif.app.engine import plain_name
from liif.app.jobs import Job, Picture
from liif.app.limits import Refused
from liif.app.page import SAMPLES, Page
from liif.app.responses import NOTES, attachment, body, engine_of
from liif.images.write import FORMATS

_HEARTBEAT = 10.0
"""Seconds between signs of life to a tab, by which a lost connection is noticed."""
Kept = TypeVar("Kept", Picture, Job)


async def page(request: Request) -> Response:
    """The page."""
    shown: Page = request.app.state.page
    return Response(shown.html, media_type="text/html", headers=shown.headers)


async def events(request: Request) -> Response:
    """The states of a tab's jobs as they change; the tab counts as open while this is."""
    engine = engine_of(request)
    tab = engine.tab(request.query_params.get("tab", "")[:64])

    async def lines() -> AsyncIterator[str]:
        tab.streams += 1
        try:
            yield "retry: 500\n\n"
            while True:
                try:
                    async with asyncio.timeout(_HEARTBEAT):
                        for job in await tab.news():
                            yield f"data: {json.dumps(job.public(engine.ahead(job)))}\n\n"
                except TimeoutError:
                    yield ":\n\n"
        finally:
            tab.streams -= 1
            tab.left_at = time.monotonic()

    return StreamingResponse(lines(), media_type="text/event-stream")


async def add_picture(request: Request) -> Response:
    """Take an upload, or a sample by its name."""
    engine, query = engine_of(request), request.query_params
    key = query.get("tab", "")[:64]
    if not key:
        raise Refused("a tab is needed", 400)
    engine.tab(key)
    if name := query.get("sample"):
        if name not in SAMPLES:
            raise Refused("there is no such sample", 404)
        blocks = sample(request, name)
        picture = await engine.add(f"{name}.png", key, blocks)
    else:
        name = plain_name(query.get("name", ""))
        picture = await engine.add(name, key, body(request, name))
    return JSONResponse(picture.public(), status_code=201)


async def sample(request: Request, name: str) -> AsyncIterator[bytes]:
    """A bundled photograph, downscaled."""
    engine = engine_of(request)
    made = engine.folder / f"{name}.png"
    if not made.is_file():
        part = engine.folder / f"{name}.part.png"
        await engine.reader.run("sample", source=str(SAMPLES[name]), out=str(part))
        part.replace(made)
    yield made.read_bytes()


async def remove_picture(request: Request) -> Response:
    """Forget a picture, and stop its jobs."""
    await engine_of(request).remove(_picture(request))
    return Response(status_code=204)


async def original(request: Request) -> Response:
    """The uploaded file."""
    picture = _picture(request)
    return FileResponse(picture.file, headers=attachment(picture.name))


async def shown(request: Request) -> Response:
    """The picture as a browser can show it."""
    return FileResponse(_picture(request).folder / "lr.png", headers=_KEPT)


async def bicubic(request: Request) -> Response:
    """The picture upscaled by bicubic."""
    engine, picture = engine_of(request), _picture(request)
    options = choices.parse(request.query_params, engine.weights, engine.default)
    rows, cols = engine.size(picture, options)
    out = picture.folder / "bicubic.png"
    async with engine.drawing:
        await engine.reader.run("bicubic", path=str(picture.file), size=(rows, cols), out=str(out))
        data = await asyncio.to_thread(out.read_bytes)
    return Response(data, media_type="image/png", headers=_KEPT)


async def estimate(request: Request) -> Response:
    """Size, time and memory of what these options would make."""
    engine, picture = engine_of(request), _picture(request)
    options = choices.parse(request.query_params, engine.weights, engine.default)
    size = engine.size(picture, options)
    info = picture.info
    return JSONResponse(
        {
            "rows": size[0],
            "cols": size[1],
            "seconds": engine.estimates.seconds(picture.shape, size, options),
            "memory": engine.estimates.memory(picture.shape, size, info["channels"], info["bits"]),
        }
    )


async def add_job(request: Request) -> Response:
    """Upscale a picture with these options."""
    engine, picture = engine_of(request), _picture(request)
    options = choices.parse(request.query_params, engine.weights, engine.default)
    if options.suffix != ".png":
        raise Refused("the page's jobs make PNG; other formats are made for a download", 400)
    job = engine.submit(picture, options)
    return JSONResponse(job.public(engine.ahead(job)), status_code=201)


async def cancel(request: Request) -> Response:
    """Stop a job."""
    engine = engine_of(request)
    await engine.cancel(_job(request))
    return Response(status_code=204)


async def band(request: Request) -> Response:
    """A band of a picture that is being upscaled, as the page shows it."""
    job, number = _job(request), request.path_params["number"]
    if number >= len(job.bands):
        raise Refused("there is no such band", 404)
    return FileResponse(job.folder / f"band-{number}.png", headers=_KEPT)


async def result(request: Request) -> Response:
    """The upscaled picture as a file: the bytes that `liif upscale` writes."""
    engine, job = engine_of(request), _job(request)
    suffix = f".{request.path_params['suffix'].lower()}"
    if job.state != "done" or suffix not in FORMATS:
        raise Refused("there is no such result", 404)
    out = job.file.with_suffix(suffix) if suffix != ".png" else job.file
    notes = []
    if not out.is_file():
        notes = await engine.reader.run(
            "convert",
            path=str(job.picture.file),
            enlarged=str(job.file),
            out=str(out),
            quality=job.options.quality,
        )
    media = choices.media_type(suffix)
    headers = {**attachment(out.name), NOTES: "\t".join(map(quote, notes))}
    return FileResponse(out, media_type=media, headers=headers)


def _picture(request: Request) -> Picture:
    return _kept(engine_of(request).pictures, request.path_params["key"], "picture")


def _job(request: Request) -> Job:
    return _kept(engine_of(request).jobs, request.path_params["key"], "job")


def _kept(known: dict[str, Kept], key: str, what: str) -> Kept:
    try:
        return known[key]
    except KeyError:
        raise Refused(f"there is no such {what} any more", 404) from None


_KEPT = {"Cache-Control": "private, max-age=86400"}
"""Header of pictures that never change."""
ROUTES = [
    Route("/", page),
    Route("/events", events),
    Route("/pictures", add_picture, methods=["POST"]),
    Route("/pictures/{key}", remove_picture, methods=["DELETE"]),
    Route("/pictures/{key}/file", original),
    Route("/pictures/{key}/shown", shown),
    Route("/pictures/{key}/bicubic", bicubic),
    Route("/pictures/{key}/estimate", estimate),
    Route("/pictures/{key}/jobs", add_job, methods=["POST"]),
    Route("/jobs/{key}", cancel, methods=["DELETE"]),
    Route("/jobs/{key}/bands/{number:int}", band),
    Route("/jobs/{key}/result.{suffix}", result),
]
"""All of the page's."""
