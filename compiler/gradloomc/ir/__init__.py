"""The ground floor: types, values, ops, locations, text and verification. Imports nothing of gradloom."""
