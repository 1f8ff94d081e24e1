"""A site's own certificate authority: one for nodes and grantors of one site, and for nothing else.

Its name constraints let it vouch for `wattlease://node/...` and `wattlease://cluster/...` only, among URIs. A node's
certificate serves clients alone and a grantor's servers alone, so neither can play the other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from wattlease.core.errors import WattleaseError
from wattlease.runtime.lease.disk import replace_file
from wattlease.runtime.lease.identity import NAME
from wattlease.runtime.lease.identity_certificate import HolderKind, uri_of

AUTHORITY_DAYS = 3650
BACKDATED = timedelta(minutes=5)  # clocks of a site differ a little on the day of its installation
COMMON_NAME_MAX = 64  # X.509's own bound; the name that counts stands in the URI


class PkiError(WattleaseError):
    """A certificate cannot be made as asked; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Issued:
    """Where a certificate and its key were written."""

    certificate: Path
    key: Path


def found(folder: Path, site: str = "wattlease") -> Issued:
    """Make the site's authority. Raises PkiError where there is one already, OSError where it cannot be written."""
    issued = _authority(folder)
    _refuse_to_overwrite(issued, "every certificate of the site would have to be made anew")
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{site} authority")
    constraints = x509.NameConstraints([x509.UniformResourceIdentifier(host) for host in ("node", "cluster")], None)
    builder = (
        _dated(name, name, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(constraints, critical=True)
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(issued, builder.sign(key, hashes.SHA256()), key)
    return issued


def issue_holder(
    folder: Path, name: str, days: float, *, kind: HolderKind = "node", also: Sequence[str] = (), renew: bool = False
) -> Issued:
    """Make a node's or cluster's certificate. Raises PkiError, OSError."""
    _check_name(name)
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri_of(kind, name))]
    return _issue(folder, f"{kind}s", name, days, [*names, *map(_host, also)], ExtendedKeyUsageOID.CLIENT_AUTH, renew)


def issue_grantor(folder: Path, name: str, days: float, hosts: Sequence[str], *, renew: bool = False) -> Issued:
    """Make a grantor's certificate for the hosts under which it is asked. Raises PkiError, OSError."""
    _check_name(name)
    if not hosts:
        raise PkiError("a grantor's certificate names no host; give each address it is asked under with --host")
    return _issue(folder, "grantors", name, days, [*map(_host, hosts)], ExtendedKeyUsageOID.SERVER_AUTH, renew)


def _issue(
    folder: Path,
    shelf: str,
    name: str,
    days: float,
    names: Sequence[x509.GeneralName],
    purpose: ObjectIdentifier,
    renew: bool,
) -> Issued:
    authority, authority_key = _load(folder)
    issued = Issued(folder / shelf / f"{name}.crt", folder / shelf / f"{name}.key")
    if not renew:
        _refuse_to_overwrite(issued, "give --renew to make it anew")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _dated(_name(name), authority.subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    issued.certificate.parent.mkdir(mode=0o700, exist_ok=True)
    _write(issued, builder.sign(authority_key, hashes.SHA256()), key)
    return issued


def _authority(folder: Path) -> Issued:
    return Issued(folder / "ca.crt", folder / "ca.key")


def _load(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    paths = _authority(folder)
    try:
        certificate = x509.load_pem_x509_certificate(paths.certificate.read_bytes())
        key = serialization.load_pem_private_key(paths.key.read_bytes(), None)
    except FileNotFoundError as missing:
        raise PkiError(f"{missing.filename} is missing; `wattlease pki init {folder}` makes an authority") from missing
    except ValueError as broken:
        raise PkiError(f"{folder} holds no usable authority ({broken}); restore ca.crt and ca.key") from broken
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise PkiError(f"{paths.key} is not the key of {paths.certificate}; restore the one that is")
    return certificate, key


def _dated(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:COMMON_NAME_MAX])])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        _check_name(host.removeprefix("*."))
        return x509.DNSName(host)


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise PkiError(f"{name!r} is no name of a node or host: letters, digits, dots, dashes; 253 at most")


def _refuse_to_overwrite(issued: Issued, consequence: str) -> None:
    for path in (issued.certificate, issued.key):
        if path.exists():
            raise PkiError(f"{path} exists already and is left as it is; {consequence}")


def _write(issued: Issued, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """The key first and only for its owner: a certificate without its key is never left behind."""
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    replace_file(issued.key, key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    replace_file(issued.certificate, certificate.public_bytes(pem))
    os.chmod(issued.certificate, 0o644)
