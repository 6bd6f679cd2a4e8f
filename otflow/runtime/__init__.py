"""Where records become deeds: the only rooms with tasks, threads and time."""
