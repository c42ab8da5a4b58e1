"""What a chat model that judges is asked, and what its verdicts come to."""
