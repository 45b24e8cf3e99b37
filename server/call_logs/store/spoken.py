"""Numbers, codes, addresses and names as people say them, joined to the one word that is written for them.

"five five five, oh one double two" is 5550122, "e eight eight two four one seven" is e882417, "ana dot lopez at example
dot com" is analopezexamplecom, "L-O-P-E-Z" is lopez; English and Spanish. What is written in groups or with punctuation
joins to the same word (E-882417, ana.lopez@example.com, e-mail), so that each finds the other. Works on folded text.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from call_logs.numerals import DIGITS, ROUND, SPANISH

_TIMES = {"double": 2, "doble": 2, "triple": 3}
_DASHES = frozenset(("dash", "hyphen", "guion"))
_FILLERS = _DASHES | frozenset(("space", "espacio", "um", "uh", "er", "eh", "em"))
_LIKE = frozenset(("for", "like", "de", "como"))  # "L for Lima", "L de Lima"
_DOTS = frozenset(("dot", "punto", "period"))
_ATS = frozenset(("at", "arroba"))
_SEPARATORS = _DASHES | {"underscore", "plus", "bajo"}
_WORDS_TOO = frozenset("aeioy")  # single letters that are words

_SAID_ENDINGS = frozenset(("com", "net", "org", "edu", "gov", "io"))
_ENDINGS = _SAID_ENDINGS | frozenset(
    "info biz dev app shop online uk es mx ar cl pe ve ec uy cr gt hn py de fr pt br eu ca au".split()  # noqa: SIM905 - one is as clear as thirty quotes
)
_LONGEST_ENDING = 24

_FEWEST, _FEWEST_SPELLED, _MOST = 4, 3, 15
_TELLING = 5  # digits by which a code is known without its letters
_TAIL, _FEWEST_WITH_TAIL = 4, 7
_MOST_GROUPS = 6
_MOST_LETTERS, _MOST_PREFIX = 30, 4
_MOST_LABELS, _MOST_EXTRA, _MOST_ADDRESS = 6, 2, 80
_MOST_JOINED = 48
_MOST_SKIPPED = 3
_THOUSANDS, _DECIMALS, _TENS_LENGTH = 3, 2, 2

_ATOM = re.compile("([a-z0-9]+)")
_GAP = re.compile(r"[\s().,;+#*_\u2026\u2010-\u2015-]{0,6}")
_CODE = re.compile("([a-z]{1,4})([0-9]{4,15})")
_IN_TURNS = re.compile("[0-9][a-z]")
_FIGURE = re.compile("[0-9@]")
_WITHIN = re.compile(r"\.[a-z]")
_WEAK = frozenset((*DIGITS, *_TIMES, *"bcdfghjklmnpqrstvwxz"))
_STRONG = frozenset(("dot", "punto", "arroba"))
_SIGNS = _WEAK | _STRONG
_TELLING_SIGNS = {code: None for code in range(1, 128) if chr(code) not in "0123456789@-"}
_BEGINS = (_WEAK | frozenset("aeiouy")) - {"hundred"}
_NEAR = 8  # words from the first of three to the third
_HYPHENATED = re.compile("(?<![a-z0-9-])([a-z]{1,15})-([a-z]{2,15})(?![a-z0-9-])")


class Span(NamedTuple):
    """A number, code, name or address: where it stands in a folded text, and what it is when joined.

    `whole` is how it may be written in one word, `parts` what else it is found by. `in_figures`: it is written in groups
    of figures, each of which is a word of its own that may be meant.
    """

    start: int
    end: int
    whole: tuple[str, ...]
    parts: tuple[str, ...] = ()
    in_figures: bool = False


class _Atom(NamedTuple):
    text: str
    start: int
    end: int
    gap: str  # what stands before it


class _Item(NamedTuple):
    """Digits, letters or both, within a run of them, and what stands before. `opens`: another group begins here."""

    value: str
    said: str
    start: int
    end: int
    lead: str
    opens: bool

    @property
    def is_figures(self) -> bool:
        """Whether it is written as a number of several figures."""
        return len(self.said) > 1 and self.said.isdigit()


class _Label(NamedTuple):
    """A part of an address. `mark` is what stands before it: at, @, dot, ".", "-", nothing, or "|" for all else."""

    value: str
    start: int
    end: int
    mark: str
    spelled: bool


def joined(folded: str, words: Sequence[str]) -> list[str]:
    """What else the folded text, whose words these are, is found by."""
    found = (
        [f"{first}{second}" for first, second in _HYPHENATED.findall(folded) if first not in ROUND]
        if "-" in folded
        else []
    )
    if _may_be_spoken(folded, words):
        found += [word for span in spans(folded) for word in (*span.whole, *span.parts)]
    if not found:
        return found
    held = set(words)
    return list(islice((word for word in dict.fromkeys(found) if word not in held), _MOST_JOINED))


def may_join(folded: str, words: Sequence[Sequence[str]]) -> list[int]:
    """Which of the texts `joined` may find something in, from 0. They are ASCII and folded, \\0 stands between them."""
    within = _WITHIN.search(folded) is not None
    telling = folded.translate(_TELLING_SIGNS).split("\0")
    return [
        n
        for n, (sign, said) in enumerate(zip(telling, words, strict=True))
        if sign or within or not _SIGNS.isdisjoint(said)
    ]


def _may_be_spoken(folded: str, words: Sequence[str]) -> bool:
    """Whether a closer look is worth its time."""
    if not _SIGNS.isdisjoint(words):
        places = [n for n, word in enumerate(words) if word in _WEAK]
        if any(map(_is_near, places, places[2:])) or not _STRONG.isdisjoint(words):
            return True
    return _FIGURE.search(folded) is not None or _WITHIN.search(folded) is not None


def _is_near(first: int, third: int) -> bool:
    return third - first <= _NEAR


def spans(folded: str) -> Iterator[Span]:
    """Addresses, numbers, codes and spelled names; they may overlap."""
    atoms: list[_Atom] = []
    end = 0
    pieces = _ATOM.split(folded)
    gaps, texts = pieces[:-1:2], pieces[1::2]
    for gap, text in zip(gaps, texts, strict=True):
        start = end + len(gap)
        end = start + len(text)
        atoms.append(_Atom(text, start, end, gap))
    if "@" in folded or "." in gaps or not _STRONG.isdisjoint(texts):
        yield from _addresses(_labels(atoms))
    for run in _runs(atoms):
        if len(run) == 1 and run[0].said == run[0].value:
            continue
        if sum([len(item.value) for item in run]) < _FEWEST_SPELLED:
            continue
        yield from _numbers(run)
        yield from _names(run)
        yield from _codes(run)
    yield from _written_codes(atoms)


# -- numbers, codes and names -----------------------------------------------------------------------------------


def _runs(atoms: Sequence[_Atom]) -> Iterator[list[_Item]]:
    """Digits and letters that follow each other with nothing but separators and fillers between them."""
    run: list[_Item] = []
    lead, skipped, n = "", 0, 0
    while n < len(atoms):
        atom = atoms[n]
        if not run and atom.text not in _BEGINS and atom.text.isalpha():
            n += 1
            lead = ""
            continue
        lead = lead + atom.gap if atom.gap == " " or _GAP.fullmatch(atom.gap) else "|"
        value, taken = _value(atoms, n)
        if value:
            if run and (lead == "|" or _is_decimal(run[-1], atom, lead, atoms[n + 1 : n + 2])):
                yield run
                run = []
            last = atoms[n + taken - 1]
            if not _completed(run, atom, value, lead):
                run.append(_Item(value, last.text, atom.start, last.end, lead, _opens(run, atom, lead)))
            lead, skipped = "", 0
        else:
            taken = _between(atoms, n, run)
            skipped += taken
            if run and (not taken or skipped > _MOST_SKIPPED or lead == "|"):
                yield run
                run = []
            lead += "-" if atom.text in _DASHES else "&" if atom.text == "and" else ""
        n += taken or 1
    if run:
        yield run


def _value(atoms: Sequence[_Atom], n: int) -> tuple[str, int]:
    """The digits or letters that the atom here means, and how many atoms they take; nothing for a plain word."""
    text = atoms[n].text
    times = _TIMES.get(text)
    if times is not None and n + 1 < len(atoms) and not atoms[n + 1].gap.strip(" -"):
        once = _once(atoms[n + 1].text)
        return (once * times, 2) if len(once) == 1 else ("", 1)
    return _once(text), 1


def _once(text: str) -> str:
    if len(text) == 1 or (len(text) <= _MOST and not text.isalpha()):
        return text
    return DIGITS.get(text, "")


def _is_decimal(last: _Item, atom: _Atom, lead: str, following: Sequence[_Atom]) -> bool:
    """Whether this ends an amount (49.99, 49,99), which is no part of a longer number."""
    if lead not in (".", ",") or not (last.said + atom.text).isdigit():
        return False
    if lead == "." and (last.lead == "." or (following and following[0].gap == "." and following[0].text.isdigit())):
        return False  # 555.010.44
    return len(atom.text) <= _DECIMALS or (lead == "," and len(atom.text) != _THOUSANDS)


def _opens(run: Sequence[_Item], atom: _Atom, lead: str) -> bool:
    if not run:
        return True
    if lead in (",", ".") and len(atom.text) == _THOUSANDS and len(run[-1].said) <= _THOUSANDS and len(run) == 1:
        return False  # 1,299
    return bool(lead.strip()) or run[-1].is_figures or (len(atom.text) > 1 and atom.text.isdigit())


def _completed(run: list[_Item], atom: _Atom, value: str, lead: str) -> bool:
    """Whether this is the five of "fifty five" or "cincuenta y cinco", which then is 55."""
    if not run or not value.isdigit() or lead.strip(" -&"):
        return False
    before = run[-1]
    if before.said == "hundred" and atom.text in DIGITS and ("&" in lead or len(value) == _TENS_LENGTH):
        run[-1] = before._replace(value=before.value[:-2] + value.zfill(2), said=atom.text, end=atom.end)
        return True  # one hundred ninety
    if atom.text == "hundred" and len(before.value) == 1:
        run[-1] = before._replace(value=before.value + value, said=atom.text, end=atom.end)
        return True
    if len(value) != 1 or value == "0":
        return False
    if before.said == "y" and len(run) > 1 and run[-2].said in ROUND:
        run.pop()
        before = run[-1]
    if before.said not in ROUND or atom.text not in DIGITS:
        return False
    run[-1] = before._replace(value=before.value[:-1] + value, said=atom.text, end=atom.end)
    return True


def _between(atoms: Sequence[_Atom], n: int, run: Sequence[_Item]) -> int:
    """How many atoms may be left out here: a filler, or what a letter is explained by ("as in Lima")."""
    if atoms[n].text in _FILLERS or (atoms[n].text == "and" and run and run[-1].said == "hundred"):
        return 1
    if not run or not run[-1].value.isalpha():
        return 0
    words = [atom.text for atom in atoms[n : n + 3]]
    explained = 3 if words[:2] == ["as", "in"] else 2 if words[0] in _LIKE else 0
    return (
        explained
        if explained == len(words[:explained]) and words[explained - 1][0] == run[-1].value[0] and explained
        else 0
    )


def _stretches(run: Sequence[_Item], *, digits: bool) -> Iterator[tuple[int, int]]:
    """Where in the run there are only digits (or only letters)."""
    start = None
    for n, item in enumerate((*run, None)):
        fits = item is not None and (item.value.isdigit() if digits else item.value.isalpha())
        if fits and start is None:
            start = n
        elif not fits and start is not None:
            yield start, n
            start = None


def _with_zeros(run: Sequence[_Item]) -> list[_Item]:
    """The run with each spoken "o" beside a single English digit read as 0."""
    found = list(run)
    if all(item.said != "o" for item in run) or any(item.said in SPANISH for item in run):
        return found
    for n, item in enumerate(run):
        beside = (*found[max(0, n - 1) : n], *run[n + 1 : n + 2])
        if item.said == "o" and any(near.value.isdigit() and not near.is_figures for near in beside):
            found[n] = item._replace(value=item.value.replace("o", "0"))
    return found


def _numbers(run: Sequence[_Item]) -> Iterator[Span]:
    run = _with_zeros(run)
    for start, end in _stretches(run, digits=True):
        items = run[start:end]
        groups: list[str] = []
        for item in items:
            if item.opens or not groups:
                groups.append(item.value)
            else:
                groups[-1] += item.value
        one_by_one = not any(item.is_figures for item in items)
        if one_by_one and len(groups) == len(items):
            groups = ["".join(groups)]
        yield from _number(items, groups, one_by_one=one_by_one)


def _number(items: Sequence[_Item], groups: Sequence[str], *, one_by_one: bool) -> Iterator[Span]:
    whole = "".join(groups)
    spelled = one_by_one and not any(item.said == "o" for item in items)
    fits = (_FEWEST_SPELLED if spelled else _FEWEST) <= len(whole) <= _MOST
    parts: list[str] = []
    for n in range(len(groups)):
        part = groups[n]
        for group in ("", *groups[n + 1 : n + _MOST_GROUPS]):
            part += group
            if len(part) > _MOST:
                break
            if len(part) >= _FEWEST:
                parts.append(part)
    if _FEWEST_WITH_TAIL <= len(whole) <= _MOST:
        parts.append(whole[-_TAIL:])
    if fits or parts:
        yield Span(items[0].start, items[-1].end, (whole,) if fits else (), tuple(parts), in_figures=not one_by_one)


def _names(run: Sequence[_Item]) -> Iterator[Span]:
    for start, end in _stretches(run, digits=False):
        letters = _joined(run[start:end])
        if _FEWEST_SPELLED <= len(letters) <= _MOST_LETTERS and end - start > 1:
            rest = letters[1:] if letters[0] in _WORDS_TOO and len(letters) > _FEWEST_SPELLED else ""
            yield Span(run[start].start, run[end - 1].end, (letters,), (rest,) if rest else ())


def _codes(run: Sequence[_Item]) -> Iterator[Span]:
    """Letters and the digits behind them; or letters and digits in turns."""
    run = _with_zeros(run)
    letters_before = {last: first for first, last in _stretches(run, digits=False)}
    in_figures = any(item.is_figures for item in run)
    for start, end in _stretches(run, digits=True):
        before = letters_before.get(start, start)
        letters, digits = _joined(run[before:start]), _joined(run[start:end])
        if not 0 < len(letters) <= _MOST_PREFIX or not _FEWEST_SPELLED <= len(digits) <= _MOST:
            continue
        whole = (letters + digits, digits) if len(digits) >= _TELLING else (letters + digits,)
        parts = (letters[-1] + digits,) if len(letters) > 1 else ()
        yield Span(run[before].start, run[end - 1].end, whole, parts, in_figures)
    code = _joined(run)
    if len(run) > 1 and _FEWEST <= len(code) <= _MOST and _IN_TURNS.search(code):
        yield Span(run[0].start, run[-1].end, (code,), (), in_figures)


def _joined(items: Sequence[_Item]) -> str:
    return "".join(item.value for item in items)


def _written_codes(atoms: Sequence[_Atom]) -> Iterator[Span]:
    """LD-20418, which is LD20418; and LD20418, which is known by its digits too."""
    for n, atom in enumerate(atoms):
        if atom.text.isalpha():
            continue
        code = _CODE.fullmatch(atom.text)
        if code is not None:
            yield Span(atom.start, atom.end, (code[2],) if len(code[2]) >= _TELLING else (), (code[2],))
        before = atoms[n - 1] if n else None
        if before is None or not atom.text.isdigit() or atom.gap not in ("-", "#", " #", "\u2013", "\u2010", "\u2011"):
            continue
        if 1 < len(before.text) <= _MOST_PREFIX and before.text.isalpha() and len(atom.text) <= _MOST:
            whole = (before.text + atom.text, *((atom.text,) if len(atom.text) >= _TELLING else ()))
            yield Span(before.start, atom.end, whole)


# -- addresses --------------------------------------------------------------------------------------------------


def _labels(atoms: Sequence[_Atom]) -> list[_Label]:
    labels: list[_Label] = []
    spoken, n = "", 0
    while n < len(atoms):
        atom = atoms[n]
        mark = _mark(atom.gap) if n else "|"
        word = "dot" if atom.text in _DOTS else "at" if atom.text in _ATS else "-" if atom.text in _SEPARATORS else ""
        if word:
            spoken = word if mark != "|" or word == "at" else ""
            n += 1
            continue
        value, taken = _value(atoms, n)
        spelled = bool(value) and not (len(value) > 1 and atom.text == value and not value.isdigit())
        last = labels[-1] if labels else None
        if n and atoms[n - 1].text in ROUND and len(value) == 1 and last is not None and last.value.endswith("0"):
            last = labels[-1] = last._replace(value=last.value[:-1])  # twenty two
        label = _Label(value or atom.text, atom.start, atoms[n + taken - 1].end, spoken or mark, spelled)
        if last is not None and spelled and last.spelled and not spoken and mark in ("", "-") and atom.gap:
            labels[-1] = last._replace(value=last.value + label.value, end=label.end)
        else:
            labels.append(label)
        spoken = ""
        n += taken
    return labels


def _mark(gap: str) -> str:
    bare = gap.strip()
    if bare in ("", ",", ";"):
        return ""
    if bare == "@" or gap == ".":
        return bare
    return "-" if gap in ("-", "_", "+") else "|"


def _addresses(labels: Sequence[_Label]) -> Iterator[Span]:
    for n, label in enumerate(labels):
        if label.mark in ("at", "@"):
            end = _domain_end(labels, n)
            if end:
                yield _address(labels, n, end)
        elif n and label.mark in ("dot", ".") and label.value in (_SAID_ENDINGS if label.mark == "dot" else _ENDINGS):
            start = n - 1
            while start and labels[start].mark in ("dot", ".", "-") and n - start < _MOST_LABELS:
                start -= 1
            if labels[start].mark not in ("at", "@") and (
                n + 1 == len(labels) or labels[n + 1].mark not in ("dot", ".")
            ):
                yield Span(labels[start].start, label.end, (_written(labels[start : n + 1]),))


def _domain_end(labels: Sequence[_Label], start: int) -> int:
    """Behind the last label of a domain; 0 where none begins here."""
    written = labels[start].mark == "@"
    end = dotted = 0
    for n in range(start + 1, min(len(labels), start + _MOST_LABELS)):
        label = labels[n]
        if label.mark in ("dot", "."):
            dotted = n
            fits = label.value.isalpha() and 1 < len(label.value) <= _LONGEST_ENDING
            if fits and (label.value in _ENDINGS or (written and label.mark == ".")):
                end = n + 1
        elif label.mark != "-" and (label.mark or dotted or written or n - start > _MOST_EXTRA):
            break
    return end


def _address(labels: Sequence[_Label], at: int, end: int) -> Span:
    domain = _written(labels[at:end])
    start = at - 1
    if start < 0 or (labels[start].mark == "|" and start == at):
        return Span(labels[at].start, labels[end - 1].end, (domain,))
    while (
        start
        and at - start < _MOST_LABELS
        and (labels[start].mark in ("dot", ".", "-") or (labels[start].value.isdigit() and not labels[start].mark))
    ):
        start -= 1
    local = [label.value for label in labels[start:at]]
    parts = ["".join(local[n:]) + domain for n in range(1, len(local))]
    parts += ["".join(local), domain]
    parts += [label.value for label in labels[start:end] if label.spelled and len(label.value) >= _FEWEST_SPELLED]
    if labels[at].mark == "at":
        for extra in range(start - 1, max(-1, start - 1 - _MOST_EXTRA), -1):
            if labels[extra + 1].mark:
                break
            parts.append(_written(labels[extra:at]) + domain)
    whole = "".join(local) + domain
    return Span(
        labels[start].start,
        labels[end - 1].end,
        (whole[-_MOST_ADDRESS:],),
        tuple(part[-_MOST_ADDRESS:] for part in parts),
    )


def _written(labels: Sequence[_Label]) -> str:
    return "".join(label.value for label in labels if label.value != "www")
