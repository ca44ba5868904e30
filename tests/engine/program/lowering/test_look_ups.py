"""Embeddings and other look-ups by computed indices."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.errors import DataError
from engine.graph.float_run import FloatModel
from engine.graph.graph import Graph
from engine.ops.elementwise import Gelu
from engine.ops.layout import LookUp
from engine.program.executor import run_program
from engine.program.types import DataMovement, FloatKernel, Program, Requantise
from tests.engine.plan.graphs import Builder

from .cases import everywhere, lowered

DTYPES = ("int8", "int16")
TABLE = np.random.default_rng(0).normal(0, 1, (11, 4)).astype(np.float32)
INDICES = np.array([[3, -1, 0], [10, -11, 3]], np.int64)


def embedding() -> Graph:
    builder = Builder()
    ids = builder.input("ids", INDICES.shape, "int64")
    builder.node("e", LookUp(0), builder.constant("table", TABLE), ids, shape=(*INDICES.shape, 4))
    builder.node("y", Gelu(), "e", shape=(*INDICES.shape, 4))
    return builder.build("y")


def of_data() -> Graph:
    builder = Builder()
    ids = builder.input("ids", INDICES.shape, "int64")
    builder.node("g", Gelu(), builder.input("x", TABLE.shape), shape=TABLE.shape)
    builder.node("y", LookUp(0), "g", ids, shape=(*INDICES.shape, 4))
    return builder.build("y")


def steps_off(program: Program, graph: Graph, feeds: dict[str, np.ndarray]) -> float:
    found = run_program(program, {name: torch.from_numpy(array) for name, array in feeds.items()})["y"].numpy()
    wanted = FloatModel(graph).run(feeds)["y"].numpy()
    return float(np.abs(found - wanted).max()) / program.types["y"].scale


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_table_is_stored_in_the_scale_of_its_rows(dtype: str) -> None:
    graph, feeds = embedding(), {"ids": INDICES}
    program = lowered(graph, feeds, everywhere(graph, dtype))
    moves = [item for item in program.instructions if isinstance(item.op, DataMovement)]
    assert [item.op.op for item in moves] == [LookUp(0)]  # type: ignore[attr-defined]
    assert program.constants[moves[0].inputs[0]].array.dtype == dtype
    assert steps_off(program, graph, feeds) <= (1.5 if dtype == "int8" else 4.0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_data_keep_their_integers(dtype: str) -> None:
    graph, feeds = of_data(), {"ids": INDICES, "x": TABLE}
    program = lowered(graph, feeds, everywhere(graph, dtype))
    kinds = [type(item.op) for item in program.instructions if not isinstance(item.op, FloatKernel)]
    assert DataMovement in kinds
    assert Requantise in kinds or program.types["g"] == program.types["y"]
    assert steps_off(program, graph, feeds) <= (1.6 if dtype == "int8" else 8.0)


def test_an_index_beyond_the_table_is_told() -> None:
    graph = embedding()
    program = lowered(graph, {"ids": INDICES})
    with pytest.raises(DataError, match="node 'e': an index is out of range for 11 rows"):
        run_program(program, {"ids": torch.tensor([[0, 1, 11], [0, 0, 0]])})
