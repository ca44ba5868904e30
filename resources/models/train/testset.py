"""Write labelled raw pictures as ``.npz``: N balanced calibration ones and the test set, all or a part.

The shipped samples: ``--calibration 256 --evaluation 256 resources/models/fmnist_samples.npz``.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .fmnist import DEFAULT_DATA_DIRECTORY, Pictures, balanced_subset, load

_SEED = 20


def write_samples(path: Path, calibration: Pictures, evaluation: Pictures) -> None:
    """Write ``images`` uint8 [N, 1, 28, 28], ``labels`` int64 [N], ``split`` str [N].

    ``split`` says "calibration" or "evaluation"; calibration comes first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        images=np.concatenate([calibration.images, evaluation.images]),
        labels=np.concatenate([calibration.labels, evaluation.labels]),
        split=np.repeat(["calibration", "evaluation"], [len(calibration), len(evaluation)]),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Command line; ``argv``: the arguments without the program's name, the process's own where None."""
    parser = argparse.ArgumentParser(description="Write labelled Fashion-MNIST pictures as .npz.")
    parser.add_argument("output", type=Path, help="the .npz to write")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA_DIRECTORY, help="folder of the idx files")
    parser.add_argument(
        "--calibration", type=int, default=0, metavar="N", help="training pictures to put in front"
    )
    parser.add_argument(
        "--evaluation", type=int, metavar="N", help="test pictures, balanced; default: all, in order"
    )
    parser.add_argument("--seed", type=int, default=_SEED)
    arguments = parser.parse_args(argv)

    train, test = load(arguments.data, "train"), load(arguments.data, "t10k")
    calibration = train.take(balanced_subset(train.labels, arguments.calibration, arguments.seed))
    if arguments.evaluation is not None:
        test = test.take(balanced_subset(test.labels, arguments.evaluation, arguments.seed))
    write_samples(arguments.output, calibration, test)
    print(f"{arguments.output}: {len(calibration)} calibration, {len(test)} evaluation pictures")


if __name__ == "__main__":
    main()
