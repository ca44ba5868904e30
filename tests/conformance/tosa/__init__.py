"""The TOSA conformance suite with the executor of integer programs as the system under test.

A case's graph becomes a program of the engine's own instructions (:mod:`.forms`), the executor computes it, and the
suite's runner and checker judge the result (:mod:`.suite`). ``python -m tests.conformance.tosa`` prints the table.
"""
