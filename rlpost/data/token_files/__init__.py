"""Token files: every row of a data set rendered and tokenised once, in parallel, and found again by the next run."""
