"""The backend of stages that name a server's address instead of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.config import ENDPOINT, Experiment, Stage
from harness.endpoint import (
    REMOTE,
    Address,
    Remote,
    ServedTemplate,
    Server,
    ServerTokenizer,
    Wire,
    discover,
    plain_url,
    require_sampling,
)
from harness.endpoint.address import RETRIES, TIMEOUT
from harness.errors import ConfigError
from harness.experiment.backend import Finding, StageModel
from harness.experiment.files import stage_template
from harness.protocols import Ability
from harness.protocols import ServedTemplate as Served
from harness.records import EngineIdentity, EngineSettings, ModelFile
from harness.strategies import NO_PREFILL


class Endpoint:
    """Models behind llama-server's or OpenAI's API; see :mod:`harness.endpoint`."""

    name = ENDPOINT
    abilities: frozenset[Ability] = Remote.abilities

    def models(
        self, experiment: Experiment, stages: Sequence[str], finding: Finding
    ) -> list[StageModel]:
        """The stages' models, each server asked what it is. Raises ConfigError or ModelNotFound."""
        return [
            _stage_model(experiment, name, level, finding)
            for name in stages
            for level in _levels(experiment, name)
        ]

    def identity(self, settings: EngineSettings) -> EngineIdentity:
        """Nothing that a server's own digest does not say."""
        return REMOTE

    def tokenizer(self, model: ModelFile) -> ServerTokenizer | None:
        """The server's, where it shows one."""
        server = server_of(model)
        return ServerTokenizer(server) if server.api == "llama-server" else None

    def devices(self) -> tuple[()]:
        """Layers are where the server has put them."""
        return ()

    def about(self) -> Mapping[str, Any]:
        """Each server's own words stand with its model."""
        return {}

    def open(
        self, model: ModelFile, settings: EngineSettings, devices: Sequence[str] = ()
    ) -> Remote:
        """A connection that keeps ``settings.parallel`` requests under way."""
        return Remote(server_of(model), parallel=settings.parallel)

    def dismiss(self) -> None:
        """Nothing was made ready."""


def server_of(model: ModelFile) -> Server:
    """The server behind a model that :meth:`Endpoint.models` named."""
    return Server.read(model.metadata[ENDPOINT])


def _levels(experiment: Experiment, name: str) -> Sequence[str]:
    """The levels a stage has answers at: all where its name tells them apart, else the only one."""
    stage, levels = experiment.stages[name], experiment.level_names
    if "{level}" in f"{stage.endpoint}{stage.model}" or len(levels) == 1:
        return levels
    raise ConfigError(
        f"{experiment.origin}: stage {name} is one model of a server and the experiment has levels "
        f"{', '.join(levels)}; write {{level}} where the model's name or the address tells them "
        "apart, or keep one level"
    )


def _stage_model(experiment: Experiment, name: str, level: str, finding: Finding) -> StageModel:
    stage = experiment.stages[name]
    address = _address(stage, level, f"{experiment.origin}: stages.{name}.endpoint")
    finding.say(f"asking {address.url} what it is")
    with Wire(address) as wire:
        server = wire.wait(discover(wire))
    require_sampling(
        experiment.sampling.record(),
        where=f"{experiment.origin}: stage {name} ({address.url})",
        native=server.api == "llama-server",
        extras=server.extras,
    )
    named = ModelFile.named(server.model, server.identity)
    model = replace(
        named,
        context_length=server.context,
        tokenizer_digest=named.sha256,
        metadata={ENDPOINT: server.written()},
    )
    template = stage_template(stage, finding.base_dir)
    parallel = experiment.engine.parallel
    settings = EngineSettings("remote", parallel, parallel, 0, server.context)
    return StageModel(
        name,
        level,
        model,
        None,
        template or _served(server),
        ENDPOINT,
        _told(name, level, address),
        settings,
        _unable(server, own=template is not None),
    )


def _address(stage: Stage, level: str, where: str) -> Address:
    assert stage.endpoint is not None
    try:
        url = plain_url(stage.endpoint.replace("{level}", level))
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    return Address(
        url=url,
        model=stage.model.replace("{level}", level),
        api=stage.api or "auto",
        key_env=stage.key_env or "",
        timeout=stage.timeout or TIMEOUT,
        retries=RETRIES if stage.retries is None else stage.retries,
    )


def _served(server: Server) -> Served | None:
    return None if server.no_chat else ServedTemplate(server)


def _told(name: str, level: str, address: Address) -> tuple[str, ...]:
    if address.key_env and address.url.startswith("http:") and not address.is_local:
        return (f"{name}/{level}: the key of {address.key_env} crosses the network unencrypted",)
    return ()


def _unable(server: Server, *, own: bool) -> dict[str, str]:
    """Ways this server cannot be asked in; a template of the stage's ``own`` goes as text."""
    found = {"text": server.no_text} if server.no_text else {}
    if own:
        return {**found, "native": server.no_text} if server.no_text else found
    if server.no_chat:
        found["native"] = server.no_chat
    if server.api != "llama-server":
        found["prefill"] = NO_PREFILL
    return found
