"""Web requests reach public addresses only, whatever the address looks like, and end in time."""

import asyncio
import gzip
import json
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest

from autogpt_server.blocks.addresses import check_addresses
from autogpt_server.blocks.http import SendWebRequestBlock
from autogpt_server.blocks.rss import ReadRSSFeedBlock
from autogpt_server.blocks.samples import SampleContext
from autogpt_server.blocks.web_client import PinnedTransport, WebRequest, WebResponse, fetch, parse_retry_after
from autogpt_server.errors import BlockError, BlockTimeout
from autogpt_server.model.credentials import UsableCredentials, parse_secrets

Handler = Callable[[str, dict[str, str], bytes], Awaitable[tuple[str, dict[str, str], bytes]]]


class LocalServer:
    """Answers each path as the test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[str, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str, body: bytes, status: str = "200 OK", **headers: str) -> None:
        self.answers[path] = (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        line, headers = head[0], dict(row.lower().split(": ", 1) for row in head[1:] if row)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.asked.append((line, headers, body))
        path = line.split(" ")[1]
        if path != "/never":
            status, more, content = self.answers[path]
            sent = {"Content-Length": str(len(content)), "Connection": "close"} | more
            rows = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
            writer.write(f"HTTP/1.1 {status}\r\n{rows}\r\n".encode() + content)
            await writer.drain()
            writer.close()
        else:
            await reader.read()
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    local = LocalServer()
    listening = await asyncio.start_server(local.serve, "127.0.0.1", 0)
    local.port = listening.sockets[0].getsockname()[1]
    yield local
    listening.close()


def nothing(address: str) -> bool:
    return False


def loopback(address: str) -> bool:
    return address.startswith("127.")


PRIVATE = [
    "127.0.0.1",
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "fc00::1",
    "fd12::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(BlockError, match="not public.*AUTOGPT_ALLOWED_NETWORKS"):
        check_addresses("host.test", [address], nothing)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::"]
)
def test_a_public_address_is_reached(address: str) -> None:
    check_addresses("host.test", [address], nothing)


def test_one_private_answer_spoils_all() -> None:
    with pytest.raises(BlockError, match="10.0.0.1"):
        check_addresses("host.test", ["8.8.8.8", "10.0.0.1"], nothing)


def test_the_setting_also_allows_the_address_inside_another() -> None:
    check_addresses("host.test", ["127.0.0.1", "::ffff:127.0.0.1"], loopback)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "127.1", "0.0.0.0"]
)
async def test_loopback_is_refused_in_every_spelling(host: str, server: LocalServer, context: SampleContext) -> None:
    context.allowed_networks = []
    with pytest.raises(BlockError, match="not public"):
        await SendWebRequestBlock().execute({"url": f"http://{host}:{server.port}/"}, context)
    with pytest.raises(BlockError, match="not public"):
        await ReadRSSFeedBlock().execute({"rss_url": f"http://{host}:{server.port}/"}, context)
    assert server.asked == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host.test/", "//host.test", "host.test", "http://", ""])
async def test_what_is_no_web_address_is_refused(url: str, context: SampleContext) -> None:
    with pytest.raises(BlockError):
        await SendWebRequestBlock().execute({"url": url}, context)
    with pytest.raises(BlockError):
        await ReadRSSFeedBlock().execute({"rss_url": url}, context)


async def test_a_name_that_answers_with_a_private_address_is_refused(server: LocalServer) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "127.0.0.1"]

    with pytest.raises(BlockError, match="host.test has the address 127.0.0.1"):
        await fetch(WebRequest("GET", f"http://host.test:{server.port}/"), nothing, resolve=resolve)
    assert server.asked == []


async def test_the_checked_address_is_the_one_connected_to_under_the_hosts_name(server: LocalServer) -> None:
    server.answer("/a?b=1", b"ok")
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    response = await fetch(WebRequest("GET", f"http://host.test:{server.port}/a?b=1"), loopback, resolve=resolve)
    assert response.text == "ok"
    assert asked == ["host.test"]
    assert server.asked[0][1]["host"] == f"host.test:{server.port}"


async def test_the_next_address_is_tried_when_one_does_not_answer(server: LocalServer) -> None:
    server.answer("/", b"ok")

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]

    assert (await fetch(WebRequest("GET", f"http://host.test:{server.port}/"), loopback, resolve=resolve)).text == "ok"


async def test_certificates_are_asked_for_by_name(server: LocalServer) -> None:
    names: list[str | None] = []

    def seen(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int:
        names.append(name)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.sni_callback = seen  # type: ignore[assignment]
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=secure)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    port = listening.sockets[0].getsockname()[1]
    with pytest.raises(BlockError, match="https://host.test"):
        await fetch(WebRequest("GET", f"https://host.test:{port}/"), loopback, resolve=resolve)
    listening.close()
    assert names == ["host.test"]


@pytest.mark.parametrize(
    "location", ["http://127.0.0.2:{port}/secret", "http://[::1]:{port}/secret", "file:///etc/passwd"]
)
async def test_a_redirect_is_checked_like_a_first_request(location: str, server: LocalServer) -> None:
    server.answer("/", b"", "302 Found", Location=location.format(port=server.port))

    def only_this(address: str) -> bool:
        return address == "127.0.0.1"

    with pytest.raises(BlockError, match="not public|scheme|protocol"):
        await fetch(WebRequest("GET", f"{server.url}/"), only_this)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "held",
    [
        {"type": "api_key", "api_key": "the-key"},
        {"type": "user_password", "username": "ann", "password": "the-password"},
        {"type": "host_scoped", "host": "127.0.0.1", "headers": {"X-Key": "the-header"}},
    ],
)
async def test_credentials_go_where_they_should_and_along_with_no_redirect(
    server: LocalServer, held: dict[str, Any]
) -> None:
    usable = UsableCredentials("1", "p", held["type"], held=parse_secrets(held))
    (name, sent), *_ = usable.headers(server.url).items()
    server.answer("/one", b"", "302 Found", Location=f"{server.url}/two")
    # The same machine, and another host: as a name it is somebody else's.
    server.answer("/two", b"", "302 Found", Location=f"http://127.0.0.2:{server.port}/three")
    server.answer("/three", b"done")
    async with await asyncio.start_server(server.serve, "127.0.0.2", server.port):
        request = WebRequest("GET", f"{server.url}/one", {"Authorization": "mine"}, credentials=usable)
        assert (await fetch(request, loopback)).content == b"done"
    assert [headers.get(name.lower()) for _, headers, _ in server.asked][:2] == [sent.lower(), sent.lower()]
    assert server.asked[2][1].get(name.lower()) is None


async def test_credentials_for_another_host_send_nothing_at_all(server: LocalServer) -> None:
    held = parse_secrets({"type": "host_scoped", "host": "api.test", "headers": {"X-Key": "the-header"}})
    request = WebRequest("GET", f"{server.url}/", credentials=UsableCredentials("1", "p", held.type, held=held))
    with pytest.raises(BlockError, match=r"are not for 127\.0\.0\.1"):
        await fetch(request, loopback)
    assert server.asked == []


async def test_redirects_are_followed_a_few_times(server: LocalServer) -> None:
    server.answer("/1", b"", "302 Found", Location="/2")
    server.answer("/2", b"ok")
    server.answer("/loop", b"", "302 Found", Location="/loop")
    assert (await fetch(WebRequest("GET", f"{server.url}/1"), loopback)).text == "ok"
    with pytest.raises(BlockError, match="redirects"):
        await fetch(WebRequest("GET", f"{server.url}/loop"), loopback)
    assert len(server.asked) == 8


async def test_answers_are_bounded_also_while_they_are_unpacked(server: LocalServer) -> None:
    bomb = zlib.compress(bytes(200_000_000), 9)
    server.answer("/plain", b"x" * 1001)
    server.answer("/gzip", gzip.compress(bytes(1001)), Content_Encoding="gzip")
    server.answer("/bomb", bomb, Content_Encoding="deflate")
    server.answer("/fits", gzip.compress(b"x" * 1000), Content_Encoding="gzip")
    server.answer("/odd", b"x", Content_Encoding="br")
    server.answer("/broken", b"xyz", Content_Encoding="gzip")
    for path in ("/plain", "/gzip", "/bomb"):
        with pytest.raises(BlockError, match="more than 1,000 bytes"):
            await fetch(WebRequest("GET", server.url + path, max_bytes=1000), loopback)
    for path in ("/odd", "/broken"):
        with pytest.raises(BlockError, match="packed"):
            await fetch(WebRequest("GET", server.url + path), loopback)
    assert (await fetch(WebRequest("GET", f"{server.url}/fits", max_bytes=1000), loopback)).content == b"x" * 1000


async def test_a_server_that_never_answers_is_given_up(server: LocalServer, context: SampleContext) -> None:
    with pytest.raises(BlockError, match="longer than 0.2 s"):
        await SendWebRequestBlock().execute({"url": f"{server.url}/never", "timeout_seconds": 0.2}, context)


async def test_hosts_and_ports_that_do_not_answer_are_said_clearly(context: SampleContext) -> None:
    with pytest.raises(BlockError, match="http://127.0.0.1:1/: .*connect"):
        await SendWebRequestBlock().execute({"url": "http://127.0.0.1:1/"}, context)
    with pytest.raises(BlockError, match="cannot be found"):
        await SendWebRequestBlock().execute({"url": "http://no-such-host.invalid/"}, context)


@pytest.mark.parametrize(
    ("given", "sent", "kind"),
    [
        ({"body": {"a": "ü"}}, '{"a":"ü"}', "application/json"),
        ({"body": '{"a": 1}'}, '{"a":1}', "application/json"),
        ({"body": "plain"}, '"plain"', "application/json"),
        ({"body": {"a": "b c"}, "json_format": False}, "a=b+c", "application/x-www-form-urlencoded"),
        ({"body": "plain", "json_format": False}, "plain", None),
        ({}, "", None),
    ],
)
async def test_a_body_is_sent_as_asked(
    given: dict[str, object], sent: str, kind: str | None, server: LocalServer, context: SampleContext
) -> None:
    server.answer("/", b"[1]")
    pairs = await SendWebRequestBlock().execute({"url": f"{server.url}/"} | given, context)
    [(_, headers, body)] = server.asked
    assert body.decode() == sent
    assert headers.get("content-type") == kind
    assert headers["idempotency-key"] == context.node_execution_id
    assert pairs == [("response", [1] if given.get("json_format", True) else "[1]")]


async def test_files_are_sent_from_the_users_folder(server: LocalServer, context: SampleContext) -> None:
    server.answer("/", b"")
    context.write_file("in/a.txt", b"content")
    await SendWebRequestBlock().execute({"url": f"{server.url}/", "files": ["in/a.txt"], "body": {"k": "v"}}, context)
    assert b'name="file"; filename="a.txt"' in server.asked[0][2] and b'name="k"' in server.asked[0][2]


@pytest.mark.parametrize(
    ("status", "pin"), [("201 Created", "response"), ("404 Not Found", "client_error"), ("503 Busy", "server_error")]
)
async def test_the_status_chooses_the_pin(status: str, pin: str, server: LocalServer, context: SampleContext) -> None:
    server.answer("/", json.dumps({"why": "x"}).encode(), status)
    assert await SendWebRequestBlock().execute({"url": f"{server.url}/"}, context) == [(pin, {"why": "x"})]


async def test_a_status_that_is_no_answer_fails(server: LocalServer, context: SampleContext) -> None:
    server.answer("/", b"", "304 Not Modified")
    with pytest.raises(BlockError, match="status 304"):
        await SendWebRequestBlock().execute({"url": f"{server.url}/"}, context)


async def test_headers_that_would_split_the_request_are_refused(server: LocalServer, context: SampleContext) -> None:
    with pytest.raises(BlockError):
        await SendWebRequestBlock().execute({"url": f"{server.url}/", "headers": {"X": "a\r\nY: b"}}, context)


def test_a_text_of_unknown_encoding_is_read_all_the_same() -> None:
    assert WebResponse(200, "ä".encode("latin-1"), "latin-1").text == "ä"
    assert WebResponse(200, "ä".encode(), "klingon").text == "ä"
    assert WebResponse(200, b"\xff", None).text == "\ufffd"


async def test_the_transport_itself_takes_web_addresses_only() -> None:
    import httpx

    async def resolve(host: str, port: int) -> list[str]:
        raise AssertionError("not asked")

    transport = PinnedTransport(nothing, resolve, lambda _: {})
    with pytest.raises(BlockError, match="no scheme of the web"):
        await transport.handle_async_request(httpx.Request("GET", "ftp://host.test/"))


FEED = b"""<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY f SYSTEM "file:///etc/passwd">]><rss version="2.0"><channel><title>News</title>
<item><title>Old &#252;</title><link>http://host.test/1</link><description>d&f;</description>
<pubDate>Fri, 23 Jun 2023 12:30:00 +0200</pubDate><category>x</category><guid>1</guid></item>
<item><title>No date</title></item>
<item><title>Far ahead</title><pubDate>Fri, 23 Jun 2999 12:30:00 GMT</pubDate></item></channel></rss>"""


async def test_a_feed_is_read_entry_by_entry(server: LocalServer, context: SampleContext) -> None:
    server.answer("/feed", FEED)
    pairs = await ReadRSSFeedBlock().execute({"rss_url": f"{server.url}/feed"}, context)
    entries = [value for pin, value in pairs if pin == "entry"]
    assert [entry["title"] for entry in entries] == ["Old ü", "No date", "Far ahead"]
    assert entries[0]["pub_date"] == "2023-06-23T10:30:00+00:00"
    assert entries[0]["categories"] == ["x"] and "root:" not in entries[0]["description"]
    assert entries[1]["pub_date"] is None
    assert pairs[-1] == ("entries", entries)

    recent = await ReadRSSFeedBlock().execute({"rss_url": f"{server.url}/feed", "time_period": 60}, context)
    assert [value["title"] for pin, value in recent if pin == "entry"] == ["Far ahead"]


@pytest.mark.parametrize(
    "body", [b"", b"<html><body>hello</body></html>", b"/etc/passwd", b"http://127.0.0.1/", b"\x00\xff"]
)
async def test_what_is_no_feed_is_refused(body: bytes, server: LocalServer, context: SampleContext) -> None:
    server.answer("/feed", body)
    with pytest.raises(BlockError, match="no feed"):
        await ReadRSSFeedBlock().execute({"rss_url": f"{server.url}/feed"}, context)


async def test_a_feed_that_is_not_there_fails(server: LocalServer, context: SampleContext) -> None:
    server.answer("/feed", b"", "404 Not Found")
    with pytest.raises(BlockError, match="status 404"):
        await ReadRSSFeedBlock().execute({"rss_url": f"{server.url}/feed"}, context)


NOW = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("9" * 400, 86_400),
        ("Tue, 01 Jan 2030 12:01:30 GMT", 90),
        ("Tue, 01 Jan 2030 12:01:30 -0000", 90),
        ("Tue, 01 Jan 2030 13:01:30 +0100", 90),
        ("Tue, 01 Jan 2030 11:00:00 GMT", 0),
        ("Tuesday, 01-Jan-30 12:01:30 GMT", 90),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u0661\u0662", None),
        ("Tue, 99 Jan 2030 12:01:30 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(text: str, expected: float | None) -> None:
    assert parse_retry_after(text, NOW) == expected


class RetriedContext(SampleContext):
    """Of a node that is run again after failures."""

    def is_retried(self, error: BaseException) -> bool:
        return isinstance(error, BlockError)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_server_fails_the_try_where_another_follows_and_is_an_answer_else(
    server: LocalServer, context: SampleContext, status: int
) -> None:
    server.answer("/busy", b"later", f"{status} Busy", Retry_After="7")
    block, inputs = SendWebRequestBlock(), {"url": f"{server.url}/busy", "json_format": False}
    pin = "client_error" if status == 429 else "server_error"
    assert await block.execute(inputs, context) == [(pin, "later")]
    retried = RetriedContext(context.folder)
    with pytest.raises(BlockError, match=f"status {status}") as failure:
        await block.execute(inputs, retried)
    assert failure.value.retry_after_seconds == (None if status == 500 else 7)


async def test_other_answers_are_answers_where_another_try_follows_too(
    server: LocalServer, context: SampleContext
) -> None:
    server.answer("/none", b"none", "404 Not Found")
    inputs = {"url": f"{server.url}/none", "json_format": False}
    assert await SendWebRequestBlock().execute(inputs, RetriedContext(context.folder)) == [("client_error", "none")]


async def test_a_busy_feed_says_when_to_come_back(server: LocalServer, context: SampleContext) -> None:
    moment = format_datetime(datetime(2999, 1, 1, tzinfo=UTC), usegmt=True)
    server.answer("/feed", b"", "503 Busy", Retry_After=moment)
    with pytest.raises(BlockError) as failure:
        await ReadRSSFeedBlock().execute({"rss_url": f"{server.url}/feed"}, context)
    assert failure.value.retry_after_seconds == 86_400


async def test_an_answer_that_is_too_late_counts_as_a_timeout(server: LocalServer) -> None:
    with pytest.raises(BlockTimeout, match=r"longer than 0\.05 s"):
        await fetch(WebRequest("GET", f"{server.url}/never", timeout=0.05), loopback)
