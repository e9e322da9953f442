from dataclasses import replace
from pathlib import Path

from llm_edge_agent.cli.findings import Finding
from llm_edge_agent.cli.shared_cache_checks import check_shared_cache
from llm_edge_agent.config import CacheConfig
from llm_edge_agent.config.redis_address import redis_address
from tests.cache.redis_servers import redis_cluster, redis_sentinels, redis_server, strange_server


async def found(url: str) -> Finding:
    (finding,) = await check_shared_cache(CacheConfig(l2_enabled=True, redis=redis_address(url)))
    assert bool(finding.advice) == (finding.verdict != "ok")
    assert "hunter2" not in finding.detail
    return finding


async def test_off_is_not_looked_at() -> None:
    assert await check_shared_cache(CacheConfig(redis=redis_address("redis://127.0.0.1:1"))) == []


async def test_a_server(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "right") as server:
        assert (await found(f"redis://:right@127.0.0.1:{server.port}")).verdict == "ok"
        assert (await found(f"unix://:right@{server.socket}")).verdict == "ok"
        wrong = await found(f"redis://:hunter2@127.0.0.1:{server.port}")
        assert wrong.verdict == "problem"
        assert "password" in wrong.advice
    gone = await found(f"redis://:hunter2@127.0.0.1:{server.port}")
    assert (gone.verdict, "connect" in gone.detail) == ("problem", True)
    async with strange_server(lambda _data: b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        assert "TLS" in (await found(url)).advice


async def test_sentinels_and_a_cluster(tmp_path: Path) -> None:
    with redis_sentinels(tmp_path / "sentinels") as watched:
        assert (await found(watched.url)).verdict == "ok"
        assert (await found(watched.url.replace("answers", "others"))).verdict == "problem"
    with redis_cluster(tmp_path / "cluster") as servers:
        url = f"redis+cluster://127.0.0.1:{servers[0].port}"
        assert (await found(url)).verdict == "ok"
        servers[1].kill()
        assert (await found(url)).verdict == "problem"


async def test_a_folder(tmp_path: Path) -> None:
    cache = CacheConfig(l2_enabled=True, directory=str(tmp_path / "new" / "folder"))
    (finding,) = await check_shared_cache(cache)
    assert finding.verdict == "ok"
    (finding,) = await check_shared_cache(replace(cache, l2_bytes=2**60))
    assert (finding.verdict, "L2_CACHE_MB" in finding.advice) == ("warning", True)
    (tmp_path / "file").write_text("")
    (finding,) = await check_shared_cache(replace(cache, directory=str(tmp_path / "file" / "folder")))
    assert (finding.verdict, "CACHE_DIR" in finding.advice) == ("problem", True)
