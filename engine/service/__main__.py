"""``python -m engine.service``: the engine process of the window."""

from engine.service import handlers_advice as handlers_advice
from engine.service import handlers_analysis as handlers_analysis
from engine.service import handlers_distribution as handlers_distribution
from engine.service import handlers_quantise as handlers_quantise
from engine.service import handlers_training as handlers_training
from engine.service import handlers_tune as handlers_tune
from engine.service.worker import serve

if __name__ == "__main__":
    serve()
