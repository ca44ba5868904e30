"""What export formats let a person choose: a record a format, whose fields say what they mean.

Import-light on purpose (no numpy, no torch): the window builds its forms from these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from engine.errors import ExportError

AUTO = "auto"


class ExportOptions(msgspec.Struct, frozen=True, rename="kebab"):
    """Base, and the record of a format without options. Fields are texts with a default.

    A ``Literal`` may have its values only; ``examples`` of a ``str`` are offered but not demanded.
    """


class EthosUOptions(ExportOptions, frozen=True):
    """How Vela compiles for an Ethos-U. What is empty is left to Vela."""

    accelerator: Annotated[
        Literal[
            "auto",
            "ethos-u55-32",
            "ethos-u55-64",
            "ethos-u55-128",
            "ethos-u55-256",
            "ethos-u65-256",
            "ethos-u65-512",
            "ethos-u85-128",
            "ethos-u85-256",
            "ethos-u85-512",
            "ethos-u85-1024",
            "ethos-u85-2048",
        ],
        msgspec.Meta(
            title="Accelerator",
            description="The NPU and its multiply-accumulates a cycle; auto is the target's, or ethos-u85-256",
        ),
    ] = AUTO
    system_config: Annotated[
        str,
        msgspec.Meta(
            title="System",
            description="Clock and memories, a System_Config of the configuration file",
            examples=[
                "Ethos_U55_Deep_Embedded",
                "Ethos_U55_High_End_Embedded",
                "Ethos_U65_Embedded",
                "Ethos_U65_Mid_End",
                "Ethos_U65_High_End",
                "Ethos_U65_Client_Server",
                "Ethos_U85_SYS_Flash_Low",
                "Ethos_U85_SYS_Flash_High",
                "Ethos_U85_SYS_DRAM_Low",
                "Ethos_U85_SYS_DRAM_Mid",
                "Ethos_U85_SYS_DRAM_High",
            ],
        ),
    ] = ""
    memory_mode: Annotated[
        str,
        msgspec.Meta(
            title="Memory mode",
            description="What lies where, a Memory_Mode of the configuration file",
            examples=[
                "Sram_Only",
                "Shared_Sram",
                "Dedicated_Sram",
                "Dedicated_Sram_256KB",
                "Dedicated_Sram_384KB",
                "Dedicated_Sram_512KB",
            ],
        ),
    ] = ""
    config: Annotated[
        str,
        msgspec.Meta(title="Configuration file", description="An .ini file of Vela with systems of your own"),
    ] = ""
    optimise: Annotated[
        Literal["Performance", "Size"],
        msgspec.Meta(title="Optimise for", description="Speed, or little SRAM"),
    ] = "Performance"
    output: Annotated[
        Literal["tflite", "raw"],
        msgspec.Meta(title="Output", description="The command stream in a TFLite file, or as arrays (.npz)"),
    ] = "tflite"
    refused: Annotated[
        Literal["stop", "host"],
        msgspec.Meta(
            title="What Vela refuses",
            description="Stop and say which nodes, or leave them to the host as TOSA files of their own",
        ),
    ] = "stop"


@dataclass(frozen=True)
class OptionField:
    """One option as command lines and forms show it. ``choices`` are all there are, ``suggestions`` some."""

    name: str
    title: str
    help: str
    default: str
    choices: tuple[str, ...]
    suggestions: tuple[str, ...]


def option_fields(record: type[ExportOptions]) -> tuple[OptionField, ...]:
    """The options of a format, in order."""
    hints = get_type_hints(record, include_extras=True)
    return tuple(_field(item, hints[item.name]) for item in msgspec.structs.fields(record))


def _field(item: msgspec.structs.FieldInfo, hint: Any) -> OptionField:
    kind, meta = get_args(hint)
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    suggestions = tuple(meta.examples or ())
    return OptionField(item.encode_name, meta.title, meta.description, item.default, choices, suggestions)


Options = TypeVar("Options", bound=ExportOptions)


def parse_options(record: type[Options], format: str, texts: Mapping[str, str]) -> Options:
    """The options of a format from texts by name.

    Raises:
        ExportError: The format has no such option, or the option no such value.
    """
    fields = {item.name: item for item in option_fields(record)}
    for name, text in texts.items():
        if name not in fields:
            hint = f"choose from {', '.join(fields)}" if fields else "leave it out"
            raise ExportError(f"the {format} export has no option '{name}'", hint=hint)
        choices = fields[name].choices
        if choices and text not in choices:
            hint = f"choose one of {', '.join(choices)}"
            raise ExportError(f"option '{name}' of the {format} export cannot be '{text}'", hint=hint)
    return msgspec.convert(dict(texts), record)
