"""Write results to folders and URLs, and load them again."""
