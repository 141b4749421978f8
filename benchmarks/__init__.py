"""What the budgets are about, timed: each figure beside its floor, in the same run."""
