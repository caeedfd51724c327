// Pictures and sounds outlive the relay that brought them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startFirefox } from './firefox.js';
import { enter, isIn, orTellAll, roomAt, shows, testId } from './guest.js';
import { twoOfThree } from './lateness.js';
import { complaints } from './meeting.js';
import { lastPicture, showsPattern } from './pattern.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { eventually, has, openChromium, openFirefox } from './tab.js';
import { isQuiet, listen } from './witness.js';

/** @typedef {import('./tab.js').Tab} Tab */

/**
 * Pages are back after so long at most, in milliseconds: a handshake that began before the relay was there is given up after 5 s, and the longest
 * wait between two tries is 8 s.
 */
const BACK_MS_MAX = 13_000;
/** Then pictures come in this time, in milliseconds, and in what they took in the first place. */
const PICTURES_MS_MAX = 3000;

const NAMES = ['Ana', 'Bo'];

/** @type {import('playwright-core').Browser} */
let chromium;
/** @type {import('./firefox.js').Firefox} */
let firefox;
/** @type {import('./relay.js').Relay} */
let relay;

before(async () => {
  [chromium, firefox, relay] = await allStarted([startBrowser(), startFirefox(), startRelay()]);
});

after(async () => {
  await Promise.all([chromium?.close(), firefox?.stop()]);
  await relay?.stop();
  assert.deepEqual(complaints, []);
});

/** Ana in Chromium and Bo in Firefox. @param {string} transport */
async function pair(transport) {
  const url = roomAt(relay.url, `restart-${transport}`, `?transport=${transport}&video=180p`);
  const tabs = await Promise.all([openChromium(chromium, url, { loses: true }), openFirefox(firefox, url, { loses: true })]);
  await Promise.all(tabs.map((tab, at) => enter(tab, NAMES[at])));
  return tabs;
}

test('a relay that is killed and started again: all see and hear each other again, over both carriers', { timeout: 240_000 }, async (t) => {
  const pairs = await Promise.all(['webtransport', 'websocket'].map(pair));
  t.after(() => Promise.all(pairs.flat().map((tab) => tab.close())));
  await orTellAll(t, pairs.flat(), () => recovers(t, pairs));
});

/** @param {import('node:test').TestContext} t @param {Tab[][]} pairs */
async function recovers(t, pairs) {
  const all = (/** @type {(tab: Tab, other: string, kind: Tab['kind']) => Promise<unknown>} */ act) =>
    Promise.all(pairs.flatMap((tabs) => tabs.map((tab, at) => act(tab, NAMES[1 - at], tabs[1 - at].kind))));
  const entered = performance.now();
  await all(showsPattern);
  const firstMs = performance.now() - entered;
  await twoOfThree(async () => {
    const { backMs, picturesMs } = await killAndStart(all);
    const said = `back ${Math.round(backMs)} ms after the relay, pictures ${Math.round(picturesMs)} ms later, at first in ${Math.round(firstMs)} ms`;
    t.diagnostic(said);
    await all((tab) => eventually(`a sound in ${tab.kind}`, () => listen(tab, 1500), (heard) => !isQuiet(heard)));
    return backMs < BACK_MS_MAX && picturesMs < PICTURES_MS_MAX + firstMs ? null : said;
  });
}

/**
 * Kills the relay and starts it again; says how long it took until all were back, and until they saw each other then.
 * @param {(act: (tab: Tab, other: string, kind: Tab['kind']) => Promise<unknown>) => Promise<unknown>} all
 */
async function killAndStart(all) {
  await relay.kill();
  // The last picture stays meanwhile.
  await all(async (tab, other, kind) => {
    await has(tab, `${testId('badge')}[data-state="reconnecting"]`);
    // Nothing new can come. What is read may be black for a moment: see the preferences of the tests' Firefox.
    await eventually(`${other} in ${tab.kind}`, () => lastPicture(tab, other, kind), ({ isVisible, isPattern }) => isVisible && isPattern);
  });
  await relay.startAgain();
  const started = performance.now();
  await all(isIn);
  const backMs = performance.now() - started;
  await all(async (tab, other, kind) => {
    await shows(tab, other, { picture: 'on', muted: false });
    await showsPattern(tab, other, kind);
  });
  return { backMs, picturesMs: performance.now() - started - backMs };
}
