"""SIP status codes in words: why a call attempt ended, as the network says it (RFC 3261 and its registered additions)."""

_WORDS = {
    180: "ringing",
    183: "session progress",
    200: "answered",
    202: "accepted",
    301: "moved permanently",
    302: "moved temporarily",
    400: "bad request",
    401: "not authenticated",
    402: "payment required",
    403: "forbidden by the network or the called party's carrier",
    404: "no such number",
    405: "method not allowed",
    407: "proxy authentication required",
    408: "no reply from the called party's network",
    410: "number no longer in use",
    415: "audio format not supported",
    420: "bad extension",
    422: "session timer too short",
    423: "interval too brief",
    428: "caller identity required",
    433: "anonymous calls not accepted",
    436: "bad caller identity",
    437: "unsupported certificate",
    438: "invalid caller identity",
    480: "temporarily unavailable, nobody picked up or the phone is off",
    481: "call does not exist any more",
    482: "loop detected",
    483: "too many hops",
    484: "number incomplete",
    485: "number ambiguous",
    486: "busy",
    487: "canceled before it was answered",
    488: "no common audio format",
    491: "request pending",
    493: "undecipherable",
    500: "server error",
    501: "not implemented",
    502: "bad gateway",
    503: "service unavailable, often no free line",
    504: "gateway timed out",
    505: "version not supported",
    513: "message too large",
    580: "precondition failed",
    600: "busy everywhere",
    603: "declined",
    604: "does not exist anywhere",
    606: "not acceptable",
    607: "unwanted call",
    608: "rejected by a network's call filter",
}
_CLASSES = {
    1: "in progress",
    2: "answered",
    3: "redirected",
    4: "request failed",
    5: "server failed",
    6: "failed everywhere",
}


def in_words(code: int | None) -> str | None:
    """The code and what it means, `486 (busy)`; None for none."""
    if code is None:
        return None
    words = _WORDS.get(code) or _CLASSES.get(code // 100)
    return f"{code} ({words})" if words else str(code)
