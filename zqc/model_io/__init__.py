"""The border: models come in and go out here."""
