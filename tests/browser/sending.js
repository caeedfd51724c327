// A page that publishes into a made-up room: it numbers tracks, and puts the frames that leave together again.
import { watch } from './meeting.js';

/** @typedef {import('playwright-core').Page} Page */
/** @typedef {import('../../web/sdk/media/send/frame-sender.js').FrameHeader} FrameHeader */
/** @typedef {{ header: FrameHeader, datagrams: number, bytes: number, isEqual: boolean, atMs: number }} SentFrame `isEqual`: its datagrams are as long as each other but for the last */
/** @typedef {{ type: string, source?: string, muted?: boolean, byAdmin?: boolean, code?: string }} Happened */

/**
 * @param {import('playwright-core').Browser} browser @param {string} url a page of the relay
 * @param {{ sdk?: string, carrier?: string, options?: object, before?: () => void }} [made] `sdk`: where it is imported from, if not from where the
 *   page is; `before`: runs in the worker that encodes before anything else does
 */
export async function openPublisher(browser, url, { sdk = url, carrier = 'webtransport', options = {}, before } = {}) {
  const page = await (await browser.newContext()).newPage();
  watch(page);
  page.setDefaultTimeout(40_000);
  if (before) await page.route('**/send.worker.js', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: `(${before})();\n${await response.text()}` });
  });
  await page.goto(new URL('/relay.json', url).href);
  await page.evaluate(makeRoom, { sdk, carrier, options });
  return page;
}

/** Runs in the page. @param {{ sdk: string, carrier: string, options: object }} made */
async function makeRoom({ sdk, carrier, options }) {
  const { Publishing } = await import(new URL('/sdk/media/send/publishing.js', sdk).href);
  const { decodeDatagram } = await import(new URL('/sdk/wire.js', sdk).href);
  const open = new Map();
  const test = {
    sdk, carrier, asked: /** @type {any[]} */ ([]), events: /** @type {any[]} */ ([]), frames: /** @type {any[]} */ ([]), bursts: /** @type {number[]} */ ([]), ahead: /** @type {number[]} */ ([]),
    buffered: 0, leftOut: 0, nextTrack: 1, isLost: false, publishing: /** @type {any} */ (null),
  };
  const receive = (/** @type {Uint8Array} */ datagram) => {
    const { payload, fragmentIndex, fragmentCount, parity, ...header } = decodeDatagram(datagram);
    const key = [header.track, header.spatialLayer, header.frame].join();
    const frame = open.get(key) ?? { header, parts: [], missing: fragmentCount };
    open.set(key, frame);
    frame.parts[fragmentIndex] = payload;
    if (--frame.missing > 0) return;
    open.delete(key);
    const { parts } = frame;
    const isEqual = parts.slice(0, -1).every((/** @type {Uint8Array} */ { length }) => length === parts[0].length);
    const bytes = new Uint8Array(parts.reduce((/** @type {number} */ sum, /** @type {Uint8Array} */ { length }) => sum + length, 0));
    parts.reduce((/** @type {number} */ at, /** @type {Uint8Array} */ part) => (bytes.set(part, at), at + part.length), 0);
    test.frames.push({ header, payload: bytes, datagrams: fragmentCount, bytes: bytes.length, isEqual, atMs: performance.timeOrigin + performance.now() });
  };
  const link = {
    ask: async (/** @type {any} */ request) => {
      if (test.isLost) throw Object.assign(new (await import(new URL('/sdk/error.js', sdk).href)).TertuliaError('not_connected', 'Lost.'));
      test.asked.push(request);
      if (request.type !== 'publish') return { type: 'done', request: 0 };
      const track = test.nextTrack++;
      // Someone is there who takes a small and a large picture.
      const { spatialLayers = 1 } = request.track.media;
      test.publishing.layersWanted({ track, spatialLayers: 1 | (1 << (spatialLayers - 1)), temporalLayer: 7 });
      return { type: 'published', request: 0, track };
    },
    sendDatagrams: (/** @type {Uint8Array[]} */ datagrams, /** @type {{ goesAhead: boolean }} */ { goesAhead }) => {
      if (goesAhead) return void test.ahead.push(datagrams.length);
      test.bursts.push(datagrams.length);
      datagrams.forEach(receive);
    },
    bufferedBytes: () => test.buffered,
    datagramsLeftOut: () => test.leftOut,
    emit: (/** @type {string} */ type, /** @type {any} */ value) => {
      const happened = { type, source: value?.track?.source ?? value?.source, muted: value?.muted, byAdmin: value?.byAdmin, code: value?.error?.code };
      test.events.push(JSON.parse(JSON.stringify(happened)));
    },
    carrier: () => carrier,
  };
  test.publishing = new Publishing(link, options);
  test.publishing.seated({ resumed: false, tracks: [], room: 'test' });
  Object.assign(globalThis, { test });
}

/** Evaluates an expression of `test` and `publishing` in the page. @param {Page} page @param {string} expression @returns {Promise<any>} */
export const run = (page, expression) => page.evaluate(`(async () => { const { test, test: { publishing } } = globalThis; return ${expression}; })()`);

/** Waits until an expression of `test` and `publishing` is true. @param {Page} page @param {string} expression */
export const until = (page, expression) => page.waitForFunction(`(() => { const { test, test: { publishing } } = globalThis; return ${expression}; })()`);

/**
 * Waits until figures say that nothing has left for a second. Those that are told before the first frame say so too, and before the first figures
 * there are none.
 * @param {Page} page
 */
export const rests = (page) => until(page, `(({ tracks }) => tracks.length === publishing.tracks.size
  && tracks.every(({ bitrate, framesSent }) => bitrate === 0 && framesSent > 0))(publishing.stats())`);

/** Forgets the frames that have left. @param {Page} page */
export const forget = (page) => run(page, 'void test.frames.splice(0)');

/**
 * Waits until as many frames have left that `matches`, an expression of `header`, is true of; gives them.
 * @param {Page} page @param {number} count @param {string} [matches] @returns {Promise<SentFrame[]>}
 */
export async function frames(page, count, matches = 'true') {
  await until(page, `test.frames.filter(({ header }) => ${matches}).length >= ${count}`);
  return run(page, `test.frames.filter(({ header }) => ${matches}).map(({ payload, ...frame }) => frame)`);
}

/** Turns a camera or microphone on or off. @param {Page} page @param {'camera' | 'microphone'} source @param {boolean} isOn @param {object} [options] */
export const enable = (page, source, isOn, options = {}) => run(page, `publishing.setEnabled('${source}', ${isOn}, ${JSON.stringify(options)}).then(() => undefined)`);

/** Decodes what has left of one rendition, as long as nothing is missing. @param {Page} page @param {number} layer @param {string} codec @returns {Promise<{ given: number, sizes: string[] }>} */
export const decode = (page, layer, codec) => page.evaluate(async ({ layer, codec }) => {
  const sizes = /** @type {string[]} */ ([]);
  const decoder = new VideoDecoder({
    output: (frame) => { sizes.push(`${frame.displayWidth}x${frame.displayHeight}`); frame.close(); },
    error: (error) => { sizes.push(String(error)); },
  });
  decoder.configure({ codec });
  let given = 0;
  for (const { header, payload } of /** @type {any} */ (globalThis).test.frames) {
    if (header.spatialLayer !== layer || (given === 0 && !header.keyframe)) continue;
    decoder.decode(new EncodedVideoChunk({ type: header.keyframe ? 'key' : 'delta', timestamp: given++, data: payload }));
  }
  await decoder.flush();
  return { given, sizes };
}, { layer, codec });
