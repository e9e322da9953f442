"""The gateway as a library: no server, no port. Keys come from the environment, as for the command."""

import asyncio
import json

from llm_edge_agent import AppConfig, handle_chat_completions, initialize_app_state


async def main() -> None:
    state = await initialize_app_state(AppConfig.from_env())
    try:
        question = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
        async with await handle_chat_completions(state, {}, json.dumps(question).encode()) as reply:
            answer = json.loads(await reply.read())
        print(reply.status, answer["choices"][0]["message"]["content"])
        print(answer["metadata"])

        streamed = {**question, "stream": True}
        async with await handle_chat_completions(state, {}, json.dumps(streamed).encode()) as reply:
            async for piece in reply:  # leaving early stops generation at the provider
                print(piece.decode(), end="")
        print(f"spent: {state.totals()}")
    finally:
        await state.close()


asyncio.run(main())
