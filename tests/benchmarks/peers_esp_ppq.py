# pyright: basic, reportMissingImports=false
"""esp-ppq's graphwise error analysis in a process of its own: run by :mod:`tests.benchmarks.analysis`.

    python peers_esp_ppq.py MODEL.onnx SAMPLES.npy COUNT FOLDER ...

Quantises the model with esp-ppq's defaults for ESP-DL (int8) on the first 8 samples [N, 1, C, H, W], then times its
``graphwise_error_analyse`` over COUNT of them, on one thread. The folders are appended to the import path. Prints one
JSON line: CPU seconds of three runs, and how many operators it reports on.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time


def main() -> None:
    """Measure and print."""
    model, data, count, *folders = sys.argv[1:]
    sys.path.extend(folders)
    import numpy as np
    import torch

    torch.set_num_threads(1)
    with contextlib.redirect_stdout(sys.stderr):
        from esp_ppq.api import espdl_quantize_onnx
        from esp_ppq.quantization.analyse import graphwise_error_analyse

        samples = [torch.from_numpy(array) for array in np.load(data)[: int(count)]]
        graph = espdl_quantize_onnx(
            onnx_import_file=model,
            espdl_export_file="unused.espdl",
            calib_dataloader=samples[:8],
            calib_steps=8,
            input_shape=list(samples[0].shape),
            target="esp32p4",
            num_of_bits=8,
            device="cpu",
            error_report=False,
            skip_export=True,
            verbose=0,
        )
        times: list[float] = []
        found: dict[str, float] = {}
        for _ in range(3):
            start = time.process_time()
            found = graphwise_error_analyse(
                graph=graph, running_device="cpu", dataloader=samples, steps=int(count), verbose=False
            )
            times.append(time.process_time() - start)
    print(json.dumps({"cpu_s": times, "operators": len(found)}))


if __name__ == "__main__":
    main()
