"""The only code that calls out: OpenStack (Nova, Placement, Keystone) and NetBox.

JSON in, fleet values out; errors of the libraries are translated once, here. No decisions.
"""
