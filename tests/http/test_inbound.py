import asyncio
import re

import pytest

from llm_edge_agent.config import ServerLimits
from llm_edge_agent.http.connection import Connection
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.inbound import Inbound, ReplyHeads
from tests.http.serving import Echo


def inbound(max_connections: int = 10) -> Inbound:
    return Inbound(Echo(), ServerLimits(max_connections=max_connections), Sweep())


@pytest.mark.parametrize(("status", "line"), [(200, b"200 OK"), (404, b"404 Not Found"), (299, b"299 ")])
def test_a_reply_head_is_a_status_line_and_a_date(status: int, line: bytes) -> None:
    head = ReplyHeads().get(status)
    assert re.fullmatch(rb"HTTP/1\.1 " + line + rb"\r\ndate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", head)


def test_reply_heads_are_kept_until_they_expire() -> None:
    heads = ReplyHeads()
    first = heads.get(200)
    assert heads.get(200) is first
    before_s = heads.deadline_s
    heads.expire()
    assert heads.get(200) is not first
    assert heads.deadline_s >= before_s


async def test_connections_are_counted_and_bounded_and_the_date_runs_only_with_them() -> None:
    shared = inbound(max_connections=2)
    first, second, third = (Connection(shared, asyncio.get_running_loop()) for _ in range(3))
    assert [shared.join(each) for each in (first, second, third)] == [True, True, False]
    assert shared.refused_connections == 1
    assert len(shared.sweep) == 3
    shared.leave(third)
    shared.leave(first)
    assert shared.connections == {second}
    assert shared.join(third)
    shared.leave(second)
    shared.leave(third)
    assert len(shared.sweep) == 0
    shared.closed = True
    assert not shared.join(first)
    assert shared.refused_connections == 1
