// What a broken connection costs the participants of a meeting: nothing. Real browsers, a relay that is killed.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import * as meeting from './meeting.js';
import { bubbles, complaints, enterWithoutDevices, isIn, isReconnecting, people, rosterChanges, say, sees, seesPerson, watchRoster } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';

/** @typedef {import('playwright-core').Page} Page */

/** From the relay's first breath to everyone in the room again, in milliseconds. */
const BACK_MS_MAX = 5000;

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

/** @param {Page} page */
const isBack = (page) => page.locator('#status[data-kind="back"]').waitFor();

/** What one does costs the other nothing: no leaving, no coming, and the chat goes on. @param {Page} one @param {Page} other @param {() => Promise<unknown>} act */
async function unnoticed(one, other, act) {
  const before = await people(other);
  await watchRoster(other);
  await act();
  await say(one, 'I am here');
  await sees(other, 'I am here');
  assert.deepEqual([await rosterChanges(other), await people(other)], [[], before]);
}

test('a relay that is killed and started again: everyone is back, and nothing is lost or doubled', { timeout: 120_000 }, async () => {
  const [ana, bo] = [await join('killed', 'Ana'), await join('killed', 'Bo', { query: '?transport=websocket' })];
  await say(ana, 'before');
  await sees(bo, 'before');
  await seesPerson(ana, 'Bo');
  for (const page of [ana, bo]) await watchRoster(page);

  await relay.kill();
  for (const page of [ana, bo]) await isReconnecting(page);
  await say(ana, 'meanwhile');
  await say(ana, 'and once more');
  await ana.locator('.message.pending').nth(1).waitFor();
  await relay.startAgain();
  const started = performance.now();
  for (const page of [ana, bo]) await isIn(page);
  const backMs = performance.now() - started;
  assert.ok(backMs < BACK_MS_MAX, `back after ${Math.round(backMs)} ms`);

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
  test(`a reload comes back to the seat, over ${carrier}`, { timeout: 60_000 }, async () => {
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

test('a connection that breaks is unnoticed by the others, and may come back on another carrier', { timeout: 60_000 }, async () => {
  const [ana, bo] = [await join('broken', 'Ana'), await join('broken', 'Bo')];
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
    await second.goto(new URL('/r/broken?transport=websocket', relay.url).href);
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

test('a tab that was duplicated is someone of its own', { timeout: 60_000 }, async () => {
  const ana = await join('twice', 'Ana');
  const [second] = await Promise.all([ana.waitForEvent('popup'), ana.evaluate(() => void open(location.href))]);
  meeting.watch(second, true);
  await second.waitForLoadState();
  await enterWithoutDevices(second, 'Ana');
  await ana.locator('#roster .who').nth(1).waitFor({ state: 'attached' });
  assert.deepEqual([await people(ana), await ana.locator('#badge').getAttribute('data-state')], [['Ana', 'Ana'], 'connected']);
  await meeting.closeAll(ana);
});

test('leaving while connecting leaves no seat behind', { timeout: 60_000 }, async () => {
  const page = await join('elsewhere', 'Ana');
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

test('a network that goes and comes back is noticed at once', { timeout: 60_000 }, async () => {
  const ana = await join('offline', 'Ana', { query: '?transport=websocket' });
  await relay.kill();
  await isReconnecting(ana);
  await relay.startAgain();
  await ana.evaluate(() => dispatchEvent(new Event('online')));
  await isBack(ana);
  await meeting.closeAll(ana);
});
