// People see and hear each other although the network between one of them and the relay loses packets.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BEHIND_NETWORK, impaired } from './bad-network.js';
import { startFirefox } from './firefox.js';
import { diagnostics, enter, roomAt, shows } from './guest.js';
import { complaints } from './meeting.js';
import { allStarted, startBrowser, startRelay } from './relay.js';
import { openChromium, openFirefox } from './tab.js';
import { counted, fromRest, inWords, settled, soundOf, trackOf, wayOf } from './way.js';

/** @typedef {import('./tab.js').Tab} Tab */

/** On a busy machine the bounds say only that what is lost does not stop the picture: without repair, next to nothing is shown. */
const IS_QUIET = process.env.MEETING === 'quiet';
const COUNTED_MS = IS_QUIET ? 30_000 : 8000;
/** Frames that are sent: a camera gives 30 a second. A machine that is busy sends fewer. */
const FRAMES_MIN = (COUNTED_MS / 1000) * (IS_QUIET ? 29 : 5);
/** Of the frames that were sent, how many are shown. */
const SHOWN_MIN = IS_QUIET ? 0.97 : 0.4;
const CONCEALED_MAX = IS_QUIET ? 0.01 : 0.1;
/** In samples: figures are told once a second. */
const PLAYED_MIN = 48 * (COUNTED_MS - 1000) * (IS_QUIET ? 0.98 : 0.8);
/** How often sound is counted at most until it is so. */
const COUNTS_MAX = IS_QUIET ? 1 : 5;
/** Who is there; the second one is behind the network. */
const PAIRS = /** @type {[Tab['kind'], Tab['kind']][]} */ (IS_QUIET ? [['chromium', 'chromium'], ['chromium', 'firefox'], ['firefox', 'chromium']] : [['chromium', 'firefox']]);

/** @type {import('playwright-core').Browser} */
let chromium;
/** @type {import('./firefox.js').Firefox} */
let firefox;
/** @type {import('./relay.js').Relay} */
let relay;
/** @type {import('./bad-network.js').Network} */
let network;

before(async () => {
  [chromium, firefox, relay] = await allStarted([startBrowser(), startFirefox(), startRelay(['--congestion', 'tertulia'], BEHIND_NETWORK)]);
  network = await impaired(relay, ['delay 30ms', 'loss 2%']);
});

after(async () => {
  // What is left over keeps the tests from ending.
  const ended = await Promise.allSettled([chromium?.close(), firefox?.stop(), network?.stop(), relay?.stop()]);
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
  assert.deepEqual(complaints, []);
});

/** @param {number} ms */
const pass = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** What is asserted: little on a busy machine. */
const WHAT = IS_QUIET ? '97 % of the pictures are shown and the sound is whole' : 'two of five pictures are shown and nine tenths of the sound come';

for (const kinds of PAIRS) test(`with 60 ms of round trip and 2 % of loss, ${WHAT}: ${kinds.join(' and ')}`, { timeout: 240_000 }, async (t) => {
  const query = '?transport=webtransport&video=360p';
  const open = (/** @type {number} */ at, /** @type {string} */ relay) => {
    const url = roomAt(relay, `loss-${kinds.join('-')}`, query);
    return kinds[at] === 'chromium' ? openChromium(chromium, url) : openFirefox(firefox, url);
  };
  const [ana, bo] = await Promise.all([open(0, relay.url), open(1, network.url)]);
  const names = ['Ana', 'Bo'];
  const both = /** @type {[Tab, Tab]} */ ([ana, bo]);
  t.after(() => Promise.all(both.map((tab) => tab.close())));
  await Promise.all([enter(ana, 'Ana'), enter(bo, 'Bo')]);
  await Promise.all([shows(ana, 'Bo', { picture: 'on' }), shows(bo, 'Ana', { picture: 'on' })]);
  // What goes beside the media begins with the first report of loss, and figures are told once a second.
  await pass(3000);
  const begin = () => (IS_QUIET ? fromRest(both, names) : Promise.all(both.map(diagnostics)));
  const isWhole = (/** @type {ReturnType<typeof soundOf>} */ { played, concealed, silent }) => played >= PLAYED_MIN && concealed + silent <= CONCEALED_MAX * played;
  const { before, during } = await counted(t, both, { begin, ms: COUNTED_MS, timesMax: COUNTS_MAX, isWhole });
  const after = await settled(both, names);
  for (const [at, name] of [`${kinds[1]} to ${kinds[0]}`, `${kinds[0]} to ${kinds[1]}`].entries()) {
    const way = wayOf(IS_QUIET ? { from: before[1 - at], to: before[at] } : null, { from: after[1 - at], to: after[at] });
    const { played, concealed, silent } = soundOf(before[at], during[at]);
    const { latencyMs: { p50, p95 } } = trackOf(during[at], 'camera', false);
    t.diagnostic(`${name}: frames: ${inWords(way)}; p50 ${p50} ms, p95 ${p95} ms; sound: ${concealed} of ${played} samples made up, ${silent} silent`);
    assert.ok(way.sent >= FRAMES_MIN, `${name}: ${inWords(way)}`);
    assert.ok(way.drawn >= SHOWN_MIN * way.sent, `${name}: ${inWords(way)}`);
    assert.ok(played >= PLAYED_MIN, `${name}: ${played} samples played`);
    assert.ok(concealed + silent <= CONCEALED_MAX * played, `${name}: ${concealed} of ${played} samples made up, ${silent} silent`);
  }
});
