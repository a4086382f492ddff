"""The embedded cloud: HTTP servers that answer like Keystone, Nova, Placement and NetBox.

A stranger to spotd: it imports from no other room, so that it can only be met over HTTP.
"""
