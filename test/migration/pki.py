"""Authorities and certificates of a test run."""
import pathlib
import subprocess

from scene import scratch

PKI = pathlib.Path(scratch("migration-tls-"))


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, cwd=PKI)


def authority(name):
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")


def certificate(name, by, names):
    """Signed by an authority, for these names (DNS:localhost, IP:127.0.0.1)."""
    (PKI / f"{name}.ext").write_text(f"subjectAltName={names}\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext")


def revoke(name, by):
    """A list of revoked certificates with this one on it."""
    (PKI / "index.txt").write_text("")
    (PKI / "crlnumber").write_text("01\n")
    (PKI / "ca.conf").write_text("[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=crlnumber\ndefault_md=sha256\ndefault_crl_days=2\n")
    openssl("ca", "-config", "ca.conf", "-revoke", f"{name}.pem", "-keyfile", f"{by}.key", "-cert", f"{by}.pem")
    openssl("ca", "-config", "ca.conf", "-gencrl", "-keyfile", f"{by}.key", "-cert", f"{by}.pem", "-out", "crl.pem")


def options(who="good", ca="ca", *more):
    return ["--tls", "--tls-cacert", PKI / f"{ca}.pem", "--tls-cert", PKI / f"{who}.pem", "--tls-key", PKI / f"{who}.key", *more]
