"""From formulas of one point to compiled loops over rows; how tiles lie in memory."""
