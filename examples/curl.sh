#!/bin/sh
# The gateway from a shell: a whole answer, a stream, a Claude model through the same API, and what it all cost.
set -eu
gateway=${GATEWAY_URL:-http://localhost:8080}

ask() {
    curl --silent --show-error --fail-with-body --no-buffer "$gateway/v1/chat/completions" \
        --header "content-type: application/json" \
        --header "authorization: Bearer ${GATEWAY_KEY:-anything}" \
        --data "$1"
    echo
}

ask '{"model": "gpt-5.5", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}'
ask '{"model": "gpt-5.5", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "stream": true}'
ask '{"model": "claude-haiku-5-5", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}'

curl --silent --show-error --fail-with-body "$gateway/metrics" | grep '^llm_edge_cost_usd_total'
