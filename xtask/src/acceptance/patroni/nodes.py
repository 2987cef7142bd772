"""The parts of the cluster: servers that speak ZooKeeper's protocol, and PostgreSQL by Patroni."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request

SERVER = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
MEMBERS = 3

ZOO_CFG = """\
tickTime=1000
initLimit=10
syncLimit=5
dataDir={home}
clientPort={client_port}
admin.enableServer=false
4lw.commands.whitelist=*
"""

# A short loop and the shortest lease that Patroni takes, so that there is time for many failovers.
PATRONI = {
    "scope": "acceptance",
    "log": {"level": "INFO"},
    "bootstrap": {
        "dcs": {
            "ttl": 20,
            "loop_wait": 2,
            "retry_timeout": 3,
            "synchronous_mode": True,
            "maximum_lag_on_failover": 1048576,
            "postgresql": {
                "use_pg_rewind": True,
                "parameters": {"wal_log_hints": "on", "max_connections": 50},
            },
        },
        "initdb": [{"auth": "trust"}, "data-checksums"],
    },
}


def wait_for(what, seconds, condition):
    """Looks until the condition gives something, and gives it back."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(0.1)


def kill(pid):
    """As a crash ends it."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Member:
    """One server of the ensemble, started as ZooKeeper's scripts do it."""

    def __init__(self, folder, number):
        self.home = folder / f"member-{number}"
        self.number = number
        self.client_port = 2180 + number
        self.process = None
        self.home.mkdir()
        (self.home / "myid").write_text(str(number))
        servers = "".join(
            f"server.{n}=127.0.0.1:{2880 + n}:{3880 + n}\n" for n in range(1, MEMBERS + 1)
        )
        text = ZOO_CFG.format(home=self.home, client_port=self.client_port)
        (self.home / "zoo.cfg").write_text(text + servers)

    def start(self):
        with open(self.home / "log", "a") as log:
            command = ["java", SERVER, str(self.home / "zoo.cfg")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def mode(self):
        """leader, follower, or nothing while it does not serve."""
        try:
            with socket.create_connection(("127.0.0.1", self.client_port), timeout=2) as stream:
                stream.sendall(b"srvr")
                answer = b"".join(iter(lambda: stream.recv(4096), b"")).decode()
        except OSError:
            return ""
        modes = [line[6:] for line in answer.splitlines() if line.startswith("Mode: ")]
        return modes[0] if modes else ""

    def kill(self):
        self.process.kill()
        self.process.wait()


class Node:
    """One PostgreSQL server under Patroni."""

    def __init__(self, folder, number, binaries):
        self.name = f"node-{number}"
        self.home = folder / self.name
        self.port = 5430 + number
        self.rest_port = 8000 + number
        self.process = None
        self.home.mkdir()
        settings = json.loads(json.dumps(PATRONI))
        settings["name"] = self.name
        settings["restapi"] = {
            "listen": f"127.0.0.1:{self.rest_port}",
            "connect_address": f"127.0.0.1:{self.rest_port}",
        }
        hosts = [f"127.0.0.1:{2180 + n}" for n in range(1, MEMBERS + 1)]
        settings["zookeeper"] = {"hosts": hosts}
        settings["postgresql"] = {
            "listen": f"127.0.0.1:{self.port}",
            "connect_address": f"127.0.0.1:{self.port}",
            "data_dir": str(self.home / "data"),
            "bin_dir": binaries,
            "pgpass": str(self.home / "pgpass"),
            "authentication": {
                "superuser": {"username": "postgres", "password": "postgres"},
                "replication": {"username": "replicator", "password": "replicator"},
            },
            "parameters": {"unix_socket_directories": str(self.home), "shared_buffers": "16MB"},
            "pg_hba": [
                "local all all trust",
                "host all all 127.0.0.1/32 trust",
                "host replication all 127.0.0.1/32 trust",
            ],
        }
        # JSON is YAML.
        (self.home / "patroni.yml").write_text(json.dumps(settings, indent=2))

    def start(self):
        with open(self.home / "log", "a") as log:
            command = ["patroni", str(self.home / "patroni.yml")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def state(self):
        """How it is, as its REST interface says, or nothing."""
        return self.ask("patroni")

    def synchronous(self):
        """Who may follow the primary without a loss, as the ensemble knows it."""
        members = self.ask("cluster").get("members", [])
        return [one["name"] for one in members if one["role"] in ("sync_standby", "quorum_standby")]

    def ask(self, what):
        url = f"http://127.0.0.1:{self.rest_port}/{what}"
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return {}

    def kill(self):
        """Patroni and the postmaster at once; the postmaster's children see that it is gone."""
        postmaster = (self.home / "data" / "postmaster.pid").read_text().split()[0]
        self.process.kill()
        kill(int(postmaster))
        self.process.wait()
