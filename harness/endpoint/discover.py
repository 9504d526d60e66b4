"""What a server is: its API, its model, what it says of itself, and the traps of its routes.

Asked for once before the plan is made: what is found is part of every answer's key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from harness.endpoint.address import Address
from harness.endpoint.dialect import extra_fields, openai_said
from harness.endpoint.wire import Fault, Wire
from harness.errors import ModelNotFound
from harness.hashing import canonical_json, text_sha256
from harness.intake import near, shown
from harness.records import Sampling

_TEMPLATE_FROM = 4
"""One letter is one token, with a BOS two and with a tokenizer's EOS three; more is a template."""

_MODELS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Server:
    """A model at an address, as its server describes it.

    ``about`` is what it says of build, template and file; ``context`` its tokens per sequence (0:
    untold); ``extras`` whether it takes decoding fields beyond OpenAI's. ``no_text`` and
    ``no_chat`` say why its completion or chat route cannot be used, empty where it can.
    """

    address: Address
    api: Literal["llama-server", "openai"]
    model: str
    about: Mapping[str, Any]
    context: int = 0
    bos: str = ""
    eos: str = ""
    template: str = ""
    extras: bool = True
    no_text: str = ""
    no_chat: str = ""
    takes_system: bool = True
    notes: tuple[str, ...] = ()

    @property
    def identity(self) -> str:
        """All that tells it from another: a server that says something else is another one."""
        return canonical_json([self.address.url, self.model, self.api, dict(self.about)])

    def written(self) -> dict[str, Any]:
        """It as a mapping that travels with the model; :meth:`read` makes it again."""
        return asdict(self)

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Server:
        """The server that :meth:`written` described."""
        values = dict(written)
        address = Address(**values.pop("address"))
        return cls(address, **{**values, "notes": tuple(values["notes"])})


async def discover(wire: Wire) -> Server:
    """Ask a server what it is and try its routes with one letter.

    Raises ModelNotFound for a model that it does not have, Fault where it cannot be asked.
    """
    server = await described(wire)
    if server.api == "llama-server":
        return server
    server = await _with_text_route(wire, server)
    return await _with_chat_route(wire, server)


async def described(wire: Wire) -> Server:
    """What a server says of itself; its routes are not tried. Raises as :func:`discover`."""
    address = wire.address
    props = None if address.api == "openai" else await _optional(wire, "/props")
    if not isinstance(props, dict) or "default_generation_settings" not in props:
        props = None
    if props is None and address.api == "llama-server":
        raise ModelNotFound(
            f"{address.url} is no llama-server: it has no /props; leave `api` out, or say openai"
        )
    listed = await _listed(wire)
    name = _named(address, listed)
    if props is not None:
        return _llama_server(address, props, listed, name)
    about: dict[str, Any] = {}
    version = await _optional(wire, "/version")
    if isinstance(version, dict) and isinstance(version.get("version"), str):
        about["version"] = version["version"][:80]
    entry = listed.get(name, {})
    for field in ("owned_by", "root", "max_model_len"):
        if isinstance(entry.get(field), (str, int)):
            about[field] = entry[field] if isinstance(entry[field], int) else entry[field][:200]
    context = about.get("max_model_len")
    return Server(address, "openai", name, about, context if isinstance(context, int) else 0)


def _llama_server(
    address: Address, props: Mapping[str, Any], listed: Mapping[str, Any], name: str
) -> Server:
    settings = props["default_generation_settings"]
    context = settings.get("n_ctx") if isinstance(settings, dict) else 0
    template = _text(props, "chat_template")
    about: dict[str, Any] = {
        "build": _text(props, "build_info")[:80],
        "file": _text(props, "model_path").replace("\\", "/").rpartition("/")[2][:200],
        "template": text_sha256(template) if template else "",
        "context": context if isinstance(context, int) else 0,
    }
    meta = listed.get(name, {}).get("meta")
    for field in ("n_vocab", "n_params", "size", "n_ctx_train"):
        if isinstance(meta, dict) and isinstance(meta.get(field), int):
            about[field] = meta[field]
    return Server(
        address,
        "llama-server",
        name,
        about,
        about["context"],
        bos=_text(props, "bos_token"),
        eos=_text(props, "eos_token"),
        template=template,
        no_chat="" if template else "the server has no chat template",
    )


def _text(props: Mapping[str, Any], name: str) -> str:
    value = props.get(name)
    return value if isinstance(value, str) else ""


async def _optional(wire: Wire, route: str) -> Any:
    """A route's value, None where the server has no such route or guards it."""
    try:
        return await wire.ask(route)
    except Fault as fault:
        if fault.kind in {"route", "refused"} or fault.status == 501:
            return None
        raise


async def _listed(wire: Wire) -> dict[str, dict[str, Any]]:
    """The models a server lists, by name; empty where it has no list."""
    value = await _optional(wire, "/v1/models")
    rows = value.get("data") if isinstance(value, dict) else None
    entries = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return {row["id"]: row for row in entries if isinstance(row.get("id"), str)}


def _named(address: Address, listed: Mapping[str, Any]) -> str:
    """The model that is meant, as the server calls it."""
    wanted, names = address.model, list(listed)
    told = ", ".join(shown(name) for name in names[:_MODELS_SHOWN])
    if not names:
        if wanted:
            return wanted
        raise ModelNotFound(
            f"{address.url} lists no models: is this the address of an API? If it is, name the "
            "model: {endpoint: ..., model: NAME}"
        )
    if not wanted:
        if len(names) == 1:
            return names[0]
        raise ModelNotFound(f"{address.url} has {len(names)} models: name one of {told}")
    fits = [name for name in names if wanted in (name, name.replace("\\", "/").split("/")[-1])]
    if len(fits) != 1:
        raise ModelNotFound(
            f"{address.url} has no model {shown(wanted)}; {near(wanted, names)}it has {told}"
        )
    return fits[0]


def _probe(server: Server, extras: bool, **asked: Any) -> dict[str, Any]:
    fields = extra_fields(Sampling()) if extras else {}
    return {"model": server.model, "max_tokens": 1, "temperature": 0.0, **fields, **asked}


async def _with_text_route(wire: Wire, server: Server) -> Server:
    """The server with what its completion route adds to a text, and which fields it takes."""
    for extras in (True, False):
        try:
            value = await wire.ask("/v1/completions", _probe(server, extras, prompt="a"))
        except Fault as fault:
            if fault.kind == "refused" and extras:
                continue  # OpenAI's own API takes no fields but its own
            if fault.kind in {"route", "refused"}:
                return replace(server, no_text=f"the server has no completion route: {fault}")
            raise
        said = openai_said(value)
        server = replace(server, extras=extras)
        require_same_model(server, said.model)
        return _with_added(server, said.prompt_tokens)
    raise AssertionError("the second try returns or raises")


def _with_added(server: Server, counted: int | None) -> Server:
    """What one letter's count of tokens says of the completion route."""
    if counted is None:
        told = "it does not count tokens: what its routes add to a prompt, or cut off, is not known"
        return replace(server, notes=(*server.notes, told))
    if counted >= _TEMPLATE_FROM:
        why = (
            f"the completion route makes {counted} tokens of one letter: it puts a template around "
            "what it is given, so nothing can be asked raw"
        )
        return replace(server, no_text=why)
    if counted > 1:
        told = "the completion route puts a BOS before a text, as llama.cpp does where a model asks"
        about = {**server.about, "adds": counted - 1}
        return replace(server, about=about, notes=(*server.notes, told))
    return server


async def _with_chat_route(wire: Wire, server: Server) -> Server:
    """The server with what its chat route does to a system message."""
    user = {"role": "user", "content": "a"}
    system = {"role": "system", "content": "one two three four"}

    async def asked(messages: list[dict[str, str]]) -> int | None:
        value = await wire.ask(
            "/v1/chat/completions", _probe(server, server.extras, messages=messages)
        )
        said = openai_said(value)
        require_same_model(server, said.model)
        return said.prompt_tokens

    try:
        alone = await asked([user])
    except Fault as fault:
        if fault.kind in {"route", "refused"}:
            return replace(server, no_chat=f"the server has no chat route: {fault}")
        raise
    try:
        both = await asked([system, user])
    except Fault as fault:
        if fault.kind in {"route", "key"}:
            raise
        return replace(server, takes_system=False)
    if alone is not None and both is not None and both <= alone:
        told = "its chat template drops a system message: it is put into the user's turn"
        return replace(server, takes_system=False, notes=(*server.notes, told))
    return server


def require_same_model(server: Server, answered: str) -> None:
    """Raise ModelNotFound when another model answers than the one that was named."""
    if answered and answered != server.model and not _same_name(answered, server.model):
        raise ModelNotFound(
            f"{server.address.url} was asked for {shown(server.model)} and {shown(answered)} "
            "answers: name the model that the server has"
        )


def _same_name(answered: str, named: str) -> bool:
    """A dated release of the named model (``name-2025-01-31``), or its path's last part."""
    return answered.startswith(f"{named}-") or answered.endswith(f"/{named}")
