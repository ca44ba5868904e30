"""The ``tosa`` export: integer segments as TOSA 1.0 flatbuffers (profile pro-int, extension ext-int16)."""
