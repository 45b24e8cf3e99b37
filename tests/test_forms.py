"""Forms of a word: which words a search takes for one, which it keeps apart, and what a misspelling was meant for."""

from collections.abc import Sequence
from random import Random

import pytest

from call_logs.sandbox import business
from call_logs.store.forms import MOST_CLOSE, close, languages, may_vary, stem, vocabulary
from call_logs.store.words import words

FAMILIES = {
    "en": """
    refund refunds refunded refunding refundable; cancel cancels canceled cancelled cancelling cancellation cancellations
    appointment appointments; transfer transfers transferred transfered transferring; invoice invoices invoiced
    charge charges charged charging; deliver delivers delivered delivery deliveries; reschedule rescheduled rescheduling
    complain complains complained complaint complaints; upgrade upgrades upgraded upgrading; bill bills billed billing
    pay pays paid paying payment payments; buy buys buying bought; send sends sending sent; tell tells told; say says said
    get gets got getting; go goes going went gone; break breaks broke broken; steal stolen; lose loses losing lost
    speak spoke spoken; withdraw withdrew withdrawal; choose chosen; write wrote written; people person; tooth teeth
    authorize authorise authorized authorised authorization authorisation; organize organise organised organisation
    apologize apologise apologised; customize customise customisation; colour colors coloured; favourite favorites
    verify verified verification; notify notification notifications; subscribe subscription subscriber; expire expired expiry
    confirm confirmed confirmation; insure insured insurance; renew renewed renewal; book booked bookings
    """,
    "es": """
    devolver devuelvo devuelvan devolvieron devuelto devolucion devoluciones; reembolso reembolsos reembolsar reembolsen
    cancelar cancelo cancele cancelado cancelacion cancelaciones; cita citas; factura facturas facturado facturacion
    cobrar cobro cobraron cobrado; entrega entregas entregar entregaron entregue; queja quejas quejarse
    pagar pago pagos pague pagado; enviar envio envios envie enviaron enviado; pedir pido pide pidio pidieron pedido pedidos
    poder puedo puede pueden podria pudo; querer quiero quiere quisiera; cerrar cierra cierran cerrado; mover mueve movieron
    resolver resuelve resuelto resolucion; perder pierde perdi perdido perdio; recibir recibo recibi recibio recibieron
    repetir repite repitio; costar cuesta cuestan; servir sirve; seguir sigue siguen; suscribir suscripcion suscripciones
    reclamar reclamo reclamos reclamacion; explicar explique; autorizar autorice autorizado; confirmar confirme confirmado
    llamar llamo llamada llamadas llamaron; cambiar cambio cambios cambiado; reservar reserva reservas; dia dias
    """,
}
APART = {
    "en": "business busy; customer customs custom; important import; department depart; personal person; positive position; "
    "experience experiment; policy police; universe university; organ organization; rate ratio; general generous; "
    "expensive expense; account count; insure sure; receipt receive; number numb; reply replace; check cheque; new news",
    "es": "caso casa; rata rato; tarde tarda; cuenta cuento; cuenta contar; puerto puerta; plazo plaza; plato plata; libro libra; "
    "punto punta; medio medir; servicio servir; seguro seguir; correo correr; direccion directo; tarjeta tarde",
}


def families(table: str) -> list[list[str]]:
    """The words of each family of a table."""
    return [family.split() for line in table.splitlines() for family in line.split(";") if family.strip()]


@pytest.mark.parametrize(
    ("language", "family"), [(name, family) for name in FAMILIES for family in families(FAMILIES[name])]
)
def test_forms_of_a_word_share_a_stem(language: str, family: list[str]) -> None:
    assert {stem(language, word) for word in family} == {stem(language, family[0])}


@pytest.mark.parametrize(("language", "others"), [(name, pair) for name in APART for pair in families(APART[name])])
def test_words_that_only_look_alike_share_none(language: str, others: list[str]) -> None:
    assert len({stem(language, word) for word in others}) == len(others)


def test_no_two_families_share_a_stem() -> None:
    for language, table in FAMILIES.items():
        stems = [stem(language, family[0]) for family in families(table)]
        assert len(set(stems)) == len(stems)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("I was told that the refund is on the way, but it did not come", ("en",)),
        ("Quiero saber por qué me cobraron dos veces, no es mi cita", ("es",)),
        (
            "Hi, can you hear me? Sí, quiero cambiar la cita del lunes, por favor. I will be there at nine, thank you",
            ("en", "es"),
        ),
        ("Refund, please", ("en",)),
        ("Sí, claro", ("es",)),
        ("Hi, yes, I wanted to ask about that, por favor", ("en",)),
        ("Two refunds", ()),
        ("Ich habe meine Rechnung nicht bekommen, können Sie mir eine Kopie schicken?", ()),
        ("Je voudrais annuler mon rendez-vous, c'est pour demain matin", ()),
        ("Non ho ricevuto il mio rimborso e vorrei parlare con una persona", ("es",)),  # does little harm, see below
        ("我想要退款", ()),
    ],
)
def test_languages_are_told_by_the_little_words(said: str, expected: tuple[str, ...]) -> None:
    assert languages(set(words(said))) == expected


def test_where_no_language_can_be_told_a_word_is_kept_in_each() -> None:
    assert set(vocabulary({"refunds", "555", "退", "ok"}, ())) == {
        ("refunds", "en", "refund"),
        ("refunds", "es", stem("es", "refunds")),
    }


@pytest.mark.parametrize(
    "said",
    [
        "Bom dia, eu gostaria de saber sobre a minha fatura, por favor. O técnico não veio e o pedido está em atraso",
        "Je voudrais annuler mon rendez-vous, c'est pour demain, la facture est payée et les rats ne sont pas la raison",
        "Non ho ricevuto il mio rimborso, la rata di ottobre è stata pagata con la carta, si può fare lo storno?",
        "Guten Tag, ich möchte meinen Termin verschieben, das war im Oktober und die Rate will ich bar zahlen",
    ],
)
def test_other_languages_bring_no_word_into_an_english_family(said: str) -> None:
    spoken = set(words(said))
    stems = {(language, found): word for word, language, found in vocabulary(spoken, languages(spoken))}
    ours = ("refund", "invoice", "appointment", "charge", "delivery", "payment", "account", "order")
    assert not [stems[key] for word in ours if (key := ("en", stem("en", word))) in stems and stems[key] != word]


def test_a_word_that_may_vary_is_of_letters_and_of_a_words_length() -> None:
    assert [word for word in ("ok", "refund", "e882417", "退款", "niño", "a" * 60) if may_vary(word)] == ["refund"]


# Misspellings

MISSPELLED = """
    recieve:receive refudn:refund apointment:appointment cancle:cancel adress:address invioce:invoice recieved:received
    transfered:transferred shedule:schedule reciept:receipt acount:account acconut:account calender:calendar canceld:canceled
    insurence:insurance insuranse:insurance paymant:payment payement:payment warrenty:warranty delievery:delivery
    delivry:delivery tommorow:tomorrow tomorow:tomorrow wendesday:wednesday febuary:february proffesional:professional
    definately:definitely seperate:separate occured:occurred untill:until buisness:business custumer:customer
    costumer:customer emergancy:emergency emial:email mesage:message messgae:message confirmtion:confirmation
    conferm:confirm reschdule:reschedule subscribtion:subscription upgarde:upgrade compaint:complaint chekc:check
    balence:balance recipt:receipt numbr:number phoen:phone pateint:patient cleanning:cleaning dentits:dentist
    devolusion:devolucion rembolso:reembolso reenbolso:reembolso fatura:factura facutra:factura cancelr:cancelar
    direcion:direccion dirreccion:direccion entrga:entrega targeta:tarjeta tarejta:tarjeta numreo:numero resivo:recibo
    reserbar:reservar llamda:llamada garntia:garantia wensday:wednesday complaing:complaining
"""
MEANT = [(wrong, right) for pair in MISSPELLED.split() for wrong, _, right in [pair.partition(":")]]
STRANGE = words("xylophone quantum giraffe violin trombone volcano parachute cucumber jirafa murcielago zanahoria")


def known_words() -> list[str]:
    """Some 5,000 words: what is said in the sandbox, what was meant above, and endings to confuse them with."""
    said = {word for story in business.stories() for spoken in story.spoken for word in words(spoken.text)}
    plain = sorted(word for word in said if may_vary(word))
    grown = [word + ending for ending in ("s", "ed", "ing", "er", "ly", "os", "ar") for word in plain if len(word) > 4]
    return sorted(
        {*plain, *(right for _, right in MEANT), *grown[: 5_000 - len(plain)]} - {wrong for wrong, _ in MEANT}
    )


def likely(word: str, known: Sequence[str]) -> list[str]:
    """The candidates that a store gives: the same first letter, about the same length."""
    return [other for other in known if other[0] == word[0] and abs(len(other) - len(word)) <= 2]


def test_most_misspelled_words_bring_the_word_that_was_meant_and_few_others() -> None:
    known = known_words()
    found = {wrong: close(wrong, likely(wrong, known)) for wrong, _ in MEANT}
    first = [wrong for wrong, right in MEANT if found[wrong][:1] == (right,)]
    among = [wrong for wrong, right in MEANT if right in found[wrong]]
    assert len(MEANT) >= 60
    assert len(known) > 4_500
    assert len(first) >= 0.9 * len(MEANT), sorted(set(found) - set(first))
    assert len(among) >= 0.95 * len(MEANT), sorted(set(found) - set(among))
    assert sum(map(len, found.values())) <= 1.7 * len(MEANT)


def test_a_word_that_nobody_misspelled_brings_none() -> None:
    known = [word for word in known_words() if word not in STRANGE]
    assert [word for word in STRANGE if close(word, likely(word, known))] == []


def test_letters_that_changed_places_count_once_and_the_likeliest_comes_first() -> None:
    assert close("refudn", ["refuse", "refund", "refunds", "refuel"])[0] == "refund"
    assert close("adress", ["dress", "address", "advice"]) == ("address", "dress")
    assert close("acount", ["amount", "account"]) == ("account", "amount")
    assert close("refund", ["refund"]) == ()
    assert len(close("cancle", ["cancel", "candle", "cancels", "cance", "cable"])) == MOST_CLOSE


@pytest.mark.timeout(15)
def test_sixty_thousand_words_are_looked_through() -> None:
    random = Random(20261120)
    parts = known_words()
    known = {
        random.choice(parts)[: random.randint(2, 6)] + random.choice(parts)[-random.randint(2, 6) :]
        for _ in range(60_000)
    }
    candidates = likely("conferm", sorted(known))
    assert len(candidates) > 2_000
    assert close("conferm", [*candidates, "confirm"])[0] == "confirm"
