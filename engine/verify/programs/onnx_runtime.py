"""``python onnx_runtime.py FOLDER``: compute the job in FOLDER with ONNX Runtime.

``job.json`` holds: model (a path), external (folder of its external data, or ""), optimised, threads, samples, inputs
and outputs (names). Sample k is ``k.npz`` with the inputs in order; its outputs become ``k.0.npy``, ``k.1.npy``, …
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"


def main(folder: Path) -> None:
    """Compute every sample of the job."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if job["optimised"] else level.ORT_DISABLE_ALL
    options.intra_op_num_threads = job["threads"]
    options.log_severity_level = 3
    model = job["model"]
    if job["external"]:  # a relative path in a model that is given as bytes
        options.add_session_config_entry(EXTERNAL_FOLDER, job["external"])
        model = Path(model).read_bytes()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for sample in range(job["samples"]):
        with np.load(folder / f"{sample}.npz") as arrays:
            fed = {name: arrays[f"arr_{index}"] for index, name in enumerate(job["inputs"])}
        for index, array in enumerate(session.run(job["outputs"], fed)):
            np.save(folder / f"{sample}.{index}.npy", np.asarray(array), allow_pickle=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
