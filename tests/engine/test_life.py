"""The states of an engine's child, with a child that only notes what is done to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from harness.engine.life import FOLLOWING, Absent, Busy, Halted, Idle, Life, Loading
from harness.engine.pipe import Abandoned, Child, ChildDied
from harness.errors import EngineError


class Noting:
    def __init__(self) -> None:
        self.ends: list[str] = []

    def kill(self) -> None:
        self.ends.append("killed")

    def close(self) -> None:
        self.ends.append("closed")


class World:
    """Children started, in order, and what loading one does."""

    def __init__(self) -> None:
        self.children: list[Noting] = []
        self.life = Life(self.start, self.load)
        self.loading: list[object] = []

    def start(self) -> Child:
        self.children.append(Noting())
        return cast(Child, self.children[-1])

    def load(self, child: Child) -> None:
        self.loading.append(self.life.state)
        if len(self.loading) == 2:
            raise EngineError("no memory left")


@pytest.fixture
def world() -> World:
    return World()


def test_one_child_is_loaded_once_and_serves_one_use_after_another(world: World) -> None:
    life = world.life
    child = life.child()
    assert world.loading == [Loading(child)] and life.state == Idle(child)
    for _ in range(2):
        with life.exchange() as lent:
            assert lent is child and life.state == Busy(child)
            assert life.child() is child  # its process id may be asked for meanwhile
            with pytest.raises(EngineError, match="still answering"):
                life.require_idle()
            with pytest.raises(EngineError, match="still answering"), life.exchange():
                pass
    assert life.state == Idle(child) and world.children[0].ends == []


def test_what_is_given_up_halfway_is_killed_and_another_starts(world: World) -> None:
    def use() -> Iterator[None]:
        with world.life.exchange():
            yield

    stopped = use()
    next(stopped)
    cast("Iterator[None]", stopped).close()  # type: ignore[attr-defined]
    assert world.life.state == Absent() and world.children[0].ends == ["killed"]
    with pytest.raises(EngineError, match="no memory left"):
        world.life.child()
    assert world.life.state == Absent() and world.children[1].ends == ["killed"]
    assert world.life.child() is cast(Child, world.children[2])


def test_a_halted_engine_starts_no_child_until_it_is_resumed(world: World) -> None:
    with pytest.raises(Abandoned), world.life.exchange():
        world.life.halt()
        raise ChildDied("killed by halt")
    assert world.life.state == Halted() and "killed" in world.children[0].ends
    with pytest.raises(Abandoned):
        world.life.child()
    world.life.close()
    assert world.life.state == Halted()
    world.life.resume()
    assert world.life.state == Absent()


def test_an_error_of_ones_own_is_not_hidden_by_a_halt(world: World) -> None:
    with pytest.raises(ValueError, match="mine"), world.life.exchange():
        world.life.halt()
        raise ValueError("mine")


def test_a_child_halted_while_it_loads_is_never_used() -> None:
    started: list[Noting] = []

    def start() -> Child:
        started.append(Noting())
        return cast(Child, started[-1])

    life = Life(start, lambda child: life.halt())
    with pytest.raises(Abandoned):
        life.child()
    assert life.state == Halted() and started[0].ends == ["killed"]


def test_closing_ends_the_child_politely_and_none_is_left(world: World) -> None:
    world.life.child()
    world.life.close()
    world.life.close()
    assert world.life.state == Absent() and world.children[0].ends == ["closed"]


def test_every_state_can_be_left_and_a_wrong_step_is_not_taken(world: World) -> None:
    assert all(FOLLOWING[kind] for kind in (Absent, Loading, Idle, Busy, Halted))
    child = world.start()
    with pytest.raises(AssertionError):
        world.life._become(Busy(child))
