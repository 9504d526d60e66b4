"""Every call to the hub: tried again after a fault that may pass, its errors translated once."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import TypeVar

from harness.errors import FetchError, HarnessError, ModelNotFound

_ATTEMPTS = 3
_LONGEST_PAUSE = 10.0
"""Seconds that are waited when a busy hub asks for it; more is for the user to decide."""
T = TypeVar("T")


def asking(where: str, ask: Callable[[], T]) -> T:
    """Call the hub; try again after a fault that may pass; translate what it raises, once."""
    from huggingface_hub.errors import HfHubHTTPError

    # It logs every retry as a warning; the outcome is told once, by us.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return ask()
        except HarnessError:
            raise
        except Exception as error:
            status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
            passing = status in (408, 429, 500, 502, 503, 504) or _network(error)
            pause = _pause(error, status)
            if attempt == _ATTEMPTS or not passing or pause > _LONGEST_PAUSE:
                raise _translated(where, error, status) from error
            time.sleep(attempt * pause)
    raise AssertionError("the last attempt returns or raises")


def _pause(error: Exception, status: int) -> float:
    """Seconds before the next attempt: what a 429 asks for."""
    if status == 429:
        asked = error.response.headers.get("Retry-After", "1")  # type: ignore[attr-defined]
        return float(asked) if re.fullmatch(r"[0-9]{1,9}", asked) else 1.0
    return 0.5


def _network(error: Exception) -> bool:
    """Whether the wire failed: httpx's TransportError (or httpx2's, which differs by version)."""
    return type(error).__name__ != "TooManyRedirects" and any(
        kind.__name__ == "TransportError" for kind in type(error).__mro__
    )


def _translated(where: str, error: Exception, status: int) -> HarnessError:
    from huggingface_hub import errors

    repo = where.split(":")[0]
    if isinstance(error, errors.GatedRepoError):
        return FetchError(
            f"{where} is gated ({status}): accept its terms at https://huggingface.co/{repo}, then "
            "set HF_TOKEN or run `hf auth login`"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return ModelNotFound(
            f"no repository {repo} on the hub ({status}); check the name, or set HF_TOKEN if it is "
            "private"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return ModelNotFound(f"{repo} has no such revision; check what stands after @")
    if isinstance(error, errors.EntryNotFoundError):
        return ModelNotFound(f"{where} is not on the hub; check the file's name")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return FetchError(f"{where} is not in the cache and HF_HUB_OFFLINE is set; unset it once")
    if status == 429:
        wait = _pause(error, status)
        asks = f" and asks to wait {wait:.0f} seconds" if wait > _LONGEST_PAUSE else "; wait"
        return FetchError(f"{where}: the hub says too many requests (429){asks}, then try again")
    if status:
        return FetchError(f"{where}: the hub answered {status}; try again later")
    if _network(error):
        reason = str(error) or type(error).__name__
        return FetchError(f"{where}: the hub cannot be reached ({reason}); check the network")
    if isinstance(error, OSError) and "Consistency check" in str(error):
        return FetchError(f"{where}: the hub sent another length than it lists; try again")
    if isinstance(error, OSError):
        return FetchError(
            f"{where}: {error.strerror or error}; check the disk and the cache folder"
        )
    if isinstance(error, errors.HFValidationError):
        return ModelNotFound(f"{where} is no name of a repository; write owner/repo:QUANT")
    said = str(error).strip().split("\n")[0][:160] or type(error).__name__
    return FetchError(
        f"{where}: the hub's answer cannot be understood ({said}); check HF_ENDPOINT and any proxy"
    )
