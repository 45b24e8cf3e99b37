"""Lakeside Dental, a made-up clinic group: its agents, its customers, what its agents can do, and four weeks of calls.

Nothing here knows a vendor; the other modules of the sandbox render these calls as their vendor would. All numbers
are from the 555-0100 to 555-0199 range, which belongs to nobody.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from itertools import cycle, islice
from typing import Literal

from call_logs.sandbox.story import Script, Story, script_files, scripts, seeded, story, told

NAME = "Lakeside Dental"
EVERYDAY = "everyday.txt"
EVERYDAY_CALLS = 64
EVERYDAY_MINUTES_AGO = (302, 371, 458, 563)
DAYS = 27
NEW_PATIENTS = ("Samantha Oyelaran", "Ingrid Solberg", "Yolanda Pierce", "Derek Paulson")

ActionKind = Literal[
    "transfer", "message", "appointment", "workflow", "custom", "knowledge", "extraction", "in_call_extraction"
]


@dataclass(frozen=True, slots=True)
class Agent:
    """A voice agent of the business; one of them has been deleted since."""

    name: str
    number: str
    language: str
    greeting: str
    opens: str
    closes: str
    is_deleted: bool = False


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody who called; the name is None where nobody knows it."""

    name: str | None
    number: str
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Configured:
    """Something that the business's agents can do. `facts` has what each kind needs: a number, a text, a question."""

    kind: ActionKind
    name: str
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class PhoneCall:
    """A story that took place: `started_at` is UTC, in whole milliseconds. A test call has no customer."""

    key: str
    started_at: datetime
    agent: Agent
    customer: Customer | None
    story: Story


AGENTS: Mapping[str, Agent] = {
    agent.name: agent
    for agent in (
        Agent(
            "Front Desk",
            "+12065550100",
            "en",
            "Lakeside Dental, this is the front desk. How can I help?",
            "08:02",
            "17:48",
        ),
        Agent("After Hours", "+12065550101", "en", "Lakeside Dental after hours. How can I help?", "19:05", "23:25"),
        Agent("Billing", "+12065550102", "en", "Lakeside Dental billing. How can I help you today?", "09:03", "16:50"),
        Agent(
            "Recepción",
            "+12065550104",
            "es",
            "Lakeside Dental, buenos días. ¿En qué le puedo ayudar?",
            "08:31",
            "17:20",
        ),
        Agent(
            "Weekend Line",
            "+12065550107",
            "en",
            "Lakeside Dental weekend line. What can I do for you?",
            "09:00",
            "13:00",
            is_deleted=True,
        ),
    )
}

CUSTOMERS: Mapping[str, Customer] = {
    name: Customer(name, number, language)
    for name, number, language in (
        ("Gloria Whitfield", "+12065550188", "en"),
        ("Owen Castellano", "+13605550148", "en"),
        ("Hannah Lindqvist", "+12065550167", "en"),
        ("Amir Haddad", "+14255550161", "en"),
        ("Walter Brandt", "+15035550116", "en"),
        ("Priya Raman", "+12065550123", "en"),
        ("Tess Marlowe", "+12065550136", "en"),
        ("Darnell Price", "+12535550119", "en"),
        ("Marcus Delacroix", "+12535550185", "en"),
        ("Ruth Eisenberg", "+14255550106", "en"),
        ("Caleb Norwood", "+15415550131", "en"),
        ("Joanne Tillman", "+12065550145", "en"),
        ("Simone Achebe", "+12065550129", "en"),
        ("Ingrid Solberg", "+12085550152", "en"),
        ("Nadia Petrov", "+14255550175", "en"),
        ("Peter Hallock", "+13605550183", "en"),
        ("Keisha Monroe", "+12535550171", "en"),
        ("Victor Anand", "+12535550190", "en"),
        ("Sheila Abernathy", "+12065550111", "en"),
        ("Leonard Fitch", "+15095550177", "en"),
        ("Grace Kim", "+14255550158", "en"),
        ("Noreen Gallagher", "+13605550122", "en"),
        ("Fiona McAllister", "+12065550194", "en"),
        ("Elias Romero", "+12065550114", "en"),
        ("Derek Paulson", "+13605550109", "en"),
        ("Linh Tran", "+12065550172", "en"),
        ("Aaron Feldstein", "+14255550134", "en"),
        ("Tom Okafor", "+12535550142", "en"),
        ("Marisol Vance", "+14255550118", "en"),
        ("Yolanda Pierce", "+12065550105", "en"),
        ("Samantha Oyelaran", "+14045550131", "en"),
        ("Bernard Kowalski", "+14255550196", "en"),
        ("Aisha Rahman", "+12065550174", "en"),
        ("Colleen Baptiste", "+13605550157", "en"),
        ("Henrik Dahl", "+12535550108", "en"),
        ("Monique Garner", "+14255550121", "en"),
        ("Desmond Achterberg", "+15035550162", "en"),
        ("Beatriz Olmedo", "+12535550103", "es"),
        ("Julián Cordero", "+12065550139", "es"),
        ("Rosa Ibáñez", "+14255550192", "es"),
        ("Esteban Quiroga", "+12535550164", "es"),
        ("Carmen Villaseñor", "+15095550127", "es"),
        ("Paola Méndez", "+14255550147", "es"),
        ("Miguel Santoro", "+12065550156", "es"),
        ("Sofía Arce", "+12535550126", "es"),
    )
}

ACTIONS: Mapping[str, Configured] = {
    "transfer-billing-lead": Configured(
        "transfer",
        "Transfer to the billing lead",
        {"number": "+12065550182", "when": "The customer disputes a charge or wants money back"},
    ),
    "transfer-office-lead": Configured(
        "transfer",
        "Transfer to the office lead",
        {"number": "+12065550181", "when": "The customer insists on a person"},
    ),
    "transfer-clinical": Configured(
        "transfer", "Transfer to the clinical team", {"number": "+12065550184", "when": "A medical question"}
    ),
    "transfer-on-call": Configured(
        "transfer", "Transfer to the dentist on call", {"number": "+12065550199", "when": "A dental emergency"}
    ),
    "sms-confirmation": Configured(
        "message",
        "Text the appointment",
        {"text": "Your visit at Lakeside Dental is confirmed. Reply C to change it.", "when": "After a booking"},
    ),
    "sms-confirmacion": Configured(
        "message",
        "Enviar confirmación",
        {
            "text": "Su cita en Lakeside Dental está confirmada. Responda C para cambiarla.",
            "when": "Después de agendar",
        },
    ),
    "sms-payment-link": Configured(
        "message",
        "Text the payment link",
        {"text": "Lakeside Dental: pay securely at https://pay.example.com/lakeside", "when": "Wants to pay a balance"},
    ),
    "sms-forms": Configured(
        "message",
        "Text the forms",
        {"text": "Lakeside Dental: your forms are at https://forms.example.com/lakeside", "when": "Needs the forms"},
    ),
    "book-cleaning": Configured("appointment", "Book a cleaning", {"calendar": "hygiene"}),
    "book-exam": Configured("appointment", "Book a first exam", {"calendar": "exams"}),
    "book-treatment": Configured("appointment", "Book a treatment", {"calendar": "treatments"}),
    "task-callback": Configured(
        "workflow", "Callback task for the office", {"when": "Somebody has to call the customer back"}
    ),
    "task-fee-review": Configured(
        "workflow", "Billing review", {"when": "A charge, a plan or a receipt is in question"}
    ),
    "send-packet": Configured("workflow", "E-mail the new-patient packet", {"when": "A new patient left an e-mail"}),
    "look-up-prices": Configured("knowledge", "Prices and hours", {"when": "Asks for prices, plans or hours"}),
    "look-up-aftercare": Configured("knowledge", "Aftercare sheets", {"when": "Asks what to do after a treatment"}),
    "extract-contact": Configured("extraction", "Contact details", {"what": "The customer's full name"}),
    "extract-reason": Configured("extraction", "Reason for the call", {"what": "Why the customer called"}),
    "in-call-email": Configured("in_call_extraction", "E-mail address", {"what": "The customer's e-mail address"}),
    "check-appointment": Configured(
        "custom",
        "Check appointment status",
        {
            "when": "Asks whether an appointment is still on",
            "say": "Let me check that appointment.",
            "url": "https://schedule.example.com/v1/appointments?key=sandbox-secret-in-address",
            "authentication": "sandbox-secret-must-not-leak",
            "header": "X-Api-Key",
            "header_value": "sandbox-secret-in-header",
            "parameter": "confirmation",
            "example": "LD-20418",
        },
    ),
}


def calls(now: datetime, line: str = "highlevel") -> list[PhoneCall]:
    """One line's calls of the four weeks before `now`, newest first. `now` is aware; days begin in its zone."""
    if now.tzinfo is None:
        raise ValueError("now must be aware")
    held = [_placed(told_story, now) for told_story in stories() if told_story.line == line]
    return sorted(held, key=lambda call: (call.started_at, call.key), reverse=True)


@cache
def stories() -> tuple[Story, ...]:
    """What the customers of Lakeside Dental called about. The same on every day."""
    by_hand = [script for name in script_files() if name != EVERYDAY for script in scripts(name)]
    return tuple(story(script) for script in (*by_hand, *_everyday()))


def _everyday() -> Iterator[Script]:
    patterns = list(scripts(EVERYDAY))
    for n, pattern in enumerate(islice(cycle(patterns), EVERYDAY_CALLS)):
        key = f"{pattern.key}-{n // len(patterns) + 1}"
        rng = seeded(NAME, key, "who and when")
        language = pattern.about.get("language", "en")
        known = [name for name, who in CUSTOMERS.items() if who.language == language and name not in NEW_PATIENTS]
        who = rng.choice(known)
        if n < len(EVERYDAY_MINUTES_AGO):
            when = f"{EVERYDAY_MINUTES_AGO[n]} minutes ago"
        else:
            agent = AGENTS[pattern.about["agent"]]
            minute = rng.randint(_minute(agent.opens), _minute(agent.closes))
            when = f"{1 + n * DAYS // EVERYDAY_CALLS} days ago {minute // 60:02}:{minute % 60:02}"
        yield told(pattern, key, who, when)


def _placed(told_story: Story, now: datetime) -> PhoneCall:
    who = told_story.customer
    started = told_story.started_at(now).astimezone(UTC)
    return PhoneCall(
        key=told_story.key,
        started_at=started.replace(microsecond=started.microsecond // 1000 * 1000),
        agent=AGENTS[told_story.agent],
        customer=None if who is None else CUSTOMERS.get(who) or Customer(None, who),
        story=told_story,
    )


def _minute(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)
