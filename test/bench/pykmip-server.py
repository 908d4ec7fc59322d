# PyKMIP's server as Debian packages it, made to answer more than fifteen requests.
#
# SQLAlchemy 2 keeps at most fifteen SQLite connections for a file, and PyKMIP gives none back: the
# sixteenth request waits thirty seconds and fails. A connection for each request, as SQLAlchemy had
# it when PyKMIP was written, mends that. The process ends when its standard input is closed.
import os
import signal
import sys
import threading

import sqlalchemy
from sqlalchemy.pool import NullPool

make_engine = sqlalchemy.create_engine
sqlalchemy.create_engine = lambda *names, **options: make_engine(
    *names, poolclass=NullPool, **options
)

from kmip.services.server import KmipServer  # noqa: E402


def end_with_parent():
    # Not by sys.stdin, whose lock PyKMIP's forked helpers would wait for.
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


threading.Thread(target=end_with_parent, daemon=True).start()
configuration, log = sys.argv[1:]
with KmipServer(config_path=configuration, log_path=log) as server:
    server.serve()
