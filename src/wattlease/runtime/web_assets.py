"""The page's files, read once into memory, compressed once, and nothing from any other host."""

from __future__ import annotations

import gzip
import hashlib
import html
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import PurePosixPath

import orjson
from aiohttp import web

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
ASK_AGAIN = "no-cache"  # may be kept, must be revalidated: the tag makes that cheap
A_YEAR = "public, max-age=31536000, immutable"  # its address carries the version


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it goes out: plain and compressed, with the tag that changes with its bytes."""

    body: bytes
    packed: bytes
    content_type: str
    tag: str
    keep: str

    @classmethod
    def of(cls, body: bytes, name: str, keep: str = ASK_AGAIN) -> Asset:
        """Pack the bytes of a file called `name`."""
        tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        return cls(body, gzip.compress(body, 6, mtime=0), TYPES[PurePosixPath(name).suffix], tag, keep)

    def answer(self, request: web.Request) -> web.Response:
        """Answer with the file, compressed where the browser takes it, or with 304 where it has it already."""
        headers = {"ETag": self.tag, "Cache-Control": self.keep, "Vary": "Accept-Encoding"}
        if self.tag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        if packed:
            headers["Content-Encoding"] = "gzip"
        body = self.packed if packed else self.body
        return web.Response(body=body, headers=headers, content_type=self.content_type, charset="utf-8")


@cache
def static_assets() -> dict[str, Asset]:
    """Read the files beside this module, by name, without the page itself."""
    folder = resources.files("wattlease.runtime") / "static"
    return {
        file.name: Asset.of(file.read_bytes(), file.name)
        for file in folder.iterdir()
        if PurePosixPath(file.name).suffix in TYPES and file.name != "index.html"
    }


@cache
def plotly_asset() -> Asset:
    """Read the chart library out of the installed plotly package: some 5 MB, 1.5 MB packed, 0.2 s once."""
    body = (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return Asset.of(body, "plotly.min.js", keep=A_YEAR)


def index_asset(controls: dict[str, object] | None) -> Asset:
    """Make the page: the address of the chart library and the ranges of the controls, "null" where it has none."""
    text = (resources.files("wattlease.runtime") / "static" / "index.html").read_text("utf-8")
    text = text.replace("{{plotly_version}}", html.escape(metadata.version("plotly")))
    text = text.replace("{{controls}}", html.escape(orjson.dumps(controls).decode()))
    return Asset.of(text.encode(), "index.html")
