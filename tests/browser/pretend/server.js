// Serves the page with the pretended room in place of the SDK, under the page's own policy.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';

const ROOT = new URL('../../../', import.meta.url);
const TYPES = /** @type {Record<string, string>} */ ({ '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml' });
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; media-src 'self' blob:";
const SDK = "export * from '/tests/browser/pretend/room.js';";

/** @returns {Promise<{ url: string, stop(): void }>} */
export async function startPretend() {
  const server = createServer(async ({ url = '/' }, response) => {
    const path = new URL(url, 'http://localhost').pathname;
    const type = TYPES[extname(path)] ?? 'text/html';
    try {
      const body = path === '/sdk/tertulia.js' ? SDK : path === '/relay.json' ? '{"webtransport":4433}' : await readFile(fileOf(path));
      response.writeHead(200, { 'content-type': type, 'content-security-policy': POLICY }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { url: `http://localhost:${port}/`, stop: () => void server.close() };
}

/** @param {string} path */
function fileOf(path) {
  if (path.startsWith('/tests/browser/pretend/') || path.startsWith('/web/sdk/')) return new URL(`.${path}`, ROOT);
  return new URL(`./web${extname(path) ? path : '/index.html'}`, ROOT);
}
