"""Models that run elsewhere: a server that speaks llama-server's or OpenAI's API.

address     where it is and which key opens it
wire        one exchange: retries, limits, the key kept out of every text
dialect     a request as the API wants it, and its reply as a generation
discover    what the server is, and the traps of its routes
served      its tokenizer and its chat template
remote      many requests at once: the backend
"""

from __future__ import annotations

from harness.endpoint.address import Address, plain_url
from harness.endpoint.dialect import require_sampling
from harness.endpoint.discover import Server, discover
from harness.endpoint.remote import REMOTE, Remote
from harness.endpoint.served import ServedTemplate, ServerTokenizer
from harness.endpoint.wire import Wire

__all__ = [
    "REMOTE",
    "Address",
    "Remote",
    "ServedTemplate",
    "Server",
    "ServerTokenizer",
    "Wire",
    "discover",
    "plain_url",
    "require_sampling",
]
