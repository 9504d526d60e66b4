"""Stand-ins that need no model: for tests of every layer above the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from harness.engine.sequence import Job
from harness.engine.sequence import Sequence as Decoding
from harness.errors import EngineError
from harness.protocols import Ability, OnToken
from harness.records import EngineIdentity, Generation, Passage, Request, TokenScores

BOS, EOS, START, END = 256, 257, 258, 259
_SPECIAL = {BOS: "<s>", EOS: "</s>", START: "<|im_start|>", END: "<|im_end|>"}

FAKE_IDENTITY = EngineIdentity(
    mode="exact",
    width=16,
    chunk=256,
    llama_build="fake",
    backend="CPU",
    cpu_features="",
    n_gpu_layers=0,
)


class FakeTokenizer:
    """One token per byte, and four special tokens: BOS 256, EOS 257, ChatML's marks 258 and 259."""

    def __init__(
        self,
        *,
        add_bos: bool = True,
        has_bos: bool = True,
        chat_template: str | None = None,
        special: Mapping[int, str] = _SPECIAL,
    ) -> None:
        self.add_bos = add_bos and has_bos
        self.bos_id = BOS if has_bos else None
        self.eos_id = EOS if EOS in special else None
        self.chat_template = chat_template
        self.control_tokens = {t: text for t, text in special.items() if has_bos or t != BOS}
        self.eog_ids = frozenset({EOS, END} & set(special))
        self.fim_tokens: dict[str, int] = {}

    def token_text(self, token_id: int) -> str:
        """A token's text, special tokens rendered as written."""
        return self.control_tokens.get(token_id) or bytes([token_id]).decode("latin-1")

    def token_bytes(self, token_ids: Sequence[int]) -> list[bytes]:
        """Each token's byte, or the special token's text."""
        return [
            text.encode() if (text := self.control_tokens.get(token)) else bytes([token])
            for token in token_ids
        ]

    def tokenize(
        self, texts: Sequence[str], *, add_special: bool, parse_special: bool
    ) -> list[tuple[int, ...]]:
        """Bytes as token ids; ``parse_special`` recognises the special tokens' texts."""
        return [self._tokenize(text, add_special, parse_special) for text in texts]

    def close(self) -> None:
        """Nothing to end."""

    def __enter__(self) -> FakeTokenizer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tokenize(self, text: str, add_special: bool, parse_special: bool) -> tuple[int, ...]:
        found: list[int] = [BOS] if add_special and self.add_bos else []
        while text:
            marks = [
                (text.find(mark), token)
                for token, mark in self.control_tokens.items()
                if parse_special and mark in text
            ]
            place, token = min(marks, default=(len(text), -1))
            found += text[:place].encode("utf-8", "surrogatepass")
            if token >= 0:
                found.append(token)
                place += len(self.control_tokens[token])
            text = text[place:]
        return tuple(found)


class FakeEngine:
    """Answers from a mapping (prompt text or sample id -> answer) or a function of the request.

    Stop strings, limits and finish reasons are the real engine's; an answer's bytes are its
    tokens, then EOS. What no answer is known for gets an empty one.
    """

    def __init__(
        self,
        answers: Mapping[str, str] | Callable[[Request], str],
        *,
        identity: EngineIdentity = FAKE_IDENTITY,
        tokenizer: FakeTokenizer | None = None,
    ) -> None:
        self._answers = answers
        self.identity = identity
        self.notes: tuple[str, ...] = ()
        self.tokenizer = tokenizer or FakeTokenizer()
        self.abilities: frozenset[Ability] = frozenset({"rules", "rerank"})
        self.asked: list[Request] = []
        self.closed = False

    def generate(
        self, requests: Sequence[Request], *, on_token: OnToken | None = None
    ) -> Iterator[Generation]:
        """Yield each request's generation, in order."""
        for request in requests:
            self.asked.append(request)
            sequence = self._decode(request)
            answer = sequence.answer().decode("utf-8", "replace")
            if on_token is not None:
                on_token(request.key, answer)
            assert sequence.finish is not None
            yield Generation(
                request_key=request.key,
                text=bytes(sequence.text).decode("utf-8", "replace"),
                answer=answer,
                token_ids=tuple(sequence.tokens),
                finish_reason=sequence.finish,
                prompt_tokens=len(request.prompt.token_ids),
                completion_tokens=len(sequence.tokens),
            )

    def logprobs(self, texts: Sequence[Passage]) -> Iterator[TokenScores]:
        """Nothing is behind its answers that could be likely."""
        raise EngineError("the fake engine has no log-probabilities")

    def expect_another(self) -> None:
        """Nothing to make ready."""

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self, request: Request) -> Decoding:
        prompt = request.prompt
        sequence = Decoding(
            Job(
                key=request.key,
                tokens=prompt.token_ids,
                sampling=request.sampling,
                stops=prompt.stops,
                line_start=not prompt.prefill or prompt.prefill.endswith("\n"),
            )
        )
        for byte in self._answer(request).encode("utf-8"):
            if sequence.finish is None:
                sequence.accept(byte, bytes([byte]), end=False)
        if sequence.finish is None:
            sequence.accept(EOS, b"", end=True)
        return sequence

    def _answer(self, request: Request) -> str:
        if callable(self._answers):
            return self._answers(request)
        found = self._answers.get(request.prompt.text)
        return found if found is not None else self._answers.get(request.sample_id, "")
