// Pictures and sounds outlive the relay that brought them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startFirefox } from './firefox.js';
import { enter, isIn, roomAt, shows, testId } from './guest.js';
import { complaints } from './meeting.js';
import { lastPicture, showsPattern } from './pattern.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { eventually, has, openChromium, openFirefox } from './tab.js';
import { isQuiet, listen } from './witness.js';

/** @typedef {import('./tab.js').Tab} Tab */

/**
 * Pictures are back after so long at most, in milliseconds: a handshake that began before the relay was there is given up after 5 s, the longest
 * wait between two tries is 8 s, and then a picture has to come.
 */
const BACK_MS_MAX = 16_000;

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

for (const transport of ['webtransport', 'websocket']) {
  test(`a relay that is killed and started again: all see and hear each other again, over ${transport}`, { timeout: 120_000 }, async (t) => {
    const url = roomAt(relay.url, `restart-${transport}`, `?transport=${transport}&video=180p`);
    const tabs = await Promise.all([openChromium(chromium, url, { loses: true }), openFirefox(firefox, url, { loses: true })]);
    const names = ['Ana', 'Bo'];
    await Promise.all(tabs.map((tab, at) => enter(tab, names[at])));
    const all = (/** @type {(tab: Tab, other: string, kind: Tab['kind']) => Promise<unknown>} */ act) =>
      Promise.all(tabs.map((tab, at) => act(tab, names[1 - at], tabs[1 - at].kind)));
    await all(showsPattern);

    await relay.kill();
    // The last picture stays meanwhile.
    await all(async (tab, other, kind) => {
      await has(tab, `${testId('badge')}[data-state="reconnecting"]`);
      const { isVisible, isPattern, picture } = await lastPicture(tab, other, kind);
      assert.deepEqual({ isVisible, isPattern }, { isVisible: true, isPattern: true }, `${other} in ${tab.kind}: ${picture.join(' ')}`);
    });
    await relay.startAgain();
    const started = performance.now();
    await all(async (tab, other, kind) => {
      await isIn(tab);
      await shows(tab, other, { picture: 'on', muted: false });
      await showsPattern(tab, other, kind);
    });
    const took = performance.now() - started;
    t.diagnostic(`pictures ${Math.round(took)} ms after the relay`);
    assert.ok(took < BACK_MS_MAX, `${took} ms`);
    await all((tab) => eventually('a sound', () => listen(tab, 1500), (heard) => !isQuiet(heard)));
    await Promise.all(tabs.map((tab) => tab.close()));
  });
}
