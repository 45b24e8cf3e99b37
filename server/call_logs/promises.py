"""What the agent said it did or would do, to set against what was executed; it does not know any vendor.

A promise is a sentence of the agent in which "I" or "we" commit to something, now or as done: a message, an
appointment, a transfer, or that somebody calls back. Questions, offers, conditions ("if you like", "when it is
ready"), negations, habits, reported speech and things of the past are none; English and Spanish are read. Precision
comes before recall: a promise that is missed costs less than an agent accused of breaking one.

A promise is unkept when no action of its kind was executed in the call at all. Workflows, webhooks and custom actions
can send, book and call back without saying so: with one of them executed, only a transfer can be unkept.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from call_logs.model import Action, ActionKind, Speaker, Turn


@dataclass(frozen=True)
class Promise:
    """A commitment and the sentence it was made in.

    `offset_seconds` is that of the turn, from the start of the call. `claimed` is for "I have sent", against "I will
    send". A call back is of the kind `other`.
    """

    turn: int
    offset_seconds: float | None
    kind: ActionKind
    text: str
    claimed: bool


def promised(turns: Sequence[Turn]) -> list[Promise]:
    """The promises of the agent in the order in which they were made, one of each kind a sentence."""
    return [
        Promise(turn.n, turn.offset_seconds, kind, sentence.strip(), claimed)
        for turn in turns
        if turn.speaker is Speaker.AGENT
        for sentence in _SENTENCES.findall(turn.text)
        for kind, claimed in _commitments(sentence)
    ]


def unkept(turns: Sequence[Turn], actions: Sequence[Action]) -> list[Promise]:
    """The promises that no executed action can have kept: at most one of a kind, a claim before an announcement."""
    executed = {action.kind for action in actions}
    broken: dict[ActionKind, Promise] = {}
    for promise in promised(turns):
        if executed & _KEPT_BY[promise.kind]:
            continue
        held = broken.get(promise.kind)
        if held is None or (promise.claimed and not held.claimed):
            broken[promise.kind] = promise
    return sorted(broken.values(), key=lambda promise: promise.turn)


_ANYTHING = {ActionKind.WORKFLOW, ActionKind.CUSTOM, ActionKind.WEBHOOK}
_KEPT_BY = {
    ActionKind.MESSAGE: {ActionKind.MESSAGE, *_ANYTHING},
    ActionKind.APPOINTMENT: {ActionKind.APPOINTMENT, *_ANYTHING},
    ActionKind.TRANSFER: {ActionKind.TRANSFER},
    ActionKind.OTHER: {ActionKind.OTHER, *_ANYTHING},
}

# A full stop within a word, after a title or before a small letter ("3 p.m. tomorrow") ends no sentence.
_SENTENCES = re.compile(
    r"\S(?:[^.!?\u2026\n]|[.](?=\S| +[a-z\u00e0-\u00ff])|(?:(?<=\bDr)|(?<=\bMr)|(?<=\bMs)|(?<=\bMrs)|(?<=\bSr))[.])*[.!?\u2026]*"
)

# --- how a commitment begins -----------------------------------------------------------------------------------------

_ADVERB = r"(?:(?:just|now|already|also|then|quickly|personally|actually|gladly|immediately|go ahead and|right away) )*"
_HAVE_TO = r"(?:(?:have|need) to |make sure (?:to|I|we) |be sure to )?"
_WILL = rf"\b(?:(?:I'll|I will|we'll|we will|I'm (?:going to|gonna)|I am going to|we're (?:going to|gonna)|we are going to|let me) {_ADVERB}{_HAVE_TO}{_ADVERB})"
_DOING = rf"(?:\b(?:I'm|I am|we're|we are|I'll be|we'll be) {_ADVERB}|^(?:(?:ok|okay|alright|all right|sure|great|perfect|thanks|thank you|one moment|one moment please)[,.]? )*)"
_HAVE = rf"\b(?:I've|I have|we've|we have) {_ADVERB}(?:gone ahead and )?{_ADVERB}"
_JUST_DID = r"\b(?:I|we) (?:just|already|just now) "

# --- what is committed to --------------------------------------------------------------------------------------------

_NOUN = (
    r"(?:texts?|sms|messages?|e-?mails?|whatsapp|links?|confirmations?|details|directions|invoice|receipt|quote|estimate"
    r"|form|reminder|copy|documents?|summary|address|instructions|brochure|calendar invite|invite|code)"
)
_POINTED = r"(?:it|that|this|those|them|everything)"
_SENT = (
    rf"(?:you (?!to\b|over\b|through\b|back\b)(?:(?:over|out) )?(?:{_POINTED}\b|(?:[\w'-]+ ){{0,6}}?{_NOUN}\b)"
    rf"|{_POINTED} (?:(?:right |straight )?over|now|right now|to you\b|to your\b)"
    rf"|(?:an?|the|your|that|this|another) (?:[\w'-]+ ){{0,4}}?{_NOUN}\b)"
)
_TEXTED = (
    rf"(?:you\b|{_POINTED} (?:right )?(?:over|to you\b|to your\b)|(?:the|that|your|an?) (?:[\w'-]+ ){{1,4}}?to you\b)"
)
_CALLBACK = r"(?:call[- ]?back|return call)"
_BOOKED = (
    r"(?:you|your|that|it|this|the|an|a)\b(?! (?:[\w'-]+ ){0,3}?(?:call[- ]?back|return call|message|text|e-?mail)\b)"
)
_MEETING = r"(?:an?|the|your|that|this) (?:[\w'-]+ ){0,3}?(?:appointment|meeting|visit|consultation|demo|booking|reservation)\b"
_PARTY = r"(?:you\b(?! know)|your call|the call|this call)"
_SOMEONE = (
    r"(?:(?:someone|somebody)(?: (?:else )?(?:from|in|on|at|with) (?:the |our |my )?[\w'-]+(?: [\w'-]+){0,2}?)?|one of (?:our|the|my) [\w'-]+(?: [\w'-]+)?|our [\w'-]+(?: [\w'-]+)?|an? (?:[\w'-]+ )?"
    r"(?:member of (?:our|the) (?:[\w'-]+ )?(?:team|staff)|representative|specialist|technician|colleague|team member"
    r"|supervisor|nurse|agent|person|advisor|adviser|associate|human))"
)
_REACH_OUT = (
    r"(?:call you\b|give you a (?:quick )?(?:call|ring)|get back to you|reach out to you|reach you\b|contact you\b"
    r"|phone you\b|ring you\b|return your call|be in touch|follow up with you)"
)

_ES_MESSAGE = r"(?:mensaje|sms|texto|correo|email|e-mail|whatsapp|enlace|link|confirmaci\u00f3n|detalles|direcci\u00f3n|recibo|factura)"
_ES_TO = r"(?:le|les|te|os|se (?:lo|la|los|las)|te (?:lo|la|los|las))"
_ES_YOU = r"(?:le|les|te|lo|la|los|las)"
_ES_ENDS = r"(?:le|les|te|os|se(?:lo|la|los|las)|te(?:lo|la|los|las)|lo|la)"
_ES_NOW = r"(?:ahora|ya|enseguida|en seguida|ahora mismo|en este momento|inmediatamente)"
_ES_THING = rf"(?:un|una|el|la|los|su|tu) (?:\w+ ){{0,2}}?{_ES_MESSAGE}\b"
_ES_SEND_I = r"(?:enviar[\u00e9e]|enviaremos|mandar[\u00e9e]|mandaremos|reenviar[\u00e9e])"
_ES_BOOK_I = r"(?:agendar[\u00e9e]|agendaremos|reservar[\u00e9e]|reservaremos|programar[\u00e9e]|programaremos)"
_ES_LET_ME = r"(?:perm[i\u00ed]tame|d[e\u00e9]jeme|perm[i\u00ed]teme|d[e\u00e9]jame|voy a|vamos a)"
_ES_SOMEONE = (
    r"(?:alguien|un[ao]? (?:de nuestr[oa]s )?(?:agentes?|asesor(?:a|es)?|t[e\u00e9]cnic[oa]s?|representantes?"
    r"|compa\u00f1er[oa]s?|especialistas?|persona)|nuestro (?:equipo|personal))"
)
_ES_CALLS = (
    rf"(?:{_ES_YOU} (?:llamar[\u00e1a]|contactar[\u00e1a]|va a (?:llamar|contactar)|devolver[\u00e1a] la llamada)"
    r"|se (?:pondr[\u00e1a] en contacto|comunicar[\u00e1a]) con (?:usted|ustedes|vos)\b)"
)
_ES_VISIT = r"(?:su|tu|una|la|esa) (?:\w+ )?(?:cita|visita|reserva|consulta|reuni\u00f3n)"

_KINDS = {
    "message": ActionKind.MESSAGE,
    "appointment": ActionKind.APPOINTMENT,
    "transfer": ActionKind.TRANSFER,
    "callback": ActionKind.OTHER,
}
_ANNOUNCED = {
    "message": (
        rf"{_WILL}(?:send|resend|forward) {_SENT}",
        rf"{_WILL}(?:text|e-?mail|message|sms) {_TEXTED}",
        rf"{_WILL}(?:shoot|drop) you (?:an?|that|the) (?:quick )?(?:text|e-?mail|message)\b",
        rf"{_WILL}get {_POINTED} (?:sent|texted|e-?mailed) (?:over|out|to you|to your)\b",
        (
            r"\byou(?:'ll| will) (?:get|receive) (?:an?|the|your) (?:[\w'-]+ ){0,2}?(?:text|e-?mail|message|sms)\b"
            r"(?: message)? (?:[\w'-]+ ){0,2}?from (?:us|me)\b"
        ),
        rf"{_DOING}(?:sending|resending) {_SENT}",
        rf"{_DOING}(?:texting|e-?mailing|messaging) {_TEXTED}",
        rf"\b{_ES_TO} (?:voy a|vamos a) (?:enviar|mandar|reenviar)\b",
        rf"\b{_ES_LET_ME} (?:enviar|mandar|reenviar){_ES_ENDS}\b",
        rf"\b(?:voy a|vamos a) (?:enviar|mandar) {_ES_THING}",
        rf"\b{_ES_TO} {_ES_SEND_I}\b",
        rf"\b{_ES_TO} (?:estoy|estamos) (?:enviando|mandando)\b",
        rf"\b{_ES_NOW},? (?:mismo )?{_ES_TO} (?:env[i\u00ed]o|enviamos|mando|mandamos)\b",
        rf"\b{_ES_TO} (?:env[i\u00ed]o|enviamos|mando|mandamos) (?:{_ES_THING}|{_ES_NOW}\b)",
    ),
    "appointment": (
        rf"{_WILL}(?:book|schedule|reschedule) {_BOOKED}",
        rf"{_WILL}(?:set up|make|reserve|arrange) (?:you )?{_MEETING}",
        rf"{_WILL}get (?:you|that|it|this) (?:all )?(?:booked|scheduled|rescheduled)\b",
        rf"{_WILL}(?:put|pencil) you (?:down|in) for\b",
        rf"{_DOING}(?:booking|scheduling|rescheduling) {_BOOKED}",
        rf"\b{_ES_YOU} (?:voy a|vamos a) (?:agendar|reservar|programar)\b",
        rf"\b{_ES_LET_ME} (?:agendar|reservar|programar){_ES_ENDS}\b",
        rf"\b(?:voy a|vamos a) (?:agendar|reservar|programar) {_ES_VISIT}\b",
        rf"\b(?:{_ES_YOU} {_ES_BOOK_I}|{_ES_BOOK_I} {_ES_VISIT})\b",
    ),
    "transfer": (
        rf"{_WILL}(?:transfer|forward|redirect) {_PARTY}",
        rf"{_WILL}connect {_PARTY}",
        rf"{_WILL}(?:put|patch) you (?:straight |right )?through\b",
        rf"{_WILL}(?:send|pass|hand|get) you (?:straight |right |on )?(?:over )?to (?:a|an|the|our|one|someone|somebody|my)\b",
        rf"{_WILL}(?:send|pass|hand|get) you over to\b",
        rf"{_WILL}get you (?:transferred|connected)\b",
        rf"{_DOING}(?:transferring|connecting) {_PARTY}",
        rf"{_DOING}(?:putting|patching) you through\b",
        r"\bwhile (?:I|we) (?:transfer|connect) (?:you|your call)\b",
        rf"\b{_ES_YOU} (?:voy a|vamos a) (?:transferir|conectar|comunicar con|pasar con)\b",
        rf"\b{_ES_LET_ME} (?:transferir|conectar|comunicar|pasar)(?:le|les|te|lo|la|los|las)(?: con\b|(?<=transferir..)\b)",
        rf"\b{_ES_YOU} (?:transfiero|transferir[\u00e9e]|conectar[\u00e9e]|(?:comunico|comunicar[\u00e9e]|paso|pasar[\u00e9e]) con)\b",
        rf"\b{_ES_YOU} (?:estoy|estamos) (?:transfiriendo|conectando|comunicando con|pasando con)\b",
    ),
    "callback": (
        rf"\b{_SOMEONE} (?:will|is going to|'ll) {_ADVERB}{_REACH_OUT}",
        rf"\b(?:someone|somebody)'ll {_ADVERB}{_REACH_OUT}",
        r"\byou(?:'ll| will) (?:(?:get|receive) a (?:quick |phone )?call(?:[- ]?back)?|hear(?: back)?) from (?:us|me|our|someone|somebody|one of our)\b",
        rf"{_WILL}(?:have|get|ask) {_SOMEONE} (?:to )?{_REACH_OUT}",
        rf"{_WILL}{_REACH_OUT}",
        rf"{_WILL}(?:schedule|set up|arrange|request|book) (?:you )?(?:an?|the|your|that) {_CALLBACK}\b",
        rf"\b{_ES_SOMEONE} (?:(?!no\b)\w+ ){{0,4}}?{_ES_CALLS}",
        rf"\b{_ES_YOU} (?:llamaremos|llamar\u00e9|devolver\u00e9 la llamada|devolveremos la llamada|contactaremos)\b",
        r"\bnos pondremos en contacto\b",
    ),
}
_CLAIMED = {
    "message": (
        rf"(?:{_HAVE}|{_JUST_DID})(?:sent|resent|forwarded) {_SENT}",
        rf"(?:{_HAVE}|{_JUST_DID})(?:texted|e-?mailed|messaged) {_TEXTED}",
        rf"\b{_ES_TO} (?:he|hemos) (?:enviado|mandado)\b",
        rf"\b(?:he|hemos) (?:enviado|mandado) {_ES_THING}",
        rf"\b{_ES_TO} (?:acabo|acabamos) de (?:enviar|mandar)\b",
        rf"\b(?:acabo|acabamos) de (?:enviar|mandar){_ES_ENDS}\b",
        rf"\bya {_ES_TO} (?:envi\u00e9|enviamos|mand\u00e9|mandamos)\b",
    ),
    "appointment": (
        rf"(?:{_HAVE}|{_JUST_DID})(?:booked|scheduled|rescheduled) {_BOOKED}",
        rf"(?:{_HAVE}|{_JUST_DID})(?:set up|made|reserved|arranged) (?:you )?{_MEETING}",
        rf"\b{_ES_YOU} (?:he|hemos) (?:agendado|reservado|programado)\b",
        rf"\b(?:he|hemos) (?:agendado|reservado|programado) {_ES_VISIT}\b",
        rf"\bya (?:{_ES_YOU} )?(?:agend\u00e9|reserv\u00e9|program\u00e9)\b",
    ),
    "transfer": (
        rf"(?:{_HAVE}|{_JUST_DID})(?:transferred|connected) {_PARTY}",
        rf"\b{_ES_YOU} (?:he|hemos) (?:transferido|conectado|comunicado con)\b",
    ),
    "callback": (
        rf"(?:{_HAVE}|{_JUST_DID})(?:scheduled|set up|arranged|requested|booked) (?:you )?(?:an?|the|your) {_CALLBACK}\b",
        rf"(?:{_HAVE}|{_JUST_DID})asked {_SOMEONE} to {_REACH_OUT}",
    ),
}


def _one_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


@cache  # compiled when first asked for: few sessions do
def _patterns() -> list[tuple[ActionKind, bool, re.Pattern[str]]]:
    return [
        *((_KINDS[name], True, _one_of(patterns)) for name, patterns in _CLAIMED.items()),
        *((_KINDS[name], False, _one_of(patterns)) for name, patterns in _ANNOUNCED.items()),
    ]


# Every commitment has one of these; most sentences have none.
_LIKELY = re.compile(
    r"\b(?:send|sent|text|e-?mail|messag|sms|hear|forward|resen|shoot|drop|book|schedul|reschedul|set up|ma[kd]e|reserv|arrang"
    r"|put|pencil|transfer|transfi|connect|redirect|pass|hand|get|patch|call|give|reach|contact|phone|ring|return|in touch"
    r"|follow|request|ask|envi|env\u00ed|reenv|mand|agend|program|conect|comuni|pas[ao]|llam|devolv|pondr)",
    re.IGNORECASE,
)

# --- what makes it none ----------------------------------------------------------------------------------------------

_CONDITION = (
    r"(?:if|unless|whether|in case|once|when|whenever|until|as soon as|should you|provided|assuming|depending"
    r"|si(?!,)|cuando|una vez|en cuanto|en caso de|a menos que|siempre que)"
)
_CONDITION_BEFORE = re.compile(rf"\b{_CONDITION}\b|\bafter (?:I|we)(?:'ve| have)\b", re.IGNORECASE)
_CONDITION_AFTER = re.compile(rf"(?<!and )(?<!but )(?<!so )(?<!\by )(?<!pero )\b{_CONDITION}\b", re.IGNORECASE)
_NEXT_CLAUSE = re.compile(r",\s*(?:and|but|so|y|pero)\b", re.IGNORECASE)
_REPORTED = re.compile(
    r"(?<!like I )(?<!as I )\b(?:said|says?|saying|told|tells|claims?|claimed|heard|promised|dijo|dice|dicen|dijeron|dicho)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:not|never|no longer|cannot|unable|nunca|tampoco|no(?! problem\b|,))\b|n't\b|\b(?:used to|usually|normally)\b",
    re.IGNORECASE,
)
_NO_WORRIES = re.compile(
    r"\bdon't worry\b|\bno se preocupe\b|\bno te preocupes\b|\bwhy don't (?:I|we)\b", re.IGNORECASE
)
_CLAUSE_END = re.compile(
    r"[,;:\u2013\u2014]|\s-\s|\b(?:but|and|so|because|however|pero|aunque|as\u00ed que|porque|y)\b", re.IGNORECASE
)
_LONG_AGO = re.compile(
    r"\b(?:yesterday|ago|earlier|previously|in the past|last (?:time|night|week|month|year|\w+day)|before(?=\W*$)"
    r"|ayer|anteriormente|la vez pasada|(?:semana|mes|a\u00f1o) pasad[oa]|hace (?:un|una|dos|tres|\d+))\b",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"\?\W*$|^\W*\u00bf")
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2018": "'"})
_SPACES = re.compile(r"\s+")


def _commitments(sentence: str) -> Iterator[tuple[ActionKind, bool]]:
    if not _LIKELY.search(sentence):
        return
    plain = _SPACES.sub(" ", sentence.translate(_APOSTROPHES))
    found: set[ActionKind] = set()
    for kind, claimed, pattern in _patterns():
        if kind in found:
            continue
        if any(_counts(plain, match, claimed=claimed) for match in pattern.finditer(plain)):
            found.add(kind)
            yield kind, claimed


def _counts(sentence: str, match: re.Match[str], *, claimed: bool) -> bool:
    before = _NO_WORRIES.sub("", sentence[: match.start()])
    after = sentence[match.end() :]
    clause = before[max((end.end() for end in _CLAUSE_END.finditer(before)), default=0) :]
    if _CONDITION_BEFORE.search(before) or _REPORTED.search(before) or _NEGATED.search(clause):
        return False
    if claimed:
        # "I've sent you the link, did you get it?" asks about something else.
        asked = _QUESTION.search(sentence) and not _CLAUSE_END.search(after)
        return not asked and not _LONG_AGO.search(sentence)
    return not _QUESTION.search(sentence) and not _CONDITION_AFTER.search(_NEXT_CLAUSE.split(after)[0])
