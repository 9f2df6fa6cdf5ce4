"""What the server reports about itself: its log, and the events of its sessions."""
