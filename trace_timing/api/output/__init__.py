"""Where results go and come from: folders, table files, uploads."""
