"""Everything the harness raises on purpose.

    HarnessError                exit code 2: usage or environment
    ├── ConfigError             an experiment file or an option is wrong
    ├── SuiteError              a suite (prompt file) is wrong
    ├── TemplateError           a strategy template or chat template is wrong
    │   └── PromptContractError a rendered prompt breaks its contract (BOS, control tokens, stops)
    ├── CheckError              an unknown check or arguments a check cannot take
    ├── ModelError              a model cannot be found, fetched, read or trusted
    │   ├── ModelNotFound       nothing (or more than one thing) matches the name
    │   ├── ModelInvalid        the file is not a GGUF that llama.cpp may open
    │   ├── DigestMismatch      the bytes are not the bytes that were asked for
    │   ├── FetchError          the hub, the network or the disk said no
    │   ├── PairMismatch        two files cannot be compared as a pair
    │   └── QuantizeError       llama.cpp's quantizer refused or failed
    ├── EngineError             generation cannot go on
    │   ├── UnsupportedModel    the model does not generate text token after token
    │   ├── OutOfMemory         memory is short, of the machine or of a device; less may fit
    │   ├── ContextOverflow     a prompt and its budget do not fit the context
    │   └── EngineCrashed       the child process died and bisection did not help
    ├── StoreError              the answer store cannot be used
    ├── OutputError             a file or folder cannot be written where it was asked for
    └── Interrupted             Ctrl-C (exit code 130); what was finished is stored

A message is one line: what was asked, what was found, what to do next. Foreign exceptions are
translated once, where they enter, with ``raise ... from``.
"""

from __future__ import annotations


class HarnessError(Exception):
    """Base of every error a user can cause or cure; ``exit_code`` is the process's."""

    exit_code = 2

    def __str__(self) -> str:
        """The message on one line, whatever was interpolated into it."""
        return " ".join(super().__str__().split())


class ConfigError(HarnessError):
    """An experiment file or a command-line option is wrong."""


class SuiteError(HarnessError):
    """A suite is missing or one of its rows is wrong."""


class TemplateError(HarnessError):
    """A strategy template or a chat template is missing, invalid or fails to render."""


class PromptContractError(TemplateError):
    """A rendered prompt breaks its contract: BOS count, control tokens, stop strings."""


class CheckError(HarnessError):
    """An unknown check id, or arguments a check cannot take."""


class ModelError(HarnessError):
    """A model cannot be found, fetched, read or trusted."""


class ModelNotFound(ModelError):
    """No file, or more than one, matches what was asked for."""


class ModelInvalid(ModelError):
    """The file is not a GGUF that llama.cpp may open."""


class DigestMismatch(ModelError):
    """The bytes found are not the bytes that were pinned."""


class FetchError(ModelError):
    """The hub, the network or the disk refused a download."""


class PairMismatch(ModelError):
    """Two model files cannot be compared as members of one family."""


class QuantizeError(ModelError):
    """llama.cpp's quantizer refused or failed."""


class EngineError(HarnessError):
    """Generation cannot go on."""


class UnsupportedModel(EngineError):
    """The model does not generate text one token after another."""


class OutOfMemory(EngineError):
    """Memory is short, of the machine or of a device: a smaller plan may fit."""


class ContextOverflow(EngineError):
    """A prompt with its token budget does not fit the model's context."""


class EngineCrashed(EngineError):
    """The child process died and isolating the request did not help."""


class StoreError(HarnessError):
    """The answer store cannot be opened, read or written."""


class OutputError(HarnessError):
    """A file or a folder cannot be written where it was asked for."""


class Interrupted(HarnessError):
    """The user pressed Ctrl-C; everything finished so far is stored."""

    exit_code = 130
