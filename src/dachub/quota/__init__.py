"""What groups may use: allocations, limits, requests for more; may a server start, go on?"""
