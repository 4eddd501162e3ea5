"""What puts engine, runs and page together and serves them: one model after another."""
