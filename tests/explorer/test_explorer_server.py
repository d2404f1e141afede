"""The server: this machine alone, its own page alone; the command line; no import without need."""

from __future__ import annotations

import base64
import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request

import numpy as np
import pytest

import kernelrich_fast as krf

pytest.importorskip("bokeh")


@pytest.fixture
def explorer():
    explorer = krf.explore(show=False)
    yield explorer
    explorer.close()


def test_it_binds_the_loopback_address_alone(explorer):
    assert explorer.url == f"http://127.0.0.1:{explorer.port}/"
    assert explorer._socket.getsockname() == ("127.0.0.1", explorer.port)
    others = {each[4][0] for each in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in others - {"127.0.0.1"}:
        if address.startswith("127."):
            continue
        with pytest.raises(OSError):
            socket.create_connection((address, explorer.port), timeout=2.0)


def test_the_page_names_no_other_host(explorer):
    with urllib.request.urlopen(explorer.url) as answer:
        page = answer.read().decode()
    assert "From the kernel to the rich regime" in page
    hosts = set(re.findall(r"(?:src|href)\s*=\s*[\"'](?:https?:)?//[^\"']*", page))
    assert hosts == set()


def _answer_to(explorer, origin):
    """The status with which the server answers a request for a socket."""
    with urllib.request.urlopen(explorer.url) as answer:
        token = re.search(r'"token":"([^"]+)"', answer.read().decode())[1]
    wanted = {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Protocol": f"bokeh, {token}", "Origin": origin,
    }  # fmt: skip
    connection = http.client.HTTPConnection("127.0.0.1", explorer.port)
    connection.request("GET", "/ws", headers=wanted)
    status = connection.getresponse().status
    connection.close()
    return status


def test_pages_of_other_hosts_may_not_connect(explorer):
    assert _answer_to(explorer, f"http://127.0.0.1:{explorer.port}") == 101
    assert _answer_to(explorer, "http://example.org") == 403
    assert _answer_to(explorer, f"http://127.0.0.1:{explorer.port + 1}") == 403


def test_a_taken_port_is_said(explorer):
    with pytest.raises(OSError, match=f"port: {explorer.port} cannot be listened on"):
        krf.explore(port=explorer.port, show=False)


def test_closing_ends_the_thread_and_frees_the_port():
    before = threading.active_count()
    explorer = krf.explore(show=False)
    assert "open" in repr(explorer)
    explorer.close()
    explorer.close()
    assert "closed" in repr(explorer)
    assert threading.active_count() == before
    again = krf.explore(port=explorer.port, show=False)
    again.close()


def test_given_arrays_are_in_the_address():
    explorer = krf.explore(np.eye(3), [1.0, 2.0, 3.0], show=False)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?data=user-[0-9a-f]{12}", explorer.url)
    explorer.close()


@pytest.mark.usefixtures("interruptible")  # a shell's job in the background ignores interrupts
def test_the_command_serves_until_it_is_interrupted():
    call = [sys.executable, "-m", "kernelrich_fast", "explore", "--no-show"]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())[0]
        with urllib.request.urlopen(url) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(20.0) == 0
    finally:
        process.kill()
        _, said = process.communicate()
    assert said == ""


def test_without_bokeh_it_says_what_to_install():
    code = (
        "import sys; sys.modules['bokeh'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'bokeh' else find(name, *rest)\n"
        "from kernelrich_fast.__main__ import main; sys.exit(main(['explore', '--no-show']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'kernelrich_fast[explore]'" in done.stderr


def test_the_page_is_not_imported_before_it_is_asked_for():
    code = "import sys, kernelrich_fast as krf; krf.explore; print('bokeh' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
