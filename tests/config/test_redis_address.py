import pytest

from llm_edge_agent.config.redis_address import RedisAddress, RedisTls, cluster_nodes, redis_address

GOOD: list[tuple[str, RedisAddress, str]] = [
    ("redis://cache.test", RedisAddress(nodes=(("cache.test", 6379),)), "redis://cache.test:6379"),
    ("redis://:6380", RedisAddress(nodes=(("localhost", 6380),)), "redis://localhost:6380"),
    (
        "redis://user:p%40ss%2F@cache.test:7000/2",
        RedisAddress(nodes=(("cache.test", 7000),), username="user", password="p@ss/", database=2),
        "redis://cache.test:7000",
    ),
    (
        "redis://:a:b@c@[::1]:7000?db=3",
        RedisAddress(nodes=(("::1", 7000),), password="a:b@c", database=3),
        "redis://[::1]:7000",
    ),
    ("REDISS://cache.test", RedisAddress(nodes=(("cache.test", 6379),), tls=RedisTls()), "rediss://cache.test:6379"),
    (
        "rediss://cache.test?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem&ssl_check_hostname=false",
        RedisAddress(
            nodes=(("cache.test", 6379),),
            tls=RedisTls(ca_file="/ca.pem", certificate_file="/c.pem", key_file="/k.pem", check_hostname=False),
        ),
        "rediss://cache.test:6379",
    ),
    (
        "rediss://cache.test?ssl_cert_reqs=none",
        RedisAddress(nodes=(("cache.test", 6379),), tls=RedisTls(verify=False, check_hostname=False)),
        "rediss://cache.test:6379",
    ),
    (
        "unix://:secret@/run/redis%20one.sock?db=4",
        RedisAddress(path="/run/redis one.sock", password="secret", database=4),
        "unix:///run/redis one.sock",
    ),
    (
        "redis+sentinel://user:pass@a.test,b.test:26380/answers/1?sentinel_password=other&ssl=true",
        RedisAddress(
            kind="sentinel",
            nodes=(("a.test", 26379), ("b.test", 26380)),
            username="user",
            password="pass",
            service="answers",
            database=1,
            sentinel_password="other",
            tls=RedisTls(),
        ),
        "redis+sentinel://a.test:26379,b.test:26380/answers",
    ),
    (
        "redis+cluster://:pass@a.test:7000,b.test",
        RedisAddress(kind="cluster", nodes=(("a.test", 7000), ("b.test", 6379)), password="pass"),
        "redis+cluster://a.test:7000,b.test:6379",
    ),
]

BAD = [
    ("http://cache.test", "redis://"),
    ("redis:cache.test", "redis://"),
    ("redis://", "redis://"),
    ("redis://caché.test", "visible"),
    ("redis://a b", "visible"),
    ("redis://cache.test:0", "port"),
    ("redis://cache.test:seven", "port"),
    ("redis://a..b", "host"),
    ("redis://a.test,b.test", "several hosts"),
    ("redis://cache.test/one", "whole number"),
    ("redis://cache.test?colour=red", "unknown option"),
    ("redis://cache.test?ssl_certfile=/c.pem", "without rediss"),
    ("redis://cache.test?sentinel_password=x", "does not go with"),
    ("rediss://cache.test?ssl=true", "does not go with"),
    ("rediss://cache.test?ssl_cert_reqs=perhaps", "required or none"),
    ("rediss://cache.test?ssl_check_hostname=perhaps", "true or false"),
    ("unix://redis.sock", "whole path"),
    ("unix:///redis.sock?ssl_ca_certs=x", "does not go with"),
    ("redis+sentinel://a.test", "name the service"),
    ("redis+cluster://a.test/1", "database 0"),
    ("redis+cluster://a.test?ssl=perhaps", "true or false"),
]


@pytest.mark.parametrize(("url", "address", "shown"), GOOD, ids=[row[2] for row in GOOD])
def test_what_a_url_says(url: str, address: RedisAddress, shown: str) -> None:
    assert redis_address(url) == address
    assert str(address) == shown


@pytest.mark.parametrize(("url", "problem"), BAD)
def test_what_is_no_address_is_said_without_quoting_it(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        redis_address(url)
    assert url == "redis://" or url not in str(caught.value)


def test_no_form_of_it_shows_a_secret() -> None:
    address = redis_address("redis+sentinel://user:hunter2@a.test/m?sentinel_password=hunter3&sentinel_username=who")
    assert address.secrets() == ("hunter2", "hunter3")
    for text in (str(address), repr(address)):
        assert "hunter" not in text
        assert "who" not in text
    assert RedisAddress().secrets() == ()


def test_nodes_of_a_cluster() -> None:
    assert cluster_nodes("a.test:7000, b.test") == redis_address("redis+cluster://a.test:7000,b.test")
    assert cluster_nodes("redis://:pass@a.test:7000,redis://:pass@b.test") == redis_address(
        "redis+cluster://:pass@a.test:7000,b.test"
    )
    assert cluster_nodes("rediss://a.test").tls == RedisTls()


@pytest.mark.parametrize(
    "text", [" ", ",", "user:pass@a.test", "a.test/1", "redis+cluster://a.test", "unix:///x", "a:x"]
)
def test_nodes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError):
        cluster_nodes(text)
