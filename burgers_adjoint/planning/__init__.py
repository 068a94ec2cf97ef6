"""What schedules and stores take: measured, predicted, compared."""
