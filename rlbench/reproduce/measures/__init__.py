"""What a reproduction measures, each in a process of its own."""
