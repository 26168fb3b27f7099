"""What container clients are told of the proxy, and what they make of the files that they find.

A room for each client knows its files in both directions: ``setup`` writes them, ``chains`` reads them. Only ``disk``
touches any.
"""
