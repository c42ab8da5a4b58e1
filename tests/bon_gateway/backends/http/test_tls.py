"""https to a real TLS server, with an authority and certificates that are made for the test."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from bon_common.settings.errors import SettingsError
from bon_gateway.backends.http.client import HttpClient
from bon_gateway.backends.http.faults import UpstreamError
from bon_gateway.backends.http.settings import client_context
from bon_gateway.backends.reward.reward_server import RewardServerSettings
from tests.bon_gateway.backends.servers import raw_server, read_request

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes them")


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca.pem``, and ``server`` and ``client`` (``.pem`` and ``.key``) that it has signed."""
    folder = tmp_path_factory.mktemp("pki")
    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        folder, *new, "-x509", "-days", "2", "-subj", "/CN=test-ca", "-keyout", "ca.key",
        "-out", "ca.pem", "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for name in ("server", "client"):
        openssl(
            folder, *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"
        )
        openssl(
            folder, "x509", "-req", "-days", "2", "-in", f"{name}.csr", "-CA", "ca.pem",
            "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-out", f"{name}.pem",
        )  # fmt: skip
    return folder


def settings(**given: str) -> RewardServerSettings:
    return RewardServerSettings.model_validate(
        {"type": "reward_server", "urls": ["https://localhost:1"], **given}
    )


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def ask(pki: Path, given: RewardServerSettings, *, mutual: bool) -> bytes | UpstreamError:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.pem"))
    server.load_cert_chain(pki / "server.pem", pki / "server.key")
    if mutual:
        server.verify_mode = ssl.CERT_REQUIRED
    http = HttpClient(api_key=None, connect_timeout_s=5.0, timeout_s=5.0, tls=client_context(given))
    http.open()
    try:
        async with raw_server(answer, server) as url:
            try:
                return await http.get(url)
            except UpstreamError as error:
                return error
    finally:
        await http.close()


async def test_an_authority_of_ones_own_is_trusted_if_named(pki: Path) -> None:
    assert await ask(pki, settings(ca_file=str(pki / "ca.pem")), mutual=False) == b"ok"
    refused = await ask(pki, settings(), mutual=False)
    assert "SSLCertVerificationError" in str(refused)


async def test_a_client_shows_its_certificate(pki: Path) -> None:
    ca = {"ca_file": str(pki / "ca.pem")}
    shown = {"client_cert": str(pki / "client.pem"), "client_key": str(pki / "client.key")}
    assert await ask(pki, settings(**ca, **shown), mutual=True) == b"ok"
    assert isinstance(await ask(pki, settings(**ca), mutual=True), UpstreamError)


async def test_certificate_and_key_may_be_one_file(pki: Path) -> None:
    both = pki / "both.pem"
    both.write_bytes((pki / "client.pem").read_bytes() + (pki / "client.key").read_bytes())
    given = settings(ca_file=str(pki / "ca.pem"), client_cert=str(both))
    assert await ask(pki, given, mutual=True) == b"ok"


@pytest.mark.parametrize("setting", ["ca_file", "client_cert"])
@pytest.mark.parametrize("kind", ["missing", "folder", "no PEM"])
def test_a_file_that_is_of_no_use_is_an_error_of_the_settings(
    tmp_path: Path, setting: str, kind: str
) -> None:
    path = tmp_path if kind == "folder" else tmp_path / "file.pem"
    if kind == "no PEM":
        path.write_text("hello")
    with pytest.raises(SettingsError, match=setting):
        client_context(settings(**{setting: str(path)}))


def test_a_key_with_a_passphrase_asks_nobody(pki: Path) -> None:
    openssl(pki, "ec", "-in", "client.key", "-aes128", "-passout", "pass:x", "-out", "locked.key")
    with pytest.raises(SettingsError, match="client_cert"):
        client_context(
            settings(client_cert=str(pki / "client.pem"), client_key=str(pki / "locked.key"))
        )


def test_a_key_needs_its_certificate() -> None:
    with pytest.raises(ValueError, match="client_key: needs client_cert"):
        settings(client_key="x")


def test_without_https_no_file_is_read() -> None:
    plain = RewardServerSettings(type="reward_server", urls=("http://h:1",), ca_file="/nowhere")
    assert client_context(plain) is None
