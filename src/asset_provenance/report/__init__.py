"""What people look at: terminal and page."""
