"""Search as you type over ids, operators and shapes."""
