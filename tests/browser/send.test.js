// What a page publishes, in a real browser with fake devices: the datagrams that leave, and what becomes of the devices.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startBrowser, startRelay } from './relay.js';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('../../web/sdk/media/frame-sender.js').FrameHeader} FrameHeader */
/** @typedef {{ header: FrameHeader, datagrams: number, bytes: number, isWhole: boolean, atMs: number }} SentFrame a frame that left, put together again */

const WITHOUT_CLICK = '--autoplay-policy=no-user-gesture-required';

/** @type {import('playwright-core').Browser} */
let browser;
/** @type {import('./relay.js').Relay} */
let relay;

before(async () => {
  [browser, relay] = await Promise.all([startBrowser({ args: [WITHOUT_CLICK] }), startRelay()]);
});

after(async () => {
  await browser?.close();
  await relay?.stop();
});

/** A page with a Publishing whose room is made up: it numbers tracks, and keeps frames. @param {{ carrier?: string, options?: object }} [made] */
async function open({ carrier = 'webtransport', options = {} } = {}) {
  const page = await (await browser.newContext()).newPage();
  page.setDefaultTimeout(20_000);
  await page.goto(new URL('/relay.json', relay.url).href);
  await page.evaluate(async ({ carrier, options }) => {
    const at = (/** @type {string} */ path) => import(new URL(path, location.href).href);
    const { Publishing } = await at('/sdk/media/publishing.js');
    const { decodeDatagram } = await at('/sdk/wire.js');
    const test = {
      asked: /** @type {any[]} */ ([]), events: /** @type {any[]} */ ([]), frames: /** @type {any[]} */ ([]), bursts: /** @type {number[]} */ ([]),
      open: new Map(), buffered: 0, nextTrack: 1, publishing: /** @type {any} */ (null),
    };
    const receive = (/** @type {Uint8Array} */ datagram) => {
      const { payload, fragmentIndex, fragmentCount, ...header } = decodeDatagram(datagram);
      const key = [header.track, header.spatialLayer, header.frame].join();
      const frame = test.open.get(key) ?? { header, seen: new Set(), lengths: [], fragmentCount };
      test.open.set(key, frame);
      frame.seen.add(fragmentIndex);
      frame.lengths[fragmentIndex] = payload.length;
      if (frame.seen.size < fragmentCount) return;
      test.open.delete(key);
      const equal = frame.lengths.slice(0, -1).every((/** @type {number} */ length) => length === frame.lengths[0]);
      const atMs = performance.timeOrigin + performance.now();
      test.frames.push({ header, datagrams: fragmentCount, bytes: frame.lengths.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0), isWhole: equal, atMs });
    };
    test.publishing = new Publishing({
      ask: async (/** @type {any} */ request) => {
        test.asked.push(request);
        return request.type === 'publish' ? { type: 'published', request: 0, track: test.nextTrack++ } : { type: 'done', request: 0 };
      },
      sendDatagrams: (/** @type {Uint8Array[]} */ datagrams) => { test.bursts.push(datagrams.length); datagrams.forEach(receive); },
      bufferedBytes: () => test.buffered,
      emit: (/** @type {string} */ type, /** @type {any} */ value) => test.events.push({ type, source: value?.track?.source ?? value?.source, muted: value?.muted, byAdmin: value?.byAdmin, code: value?.error?.code }),
      carrier: () => carrier,
    }, options);
    test.publishing.seated({ resumed: false, tracks: [], room: 'test' });
    Object.assign(window, { test });
  }, { carrier, options });
  return page;
}

/** Waits until there are as many frames of which `matches` is true, and gives them. @param {Page} page @param {number} count @param {(header: FrameHeader) => boolean} matches @returns {Promise<SentFrame[]>} */
async function frames(page, count, matches) {
  const source = `(frame) => (${matches})(frame.header)`;
  await page.waitForFunction(({ count, source }) => /** @type {any} */ (window).test.frames.filter(eval(source)).length >= count, { count, source });
  return page.evaluate((source) => /** @type {any} */ (window).test.frames.filter(eval(source)), source);
}

/** @param {Page} page @param {string} expression of `test` and `publishing` @returns {Promise<any>} */
const run = (page, expression) => page.evaluate(`(async () => { const { test } = window; const { publishing } = test; return ${expression}; })()`);

test('the camera leaves as whole frames in the renditions that are wanted', { timeout: 60_000 }, async () => {
  const page = await open();
  await run(page, 'publishing.setEnabled("camera", true, { width: 640, height: 360 }).then(() => 0)');
  const sent = await frames(page, 60, ({ track }) => track === 1);
  console.log(sent.slice(0, 10), await run(page, 'test.bursts.slice(0, 50)'), await run(page, 'publishing.stats()'), await run(page, 'test.events'), await run(page, 'test.asked.map((a) => JSON.stringify(a))'));
  await page.context().close();
});

test('microphone', { timeout: 60_000 }, async () => {
  const page = await open();
  await run(page, 'publishing.setEnabled("microphone", true).then(() => 0)');
  const sent = await frames(page, 100, ({ track }) => track === 1);
  console.log(sent.slice(0, 3), sent.map((f) => f.header.audioLevel).join(' '), sent.map((f) => Math.round((f.atMs * 90 - f.header.timestamp) % 2 ** 32 / 90)).join(' '));
  await page.context().close();
});
