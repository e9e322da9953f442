"""Provider accounts: the presets that the environment switches on, and the `providers` section of the file."""

import re
from collections.abc import Iterator
from typing import Any, cast, get_args

from llm_edge_agent.config import forms
from llm_edge_agent.config.groups import keys_of
from llm_edge_agent.config.secret import Secret
from llm_edge_agent.config.sources import Given, Problems, Variables, did_you_mean
from llm_edge_agent.config.values import ProviderConfig
from llm_edge_agent.config.yaml_file import Node
from llm_edge_agent.core.models import Dialect
from llm_edge_agent.presets import PRESETS, AuthHeader, Preset, azure_base_url, ollama_base_url

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_MEMBERS = (
    "preset", "dialect", "base_url", "api_key", "api_keys", "auth_header", "headers", "models", "trace_context"
)  # fmt: skip
_DIALECTS = get_args(Dialect)
_AUTH_HEADERS = get_args(AuthHeader)
_ENDPOINT_FORMS = {"ollama": ollama_base_url, "azure": azure_base_url}

OURS = {
    "host": "is set by the gateway",
    "content-length": "is set by the gateway",
    "content-type": "is set by the gateway",
    "transfer-encoding": "is set by the gateway",
    "connection": "is set by the gateway",
    "keep-alive": "is set by the gateway",
    "te": "is set by the gateway",
    "trailer": "is set by the gateway",
    "upgrade": "is set by the gateway",
    "expect": "is set by the gateway",
    "accept-encoding": "is set by the gateway",
    "user-agent": "is set by the gateway",
    "anthropic-version": "is set by translation.anthropic_version in the file",
}
"""Headers that nobody may add to what goes upstream, and who sets them."""


class _Draft:
    """One account while it is put together. `origin` names what switched it on."""

    def __init__(self, name: str, preset: Preset | None, origin: str) -> None:
        self.name = name
        self.preset = preset
        self.origin = origin
        self.dialect: Dialect = preset.dialect if preset else "openai"
        self.base_url: str | None = preset.base_url if preset else None
        self.base_url_where = origin
        self.api_key: str | None = None
        self.more_keys: tuple[Secret, ...] = ()
        self.auth_header: AuthHeader | None = None
        self.headers: dict[str, str] = {}
        self.models: tuple[str, ...] = ()
        self.trace_context: bool | None = None

    def finished(self) -> ProviderConfig:
        assert self.base_url is not None  # noqa: S101  checked by the caller, for the type checker
        default: AuthHeader = self.preset.auth_header if self.preset else "authorization"
        if self.preset is None and self.dialect == "anthropic":
            default = "x-api-key"
        own_server = self.preset is not None and self.preset.endpoint_enables
        return ProviderConfig(
            name=self.name,
            dialect=self.dialect,
            base_url=self.base_url,
            api_key=Secret(self.api_key) if self.api_key else None,
            auth_header=self.auth_header or default,
            headers=self.headers,
            models=self.models,
            stream_usage_option=self.preset.stream_usage_option if self.preset else True,
            trace_context=own_server if self.trace_context is None else self.trace_context,
            more_keys=tuple(key for key in self.more_keys if key.reveal() != self.api_key),
        )


def providers(
    variables: Variables, section: Node | None, problems: Problems, warnings: list[str]
) -> tuple[ProviderConfig, ...]:
    """Every account that can be called, presets first. For a preset's own name the environment wins over the file."""
    drafts: dict[str, _Draft] = {}
    before = len(problems)
    for name, node in _members(section, problems):
        draft = _from_file(name, node, problems)
        if draft is not None:
            drafts[name] = draft
    for preset in PRESETS.values():
        known = drafts.get(preset.name)
        if known is None or known.preset is preset:
            found = _from_environment(preset, known, variables, problems, warnings)
            if found is not None:
                drafts[preset.name] = found
    order = [*(name for name in PRESETS if name in drafts), *(name for name in drafts if name not in PRESETS)]
    finished = [drafts[name].finished() for name in order if _complete(drafts[name], problems)]
    _check_models(finished, problems)
    return tuple(finished) if len(problems) == before else ()


def _members(section: Node | None, problems: Problems) -> Iterator[tuple[str, Node]]:
    if section is None or section.content is None:
        return
    if not isinstance(section.content, dict):
        problems.add(section.where, "must be a mapping from names to providers")
        return
    for name, node in section.content.items():
        if not _NAME.fullmatch(name):
            problems.add(node.where, "the name must be lower-case letters, digits, '.', '_' and '-', 64 at most")
        else:
            yield name, node


def _from_environment(
    preset: Preset, draft: _Draft | None, variables: Variables, problems: Problems, warnings: list[str]
) -> _Draft | None:
    """The account with what the environment says of it; None where it is not switched on."""
    keys = [(given, header) for name, header in preset.keys if (given := variables.get(name))]
    base_url = variables.get(preset.base_url_variable)
    address = variables.get(preset.endpoint_variable) if preset.endpoint_variable else None
    where = base_url or address
    if draft is None:
        if not keys:
            if where is None:
                return None
            if not preset.endpoint_enables:
                needed = " or ".join(key.name for key in preset.keys)
                warnings.append(f"{where.where} is set without {needed}: {preset.name} is not configured")
                return None
        draft = _Draft(preset.name, preset, keys[0][0].where if keys else where.where if where else "")
    if keys:
        given, draft.auth_header = keys[0]
        draft.api_key = cast("str | None", problems.parse(given, forms.key)) or "invalid"
    if base_url is not None:
        draft.base_url, draft.base_url_where = base_url.text, base_url.where
    elif address is not None and preset.endpoint_form is not None:
        draft.base_url, draft.base_url_where = _ENDPOINT_FORMS[preset.endpoint_form](address.text), address.where
    _headers_from_environment(preset, draft, variables, problems)
    return draft


def _headers_from_environment(preset: Preset, draft: _Draft, variables: Variables, problems: Problems) -> None:
    for name, header in preset.header_variables.items():
        if given := variables.get(name):
            _add_header(draft, header, given, problems)
    lines = variables.get(preset.custom_headers_variable) if preset.custom_headers_variable else None
    for number, line in enumerate(lines.text.splitlines() if lines else (), 1):
        where = f"{lines.where if lines else ''}: line {number}"
        header, separator, value = line.partition(":")
        if not separator:
            problems.add(where, "must be Name: value")
        else:
            _add_header(draft, header.strip(), Given(value.strip(), where), problems)


def _add_header(draft: _Draft, header: str, given: Given, problems: Problems) -> None:
    if problems.parse(Given(header, given.where), forms.header_name) is None:
        return
    if owner := OURS.get(header.lower()):
        problems.add(given.where, f"the header {header.lower()} {owner}")
    elif problems.parse(given, forms.header_value) is not None:
        for same in [each for each in draft.headers if each.lower() == header.lower()]:
            del draft.headers[same]
        draft.headers[header] = given.text


def _from_file(name: str, node: Node, problems: Problems) -> _Draft | None:
    if node.content is not None and not isinstance(node.content, dict):
        problems.add(node.where, "must be a mapping")
        return None
    members: dict[str, Node] = node.content or {}
    for member, child in members.items():
        if member not in _MEMBERS:
            problems.add(child.where, f"unknown{did_you_mean(member, _MEMBERS)}")
    preset = PRESETS.get(name)
    if "preset" in members:
        given = members["preset"].given()
        preset = PRESETS.get(given.text) if given else None
        if preset is None:
            near = did_you_mean(given.text, PRESETS) if given else ""
            problems.add(members["preset"].where, f"must be one of {', '.join(PRESETS)}{near}")
            return None
    draft = _Draft(name, preset, node.where)
    readers: dict[str, Any] = {
        "dialect": forms.one_of(*_DIALECTS),
        "base_url": str,
        "api_key": forms.key,
        "auth_header": _auth_header,
        "trace_context": forms.boolean,
    }
    for member, form in readers.items():
        if member not in members or members[member].content is None:
            continue
        text = members[member].given()
        if text is None:
            problems.add(members[member].where, "must be a single value")
        elif text.text:
            setattr(draft, member, problems.parse(text, form))
            if member == "base_url":
                draft.base_url_where = text.where
    draft.more_keys = keys_of(members.get("api_keys"), problems)
    if draft.api_key is None and draft.more_keys:
        draft.api_key = draft.more_keys[0].reveal()
    _headers_from_file(draft, members.get("headers"), problems)
    draft.models = _models_from_file(members.get("models"), problems)
    return draft


def _auth_header(text: str) -> str:
    if text.lower() not in _AUTH_HEADERS:
        raise ValueError(f"must be one of {', '.join(_AUTH_HEADERS)}")
    return text.lower()


def _headers_from_file(draft: _Draft, node: Node | None, problems: Problems) -> None:
    if node is None or node.content is None:
        return
    if not isinstance(node.content, dict):
        problems.add(node.where, "must be a mapping from header names to values")
        return
    for header, child in node.content.items():
        given = child.given()
        if given is None:
            problems.add(child.where, "must be a single value")
        else:
            _add_header(draft, header, given, problems)


def _models_from_file(node: Node | None, problems: Problems) -> tuple[str, ...]:
    if node is None or node.content is None:
        return ()
    items = node.content if isinstance(node.content, list) else []
    names = [given.text for item in items if (given := item.given()) is not None and given.text]
    if not isinstance(node.content, list) or len(names) != len(items):
        problems.add(node.where, "must be a list of model names")
    return tuple(names)


def _complete(draft: _Draft, problems: Problems) -> bool:
    """Whether the account can be called; else a problem that says what is missing."""
    preset = draft.preset
    before = len(problems)
    if draft.base_url is None:
        variable = (preset.endpoint_variable or preset.base_url_variable) if preset else None
        named = f"{variable} or base_url in the file" if variable else "base_url"
        problems.add(draft.origin, f"the address of the provider is missing: set {named}")
    else:
        draft.base_url = cast("str | None", problems.parse(Given(draft.base_url, draft.base_url_where), forms.base_url))
    if preset is not None and preset.key_required and not draft.api_key and len(problems) == before:
        own = " or ".join(key.name for key in preset.keys) if draft.name == preset.name else ""
        problems.add(draft.origin, f"the key is missing: set {f'{own}, or ' if own else ''}api_key in the file")
    carrier = (draft.auth_header or (preset.auth_header if preset else "authorization")) if draft.api_key else ""
    if any(header.lower() == carrier for header in draft.headers):
        problems.add(draft.origin, f"the header {carrier} is set by the key and must not be among the headers")
    return len(problems) == before


def _check_models(finished: list[ProviderConfig], problems: Problems) -> None:
    served: dict[str, str] = {}
    for provider in finished:
        for model in provider.models:
            if model in served:
                problems.add(f"providers.{provider.name}.models", f"a model that providers.{served[model]} lists too")
            served[model] = provider.name
