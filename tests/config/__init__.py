"""What users type: files, URLs, durations, passwords."""
