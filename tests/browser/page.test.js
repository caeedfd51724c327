// The page in a real browser against a real relay.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { diagnostics } from './guest.js';
import * as meeting from './meeting.js';
import { PHONE, bubbles, complaints, enterWithoutDevices, openPanel, say, sees, shoot } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { eventually } from './tab.js';

/** @typedef {import('playwright-core').Page} Page */

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./relay.js').Relay} */
let relay;

before(async () => {
  [browser, relay] = await allStarted([startBrowser(), startRelay()]);
});

after(async () => {
  await browser?.close();
  await relay?.stop();
  assert.deepEqual(complaints, [], 'no console errors, no policy violations, no uncaught errors');
});

/** @param {string} url @param {meeting.ContextOptions} [options] */
const open = (url, options) => meeting.open(browser, url, options);

/** Small pictures do here: large ones take most of the time. @param {string} room @param {string} name @param {Partial<Parameters<typeof meeting.join>[3]>} [options] */
const join = (room, name, options) => meeting.join(browser, room, name, { at: relay.url, query: '?video=180p', ...options });

/** Who comes to chat. @param {string} room @param {string} name @param {Partial<Parameters<typeof meeting.join>[3]>} [options] */
const attend = (room, name, options) => join(room, name, { through: enterWithoutDevices, ...options });

/** Does something; if it does not come to its end, says what the pages know of their meeting: a camera, an encoder or a decoder may be why. @param {Page[]} pages @param {() => Promise<void>} act */
async function explained(pages, act) {
  try {
    await act();
  } catch (error) {
    const told = await Promise.all(pages.map(async (page) => {
      const tab = /** @type {any} */ ({ evaluate: page.evaluate.bind(page), click: (/** @type {string} */ selector) => page.locator(selector).click() });
      const { last } = await diagnostics(tab).catch(() => ({ last: null }));
      return JSON.stringify({ tiles: await meeting.tiles(page), last });
    }));
    throw new Error([error, ...told].join('\n'), { cause: error });
  }
}

/** Tries to reach the relay that failed, from now on: each begins with its description. @param {Page} page */
function failedTries(page) {
  const failed = /** @type {string[]} */ ([]);
  page.on('requestfailed', (request) => { if (new URL(request.url()).pathname === '/relay.json') failed.push(request.url()); });
  return failed;
}

/** The code that every tutorial has. @param {Page} page @param {string} url */
async function openPlain(page, url) {
  await page.evaluate((url) => {
    const seen = /** @type {string[]} */ ([]);
    const socket = new WebSocket(url);
    socket.onopen = () => seen.push('open');
    socket.onmessage = (event) => seen.push(event.data);
    socket.onclose = () => seen.push('close');
    socket.onerror = () => seen.push('error');
    Object.assign(window, { seen, socket });
  }, url);
  await plainSees(page, ['open']);
}

/** @param {Page} page @param {string[]} expected */
const plainSees = (page, expected) =>
  page.waitForFunction((expected) => JSON.stringify(/** @type {any} */ (window).seen) === expected, JSON.stringify(expected));

/** @param {Page} page @param {string} text */
const plainSay = (page, text) => page.evaluate((text) => /** @type {any} */ (window).socket.send(text), text);

/** @param {string} url the relay's page @param {string} socketUrl */
async function plainClientsAndAMeeting(url, socketUrl) {
  const pages = [await open(new URL('/relay.json', url).href), await open(new URL('/relay.json', url).href)];
  const meeting = await attend('lobby', 'Ana', { at: url });
  for (const page of pages) await openPlain(page, socketUrl);
  const [one, two] = pages;
  await meeting.locator('#roster .tag', { hasText: 'chat only' }).nth(1).waitFor({ state: 'attached' });
  await plainSay(one, 'from one');
  await plainSees(two, ['open', 'from one']);
  await plainSay(two, 'from two');
  await plainSees(one, ['open', 'from two']);
  await sees(meeting, 'from two');
  await say(meeting, 'from Ana');
  await plainSees(one, ['open', 'from two', 'from Ana']);
  await plainSees(two, ['open', 'from one', 'from Ana']);
  await sees(meeting, 'from Ana');
  assert.deepEqual(await bubbles(meeting), ['from one', 'from two', 'from Ana']);
  await Promise.all([...pages, meeting].map((page) => page.context().close()));
}

test('two tabs chat over WebTransport, a third over WebSocket', { timeout: 120_000 }, async () => {
  const names = ['Ana', 'Bo', 'Carmen'];
  const pages = [await attend('standup', 'Ana'), await attend('standup', 'Bo'), await attend('standup', 'Carmen', { query: '?transport=websocket' })];
  for (const [page, carrier] of /** @type {[Page, string][]} */ ([[pages[0], 'WebTransport'], [pages[1], 'WebTransport'], [pages[2], 'WebSocket · the link asks for it']])) {
    await page.locator('#badge').filter({ hasText: new RegExp(`^${carrier} · \\d+ ms( · \\d+(\\.\\d)? %)?$`) }).waitFor();
  }
  for (const [at, page] of pages.entries()) {
    await say(page, `hello from ${names[at]}`);
    for (const other of pages) await sees(other, `hello from ${names[at]}`);
  }
  for (const page of pages) {
    for (const name of names) await meeting.seesPerson(page, name);
    assert.deepEqual(await bubbles(page), names.map((name) => `hello from ${name}`));
  }
  await Promise.all(pages.map((page) => page.context().close()));
});

test('the tutorial code takes part in the chat, unmodified', { timeout: 120_000 }, async () => {
  await plainClientsAndAMeeting(relay.url, `ws://localhost:${new URL(relay.url).port}`);
});

test('the tutorial code takes part on ws://localhost:8000', { timeout: 120_000 }, async (t) => {
  if (!(await isFree(8000))) return t.skip('port 8000 is taken');
  const usual = await startRelay([], ['--listen', '[::]:0']);
  try {
    await plainClientsAndAMeeting(usual.url, 'ws://localhost:8000');
  } finally {
    await usual.stop();
  }
});

test('text from others is text', { timeout: 120_000 }, async () => {
  const markup = '<img src=x onerror="document.title=\'broken\'">';
  const [ana, bo] = [await attend('text', markup), await attend('text', 'Bo')];
  await say(ana, markup);
  await sees(bo, markup);
  await meeting.seesPerson(bo, markup);
  assert.equal(await bo.locator('#messages img, #roster img, #stage img').count(), 0);
  assert.equal(await bo.title(), 'text · Tertulia');
  await Promise.all([ana, bo].map((page) => page.context().close()));
});

test('a message to one participant reaches that one alone', { timeout: 120_000 }, async () => {
  const [ana, bo, carmen] = [await attend('private', 'Ana'), await attend('private', 'Bo'), await attend('private', 'Carmen')];
  await openPanel(ana, 'chat');
  await ana.locator('#to').selectOption({ label: 'Bo' });
  await say(ana, 'for Bo');
  await sees(bo, 'for Bo');
  await ana.locator('#to').selectOption({ label: 'Everyone' });
  await say(ana, 'for all');
  await sees(carmen, 'for all');
  assert.deepEqual(await bubbles(carmen), ['for all']);
  await Promise.all([ana, bo, carmen].map((page) => page.context().close()));
});

test('a page says why the relay is gone, and tries again', { timeout: 120_000 }, async () => {
  const brief = await startRelay();
  const pages = [
    await join('brief', 'Ana', { at: brief.url, loses: true }),
    await join('brief', 'Bo', { at: brief.url, loses: true, query: '?transport=websocket&video=180p' }),
  ];
  const tries = pages.map(failedTries);
  await brief.stop();
  for (const page of pages) await page.locator('#status[data-kind="working"][data-reason="shutting_down"]').waitFor();
  await say(pages[0], 'Is anyone still here?');
  await pages[0].locator('.message.pending', { hasText: 'Waiting for the connection' }).waitFor();
  await shoot(pages[0], 'reconnecting');
  for (const failed of tries) await eventually('a second try', async () => failed.length, (count) => count > 1);
  await meeting.closeAll(...pages);
});

test('who leaves is gone for the others at once, and can join again', { timeout: 120_000 }, async () => {
  const [ana, bo] = [await join('leave', 'Ana'), await join('leave', 'Bo', { query: '?transport=websocket&video=180p' })];
  await explained([ana, bo], async () => {
    for (const [one, other, name] of /** @type {[Page, Page, string][]} */ ([[ana, bo, 'Ana'], [bo, ana, 'Bo']])) {
      await meeting.seesPerson(other, name);
      const otherName = name === 'Ana' ? 'Bo' : 'Ana';
      await meeting.shows(one, otherName, { picture: 'on' });
      await one.locator('#leave').click();
      await meeting.ended(one, 'left');
      await other.locator('#roster .who').getByText(name, { exact: true }).waitFor({ state: 'detached' });
      await one.locator('#again').click();
      await meeting.seesPerson(other, name);
      await meeting.shows(one, otherName, { picture: 'on' });
      await meeting.shows(other, name, { picture: 'on' });
    }
  });
  await meeting.closeAll(ana, bo);
});

test('a meeting whose link has a key says so, and keeps out who has another link', { timeout: 180_000 }, async () => {
  const key = 'AAECAwQFBgcICQoLDA0ODw';
  const query = `?video=180p#key=${key}`;
  const [ana, bo] = [await join('sealed', 'Ana', { query }), await join('sealed', 'Bo', { query })];
  for (const page of [ana, bo]) await page.locator('[data-testid="encryption"][data-on="true"]', { hasText: 'End-to-end encrypted' }).waitFor();
  await meeting.shows(ana, 'Bo', { picture: 'on' });
  await say(ana, 'for those with the key');
  await sees(bo, 'for those with the key');
  const eve = await join('sealed', 'Eve');
  await eve.locator('[data-testid="encryption"][data-on="false"]', { hasText: 'Not end-to-end encrypted' }).waitFor();
  await eve.locator('#messages .unreadable').waitFor({ state: 'attached' });
  await meeting.shows(ana, 'Eve', { picture: 'sealed' });
  await say(eve, 'can you read this?');
  await ana.locator('.message', { hasText: 'can you read this?' }).locator('.foot', { hasText: 'Not encrypted' }).waitFor();
  await meeting.closeAll(ana, bo, eve);
});

// With invented people, all screens are kept in all looks by screens.test.js.
for (const [look, options] of /** @type {[string, meeting.ContextOptions][]} */ ([
  ['desktop-light', {}],
  ['phone-dark', { viewport: PHONE, colorScheme: 'dark' }],
])) {
  test(`screens are kept as pictures: ${look}`, { timeout: 120_000 }, async () => {
    const [ana, bo] = [await join(look, 'Ana Lucía', options), await join(look, 'Bo')];
    await say(bo, 'Good morning! Is everyone here?');
    await sees(ana, 'Good morning! Is everyone here?');
    await say(bo, 'I have the numbers from last week ready.');
    await sees(ana, 'I have the numbers from last week ready.');
    await say(ana, 'Morning. Two minutes, my coffee is not ready ☕');
    await openPanel(bo, 'chat');
    await bo.locator('#text').fill('Take your time');
    await ana.locator('#typing', { hasText: 'Bo is writing…' }).waitFor();
    await ana.locator('#badge', { hasText: ' ms' }).waitFor();
    await shoot(ana, `room-${look}`);
    await meeting.closeAll(ana, bo);
  });
}

/** @param {number} port */
function isFree(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
