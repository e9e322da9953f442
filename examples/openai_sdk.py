"""A question through the gateway with the openai SDK, asked twice: the second answer comes from the cache.

Start the gateway first (`make run`, or `llm-edge-agent serve`), then `python examples/openai_sdk.py`.
"""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("GATEWAY_URL", "http://localhost:8080") + "/v1",
    api_key=os.environ.get("GATEWAY_KEY", "anything"),  # one of API_KEYS, where the gateway asks for one
)

for _ in range(2):
    answer = client.chat.completions.create(
        model="gpt-5.5",
        messages=[{"role": "user", "content": "Why is the sky blue? One sentence."}],
    )
    print(answer.choices[0].message.content)
    print(answer.metadata)
