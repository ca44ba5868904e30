"""What the canvas paints, a layer a module, from the back to the front: frames, edges, boxes, marks."""
