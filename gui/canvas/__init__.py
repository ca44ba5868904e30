"""The graph canvas: Qt-free scene, layout and hit-testing, and the widget that paints them in batches."""
