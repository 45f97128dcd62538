"""Whether the hub of models and data sets answers, found out in seconds: its own library asks for half a minute."""

from __future__ import annotations

import re

TIMEOUT_S = 5.0
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def silence_of_the_hub() -> str | None:
    """Why the hub does not answer; None where it does."""
    import httpx
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT_S)
    except httpx.TransportError as error:
        return str(error) or type(error).__name__
    return None


def is_hub_name(name: str) -> bool:
    """Whether a name can be a model's on the hub, owner/name; whether there is such a model is not asked."""
    return _NAME.fullmatch(name) is not None


def why_out_of_reach(model: str) -> str | None:
    """Why a model of the hub cannot be loaded: it is not in the cache, and the hub does not answer; else None."""
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(model, "config.json"), str):
        return None
    silence = silence_of_the_hub()
    if silence is None:
        return None
    return f"it is not in the cache of this machine, and the hub does not answer: {silence}"
