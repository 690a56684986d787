// What the page asks of its server. Addresses are relative: the token is in them.

const run = Number(new URLSearchParams(location.search).get("run") ?? 0) || 0;
const api = `api/${run}/`;

async function answer(response) {
  const found = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(found.error ?? `the server says ${response.status}`);
  return found;
}

const gone = () => {
  throw new Error("the server does not answer: is `dtls-emu serve` still running?");
};

export const get = async (path) => answer(await fetch(api + path).catch(gone));

export const post = async (path, body = {}) =>
  answer(
    await fetch(api + path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    }).catch(gone),
  );

/** Every row of a run: those that are there, a part at a time, then as they happen. */
export async function follow(count, live, take) {
  let at = 0;
  for (let limit = 2000; at < count; limit = 20000) {
    const part = await get(`events?from=${at}&limit=${limit}`);
    await take(part);
    if (!part.rows.length) break;
    at += part.rows.length;
  }
  if (!live) return;
  const stream = new EventSource(`${api}stream?from=${at}`);
  stream.onmessage = (message) => {
    const part = JSON.parse(message.data);
    // After a lost connection the server may begin with what is here already.
    part.rows = part.rows.slice(at - part.from);
    at += part.rows.length;
    take(part);
  };
}

export const otherRun = (number) => `?run=${number}`;
export const isMainRun = run === 0;
