// Networks and addresses that stand in the way: UDP that is dropped, a page that is not secure.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { JOIN_MS_MAX, enter, enterWithoutDevices, joinInTime, roomAt, say, sees, testId } from './guest.js';
import { complaints } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { eventually, openChromium, reads, until } from './tab.js';
import { withLoss, withoutUdp } from './bad-network.js';
import { twoOfThree } from './lateness.js';
import { isQuiet, listen, longestPause } from './witness.js';

/** A session is given up when nothing was heard for so long, in milliseconds: before that, the page has to say so. */
const SILENCE_MS_MAX = 10_000;
/** A host that is this machine, which browsers do not know. */
const ELSEWHERE = 'meeting.example';
/** How long sound is listened to while UDP is cut, in milliseconds. */
const LISTENED_MS = 5000;
/** A cut is heard, and sound is there again within three seconds, in milliseconds; a fake microphone beeps every half second. */
const [PAUSE_MS_MIN, PAUSE_MS_MAX] = [800, 3000 + 500];

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./relay.js').Relay} */
let relay;

before(async () => {
  [browser, relay] = await allStarted([startBrowser({ args: [`--host-resolver-rules=MAP ${ELSEWHERE} 127.0.0.1`] }), startRelay(['--host', ELSEWHERE])]);
});

after(async () => {
  await browser?.close();
  await relay?.stop();
  assert.deepEqual(complaints, []);
});

test('where UDP is dropped, one is in over WebSocket within two seconds, and the page says why', { timeout: 120_000 }, async (t) => {
  const network = await withoutUdp(relay.url);
  const { tab, times } = await joinInTime(() => openChromium(browser, roomAt(network.url, 'dropped'), { loses: true }), 'Ana');
  t.diagnostic(`in the meeting ${times.join(', ')} ms after the click, ${network.dropped()} UDP packets dropped`);
  assert.ok(Math.min(...times) <= JOIN_MS_MAX, `${times} ms`);
  assert.ok(network.dropped() > 0);
  await reads(tab, testId('badge'), /^WebSocket · UDP is blocked · \d+ ms/);
  await tab.close();
  await network.stop();
});

test('UDP that is cut in the middle of a call costs a moment of sound, no word, and no seat, and is used again when it is back', { timeout: 300_000 }, async (t) => {
  await twoOfThree(async (attempt) => {
    const pauses = await cutUdp(t, `cut-${attempt}`);
    return pauses.every((pause) => pause > PAUSE_MS_MIN && pause <= PAUSE_MS_MAX) ? null : `${pauses} ms without sound`;
  });
});

/**
 * A call in which UDP is cut.
 * @param {import('node:test').TestContext} t @param {string} room
 * @returns {Promise<number[]>} the longest time without sound of each side, in milliseconds
 */
async function cutUdp(t, room) {
  const path = { loss: 0, delayMs: 0 };
  const network = await withLoss(relay.url, path);
  const [ana, bo] = await Promise.all([network, relay].map(({ url }) => openChromium(browser, roomAt(url, room, '?video=180p'), { loses: true })));
  try {
    await enter(bo, 'Bo');
    await enter(ana, 'Ana');
    await reads(ana, testId('badge'), /^WebTransport · \d+ ms/);
    for (const tab of [ana, bo]) await eventually('a sound', () => listen(tab, 1000), (heard) => !isQuiet(heard));
    await until(bo, 'Ana in the list', () => document.querySelector('[data-testid="roster"]')?.textContent?.includes('Ana') ?? false, null);
    await watchComings(bo);
    const pausing = Promise.all([ana, bo].map((tab) => longestPause(tab, LISTENED_MS)));
    path.loss = 1;
    const started = performance.now();
    await say(ana, 'UDP is gone');
    await say(bo, 'I do not notice');
    await reads(ana, testId('badge'), /^WebSocket · UDP is blocked · \d+ ms/);
    t.diagnostic(`on WebSocket ${Math.round(performance.now() - started)} ms after UDP was cut`);
    for (const tab of [ana, bo]) for (const text of ['UDP is gone', 'I do not notice']) await sees(tab, text);
    const pauses = await pausing;
    t.diagnostic(`without sound for ${pauses.map(Math.round).join(' and ')} ms at most`);
    path.loss = 0;
    await reads(ana, testId('badge'), /^WebTransport · \d+ ms/);
    await say(ana, 'I am on WebTransport');
    await sees(bo, 'I am on WebTransport');
    const bubbles = (/** @type {import('./tab.js').Tab} */ tab) => tab.evaluate(() => [...document.querySelectorAll('[data-testid="messages"] .bubble')].map(({ textContent }) => textContent), null);
    const said = await Promise.all([ana, bo].map(bubbles));
    for (const all of said) assert.deepEqual(all.toSorted(), ['I am on WebTransport', 'I do not notice', 'UDP is gone'], 'each once');
    // The row of oneself may be drawn again.
    assert.deepEqual((await comingsSeen(bo)).filter((text) => text.includes('Ana')), []);
    return pauses;
  } finally {
    await Promise.all([ana.close(), bo.close()]).then(network.stop);
  }
}

/** Writes down who comes and goes in the list of people, from now on. @param {import('./tab.js').Tab} tab */
const watchComings = (tab) => tab.evaluate(() => {
  const comings = /** @type {string[]} */ ([]);
  const roster = /** @type {Element} */ (document.querySelector('[data-testid="roster"]'));
  new MutationObserver((all) => comings.push(...all.flatMap(({ addedNodes, removedNodes }) => [...addedNodes, ...removedNodes]).map(({ textContent }) => textContent ?? '')))
    .observe(roster, { childList: true });
  Object.assign(window, { comings });
}, null);

/** @param {import('./tab.js').Tab} tab @returns {Promise<string[]>} */
const comingsSeen = (tab) => tab.evaluate(() => /** @type {{ comings: string[] }} */ (/** @type {any} */ (window)).comings, null);

test('a network that is silent for some seconds is told of, and is used again when it is back', { timeout: 120_000 }, async (t) => {
  const path = { loss: 0, delayMs: 0 };
  const network = await withLoss(relay.url, path);
  const ana = await openChromium(browser, roomAt(network.url, 'silent', '?transport=webtransport'), { loses: true });
  t.after(() => ana.close().then(network.stop));
  await enterWithoutDevices(ana, 'Ana');
  await reads(ana, testId('badge'), /^WebTransport · \d+ ms/);
  path.loss = 1;
  const started = performance.now();
  await reads(ana, testId('badge'), /^WebTransport · the network is silent$/);
  const took = performance.now() - started;
  t.diagnostic(`told after ${Math.round(took)} ms`);
  assert.ok(took < SILENCE_MS_MAX, `${took} ms`);
  path.loss = 0;
  await reads(ana, testId('badge'), /^WebTransport · \d+ ms/);
});

test('a page from a plain address says why there is no camera, and where there is one', { timeout: 120_000 }, async () => {
  const plain = new URL(roomAt(relay.url, 'plain'));
  plain.hostname = ELSEWHERE;
  const tab = await openChromium(browser, plain.href);
  assert.equal(await tab.evaluate(() => isSecureContext, null), false);
  await reads(tab, testId('insecure'), new RegExp(`https://${ELSEWHERE}:${relay.port}/r/plain`));
  await tab.close();
});
