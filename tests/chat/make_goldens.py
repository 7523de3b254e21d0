#!/usr/bin/env python3
"""What Python's Jinja makes of chat templates, set up as transformers does it.

usage: make_goldens.py      (needs jinja2)

Writes goldens.json: for each template of this folder and each conversation its text, or that the
template refuses it; and for single expressions what they print.
"""
import json
import pathlib

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
DATE = "29 Feb 2024"

USER = {"role": "user", "content": "What is 2+2?"}
CONVERSATIONS = {
    "question": [USER],
    "system": [{"role": "system", "content": "  Answer briefly.\n"}, USER],
    "talk": [USER, {"role": "assistant", "content": "4"}, {"role": "user", "content": " <b>Why?</b> \"é\" "}],
    "after-answer": [{"role": "system", "content": "S"}, USER, {"role": "assistant", "content": " Four. "}],
    "wrong-order": [{"role": "assistant", "content": "Hello"}, USER],
    "empty": [{"role": "user", "content": ""}],
}

EXPRESSIONS = [
    "{{ '  a b '.strip() }}|", "{{ 'xxaxx'.strip('x') }}|", "{{ '  a '.lstrip() }}|{{ '  a '.rstrip() }}|",
    "{{ 'a,b,,c'.split(',')|join('+') }}", "{{ ' a  b c '.split()|join('+') }}", "{{ 'a b c'.split(' ', 1)[1] }}",
    "{{ 'a-b-c'.rsplit('-', 1)[0] }}", "{{ 'think</think> x'.split('</think>')[-1] }}",
    "{{ 'Abc'.upper() }}{{ 'Abc'.lower() }}{{ 'hello wORLD'.title() }}{{ 'hELLO'.capitalize() }}",
    "{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abc'.startswith('x') }}",
    "{{ 'aXbX'.replace('X', '--') }}", "{{ 'été'.find('é') }} {{ 'ete'.find('x') }} {{ 'banana'.count('an') }}",
    "{{ {'a': 1, 'b': 'x'}.items()|list|length }} {{ {'a': 1}.get('a') }} {{ {'a': 1}.get('b', 'd') }} {{ {'a': 1}.get('b') }}",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}",
    "{{ {'a': [1, 2.5, true, none, 'é<\"\\n'], 'b': {}}|tojson }}", "{{ [1, {'a': 2}]|tojson(indent=2) }}",
    "{{ true }} {{ false }} {{ none }} {{ 1 }} {{ 1.5 }} {{ missing }}|",
    "{% set ns = namespace(found=false, n=0) %}{% for i in range(5) %}{% if i > 2 %}{% set ns.found = true %}{% set ns.n = ns.n + i %}{% endif %}{% endfor %}{{ ns.found }} {{ ns.n }}",
    "{% for i in range(6) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for x in ['a', 'b', 'c'] %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    "{% macro m(a, b='z') %}[{{ a }}{{ b }}]{% endmacro %}{{ m('x') }}{{ m('x', b='y') }}",
    "{{ messages[0].role }} {{ messages[0]['content'] }} {{ messages|length }} {{ messages[-1]['role'] }}",
    "{% set rest = messages[1:] %}{{ rest|length }}{% for m in rest %}{{ m.role }}{% endfor %}",
    "{{ 'a' if messages[0].role == 'user' else 'b' }} {{ 'x' in 'axb' }} {{ not true }} {{ 1 is defined }} {{ nope is defined }} {{ 'a' is string }} {{ [] is iterable }} {{ {} is mapping }} {{ none is none }}",
    "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}", "{{ messages|map(attribute='role')|join(',') }}",
    "{%- if true -%}   a   {%- endif -%}   b", "{% if true %}\n  x\n{% endif %}\ny\n", "  {% if true %}\n  x\n  {% endif %}\n",
    "{{ 'a' ~ 1 ~ 'b' }} {{ 'a' + 'b' }} {{ 7 // 2 }} {{ 7 % 3 }} {{ 2 ** 5 }} {{ 'ab' * 2 }}",
    "{{ 'Hello'|lower|trim }} {{ ' x '|trim }} {{ missing|default('d') }} {{ [3, 1, 2]|sort|first }} {{ [1, 2]|last }}",
    "{% set x, y = 1, 'b' %}{{ x }}{{ y }}", "{% set x %}a{{ 1 }}b{% endset %}{{ x|length }}{{ x }}",
    "{% set x = {'a': [1] + [2], 'b': messages[1:]} %}{{ x.a|length }}{{ x['a'][1] }}{{ x.b[0].role }}",
    "{% generation %}a{% endgeneration %}b", "{# note #}c", "{{ strftime_now('%d %b %Y') }}",
    "{{ bos_token }}{{ eos_token }}{{ unk_token }}", "{{ 'caf\\u00e9' }}{{ \"a\\nb\" }}",
]


class Generation(Extension):
    """The marks that transformers adds, as far as the text goes."""
    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


class Refused(Exception):
    pass


def raise_exception(message):
    raise Refused(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda format: DATE
    return env


def render(template, messages, prompt):
    try:
        text = environment().from_string(template).render(
            messages=messages, tools=None, documents=None, add_generation_prompt=prompt, **TOKENS)
        return {"text": text}
    except Refused as refused:
        return {"refused": str(refused)}
    except jinja2.exceptions.UndefinedError as error:
        return {"failed": str(error)}


def main():
    cases = []
    for path in sorted(HERE.glob("*.jinja")):
        for name, messages in CONVERSATIONS.items():
            for prompt in (True, False):
                outcome = render(path.read_text(), messages, prompt)
                cases.append(dict(template=path.name, conversation=name, prompt=prompt, **outcome))
    expressions = [dict(template=text, **render(text, CONVERSATIONS["talk"], True)) for text in EXPRESSIONS]
    goldens = dict(jinja2=jinja2.__version__, tokens=TOKENS, conversations=CONVERSATIONS, cases=cases,
                   expressions=expressions)
    (HERE / "goldens.json").write_text(json.dumps(goldens, indent=1, ensure_ascii=False) + "\n")


main()
