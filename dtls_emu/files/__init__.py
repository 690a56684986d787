"""Files that somebody names, read and written so that nothing half done is left and nothing is waited for."""
