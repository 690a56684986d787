"""What frames on the veth under a tunnel tell."""

from side_by_side.underlay import MARKER, PAYLOAD, PINGS, Sight, exposure, parse_frames, unsealed


def _frame(payload, *, protocol=17, ethertype="0800"):
    ethernet = bytes(12) + bytes.fromhex(ethertype)
    ip = bytes.fromhex("45000000000000004000") + bytes(10)
    ip = ip[:9] + bytes([protocol]) + ip[10:]
    return (ethernet + ip + bytes(8 if protocol == 17 else 20) + payload).hex()


def _record(epoch, *, content=23, version="fefd"):
    return bytes([content]) + bytes.fromhex(version) + epoch.to_bytes(2) + bytes(8 + PAYLOAD)


def test_a_payload_in_clear_is_seen():
    """Or every tunnel would look safe."""
    assert parse_frames([_frame(MARKER * 64)]) == Sight({"UDP": 1}, clear=1, dtls=0)


def test_dtls_records_are_told_from_other_datagrams():
    """Application data of an epoch with keys, version 1.2: anything else does not count."""
    others = [_record(0), _record(1, content=22), _record(1, version="feff"), bytes(PAYLOAD)]
    sight = parse_frames([_frame(_record(1)), _frame(_record(2)), *map(_frame, others)])
    assert sight == Sight({"UDP": 6}, clear=0, dtls=2)


def test_a_record_over_tcp_is_no_dtls():
    """That is the fallback which must be noticed."""
    sight = parse_frames([_frame(_record(1), protocol=6), _frame(_record(1), protocol=47)])
    assert sight == Sight({"TCP": 1, "other": 1}, clear=0, dtls=0)


def test_short_frames_and_other_protocols_carry_no_ping():
    """ARP, acknowledgements, keep-alives."""
    frames = [_frame(b"\x17\xfe\xfd\x00\x01"), _frame(bytes(PAYLOAD), ethertype="0806")]
    assert parse_frames(frames).frames == 0


def test_a_line_that_is_still_being_written_is_left_out():
    """It will be whole at the next look."""
    assert parse_frames([_frame(_record(1)), _frame(_record(1))[:-1]]).frames == 1


def test_a_tunnel_that_hides_everything_has_no_exposure():
    """Nothing in clear, and no ping unseen."""
    assert not exposure(Sight({"UDP": 2 * PINGS}, clear=0, dtls=0))


def test_one_packet_in_clear_is_exposure():
    """However many were hidden."""
    assert "1 of 40 packets were in clear" in exposure(Sight({"UDP": 40}, clear=1, dtls=39))


def test_pings_that_went_unseen_are_exposure():
    """They may have gone another way."""
    assert "only 12 frames" in exposure(Sight({"UDP": 12}, clear=0, dtls=0))


def test_everything_in_records_is_sealed():
    """And one packet beside them is not."""
    everything = 2 * PINGS
    assert not unsealed(Sight({"UDP": everything}, clear=0, dtls=everything))
    flaw = unsealed(Sight({"UDP": everything - 1, "TCP": 1}, clear=0, dtls=everything - 1))
    assert flaw == "only 39 of 40 packets went in DTLS 1.2 records (1 by TCP, 39 by UDP)"
