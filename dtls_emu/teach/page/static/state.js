// What the picture shows at a moment: made of the events up to it, one after the other.
//
// Every so many events the state is kept, so that any moment is near one: to go back is to go forward from there.
// Entries of the maps are never changed, only replaced; so to keep a state is to copy its maps.

const EVERY = 2000;
const RECENT = 48; // of what has come to its end and may still be seen

const TIME = 0, KIND = 1, HOST = 2, PACKET = 3, COUNT = 4, ABOUT = 7;

export class State {
  constructor(from = null, sampled = false) {
    this.sampled = from?.sampled ?? sampled; // events are a sample of those of real hosts: none is counted, none waited for
    this.at = from?.at ?? 0;
    this.time = from?.time ?? 0;
    this.packets = new Map(from?.packets);
    this.flights = new Map(from?.flights);
    this.tunnels = new Map(from?.tunnels);
    this.counts = new Map(from?.counts);
    this.flows = new Map(from?.flows);
    this.flowOf = new Map(from?.flowOf);
    this.ended = from ? from.ended.slice() : [];
  }

  apply(row) {
    const handler = HANDLERS[row[KIND]];
    this.time = row[TIME];
    if (this.sampled) for (const [key, flight] of this.flights) if (flight.stop < this.time) this.flights.delete(key);
    if (handler) handler(this, row, row[HOST], row[PACKET], row[COUNT], row[ABOUT]);
    this.at += 1;
  }

  count(host, what, reason, count) {
    if (this.sampled) return;
    const key = `${host}\t${what}\t${reason}`;
    this.counts.set(key, (this.counts.get(key) ?? 0) + count);
  }

  change(key, changes) {
    const entry = this.packets.get(key);
    if (entry) this.packets.set(key, { ...entry, ...changes });
    return entry;
  }

  take(key, count) {
    const entry = this.packets.get(key);
    if (!entry) return;
    if (entry.count > count) this.packets.set(key, { ...entry, count: entry.count - count });
    else this.packets.delete(key);
  }

  /** Real hosts tell what they send, and not when it arrives: it is shown on its link for a moment. */
  fly(host, row) {
    const about = row[ABOUT];
    if (!about.fly) return;
    this.flights.set(`s${this.at}`, {
      packet: row[PACKET], count: row[COUNT], from: host, to: about.peer, start: this.time, stop: this.time + about.fly, shape: about.as, passing: true,
    });
  }

  end(entry) {
    this.ended.push({ ...entry, event: this.at, time: this.time });
    if (this.ended.length > RECENT) this.ended.shift();
  }

  tunnel(host, peer, changes) {
    const key = `${host}>${peer}`;
    const before = this.tunnels.get(key);
    if (before && Object.keys(changes).every((name) => before[name] === changes[name])) return; // nothing to draw anew
    this.tunnels.set(key, { state: "idle", epoch: null, keys: 0, ...before, ...changes });
  }

  flow(host, packet, changes) {
    const key = this.flowOf.get(`${packet}@${host}`);
    const flow = key === undefined ? undefined : this.flows.get(key);
    if (flow) this.flows.set(key, { ...flow, ...changes(flow) });
  }
}

function flowKey(host, [vni, protocol, source, sourcePort, destination, destinationPort, fragment]) {
  const ends = [`${source}.${sourcePort}`, `${destination}.${destinationPort}`].sort();
  return `${host}|${vni}|${protocol}|${ends}|${fragment}`;
}

function counted(state, host, about) {
  const key = flowKey(host, about.flow);
  const before = state.flows.get(key);
  state.flows.set(key, {
    out: 0, in: 0, dropped: 0, since: state.time, ...before,
    host, vm: about.vm, flow: before?.flow ?? about.flow, row: about.row || before?.row || 0,
    verdict: about.verdict || before?.verdict || "", code: about.code || before?.code || "",
    ...(about.out ? { out: about.out[0], in: about.in[0] } : {}),
  });
}

const linked = (state, about, changes) => {
  const flight = state.flights.get(about.d);
  if (flight) state.flights.set(about.d, { ...flight, ...changes });
};

const HANDLERS = {
  offered(state, row, host, packet, count, about) {
    const place = about.vm ? "vm" : "card";
    if (state.sampled) {
      state.end({ packet, host, place, vm: about.vm, count, shape: "clear" });
      return;
    }
    state.packets.set(`${packet}@${host}`, { packet, host, place, vm: about.vm, count, shape: "clear" });
    state.count(host, "offered by VMs", "", count);
  },
  classified(state, row, host, packet, count, about) {
    state.change(`${packet}@${host}`, { place: "card", waiting: false });
    if (packet && !state.sampled) state.flowOf.set(`${packet}@${host}`, flowKey(host, about.flow));
  },
  missed(state, row, host, packet, count) {
    state.count(host, "asked the slow path", "", count);
  },
  decided(state, row, host, packet, count, about) {
    state.change(`${packet}@${host}`, { verdict: about.verdict });
    state.flow(host, packet, () => ({ row: about.row, verdict: about.verdict }));
  },
  queued(state, row, host, packet) {
    state.change(`${packet}@${host}`, { waiting: true, place: "card" });
  },
  forwarded(state, row, host, packet, count, about) {
    const words = { encrypted: "encrypted", clear: "sent in clear", local: "to a VM of the same host", gateway: "to the internet" };
    state.count(host, words[about.how], "", count);
    state.flow(host, packet, (flow) => ({ out: flow.out + count, row: about.row }));
    state.fly(host, row);
  },
  sealed(state, row, host, packet, count, about) {
    state.change(`${packet}@${host}`, { shape: "sealed" });
    state.tunnel(host, about.peer, { epoch: about.epoch });
    state.fly(host, row);
  },
  flight_sent: (state, row, host) => state.fly(host, row),
  flight_retransmitted: (state, row, host) => state.fly(host, row),
  sent(state, row, host, packet, count, about) {
    if (packet) state.take(`${packet}@${host}`, 1);
    state.flights.set(about.d, {
      packet, from: host, to: about.to, start: row[TIME], stop: about.at, shape: about.as, datagram: about.d,
    });
    state.count(host, "datagrams on the fabric", { sealed: "sealed", clear: "in clear", handshake: "handshake", unprotected: "without a cipher" }[about.as], 1);
  },
  lost(state, row, host, packet, count, about) {
    const flight = state.flights.get(about.d);
    state.flights.delete(about.d);
    if (flight) state.end({ ...flight, place: "link", why: about.why });
    else state.end({ packet, host, place: "card", why: about.why, shape: "clear" });
    state.count(host, "lost", about.why, count || 1);
  },
  duplicated: (state, row, host, packet, count, about) => linked(state, about, { twice: true }),
  damaged: (state, row, host, packet, count, about) => linked(state, about, { damaged: true }),
  reordered: (state, row, host, packet, count, about) => linked(state, about, { late: true }),
  received(state, row, host, packet, count) {
    if (state.sampled) return;
    let shape = "clear";
    let left = count || 1;
    for (const [key, flight] of state.flights) {
      if (flight.to !== host || flight.packet !== packet || flight.stop > row[TIME] + 2e-9) continue;
      shape = flight.shape;
      state.flights.delete(key);
      if (!--left) break;
    }
    if (packet) state.packets.set(`${packet}@${host}`, { packet, host, place: "card", count, shape, came: true });
  },
  refused(state, row, host, packet, count, about) {
    const entry = state.packets.get(`${packet}@${host}`);
    state.take(`${packet}@${host}`, count);
    state.end({ packet, host, place: "card", why: about.why, shape: entry?.shape ?? "sealed" });
    state.count(host, "refused", about.why, count || 1);
  },
  opened(state, row, host, packet, count, about) {
    state.change(`${packet}@${host}`, { shape: "clear" });
    state.tunnel(about.peer, host, { opened: about.epoch });
  },
  delivered(state, row, host, packet, count, about) {
    const entry = state.packets.get(`${packet}@${host}`);
    state.take(`${packet}@${host}`, count);
    state.end({ packet, host, place: about.vm ? "vm" : "internet", vm: about.vm, shape: "clear", count });
    state.count(host, about.vm ? "delivered to VMs" : "delivered to the internet", "", count);
    if (entry?.came || about.vm) state.flow(host, packet, (flow) => ({ in: flow.in + count }));
    state.flowOf.delete(`${packet}@${host}`);
  },
  dropped(state, row, host, packet, count, about) {
    state.flow(host, packet, (flow) => ({ dropped: flow.dropped + count }));
    state.take(`${packet}@${host}`, count);
    state.flowOf.delete(`${packet}@${host}`);
    state.end({ packet, host, place: "card", vm: about.vm, why: about.why, shape: "clear" });
    state.count(host, "dropped", about.why, count);
  },
  answered: (state, row, host, packet, count) => state.count(host, "answered by ICMP", "too big", count || 1),
  state_changed(state, row, host, packet, count, about) {
    state.tunnel(host, about.peer, { state: about.state, failure: about.failure });
  },
  association_opened(state, row, host, packet, count, about) {
    const before = state.tunnels.get(`${host}>${about.peer}`);
    state.tunnel(host, about.peer, { keys: (before?.keys ?? 0) + 1 });
  },
  rekeyed(state, row, host, packet, count, about) {
    state.tunnel(host, about.peer, { force: about.keys });
  },
  card_restarted(state, row, host) {
    for (const key of state.tunnels.keys()) if (key.startsWith(`${host}>`)) state.tunnels.delete(key);
  },
  flow_started: (state, row, host, packet, count, about) => counted(state, host, about),
  flow_continued: (state, row, host, packet, count, about) => counted(state, host, about),
  flow_ended(state, row, host, packet, count, about) {
    counted(state, host, about);
    const key = flowKey(host, about.flow);
    state.flows.set(key, { ...state.flows.get(key), over: true });
  },
};

export class History {
  constructor(sampled = false) {
    this.rows = [];
    this.kept = [new State(null, sampled)];
    this.head = new State(null, sampled);
    this.now = 0; // how far the lab's clock has run
    this.ended = false;
  }

  /** Take what has happened. Long parts are taken a piece at a time, so that the page goes on answering. */
  async add(part) {
    for (let at = 0; at < part.rows.length; at += EVERY) {
      if (at) await new Promise((done) => setTimeout(done));
      for (const row of part.rows.slice(at, at + EVERY)) {
        this.rows.push(row);
        this.head.apply(row);
        if (this.head.at % EVERY === 0) this.kept.push(new State(this.head));
      }
    }
    this.now = part.now;
    this.ended = part.ended;
  }

  /** The state after so many events; `near` is used if that is quicker. */
  at(index, near = null) {
    const kept = this.kept[Math.floor(index / EVERY)];
    let state = near && near.at <= index && near.at >= kept.at ? near : new State(kept);
    while (state.at < index) state.apply(this.rows[state.at]);
    return state;
  }
}
