// Networks between a page and its relay: TCP goes to the relay, and UDP to the port that the page learns for WebTransport, which drops
// all of it, or some of it.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';

/** A network that drops UDP. @param {string} relay the address of its page @returns {Promise<Network & { dropped: () => number }>} `dropped`: UDP packets, so far */
export async function withoutUdp(relay) {
  let dropped = 0;
  const hole = createSocket('udp6').on('message', () => void dropped++).bind(0, '::');
  await once(hole, 'listening');
  const page = await pageBehind(relay, hole.address().port);
  return {
    url: page.url,
    dropped: () => dropped,
    stop: async () => void await Promise.all([page.stop(), once(hole.close(), 'close')]),
  };
}

/**
 * A network that loses UDP packets in both directions, by chance, and takes some time for the others.
 * @param {string} relay the address of its page
 * @param {{ loss: number, delayMs: number }} path a part of the packets; and milliseconds in each direction: as they are when a packet comes
 * @returns {Promise<Network & { closeUdp: () => Promise<void> }>} `closeUdp`: from then on nobody takes UDP there, and who sends some is told so
 */
export async function withLoss(relay, path) {
  const description = /** @type {{ webtransport: number }} */ (await (await fetch(new URL('/relay.json', relay))).json());
  const dice = generator(1);
  const listening = createSocket('udp6').bind(0, '::');
  /** One for each client, by its port. @type {Map<number, import('node:dgram').Socket>} */
  const beyond = new Map();
  const later = (/** @type {() => void} */ send) => { if (dice() >= path.loss) setTimeout(send, path.delayMs); };
  let isOver = false;
  listening.on('message', (packet, from) => {
    const known = beyond.get(from.port) ?? createSocket('udp6').on('message', (answer) => later(() => { if (!isOver) listening.send(answer, from.port, from.address); }));
    beyond.set(from.port, known);
    later(() => { if (!isOver) known.send(packet, description.webtransport, '::1'); });
  });
  await once(listening, 'listening');
  const page = await pageBehind(relay, listening.address().port);
  const closeUdp = async () => {
    if (isOver) return;
    isOver = true;
    for (const socket of beyond.values()) socket.close();
    await once(listening.close(), 'close');
  };
  return { url: page.url, closeUdp, stop: async () => void await Promise.all([page.stop(), closeUdp()]) };
}

/** @typedef {{ url: string, stop: () => Promise<void> }} Network */

/** Numbers from 0 to 1 (xorshift32), the same for the same seed. @param {number} seed */
function generator(seed) {
  return () => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) / 2 ** 32;
  };
}

/** The relay's page, which learns another port for WebTransport. @param {string} relay @param {number} webtransport @returns {Promise<Network>} */
async function pageBehind(relay, webtransport) {
  const { port } = new URL(relay);
  const server = createServer((incoming, answer) => {
    const isDescription = incoming.url?.startsWith('/relay.json');
    const asked = request({ port, path: incoming.url, method: incoming.method, headers: incoming.headers }, async (got) => {
      if (!isDescription) return void got.pipe(answer.writeHead(got.statusCode ?? 502, got.headers));
      const description = JSON.parse(Buffer.concat(await got.toArray()).toString());
      answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ ...description, webtransport }));
    });
    asked.on('error', () => answer.destroy());
    incoming.pipe(asked);
  });
  const pipes = /** @type {Set<import('node:stream').Duplex>} */ (new Set());
  server.on('upgrade', ({ method, url, rawHeaders }, page, head) => {
    const there = connect(Number(port));
    const headers = rawHeaders.map((text, at) => (at % 2 ? `${text}\r\n` : `${text}: `)).join('');
    there.write(`${method} ${url} HTTP/1.1\r\n${headers}\r\n`);
    there.write(head);
    page.pipe(there).pipe(page);
    for (const pipe of [page, there]) {
      pipes.add(pipe);
      pipe.on('error', () => pipe.destroy()).on('close', () => pipes.delete(pipe));
    }
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://localhost:${address.port}/`,
    async stop() {
      for (const pipe of pipes) pipe.destroy();
      server.closeAllConnections();
      await once(server.close(), 'close');
    },
  };
}
