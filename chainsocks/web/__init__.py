"""The web server: metrics, health, the same JSON as the control socket, and the page with the live view.

It runs in a process of its own, and asks the server by the control protocol, over a socket that it inherits.
"""
