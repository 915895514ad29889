"""SIGTERM and SIGINT: stop accepting, finish what is in flight, exit 0. A second one cuts."""

import signal
import time

import pytest

from wire import eventually

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
def patient(serve):
    """A server that would wait far longer for its requests than any test does."""
    return serve(
        "probe",
        "--shutdown-grace-ms",
        600_000,
        "--keep-alive-timeout-ms",
        600_000,
        "--head-timeout-ms",
        600_000,
    )


@pytest.mark.parametrize("number", SIGNALS)
def test_an_idle_server_ends_with_0(probe, number):
    probe.get("/")
    probe.signal(number)
    assert probe.wait() == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_right_after_the_start_line_is_obeyed(serve, number):
    for _ in range(10):
        server = serve("probe")
        server.signal(number)
        assert server.wait() == 0


@pytest.mark.parametrize("number", SIGNALS)
def test_a_request_in_flight_is_finished(patient, number):
    with patient.connect() as conn:
        conn.request("GET", "/sleep/300")
        eventually(lambda: patient.json("/sleeping") == 1, "the handler sleeps")
        patient.signal(number)
        eventually(patient.is_refusing, "no more connections")
        answer = conn.answer()
        assert (answer.status, answer.body) == (200, b'"slept"')
        conn.expect_end()
    assert patient.wait() == 0


def test_pipelined_requests_in_flight_are_answered_or_the_connection_says_it_closes(patient):
    with patient.connect() as conn:
        conn.send(3 * "GET /sleep/100 HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: patient.json("/sleeping") == 1, "the first handler sleeps")
        patient.signal(signal.SIGTERM)
        for _ in range(3):
            answer = conn.answer()
            assert answer.status == 200
            if (answer.header("connection") or "").lower() == "close":
                break
        conn.expect_end()
    assert patient.wait() == 0


def test_a_stream_in_flight_is_finished(serve):
    server = serve("streams", "--shutdown-grace-ms", 600_000, "--keep-alive-timeout-ms", 600_000)
    with server.connect() as conn:
        conn.request("GET", "/slow")
        conn.head()
        server.signal(signal.SIGTERM)
        assert conn.rest_of_chunks() == b"firstsecond"
        conn.expect_end()
    assert server.wait() == 0


def test_an_upload_in_flight_is_finished(patient):
    with patient.connect() as conn:
        conn.request("POST", "/body", "Content-Length: 10")
        conn.send("hello")
        eventually(lambda: patient.json("/body/counts")["started"] == 1, "the handler reads")
        patient.signal(signal.SIGTERM)
        eventually(patient.is_refusing, "no more connections")
        conn.send("world")
        assert conn.answer().body == b"helloworld"
    assert patient.wait() == 0


def test_idle_connections_do_not_delay_the_end(patient):
    with patient.connect() as used, patient.connect() as silent, patient.connect() as begun:
        assert used.get("/").status == 200
        begun.send("GET / HTT")
        patient.get("/")
        patient.signal(signal.SIGTERM)
        used.expect_end()
        silent.expect_end()
        begun.close()
        assert patient.wait() == 0


def test_a_client_that_has_its_answer_and_never_closes_delays_nothing(serve):
    def time_of_end():
        """Seconds from the answer, behind which the server ends its side, to the server's end."""
        server = serve("probe")
        with server.connect() as conn:
            conn.request("GET", "/sleep/300")
            eventually(lambda: server.json("/sleeping") == 1, "the handler sleeps")
            server.signal(signal.SIGTERM)
            assert conn.answer().body == b'"slept"'
            began = time.monotonic()
            assert server.wait() == 0
            return time.monotonic() - began

    # A machine may be busy for a while, a server that lingers would take its 5 s every time.
    assert any(time_of_end() < 4 for _ in range(3))


def test_a_client_that_is_still_sending_gets_its_refusal_whole(serve):
    def sends_on():
        """Whether bytes are taken after the end was asked for, in place of a reset."""
        server = serve("probe", "--max-body-bytes", 1000)
        with server.connect() as conn:
            conn.request("POST", "/body", "Content-Length: 1000000")
            assert conn.answer().status == 413
            server.signal(signal.SIGTERM)
            eventually(server.is_refusing, "no more connections")
            try:
                for _ in range(20):
                    conn.send(b"x" * 100)
                    time.sleep(0.02)
            except OSError:
                return False
            conn.close()
            assert server.wait() == 0
            return True

    assert any(sends_on() for _ in range(10)) # unless the machine let it be silent for too long


def test_requests_that_outlast_the_grace_are_cut(serve):
    server = serve("probe", "--shutdown-grace-ms", 100)
    with server.connect() as conn:
        conn.request("GET", "/gate/wait")
        eventually(lambda: server.json("/gate/waiting") == 1, "the handler waits")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


@pytest.mark.parametrize("where", ["loop", "worker"])
def test_a_shield_of_minutes_ends_with_the_grace(serve, where, tmp_path):
    server = serve("threads", "--shutdown-grace-ms", 100, env={"NOTES": str(tmp_path)})
    with server.connect() as conn:
        conn.request("GET", f"/shielded/{where}")
        server.wait_for_log("shielded")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    server.wait_for_log("closed: cancelled: ")


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_a_second_signal_cuts_at_once(patient, first, second):
    with patient.connect() as conn:
        conn.request("GET", "/gate/wait")
        eventually(lambda: patient.json("/gate/waiting") == 1, "the handler waits")
        patient.signal(first)
        eventually(patient.is_refusing, "no more connections")
        patient.signal(second)
        assert patient.wait() == 0


def test_two_loops_finish_what_they_have(serve):
    server = serve("probe", "--loops", 2, "--shutdown-grace-ms", 600_000)
    conns = [server.connect() for _ in range(16)]
    for conn in conns:
        conn.request("POST", "/body", "Content-Length: 2", "Expect: 100-continue")
    for conn in conns:
        assert conn.head().status == 100
    server.signal(signal.SIGTERM)
    eventually(server.is_refusing, "no more connections")
    for conn in conns:
        conn.send("ok")
        assert conn.answer().body == b"ok"
        conn.expect_end()
        conn.close()
    assert server.wait() == 0


def test_a_broken_pipe_elsewhere_does_not_end_the_server(probe):
    probe.signal(signal.SIGPIPE)
    assert probe.get("/").status == 200
