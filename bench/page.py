"""How the live page copes with a crowd: 50 hosts, 500 packets in flight, in a headless Chromium.

A trace is made in which each host always has packets under way to others, and played for some seconds. The browser says how
often it drew something new, and how long its main thread was busy at a stretch: by the clock (a long task is 50 ms and more,
Long Tasks API), which needs a quiet machine to mean something; and in time of the processor, which does not::

    .venv/bin/python bench/page.py [--seconds 10] [--hosts 50] [--flights 500]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from dtls_emu.capture.trace_file import Trace, encode_trace
from dtls_emu.events import Delivered, Offered, Received, Sealed, Sent


sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "teach" / "page"))

from browser import Browser

from dtls_emu.testing.waiting import eventually


FLIGHT = 1e-3
"""Seconds of the lab's clock that a packet is on its link; a second of the screen, at the speed that is chosen."""

SPEED = 6
"""In the list of speeds: 1 ms a second."""

SEED = 7

LONG = 50
"""Milliseconds: a long task (W3C, Long Tasks API)."""

MOST = 100
"""Milliseconds that no task may take, of the processor."""

MEASURE = """
new Promise((done) => {
  const { player } = dtlsEmu;
  const long = [];
  const observer = new PerformanceObserver((list) => long.push(...list.getEntries().map((each) => each.duration)));
  observer.observe({ type: "longtask" });
  const frames = [];
  const crowd = [];
  let then = -1;
  const begin = performance.now();
  const look = (moment) => {
    if (player.time !== then) { frames.push(moment); then = player.time; crowd.push(player.state.flights.size); }
    if (performance.now() - begin < SECONDS * 1000) requestAnimationFrame(look);
    else {
      for (const each of observer.takeRecords()) long.push(each.duration);
      const gaps = frames.slice(1).map((each, at) => each - frames[at]).sort((a, b) => a - b);
      done({ frames: frames.length, seconds: (performance.now() - begin) / 1000, long: long.sort((a, b) => b - a),
             gaps: [gaps[Math.floor(gaps.length / 2)], gaps[Math.floor(gaps.length * 0.99)], gaps.at(-1)],
             flights: [Math.min(...crowd), Math.max(...crowd)] });
    }
  };
  requestAnimationFrame(look);
})
"""


def make_trace(hosts: int, flights: int, seconds: float) -> Trace:
    """Every host sends to others at random, so often that as many packets are under way as asked for."""
    rng = random.Random(SEED)
    names = [f"host-{number:02}" for number in range(1, hosts + 1)]
    address = {name: f"192.0.2.{number}" for number, name in enumerate(names, 1)}
    lab: dict[str, Any] = {
        "virtual_networks": {
            "prod": {"address_prefixes": ["10.0.0.0/16"], "vni": 5001, "encryption": {"enabled": True}}
        },
        "hosts": {name: {"underlay": address[name]} for name in names},
        "vms": {
            f"vm-{number}": {"host": name, "virtual_network": "prod", "address": f"10.0.0.{number + 3}"}
            for number, name in enumerate(names, 1)
        },
    }
    vm_of = {each["host"]: vm for vm, each in lab["vms"].items()}
    events = []
    for number in range(1, int(flights * seconds / FLIGHT) + 1):
        time = number * FLIGHT / flights
        source, target = rng.sample(names, 2)
        ends = (address[source], 49152), (address[target], 4433)
        events += [
            (time, Offered(time, source, 2, number, vm_of[source], 1, 100)),
            (time, Sealed(time, source, 2, number, target, (49152, 4433), 1, number, 1)),
            (time, Sent(time, source, 2, number, number, *ends, 143, 0, round((time + FLIGHT) * 1e9))),
            (time + FLIGHT, Received(time + FLIGHT, target, 2, number, ends[0], 4433, 1, 143)),
            (time + FLIGHT, Delivered(time + FLIGHT, target, 2, number, vm_of[target], 1, 100)),
        ]
    return Trace("crowd", lab, SEED, [event for _, event in sorted(events, key=lambda each: each[0])])


def measure(trace: Trace, seconds: float, folder: Path) -> dict[str, Any]:
    """Play a trace, and what the browser says of it."""
    file = folder / "crowd.trace"
    file.write_text("\n".join(encode_trace(trace)))
    command = [sys.executable, "-m", "dtls_emu", "serve", "--trace", str(file), "--no-browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        browser = Browser(folder / "browser")
        try:
            browser.open(json.loads(process.stdout.readline())["url"])
            browser.wait(
                f"window.dtlsEmu && dtlsEmu.history.rows.length === {len(trace.events)}", seconds=120
            )
            browser.evaluate("dtlsEmu.player.play(false)")
            browser.choose("#speed", str(SPEED))
            browser.evaluate("dtlsEmu.player.seek(0); dtlsEmu.player.play(true)")
            browser.wait("dtlsEmu.player.time > 0.0012", seconds=60)
            browser.call(
                "Tracing.start", categories="toplevel,devtools.timeline", transferMode="ReportEvents"
            )
            found: dict[str, Any] = browser.evaluate(MEASURE.replace("SECONDS", str(seconds)))
            browser.call("Tracing.end")
            eventually(
                lambda: browser.evaluate("1") and None in browser.traced,
                "the recording is complete",
                seconds=60,
            )
            found["busy"] = busy(browser.traced)
            browser.screenshot(folder / "crowd.png")
            assert browser.troubles == []
            return found
        finally:
            browser.close()
            process.terminate()


def busy(traced: list[Any]) -> list[float]:
    """Milliseconds of the processor of each task of the page's main thread, the longest first."""
    names = {
        (each["pid"], each["tid"])
        for each in traced
        if each and each["name"] == "thread_name" and each["args"]["name"] == "CrRendererMain"
    }
    tasks = [
        each["tdur"] / 1e3
        for each in traced
        if each
        and each["name"].endswith("RunTask")
        and (each["pid"], each["tid"]) in names
        and "tdur" in each
    ]
    return sorted(tasks, reverse=True)


def main() -> None:
    """Measure, and say what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="that are measured")
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--flights", type=int, default=500, help="packets that are under way at a time")
    parser.add_argument("--picture", type=Path, help="keep a screenshot of the end")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trace = make_trace(given.hosts, given.flights, (given.seconds + 4) * FLIGHT)
        found = measure(trace, given.seconds, folder)
        if given.picture:
            given.picture.write_bytes((folder / "crowd.png").read_bytes())
    longest = max(found["long"], default=0.0)
    print(
        f"{given.hosts} hosts, {found['flights'][0]} to {found['flights'][1]} packets in flight, {found['seconds']:.1f} s"
    )
    print(f"{found['frames'] / found['seconds']:.1f} frames/s that show something new")
    print(
        "between two of them: {:.0f} ms (median), {:.0f} ms (99 %), {:.0f} ms (longest)".format(
            *found["gaps"]
        )
    )
    print(f"{len(found['long'])} tasks of 50 ms and more by the clock, the longest {longest:.0f} ms")
    tasks = found["busy"]
    long = sum(each >= LONG for each in tasks)
    print(f"{long} tasks of 50 ms and more of the processor, the longest {tasks[0]:.0f} ms, of {len(tasks)}")
    print(f"{sum(tasks) / found['frames']:.1f} ms of the processor for each frame")
    sys.exit(tasks[0] > MOST)


if __name__ == "__main__":
    main()
