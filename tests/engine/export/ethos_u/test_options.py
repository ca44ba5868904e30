from __future__ import annotations

import pytest

from engine.errors import ExportError
from engine.export.ethos_u.compile import accelerator_of, vela_arguments
from engine.export.options import EthosUOptions, ExportOptions, option_fields, parse_options
from tests.engine.export.demos import opened


def test_fields_say_what_forms_and_command_lines_need() -> None:
    fields = {item.name: item for item in option_fields(EthosUOptions)}
    assert list(fields)[:3] == ["accelerator", "system-config", "memory-mode"]
    assert all(item.title and item.help for item in fields.values())
    assert fields["accelerator"].default == "auto" == fields["accelerator"].choices[0]
    assert fields["memory-mode"].choices == () and "Shared_Sram" in fields["memory-mode"].suggestions
    assert option_fields(ExportOptions) == ()


def test_texts_become_a_record() -> None:
    options = parse_options(EthosUOptions, "ethos-u", {"accelerator": "ethos-u65-512", "memory-mode": "Mine"})
    assert options == EthosUOptions(accelerator="ethos-u65-512", memory_mode="Mine")


@pytest.mark.parametrize(
    ("record", "texts", "message"),
    [
        (EthosUOptions, {"chip": "x"}, "the f export has no option 'chip'; choose from accelerator, system-config"),
        (EthosUOptions, {"refused": "x"}, "option 'refused' of the f export cannot be 'x'; choose one of stop, host"),
        (ExportOptions, {"chip": "x"}, "the f export has no option 'chip'; leave it out"),
    ],
)
def test_what_cannot_be_chosen_is_refused(record: type[ExportOptions], texts: dict[str, str], message: str) -> None:
    with pytest.raises(ExportError, match=f"^{message}"):
        parse_options(record, "f", texts)


def test_only_what_is_set_is_handed_to_vela() -> None:
    assert vela_arguments(EthosUOptions(), "ethos-u55-32") == [
        *("--accelerator-config", "ethos-u55-32", "--optimise", "Performance", "--output-format", "tflite"),
        *("--enable-debug-db", "--verbose-performance"),
    ]
    some = vela_arguments(EthosUOptions(system_config="S", memory_mode="M", config="/x/v.ini"), "ethos-u55-32")
    assert some[6:12] == ["--system-config", "S", "--memory-mode", "M", "--config", "/x/v.ini"]


def test_the_accelerator_is_the_one_asked_for_else_the_targets_else_a_usual_one() -> None:
    session = opened("mobile_fmnist")
    assert accelerator_of(session, EthosUOptions(accelerator="ethos-u55-64")) == "ethos-u55-64"
    assert accelerator_of(session, EthosUOptions()) == "ethos-u85-256"
    session.set_target("ethos-u55-256")
    assert accelerator_of(session, EthosUOptions()) == "ethos-u55-256"
