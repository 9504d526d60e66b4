"""An engine's child processes, one after another: the state each is in, and what may follow it.

::

    absent -> loading -> idle <-> busy       a child dies, or is given up: absent again
    anything -> halted -> absent             another thread says stop; until resumed
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from harness.engine.pipe import Abandoned, Child, ChildDied
from harness.errors import EngineError


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no child; whoever needs one starts it."""


@dataclass(frozen=True, slots=True)
class Loading:
    """The child reads the model."""

    child: Child


@dataclass(frozen=True, slots=True)
class Idle:
    """The child waits for something to do."""

    child: Child


@dataclass(frozen=True, slots=True)
class Busy:
    """The child is in an exchange with somebody."""

    child: Child


@dataclass(frozen=True, slots=True)
class Halted:
    """There is no child, and none may start."""


State: TypeAlias = Absent | Loading | Idle | Busy | Halted

FOLLOWING: dict[type[State], set[type[State]]] = {
    Absent: {Loading, Halted},
    Loading: {Idle, Absent, Halted},
    Idle: {Busy, Absent, Halted},
    Busy: {Idle, Absent, Halted},
    Halted: {Absent},
}
"""What may follow a state."""


class Life:
    """The one child an engine has at a time; ``start`` makes one, ``load`` gives it the model.

    One thread uses it; :meth:`halt` alone may come from another.
    """

    def __init__(self, start: Callable[[], Child], load: Callable[[Child], None]) -> None:
        self._start, self._load = start, load
        self._lock = threading.Lock()
        self.state: State = Absent()

    def child(self) -> Child:
        """The child with its model loaded; one is started where there is none.

        Raises Abandoned while halted, and what loading raises.
        """
        with self._lock:
            if isinstance(self.state, Idle | Busy):
                return self.state.child
            if isinstance(self.state, Halted):
                raise Abandoned
            child = self._start()
            self._become(Loading(child))
        try:
            self._load(child)
        except BaseException as error:
            self._end(child, error)
            raise
        self._pass_on(Loading(child), Idle(child))
        return child

    @contextmanager
    def exchange(self) -> Iterator[Child]:
        """The child, for one use at a time; one given up halfway ends the child.

        Raises EngineError while another use goes on, Abandoned when halted meanwhile.
        """
        self.require_idle()
        child = self.child()
        self._pass_on(Idle(child), Busy(child))
        try:
            yield child
        except BaseException as error:
            self._end(child, error)
            raise
        self._pass_on(Busy(child), Idle(child))

    def require_idle(self) -> None:
        """Raise EngineError while somebody reads the child's events: two would mix them up."""
        if isinstance(self.state, Busy):
            raise EngineError(
                "the engine is still answering; take or close those answers before asking for more"
            )

    def give_up(self, child: Child) -> None:
        """End a child that died, or whose events nobody reads any more."""
        with self._lock:
            if self.state in (Loading(child), Idle(child), Busy(child)):
                self._become(Absent())
        child.kill()

    def halt(self) -> None:
        """End the child at once, whatever another thread does with it, and start no other."""
        with self._lock:
            state = self.state
            if not isinstance(state, Halted):
                self._become(Halted())
        if isinstance(state, Loading | Idle | Busy):
            state.child.kill()

    def resume(self) -> None:
        """Let a child start again after :meth:`halt`."""
        with self._lock:
            if isinstance(self.state, Halted):
                self._become(Absent())

    def close(self) -> None:
        """End the child, politely for a moment."""
        with self._lock:
            state = self.state
            if not isinstance(state, Halted | Absent):
                self._become(Absent())
        if isinstance(state, Loading | Idle | Busy):
            state.child.close()

    def _pass_on(self, before: State, after: State) -> None:
        """From one state into the next, unless somebody else ended the child meanwhile."""
        with self._lock:
            if self.state == before:
                self._become(after)
            elif isinstance(self.state, Halted):
                raise Abandoned

    def _end(self, child: Child, error: BaseException) -> None:
        """Give the child up; a death that :meth:`halt` brought about is none to survive."""
        self.give_up(child)
        if isinstance(self.state, Halted) and isinstance(error, ChildDied):
            raise Abandoned from error

    def _become(self, state: State) -> None:
        assert type(state) in FOLLOWING[type(self.state)], f"{self.state} -> {state}"
        self.state = state
