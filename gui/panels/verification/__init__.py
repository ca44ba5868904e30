"""What other programs compute, stage by stage."""
