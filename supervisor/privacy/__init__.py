"""What keeps secrets in: redaction of what leaves the store, encryption of what is in it."""
