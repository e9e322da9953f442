"""The name under which an answer is remembered: a digest over everything that could change the answer."""

from hashlib import sha256

VERSION = b"2"

NOT_KEYED = frozenset(
    {
        "model",  # the resolved model stands in the key in its place
        "stream",
        "stream_options",
        "user",
        "metadata",
        "store",
        "safety_identifier",
        "prompt_cache_key",
    }
)
"""The deny-list: members that cannot change what the model says. Everything else is keyed, known or not, because an
allow-list aliases two requests whenever a provider adds a parameter."""


def cache_key(
    *, tenant: str, epoch: str, endpoint: str, model: str, namespace: str, passed: bytes, material: bytes
) -> bytes:
    """The 32-byte key of a request. Every part is length-prefixed, so no two tuples of parts run into each other.

    `model` is the resolved one with its provider; `passed` is what of the request's
    head goes upstream; `material` comes from `strict_json.key_material`; `epoch` moves when
    the tenant's entries are purged.
    """
    head = (
        f"{len(tenant)}:{tenant}{len(epoch)}:{epoch}{len(endpoint)}:{endpoint}"
        f"{len(model)}:{model}{len(namespace)}:{namespace}|"
    )
    return sha256(
        b"%b|%b%d:%b%b" % (VERSION, head.encode("utf-8", "surrogatepass"), len(passed), passed, material)
    ).digest()
