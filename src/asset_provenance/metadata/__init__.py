"""Records and facts become AIND metadata here; the only folder that imports the schema."""
