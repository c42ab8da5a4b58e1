"""From conversations to rewards: rendering, the queue, the batches."""
