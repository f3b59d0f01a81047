"""A client of criu's RPC. The interface is that of CRIU's own pycriu."""
from . import images
from . import rpc_pb2 as rpc
from .client import CRIUException, CRIUExceptionExternal, CRIUExceptionInternal, criu

__all__ = ["images", "rpc", "criu", "CRIUException", "CRIUExceptionExternal", "CRIUExceptionInternal"]
