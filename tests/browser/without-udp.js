// A network that drops UDP: TCP goes to the relay, and the port that the page learns for WebTransport answers nothing.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, request } from 'node:http';
import { connect } from 'node:net';

/**
 * @param {string} relay the address of its page
 * @returns {Promise<{ url: string, dropped: () => number, stop: () => Promise<void> }>} `dropped`: UDP packets, so far
 */
export async function withoutUdp(relay) {
  const { port } = new URL(relay);
  let dropped = 0;
  const hole = createSocket('udp6').on('message', () => void dropped++).bind(0, '::');
  await once(hole, 'listening');
  const webtransport = hole.address().port;

  const server = createServer((incoming, answer) => {
    const isDescription = incoming.url === '/relay.json';
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
    dropped: () => dropped,
    async stop() {
      for (const pipe of pipes) pipe.destroy();
      server.closeAllConnections();
      await Promise.all([once(server.close(), 'close'), once(hole.close(), 'close')]);
    },
  };
}
