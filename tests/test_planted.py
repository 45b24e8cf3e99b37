"""A thousand calls of five vendors, forty sentences planted in them: each is the first hit, and two calls read it."""

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from call_logs.config import load
from call_logs.model import Call
from call_logs.providers import Account
from call_logs.sandbox import serving, signalwire
from call_logs.sandbox.business import PhoneCall
from call_logs.store import Filter
from call_logs.store.sqlite import SQLiteStore
from call_logs.store.words import words
from call_logs.sync import Sync, prepared
from call_logs.text import Masking
from conftest import HOUR, Answer, Asker, Asking
from test_thousand import NOW, stand_in_of, thousand

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

EACH = 200
SLUGS = ("bimpe", "highlevel", "signalwire", "telzino", "vyom")


@dataclass(frozen=True)
class Planted:
    """A sentence that is said once: `phrases` stand in it word by word, `variants` are other ways to ask for it.

    Spanish is said in Spanish calls, all else in English ones.
    """

    text: str
    phrases: tuple[str, ...]
    variants: tuple[str, ...] = ()
    language: str = "en"


PLANTED = (
    Planted("The kettle arrived with a cracked lid", ("kettle arrived with a cracked lid", "cracked lid"), ("kettles arriving cracked", "arrive crack lids")),
    Planted("I was charged twice for the same cleaning in March", ("charged twice for the same cleaning",), ("charge twice same cleanings", "charging twice march")),
    Planted("You promised me a refund before the weekend", ("promised me a refund", "refund before the weekend"), ("promise refunding weekends", "promising refund weekend")),
    Planted("The technician never came on Tuesday", ("technician never came on tuesday",), ("technicians never come tuesday",)),
    Planted("Please reschedule my crown to the second Friday of October", ("reschedule my crown", "second friday of october"), ("rescheduling crown october", "rescheduled crowns second friday")),
    Planted("My dog ate the retainer and I need another one", ("dog ate the retainer",), ("dogs eating retainer", "dog eat retainers")),
    Planted("We authorised the transfer but nobody called back", ("authorised the transfer but nobody called back",), ("authorize transfers nobody", "authorization transferred nobody")),
    Planted("The invoice shows a cancellation fee that I dispute", ("cancellation fee that i dispute",), ("invoices cancellations fees disputed", "canceled fee disputing invoice")),
    Planted("I don't want the whitening if it isn't covered", ("don't want the whitening", "dont want the whitening", "isn’t covered"), ("whitenings cover want",)),
    Planted("It was paid with the gift card that my sister bought", ("gift card that my sister bought",), ("pay gift cards sister buy", "buying gift sister")),
    Planted("She told the hygienist about the penicillin allergy", ("told the hygienist about the penicillin allergy",), ("tell hygienists penicillin allergies",)),
    Planted("The parking garage kept my ticket", ("parking garage kept my ticket",), ("garages keep tickets", "keeping parking ticket")),
    Planted("Somebody broke the handle of the left cabinet", ("broke the handle of the left cabinet",), ("breaking handles cabinets", "broken cabinet handle")),
    Planted("Is the follow-up visit included in the e-mail you sent", ("follow-up visit included", "e-mail you sent"), ("followup email sending include", "follow-up visits e-mails sends")),
    Planted("They stole the laptop from the waiting room", ("stole the laptop from the waiting room",), ("stolen laptops waiting", "stealing laptop rooms")),
    Planted("I lost the aligner on a flight to Lisbon", ("lost the aligner on a flight to lisbon",), ("lose aligners lisbon", "losing aligner flights")),
    Planted("Quiero la devolución del depósito de septiembre", ("devolución del depósito de septiembre", "devolucion del deposito"), ("devolver depósitos septiembre", "devuelvan deposito"), language="es"),
    Planted("Me cobraron dos veces la misma limpieza en marzo", ("cobraron dos veces la misma limpieza",), ("cobrar dos veces limpiezas marzo", "cobro limpieza misma marzo"), language="es"),
    Planted("El técnico nunca vino y sigo sin calefacción", ("técnico nunca vino", "sigo sin calefaccion"), ("tecnicos nunca calefacción",), language="es"),
    Planted("Pidió que le enviaran la factura al señor Ñúñez", ("enviaran la factura al señor ñúñez", "senor nunez"), ("pedir enviar facturas nuñez", "pide envíen factura ñúñez"), language="es"),
    Planted("La grúa cerró la calle del consultorio", ("grúa cerró la calle", "grua cerro la calle"), ("cerrar calles grúa", "cierra calle grúas"), language="es"),
    Planted("No puedo mover la cita porque opero en Sevilla", ("mover la cita porque opero en sevilla",), ("poder mueve citas sevilla",), language="es"),
    Planted("Mi queja es por la entrega del alineador transparente", ("queja es por la entrega del alineador",), ("quejas entregas alineadores", "quejarse entregaron alineador"), language="es"),
    Planted("Autorice el reembolso con el código de la abuela", ("autorice el reembolso con el código de la abuela",), ("autorizar reembolsos abuela", "autorizado reembolsar abuela"), language="es"),
    Planted("My number is five five five, oh one double two", ("five five five, oh one double two",), ("555-0122", "5550122", "555 0122", "5 5 5 0 1 2 2")),
    Planted("The order is E-882417 and it never shipped", ("the order is E-882417", "E-882417 and it never shipped"), ("E882417", "882417", "e eight eight two four one seven", "E 882417")),
    Planted("The claim is K dash seven three one nine oh four", ("k dash seven three one nine oh four",), ("K-731904", "K731904", "731904")),
    Planted("Mi número es cinco cinco cinco cero uno siete tres", ("cinco cinco cinco cero uno siete tres",), ("555-0173", "5550173", "555 0173"), language="es"),
    Planted("Call the shop at (206) 555-0147 after six", ("call the shop at (206) 555-0147", "(206) 555-0147"), ("2065550147", "two oh six five five five oh one four seven", "555-0147")),
    Planted("The deposit was exactly $1,247.36", ("exactly $1,247.36",), ("1247.36", "$1247.36", "1,247.36")),
    Planted("Write to ana dot lopez at example dot com", ("ana dot lopez at example dot com",), ("ana.lopez@example.com", "lopez@example.com", "a n a dot l o p e z at example dot com")),
    Planted("It goes to bruno.salcedo@example.org every month", ("bruno.salcedo@example.org every month",), ("bruno dot salcedo at example dot org", "b r u n o punto salcedo arroba example punto org")),
    Planted("The name is W-O-J-C-I-K, like my father", ("w-o-j-c-i-k, like my father",), ("wojcik", "Wojcik father", "W O J C I K")),
    Planted("我想要退款，因为水壶坏了", ("我想要退款", "水壶坏了"), ("退款 水壶", "水壶")),
    Planted("契約を解約したいです", ("契約を解約したい", "解約"), ("解約 契約",)),
    Planted("환불을 원해요 지금 바로", ("환불을 원해요",), ("원해요 환불을",)),
    Planted("ต้องการคืนเงินค่ะ", ("คืนเงิน",), ("ต้องการ คืนเงิน",)),
    Planted("मुझे पैसे वापस चाहिए", ("पैसे वापस चाहिए",), ("वापस पैसे",)),
    Planted("Ich möchte die Straßenlaterne melden", ("möchte die straßenlaterne melden", "mochte die strassenlaterne"), ("strassenlaterne melden",)),
    Planted("J'ai payé l'été dernier à la crèche", ("payé l'été dernier", "paye l’ete dernier"), ("crèche dernier",)),
    Planted("Mo fẹ́ sanwó padà jọ̀wọ́", ("fẹ́ sanwó padà", "fe sanwo pada"), ("sanwo jowo",)),
)  # fmt: skip
"""Each goes to one call of one vendor, the vendors in turn."""


def decoys(planted: Planted, random: Random) -> tuple[str, ...]:
    """The words of a sentence scattered over turns, and in another order in one: no hit for its phrases."""
    found = words(planted.text)
    phrases = [f" {' '.join(words(phrase))} " for phrase in planted.phrases]
    for _ in range(100):
        random.shuffle(found)
        said = (" ".join(found[::2]), " ".join(found[1::2]), " ".join(found))
        if not any(phrase in f" {text} " for phrase in phrases for text in said):
            return said
    return ()


def told(slug: str) -> list[PhoneCall]:
    """The vendor's calls, with its share of the sentences in older ones, and decoys in newer ones."""
    random = Random(slug)
    calls = thousand(slug, EACH)
    taken: set[int] = set()
    for planted in PLANTED[SLUGS.index(slug) :: len(SLUGS)]:
        free = [
            n
            for n, call in enumerate(calls)
            if call.story.status == "completed" and call.story.settled and not call.story.is_test
            and len(call.story.spoken) > 8 and call.story.language == planted.language
            and call.key not in signalwire.DELETED and n not in taken
        ]  # fmt: skip
        place, decoy = random.choice(free[len(free) // 2 :]), random.choice(free[: len(free) // 2])
        taken |= {place, decoy}
        calls[place] = with_turns(calls[place], (planted.text,))
        calls[decoy] = with_turns(calls[decoy], decoys(planted, random))
    return calls


def with_turns(call: PhoneCall, texts: tuple[str, ...]) -> PhoneCall:
    """The call, in which the customer says these texts instead of what he said."""
    spoken = list(call.story.spoken)
    places = [n for n, turn in enumerate(spoken) if turn.speaker == "customer" and n > 1]
    for place, text in zip(places[len(places) // 3 :], texts, strict=False):
        spoken[place] = replace(spoken[place], text=text)
    return replace(call, story=replace(call.story, spoken=tuple(spoken)))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Path, Mapping[str, Mapping[str, str]]]]:
    """A database with all calls, synced through the adapters and, for SignalWire, imported; and the accounts."""
    path = tmp_path_factory.mktemp("planted") / "calls.db"
    with ExitStack() as running, pytest.MonkeyPatch.context() as unhurried:
        accounts: dict[str, dict[str, str]] = {}
        for slug in SLUGS:
            unhurried.setattr(f"call_logs.providers.{slug}.RATE", (10_000, 1.0))
            stand_in = stand_in_of(slug, told(slug))
            origin = running.enter_context(serving(stand_in.app))
            accounts[slug] = {"provider": slug, **stand_in.settings, "base_url": origin}
        config = load(accounts, own_accounts=False, database=str(path), history="4000d")
        store = SQLiteStore(path)

        async def once() -> None:
            sync = Sync(config.accounts, store, history=config.history, now=lambda: NOW)
            with anyio.fail_after(200):
                async with sync.running(), anyio.create_task_group() as group:
                    for name in sync.names:
                        group.start_soon(sync.finish, name)
            assert {name: sync.health(name).state for name in sync.names} == dict.fromkeys(SLUGS, "ok")

        anyio.run(once)
        imported(store, next(one for one in config.accounts if one.name == "signalwire"))
        store.close()
        yield path, accounts


def imported(store: SQLiteStore, account: Account) -> None:
    """What the log does not say: the reports that SignalWire posts after each call, as `import` reads them."""
    reports = [signalwire.post_prompt_report(call) for call in told("signalwire") if call.key not in signalwire.DELETED]
    store.save_page(
        account.name,
        [prepared(account.provider.read_report(report, account.name), Masking.CARDS) for report in reports],
    )


@pytest.fixture(scope="module")
def places(kept: tuple[Path, Any]) -> dict[str, tuple[str, int]]:
    """Where each sentence stands, read call by call: the call's id and the turn."""
    path, _ = kept
    store = SQLiteStore(path)
    page = store.list_calls(Filter(SLUGS, include_tests=True, include_legs=True), limit=5_000)
    calls = [call for row in page.rows if (call := store.call(SLUGS, row.id))]
    store.close()
    assert len(calls) >= EACH * len(SLUGS)
    return {planted.text: only(planted, SLUGS[n % len(SLUGS)], calls) for n, planted in enumerate(PLANTED)}


def only(planted: Planted, slug: str, calls: list[Call]) -> tuple[str, int]:
    """The one turn that says it, in a call of the vendor to which it went."""
    ((call, turn),) = [(call, turn) for call in calls for turn in call.turns if turn.text == planted.text]
    assert call.provider == slug
    return call.id, turn.n


@pytest.fixture
async def ask(kept: tuple[Path, Mapping[str, Mapping[str, str]]], asking: Asking) -> AsyncGenerator[Asker]:
    """A client of the server over all five accounts."""
    path, accounts = kept
    async with asking(accounts, database=path, max_age=24 * HOUR) as asker:
        yield asker


def hits(answer: Answer) -> list[tuple[str, int]]:
    """The calls and turns of an answer, best first."""
    assert not answer.is_error, answer.text
    return [(hit["call_id"], hit["turn"]) for hit in answer.body["hits"]]


def test_there_are_forty_sentences_and_each_vendor_has_some() -> None:
    assert len(PLANTED) >= 40
    assert sum(len(planted.phrases) + len(planted.variants) for planted in PLANTED) > 100


async def test_every_phrase_is_the_first_hit_quoted_or_not(ask: Asker, places: dict[str, tuple[str, int]]) -> None:
    wrong: list[str] = []
    for planted in PLANTED:
        for phrase in (planted.text, *planted.phrases):
            for query in (f'"{phrase}"', phrase):
                found = hits(await ask("search_transcripts", query=query))
                if found[:1] != [places[planted.text]]:
                    wrong.append(f"{query}: {places[planted.text]} among {found[:4]}")
    assert not wrong, "\n".join(wrong)


async def test_every_other_form_is_among_the_first_three(ask: Asker, places: dict[str, tuple[str, int]]) -> None:
    wrong: list[str] = []
    for planted in PLANTED:
        for query in planted.variants:
            found = hits(await ask("search_transcripts", query=query))
            if places[planted.text] not in found[:3]:
                wrong.append(f"{query}: {places[planted.text]} among {found[:4]}")
    assert not wrong, "\n".join(wrong)


async def test_a_search_and_one_reading_give_the_exact_sentence(ask: Asker, places: dict[str, tuple[str, int]]) -> None:
    for planted in PLANTED:
        searched = await ask("search_transcripts", query=f'"{planted.text}"', limit=1)
        hit = searched.body["hits"][0]
        assert hit["snippet"] == planted.text
        read = await ask("get_call", call_id=hit["call_id"], around=hit["turn"])
        said = {turn["n"]: turn["text"] for turn in read.body["turns"]}
        assert said[hit["turn"]] == planted.text
        assert places[planted.text] == (hit["call_id"], hit["turn"])
        assert planted.text in read.text
