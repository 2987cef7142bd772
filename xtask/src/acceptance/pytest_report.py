"""A pytest plugin that writes one JSON line per event as it happens.

A run that hangs or is killed has told by then which test it was in, and a test that was collected
but never ran is missed by whoever counts.
"""

import json
import os

REASON_MAX = 6000

_report = open(os.environ["MAINSTAY_REPORT"], "a", buffering=1)


def _write(**event):
    print(json.dumps(event), file=_report)


def pytest_collection_finish(session):
    _write(kind="collected", tests=[item.nodeid for item in session.items])


def pytest_runtest_logstart(nodeid, location):
    _write(kind="started", test=nodeid)


def pytest_runtest_logreport(report):
    _write(
        kind="ran",
        test=report.nodeid,
        phase=report.when,
        outcome=report.outcome,
        seconds=report.duration,
        reason=report.longreprtext[-REASON_MAX:],
    )


def pytest_runtest_logfinish(nodeid, location):
    _write(kind="ended", test=nodeid)
