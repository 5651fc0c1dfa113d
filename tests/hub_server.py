"""A hub on this machine that can misbehave, for the real library without a network."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef" * 2 + "01234567"
ROOT = Path(__file__).resolve().parents[1]


class Hub(ThreadingHTTPServer):
    """Serves a folder as the repository "a/b".

    ``status`` answers every request with an error. ``cut`` ends the first answer with each file
    after half of its bytes. ``wrong`` sends other bytes of the right length. ``tokens`` are the
    authorizations that came.
    """

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        self.status = 0
        self.cut: set[str] = set()
        self.wrong: set[str] = set()
        self.tokens: set[str] = set()
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        pass  # a client that went away


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.server
        hub.tokens.add(self.headers.get("Authorization", ""))
        hub.asked.append(f"{self.command} {self.path}")
        path = self.path.split("?")[0]
        if hub.status:
            code = {401: "RepoNotFound", 403: "GatedRepo", 404: "RepoNotFound"}.get(hub.status, "")
            self._send(hub.status, b"{}", {"X-Error-Code": code} if code else {})
        elif path.startswith("/api/models/a/b/tree/"):
            self._send(200, json.dumps(self._tree()).encode(), {})
        elif path.startswith("/api/models/a/b"):
            self._send(200, json.dumps(self._listing()).encode(), {})
        elif (found := re.fullmatch(r"/a/b/resolve/[^/]+/(.+)", path)) and found[1] in hub.files:
            self._file(found[1], hub.files[found[1]])
        else:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def _listing(self) -> dict[str, Any]:
        files = []
        for name, content in self.server.files.items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
            if name.endswith(".safetensors"):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            files.append(entry)
        return {"id": "a/b", "modelId": "a/b", "sha": COMMIT, "private": False, "tags": [],
                "downloads": 0, "likes": 0, "siblings": files}  # fmt: skip

    def _tree(self) -> list[dict[str, Any]]:
        files = self._listing()["siblings"]
        return [
            {"type": "file", "path": each["rfilename"], "oid": each["blobId"], "size": each["size"]}
            | ({"lfs": {**each["lfs"], "oid": each["lfs"]["sha256"]}} if "lfs" in each else {})
            for each in files
        ]

    def _file(self, name: str, content: bytes) -> None:
        hub = self.server
        digest = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{digest}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if name.endswith(".safetensors"):
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        if name in hub.wrong:
            content = bytes(reversed(content))
        start = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        code, first = 200, 0
        if start:
            code, first = 206, int(start[1])
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        if self.command == "GET" and name in hub.cut:
            hub.cut.discard(name)
            self._send(code, content[first:], headers, sent=(len(content) - first) // 2)
            self.close_connection = True
        else:
            self._send(code, content[first:], headers)

    def _send(
        self, code: int, content: bytes, headers: dict[str, str], sent: int | None = None
    ) -> None:
        self.send_response(code)
        for key, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[:sent])


@contextmanager
def running(folder: Path) -> Iterator[Hub]:
    hub = Hub(folder)
    thread = threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


def start(program: str, address: str, home: Path, **environment: str) -> subprocess.Popen[str]:
    """Start a Python program that asks a hub, with a home and a cache of its own."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    known = {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(ROOT),
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env={**clean, **known, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
