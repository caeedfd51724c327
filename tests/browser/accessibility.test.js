// Each screen at each size and in each colour scheme: what the rules of axe say of it, and a picture to look at.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { after, before, test } from 'node:test';
import { violations } from './axe.js';
import { livekitToken } from './livekit.js';
import * as meeting from './meeting.js';
import { PHONE, complaints, openPanel, say, sees, shoot, shows } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';

/** @typedef {import('playwright-core').Page} Page */

const APPLICATION = { apiKey: 'application', secret: 'a secret of LiveKit, 32 bytes or more' };
const ROOM = 'standup';

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('playwright-core').Browser} */
let withoutDevices;
/** @type {import('./relay.js').Relay} */
let relay;
/** @type {string} */
let directory;
/** Who is there already. @type {Page[]} */
let others = [];

before(async () => {
  directory = await mkdtemp(joinPath(tmpdir(), 'tertulia-keys-'));
  const keys = joinPath(directory, 'keys.toml');
  await writeFile(keys, `[secrets]\n${APPLICATION.apiKey} = "${APPLICATION.secret}"\n`, { mode: 0o600 });
  [browser, withoutDevices, relay] = await allStarted([startBrowser(), startBrowser({ denied: true }), startRelay(['--keys', keys])]);
});

after(async () => {
  await Promise.all([browser?.close(), withoutDevices?.close()]);
  await relay?.stop();
  await rm(directory, { recursive: true, force: true });
  assert.deepEqual(complaints, []);
});

/** In front of the meeting. @param {string} name @param {meeting.ContextOptions} [options] @param {import('playwright-core').Browser} [from] */
async function arrive(name, options, from = browser) {
  const token = await livekitToken({ ...APPLICATION, room: ROOM, identity: name.toLowerCase(), name, grants: { roomAdmin: name === 'Ana' } });
  return meeting.open(from, new URL(`/r/${ROOM}?video=180p`, relay.url).href, { token, ...options });
}

/** Waits until each tile that shows a picture does so on the screen: it is drawn before it is seen. @param {Page} page */
const painted = (page) => page.waitForFunction(() => {
  const tiles = [...document.querySelectorAll('.tile[data-picture]')].filter((tile) => tile.checkVisibility());
  const isPainted = (/** @type {HTMLCanvasElement | HTMLVideoElement} */ picture) => {
    const small = new OffscreenCanvas(8, 8).getContext('2d', { willReadFrequently: true });
    small?.drawImage(picture, 0, 0, 8, 8);
    return small?.getImageData(0, 0, 8, 8).data.some((part, at) => at % 4 === 3 && part > 0);
  };
  const pictures = /** @type {(HTMLCanvasElement | HTMLVideoElement)[]} */ (tiles.flatMap((tile) => [...tile.querySelectorAll('.picture :is(canvas, video)')]));
  return tiles.every((tile) => !['waiting', 'stalled'].includes(tile.getAttribute('data-picture') ?? '')) && pictures.filter((picture) => picture.checkVisibility({ visibilityProperty: true })).every(isPainted);
}, undefined, { polling: 100 });

/** Keeps a picture, and asks axe. @param {Page} page @param {string} name */
async function examine(page, name) {
  await painted(page);
  await shoot(page, `live-${name}`);
  assert.deepEqual(await violations(page), []);
}

/** @param {Page} admin @param {boolean} isLocked */
async function lock(admin, isLocked) {
  await openPanel(admin, 'people');
  await admin.getByTestId('lock').click();
  await admin.locator(`[data-testid="lock"][aria-checked="${isLocked}"]`).waitFor();
}

/** @type {[string, meeting.ContextOptions][]} */
const LOOKS = [
  ['desktop-light', {}],
  ['phone-dark', { viewport: PHONE, colorScheme: 'dark' }],
];

for (const [look, options] of LOOKS) {
  test(`in front of the meeting: ${look}`, { timeout: 180_000 }, async (t) => {
    const landing = await meeting.open(browser, relay.url, options);
    await t.test('landing', () => examine(landing, `landing-${look}`));
    const ana = await arrive('Ana', options);
    await ana.locator('[data-testid="preview"][data-state="on"]').waitFor();
    await t.test('pre-join', () => examine(ana, `prejoin-${look}`));
    const denied = await arrive('Dai', options, withoutDevices);
    await denied.locator('[data-testid="media-problem"][data-code="device_denied"]').waitFor();
    await t.test('devices that are denied', () => examine(denied, `denied-${look}`));
    await meeting.enter(ana, 'Ana');
    await ana.getByTestId('invite').waitFor();
    await t.test('alone in the meeting', () => examine(ana, `alone-${look}`));
    await lock(ana, true);
    await denied.getByTestId('name').fill('Dai');
    await denied.getByTestId('join').click();
    await denied.locator('[data-testid="join-error"]', { hasText: 'locked' }).waitFor();
    await t.test('a room that is locked', () => examine(denied, `locked-${look}`));
    await lock(ana, false);
    await meeting.closeAll(landing, ana, denied);
  });
}

test('others come', { timeout: 120_000 }, async () => {
  const [bo, carmen] = others = [await arrive('Bo'), await arrive('Carmen')];
  await meeting.enterWithDevices(bo, 'Bo');
  await meeting.enterWithDevices(carmen, 'Carmen');
  await say(bo, 'Good morning! Is everyone here?');
  await say(carmen, 'I have the numbers from last week ready.');
});

for (const [look, options] of LOOKS) {
  test(`in the meeting: ${look}`, { timeout: 180_000 }, async (t) => {
    const ana = await arrive('Ana', options);
    await meeting.enterWithDevices(ana, 'Ana');
    for (const name of ['Bo', 'Carmen']) await shows(ana, name, { picture: 'on' });
    const fits = await ana.locator('.tile .picture canvas').evaluateAll((canvases) => canvases.map((canvas) => getComputedStyle(canvas).objectFit));
    assert.deepEqual(fits, ['cover', 'cover'], 'faces fill their tiles');
    await t.test('meeting', () => examine(ana, `meeting-${look}`));
    await say(ana, 'Morning. Two minutes, my coffee is not ready ☕');
    await sees(ana, 'I have the numbers from last week ready.');
    await t.test('chat', () => examine(ana, `chat-${look}`));
    // On a telephone a panel covers the rest.
    await meeting.closePanel(ana);
    await openPanel(ana, 'people');
    await t.test('people', () => examine(ana, `people-${look}`));
    await meeting.closePanel(ana);
    await openPanel(ana, 'statistics');
    await ana.getByTestId('track-row').nth(5).waitFor();
    await t.test('statistics', () => examine(ana, `statistics-${look}`));
    await meeting.closePanel(ana);
    await ana.getByTestId('open-settings').click();
    await t.test('settings', () => examine(ana, `settings-${look}`));
    await ana.getByTestId('settings-close').click();
    await others[0].getByTestId('toggle-screen').click();
    await shows(ana, 'Bo', { source: 'screen', picture: 'on' });
    await t.test('a screen on the stage', () => examine(ana, `screen-${look}`));
    await others[0].getByTestId('toggle-screen').click();
    await ana.getByTestId('leave').click();
    await meeting.ended(ana, 'left');
    await t.test('after the meeting', () => examine(ana, `left-${look}`));
    await meeting.closeAll(ana);
  });
}
