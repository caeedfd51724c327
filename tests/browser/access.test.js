// Who may come in, and what an admin can do: tokens of LiveKit's SDK and pages of several origins, in real browsers.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { after, before, test } from 'node:test';
import { livekitToken } from './livekit.js';
import * as meeting from './meeting.js';
import { complaints, enterWithoutDevices, isIn, openPanel, say, sees, seesPerson, shoot } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { eventually } from './tab.js';

/** @typedef {import('playwright-core').Page} Page */

const APPLICATION = { apiKey: 'application', secret: 'a secret of LiveKit, 32 bytes or more' };
const FOREIGN = 'https://elsewhere.example/';

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./relay.js').Relay} */
let relay;
/** @type {string} */
let directory;

before(async () => {
  directory = await mkdtemp(joinPath(tmpdir(), 'tertulia-keys-'));
  const keys = joinPath(directory, 'keys.toml');
  await writeFile(keys, `[secrets]\n${APPLICATION.apiKey} = "${APPLICATION.secret}"\n`, { mode: 0o600 });
  [browser, relay] = await allStarted([startBrowser(), startRelay(['--keys', keys])]);
});

after(async () => {
  await browser?.close();
  await relay?.stop();
  await rm(directory, { recursive: true, force: true });
  assert.deepEqual(complaints, []);
});

/** @param {string} room @param {string} name @param {{ isAdmin?: boolean, mayWrite?: boolean, ttl?: string }} [rights] */
function tokenFor(room, name, { isAdmin = false, mayWrite = true, ttl } = {}) {
  return livekitToken({ ...APPLICATION, room, identity: name.toLowerCase(), name, ttl, grants: { roomAdmin: isAdmin, canPublishData: mayWrite } });
}

/** Without camera and microphone. @param {string} room @param {string} name @param {Parameters<typeof tokenFor>[2]} [rights] */
const join = async (room, name, rights) => meeting.join(browser, room, 'ignored', { at: relay.url, token: await tokenFor(room, name, rights), through: enterWithoutDevices });

/** @param {Page} page @param {string} name @param {string} [token] in the field */
async function tries(page, name, token) {
  await page.locator('#name').fill(name);
  if (token !== undefined) await page.locator('#token').fill(token);
  await page.locator('#join').click();
}

/** @param {Page} page @param {RegExp} text */
async function isTold(page, text) {
  const problem = page.locator('#join-error:not(:empty)');
  await problem.waitFor();
  assert.match((await problem.textContent()) ?? '', text);
}

/** The page, opened by an application's page that answers every message of its tab. @param {import('playwright-core').Page} application @param {string} url @param {object} answer */
async function openedBy(application, url, answer) {
  const [page] = await Promise.all([application.waitForEvent('popup'), application.evaluate(({ url, answer }) => {
    const tab = window.open(url);
    addEventListener('message', ({ source, origin }) => {
      if (source === tab && origin === new URL(url).origin) tab?.postMessage(answer, origin);
    });
  }, { url, answer })]);
  meeting.watch(page);
  return page;
}

test('an application that opens the page hands it a token, and no address has it', { timeout: 120_000 }, async () => {
  const elsewhere = Object.assign(new URL('/relay.json', relay.url), { hostname: '127.0.0.1' });
  const application = await meeting.open(browser, elsewhere.href);
  const url = new URL('/r/handed', relay.url).href;
  assert.notEqual(elsewhere.origin, new URL(url).origin);
  const ana = await openedBy(application, url, { token: await tokenFor('handed', 'Ana') });
  // The answer is a message, and a test clicks sooner than a person.
  await ana.waitForFunction(() => /** @type {HTMLInputElement | null} */ (document.querySelector('#token'))?.value);
  await enterWithoutDevices(ana, 'ignored');
  const bo = await join('handed', 'Bo');
  await seesPerson(ana, 'Bo');
  await seesPerson(ana, 'Ana');
  assert.equal(ana.url(), url);
  await say(bo, 'hello');
  await sees(ana, 'hello');
  await ana.reload();
  await isIn(ana);
  await sees(ana, 'hello');
  await meeting.closeAll(ana, bo, application);
});

test('a page without a token asks for one, and says what is wrong with it', { timeout: 120_000 }, async () => {
  const page = await meeting.open(browser, new URL('/r/asked', relay.url).href);
  assert.equal(await page.locator('#token').isVisible(), false);
  await tries(page, 'Ana');
  await isTold(page, /asks for an access token/);
  await shoot(page, 'token-asked');
  await tries(page, 'Ana', 'no token at all');
  await isTold(page, /not valid for this room/);
  await tries(page, 'Ana', await tokenFor('another-room', 'Ana'));
  await isTold(page, /not valid for this room/);
  await tries(page, 'Ana', await tokenFor('asked', 'Ana', { ttl: '-5m' }));
  await isTold(page, /has expired/);
  await tries(page, 'Ana', await tokenFor('asked', 'Ana'));
  await isIn(page);
  await meeting.closeAll(page);
});

test('a token in an address is worth nothing', { timeout: 120_000 }, async () => {
  const token = await tokenFor('address', 'Ana');
  for (const address of [`#token=${token}`, `?token=${token}`, `?access_token=${token}`]) {
    const page = await meeting.open(browser, new URL(`/r/address${address}`, relay.url).href);
    await tries(page, 'Ana');
    await isTold(page, /asks for an access token/);
    await meeting.closeAll(page);
  }
});

test('nobody but the page that opened a tab gives it a token', { timeout: 120_000 }, async () => {
  const page = await meeting.open(browser, new URL('/r/framed', relay.url).href);
  const token = await tokenFor('framed', 'Ana');
  await page.evaluate((token) => window.postMessage({ token }), token);
  await tries(page, 'Ana');
  await isTold(page, /asks for an access token/);
  await meeting.closeAll(page);
});

test('who may not write is told so', { timeout: 120_000 }, async () => {
  const page = await join('mute', 'Ana', { mayWrite: false });
  await openPanel(page, 'chat');
  await page.locator('#text[disabled][placeholder="You may read here, not write"]').waitFor();
  await meeting.closeAll(page);
});

test('an admin removes a participant, who is told so and cannot come back', { timeout: 120_000 }, async () => {
  const [ana, bo, carmen] = [await join('removal', 'Ana', { isAdmin: true }), await join('removal', 'Bo'), await join('removal', 'Carmen')];
  assert.equal(await bo.locator('#admin').isVisible(), false);
  assert.equal(await bo.locator('.more').first().isVisible(), false);
  await say(bo, 'I am disturbing');
  await sees(ana, 'I am disturbing');
  await openPanel(ana, 'people');
  await ana.getByRole('button', { name: 'Actions for Bo' }).click();
  await shoot(ana, 'admin');
  await ana.getByRole('button', { name: 'Remove Bo' }).click();
  await meeting.ended(bo, 'removed');
  await shoot(bo, 'removed');
  assert.equal(await bo.locator('#again').isVisible(), false);
  for (const page of [ana, carmen]) {
    await page.locator('.note', { hasText: 'Bo was removed' }).waitFor({ state: 'attached' });
    await page.locator('#roster .who').getByText('Bo', { exact: true }).waitFor({ state: 'detached' });
  }
  await bo.reload();
  await tries(bo, 'Bo');
  await isTold(bo, /You were removed from the meeting/);
  await meeting.closeAll(ana, bo, carmen);
});

test('an admin locks the room and ends the meeting', { timeout: 120_000 }, async () => {
  const [ana, bo] = [await join('ending', 'Ana', { isAdmin: true }), await join('ending', 'Bo')];
  await openPanel(ana, 'people');
  await ana.getByRole('switch', { name: 'Lock' }).click();
  await bo.locator('#locked').waitFor();
  const late = await meeting.open(browser, new URL('/r/ending', relay.url).href, { token: await tokenFor('ending', 'Carmen') });
  await tries(late, 'Carmen');
  await isTold(late, /The room is locked/);
  await ana.getByRole('switch', { name: 'Lock', checked: true }).click();
  await bo.locator('#locked').waitFor({ state: 'hidden' });
  await tries(late, 'Carmen');
  await isIn(late);
  await ana.locator('#end').click();
  await shoot(ana, 'ending');
  await ana.getByTestId('end-confirm').click();
  for (const page of [ana, bo, late]) await meeting.ended(page, 'meeting_ended');
  await meeting.closeAll(ana, bo, late);
});

test('the same identity in a second tab goes on there', { timeout: 120_000 }, async () => {
  const first = await join('same', 'Ana');
  const second = await join('same', 'Ana');
  await meeting.ended(first, 'replaced');
  await isIn(second);
  await meeting.closeAll(first, second);
});

/** Whether a page can open each carrier. @param {Page} page */
async function opens(page) {
  const { certificateSha256: hash } = await (await fetch(new URL('/relay.json', relay.url))).json();
  return page.evaluate(async ({ url, port, hash }) => {
    const value = Uint8Array.from(hash.match(/../g), (/** @type {string} */ pair) => parseInt(pair, 16));
    const transport = new WebTransport(`https://localhost:${port}/`, { serverCertificateHashes: [{ algorithm: 'sha-256', value }] });
    transport.closed.catch(() => {});
    const webTransport = await transport.ready.then(() => true, () => false);
    const webSocket = await new Promise((resolve) => {
      const socket = new WebSocket(new URL('/ws', url).href.replace('http', 'ws'), 'tertulia.v1');
      socket.onopen = () => resolve(true);
      socket.onerror = () => resolve(false);
    });
    return { webTransport, webSocket };
  }, { url: relay.url, port: relay.port, hash });
}

/** How many the relay has refused for their origin. */
async function refusedOrigins() {
  const metrics = await (await fetch(new URL('/metrics', relay.url))).text();
  return Number(/^tertulia_refused_total\{reason="origin"\} (\d+)$/m.exec(metrics)?.[1] ?? NaN);
}

test('pages of other origins are refused, the relay\'s own are not', { timeout: 120_000 }, async () => {
  const own = await meeting.open(browser, new URL('/relay.json', relay.url).href);
  assert.deepEqual(await opens(own), { webTransport: true, webSocket: true });
  const before = await refusedOrigins();
  const context = await browser.newContext();
  // Else the browser itself would keep a page of elsewhere away from this machine.
  await context.grantPermissions(['local-network-access']);
  const foreign = await context.newPage();
  const said = /** @type {string[]} */ ([]);
  foreign.on('console', (message) => said.push(message.text()));
  await foreign.route(`${FOREIGN}**`, (route) => route.fulfill({ contentType: 'text/html', body: '<title>elsewhere</title>' }));
  await foreign.goto(FOREIGN);
  assert.deepEqual(await opens(foreign), { webTransport: false, webSocket: false });
  await eventually('both are counted', refusedOrigins, (count) => count === before + 2);
  await eventually('the browser says why', async () => said, (all) => all.some((text) => /WebSocket.*403/.test(text)));
  const told = foreign.evaluate(async (url) => {
    const { Room } = await import(new URL('/sdk/tertulia.js', url).href);
    return new Room({ name: 'Eve' }).connect(url).catch((/** @type {{ code: string, message: string }} */ { code, message }) => [code, message]);
  }, relay.url);
  assert.deepEqual(await told, ['origin_refused', 'This relay does not take pages of https://elsewhere.example. Whoever runs it allows them with its option --origin https://elsewhere.example.']);
  await meeting.closeAll(own, foreign);
});
