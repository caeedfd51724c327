// The files of web/ and of these tests, for pages that need no relay.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const TYPES = /** @type {Record<string, string>} */ ({ '.js': 'text/javascript', '.html': 'text/html', '.css': 'text/css' });
const ROOT = new URL('../../', import.meta.url);
const SERVED = /^\/(web|tests\/browser)\//;
const BLANK = '<!doctype html><meta charset="utf-8"><title>test</title>';

/** @returns {Promise<{ url: string, stop: () => Promise<void> }>} */
export async function serveFiles() {
  const server = createServer(async ({ url }, response) => {
    const path = normalize(new URL(url ?? '/', 'http://localhost').pathname);
    const isFile = SERVED.test(path);
    try {
      const body = isFile ? await readFile(fileURLToPath(new URL(`.${path}`, ROOT))) : BLANK;
      response.writeHead(200, { 'content-type': isFile ? TYPES[extname(path)] ?? 'application/octet-stream' : 'text/html' }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  const address = /** @type {import('node:net').AddressInfo} */ (server.address());
  return {
    url: `http://localhost:${address.port}/`,
    stop: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(() => resolve());
    }),
  };
}
