"""The web client's files: a page, a service worker, a manifest, and what they load.

- Everything that the page loads is below `/app/<digest>/`, and never changes: the digest is that of
  all files together. So a browser keeps it for good, and a new version is a new folder.
- The page, the worker and the manifest are asked for anew each time, and have an `ETag`.
- What does not exist is a 404 in JSON, never a page: a script that is missing is not HTML.
- Each file is compressed once, when it is first asked for.
"""

from __future__ import annotations

import gzip
import html
import json
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Final

from imserver.domain.errors import ApiError, Code
from imserver.service.engine import Who
from imserver.transport.routes import Answer, RawCall, RawRoute

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from importlib.resources.abc import Traversable

_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".html": "text/html; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
_TEMPLATES: Final = ("page.html", "worker.js", "manifest.webmanifest")
_COMPRESSED: Final = (".js", ".css", ".svg", ".html", ".webmanifest")
_SCRIPT_POLICY: Final = "imserver"  # the one Trusted Types policy, for the address of the worker
_CONTENT_SECURITY_POLICY: Final = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
    "img-src 'self' blob:", "media-src 'self' blob:", "manifest-src 'self'", "worker-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
    "require-trusted-types-for 'script'", f"trusted-types {_SCRIPT_POLICY}",
))  # fmt: skip
_PAGE_HEADERS: Final = (
    ("Content-Security-Policy", _CONTENT_SECURITY_POLICY),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(self)"),
)
_IMMUTABLE: Final = "public, max-age=31536000, immutable"


@dataclass(slots=True)
class _File:
    content: bytes
    suffix: str
    compressed: bytes = b""
    etag: str = field(default="")

    def answer(self, call: RawCall, cache: str, more: tuple[tuple[str, str], ...] = ()) -> Answer:
        """The file, or that the client has it already."""
        self.etag = self.etag or f'"{sha256(self.content).hexdigest()[:24]}"'
        headers = (
            ("Content-Type", _TYPES[self.suffix]),
            ("Cache-Control", cache),
            ("ETag", self.etag),
            ("Vary", "Accept-Encoding"),
            *more,
        )
        if self.etag in (call.head.text("If-None-Match") or ""):
            return Answer(304, headers=headers)
        accepted = (call.head.text("Accept-Encoding") or "").replace(" ", "").split(",")
        if self.suffix in _COMPRESSED and "gzip" in accepted:
            self.compressed = self.compressed or gzip.compress(self.content, mtime=0)
            return Answer(200, self.compressed, (*headers, ("Content-Encoding", "gzip")))
        return Answer(200, self.content, headers)


def web_files(*, title: str, base_path: str, mode: str) -> list[RawRoute]:
    """The routes of the web client.

    Args:
        title: what the page and the installed app are called.
        base_path: where a reverse proxy serves us, without a slash at the end; "": at the top.
        mode: how users come in (`auth.mode`), for the page to know.
    """
    sources = dict(_walk(resources.files("imserver") / "web"))
    templates = {name: sources.pop(name).decode() for name in _TEMPLATES}
    digest = sha256()
    for name, content in sorted([*sources.items(), *_encoded(templates)]):
        digest.update(b"%d %s %d " % (len(name), name.encode(), len(content)) + content)
    folder = digest.hexdigest()[:16]
    app = f"{base_path}/app/{folder}"
    files = {name: _File(content, _suffix(name)) for name, content in sources.items()}
    listing = json.dumps([f"{app}/{name}" for name in sorted(sources)])
    values = {"base": base_path, "app": app, "title": title, "mode": mode}
    # All modules are asked for at once, not one behind the other.
    preloads = "\n".join(
        f'<link rel="modulepreload" href="{app}/{name}">'
        for name in sorted(sources)
        if name.endswith(".js")
    )
    template = templates["page.html"].replace("{{preloads}}", preloads)
    page = _File(_fill(template, values, html.escape), ".html")
    worker_values = {"base": base_path, "version": folder, "files": listing}
    worker = _File(_fill(templates["worker.js"], worker_values, str), ".js")
    in_json = _fill(templates["manifest.webmanifest"], values, lambda text: json.dumps(text)[1:-1])
    manifest = _File(in_json, ".webmanifest")

    async def app_file(call: RawCall) -> Answer:
        found = files.get(call.path["name"]) if call.path["digest"] == folder else None
        if found is None:
            raise ApiError(Code.NOT_FOUND, "There is no such file")
        return found.answer(call, _IMMUTABLE)

    def fresh(file: _File, more: tuple[tuple[str, str], ...] = ()) -> RawHandler:
        async def handle(call: RawCall) -> Answer:
            return file.answer(call, "no-cache", more)

        return handle

    return [
        _open("/", fresh(page, _PAGE_HEADERS)),
        _open("/c/{rest*}", fresh(page, _PAGE_HEADERS)),
        _open("/worker.js", fresh(worker, _PAGE_HEADERS)),
        _open("/manifest.webmanifest", fresh(manifest)),
        _open("/app/{digest}/{name*}", app_file),
    ]


if TYPE_CHECKING:
    RawHandler = Callable[[RawCall], Awaitable[Answer]]


def _open(path: str, handle: RawHandler) -> RawRoute:
    return RawRoute("GET", path, handle, who=Who.ANYONE)


def _encoded(texts: dict[str, str]) -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, text in texts.items()]


def _fill(template: str, values: dict[str, str], escape: Callable[[str], str]) -> bytes:
    for name, value in values.items():
        template = template.replace("{{" + name + "}}", escape(value))
    return template.encode()


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]


def _walk(folder: Traversable, prefix: str = "") -> list[tuple[str, bytes]]:
    """All files below a folder that browsers load, by their paths."""
    found = []
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            if entry.name not in ("__pycache__", "types"):
                found += _walk(entry, f"{name}/")
        elif _suffix(name) in _TYPES:
            found.append((name, entry.read_bytes()))
    return found
