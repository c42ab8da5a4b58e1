"""What the gateway, the reward server and the trainers share; it imports none of them."""
