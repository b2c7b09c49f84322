"""Models that describe themselves, and the JSON Schemas made from them."""
