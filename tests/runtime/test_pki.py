"""`wattlease pki`: what it makes, what it vouches for, and what it will not do."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from wattlease.runtime.pki_commands import pki


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(pki, [str(word) for word in words])


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "pki"
    assert run("init", folder, "--site", "Phoenix").exit_code == 0
    return folder


def test_keys_are_for_their_owner_only_and_the_authority_vouches_for_ten_years(site: Path) -> None:
    assert run("node", site, "n1").exit_code == 0
    for key in (site / "ca.key", site / "nodes" / "n1.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    authority = read(site / "ca.crt")
    assert (authority.not_valid_after_utc - authority.not_valid_before_utc).days == 3650
    assert isinstance(authority.public_key(), ec.EllipticCurvePublicKey)
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_a_node_is_named_by_its_uri_and_may_only_be_a_client(site: Path) -> None:
    assert run("node", site, "n1", "--days", "90", "--san", "n1.hall3.site", "--san", "10.0.0.7").exit_code == 0
    certificate = read(site / "nodes" / "n1.crt")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["wattlease://node/n1"]
    assert names.get_values_for_type(x509.DNSName) == ["n1.hall3.site"]
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 90


def test_a_grantors_certificate_holds_for_its_hosts_and_no_other(site: Path) -> None:
    assert run("grantor", site, "slurm1", "--host", "slurm1.site", "--host", "127.0.0.1").exit_code == 0
    certificate = read(site / "grantors" / "slurm1.crt")
    store = verification.PolicyBuilder().store(verification.Store([read(site / "ca.crt")]))
    store.build_server_verifier(x509.DNSName("slurm1.site")).verify(certificate, [])
    with pytest.raises(verification.VerificationError):
        store.build_server_verifier(x509.DNSName("slurm2.site")).verify(certificate, [])


def test_nothing_is_overwritten_unless_it_is_renewed(site: Path) -> None:
    run("node", site, "n1")
    before = {path: path.read_bytes() for path in site.rglob("*.*")}
    for words in (("init", site), ("node", site, "n1")):
        refused = run(*words)
        assert refused.exit_code == 1
        assert "exists already" in refused.output
    assert {path: path.read_bytes() for path in site.rglob("*.*")} == before
    assert run("node", site, "n1", "--renew").exit_code == 0
    assert read(site / "nodes" / "n1.crt") != x509.load_pem_x509_certificate(before[site / "nodes" / "n1.crt"])


@pytest.mark.parametrize("name", ["../ca", "a/b", "", ".hidden", "n" * 254, "nodé", "a b"])
def test_a_name_that_is_none_is_refused(site: Path, name: str) -> None:
    refused = run("node", site, name)
    assert refused.exit_code == 1
    assert "is no name" in refused.output


def test_without_an_authority_it_says_how_to_make_one(tmp_path: Path) -> None:
    refused = run("node", tmp_path, "n1")
    assert refused.exit_code == 1
    assert "wattlease pki init" in refused.output


def test_a_key_of_another_authority_is_refused(site: Path, tmp_path: Path) -> None:
    run("init", tmp_path / "other")
    (site / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    refused = run("node", site, "n1")
    assert refused.exit_code == 1
    assert "is not the key of" in refused.output


def test_the_authority_is_constrained_to_names_of_holders(site: Path) -> None:
    constraints = read(site / "ca.crt").extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [
        x509.UniformResourceIdentifier("node"),
        x509.UniformResourceIdentifier("cluster"),
    ]


def test_it_says_what_to_copy_where(site: Path) -> None:
    said = run("node", site, "n1").output
    assert f"{site}/nodes/n1.key -> /etc/wattlease/tls/node.key" in said
    key = load_pem_private_key((site / "nodes" / "n1.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate = read(site / "nodes" / "n1.crt")
    assert key.public_key() == certificate.public_key()
    assert isinstance(certificate.signature_hash_algorithm, hashes.SHA256)
