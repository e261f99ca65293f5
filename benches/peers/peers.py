"""The peers: how each is found, started empty, and stopped."""

import contextlib
import glob
import http.client
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TARGET = os.path.join(HERE, 'target')
PROGRAM = os.path.join(TARGET, 'release', 'peers')
HOST = '127.0.0.1'
# Generous: a data folder is made first, on a disk that may be slow.
STARTS_WITHIN = 60
STOPS_WITHIN = 20


class Failed(Exception):
    """A peer, or the measuring, went wrong; the text is for the reader."""


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def ask(port, method, path, body=None, key=None):
    """A request: the status, the headers and the body."""
    headers = {'content-type': 'application/json'} if body else {}
    if key:
        headers['idempotency-key'] = f'"{key}"'
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


class Program:
    """A program that listens on a port, from its start to its end."""

    def __init__(self, name, logs, command, port, ready=None, stop=signal.SIGTERM, **how):
        self.port, self.log, self.stop_signal = port, os.path.join(logs, f'{name}.log'), stop
        with open(self.log, 'ab') as log:
            # A session of its own: Ctrl-C is for us, and we stop it.
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, **how)
        try:
            self._wait(name, ready or self._listens)
        except BaseException:
            self.stop()
            raise

    def _listens(self):
        socket.create_connection((HOST, self.port), 1).close()
        return True

    def _wait(self, name, ready):
        until = time.monotonic() + STARTS_WITHIN
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise Failed(f'{name} ended with {self.process.returncode}, see {self.log}')
            with contextlib.suppress(OSError, http.client.HTTPException):
                if ready():
                    return
            time.sleep(0.02)
        raise Failed(f'{name} was not ready after {STARTS_WITHIN} s, see {self.log}')

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Gateway:
    """The gateway stub. It also knows where logs go: it is there for as long as any peer."""

    def __init__(self, work, delay_ms=0):
        self.logs = os.path.join(work, 'logs')
        os.makedirs(self.logs, exist_ok=True)
        port = free_port()
        command = [PROGRAM, 'gateway', '--listen', f'{HOST}:{port}', '--delay-ms', str(delay_ms)]
        self.program = Program('gateway', self.logs, command, port)
        self.address = f'{HOST}:{port}'

    def charges(self):
        return json.loads(ask(self.program.port, 'GET', '/charges')[2])['charges']

    def stop(self):
        self.program.stop()


class Peer:
    """One that is measured."""

    durable = True

    def prepare(self, work):
        """Once, before it is started: says why it has to be left out, if it has to."""

    def version(self):
        """What it is made of, if that is not in Cargo.lock."""

    def start(self, folder, gateway):
        """Starts its programs one after the other, each when the one before is ready. The last is the one to call."""
        raise NotImplementedError

    def serve(self, part, gateway, *options):
        """The part of our own program that it is."""
        port = free_port()
        command = [PROGRAM, part, '--listen', f'{HOST}:{port}', '--gateway', gateway.address, *options]
        return Program(part, gateway.logs, command, port)


class Payonce(Peer):
    name = 'payonce'

    def __init__(self):
        self.binary = os.path.abspath(os.environ.get('PAYONCE_BIN') or os.path.join(ROOT, 'target/release/payonce'))

    def prepare(self, work):
        if not os.path.exists(self.binary):
            if os.environ.get('PAYONCE_BIN'):
                raise Failed(f'PAYONCE_BIN is {self.binary}, which is not there')
            build = ['cargo', 'build', '--release', '--locked', '--target-dir', os.path.join(ROOT, 'target')]
            subprocess.run(build, cwd=ROOT, check=True)

    def version(self):
        return subprocess.run([self.binary, '--version'], check=True, capture_output=True, text=True).stdout.strip()

    def start(self, folder, gateway):
        port = free_port()
        command = [self.binary, 'serve', '--listen', f'{HOST}:{port}', '--data', os.path.join(folder, 'data'),
                   '--gateway', f'http://{gateway.address}']
        # As it is out of the box, whatever is configured around here.
        clean = {name: value for name, value in os.environ.items() if not name.startswith(('PAYONCE_', 'OTEL_'))}
        yield Program('payonce', gateway.logs, command, port, ready=lambda: ask(port, 'GET', '/readyz')[0] == 200,
                      env=clean, cwd=folder)


class Proxy(Peer):
    name = 'proxy'
    durable = False

    def start(self, folder, gateway):
        yield self.serve('proxy', gateway)


class Sqlite(Peer):
    name = 'sqlite'

    def start(self, folder, gateway):
        yield self.serve('sqlite', gateway, '--database', os.path.join(folder, 'payments.db'))


class Postgres(Peer):
    name = 'postgres'

    def __init__(self):
        # Where distributions put it, the newest first; most leave that out of PATH.
        places = glob.glob('/usr/lib/postgresql/*/bin') + glob.glob('/usr/pgsql-*/bin')
        places.sort(key=lambda place: [int(number) for number in re.findall(r'\d+', place)], reverse=True)
        found = shutil.which('initdb', path=os.pathsep.join([os.environ.get('PATH', ''), *places]))
        self.bin = os.path.dirname(os.path.realpath(found)) if found else None
        # It refuses to run as root.
        self.user = 'postgres' if os.geteuid() == 0 else None

    def prepare(self, work):
        if not self.bin or not os.path.exists(os.path.join(self.bin, 'postgres')):
            return 'no PostgreSQL server is installed (initdb and postgres)'
        if self.user:
            try:
                pwd.getpwnam(self.user)
                subprocess.run(['test', '-x', work], check=True, **self.identity())
            except (KeyError, OSError, subprocess.CalledProcessError):
                return f'the user {self.user}, whom it would run as, cannot reach {work}: see --work'

    def identity(self):
        return {'user': self.user, 'group': self.user, 'extra_groups': []} if self.user else {}

    def version(self):
        command = [os.path.join(self.bin, 'postgres'), '--version']
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def start(self, folder, gateway):
        data, port = os.path.join(folder, 'postgres'), free_port()
        os.mkdir(data, 0o700)
        if self.user:
            shutil.chown(data, self.user, self.user)
        how = dict(self.identity(), cwd=data)
        # No fsync of what is empty still: everything is flushed before the load begins.
        initdb = [os.path.join(self.bin, 'initdb'), '-D', data, '-U', 'payonce', '-A', 'trust', '--no-sync']
        made = subprocess.run(initdb, capture_output=True, text=True, **how)
        if made.returncode != 0:
            raise Failed(f'initdb: {made.stderr.strip()}')
        # As it is installed, but for where it listens.
        command = [os.path.join(self.bin, 'postgres'), '-D', data, '-p', str(port), '-c', f'listen_addresses={HOST}',
                   '-c', 'unix_socket_directories=']
        # It listens before it lets anybody in.
        asks = [os.path.join(self.bin, 'pg_isready'), '-q', '-h', HOST, '-p', str(port)]
        # SIGINT: its fast shutdown, which does not wait for connections to be closed.
        yield Program('postgres-server', gateway.logs, command, port, stop=signal.SIGINT,
                      ready=lambda: subprocess.call(asks) == 0, **how)
        database = f'host={HOST} port={port} user=payonce dbname=postgres'
        yield self.serve('postgres', gateway, '--database', database)


ALL = [Payonce, Proxy, Sqlite, Postgres]


@contextlib.contextmanager
def running(peer, work, gateway):
    """The peer's programs, empty and ready; the last one is the one to call."""
    folder = os.path.join(work, peer.name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with contextlib.ExitStack() as ending:
        programs = []
        for program in peer.start(folder, gateway):
            ending.callback(program.stop)
            programs.append(program)
        yield programs
    # Kept where a peer failed, for whoever looks why.
    shutil.rmtree(folder)
