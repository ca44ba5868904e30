"""What is asked of the compiler, and what its passes did."""
