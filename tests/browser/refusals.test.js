// Relays that let nobody in: the page says why, and lets one in as soon as that is over.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { STREAM_KIND, encodeServerMessage } from '../../web/sdk/wire.js';
import * as meeting from './meeting.js';
import { complaints, isIn } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';

/** @typedef {import('playwright-core').Page} Page */

/** What a relay says to a page of another version; the words are its own. */
const OTHER_VERSION = /** @type {const} */ ({ reason: 'version_unsupported', message: 'The relay speaks another version of the protocol; reload the page or update the program' });

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./relay.js').Relay} */
let small;

before(async () => {
  [browser, small] = await allStarted([startBrowser(), startRelay(['--participants-per-room', '1'])]);
});

after(async () => {
  await browser?.close();
  await small?.stop();
  assert.deepEqual(complaints, []);
});

/** @param {string} room @param {string} query */
const roomOf = (room, query) => new URL(`/r/${room}${query}`, small.url).href;

/** @param {Page} page @param {string} name */
async function tries(page, name) {
  await page.getByTestId('name').fill(name);
  await page.getByTestId('join-without').click();
}

/** @param {Page} page @param {RegExp} text */
async function isTold(page, text) {
  const problem = page.locator('#join-error:not(:empty)');
  await problem.waitFor();
  assert.match((await problem.textContent()) ?? '', text);
}

/**
 * From the next connection on, the relay is of another version. What is open goes on until it is cut.
 * @param {Page} page over WebSocket
 */
async function versions(page) {
  let isOther = false;
  /** @type {import('playwright-core').WebSocketRoute[]} */
  const open = [];
  await page.routeWebSocket(/\/ws/, (socket) => {
    if (!isOther) return void open.push(socket.connectToServer());
    const closing = encodeServerMessage({ type: 'closing', ...OTHER_VERSION });
    socket.onMessage(() => socket.send(Buffer.from([STREAM_KIND.control, ...closing])));
  });
  return {
    change: () => void (isOther = true),
    cut: () => Promise.all(open.map((socket) => socket.close())),
  };
}

for (const transport of ['webtransport', 'websocket']) {
  test(`a room that is full, over ${transport}`, { timeout: 120_000 }, async () => {
    const url = roomOf(`full-${transport}`, `?transport=${transport}`);
    const [ana, bo] = [await meeting.open(browser, url), await meeting.open(browser, url)];
    await meeting.enterWithoutDevices(ana, 'Ana');
    await tries(bo, 'Bo');
    await isTold(bo, /^The room is full; try again when someone has left\.$/);
    await meeting.shoot(bo, `full-${transport}`);
    await ana.getByTestId('leave').click();
    await meeting.ended(ana, 'left');
    await tries(bo, 'Bo');
    await isIn(bo);
    await meeting.closeAll(ana, bo);
  });
}

test('a relay of another version is told before one is in', { timeout: 120_000 }, async () => {
  const page = await meeting.open(browser, small.url);
  const relay = await versions(page);
  relay.change();
  await page.goto(roomOf('other', '?transport=websocket'));
  await tries(page, 'Ana');
  await isTold(page, /another version of the protocol; reload the page/);
  assert.equal(await page.getByTestId('join').isEnabled(), true);
  await meeting.closeAll(page);
});

test('a relay that comes back as another version ends the meeting here', { timeout: 120_000 }, async () => {
  const page = await meeting.open(browser, small.url, { loses: true });
  const relay = await versions(page);
  await page.goto(roomOf('changed', '?transport=websocket'));
  await meeting.enterWithoutDevices(page, 'Ana');
  relay.change();
  await relay.cut();
  await meeting.ended(page, 'version_unsupported');
  assert.match((await page.locator('#status-text').textContent()) ?? '', /another version of the protocol; reload the page/);
  await page.getByRole('button', { name: 'Reload the page' }).click();
  await page.getByTestId('join').waitFor();
  await meeting.closeAll(page);
});
