"""The status page: what ``entrepot status`` tells and what is held, for a browser.

Made here and whole, so that it works without JavaScript; nothing of it comes from another host.
"""
