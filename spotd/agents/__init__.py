"""The four agents, their cache and the collection that runs them side by side.

An agent returns a whole reading or fails with a named error. Agents decide nothing and move nothing.
"""
