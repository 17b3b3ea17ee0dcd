"""Plan, stage, publish, tidy, and what is built of them."""
