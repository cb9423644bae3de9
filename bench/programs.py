# SPDX-License-Identifier: MIT OR Apache-2.0
"""The programs of others that are measured: how each is started, as its package has
it, in a directory of its own and on a free port, and how it ends."""
import os
import shutil
import signal
import subprocess

from process import Failure, child, free_port, read, wait_for


class Program:
    """A server that may be started more than once, one after the other. What each
    kind says: name, the executable's; per_connection, the descriptors that it has
    for one; arguments(connections), after it has written what it reads."""

    name = None
    per_connection = 1

    def __init__(self, directory):
        self.dir = directory
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
    """CONNECT tunnels to a port of this machine."""

    name = 'tinyproxy'
    per_connection = 2

    def __init__(self, directory, target):
        super().__init__(directory)
        self.target = target

    def arguments(self, connections):
        config = self.write('conf', (
            f'Port {self.port}\nListen 127.0.0.1\n'
            f'Timeout 3600\nMaxClients {connections + 64}\n'
            f'ConnectPort {self.target}\nDisableViaHeader Yes\n'
            f'LogLevel Critical\nLogFile "{self.path("log")}"\n'))
        return ['-d', '-c', config]
