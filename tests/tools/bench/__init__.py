"""What a relay can carry: the load, the far end, the accounts and what is shown of them."""
