"""`e6tag serve`: a page in the browser and a JSON API."""

from pathlib import Path
from typing import Annotated

import typer

from e6tag.commands.options import BundleOption, Device, DeviceOption, find_bundle

EXTRA = "serve"
"""The extra that brings what this command needs."""

PORT = 8621


def serve(
    *,
    bundle: BundleOption = None,
    index: Annotated[
        Path | None,
        typer.Option(
            help="File of e6tag embed, for similar images.", metavar="FILE.parquet"
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 127.0.0.1 is this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes any.", min=0, max=65535)
    ] = PORT,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name by which browsers may ask; may be repeated."),
    ] = None,
    device: DeviceOption = Device.CPU,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processes that decode images. [default: one per core]"
        ),
    ] = None,
    max_megabytes: Annotated[
        int, typer.Option(min=1, help="Size of an image file at most.")
    ] = 20,
    max_megapixels: Annotated[
        int, typer.Option(min=1, max=178, help="Pixels of an image at most.")
    ] = 50,
    queue: Annotated[
        int, typer.Option(min=1, help="Requests at once; to more it answers 503.")
    ] = 256,
) -> None:
    """Tag images in the browser, or from programs through a JSON API."""
    from e6tag import extras

    for package in ("aiohttp", "prometheus_client"):
        extras.load(package, extra=EXTRA)

    from e6tag.devices import open_tagger
    from e6tag.serve import server
    from e6tag.serve.limits import MEBIBYTE, Limits
    from e6tag.serve.neighbours import Neighbours

    tagger = open_tagger(find_bundle(bundle), gpu=device is Device.GPU)
    neighbours = None if index is None else Neighbours(index, tagger.bundle)
    limits = Limits.for_images(
        max_bytes=max_megabytes * MEBIBYTE,
        max_pixels=max_megapixels * 1_000_000,
        queue=queue,
        workers=workers,
    )
    names = [host, *(allow_host or [])]
    app = server.make_app(tagger, limits, names, neighbours)
    server.run(app, server.Address(host, port), _say_ready)


def _say_ready(url: str) -> None:
    from e6tag.serve.server import is_loopback

    print(f"Open {url} (Ctrl+C ends the server)", flush=True)
    if not is_loopback(url):
        print("Whoever reaches this port can use it: there is no login.", flush=True)
