// What a broken connection costs the participants of a meeting: nothing. Real browsers, a relay that is killed.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { reconnectDelayMs } from '../../web/sdk/reconnect.js';
import { withLoss } from './bad-network.js';
import * as meeting from './meeting.js';
import { bubbles, complaints, enterWithoutDevices, isIn, isReconnecting, people, rosterChanges, say, sees, seesPerson, watchRoster } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';

/** @typedef {import('playwright-core').Page} Page */

/** From a page's next try, when the relay breathes again, to everyone in the room, in milliseconds. */
const BACK_MS_MAX = 3000;

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
  assert.deepEqual(complaints, []);
});

/** Without camera and microphone, most often: what becomes of those is in recovery.test.js. @param {string} room @param {string} name @param {Partial<Parameters<typeof meeting.join>[3]>} [options] */
const join = (room, name, options) => meeting.join(browser, room, name, { at: relay.url, loses: true, through: enterWithoutDevices, ...options });

/** From now on no wait of a page comes to its end by itself. @param {Page} page */
const holdWaits = (page) => page.evaluate(() => {
  const { setTimeout } = window;
  Object.assign(window, { setTimeout: (/** @type {() => void} */ act) => setTimeout(act, 2 ** 31 - 1) });
});

/** @param {Page} page @param {RegExp} text */
const badgeReads = (page, text) => page.locator('#badge').filter({ hasText: text }).waitFor({ timeout: 30_000 });

/** How long a page may wait for its next try when the relay has been gone for so long, at most. @param {number} goneMs @returns {number} milliseconds */
function waitMsMax(goneMs) {
  let attempt = 0;
  for (let triedMs = 0; triedMs <= goneMs; attempt++) triedMs += reconnectDelayMs(attempt, () => 0);
  return reconnectDelayMs(attempt - 1, () => 1);
}

/** @param {Page} page */
const isBack = (page) => page.locator('#status[data-kind="back"]').waitFor();

/** What one does costs the other nothing: no leaving, no coming, and the chat goes on. @param {Page} one @param {Page} other @param {() => Promise<unknown>} act */
async function unnoticed(one, other, act) {
  // Those who are there are named after one is in.
  await other.locator('#roster .who').nth(1).waitFor({ state: 'attached' });
  const before = await people(other);
  await watchRoster(other);
  await act();
  await say(one, 'I am here');
  await sees(other, 'I am here');
  assert.deepEqual([await rosterChanges(other), await people(other)], [[], before]);
}

test('a relay that is killed and started again: everyone is back, and nothing is lost or doubled', { timeout: 180_000 }, async (t) => {
  const [ana, bo] = [await join('killed', 'Ana'), await join('killed', 'Bo', { query: '?transport=websocket' })];
  await say(ana, 'before');
  await sees(bo, 'before');
  await seesPerson(ana, 'Bo');
  await seesPerson(bo, 'Ana');
  for (const page of [ana, bo]) await watchRoster(page);

  const gone = performance.now();
  await relay.kill();
  for (const page of [ana, bo]) await isReconnecting(page);
  await say(ana, 'meanwhile');
  await say(ana, 'and once more');
  await ana.locator('.message.pending').nth(1).waitFor();
  await relay.startAgain();
  const started = performance.now();
  for (const page of [ana, bo]) await isIn(page);
  const backMs = performance.now() - started;
  const waitMs = waitMsMax(started - gone);
  const said = `gone for ${Math.round(started - gone)} ms, back after ${Math.round(backMs)} ms, a page may wait for ${waitMs} ms`;
  t.diagnostic(said);
  assert.ok(backMs < waitMs + BACK_MS_MAX, said);

  await sees(bo, 'and once more');
  await say(bo, 'after');
  await sees(ana, 'after');
  for (const page of [ana, bo]) {
    assert.deepEqual(await bubbles(page), ['before', 'meanwhile', 'and once more', 'after']);
    assert.deepEqual([await rosterChanges(page), (await people(page)).toSorted()], [[], ['Ana', 'Bo']]);
  }
  const carmen = await join('killed', 'Carmen');
  await sees(carmen, 'after');
  assert.deepEqual(await bubbles(carmen), ['before', 'meanwhile', 'and once more', 'after']);
  await meeting.closeAll(ana, bo, carmen);
});

for (const carrier of ['webtransport', 'websocket']) {
  test(`a reload comes back to the seat, over ${carrier}`, { timeout: 120_000 }, async () => {
    const room = `reload-${carrier}`;
    const [ana, bo] = [await join(room, 'Ana', { query: `?transport=${carrier}&video=180p`, through: meeting.enter }), await join(room, 'Bo')];
    await say(ana, 'from before');
    await sees(bo, 'from before');
    await unnoticed(ana, bo, async () => {
      await ana.reload();
      await isIn(ana);
      await sees(ana, 'from before');
    });
    assert.equal(await ana.locator('#messages .message.own').count(), 2, 'what one said before is still one\'s own');
    await meeting.closeAll(ana, bo);
  });
}

test('a connection that breaks comes back on another carrier, unnoticed by the others', { timeout: 120_000 }, async (t) => {
  const network = await withLoss(relay.url, { loss: 0, delayMs: 0 });
  t.after(() => network.stop());
  const [ana, bo] = [await join('broken', 'Ana', { at: network.url }), await join('broken', 'Bo')];
  await badgeReads(ana, /^WebTransport · /);
  await unnoticed(ana, bo, async () => {
    await network.closeUdp();
    await badgeReads(ana, /^WebSocket · UDP is blocked · /);
  });
  await meeting.closeAll(ana, bo);
});

test('a second tab that takes the seat is unnoticed by the others', { timeout: 120_000 }, async () => {
  const [ana, bo] = [await join('replaced', 'Ana'), await join('replaced', 'Bo')];
  await unnoticed(ana, bo, async () => {
    // A second page with the ticket of the first one, over WebSocket: the first is replaced.
    await ana.evaluate(() => dispatchEvent(new Event('pagehide')));
    const seat = await ana.evaluate(() => sessionStorage.getItem('tertulia.seat'));
    const second = await ana.context().newPage();
    meeting.watch(second, true);
    await second.addInitScript((seat) => {
      if (seat && !sessionStorage.getItem('used')) sessionStorage.setItem('tertulia.seat', seat);
      sessionStorage.setItem('used', 'yes');
    }, seat);
    await second.goto(new URL('/r/replaced?transport=websocket', relay.url).href);
    await isIn(second);
    await meeting.ended(ana, 'replaced');
    await say(second, 'from the second page');
    await sees(bo, 'from the second page');
    await ana.locator('#again').click();
    await isIn(ana);
    await meeting.ended(second, 'replaced');
  });
  await meeting.closeAll(ana, bo);
});

test('a tab that was duplicated is someone of its own', { timeout: 120_000 }, async () => {
  const ana = await join('twice', 'Ana');
  const [second] = await Promise.all([ana.waitForEvent('popup'), ana.evaluate(() => void open(location.href))]);
  meeting.watch(second, true);
  await second.waitForLoadState();
  await enterWithoutDevices(second, 'Ana');
  await ana.locator('#roster .who').nth(1).waitFor({ state: 'attached' });
  assert.deepEqual([await people(ana), await ana.locator('#badge').getAttribute('data-state')], [['Ana', 'Ana'], 'connected']);
  await meeting.closeAll(ana);
});

test('leaving while connecting leaves no seat behind', { timeout: 120_000 }, async () => {
  const page = await join('elsewhere', 'Ana');
  await holdWaits(page);
  const outcome = await page.evaluate(async (sdk) => {
    // No datagram comes back, so that one still connects when the others see one.
    Object.defineProperty(WebTransportDatagramDuplexStream.prototype, 'readable', { get: () => new ReadableStream() });
    const { Room } = await import(sdk);
    const witness = await Room.connect(location.href, { name: 'Ana', room: 'leaving', transport: 'websocket' });
    const room = new Room({ name: 'Bo', room: 'leaving', transport: 'webtransport' });
    witness.on('participantConnected', () => room.disconnect());
    const gone = new Promise((resolve) => witness.on('participantDisconnected', resolve));
    const code = await room.connect(location.href).catch((/** @type {{ code: string }} */ error) => error.code);
    const { reason } = await gone;
    witness.disconnect();
    return [code, room.state, reason];
  }, '/sdk/tertulia.js');
  assert.deepEqual(outcome, ['left', 'disconnected', 'left']);
  await meeting.closeAll(page);
});

test('a network that goes and comes back is noticed at once', { timeout: 120_000 }, async () => {
  const ana = await join('offline', 'Ana', { query: '?transport=websocket' });
  await holdWaits(ana);
  await ana.context().setOffline(true);
  await relay.kill();
  await isReconnecting(ana);
  await relay.startAgain();
  await ana.context().setOffline(false);
  await isBack(ana);
  await meeting.closeAll(ana);
});
