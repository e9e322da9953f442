import pytest

from llm_edge_agent.core.deployments import DeploymentState
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import ModelTable, table_from_document
from llm_edge_agent.core.plan import NO_FALLBACKS, Group
from llm_edge_agent.core.routing import Account, Directory
from llm_edge_agent.data import model_document

TABLE: ModelTable = table_from_document(model_document())
OPENAI = Account("openai", "openai")
ANTHROPIC = Account("anthropic", "anthropic")
GROQ = Account("groq", "openai")
LOCAL = Account("local", "openai", models=("qwen-3", "gpt-oss"))
AZURE = Account("azure-openai", "openai")
EVERYONE = (OPENAI, ANTHROPIC, GROQ, LOCAL, AZURE)
ALIASES = {"fast": "gpt-5.4-mini", "smart": "anthropic/claude-sonnet-5", "house": "local/some/model"}


def directory(*accounts: Account) -> Directory:
    return Directory(TABLE, accounts or EVERYONE, ALIASES)


@pytest.mark.parametrize(
    ("name", "provider", "upstream_model", "known_as"),
    [
        ("gpt-5.5", "openai", "gpt-5.5", "gpt-5.5-2026-04-23"),
        ("gpt-5.5-2026-04-23", "openai", "gpt-5.5-2026-04-23", "gpt-5.5-2026-04-23"),
        ("claude-sonnet-5", "anthropic", "claude-sonnet-5", "claude-sonnet-5"),
        ("claude-haiku-4-5", "anthropic", "claude-haiku-4-5", "claude-haiku-4-5-20251001"),
        ("gpt-4", "openai", "gpt-4", "gpt-4-0613"),
        ("gpt-99-nova", "openai", "gpt-99-nova", None),
        ("o9-mini", "openai", "o9-mini", None),
        ("chatgpt-next", "openai", "chatgpt-next", None),
        ("Claude-Opus-9", "anthropic", "Claude-Opus-9", None),
        ("openai/gpt-5.5", "openai", "gpt-5.5", "gpt-5.5-2026-04-23"),
        ("groq/llama-4", "groq", "llama-4", None),
        ("groq/openai/gpt-oss", "groq", "openai/gpt-oss", None),
        ("groq/gpt-5.5", "groq", "gpt-5.5", None),
        ("azure-openai/gpt-5.5", "azure-openai", "gpt-5.5", "gpt-5.5-2026-04-23"),
        ("qwen-3", "local", "qwen-3", None),
        ("gpt-oss", "local", "gpt-oss", None),
        ("fast", "openai", "gpt-5.4-mini", "gpt-5.4-mini-2026-03-17"),
        ("smart", "anthropic", "claude-sonnet-5", "claude-sonnet-5"),
        ("house", "local", "some/model", None),
    ],
)
def test_where_a_name_leads(name: str, provider: str, upstream_model: str, known_as: str | None) -> None:
    group = directory().resolve(name)
    (target,) = group.deployments
    assert (target.provider, target.upstream_model) == (provider, upstream_model)
    assert (group.name, target.name) == (name, f"{provider}/{upstream_model}")
    assert not group.configured
    assert (target.model.id if target.model.known else None) == known_as
    assert target.model.known or target.model.prices is None


@pytest.mark.parametrize(
    ("name", "deployments", "words"),
    [
        ("mystery", EVERYONE, "groq/<model>"),
        ("mystery", (OPENAI,), "does not exist"),
        ("o", (OPENAI,), "does not exist"),
        ("", (OPENAI,), "does not exist"),
        ("gpt-5.5/", (OPENAI,), "gpt-5.5/"),
        ("mistral/large", (OPENAI,), "does not exist"),
        ("claude-sonnet-5", (OPENAI,), "No provider 'anthropic' is configured"),
        ("gpt-5.5", (ANTHROPIC,), "No provider 'openai' is configured"),
        ("smart", (OPENAI,), "does not exist"),
        ("x" * 500, (OPENAI,), "x" * 128 + "`"),
    ],
)
def test_names_that_lead_nowhere(name: str, deployments: tuple[Account, ...], words: str) -> None:
    if name == "gpt-5.5/":  # an empty rest is no prefix form; the name itself still suggests its provider
        assert directory(*deployments).resolve(name).deployments[0].provider == "openai"
        return
    with pytest.raises(GatewayError) as caught:
        directory(*deployments).resolve(name)
    assert caught.value.kind is ErrorKind.MODEL_NOT_FOUND
    assert caught.value.status == 404
    assert caught.value.param == "model"
    assert words in caught.value.message


def test_invented_names_cannot_fill_the_memory() -> None:
    names = directory()
    for number in range(3 * Directory.MEMO_SIZE):
        names.resolve(f"gpt-{number}")
    assert len(names._memo) <= Directory.MEMO_SIZE
    assert names.resolve("gpt-5.5") is names.resolve("gpt-5.5")


def test_a_name_as_long_as_a_request_is_not_remembered() -> None:
    names = directory()
    long = "gpt-" + "9" * Directory.MEMO_CHARACTERS
    assert names.resolve(long).deployments[0].upstream_model == long
    assert long not in names._memo


def test_served_names_are_listed() -> None:
    assert set(directory().served_names()) == {"qwen-3", "gpt-oss"}


def test_what_is_learned_of_a_provider_is_shared_by_its_models() -> None:
    names = directory()
    first, second = (names.resolve(name).deployments[0] for name in ("gpt-5.5", "gpt-5.4"))
    assert first.state is second.state
    state = DeploymentState()
    given = Directory(TABLE, [Account("openai", "openai", (), state)], {})
    assert given.resolve("gpt-5.5").deployments[0].state is state


def test_a_configured_group_goes_before_every_other_meaning_of_its_name() -> None:
    group = Group("gpt-5.5", directory().resolve("claude-sonnet-5").deployments, configured=True)
    names = Directory(TABLE, EVERYONE, {"best": "gpt-5.5"}, {"gpt-5.5": group})
    assert names.resolve("gpt-5.5") is names.resolve("best") is group
    assert names.groups() == (group,)
    assert names.served_names() == ("gpt-5.5", "qwen-3", "gpt-oss")


def test_fallbacks_follow_the_name_and_what_it_stands_for() -> None:
    names = Directory(TABLE, EVERYONE, ALIASES, {}, {"gpt-5.4-mini": ("gpt-5.5",), "smart": ("fast",)})
    assert names.resolve("gpt-5.4-mini").fallbacks.general == ("gpt-5.5",)
    assert names.resolve("fast").fallbacks.general == ("gpt-5.5",)
    assert names.resolve("smart").fallbacks.general == ("fast",)
    assert names.resolve("gpt-5.5").fallbacks is NO_FALLBACKS
