"""Promises of the agent are found in what it said, and only real ones are held against what was executed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from call_logs.model import Action, ActionKind, Speaker, Turn
from call_logs.promises import promised, unkept


def agent(*texts: str) -> list[Turn]:
    return [Turn(n=n, speaker=Speaker.AGENT, text=text, offset_seconds=n * 10) for n, text in enumerate(texts, 1)]


def done(*kinds: ActionKind) -> list[Action]:
    return [Action(kind=kind, vendor_kind=kind.value, name="x") for kind in kinds]


ANNOUNCED = {
    ActionKind.MESSAGE: [
        "I'll text you the address.",
        "I\u2019ll send you a confirmation text right now.",
        "I'm going to email you the invoice",
        "Let me send you a link to book online.",
        "Sending you a text now.",
        "We'll send a confirmation to your phone.",
        "I will go ahead and send that over to you.",
        "Don't worry, I'll text you the details.",
        "I can't text you, but I'll email you the form.",
        "Le enviar\xe9 un mensaje con la direcci\xf3n.",
        "Voy a mandarle un correo.",
        "S\xed, le voy a enviar un SMS.",
        "I'll text you the link, and if you have questions just call.",
        "I'm texting you that now",
        "I'll send that over now.",
        "I'll shoot you a quick text.",
    ],
    ActionKind.APPOINTMENT: [
        "I'll book that for you.",
        "Let me schedule you for Friday.",
        "I'll set up an appointment for you.",
        "Voy a agendarle para el martes.",
        "Le agendar\xe9 la cita.",
        "I'm booking you in for 4.",
        "I'll get you scheduled for Monday.",
    ],
    ActionKind.TRANSFER: [
        "Let me transfer you to billing.",
        "I'll connect you with a specialist.",
        "I'm transferring you now.",
        "Please hold while I transfer you.",
        "I'll put you through.",
        "One moment, transferring you now.",
        "Le transfiero con un agente.",
        "Perm\xedtame transferirle.",
        "Lo voy a comunicar con ventas.",
        "I'm going to have to transfer you to our sales team.",
        "I'll send you over to billing.",
        "D\xe9jeme pasarlo con un compa\xf1ero.",
        "I'll get you over to our billing team.",
    ],
    ActionKind.OTHER: [
        "Someone will call you back within the hour.",
        "One of our technicians will give you a call.",
        "I'll have someone call you back.",
        "We'll get back to you tomorrow.",
        "Our team will reach out to you.",
        "I'll have someone from the billing team call you back tomorrow morning.",
        "Somebody in our office will get back to you.",
        "You'll get a call from our billing team.",
        "You'll hear back from us by Friday.",
        "Alguien le llamar\xe1 ma\xf1ana.",
        "Un agente se pondr\xe1 en contacto con usted.",
        "Le llamaremos ma\xf1ana.",
    ],
}
CLAIMED = {
    ActionKind.MESSAGE: [
        "Okay, I've sent you the link.",
        "I've just texted you the directions, did you get it?",
        "I just emailed you the receipt.",
        "Ya le envi\xe9 el enlace.",
        "Le acabo de enviar un mensaje de texto.",
        "Te he enviado la confirmaci\xf3n.",
        "We've emailed you a copy.",
    ],
    ActionKind.APPOINTMENT: [
        "I've booked you for Tuesday at 3 p.m. tomorrow.",
        "I've scheduled your appointment for noon.",
        "I've gone ahead and booked you in.",
        "Le he agendado una cita.",
        "I've made you an appointment for Monday.",
    ],
    ActionKind.TRANSFER: [
        "I've transferred your call to the front desk.",
    ],
    ActionKind.OTHER: [
        "I've scheduled a callback for 3.",
        "I've asked a nurse to call you.",
    ],
}
NO_PROMISE = [
    "Would you like me to text you?",
    "If you like I can text you.",
    "I can't text you.",
    "I won't text you.",
    "I'll text you if you want.",
    "If you'd like, I'll text you the link.",
    "You'll get a text from the pharmacy.",
    "The pharmacy will call you.",
    "You'll get a call from the pharmacy.",
    "You'll hear from your insurance.",
    "Someone from the pharmacy told you that.",
    "They said I'll text you.",
    "I used to send you texts.",
    "We usually send a text.",
    "I could book you for Tuesday.",
    "Shall I transfer you?",
    "I'll text you the link, okay?",
    "Once you confirm, I'll book you.",
    "I'll transfer you when someone is free.",
    "I sent you a text last week.",
    "I've sent you a text yesterday.",
    "I'll send you a technician.",
    "I don't think I'll text you",
    "Have I sent you the link?",
    "I haven't sent you anything",
    "I have not booked you yet.",
    "Let me see if I can book you.",
    "Let me know if you want me to text you.",
    "I see you're booked for Tuesday.",
    "Do you want me to connect you?",
    "I'd be happy to transfer you.",
    "I'll need your number to text you.",
    "\xbfQuiere que le env\xede un mensaje?",
    "Si quiere le enviar\xe9 un mensaje.",
    "No le enviar\xe9 nada.",
    "\xbfLe transfiero con un agente?",
    "Le comunico que estamos cerrados.",
    "La farmacia le enviar\xe1 un mensaje.",
    "Cuando termine le enviar\xe9 un mensaje.",
    "No puedo enviarle un mensaje.",
    "I'll make a note of it.",
    "I'll get that for you.",
    "I'll call the doctor.",
    "You said I've booked you",
    "I'll put you down as a maybe",
    "I'll schedule a message",
    "We've sent messages to patients in the past.",
    "When I've booked you, you'll get an email.",
    "I'll hand it over",
    "I'll connect the dots",
    "Nobody will call you.",
    "someone will call you if there is an opening",
    "I'll pass that along",
    "If no one answers, someone will call you back.",
    "Le paso el n\xfamero.",
    "Our office will never call you.",
    "I'll be happy to send you a link if you need.",
    "He'll text you.",
    "You can text me and I'll see it",
    "I'm not sending you a text.",
    "I'm not going to text you",
    "Should I have someone call you?",
    "I'll have to check before I book you.",
    "I'll book you unless you object.",
    "Le llamar\xe9 si hay algo.",
    "I've never texted you.",
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in ANNOUNCED.items() for text in texts])
def test_what_the_agent_will_do_is_a_promise(kind: ActionKind, text: str) -> None:
    assert [(promise.kind, promise.claimed) for promise in promised(agent(text))] == [(kind, False)]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in CLAIMED.items() for text in texts])
def test_what_the_agent_says_it_did_is_a_claim(kind: ActionKind, text: str) -> None:
    assert [(promise.kind, promise.claimed) for promise in promised(agent(text))] == [(kind, True)]


@pytest.mark.parametrize("text", NO_PROMISE)
def test_offers_conditions_negations_habits_and_reports_are_no_promise(text: str) -> None:
    assert promised(agent(text)) == []


def test_only_the_agent_promises() -> None:
    for speaker in (Speaker.CUSTOMER, Speaker.SYSTEM, Speaker.UNKNOWN):
        assert promised([Turn(n=1, speaker=speaker, text="I'll text you the address.")]) == []


def test_a_promise_quotes_its_sentence_and_its_turn() -> None:
    said = "Thanks, Ana. I've booked you with Dr. Lee at 3 p.m. tomorrow.  I'll text you the address! Anything else?"
    first, second = promised(agent("Hello.", said))
    assert (first.turn, first.offset_seconds, first.kind, first.claimed) == (2, 20, ActionKind.APPOINTMENT, True)
    assert first.text == "I've booked you with Dr. Lee at 3 p.m. tomorrow."
    assert second.text == "I'll text you the address!"


def test_one_sentence_can_promise_several_things() -> None:
    kinds = {promise.kind for promise in promised(agent("I've booked you for noon and I'll text you the address."))}
    assert kinds == {ActionKind.APPOINTMENT, ActionKind.MESSAGE}


def test_a_promise_is_unkept_when_nothing_of_its_kind_was_executed() -> None:
    turns = agent(
        "I'll text you the address.", "Let me transfer you to billing.", "I'll book you in.", "Someone will call you."
    )
    kinds = [ActionKind.MESSAGE, ActionKind.TRANSFER, ActionKind.APPOINTMENT, ActionKind.OTHER]
    assert [promise.kind for promise in unkept(turns, [])] == kinds
    assert unkept(turns, done(*kinds)) == []
    assert [promise.kind for promise in unkept(turns, done(ActionKind.MESSAGE))] == kinds[1:]
    assert [promise.kind for promise in unkept(turns, done(ActionKind.END, ActionKind.EXTRACTION))] == kinds


@pytest.mark.parametrize("kind", [ActionKind.WORKFLOW, ActionKind.CUSTOM, ActionKind.WEBHOOK])
def test_a_workflow_may_have_kept_everything_but_a_transfer(kind: ActionKind) -> None:
    turns = agent(
        "I'll text you the address.", "Let me transfer you to billing.", "I'll book you in.", "Someone will call you."
    )
    assert [promise.kind for promise in unkept(turns, done(kind))] == [ActionKind.TRANSFER]


def test_of_each_kind_the_first_claim_stands_else_the_first_promise() -> None:
    turns = agent(
        "I'll text you.", "I'll email you the form.", "I've texted you the link.", "I've emailed you the form."
    )
    assert [promise.turn for promise in unkept(turns, [])] == [3]
    assert [promise.turn for promise in unkept(turns[:2], [])] == [1]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "I'll",
                "I've",
                "text",
                "sent",
                "you",
                "the",
                "a",
                "link",
                "if",
                "not",
                "and",
                ",",
                ".",
                "?",
                "just",
                "now",
                "our",
                "call",
                "back",
                "to",
            ]
        ),
        max_size=60,
    )
)
def test_any_words_are_read(words: list[str]) -> None:
    turns = agent(" ".join(words))
    assert all(promise.text in turns[0].text for promise in promised(turns))
    assert set(unkept(turns, [])) <= set(promised(turns))


@pytest.mark.parametrize(
    "words", ["the ", "I'll ", "our ", "I'll just now ", "un agente ", "I'll send you ", "and I'll text you "]
)
def test_no_turn_is_slow_to_read(words: str) -> None:
    promised(agent(words * 3_000))
