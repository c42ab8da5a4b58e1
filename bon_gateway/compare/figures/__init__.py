"""What follows from the answers: quality, cost, break-even, and the words for it. Pure."""
