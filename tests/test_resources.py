"""Transcripts as resources, through the real protocol in memory."""

import json
import re

import pytest
from mcp import MCPError
from mcp.types import ResourceTemplateReference, TextResourceContents

from call_logs.sandbox.highlevel import object_id
from call_logs.tools.answer import MOST_CHARACTERS, NOTICE
from conftest import ACCOUNT, Asking

pytestmark = pytest.mark.anyio

TEMPLATE = "calls://{account}/{call}/transcript"


def uri(story: str, what: str = "transcript") -> str:
    """The resource of a call of the business."""
    return f"calls://{ACCOUNT}/{object_id('call', story)}/{what}"


async def read(asking: Asking, address: str) -> tuple[str, str]:
    """A resource's text and type."""
    async with asking() as ask:
        [content] = (await ask.client.read_resource(address)).contents
    assert isinstance(content, TextResourceContents)
    return content.text, content.mime_type or ""


async def test_the_latest_transcripts_are_listed_under_names_a_person_recognises(asking: Asking) -> None:
    async with asking() as ask:
        listed = (await ask.client.list_resources()).resources
        calls = (await ask("list_calls", limit=5)).body["calls"]
    assert len(listed) == 50
    assert len({resource.uri for resource in listed}) == 50
    told = next(row for row in calls if row["turns"])
    assert str(listed[0].uri) == f"calls://{told['id']}/transcript"
    for resource in listed:
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d [+-]\d\d:\d\d · \+1\d{10} · ", resource.name), resource.name
        assert resource.name == resource.title


async def test_the_three_templates_are_listed(asking: Asking) -> None:
    async with asking() as ask:
        templates = (await ask.client.list_resource_templates()).resource_templates
    assert {template.uri_template for template in templates} == {
        TEMPLATE,
        f"{TEMPLATE}.json",
        "calls://{account}/{call}/call.json",
    }


async def test_a_transcript_reads_as_text_between_boundary_lines(asking: Asking) -> None:
    text, mime_type = await read(asking, uri("wrong-number"))
    assert mime_type == "text/plain"
    assert NOTICE in text
    assert re.search(r"<<<quotes ([0-9a-f]{16})\n1 \[0:\d\d\] agent: .*\n\1 quotes>>>$", text, re.DOTALL)


async def test_a_transcript_and_a_call_read_as_json(asking: Asking) -> None:
    transcript, mime_type = await read(asking, uri("refund-duplicate-charge", "transcript.json"))
    call, _ = await read(asking, uri("refund-duplicate-charge", "call.json"))
    assert mime_type == "application/json"
    turns = json.loads(transcript)["turns"]
    assert [turn["n"] for turn in turns] == list(range(1, len(turns) + 1))
    assert "turns" not in json.loads(call) or json.loads(call)["turns"] == []
    assert json.loads(call)["call"]["actions"]
    assert json.loads(call)["total_turns"] == len(turns)


async def test_a_long_transcript_stays_below_the_cap_and_says_how_it_goes_on(asking: Asking) -> None:
    for what in ("transcript", "transcript.json", "call.json"):
        text, _ = await read(asking, uri("new-family-intake", what))
        assert len(text) <= MOST_CHARACTERS


@pytest.mark.parametrize(
    "address",
    [
        f"calls://{ACCOUNT}/000000000000000000000000/transcript",
        "calls://nobody/123/transcript",
        f"calls://{ACCOUNT}/..%2F..%2Fcontacts/transcript",
        "calls://nothing",
    ],
)
async def test_what_is_not_there_is_refused_with_the_way_on(asking: Asking, address: str) -> None:
    async with asking() as ask:
        with pytest.raises(MCPError) as refused:
            await ask.client.read_resource(address)
    assert refused.value.error.code == -32602
    assert "Traceback" not in refused.value.error.message


async def test_accounts_and_calls_are_completed(asking: Asking) -> None:
    reference = ResourceTemplateReference(uri=TEMPLATE)
    async with asking() as ask:
        accounts = await ask.client.complete(reference, {"name": "account", "value": "demo"})
        calls = await ask.client.complete(
            reference, {"name": "call", "value": ""}, context_arguments={"account": ACCOUNT}
        )
        begun = calls.completion.values[7][:6]
        narrowed = await ask.client.complete(reference, {"name": "call", "value": begun})
        other = await ask.client.complete(
            reference, {"name": "call", "value": ""}, context_arguments={"account": "nobody"}
        )
    assert accounts.completion.values == [ACCOUNT]
    assert len(calls.completion.values) == 100
    assert calls.completion.values[7] in narrowed.completion.values
    assert other.completion.values == []
