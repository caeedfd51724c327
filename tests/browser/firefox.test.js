// Firefox in a meeting with Chromium, over each carrier, and where UDP is dropped.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { withoutUdp } from './bad-network.js';
import { startFirefox } from './firefox.js';
import { JOIN_MS_MAX, enterWithoutDevices, joinInTime, roomAt, say, sees, testId } from './guest.js';
import { complaints } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { openChromium, openFirefox, reads } from './tab.js';

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

test('where UDP is dropped, Firefox is in over WebSocket within two seconds, and the page says why', { timeout: 120_000 }, async (t) => {
  const network = await withoutUdp(relay.url);
  const { tab: bo, times } = await joinInTime(() => openFirefox(firefox, roomAt(network.url, 'dropped'), { loses: true }), 'Bo');
  t.after(() => bo.close().then(network.stop));
  t.diagnostic(`in the meeting ${times.join(', ')} ms after the click, ${network.dropped()} UDP packets dropped`);
  assert.ok(Math.min(...times) <= JOIN_MS_MAX, `${times} ms`);
  assert.ok(network.dropped() > 0);
  await reads(bo, testId('badge'), /^WebSocket · UDP is blocked · \d+ ms/);
});

for (const [transport, carrier] of [['webtransport', 'WebTransport'], ['websocket', 'WebSocket']]) {
  test(`Firefox and Chromium chat over ${carrier}`, { timeout: 120_000 }, async () => {
    const url = roomAt(relay.url, `firefox-${transport}`, `?transport=${transport}`);
    const [ana, bo] = await Promise.all([openChromium(chromium, url), openFirefox(firefox, url)]);
    await Promise.all([enterWithoutDevices(ana, 'Ana'), enterWithoutDevices(bo, 'Bo')]);
    for (const tab of [ana, bo]) await reads(tab, testId('badge'), new RegExp(`^${carrier}( · the link asks for it)? · \\d+ ms`));
    await say(ana, 'hello from Chromium');
    await sees(bo, 'hello from Chromium');
    await say(bo, 'hello from Firefox');
    await sees(ana, 'hello from Firefox');
    await Promise.all([ana.close(), bo.close()]);
  });
}
