"""What wall-clock subtraction did to existing labels."""
