"""Requests to criu: to a program that is started for each (use_binary), a service (use_sk), or an open socket (use_fd)."""
import array
import errno
import os
import signal
import socket

from . import rpc_pb2 as rpc

LARGEST_ANSWER = 1 << 20
WORDS = {
    errno.ESRCH: "No process with such pid",
    errno.EEXIST: "Process with requested pid already exists",
    errno.EBADRQC: "Bad options",
    errno.ENOTSUP: "Not supported",
}


class CRIUException(Exception):
    """A request failed: `typ` is its type, `errno` CRIU's number for the reason or None, the text says more."""

    typ = None
    errno = None
    message = ""

    def __str__(self):
        return f"{self._name(self.typ)} failed: {self.message}"

    @staticmethod
    def _name(typ):
        return rpc.criu_req_type.Name(typ) if typ in rpc.criu_req_type.values() else str(typ)


class CRIUExceptionInternal(CRIUException):
    """There was no proper answer."""

    def __init__(self, typ, s):
        super().__init__(s)
        self.typ, self.message = typ, s


class CRIUExceptionExternal(CRIUException):
    """criu says that the request failed."""

    def __init__(self, req_typ, resp_typ, number=None, message=""):
        super().__init__(req_typ, resp_typ, number)
        self.typ, self.resp_typ, self.errno = req_typ, resp_typ, number
        parts = [f"Request type {self._name(req_typ)}, answer type {self._name(resp_typ)}"] if req_typ != resp_typ else []
        if number:
            parts.append(WORDS.get(number, os.strerror(number)))
        self.message = ": ".join(parts + [message] if message else parts) or "no reason was given"


class _Program:
    """`criu swrk`, started for one connection."""

    def __init__(self, name):
        self.name, self.pid = name, 0

    def connect(self, daemon):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            self._run(ours, theirs, daemon)
        theirs.close()
        if daemon:  # the child has gone, its child serves
            os.waitpid(self.pid, 0)
            self.pid = 0
        return ours

    def _run(self, ours, theirs, daemon):
        try:
            ours.close()
            if daemon:  # who dumps itself must not have the worker among its children
                if os.fork():
                    os._exit(0)
                os.setsid()
            os.set_inheritable(theirs.fileno(), True)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execvp(self.name, [self.name, "swrk", str(theirs.fileno())])
        except OSError:
            pass
        os._exit(127)

    def done(self, connection):
        connection.close()
        if self.pid:
            os.waitpid(self.pid, 0)
            self.pid = 0


class _Service:
    def __init__(self, path):
        self.path = path

    def connect(self, daemon):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(self.path)
        return connection

    def done(self, connection):
        connection.close()


class _Descriptor:
    """An open connection of the caller's, who keeps it."""

    def __init__(self, fd):
        self.fd = fd

    def connect(self, daemon):
        return socket.socket(fileno=os.dup(self.fd))

    def done(self, connection):
        connection.close()


class criu:
    """One client. `opts` are the options of all requests; set what is wanted before a call."""

    def __init__(self):
        self.opts = rpc.criu_opts()
        self.sk = None
        self._via = _Program("criu")
        self._notify = None

    def use_sk(self, sk_name):
        """Asks the service at this path from now on."""
        self._via = _Service(sk_name)

    def use_fd(self, fd):
        """Asks over this connected socket from now on."""
        self._via = _Descriptor(fd)

    def use_binary(self, bin_name):
        """Starts this program for each request from now on."""
        self._via = _Program(bin_name)

    def set_notify(self, callback):
        """`callback(name, pid, fd)` is called for each notification; what it returns is the answer, None for yes, or a
        list of further external objects at query-ext-files. fd is None but for orphan-pts-master."""
        self._notify = callback
        self.opts.notify_scripts = callback is not None

    # ---- requests

    def check(self):
        """Whether the kernel can do what is needed; an exception if not."""
        self._ask(rpc.CHECK)

    def dump(self):
        """Dumps opts.pid, or the caller, in whom this returns a second time after the restore. The answer's `dump`
        part tells which time it is."""
        return self._ask(rpc.DUMP, daemon=not self.opts.HasField("pid")).dump

    def pre_dump(self):
        self._ask(rpc.SINGLE_PRE_DUMP)

    def restore(self):
        """The answer's `restore` part, with the pid."""
        return self._ask(rpc.RESTORE).restore

    def page_server_chld(self):
        return self._ask(rpc.PAGE_SERVER_CHLD).ps

    def wait_pid(self, pid):
        return self._ask(rpc.WAIT_PID, pid=pid).status

    def feature_check(self, **asked):
        """Which of mem_track, lazy_pages, pidfd_store there is."""
        return self._ask(rpc.FEATURE_CHECK, features=asked).features

    def get_version(self):
        return self._ask(rpc.VERSION).version

    # ---- conversation

    def _ask(self, typ, daemon=False, pid=None, features=None):
        request = rpc.criu_req(type=typ)
        if typ not in (rpc.VERSION, rpc.FEATURE_CHECK, rpc.WAIT_PID):
            if typ != rpc.CHECK and not self.opts.HasField("images_dir_fd"):
                self.opts.images_dir_fd = -1
            if typ != rpc.CHECK or self.opts.IsInitialized():
                request.opts.CopyFrom(self.opts)
        if pid is not None:
            request.pid = pid
        if features is not None:
            request.features.SetInParent()
            for name, value in features.items():
                setattr(request.features, name, value)
        try:
            connection = self._via.connect(daemon)
        except OSError as error:
            raise CRIUExceptionInternal(typ, f"connect: {error}") from error
        try:
            return self._converse(connection, request)
        finally:
            self._via.done(connection)

    def _converse(self, connection, request):
        self._send(connection, request)
        while True:
            answer, fd = self._receive(connection, request.type)
            if answer.type != rpc.NOTIFY:
                break
            self._send(connection, self._answer(answer.notify, fd))
        if answer.type != request.type and not (request.type == rpc.PAGE_SERVER_CHLD and answer.type == rpc.PAGE_SERVER):
            raise CRIUExceptionExternal(request.type, answer.type, answer.cr_errno, answer.cr_errmsg)
        if not answer.success:
            raise CRIUExceptionExternal(request.type, answer.type, answer.cr_errno, answer.cr_errmsg)
        return answer

    def _answer(self, notify, fd):
        reply = rpc.criu_req(type=rpc.NOTIFY, notify_success=True)
        said = self._notify(notify.script, notify.pid if notify.HasField("pid") else None, fd) if self._notify else None
        if isinstance(said, (list, tuple)):
            reply.opts.images_dir_fd = -1
            reply.opts.external.extend(said)
        elif said is not None:
            reply.notify_success = bool(said)
        return reply

    @staticmethod
    def _send(connection, request):
        try:
            connection.send(request.SerializeToString())
        except OSError as error:
            raise CRIUExceptionInternal(request.type, f"send: {error}") from error

    @staticmethod
    def _receive(connection, typ):
        descriptors = array.array("i")
        try:
            data, control, _, _ = connection.recvmsg(LARGEST_ANSWER, socket.CMSG_SPACE(descriptors.itemsize))
        except OSError as error:
            raise CRIUExceptionInternal(typ, f"receive: {error}") from error
        if not data:
            raise CRIUExceptionInternal(typ, "criu has closed the connection")
        for level, kind, value in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(value)
        answer = rpc.criu_resp()
        answer.ParseFromString(data)
        return answer, descriptors[0] if descriptors else None
