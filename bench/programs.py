# SPDX-License-Identifier: MIT OR Apache-2.0
"""The programs of others that are measured: how each is started, as its package has
it, in a directory of its own and on a free port, and how it ends."""
import os
import shutil
import signal
import subprocess
import sys

from process import Failure, child, free_port, read, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))


class Program:
    """A server that may be started more than once, one after the other. What each
    kind says: name, the executable's; speaks and tls, how echo/load.c is to talk to
    it; forwards, whether it does nothing but pass bytes on to a port of this
    machine, target; arguments(connections), after it has written what it reads."""

    name = None
    speaks, tls = 'echo', False
    forwards = False

    def __init__(self, directory, target=None):
        self.dir, self.target = directory, target
        self.process = None
        self.port = None

    @classmethod
    def command(cls):
        """Its executable, or None where it is not installed."""
        return shutil.which(cls.name) or \
            shutil.which(cls.name, path='/usr/sbin:/usr/local/bin')

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), 'w', encoding='utf-8') as f:
            f.write(text)
        return self.path(name)

    def arguments(self, connections):
        raise NotImplementedError

    def prepare(self):
        """What has to be there before its first start."""

    def call(self, command, text=''):
        """Runs it with that on its standard input."""
        try:
            subprocess.run(command, input=text, text=True, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=120, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise Failure(f'{error}; it says: {self.words()}') from None

    def start(self, prefix, connections, cpus=None):
        """prefix: nothing, or cogo-run and its options."""
        # Somebody may take the port between our asking and its listening.
        for attempt in range(3):
            self.port = free_port()
            command = [*prefix, self.command(), *self.arguments(connections)]
            with open(self.path('stderr'), 'wb') as errors:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=errors,
                    stderr=errors, cwd=self.dir, preexec_fn=child(cpus))
            try:
                wait_for(self.listens, 30, f'starting {self.name}', self.process)
                return
            except BaseException as failure:
                self.kill()
                if attempt == 2 or not isinstance(failure, Failure):
                    raise Failure(f'{failure}; it says: {self.words()}') \
                        from None

    def listens(self):
        """Without connecting, which would already be a connection."""
        wanted = f':{self.port:04X} 00000000:0000 0A'
        return wanted in read('/proc/net/tcp')

    def words(self):
        """The last that it has said."""
        said = ''
        for name in ('stderr', 'log'):
            try:
                said += read(self.path(name))
            except OSError:
                pass
        return ' / '.join(said.strip().split('\n')[-4:]) or 'nothing'

    def kill(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def stop(self):
        """As an administrator would. Returns what was not as it should be."""
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return 'did not end within 30 seconds of SIGTERM'
        return None if status == 0 else f'ended with status {status}'


class Tinyproxy(Program):
    """CONNECT tunnels."""

    name = 'tinyproxy'
    speaks = 'tunnel'
    forwards = True

    def arguments(self, connections):
        config = self.write('conf', (
            f'Port {self.port}\nListen 127.0.0.1\n'
            f'Timeout 3600\nMaxClients {connections + 64}\n'
            f'ConnectPort {self.target}\nDisableViaHeader Yes\n'
            f'LogLevel Critical\nLogFile "{self.path("log")}"\n'))
        return ['-d', '-c', config]


class Stunnel(Program):
    """TLS in front of something that has none."""

    name = 'stunnel4'
    tls = True
    forwards = True

    def prepare(self):
        self.call(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                   'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj',
                   '/CN=localhost', '-keyout', self.path('key'), '-out',
                   self.path('certificate')])

    def arguments(self, connections):
        # Nothing is logged of a connection, and not by syslog(), which has one
        # lock for all threads.
        return [self.write('conf', (
            f'foreground = yes\npid =\ndebug = err\nsyslog = no\n'
            f'output = {self.path("log")}\n[echo]\n'
            f'accept = 127.0.0.1:{self.port}\nconnect = 127.0.0.1:{self.target}\n'
            f'cert = {self.path("certificate")}\nkey = {self.path("key")}\n'))]


# As echo/talk.c expects it.
TABLE_ROWS = 100


def row_text(i):
    return f'{i * 7919:064d}'


class MariaDB(Program):
    """A table, and a connection that need not say who it is."""

    name = 'mariadbd'
    speaks = 'sql'

    def options(self):
        # There are no system tables, and none is looked for with each query.
        user = ['--user=root'] if os.geteuid() == 0 else []
        return ['--no-defaults', f'--datadir={self.path("data")}', *user,
                '--skip-grant-tables', '--use-stat-tables=never',
                '--innodb-buffer-pool-size=64M',
                f'--log-error={self.path("log")}']

    def prepare(self):
        rows = ', '.join(f"({i}, '{row_text(i)}')" for i in range(TABLE_ROWS))
        os.makedirs(self.path('data'), exist_ok=True)
        self.call([self.command(), *self.options(), '--bootstrap'], (
            'CREATE OR REPLACE DATABASE bench;\n'
            'CREATE TABLE bench.t (id INT PRIMARY KEY, body CHAR(64) NOT NULL) '
            'CHARACTER SET latin1 ENGINE=InnoDB;\n'
            f'INSERT INTO bench.t VALUES {rows};\n'))

    def arguments(self, connections):
        return [*self.options(), f'--socket={self.path("socket")}',
                f'--port={self.port}', '--bind-address=127.0.0.1',
                f'--max-connections={connections + 64}', '--back-log=2000',
                '--thread-handling=one-thread-per-connection']


class PythonServer(Program):
    """A script of ours around a server of Python's standard library."""

    name = 'python3'
    script = None

    @classmethod
    def command(cls):
        return sys.executable

    def arguments(self, connections):
        return [os.path.join(HERE, self.script), str(self.port)]


class PythonHttp(PythonServer):
    script = 'http_server.py'
    speaks = 'http'

    def prepare(self):
        for i in range(TABLE_ROWS):
            self.write(str(i), row_text(i))


class PythonEcho(PythonServer):
    script = 'echo/python.py'
