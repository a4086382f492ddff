"""What survives a restart: the journal of moves, steps and decisions, freezes, audit, and the leader's lease.

The only room that knows SQLAlchemy: SQLite where one daemon acts, PostgreSQL where several share. It keeps
and guards what it is given; what a record means is for rules and moves to say.
"""
