"""Training scripts of the demo models: run, for example, ``python -m resources.models.train.swin_fmnist``."""
