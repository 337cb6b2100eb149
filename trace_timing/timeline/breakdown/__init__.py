"""What a run's time is made of: kinds of work, idle causes, queue, graphs, components."""
