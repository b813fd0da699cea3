"""The composition root: builds every object of a service and speaks HTTP and the command line for it.

Enters: requests, files, flags. Leaves: answers as documented by the OpenAPI document that the route table makes.
The only package that knows all others; nobody imports it. It decides nothing about events or features: it
parses, asks, and writes down.
"""
