// examples/browser: a page of another origin, with the SDK that the relay serves.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { enter, roomAt, shows } from './guest.js';
import { complaints } from './meeting.js';
import { looksLike, showsPattern } from './pattern.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { openChromium } from './tab.js';

const LINES_MAX = 20;
const EXAMPLE = await readFile(new URL('../../examples/browser/index.html', import.meta.url), 'utf8');

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./relay.js').Relay} */
let relay;
/** Where the example is served: not by the relay, and not from its host. */
const server = createServer((request, response) => {
  const isPage = request.url === '/';
  response.writeHead(isPage ? 200 : 204, { 'content-type': 'text/html' }).end(isPage ? EXAMPLE.replaceAll('http://localhost:8000/', relay.url) : '');
});

before(async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  [browser, relay] = await allStarted([startBrowser(), startRelay(['--origin', origin()])]);
});

after(async () => {
  await browser?.close();
  await relay?.stop();
  server.close();
  assert.deepEqual(complaints, []);
});

const origin = () => `http://app.localhost:${/** @type {import('node:net').AddressInfo} */ (server.address()).port}`;

test('a page of another origin joins, publishes and shows video in under twenty lines', { timeout: 120_000 }, async () => {
  assert.ok(EXAMPLE.trimEnd().split('\n').length < LINES_MAX);
  const [example, bo] = [await openChromium(browser, `${origin()}/`), await openChromium(browser, roomAt(relay.url, 'example'))];
  await enter(bo, 'Bo');
  await shows(bo, 'Ana', { picture: 'on', muted: false });
  await showsPattern(bo, 'Ana', 'chromium');
  await looksLike(example, 'main canvas', 'chromium');
  await looksLike(example, 'video', 'chromium');
  await Promise.all([example.close(), bo.close()]);
});
