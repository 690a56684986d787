-- For Wireshark and tshark: what the tunnels of dtls-emu carry, shown as the VXLAN that it is.
--
--     wireshark -X lua_script:wireshark.lua capture.pcapng
--
-- Port 4433 is that of every tunnel's server; its client may have any. Without the secrets of a handshake, records of
-- it stay "Application Data"; a capture of dtls-emu has them in it, unless it was made with --no-secrets.

local udp = DissectorTable.get("udp.port")
udp:add(4433, Dissector.get("dtls"))
-- Not every version has VXLAN by its name; all have it by its port (RFC 7348).
DissectorTable.get("dtls.port"):add(4433, udp:get_dissector(4789))
