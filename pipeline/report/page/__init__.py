"""The page that shows what runs say together."""
