"""A hub on this machine: speaks as much of Hugging Face's and ModelScope's protocols as a model download needs."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMITS = {"main": "a" * 40, "master": "a" * 40, "v2": "b" * 40}


@dataclass
class Hub:
    """What the hub has, how it misbehaves, and what was asked of it."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """Of the model org/tiny at main; at v2, config.json differs."""
    token: str | None = None
    """If set, org/tiny is gated: only this token sees it."""
    cut: dict[str, int] = field(default_factory=dict[str, int])
    """File -> bytes after which the connection is cut, each time that the file is asked for from the start."""
    served: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """(file, Range header) of each file that was sent."""

    def content(self, name: str, revision: str) -> bytes:
        content = self.files[name]
        return content if revision not in ("v2", COMMITS["v2"]) or name != "config.json" else b'{"of": "v2"}'

    def environment(self, home: str) -> dict[str, str]:
        """Sends both hubs' clients here, with empty caches of their own."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": f"{home}/hf",
            "HF_HUB_DISABLE_XET": "1",
            "MODELSCOPE_ENDPOINT": self.url,
            "MODELSCOPE_CACHE": f"{home}/ms",
            "MODELSCOPE_HOME": f"{home}/ms-home",
            "no_proxy": "127.0.0.1",
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), {key: values[0] for key, values in parse_qs(parts.query).items()}
        if found := re.fullmatch(r"/api/v1/models/(.+)/repo/files", path):
            self.modelscope_listing(found[1], query.get("Revision", "master"))
        elif found := re.fullmatch(r"/api/v1/models/(.+)/repo", path):
            if self.known(found[1], query.get("Revision", "master")):
                self.send_file(query["FilePath"], query.get("Revision", "master"))
        elif found := re.fullmatch(r"/api/models/(.+)/tree/([^/]+)", path):
            if self.known(found[1], found[2]):
                self.send_json(
                    200, [huggingface_entry(name, self.hub.content(name, found[2])) for name in self.hub.files]
                )
        elif found := re.fullmatch(r"/api/models/(.+?)(?:/revision/([^/]+))?", path):
            self.huggingface_info(found[1], found[2] or "main")
        elif found := re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", path):
            if self.known(found[1], found[2]):
                self.send_file(found[3], found[2])
        else:
            self.send_json(404, {"Code": 404, "Message": "not found"})

    def known(self, model: str, revision: str) -> bool:
        """Whether the caller may see the model and revision; if not, the answer is sent."""
        if model != "org/tiny":
            self.send_json(404, {"Code": 404, "Message": "model not exist"}, {"X-Error-Code": "RepoNotFound"})
        elif self.hub.token and self.hub.token not in str(self.headers):
            headers = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."}
            self.send_json(401 if self.path.startswith("/api/v1/") else 403, {"Code": 401, "Message": "login"}, headers)
        elif revision not in COMMITS and revision not in COMMITS.values():
            self.send_json(404, {"Code": 404, "Message": "revision not exist"}, {"X-Error-Code": "RevisionNotFound"})
        else:
            return True
        return False

    def huggingface_info(self, model: str, revision: str) -> None:
        if self.known(model, revision):
            sha = COMMITS.get(revision, revision)
            self.send_json(200, {"id": model, "sha": sha, "siblings": [{"rfilename": name} for name in self.hub.files]})

    def modelscope_listing(self, model: str, revision: str) -> None:
        if self.known(model, revision):
            entries = [
                {
                    "Path": name,
                    "Name": name,
                    "Type": "blob",
                    "Size": len(self.hub.content(name, revision)),
                    "Sha256": hashlib.sha256(self.hub.content(name, revision)).hexdigest(),
                }
                for name in self.hub.files
            ]
            self.send_json(200, {"Code": 200, "Success": True, "Data": {"Files": entries}})

    def send_json(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_file(self, name: str, revision: str) -> None:
        if name not in self.hub.files:
            self.send_json(404, {"Code": 404, "Message": "file not exist"}, {"X-Error-Code": "EntryNotFound"})
            return
        content = self.hub.content(name, revision)
        asked = self.headers.get("Range", "")
        ranged = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        first = int(ranged[1]) if ranged else 0
        last = int(ranged[2]) if ranged and ranged[2] else len(content) - 1
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMITS.get(revision, revision))
        if ranged:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.hub.served.append((name, asked))
        part = content[first : last + 1]
        if first == 0 and name in self.hub.cut:
            self.wfile.write(part[: self.hub.cut[name]])
            self.close_connection = True
            return
        with suppress(ConnectionError):  # a caller that was told to stop hangs up
            self.wfile.write(part)


def huggingface_entry(name: str, content: bytes) -> dict[str, Any]:
    sha256 = hashlib.sha256(content).hexdigest()
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": sha256[:40]}
    if name.endswith((".safetensors", ".bin")):
        entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 134}
    return entry


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    handler = type("OurHandler", (Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield hub
        server.shutdown()
        thread.join(5)
