"""A PostgreSQL cluster that Patroni keeps, while its primaries and its ensemble's members die.

A writer inserts numbers all the time and notes what was acknowledged. Arguments: the folder, the
folder of PostgreSQL's programs, and for how many minutes. Prints one line per claim, `passed NAME`
or `failed NAME: why`, and one with the figures.
"""

import itertools
import sys
import threading
import time
from pathlib import Path

import psycopg2
from nodes import MEMBERS, Member, Node, wait_for

NODES = 3
# Patroni lets go of a dead primary after its ttl of 20 s; the rest is for a busy machine.
FAILOVER_SECONDS = 90
HEALTHY_SECONDS = 180
QUIET_SECONDS = 5
# A commit that was answered with this was not waited for: it counts as not acknowledged.
NOT_WAITED_FOR = "canceling wait for synchronous replication"


class Writer(threading.Thread):
    """Inserts 1, 2, 3, … wherever the primary is."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes = nodes
        self.acknowledged = []
        self.gap_max = 0.0
        self.unknown = 0
        self.ends = threading.Event()
        self.last = time.monotonic()

    def run(self):
        numbers = itertools.count(1)
        for node in itertools.cycle(self.nodes):
            if self.ends.is_set():
                return
            try:
                self.write_to(node, numbers)
            except psycopg2.Error:
                self.unknown += 1
                time.sleep(0.1)

    def write_to(self, node, numbers):
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=node.port,
            user="postgres",
            connect_timeout=2,
            target_session_attrs="read-write",
            # A primary that waits for a standby that is gone is left for the next.
            options="-c statement_timeout=5000",
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                while not self.ends.is_set():
                    number = next(numbers)
                    cursor.execute("INSERT INTO rows VALUES (%s)", (number,))
                    if any(NOT_WAITED_FOR in notice for notice in connection.notices):
                        return
                    self.acknowledge(number)
                    time.sleep(0.02)
        finally:
            connection.close()

    def acknowledge(self, number):
        now = time.monotonic()
        self.gap_max = max(self.gap_max, now - self.last)
        self.last = now
        self.acknowledged.append(number)


class Cluster:
    """All parts, and what is done to them."""

    def __init__(self, folder, binaries):
        self.members = [Member(folder, number) for number in range(1, MEMBERS + 1)]
        self.nodes = [Node(folder, number, binaries) for number in range(1, NODES + 1)]
        self.failovers = 0
        self.member_kills = 0
        self.gaps = []

    def start(self):
        for member in self.members:
            member.start()
        wait_for("the ensemble", 60, lambda: all(member.mode() for member in self.members))
        for node in self.nodes:
            node.start()
        self.whole()

    def whole(self):
        """Waits until there is one primary, a synchronous standby and another one."""
        return wait_for("a whole cluster", HEALTHY_SECONDS, self.primary_of_whole)

    def primary_of_whole(self):
        states = [(node, node.state()) for node in self.nodes]
        running = [(node, state) for node, state in states if state.get("state") == "running"]
        primaries = [(node, state) for node, state in running if state["role"] == "primary"]
        if len(running) != NODES or len(primaries) != 1:
            return None
        primary, state = primaries[0]
        streams = state.get("replication", [])
        streaming = [one for one in streams if one["state"] == "streaming"]
        same = len({state["timeline"] for _, state in running}) == 1
        # PostgreSQL may wait for a standby already which Patroni has not written down yet: until
        # then nobody could follow a primary that dies.
        whole = len(streaming) == NODES - 1 and same and primary.synchronous()
        return primary if whole else None

    def create_table(self):
        primary = self.whole()
        with psycopg2.connect(host="127.0.0.1", port=primary.port, user="postgres") as connection:
            connection.cursor().execute("CREATE TABLE rows (number bigint PRIMARY KEY)")

    def kill_primary(self, writer):
        primary = self.whole()
        say(f"kill the primary, {primary.name}")
        primary.kill()
        before = len(writer.acknowledged)
        since = time.monotonic()
        wait_for(
            "the writer after a primary's death",
            FAILOVER_SECONDS,
            lambda: len(writer.acknowledged) > before,
        )
        self.gaps.append(time.monotonic() - since)
        others = [node for node in self.nodes if node is not primary]
        wait_for(
            "another primary",
            FAILOVER_SECONDS,
            lambda: any(node.state().get("role") == "primary" for node in others),
        )
        self.failovers += 1
        primary.start()

    def kill_member(self, writer, member):
        say(f"kill member {member.number}, {member.mode()}")
        member.kill()
        self.member_kills += 1
        time.sleep(QUIET_SECONDS)
        before = len(writer.acknowledged)
        wait_for(
            "the writer after a member's death",
            FAILOVER_SECONDS,
            lambda: len(writer.acknowledged) > before,
        )
        member.start()
        wait_for("the member to serve again", 60, member.mode)

    def leader_of_ensemble(self):
        leaders = [member for member in self.members if member.mode() in ("leader", "standalone")]
        return leaders[0] if leaders else self.members[0]

    def rows(self):
        primary = self.whole()
        with psycopg2.connect(host="127.0.0.1", port=primary.port, user="postgres") as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT number FROM rows")
            return {number for (number,) in cursor.fetchall()}


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def claim(name, work):
    """Runs the work and prints whether it held."""
    try:
        result = work()
    except Exception as error:
        print(f"failed {name}: {type(error).__name__}: {error}", flush=True)
        return None
    print(f"passed {name}", flush=True)
    return result


def torment(cluster, writer, seconds):
    """Kills in turn a primary, a member, and a primary together with the leading member."""
    end = time.monotonic() + seconds
    for turn in itertools.count():
        if time.monotonic() >= end:
            return
        if turn % 3 == 1:
            cluster.kill_member(writer, cluster.leader_of_ensemble())
        elif turn % 3 == 2:
            cluster.kill_member(writer, cluster.members[turn % MEMBERS])
        else:
            cluster.kill_primary(writer)
        cluster.whole()
        time.sleep(QUIET_SECONDS)


def lost(cluster, writer):
    """No number that was acknowledged may be missing."""
    writer.ends.set()
    writer.join(30)
    acknowledged = set(writer.acknowledged)
    missing = sorted(acknowledged - cluster.rows())
    if missing or not acknowledged:
        raise AssertionError(f"{len(missing)} of {len(acknowledged)} rows: {missing[:20]}")


def main():
    folder, binaries, minutes = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    folder.mkdir()
    cluster = Cluster(folder, binaries)
    claim("a cluster comes up", cluster.start)
    claim("a table is made", cluster.create_table)
    writer = Writer(cluster.nodes)
    writer.start()
    claim(
        "writes go on whatever is killed",
        lambda: torment(cluster, writer, minutes * 60),
    )
    claim("the cluster is whole at the end", cluster.whole)
    claim("no acknowledged row is lost", lambda: lost(cluster, writer))
    gaps = sorted(cluster.gaps)
    say(
        f"figures: {len(writer.acknowledged)} rows acknowledged, {cluster.failovers} failovers, "
        f"{cluster.member_kills} members killed, longest gap {writer.gap_max:.1f} s, "
        f"median gap of a failover {gaps[len(gaps) // 2] if gaps else 0:.1f} s"
    )


if __name__ == "__main__":
    main()
