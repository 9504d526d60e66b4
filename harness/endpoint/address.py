"""Where a server is, which model of it is meant, and the name of the variable with its key."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from harness.errors import ConfigError

Api = Literal["auto", "llama-server", "openai"]

TIMEOUT = 600.0
"""Seconds that one answer may take."""

RETRIES = 5
"""How often an exchange that failed for a passing reason is tried again."""

_KEY = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,4096}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def plain_url(text: str) -> str:
    """The root of a server's routes: without the last slash, and without ``/v1``.

    Raises ValueError for an address with a password, a query or a fragment: it is written into
    reports.
    """
    parts = urlsplit(text)
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname:
        raise ValueError(
            f"wanted a server's address such as http://127.0.0.1:8080, found {_bare(text)!r}"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            f"{_bare(text)}: an address is written into reports, so it holds no user, key, query "
            "or fragment; name the environment variable with the key in key_env"
        )
    try:
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{_bare(text)}: a port is a number up to 65535") from error
    root = f"{parts.scheme.lower()}://{parts.netloc}{parts.path.rstrip('/')}"
    return root.removesuffix("/v1").rstrip("/")


def _bare(text: str) -> str:
    """The address without what may be a secret in it."""
    return re.sub(r"//[^/]*@", "//", text.split("?")[0].split("#")[0])[:200]


@dataclass(frozen=True, slots=True)
class Address:
    """One model of one server. ``model`` is empty where the server's only one is meant."""

    url: str
    model: str = ""
    api: Api = "auto"
    key_env: str = ""
    timeout: float = TIMEOUT
    retries: int = RETRIES

    @property
    def is_local(self) -> bool:
        """Whether it is this machine: no proxy stands between, and nobody reads along."""
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    def key(self) -> str | None:
        """The key, from the environment alone; ConfigError where it is not there or no key."""
        if not self.key_env:
            return None
        if not _VARIABLE.fullmatch(self.key_env):
            raise ConfigError(
                "key_env is the name of an environment variable, such as OPENAI_API_KEY, not the "
                "key itself"
            )
        found = os.environ.get(self.key_env, "").strip()
        if not found:
            raise ConfigError(
                f"{self.url}: key_env names {self.key_env}, which is not set in the environment"
            )
        if not _KEY.fullmatch(found):
            raise ConfigError(
                f"{self.key_env} holds no key that a header can carry: letters, digits and signs "
                "without spaces or quotes"
            )
        return found
