"""``python -m engine.service``: the engine process of the window."""

from engine.service.worker import serve

if __name__ == "__main__":
    serve()
