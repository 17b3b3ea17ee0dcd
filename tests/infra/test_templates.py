"""The templates themselves: what parsers, scanners and operators read."""

from __future__ import annotations

import re

import pytest

from infra.options import PAGE, page
from tests.infra.template import INFRA, TEMPLATES, arguments, bicep, everything, main, modules


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_parameter_and_output_is_described(template):
    """An operator learns from the template what to give, and what comes out."""
    text = bicep()[template].splitlines()
    named = [n for n, line in enumerate(text) if line.startswith(("param ", "output "))]

    assert named
    assert [] == [text[n] for n in named if not decorated(text, n)]


@pytest.mark.parametrize("template", TEMPLATES)
def test_everything_with_a_name_is_used(template):
    """A parameter that changes nothing is a promise; resources and outputs stand for themselves."""
    text = re.sub(r"(?<!:)//.*|@description\('.*'\)", "", bicep()[template])
    names = re.findall(r"^(?:param|var) (\w+)", text, re.MULTILINE)

    assert names
    assert [] == [name for name in names if len(re.findall(rf"\b{name}\b", text)) < 2]


def test_modules_get_every_parameter():
    """Nothing less, nothing else; and every module is used."""
    called = modules()

    assert {"main.bicep", *called.values()} == set(TEMPLATES)
    for symbol, path in called.items():
        assert re.findall(r"^param (\w+)", bicep()[path], re.MULTILINE) == list(arguments(symbol))


def test_what_a_module_gives_is_taken_of_one_that_has_it():
    """An output that does not exist fails the deployment; of modules that may be left out, the network gives one."""
    used = set(re.findall(r"\b(\w+)\.outputs\.(\w+)", main()))
    paths = modules()

    assert used
    assert [] == [use for use in used if f"\noutput {use[1]} " not in bicep()[paths[use[0]]]]
    conditional = set(re.findall(r"^module (\w+) '[^']+' = if ", main(), re.MULTILINE))
    assert {"network"} == conditional & {symbol for symbol, _ in used}
    assert "subnetId: privateNetwork ? network.outputs.appSubnetId : ''" in main()


def test_table_of_parameters_is_that_of_the_template():
    """Made by `make options`; a parameter that is not in it is not known to exist."""
    assert page() == PAGE.read_text(encoding="utf-8")
    assert len(re.findall(r"^param ", main(), re.MULTILINE)) == PAGE.read_text(encoding="utf-8").count("\n| ") - 1


def test_sample_of_parameters_gives_what_the_template_takes():
    """Also what is commented out there."""
    sample = (INFRA / "main.bicepparam").read_text(encoding="utf-8")
    given = re.findall(r"^(?:// )?param (\w+) = ", sample, re.MULTILINE)

    assert "\nusing 'main.bicep'\n" in sample
    assert {"sqlAdminName", "sqlAdminObjectId", "alertEmail"} <= set(given)
    assert set(given) <= set(re.findall(r"^param (\w+)", main(), re.MULTILINE))
    assert "Secret" not in sample.replace("secretSettings", "")


@pytest.mark.parametrize("template", TEMPLATES)
def test_template_can_be_parsed(template):
    """By a grammar of Bicep, where one is installed: tree-sitter and tree-sitter-bicep."""
    library = pytest.importorskip("tree_sitter", reason="no parser here: tree-sitter is not installed")
    grammar = pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep here: tree-sitter-bicep is missing")
    parser = library.Parser(library.Language(grammar.language()))

    assert not parser.parse(bicep()[template].encode()).root_node.has_error


@pytest.mark.parametrize("template", TEMPLATES)
def test_scanners_can_read_the_template(template):
    """Their parser, pycep, knows no lambda; checkov passes over a file that it cannot read without a word."""
    parser = pytest.importorskip("pycep", reason="no parser of scanners here: pycep-parser is not installed")
    found = parser.BicepParser().parse(text=bicep()[template])

    named = re.findall(r"^resource (\w+) ", bicep()[template], re.MULTILINE)
    assert named
    assert {*named} == {*found["resources"]}


def test_every_suppressed_rule_has_a_reason_in_its_place():
    """By checkov's comment, in the resource that it is about; or in its configuration, where comments do not count."""
    inside = re.findall(r"^  // checkov:skip=(CKV_AZURE_\d+): (\S+ .+)$", everything(), re.MULTILINE)
    beside = re.findall(r"^  - (CKV_AZURE_\d+) # (\S+ .+)$", (INFRA / "checkov.yaml").read_text(), re.MULTILINE)

    assert len(inside) == everything().count("checkov:skip")
    assert len(beside) == (INFRA / "checkov.yaml").read_text().count("  - ")
    assert set() == {rule for rule, _ in inside} & {rule for rule, _ in beside}


def decorated(text, at):
    """Whether the decorators right above line `at` hold a description."""
    above = at - 1
    while text[above].startswith("@"):
        if text[above].startswith("@description("):
            return True
        above -= 1
    return False
