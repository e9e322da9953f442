"""The awkward requests: whatever a gateway could be tempted to tidy up. Data, as bytes; a case may follow from the
answer to another, as a conversation does."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from llm_edge_agent.core import strict_json

CLAUDE, THINKING_CLAUDE = "claude-haiku-4-5", "claude-sonnet-5"
GPT, REASONING_GPT = "gpt-4o-mini", "gpt-5.5"
LEGACY_GPT = "gpt-legacy-completions"
"""OpenAI has retired the models of legacy completions; the simulator serves this one where it is told to."""

UNICODE = r"żółć 🦊 \ud83e\udd8a \u0000\u2028\u00e9 é \"\\\/\b\f\n\r\t \ufeff 漢字 \uFFFF"
"""As it stands in JSON: characters and escapes of the same and of others, which an encoder would settle one way."""
NUMBERS = '"numbers":{"a":0.1000000000000000055,"b":123456789012345678901234567890,"c":1E+2,"d":-0,"e":1.0,"f":5e-324}'
PNG = base64.b64encode(bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")).decode()
PDF = base64.b64encode(b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n%%EOF").decode()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request. `body` is sent as it stands."""

    door: str
    name: str
    body: bytes
    stream: bool = False
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """What must reach the provider as sent."""
    status: int = 200
    """What the simulator answers: a case that does not come so far shows nothing."""
    follow: "Callable[[bytes], Case] | None" = None
    """The next case, made of the answer to this one."""


def cases() -> list[Case]:
    """All that do not follow from others, in the order of the doors."""
    return [*_messages(), *_count_tokens(), *_responses(), *_chat(), *_completions(), *_embeddings()]


def _both(door: str, name: str, body: str, **members: object) -> list[Case]:
    """The same request for a whole answer and for a stream."""
    whole = Case(door=door, name=name, body=body.replace("@STREAM@", "false").encode())
    whole = replace(whole, **members)  # type: ignore[arg-type]  # members of Case, named where they are given
    return [whole, replace(whole, stream=True, body=body.replace("@STREAM@", "true").encode())]


# Anthropic.

_VERSION = {"anthropic-version": "2023-06-01"}
_NEW_VERSION = {"anthropic-version": "2026-10-21"}
_TOOLS = r"""[{"name":"look","description":"Looks. \u00e9","input_schema":{"type":"object","properties":{"place":
  {"type":"string","description":"where"}},"required":["place"]},"cache_control":{"type":"ephemeral","ttl":"1h"}},
  {"input_schema":{"properties":{},"type":"object"},"name":"list","strict":false}]"""
_BLOCKS = rf"""{{"type":"text","text":"Blocks of every type. {UNICODE}","cache_control":{{"type":"ephemeral"}}}},
  {{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{PNG}"}}}},
  {{"source":{{"url":"https://example.test/a.png","type":"url"}},"type":"image"}},
  {{"type":"document","source":{{"type":"text","media_type":"text/plain","data":"żółć"}},"citations":{{"enabled":true}},
    "title":"T","context":null}},
  {{"type":"document","source":{{"type":"content","content":[{{"type":"text","text":"part"}}]}}}},
  {{"type":"search_result","source":"s","title":"t","content":[{{"type":"text","text":"found"}}]}}"""
_HISTORY = """[{"role":"user","content":"Look around."},
  {"role":"assistant","content":[{"type":"text","text":"I look."},
    {"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"x","n":1.50}},
    {"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://e.test",
      "title":"t","encrypted_content":"AbC=","page_age":null}]},
    {"type":"tool_use","id":"toolu_1","name":"look","input":{"place" : "here","z":[1.0,2E0],"a":{}}},
    {"type":"tool_use","id":"toolu_2","name":"list","input":{}}]},
  {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"a"},
      {"type":"image","source":{"type":"url","url":"https://e.test/i.png"}}],"is_error":false},
    {"type":"tool_result","tool_use_id":"toolu_2","is_error":true,"content":"no"},{"type":"text","text":"Go on."}]}]"""


def _message(text: str, model: str = CLAUDE, more: str = "", max_tokens: str = "64") -> str:
    return (
        f'{{ "stream" :@STREAM@,"max_tokens":{max_tokens},\r\n\t"messages":[{{"content":"{text}","role":"user"}}]'
        f'{more},"model":"{model}"}} \n'
    )


def _messages() -> list[Case]:
    found = [
        *_both("messages", "odd order, white space and unicode", _message(UNICODE), headers=_VERSION),
        *_both("messages", "a new API version", _message("Hello"), headers=_NEW_VERSION, query="beta=true"),
        *_both(
            "messages",
            "numbers as they were written",
            _message("Hello", more=f',"tools":[{{"name":"f","input_schema":{{"type":"object",{NUMBERS}}}}}]'),
            headers=_VERSION,
        ),
        *_both(
            "messages",
            "betas and their members",
            _message(
                "Hello",
                more=',"context_management":{"edits":[{"type":"clear_tool_uses_20250919","trigger":{"value":1E3}}]}',
            ),
            headers={**_VERSION, "anthropic-beta": "context-management-2025-06-27, future-thing-2031-01-01"},
            query="beta=true",
        ),
        *_both(
            "messages",
            "an attribution block first",
            _message(
                "Hello",
                more=r""","system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=9; \u003c"},
  {"type":"text","text":"You are.","cache_control":{"type":"ephemeral","ttl":"1h"}}],
  "metadata":{"user_id":"user_é"},"stop_sequences":["\n\nHuman:"],"service_tier":"auto" """,
            ),
            headers=_VERSION,
        ),
        *_both(
            "messages",
            "blocks of every type",
            f'{{"model":"{CLAUDE}","max_tokens":64,"stream":@STREAM@,"messages":[{{"role":"user","content":[{_BLOCKS}]}}]}}',
            headers=_VERSION,
        ),
        *_both(
            "messages",
            "results of tools of both sides",
            f'{{"tools":{_TOOLS},"stream":@STREAM@,"messages":{_HISTORY},"model":"{CLAUDE}","max_tokens":64}}',
            headers=_VERSION,
        ),
        *_both(
            "messages", "tool calls", _message("Use both. [[sim: tool=look+list]]", more=f',"tools":{_TOOLS}'),
            headers=_VERSION,
        ),
        *_both(
            "messages", "redacted thinking", headers=_VERSION,
            body=_message("Hm. [[sim: think=redacted]]", THINKING_CLAUDE, max_tokens="2048"),
        ),
        *_both("messages", "pings", _message("Hello [[sim: pings=2]]"), headers=_VERSION),
        *_both("messages", "half a surrogate pair", _message("Hello [[sim: surrogate]]"), headers=_VERSION),
        *_both("messages", "a long prompt", _message("x żółć " * 20_000), headers=_VERSION),
        *_both("messages", "an end for want of tokens", _message("Tell me more.", max_tokens="3"), headers=_VERSION),
        *_both("messages", "a refusal", _message("Hello [[sim: finish=refusal]]"), headers=_VERSION),
        *_both("messages", "a pause", _message("Hello [[sim: finish=pause_turn]]"), headers=_VERSION),
        *_both(
            "messages", "a member that the provider does not know", _message("Hi", more=',"new":{"a":1.50}'),
            headers=_VERSION, status=400,
        ),
        *_both("messages", "no version at all", _message("Hi", max_tokens="0"), headers=_VERSION),
        *_both(
            "messages", "an overload", _message("[[sim: status=529, retry_after=7]]"), headers=_VERSION, status=529
        ),
        *_both("messages", "a rate limit", _message("[[sim: status=429]]"), headers=_VERSION, status=429),
        Case(
            door="messages", name="an error in the stream", stream=True, headers=_VERSION,
            body=_message("Hello [[sim: mode=error, fail_after=3]]").replace("@STREAM@", "true").encode(),
        ),
    ]  # fmt: skip
    return [*found, _as_claude_code(), *_thinking_conversation(stream=False), *_thinking_conversation(stream=True)]


def _as_claude_code() -> Case:
    """The members and betas of Claude Code 2.1, with little in them."""
    betas = (
        "claude-code-20250219,context-1m-2025-08-07,interleaved-thinking-2025-05-14,thinking-token-count-2026-05-13,"
        "context-management-2025-06-27,prompt-caching-scope-2026-01-05,mid-conversation-system-2026-04-07,"
        "effort-2025-11-24"
    )
    more = f""","system":[{{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1.197; cch=0;"}},
  {{"type":"text","text":"You are.","cache_control":{{"type":"ephemeral"}}}}],"tools":{_TOOLS},
  "metadata":{{"user_id":"{{\\"device_id\\":\\"0\\"}}"}},"thinking":{{"type":"adaptive"}},
  "context_management":{{"edits":[{{"type":"clear_thinking_20251015","keep":"all"}}]}},"output_config":{{"effort":"high"}}"""
    return Case(
        door="messages",
        name="as Claude Code asks",
        body=_message("Look. [[sim: tool=look]]", "claude-opus-4-8", more, "64000")
        .replace("@STREAM@", "true")
        .encode(),
        stream=True,
        query="beta=true",
        headers={**_VERSION, "anthropic-beta": betas},
    )


def _thinking_conversation(*, stream: bool) -> list[Case]:
    """Thinking is echoed with its signature: an altered byte makes the provider refuse the second turn."""
    opening = (
        f'{{"max_tokens":2048,"tools":{_TOOLS},"model":"{THINKING_CLAUDE}","stream":false,\n'
        '"messages":[ {"role":"user","content":"Think. [[sim: tool=look]]"}'
    ).encode()

    def follow(answer: bytes) -> Case:
        span = strict_json.members(answer)["content"]
        content = answer[span.start : span.end]
        tool_use = content[content.rindex(b'"toolu_') :].split(b'"', 2)[1]
        body = opening.replace(b'"stream":false', b'"stream":true' if stream else b'"stream":false') + (
            b',{"role":"assistant","content":%b},{"role":"user","content":[{"type":"tool_result","tool_use_id":"%b"}]}]}'
            % (content, tool_use)
        )
        return Case(door="messages", name="thinking echoed with its signature", body=body, stream=stream,
                    headers=_VERSION)  # fmt: skip

    return [Case(door="messages", name="thinking", body=opening + b"]}", headers=_VERSION, follow=follow)]


def _count_tokens() -> list[Case]:
    body = f'{{"messages":{_HISTORY},\n"tools":{_TOOLS}, "model":"{CLAUDE}"}}'.encode()
    beta = {**_VERSION, "anthropic-beta": "token-counting-2024-11-01"}
    return [
        Case(door="count_tokens", name="a conversation with tools", body=body, headers=beta, query="beta=true"),
        Case(
            door="count_tokens", name="a member that the provider does not know", status=400, headers=_VERSION,
            body=f'{{"new":1,"messages":{_HISTORY},"model":"{CLAUDE}"}}'.encode(),
        ),
    ]  # fmt: skip


# OpenAI.

_FUNCTIONS = r"""[{"type":"function","name":"look","parameters":{"type":"object","properties":{"place":
  {"type":"string"}},"required":["place"],"additionalProperties":false},"strict":true,"description":"\u00e9"}]"""
_ITEMS = rf"""[{{"role":"developer","content":"Be brief."}},
  {{"type":"message","role":"user","content":[{{"type":"input_text","text":"{UNICODE}"}},
    {{"type":"input_image","image_url":"data:image/png;base64,{PNG}","detail":"low"}},
    {{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,{PDF}"}}]}},
  {{"type":"function_call","call_id":"call_1","name":"look","arguments":"{{\"place\" : \"x\"}}","id":"fc_1"}},
  {{"type":"function_call_output","call_id":"call_1","output":"seen \u00e9"}}]"""


def _response(text: str, more: str = "", model: str = GPT) -> str:
    return f'{{"store" :false,\t"input":"{text}"{more},"stream":@STREAM@ , "model":"{model}"}}\r\n'


def _responses() -> list[Case]:
    found = [
        *_both("responses", "odd order, white space and unicode", _response(UNICODE)),
        *_both(
            "responses",
            "items of every kind",
            f'{{"input":{_ITEMS},"stream":@STREAM@,"model":"{GPT}","store":false,"tools":{_FUNCTIONS},"temperature":1.0}}',
        ),
        *_both("responses", "function calls", _response("Look. [[sim: tool=look]]", f',"tools":{_FUNCTIONS}')),
        *_both(
            "responses",
            "a format of its own",
            _response(
                "Answer in JSON.",
                ',"text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object",'
                '"properties":{"b":{"type":"number"},"a":{"type":"string"}},"required":["b","a"],'
                '"additionalProperties":false}}}',
            ),
        ),
        *_both("responses", "what is kept is not touched", _response("Hi", ',"metadata":{"b":"2","a":"1"}')),
        *_both("responses", "half a surrogate pair", _response("Hello [[sim: surrogate]]")),
        *_both("responses", "an end for want of tokens", _response("Tell me more.", ',"max_output_tokens":16')),
        *_both(
            "responses", "a member that the provider does not know", _response("Hi", ',"new":{"a":1.50}'), status=400
        ),
        *_both("responses", "a rate limit", _response("[[sim: status=429, retry_after=3]]"), status=429),
        *_both("responses", "a failure", _response("[[sim: status=500]]"), status=500),
    ]
    found += [
        Case(
            door="responses", name=f"{name} in the stream", stream=True,
            body=_response(f"Hello [[sim: mode={mode}, fail_after=3]]").replace("@STREAM@", "true").encode(),
        )
        for name, mode in (("an error", "error"), ("a failure", "failed"))
    ]  # fmt: skip
    return [*found, _as_codex(), *_reasoning_conversation(stream=False), *_reasoning_conversation(stream=True)]


def _as_codex() -> Case:
    """The members of Codex 0.169, with little in them."""
    tool = '{"type":"custom","name":"exec","format":{"type":"grammar","syntax":"lark","definition":"start: /x/"}}'
    body = f"""{{"model":"gpt-6.1-sol","input":[{{"type":"additional_tools","id":"at_1","role":"developer","tools":[
  {{"type":"namespace","name":"functions","description":"","tools":[{tool}]}}]}},
  {{"type":"message","role":"developer","content":[{{"type":"input_text","text":"<permissions>"}}]}},
  {{"type":"message","role":"user","content":[{{"type":"input_text","text":"Hello"}}]}}],
  "tool_choice":"auto","parallel_tool_calls":false,"reasoning":{{"effort":"low","context":"all_turns"}},"store":false,
  "stream":true,"include":["reasoning.encrypted_content"],"prompt_cache_key":"01a2","text":{{"verbosity":"low"}},
  "client_metadata":{{"x-codex-installation-id":"1"}}}}"""
    return Case(door="responses", name="as Codex asks", body=body.encode(), stream=True)


def _reasoning_conversation(*, stream: bool) -> list[Case]:
    """Reasoning that nobody stores comes back encrypted, and is echoed."""
    opening = (
        f'{{"include":["reasoning.encrypted_content"],"model":"{REASONING_GPT}","store":false,"stream":false,'
        f'"tools":{_FUNCTIONS},"input":[ {{"role":"user","content":"Think. [[sim: tool=look]]"}}'
    ).encode()

    def follow(answer: bytes) -> Case:
        span = strict_json.members(answer)["output"]
        output = answer[span.start + 1 : span.end - 1]
        call_id = output[output.rindex(b'"call_id"') :].split(b'"', 4)[3]
        body = opening.replace(b'"stream":false', b'"stream":true' if stream else b'"stream":false') + (
            b',%b,{"type":"function_call_output","call_id":"%b","output":"seen"}]}' % (output, call_id)
        )
        return Case(door="responses", name="reasoning echoed encrypted", body=body, stream=stream)

    return [Case(door="responses", name="reasoning", body=opening + b"]}", follow=follow)]


_USAGE = b',"stream_options":{"include_usage":true}'


def _asked_for_usage(found: list[Case]) -> list[Case]:
    """A stream is asked for its usage in any case: so does the client, where it can."""
    return [
        replace(case, body=case.body.replace(b"@USAGE@", _USAGE if case.stream else b"")) for case in found
    ]  # fmt: skip


def _chat() -> list[Case]:
    """No refusals: chat completions word them anew."""
    parameters = f'{{"type":"object",{NUMBERS}}}'
    rows = (
        ("odd order, white space and unicode", UNICODE, ""),
        (
            "numbers as they were written",
            "Hi",
            f',"tools":[{{"type":"function","function":{{"name":"f","parameters":{parameters}}}}}]',
        ),
    )
    found = []
    for name, text, more in rows:
        said = f'{{"content":"{text}","role":"user"}}'
        body = f'{{ "messages":[{said}]{more},\r\n"model":"{GPT}","stream":@STREAM@@USAGE@}} '
        found += _asked_for_usage(_both("chat", name, body))
    return found


def _completions() -> list[Case]:
    found = []
    for name, prompt, more, status in (
        ("odd order, white space and unicode", f'"{UNICODE}"', "", 200),
        ("several prompts", '["one", "two"]', ',"n":2,"logprobs":1', 200),
        ("a member that the provider does not know", '"Hi"', ',"new":1.0', 400),
    ):
        body = f'{{"prompt":{prompt}{more},\n"stream":@STREAM@@USAGE@, "max_tokens":8,"model":"{LEGACY_GPT}"}}'
        found += _asked_for_usage(_both("completions", name, body, status=status))
    return found


def _embeddings() -> list[Case]:
    rows = (
        ("odd order, white space and unicode", f'"{UNICODE}"', "", 200),
        ("several texts, in base64", '["one", "two"]', ',"encoding_format":"base64"', 200),
        ("tokens, and few dimensions", "[[1, 2],[3]]", ',"dimensions":8,"user":"u"', 200),
        ("a member that the provider does not know", '"Hi"', ',"new":1.0', 400),
    )
    return [
        Case(
            door="embeddings",
            name=name,
            body=f'{{"input":{text}{more} ,"model":"text-embedding-3-small"}}'.encode(),
            status=status,
        )
        for name, text, more, status in rows
    ]
