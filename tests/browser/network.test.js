// Networks and addresses that stand in the way: UDP that is dropped, a page that is not secure.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { JOIN_MS_MAX, roomAt, testId, timeToJoin } from './guest.js';
import { complaints } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { openChromium, reads } from './tab.js';
import { withoutUdp } from './bad-network.js';

/** A host that is this machine, which browsers do not know. */
const ELSEWHERE = 'meeting.example';

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

test('where UDP is dropped, one is in over WebSocket within two seconds, and the page says why', { timeout: 60_000 }, async (t) => {
  const network = await withoutUdp(relay.url);
  const tab = await openChromium(browser, roomAt(network.url, 'dropped'), { loses: true });
  await tab.fill(testId('name'), 'Ana');
  const took = await timeToJoin(tab);
  t.diagnostic(`in the meeting ${Math.round(took)} ms after the click, ${network.dropped()} UDP packets dropped`);
  assert.ok(took <= JOIN_MS_MAX, `${took} ms`);
  assert.ok(network.dropped() > 0);
  await reads(tab, testId('badge'), /^WebSocket · UDP is blocked · \d+ ms/);
  await tab.close();
  await network.stop();
});

test('a page from a plain address says why there is no camera, and where there is one', { timeout: 60_000 }, async () => {
  const plain = new URL(roomAt(relay.url, 'plain'));
  plain.hostname = ELSEWHERE;
  const tab = await openChromium(browser, plain.href);
  assert.equal(await tab.evaluate(() => isSecureContext, null), false);
  await reads(tab, testId('insecure'), new RegExp(`https://${ELSEWHERE}:${relay.port}/r/plain`));
  await tab.close();
});
