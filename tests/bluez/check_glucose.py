"""A glucose meter: stored records over the Record Access Control Point."""
