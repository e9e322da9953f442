from dataclasses import replace

from llm_edge_agent.config import AppConfig, ProviderConfig, Secret
from llm_edge_agent.config.values import DeploymentConfig, DeploymentTimeouts, GroupConfig
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import table_from_document
from llm_edge_agent.core.pricing import Price, PriceList
from llm_edge_agent.data import model_document
from llm_edge_agent.gateway.fleet import Fleet, build_fleet

TABLE = table_from_document(model_document())
OPENAI = ProviderConfig(
    name="openai",
    dialect="openai",
    base_url="https://a.example/v1",
    api_key=Secret("sk-1"),
    more_keys=(Secret("sk-2"),),
)
LOCAL = ProviderConfig(name="local", dialect="openai", base_url="http://local:1", api_key=None)
PLAIN = DeploymentConfig(name="openai/gpt-5.5", provider="openai", model="gpt-5.5")
OTHER = DeploymentConfig(
    name="openai/gpt-5.5#2",
    provider="openai",
    model="gpt-5.5",
    base_url="https://b.example/v1",
    api_keys=(Secret("sk-3"),),
    prices=PriceList(base=Price(input=1, output=2)),
    rpm=60,
    max_concurrency=3,
    timeouts=DeploymentTimeouts(connect_s=1, attempt_s=20, first_token_s=3, idle_s=4),
)
SMART = GroupConfig(name="smart", deployments=(PLAIN, OTHER), fallbacks=("gpt-5.4",))
CONFIG = AppConfig(providers=(OPENAI, LOCAL), groups=(SMART,), strategy="latency")
FAILED = GatewayError(ErrorKind.UPSTREAM_ERROR, "x")


def build(config: AppConfig = CONFIG, before: Fleet | None = None) -> Fleet:
    return build_fleet(config, TABLE, before)


def test_an_account_is_called_with_each_of_its_keys() -> None:
    fleet = build()
    upstream = fleet.upstreams["openai"]
    assert [b"Bearer sk-1" in lines for lines in upstream.headers] == [True, False]
    assert [b"Bearer sk-2" in lines for lines in upstream.headers] == [False, True]
    assert all(lines.endswith(b"\r\n") and b"user-agent: llm-edge-agent/" in lines for lines in upstream.headers)
    assert fleet.directory.resolve("gpt-5.5").deployments[0].state.keys.size == 2
    assert len(fleet.upstreams["local"].headers) == 1
    assert b"uthorization" not in fleet.upstreams["local"].headers[0]


def test_a_group_has_what_its_deployments_say() -> None:
    fleet = build()
    plain, other = fleet.directory.resolve("smart").deployments
    assert fleet.directory.resolve("smart").strategy == "latency"
    assert fleet.directory.resolve("smart").fallbacks.general == ("gpt-5.4",)
    assert (plain.account, other.account) == ("openai", "smart: openai/gpt-5.5#2")
    assert plain.state.keys is not other.state.keys
    assert plain.prices == plain.model.prices
    assert other.prices == PriceList(base=Price(input=1, output=2))
    assert other.state.max_in_flight == 3
    upstream = fleet.upstreams[other.account]
    assert (upstream.name, upstream.origin.host) == ("openai", "b.example")
    assert (upstream.timeouts.connect_s, upstream.timeouts.answer_s, upstream.timeouts.idle_s) == (1, 20, 4)
    assert upstream.stream_timeouts.answer_s == 3
    assert [len(states) for states in fleet.states.values()] == [3, 1]


def test_keys_are_shared_by_the_deployments_of_an_account() -> None:
    fleet = build()
    plain = fleet.directory.resolve("smart").deployments[0]
    assert plain.state.keys is fleet.directory.resolve("gpt-5.4").deployments[0].state.keys


def test_a_new_configuration_keeps_what_was_learned_of_the_same() -> None:
    before = build()
    old = [*before.directory.resolve("smart").deployments, *before.directory.resolve("gpt-5.4").deployments]
    for deployment in old:
        deployment.state.begin(0.0, stream=True).failed(0.0, FAILED)
    moved = replace(SMART, deployments=(replace(OTHER, weight=5, rpm=30), PLAIN), strategy="cost")
    after = build(replace(CONFIG, groups=(moved,), breaker_failures=9), before)
    group = after.directory.resolve("smart")
    assert group.strategy == "cost"
    assert [each.state for each in group.deployments] == [old[1].state, old[0].state]
    assert group.deployments[0].weight == 5
    assert group.deployments[0].state.quota is not None
    assert group.deployments[0].state.quota.limits[0] == 30
    assert after.directory.resolve("gpt-5.4").deployments[0].state is old[2].state
    assert old[2].state.breaker.policy.failures == 9


def test_another_address_or_key_is_another_deployment() -> None:
    before = build()
    for change in ({"base_url": "https://c.example"}, {"api_key": Secret("sk-9")}):
        after = build(replace(CONFIG, providers=(replace(OPENAI, **change), LOCAL)), before)
        old, new = (fleet.directory.resolve("gpt-5.4").deployments[0].state for fleet in (before, after))
        assert old is not new
