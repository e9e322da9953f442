# Every target sets up what it needs, in .venv (and .venv-older-sdks for the SDKs' older majors): nothing is installed elsewhere.
PYTHON ?= python3
VENV := .venv
OLD_SDKS := .venv-older-sdks
BIN := $(VENV)/bin
# The locks name every package, so nothing is resolved: pip would look at newer releases than the locked ones.
PIP := -m pip install --quiet --disable-pip-version-check --no-deps

.PHONY: demo run test test-older-sdks test-agents check test-long bench clean tools

demo: $(VENV)/.runtime
	$(BIN)/llm-edge-agent demo

run: $(VENV)/.runtime
	$(BIN)/llm-edge-agent serve

# First the static checks, beside them the SDK conformance suites with the older SDKs, which mostly wait. Then what decides,
# every branch of it covered by its own tests. Then all else, untraced: tracing more than doubles its CPU time.
test: tools $(VENV)/.development $(OLD_SDKS)/.ready
	$(MAKE) --no-print-directory --jobs 2 check test-older-sdks
	$(BIN)/python -m pytest --numprocesses auto tests/core tests/dialects --cov=llm_edge_agent.core --cov=llm_edge_agent.dialects --cov-branch --cov-fail-under=100 --cov-report=term-missing:skip-covered
	$(BIN)/python -m pytest --numprocesses auto --ignore=tests/core --ignore=tests/dialects

test-older-sdks: $(VENV)/.runtime $(OLD_SDKS)/.ready
	GATEWAY_COMMAND=$(CURDIR)/$(BIN)/llm-edge-agent $(OLD_SDKS)/bin/python -m pytest -c tests/conformance/openai_sdk/pytest.ini tests/conformance/openai_sdk
	GATEWAY_COMMAND=$(CURDIR)/$(BIN)/llm-edge-agent $(OLD_SDKS)/bin/python -m pytest -c tests/conformance/anthropic_sdk/pytest.ini tests/conformance/anthropic_sdk

# What reads the code, and does not run it.
check: $(VENV)/.development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_repository.py

# Minutes of soak, fuzz and abort runs.
test-long: tools $(VENV)/.development
	$(BIN)/python -m pytest -m long --timeout 3600 tests

# Claude Code and Codex behind the gateway, against the simulator (needs npm; installs them in .agents).
test-agents: $(VENV)/.development
	npm install --no-audit --no-fund --silent --prefix .agents @anthropic-ai/claude-code @openai/codex
	$(BIN)/python -m pytest -m agents tests/agents

# CPU per request beside nginx (needs nginx and wrk: apt-get install nginx-light wrk); not part of the tests.
bench: $(VENV)/.development
	$(BIN)/python -m bench.micro
	$(BIN)/python -m bench.load

clean:
	rm -rf $(VENV) $(OLD_SDKS) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

# Programs that tests call: certificates are made with openssl, an example is a curl script, promtool reads the metrics,
# and a real Redis is the shared cache. A minimal Debian lacks them. Servers are unpacked or named here and not installed:
# their packages would start them.
tools: .tools/usr/bin/prometheus .tools/usr/bin/redis-server
	@missing=; for tool in openssl curl git; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	[ -z "$$missing" ] || (apt-get update -qq && apt-get install -y -qq $$missing)

.tools/usr/bin/prometheus:
	mkdir -p $(@D)
	if command -v prometheus >/dev/null && command -v promtool >/dev/null; then \
	ln -s $$(command -v prometheus) $$(command -v promtool) $(@D)/; \
	else cd .tools && apt-get update -qq && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb . && rm *.deb; fi

# The server, Sentinel and the checker of files are one program under three names.
.tools/usr/bin/redis-server:
	mkdir -p $(@D)
	command -v redis-check-rdb >/dev/null || (apt-get update -qq && apt-get install -y -qq redis-tools)
	ln -s $$(command -v redis-check-rdb) $(@D)/redis-sentinel
	ln -s $$(command -v redis-check-rdb) $@

# A minimal Debian has Python without its venv module: fetch that package where `python3 -m venv` fails for its want.
define make_venv
$(PYTHON) -m venv $(1) || (rm -rf $(1) && apt-get update -qq && apt-get install -y -qq python3-venv && $(PYTHON) -m venv $(1))
endef

$(VENV)/bin/python:
	$(call make_venv,$(VENV))

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml requirements/runtime.txt
	$(BIN)/python $(PIP) -r requirements/runtime.txt
	$(BIN)/python $(PIP) -e .
	touch $@

$(VENV)/.development: $(VENV)/.runtime requirements/development.txt
	$(BIN)/python $(PIP) -r requirements/development.txt
	touch $@

$(OLD_SDKS)/.ready: requirements/older-sdks.txt
	$(call make_venv,$(OLD_SDKS))
	$(OLD_SDKS)/bin/python $(PIP) -r requirements/older-sdks.txt
	touch $@
