"""House rules: references, sealed values, errors, policy, plans, journal, receipts, guard.

Nothing here imports ``mcp`` or a vendor SDK; everything else points here.
"""
