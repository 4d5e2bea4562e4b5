"""Pictures of games and schedules, and films."""
