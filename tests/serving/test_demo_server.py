import socket

import pytest

from gfl_tf.serving import demo_server

pytestmark = pytest.mark.one_stack


@pytest.fixture
def listening():
    with demo_server.listen("127.0.0.1", 0) as listening:
        yield listening


def test_port_in_use_is_one_line(listening):
    port = listening.getsockname()[1]
    with pytest.raises(
        OSError, match=f"^port {port} of 127.0.0.1 is in use; give another --port, or --port=0 for any$"
    ):
        demo_server.listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a..b", "192.0.2.1"])
def test_host_that_is_not_this_machine(host):
    with pytest.raises(OSError, match=f"cannot listen at port 0 of '{host}': .") as caught:
        demo_server.listen(host, 0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(["host", "only_here"], [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_whom_it_answers(host, only_here):
    with demo_server.listen(host, 0) as listening:
        assert demo_server.is_loopback(listening) == only_here
        assert demo_server.url(host, listening) == f"http://{host}:{listening.getsockname()[1]}/"


def test_address_of_ipv6():
    try:
        listening = demo_server.listen("::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listening:
        assert listening.family == socket.AF_INET6 and demo_server.is_loopback(listening)
        assert demo_server.url("::1", listening) == f"http://[::1]:{listening.getsockname()[1]}/"
