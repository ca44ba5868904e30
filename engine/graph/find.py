"""Nodes by a pattern that a user types."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from engine.errors import PlanError
from engine.graph.graph import Graph


def find_nodes(graph: Graph, pattern: str) -> tuple[str, ...]:
    """Ids of the nodes that a shell pattern (``blocks.3.*``) or, failing that, a regular expression matches.

    A shell pattern must match an id, or an id without its leading slash, as a whole; a regular expression any part.

    Raises:
        PlanError: Nothing matches, or the pattern is neither.
    """
    ids = [node.id for node in graph.nodes]
    found = [i for i in ids if fnmatchcase(i, pattern) or fnmatchcase(i.lstrip("/").replace("/", "."), pattern)]
    if not found:
        try:
            expression = re.compile(pattern)
        except re.error as error:
            raise PlanError(f"'{pattern}' is not a pattern: {error}") from error
        found = [i for i in ids if expression.search(i)]
    if not found:
        raise PlanError(f"no node matches '{pattern}'", hint="list the nodes with `quantscope check`")
    return tuple(found)
