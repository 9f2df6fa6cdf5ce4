"""What the server reports about itself: its log."""
