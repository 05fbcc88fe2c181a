"""Formats, templates and patterns that mean harm are refused in time, and good ones work."""

import asyncio
import time

import pytest

from autogpt_server.blocks.patterns import MatchTextPatternBlock
from autogpt_server.blocks.samples import SampleContext
from autogpt_server.blocks.templates import render
from autogpt_server.blocks.text import TextCombinerBlock, TextFormatterBlock
from autogpt_server.errors import BlockError


@pytest.mark.parametrize(
    "format",
    [
        "{text1.__class__}",
        "{text1.__class__.__mro__[1]}",
        "{text1[0]}",
        "{texts}",
        "{texts[0].__class__}",
        "{texts[x]}",
        "{0.__class__}",
        "{text1!r}",
        "{text1:>1000000000}",
        "{text1:{text2}}",
        "{5}",
        "{missing}",
        "{text1",
        "}",
    ],
)
async def test_a_format_reaches_for_nothing_but_the_texts(format: str, context: SampleContext) -> None:
    with pytest.raises(BlockError, match="format"):
        await TextCombinerBlock().execute({"text1": "a", "text2": "9", "texts": ["b"], "format": format}, context)


async def test_a_combined_text_has_a_largest_size(context: SampleContext) -> None:
    with pytest.raises(BlockError, match="more than"):
        await TextCombinerBlock().execute({"text1": "a" * 1_000_000, "format": "{0}" * 1000}, context)


async def test_texts_of_dynamic_pins_are_named_by_position(context: SampleContext) -> None:
    data = {"texts": ["Hello", "World", "!!!"], "format": "{texts[0]},{texts[1]},{2}"}
    assert await TextCombinerBlock().execute(data, context) == [("combined_text", "Hello,World,!!!")]


def test_templates_have_what_people_use() -> None:
    rows = [{"name": "a", "n": 1}, {"name": "b", "n": 2}]
    template = (
        "{% for row in rows if row.n > 0 %}{{ loop.index }}.{{ row['name']|upper }}={{ '%.1f'|format(row.n) }} "
        "{% endfor %}{{ rows|sum(attribute='n') }} {{ rows|map(attribute='name')|join(', ') }} "
        "{% set ns = namespace(t=0) %}{% for row in rows %}{% set ns.t = ns.t + row.n %}{% endfor %}{{ ns.t * 2 }} "
        "{% macro m(x) %}<{{ x }}{{ caller() if caller }}>{% endmacro %}{{ m(1) }}{% call m(2) %}in{% endcall %} "
        "{% filter upper %}x{{ 1 }}{% endfilter %}{% set y %}b{{ 2 }}{% endset %}{{ y ~ 'c' }} "
        "{{ missing }}{{ missing|default('none') }} {{ 'a b'.split() }} {{ rows|tojson }} {{ 'aXa'.replace('X', '-') }}"
    )
    assert render(template, {"rows": rows}) == (
        '1.A=1.0 2.B=2.0 3 a, b 6 <1><2in> X1b2c none [\'a\', \'b\'] [{"n": 1, "name": "a"}, {"n": 2, "name": "b"}] a-a'
    )


ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ self.__init__ }}",
    "{{ x.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ lipsum.__globals__ }}",
    "{{ x.append(1) }}",
    "{{ loop.__class__ }}{% for i in x %}{{ loop.__class__ }}{% endfor %}",
    "{% include 'secret' %}",
    "{% import 'secret' as s %}",
]


@pytest.mark.parametrize("template", ESCAPES)
def test_a_template_does_not_leave_the_sandbox(template: str) -> None:
    values = {"x": [1]}
    try:
        text = render(template, values)
    except BlockError:
        text = ""
    assert text == ""
    assert values == {"x": [1]}


BOMBS = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ range(100000000) }}",
    "{{ 'x' * 10**9 }}",
    "{{ 10**9 * 'x' }}",
    "{{ 2 ** (2**40) }}",
    "{{ (10**1000) ** 1000 }}",
    "{{ 'x'|center(1000000000) }}",
    "{{ 'x'.ljust(1000000000) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '%0*d'|format(1000000000, 1) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ ('%s' * 10000)|format(*['x' * 100000] * 10000) }}",
    "{{ (1).to_bytes(1000000000, 'big') }}",
    "{{ ('x' * 1000000)|replace('x', 'y' * 1000000) }}",
    "{{ ('x' * 1000000).replace('x', 'y' * 1000000) }}",
    "{{ ('x\n' * 1000000)|indent(10000) }}",
    "{{ ('x ' * 100000)|wordwrap(1, wrapstring='y' * 10000) }}",
    "{{ range(100000)|join('y' * 10000) }}",
    "{{ range(100000)|map('string')|map('center', 10000)|list|length }}",
    "{{ [[1, [2]]]|tojson(indent=100000000) }}",
    "{{ 'x'.join(['y' * 1000] * 100000) }}",
    "{% for i in range(100000) %}{{ 'y' * 900 }}{% endfor %}",
    "{% set x %}{% for i in range(99999) %}" + "y" * 10_000 + "{% endfor %}{% endset %}",
    "{% set a = 'x' * 1000 %}" + "{% set a = a ~ a %}" * 40,
    "{% set a = 'x' * 1000 %}" + "{% set a = a + a %}" * 40,
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "{{ a }}",
    "{% set a = {} %}" + "{% set a = {1: a, 2: a} %}" * 40 + "{{ a }}",
    "{% set a %}xxxxxxxx{% endset %}" + "{% set a %}{{ a }}{{ a }}{% endset %}" * 40,
    "{% set n = namespace(x='ab') %}{% for i in range(100) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{% if x %}" * 200 + "{% endif %}" * 200,
    "x" * 1_000_000,
]


@pytest.mark.parametrize("template", BOMBS, ids=range(len(BOMBS)))
def test_a_template_takes_neither_all_time_nor_all_memory(template: str) -> None:
    started = time.monotonic()
    with pytest.raises(BlockError, match="template"):
        render(template, {"x": 1})
    assert time.monotonic() - started < 10


async def test_a_wrong_template_names_its_line(context: SampleContext) -> None:
    with pytest.raises(BlockError, match="line 2"):
        await TextFormatterBlock().execute({"template": "a\n{% if %}"}, context)
    with pytest.raises(BlockError, match="division by zero"):
        await TextFormatterBlock().execute({"template": "{{ 1 / 0 }}"}, context)


async def test_a_pattern_that_never_ends_is_stopped_while_others_go_on(context: SampleContext) -> None:
    data = {"text": "a" * 60 + "b", "match": "(a|aa)+$"}
    searching = asyncio.create_task(MatchTextPatternBlock().execute(data, context))
    turns = 0
    while not searching.done():
        await asyncio.sleep(0.01)
        turns += 1
    with pytest.raises(BlockError, match="takes longer than"):
        await searching
    assert turns > 10


@pytest.mark.parametrize(
    "pattern",
    ["(((a{1000}){1000}){1000})", "a{1000000000}", "(?#[)((a{1000}){1000}){9}]", "a" * 10_001, "(", "(" * 5000, "[a"],
)
async def test_a_wrong_or_huge_pattern_is_refused(pattern: str, context: SampleContext) -> None:
    with pytest.raises(BlockError, match="regular expression"):
        await MatchTextPatternBlock().execute({"text": "a", "match": pattern}, context)


@pytest.mark.parametrize(
    "pattern",
    [r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$", r"(\w{2,8}-?){5}", r"(?i)1FF0|(?<!x)1e"],
)
async def test_usual_patterns_work(pattern: str, context: SampleContext) -> None:
    data = {"text": "1ff065e9-88e8-4358-9d82-8dc91f622ba9", "match": pattern, "data": 1}
    assert await MatchTextPatternBlock().execute(data, context) == [("positive", 1)]
