"""From flags, environment, `.env` and file to one AppConfig: gathers, validates all, reports every problem at once."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llm_edge_agent.config import forms
from llm_edge_agent.config.groups import groups
from llm_edge_agent.config.keys import gateway_keys
from llm_edge_agent.config.names import (
    CONFIG_FILE,
    EXPANDED,
    FREE_SECTIONS,
    OTLP_ENDPOINTS,
    OWN_PREFIX,
    SETTINGS,
    Setting,
)
from llm_edge_agent.config.otel import OtelConfig
from llm_edge_agent.config.policies import cache_policies
from llm_edge_agent.config.providers import providers
from llm_edge_agent.config.records import aliases, model_overrides
from llm_edge_agent.config.secret import Secret
from llm_edge_agent.config.sources import Given, Problems, Variables, did_you_mean, is_there, read_dotenv
from llm_edge_agent.config.values import AppConfig, CacheConfig, ConfigError, NoProvidersError, ServerLimits
from llm_edge_agent.config.yaml_file import Node, read_yaml
from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import table_from_document
from llm_edge_agent.core.routing import Account, Directory
from llm_edge_agent.data import model_document
from llm_edge_agent.presets import PRESETS, VARIABLES

FILE_IN_DIRECTORY = "llm-edge-agent.yaml"
SYSTEM_FILE = Path("/etc/llm-edge-agent/config.yaml")
_SERVICE_VARIABLE = re.compile(r".+_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_[A-Z]+)?)")
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


def load(
    environ: Mapping[str, str] | None,
    *,
    config_file: Path | None,
    flags: Mapping[str, object],
    dotenv: Path | None,
    directory: Path | None,
    require_provider: bool = True,
) -> AppConfig:
    """The contract is that of `AppConfig.from_env`."""
    if environ is None:
        environ = os.environ
        directory = directory or Path()
    problems = Problems()
    if dotenv is None and directory is not None:
        dotenv = directory / ".env"
    from_file = read_dotenv(dotenv, problems) if dotenv is not None else {}
    variables = Variables(environ, from_file, problems)
    texts = {name.upper(): str(value) for name, value in flags.items() if value is not None}
    flags_and_variables = Variables({**environ, **texts}, from_file, problems)
    _check_own_names(variables, problems)
    path = _config_path(variables, config_file, directory, problems)
    tree = read_yaml(path, variables.given_even_empty, problems) if path is not None else None
    sections = _sections(tree, problems)
    given = _Given(variables, texts, sections, problems)
    values = given.values
    warnings: list[str] = []
    enabled = values.get("AUTH_ENABLED")
    keys = gateway_keys(flags_and_variables, sections.get("auth.keys"), enabled, problems)
    accounts = providers(flags_and_variables, sections.get("providers"), problems, warnings)
    named = groups(sections.get("groups"), [account.name for account in accounts], problems)
    models = model_overrides(sections.get("models"), problems)
    renamed = aliases(sections.get("aliases"), problems)
    policies = cache_policies(sections.get("cache.policies"), problems)
    if "REDIS_URL" in given.values and "REDIS_CLUSTER_NODES" in given.values:
        problems.add(given.where["REDIS_CLUSTER_NODES"], f"given beside {given.where['REDIS_URL']}: use one of them")
    _add_warnings(given, warnings)
    config = _with_fields(given)
    cache = replace(config.cache, policies=policies)
    if cache.l2_enabled and cache.redis is None and cache.directory is None:
        cache = replace(cache, directory=_cache_folder(variables, problems))
    config = replace(
        config,
        cache=cache,
        providers=accounts,
        aliases=renamed,
        groups=named,
        model_overrides=models,
        auth_enabled=bool(keys) if enabled is None else bool(enabled),
        keys=keys,
        config_file=str(path) if path is not None else None,
        warnings=tuple(warnings),
    )
    _check_whole(config, problems)
    if not len(problems):
        _check_names(config, problems)
    if require_provider and not accounts and not len(problems):
        raise NoProvidersError
    if len(problems):
        raise ConfigError(problems.lines)
    return config


def _check_own_names(variables: Variables, problems: Problems) -> None:
    """A name with our prefix that we do not know is a typing error, not somebody else's variable."""
    names = [setting.name for setting in SETTINGS if setting.name]
    for name in sorted(variables.names()):
        if name.startswith(OWN_PREFIX) and name != CONFIG_FILE and not _of_kubernetes(name, variables):
            bare = name.removeprefix(OWN_PREFIX)
            known = [CONFIG_FILE, *names, *EXPANDED]
            problems.add(name, f"unknown{did_you_mean(bare, known) or did_you_mean(name, known)}")


def _of_kubernetes(name: str, variables: Variables) -> bool:
    """Whether a cluster says by it where a Service called llm-edge-something is: every pod is told, asked or not."""
    if name.endswith("_PORT"):
        given = variables.get(name)
        return given is not None and given.text.startswith(("tcp://", "udp://", "sctp://"))
    return _SERVICE_VARIABLE.fullmatch(name) is not None


def _config_path(variables: Variables, flag: Path | None, directory: Path | None, problems: Problems) -> Path | None:
    """The file to read: the one asked for, which must exist, or the first found in the usual places."""
    named = Given(str(flag), "--config") if flag is not None else variables.get(CONFIG_FILE)
    home = variables.get("HOME")
    if named is not None:
        path = Path(named.text)
        if home is not None and named.text.startswith("~/"):
            path = Path(home.text, named.text[2:])
        if not is_there(path):
            problems.add(named.where, "names a file that cannot be read: no such file")
            return None
        return path
    if directory is None:
        return None
    places = [directory / FILE_IN_DIRECTORY]
    folder = variables.get("XDG_CONFIG_HOME")
    if folder is not None:
        places.append(Path(folder.text) / "llm-edge-agent" / "config.yaml")
    elif home is not None:
        places.append(Path(home.text) / ".config" / "llm-edge-agent" / "config.yaml")
    return next((place for place in (*places, SYSTEM_FILE) if is_there(place)), None)


def _sections(tree: Node | None, problems: Problems) -> dict[str, Node]:
    """The nodes of the file by path: settings, and the sections that others read. Unknown keys are problems."""
    known = {setting.path for setting in SETTINGS if setting.path} | set(EXPANDED.values()) | set(FREE_SECTIONS)
    inner = {path.rsplit(".", depth)[0] for path in known for depth in range(1, path.count(".") + 1)}
    found: dict[str, Node] = {}

    def walk(node: Node, path: str) -> None:
        if node.content is None:
            return
        if not isinstance(node.content, dict):
            problems.add(node.where, "must be a mapping")
            return
        for name, child in node.content.items():
            place = f"{path}.{name}" if path else name
            if place in known:
                found[place] = child
            elif place in inner:
                walk(child, place)
            else:
                siblings = {
                    each.removeprefix(f"{path}." if path else "").split(".")[0]
                    for each in known
                    if not path or each.startswith(f"{path}.")
                }
                problems.add(child.where, f"unknown{did_you_mean(name, siblings)}")

    if tree is not None:
        walk(tree, "")
    return found


class _Given:
    """Every setting that was given: validated in every layer, the highest layer's value kept."""

    def __init__(
        self, variables: Variables, flags: Mapping[str, str], sections: Mapping[str, Node], problems: Problems
    ) -> None:
        self.values: dict[str, Any] = {}
        """By name, or by path for what the file alone can set."""
        self.where: dict[str, str] = {}
        self._problems = problems
        command_line = {name: Given(text, f"--{name.lower().replace('_', '-')}") for name, text in flags.items()}
        names = [*(setting.name for setting in SETTINGS if setting.name), "API_KEYS", *VARIABLES]
        for name, flag in command_line.items():
            if name not in names:
                problems.add(flag.where, f"unknown{did_you_mean(name, names)}")
        environment = {
            setting.name: given
            for setting in SETTINGS
            if setting.name and (given := _variable(variables, setting.name)) is not None
        }
        file = dict(_file_values(sections, problems))
        if (address := variables.get("SERVER_ADDRESS")) is not None:
            self._expand_address(address, environment)
        if "server.address" in sections and (address := sections["server.address"].given()) is not None:
            self._expand_address(address, file)
        if "LOG_LEVEL" not in command_line and "LOG_LEVEL" not in environment and "RUST_LOG" in environment:
            level = environment["RUST_LOG"]
            text = problems.parse(level, forms.rust_log)
            environment["LOG_LEVEL"] = Given(str(text or "info"), level.where)
        for layer in (command_line, environment, file):
            for setting in SETTINGS:
                self._take(setting, layer)

    def _take(self, setting: Setting, layer: Mapping[str, Given]) -> None:
        name = setting.name or str(setting.path)
        given = layer.get(name)
        if given is None:
            return
        value = self._problems.parse(given, setting.form)
        if value is not None and name not in self.where:
            self.values[name] = value
        self.where.setdefault(name, given.where)

    def _expand_address(self, address: Given, layer: dict[str, Given]) -> None:
        """The older name for host and port together. Beside either of them it must say the same."""
        parsed = self._problems.parse(address, forms.address)
        if not isinstance(parsed, tuple):
            return
        for name, value in zip(("HOST", "PORT"), parsed, strict=True):
            same = layer.setdefault(name, Given(str(value), address.where))
            if same.text != str(value):
                self._problems.add(address.where, f"contradicts {same.where}: use one of them")


def _variable(variables: Variables, name: str) -> Given | None:
    given = variables.get(name)
    if given is None and name in ("HTTPS_PROXY", "NO_PROXY"):
        return variables.get(name.lower())
    return given


def _file_values(sections: Mapping[str, Node], problems: Problems) -> Iterator[tuple[str, Given]]:
    for setting in SETTINGS:
        node = sections.get(setting.path) if setting.path else None
        if node is None or node.content is None:
            continue
        given = _joined_fallbacks(node) if setting.name == "FALLBACKS" else node.given()
        if given is None:
            problems.add(node.where, "must be a single value")
        elif given.text:
            yield setting.name or str(setting.path), given


def _joined_fallbacks(node: Node) -> Given | None:
    """A mapping from a model to its list, written as the variable has it."""
    if not isinstance(node.content, dict):
        return node.given()
    chains = []
    for model, child in node.content.items():
        items = child.content if isinstance(child.content, list) else [child]
        texts = [given.text for item in items if (given := item.given()) is not None]
        chains.append(f"{model}={','.join(texts)}")
    return Given(";".join(chains), node.where)


def _add_warnings(given: _Given, warnings: list[str]) -> None:
    values = given.values
    for name in OTLP_ENDPOINTS:
        if str(values.get(name, "")).endswith(":4317"):
            place = given.where[name]
            warnings.append(f"{place}: 4317 is the port of OTLP over gRPC; traces go over HTTP, usually to 4318")


def _with_fields(given: _Given) -> AppConfig:
    """The defaults with every setting that has a field."""
    groups: dict[str, dict[str, Any]] = {"": {}, "cache": {}, "server": {}, "otel": {}}
    for setting in SETTINGS:
        name = setting.name or str(setting.path)
        if setting.field is None or name not in given.values:
            continue
        group, _, field = setting.field.rpartition(".")
        value = given.values[name]
        if setting.field in ("cache.l1_bytes", "cache.l2_bytes"):
            value *= 1024 * 1024
        groups[group][field] = Secret(value) if setting.secret else value
    return AppConfig(
        **groups[""],
        cache=CacheConfig(**groups["cache"]),
        server=ServerLimits(**groups["server"]),
        otel=OtelConfig(**groups["otel"]),
    )


def _check_names(config: AppConfig, problems: Problems) -> None:
    """Names that lead to other names must lead somewhere."""
    known = {group.name for group in config.groups}
    for name in sorted(known & set(config.aliases)):
        problems.add(f"aliases.{name}", "is the name of a group too")
    chains = [("FALLBACKS", chain) for chain in config.fallbacks.values()]
    for group in config.groups:
        chains += [
            (f"groups.{group.name}.{kind}", getattr(group, kind))
            for kind in ("fallbacks", "context_window_fallbacks", "content_filter_fallbacks")
        ]
    wanted = [(where, name) for where, chain in chains for name in chain if name not in known]
    if not wanted:
        return
    table = table_from_document(model_document(config.model_overrides))
    accounts = [Account(each.name, each.dialect, each.models) for each in config.providers]
    directory = Directory(table, accounts, config.aliases)
    for where, name in wanted:
        try:
            directory.resolve(name)
        except GatewayError:
            problems.add(where, "names a model that no configured provider serves")


def _cache_folder(variables: Variables, problems: Problems) -> str | None:
    """Where this platform's programs keep what they can do without."""
    folder, home = variables.get("XDG_CACHE_HOME"), variables.get("HOME")
    if folder is not None:
        return str(Path(folder.text) / "llm-edge-agent")
    if home is None:
        problems.add("CACHE_DIR", "must be set: there is no home folder to keep the L2 cache in")
        return None
    return str(Path(home.text) / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "llm-edge-agent")


def _check_whole(config: AppConfig, problems: Problems) -> None:
    """What is wrong between settings that are right alone."""
    if config.metrics_enabled and config.port and config.port == config.metrics_port:
        problems.add("METRICS_PORT", "is the same as PORT: 0 turns the second listener off, /metrics is on PORT too")
    own_hosts = {config.host, *LOOPBACK_HOSTS}
    for provider in config.providers:
        parts = urlsplit(provider.base_url)
        if config.port and parts.port == config.port and parts.hostname in own_hosts:
            preset = PRESETS.get(provider.name)
            variable = preset.base_url_variable if preset is not None else f"providers.{provider.name}.base_url"
            problems.add(variable, "is the address of this gateway itself")
