"""What people open and share: figures, the HTML page, the terminal, the annotated trace."""
