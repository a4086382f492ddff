"""The process: wiring in one straight line, the schedule, readiness, reload and watchdog.

No decisions about hosts live here.
"""
