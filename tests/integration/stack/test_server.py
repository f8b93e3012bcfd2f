"""What a server of the stack says when it cannot start, whatever server it is."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from infra.local import process
from infra.local.failure import StackError
from infra.local.server import Record, Server


class Scripted(Server):
    """A server that is a line of Python."""

    name: ClassVar[str] = "scripted"
    title: ClassVar[str] = "Scripted server"
    patience: ClassVar[float] = 20.0
    script = ""

    def prepare(self) -> None:
        pass

    def command(self, port: int) -> list[str]:
        return [sys.executable, "-c", self.script, str(port)]

    def answers(self, port: int) -> bool:
        return True


LISTEN = """
import signal, socket, sys
{before}
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True: server.accept()[0].close()
"""


class Make(Protocol):
    """Makes the server that `script` is, at home in `folder`, and sees to its end."""

    def __call__(self, script: str, folder: str = "state") -> Scripted: ...


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[Make]:
    made: list[tuple[Scripted, list[process.ProcessId]]] = []

    def make(script: str, folder: str = "state") -> Scripted:
        started: list[process.ProcessId] = []

        def remember() -> None:
            if server.record.process is not None:
                started.append(server.record.process)

        server = Scripted(tmp_path / folder, Record(), remember, durable=False)
        server.script = script
        made.append((server, started))
        return server

    yield make
    for server, started in made:
        for one in started:
            process.end(one, mark=server.mark, by=signal.SIGKILL)


def quiet(_: str) -> None:
    """Swallow progress."""


def test_a_server_that_ends_at_once_is_reported_with_its_log(scripted: Make, tmp_path: Path) -> None:
    server = scripted("import sys; sys.exit('the disk is full')")
    with pytest.raises(StackError) as failure:
        server.up(quiet)
    assert failure.value.part == "scripted"
    assert failure.value.log == tmp_path / "state" / "logs" / "scripted.log"
    text = str(failure.value)
    for said in ("scripted", "ended while starting", "the disk is full", "scripted.log", "what to do"):
        assert said in text
    assert server.record.process is None


def test_a_port_that_somebody_took_is_left_to_them(scripted: Make) -> None:
    first, second = (scripted(LISTEN.format(before=""), name) for name in ("first", "second"))
    first.up(quiet)
    second.record.port = first.port
    second.up(quiet)
    assert second.port != first.port
    assert first.running()
    assert second.running()
    assert first.down()
    assert second.down()
    assert not first.running()


def test_a_server_that_will_not_end_is_killed(scripted: Make) -> None:
    server = scripted(LISTEN.format(before="signal.signal(signal.SIGTERM, signal.SIG_IGN)"))
    server.up(quiet)
    recorded = server.record.process
    assert not process.end(recorded, mark=server.mark, by=signal.SIGTERM, patience=0.2)
    assert not process.alive(recorded)


def test_what_a_killed_server_left_running_is_ended(scripted: Make) -> None:
    child = "import subprocess; print(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    server = scripted(LISTEN.format(before=child))
    server.up(quiet)
    recorded = server.record.process
    assert recorded is not None
    assert len(process.session_of(recorded, mark=server.mark)) == 1
    assert process.session_of(recorded, mark="another stack") == []
    assert server.down()
    assert process.session_of(recorded, mark=server.mark) == []


def test_a_recycled_process_id_is_not_taken_for_the_server(scripted: Make) -> None:
    server = scripted(LISTEN.format(before=""))
    server.up(quiet)
    recorded = server.record.process
    assert recorded is not None
    older = process.ProcessId(recorded.pid, recorded.started - 3600)
    assert not process.alive(older)
    process.end(older, mark="another stack")
    assert process.alive(recorded), "whoever has that id now is left alone"
    assert server.down()
