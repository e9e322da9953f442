"""A Claude model calls a tool, through the openai SDK: the gateway translates both ways."""

import json
import os

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

client = OpenAI(
    base_url=os.environ.get("GATEWAY_URL", "http://localhost:8080") + "/v1",
    api_key=os.environ.get("GATEWAY_KEY", "anything"),
)

weather: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Use the tool: how is the weather in Oslo?"}]

asked = client.chat.completions.create(
    model="claude-haiku-5-5", messages=messages, tools=[weather], tool_choice="required"
)
message = asked.choices[0].message
messages.append(message.to_dict())  # type: ignore[arg-type]  # what came back goes back, whatever it holds
for call in message.tool_calls or []:
    if call.type == "function":
        print(f"{call.function.name}({call.function.arguments})")
        result = json.dumps({"temperature_celsius": -4, "sky": "clear"})
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})

told = client.chat.completions.create(model="claude-haiku-5-5", messages=messages, tools=[weather])
print(told.choices[0].message.content)
