"""Forms of a word: refund, refunds, refunded; devolución, devoluciones. English and Spanish, by Snowball's stemmers.

The index holds words as they were said, so that a phrase stays exact. A query's plain word is widened to those words of
the index that share its stem in a language in which they were said; each store keeps those words beside its index.
"""

import functools
import heapq
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

LANGUAGES = ("en", "es")

MOST_FORMS = 24
"""Forms of one word that a query is widened to."""

LEAST_LETTERS, MOST_LETTERS = 3, 24
MOST_CLOSE = 3
_SLIGHT, _SILENT, _SWAPPED = 0.5, 0.6, 0.8
_MOST_APART = (0.0, 0.0, 0.0, 0.8, 1.0, 1.0, 1.5, 1.6, 2.0)
"""By the word's length: what it may take to make it of another, where one letter is 1."""

_MOST_LETTERS_APART = 4
"""Letters that only one of the words has: a quick look that spares most candidates the closer one."""

_SIMILAR = {
    one + other: cost
    for letters, cost in (
        ("aeiou", 0.7),
        ("csz", 0.5),
        ("bv", 0.5),
        ("gj", 0.5),
        ("iy", 0.5),
        ("ckq", 0.5),
        ("mn", 0.7),
    )
    for one in letters
    for other in letters
    if one != other
}
_LEAST_FAMILIAR = 3

_FUNCTION_WORDS = {
    "en": "the and is are was were you your yours i im it its this that to of for with have has had not dont what when "
    "how can could would will please thank thanks my we our us from at on be do did does an there they if but or",
    "es": "el los las una unos unas es son esta estan fue usted tu su mi por para con como pero muy que cuando donde quiero "
    "puedo puede gracias favor hola buenos buenas dias tardes si del al lo le les se nos hay tengo de la en y ya",
}
_FUNCTION = {language: frozenset(words.split()) for language, words in _FUNCTION_WORDS.items()}

# Irregular forms, each with the word whose stem they share; and nouns of verbs that the stemmers keep apart.
_SAME = {
    "en": """
    pay paid payment payments payable; prepay prepaid prepayment; repay repaid repayment; overpay overpaid overpayment
    buy bought; sell sold; send sent; resend resent; tell told; say said; speak spoke spoken; hear heard; get got gotten
    go goes went gone; come came; become became; break broke broken; steal stole stolen; lose lost; find found; leave left
    make made; take took taken; mistake mistook mistaken; give gave given; bring brought; keep kept; hold held
    withhold withheld; write wrote written; choose chose chosen; see saw seen; know knew known; think thought; feel felt
    meet met; run ran; spend spent; lend lent; stand stood; understand understood; misunderstand misunderstood
    catch caught; drive drove driven; ride rode ridden; eat ate eaten; fall fell fallen; fly flew flown
    forget forgot forgotten; freeze froze frozen; grow grew grown; hide hid hidden; mean meant; ring rang rung; sit sat
    sleep slept; throw threw thrown; wake woke woken; wear wore worn; win won; withdraw withdrew withdrawn withdrawal
    draw drew drawn; begin began begun; build built; burn burnt; deal dealt; blow blew blown; feed fed; fight fought
    hang hung; stick stuck; tear tore torn; learn learnt; lead led; teach taught; swear swore sworn; shake shook shaken
    person people; child children; tooth teeth; foot feet; woman women; man men; wife wives; knife knives
    complain complaint complaints; deliver delivery deliveries; subscribe subscription subscriptions; expire expiry; experience experienced
    unsubscribe unsubscribed; recover recovery; discover discovery; refuse refusal; approve approval; renew renewal
    decide decision decisions; respond response responses; extend extension extensions
    center centre centres; program programme programmes; license licence licences; catalog catalogue catalogues
    inquire enquire enquired enquiring; inquiry enquiry enquiries; installment instalment instalments; fulfill fulfil
    enroll enrol; jewelry jewellery; gray grey
    """,
    "es": """
    devolver devuelto devuelta devueltos devueltas devolucion devoluciones; resolver resuelto resuelta resolucion
    volver vuelto; poder podria podrian pudo pude pudieron pudiera; querer quisiera quise quiso quisieron; perder perdida
    suscribir suscrito suscrita suscripcion suscripciones; abrir abierto abierta; romper roto rota; escribir escrito
    cubrir cubierto cubierta; reclamo reclamos; pedir pidamos; elegir elegido; repetir repeticion
    confundir confusion; decidir decision; extender extension; tramitar tramite tramites; garantia garantizar
    seguir seguimiento sigo sigue siguen siga sigan siguio; hacer hago hizo hicieron hecho; dar doy dio dieron; poner puso pusieron
    traer trajo trajeron; decir digo dijo dijeron dicho; confirmar confirme confirmen; producir produjo produccion
    """,
}
# Words that share a stem with others of another meaning ("busy line" and "business", "caso" and "casa"): families apart.
_APART = {
    "en": """
    business businesses; customer customers; customs; important importance importantly; department departments
    personal personally; positive positively; experiment experiments; expensive; news
    customize customized customizing customization
    """,
    "es": """
    dia dias; caso casos; casa casas; rato ratos; rata ratas; tarde tardes; cuento cuentos; puerto puertos; puerta puertas
    plaza plazas; plazo plazos; plato platos; plata; libro libros; libra libras; punto puntos; punta puntas; modo modos
    moda modas; bolsa bolsas; bolso bolsos; barco barcos; foco focos; foca focas; meta metas; metro metros; rama ramas
    ramo ramos; marca marcas; marco marcos; grado grados; grada; pasta pastas; pasto pastos; suela suelas; suelo suelos
    """,
}
_BRITISH = (
    (
        re.compile(
            "((?:author|organ|apolog|recogn|real|final|special|util|minim|maxim|optim|priorit|custom|summar|emphas|standard"
            "|personal|categor|item|synchron|normal|memor|equal|general|capital|finan|local|mobil|digit|legal|penal|steril"
            "|character|critic|visual|energ|subsid|hospital)i)s(e|es|ed|er|ers|ing|ation|ations)$"
        ),
        "\\1z\\2",
    ),
    (re.compile("(col|fav|neighb|hon|behavi|lab|flav|rum)our(?=$|s$|ed$|ing$|ite|able|hood)"), "\\1or"),
    (re.compile("ification(s?)$"), "ify"),
)
# Beginnings of Spanish verbs, each with how it changes; noun-like ones ("cuenta", "acuerdo", "siento") are left alone.
_CHANGING = """
    devolv devuelv; resolv resuelv; volv vuelv; pod pued; quer quier; cerr cierr; mov muev; mostr muestr; encontr encuentr
    perd pierd; entend entiend; atend atiend; encend enciend; prefer prefier prefir; requer requier requir; serv sirv
    repet repit; correg corrig; eleg elig; cost cuest; prob prueb; renov renuev; colg cuelg; dol duel; neg niegu
    convert conviert convirt; ped pid
"""
_PREFIX = "^(re|des|en|con|com|pro|dis|a)?"
# Tokens carry no accents; Snowball's Spanish endings do.
_ACCENTS = (
    (re.compile("([csx])ion$"), "\\1i\u00f3n"),
    (re.compile("(?<=[a-z]{3})qu(e|en|es|emos)$"), "c\\1"),
    (re.compile("(?<!c)(?<!v)ia(s|n|mos)?$"), "\u00eda\\1"),
    (re.compile("(?<=[a-z]{3})i$"), "\u00ed"),
    (
        re.compile(
            "^(recib|ped|devolv|perd|sal|vend|repet|sub|abr|escrib|cumpl|ofrec|respond|decid|confund|promet|romp|atend"
            "|entend|resolv|volv|mov|serv|prefer|eleg|correg|convert|perm|permit|suger|cubr|aparec|desaparec)io$"
        ),
        "\\1i\u00f3",
    ),
    (
        re.compile(
            "((?:actual|autor|real|final|util|organ|garant|formal|local|personal|normal|legal)i)c(e|en|es|emos)$"
        ),
        "\\1z\\2",
    ),
)


def languages(said: Collection[str]) -> tuple[str, ...]:
    """The languages that these words (tokens) are of, told by the function words among them; often one, or none.

    A second one counts where it has several, and not many fewer than the first.
    """
    found = {language: len(_FUNCTION[language].intersection(said)) for language in LANGUAGES}
    most = max(found.values())
    return tuple(
        name
        for name, count in found.items()
        if count and (count == most or (count >= _LEAST_FAMILIAR and count * 3 >= most))
    )


def may_vary(token: str) -> bool:
    """Whether a token is a word that may have other forms: letters only, and of an alphabet that the stemmers know."""
    return LEAST_LETTERS <= len(token) <= MOST_LETTERS and token.isalpha() and token.isascii()


@functools.lru_cache(maxsize=65536)
def stem(language: str, token: str) -> str:
    """The token's stem in this language, shared by the forms of one word and, where it matters, by nothing else."""
    same, apart = _families()[language]
    if language == "en" and ("is" in token or "our" in token or "ification" in token):
        for pattern, usual in _BRITISH:
            token = pattern.sub(usual, token)
    if token in apart:
        return apart[token]
    token = same.get(token, token)
    if language == "es":
        token = _unchanged(token)
        for pattern, accented in _ACCENTS:
            token = pattern.sub(accented, token)
    return _stemmers()[language].stemWord(token)


@functools.cache
def _families() -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """By language: the word instead of which each irregular form is stemmed, and the stems of families apart."""
    return {language: (_by_first(_SAME[language]), _by_first(_APART[language])) for language in LANGUAGES}


def _unchanged(token: str) -> str:
    pattern, usual = _changes()
    return pattern.sub(lambda found: f"{found[1] or ''}{usual[found[2]]}", token)


@functools.cache
def _changes() -> tuple[re.Pattern[str], dict[str, str]]:
    usual = _by_first(_CHANGING)
    begins = "|".join(start for start, first in usual.items() if start not in (first, "pid"))
    return re.compile(f"{_PREFIX}((?:{begins})(?=[a-z])|pid(?=[oea]|i[eo]))"), usual


def _by_first(table: str) -> dict[str, str]:
    families = [family.split() for line in table.splitlines() for family in line.split(";") if family.strip()]
    return {form: family[0] for family in families for form in family}


class _Stemmer(Protocol):
    def stemWord(self, word: str, /) -> str: ...  # noqa: N802 - Snowball's name


@functools.cache
def _stemmers() -> dict[str, _Stemmer]:
    import snowballstemmer  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] - a start does not need it; untyped

    return {"en": snowballstemmer.stemmer("english"), "es": snowballstemmer.stemmer("spanish")}  # pyright: ignore[reportUnknownMemberType] - as above


def vocabulary(tokens: Iterable[str], spoken_in: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """(word, language, stem) of each of these tokens that may vary, for a call in these languages; in every language where
    none can be told."""
    for token in tokens:
        if may_vary(token):
            for language in spoken_in or LANGUAGES:
                yield token, language, stem(language, token)


def close(word: str, candidates: Sequence[str]) -> tuple[str, ...]:
    """Those of the candidates that the word may have been meant for, likeliest first."""
    most = _MOST_APART[min(len(word), len(_MOST_APART) - 1)]
    letters = frozenset(word)
    found: list[tuple[float, bool, int, str]] = []
    for other in candidates:
        if len(letters.symmetric_difference(other)) > _MOST_LETTERS_APART or other == word:
            continue
        apart = _apart(word, other, most)
        if apart <= most:
            found.append((apart, other[-1] != word[-1], abs(len(other) - len(word)), other))
    return tuple(other for *_, other in heapq.nsmallest(MOST_CLOSE, found))


def _apart(word: str, other: str, most: float) -> float:
    """What it takes to make one word of the other: letters more, fewer, others, or two that changed places."""
    before: list[float] = []
    row = [0.0] * (len(other) + 1)
    for column in range(1, len(row)):
        row[column] = row[column - 1] + _single(other, column - 1)
    for line, letter in enumerate(word, 1):
        last, beyond = row, before
        row = [last[0] + _single(word, line - 1)]
        for column, meant in enumerate(other, 1):
            cost = min(
                last[column - 1] + (0.0 if letter == meant else _SIMILAR.get(letter + meant, 1.0)),
                last[column] + _single(word, line - 1),
                row[column - 1] + _single(other, column - 1),
            )
            if line > 1 and column > 1 and letter == other[column - 2] and meant == word[line - 2]:
                cost = min(cost, beyond[column - 2] + _SWAPPED)
            row.append(cost)
        before = last
        if min(row) > most:
            return math.inf
    return row[-1]


def _single(word: str, n: int) -> float:
    """What a letter more costs: less where it doubles the one before, or is silent."""
    if n and word[n] == word[n - 1]:
        return _SLIGHT
    return _SILENT if word[n] == "h" else 1.0
