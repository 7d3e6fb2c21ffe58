"""The only place where a vendor SDK, a raw connection or an external program appears.

Text of their exceptions stops here: every client raises classes of ``core.errors``.
"""
