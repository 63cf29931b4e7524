"""config.json of a hub's model, for estimates of models that the catalogue does not know.

Asked for in a thread with a short wait, kept on disk, and not asked again for a while if there was none: typing a model's name
into the form must never hang on a hub that is slow or away.
"""

import hashlib
import json
import os
import re
import time
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from tunescope.problems import FieldError, InvalidInput
from tunescope.settings import ServerSettings
from tunescope.spec import Model

WAIT_SECONDS = 2.5
ASK_SECONDS = 10.0
FORGET_REFUSAL_SECONDS = 60.0
LARGEST_BYTES = 4 * 1024**2
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
FIX = "choose a model of the catalogue, or ask an admin to add its directory to the library"

_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="hub-config")
_asked: dict[str, tuple[float, "Future[dict[str, Any]]"]] = {}
"""URL -> when it was asked (monotonic seconds), and the answer."""


class NoConfig(Exception):
    """Why there is none, in words."""


def hub_config(settings: ServerSettings, model: Model) -> dict[str, Any]:
    """The config.json of a hub's model. Raises InvalidInput that says why it is not known."""
    name = "ModelScope" if model.source == "modelscope" else "Hugging Face"
    if not HUB_ID.fullmatch(model.id):
        raise unknown(model, "is not in the catalogue, and not a hub id (owner/name)")
    if not settings.ask_hubs:
        raise unknown(model, f"is not in the catalogue, and this server does not ask {name}")
    url = config_url(model)
    kept = settings.data_dir / "cache" / "configs" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"
    try:
        return json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    try:
        config = asked(url, name).result(WAIT_SECONDS)
    except TimeoutError as error:
        raise unknown(model, f"is still being looked up on {name}; ask again in a moment") from error
    except NoConfig as error:
        raise unknown(model, str(error)) from error
    keep(kept, config)
    return config


def unknown(model: Model, why: str) -> InvalidInput:
    return InvalidInput(
        f"The memory of {model.id} cannot be estimated: it {why}.", FIX, [FieldError("model.id", why, FIX)]
    )


def config_url(model: Model) -> str:
    if model.source == "modelscope":
        endpoint = os.environ.get("MODELSCOPE_ENDPOINT") or "https://www.modelscope.cn"
        revision = quote(model.revision or "master", safe="")
        return f"{endpoint.rstrip('/')}/api/v1/models/{model.id}/repo?Revision={revision}&FilePath=config.json"
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return f"{endpoint.rstrip('/')}/{model.id}/resolve/{quote(model.revision or 'main', safe='')}/config.json"


def asked(url: str, hub: str) -> "Future[dict[str, Any]]":
    """The answer on its way; the same one for everybody who asks meanwhile."""
    now = time.monotonic()
    for old in [key for key, (at, future) in _asked.items() if future.done() and now - at > FORGET_REFUSAL_SECONDS]:
        _asked.pop(old, None)
    if url not in _asked:
        _asked[url] = now, _threads.submit(ask, url, hub)
    return _asked[url][1]


def ask(url: str, hub: str) -> dict[str, Any]:
    """Raises NoConfig."""
    token = None if hub == "ModelScope" else os.environ.get("HF_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.stream("GET", url, headers=headers, timeout=ASK_SECONDS, follow_redirects=True) as response:
            if response.status_code in (401, 403):
                raise NoConfig(f"is gated, private or missing on {hub}")
            if response.status_code == 404:
                raise NoConfig(f"has no config.json on {hub}")
            if not response.is_success:
                raise NoConfig(f"is not in the catalogue, and {hub} answered {response.status_code}")
            body = b""
            for piece in response.iter_bytes():
                body += piece
                if len(body) > LARGEST_BYTES:
                    raise NoConfig(f"has a config.json on {hub} that is far too long")
        config = json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoConfig(f"is not in the catalogue, and {hub} does not answer") from error
    except (ValueError, RecursionError) as error:
        raise NoConfig(f"has a config.json on {hub} that cannot be read") from error
    if not isinstance(config, dict):
        raise NoConfig(f"has a config.json on {hub} that is no JSON object")
    return config


def keep(file: Path, config: dict[str, Any]) -> None:
    """Write it for later; a full disk is no reason not to answer."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        half_written = file.with_suffix(f".{os.getpid()}")
        half_written.write_text(json.dumps(config), encoding="utf-8")
        half_written.rename(file)
    except OSError:
        return
