"""The HTTP face: metrics, health, landing page.

Everything is answered from the latest snapshot; a read never calls a cloud.
"""
