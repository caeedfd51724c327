// Networks between a page and its relay. Those made here take TCP to the relay, and UDP to the port that the page learns for WebTransport,
// which drops all of it, or some of it; `impair`, the example, has both behind another address.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

/** What a relay is started with, so that it leaves the network's address free. */
export const BEHIND_NETWORK = Object.freeze(['--listen', '127.0.0.1:0', '--http', '127.0.0.1:0']);
const NETWORK_ADDRESS = '127.0.0.2';
/** How long it may take to begin, and to end, in milliseconds. */
const NETWORK_MS = 5000;

/**
 * The network of `examples/impair` between pages and a relay that was started with {@link BEHIND_NETWORK}: UDP and TCP.
 * @param {import('./relay.js').Relay} relay @param {string[]} lines what it does @returns {Promise<Network>}
 */
export async function impaired({ url, port }, lines) {
  const binary = join(dirname(process.env.TERTULIA_BIN ?? ''), 'examples', 'impair');
  const { port: page } = new URL(url);
  const child = spawn(binary, ['--listen', NETWORK_ADDRESS, '--port', `${port}`, '--port', page, ...lines], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  const inTime = () => setTimeout(() => child.kill('SIGKILL'), NETWORK_MS);
  const timeout = inTime();
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith('Type a line')) continue;
    clearTimeout(timeout);
    child.stdout.resume();
    return {
      url: `http://${NETWORK_ADDRESS}:${page}/`,
      async stop() {
        child.kill('SIGINT');
        const timeout = inTime();
        const [code] = await exit;
        clearTimeout(timeout);
        assert.equal(code, 0, 'the network stops with 0 on SIGINT');
      },
    };
  }
  clearTimeout(timeout);
  throw new Error(`${binary} ended before it began; is it there? cargo build --example impair`);
}

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
