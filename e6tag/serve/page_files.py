"""The page's files: one HTML, one CSS, one JavaScript, an icon."""

from importlib import resources

from aiohttp import web

from e6tag.serve.guards import Handler

FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Name and content type by path."""


def add_routes(app: web.Application) -> None:
    """Reads the files and adds a route for each."""
    folder = resources.files("e6tag.serve") / "page"
    for path, (name, content_type) in FILES.items():
        text = (folder / name).read_text(encoding="utf-8")
        app.router.add_get(path, _handler(text, content_type))


def _handler(text: str, content_type: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=content_type)

    return answer
