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
from tunescope.sentences import Sentence, say
from tunescope.settings import ServerSettings
from tunescope.spec import Model

WAIT_SECONDS = 2.5
ASK_SECONDS = 10.0
FORGET_REFUSAL_SECONDS = 60.0
LARGEST_BYTES = 4 * 1024**2
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
FIX = say("choose_or_ask_for_library")

_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="hub-config")
_asked: dict[str, tuple[float, "Future[dict[str, Any]]"]] = {}
"""URL -> when it was asked (monotonic seconds), and the answer."""


class NoConfig(Exception):
    """Why there is none: ``why``."""

    def __init__(self, why: Sentence) -> None:
        super().__init__(why.text)
        self.why = why


def hub_config(settings: ServerSettings, model: Model) -> dict[str, Any]:
    """The config.json of a hub's model. Raises InvalidInput that says why it is not known."""
    name = "ModelScope" if model.source == "modelscope" else "Hugging Face"
    if not HUB_ID.fullmatch(model.id):
        raise unknown(model, say("config_of_no_hub_id"))
    if not settings.ask_hubs:
        raise unknown(model, say("config_hub_not_asked", hub=name))
    url = config_url(model)
    kept = settings.data_dir / "cache" / "configs" / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.json"
    try:
        return json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    try:
        config = asked(url, name).result(WAIT_SECONDS)
    except TimeoutError as error:
        raise unknown(model, say("config_being_looked_up", hub=name)) from error
    except NoConfig as error:
        raise unknown(model, error.why) from error
    keep(kept, config)
    return config


def unknown(model: Model, why: Sentence) -> InvalidInput:
    return InvalidInput(
        say("memory_cannot_be_estimated", model=model.id, why=why),
        FIX,
        [FieldError("model.id", why.text, FIX.text, "no_config_known", {"why": why})],
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
                raise NoConfig(say("config_gated_or_missing", hub=hub))
            if response.status_code == 404:
                raise NoConfig(say("config_not_on_hub", hub=hub))
            if not response.is_success:
                raise NoConfig(say("config_hub_answered", hub=hub, status=response.status_code))
            body = b""
            for piece in response.iter_bytes():
                body += piece
                if len(body) > LARGEST_BYTES:
                    raise NoConfig(say("config_too_long", hub=hub))
        config = json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoConfig(say("config_hub_silent", hub=hub)) from error
    except (ValueError, RecursionError) as error:
        raise NoConfig(say("config_unreadable", hub=hub)) from error
    if not isinstance(config, dict):
        raise NoConfig(say("config_no_object", hub=hub))
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
