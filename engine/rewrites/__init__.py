"""Other forms of operators that a target refuses: found, checked against its rules, and timed."""
