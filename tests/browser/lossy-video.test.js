// Pictures over a path of 60 ms that loses 2 %, with parity: what comes in time to be decoded. Path, decoder and time are made up; what is
// asked for is sent once more in both hops.
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { decodeMedia } from '../../web/sdk/wire.js';
import { PREFIX_BYTES } from '../../web/sdk/wire/media.js';
import { wants } from '../../web/sdk/wire/repeat.js';
import { ticksOf } from '../../web/sdk/media/media-clock.js';
import { VideoReception } from '../../web/sdk/media/receive/video-reception.js';
import { fragmentWithParity } from '../../web/sdk/media/send/fragment.js';
import { References } from '../../web/sdk/media/send/references.js';

const LOSS = 0.02;
const ONE_WAY_MS = 30;
const ROUND_TRIP_MS = 2 * ONE_WAY_MS;
/** Frames that are sent: half a minute. */
const FRAMES = 900;
const FRAME_MS = 1000 / 30;
/** The temporal layers of L1T3, and bytes of their frames at 360 lines and 600 kbit/s. */
const LAYERS = [0, 2, 1, 2];
const BYTES = { key: 18_000, layers: [4600, 2600, 1300] };
/** How long after a datagram the relay asks a publisher for one that did not come, in milliseconds. */
const RELAY_ASKS_MS = 10;

let nowMs = 0;
mock.method(performance, 'now', () => nowMs);
class MadeUpDecoder {
  static isConfigSupported = async () => ({ supported: true });
  state = 'configured';
  /** @param {{ output: (frame: object) => void }} callbacks */
  constructor({ output }) { this.output = output; }
  configure() {}
  close() {}
  /** @param {{ timestamp: number }} chunk */
  decode({ timestamp }) { this.output({ timestamp, displayWidth: 640, displayHeight: 360, close() {} }); }
}
Object.assign(globalThis, { VideoDecoder: MadeUpDecoder, EncodedVideoChunk: class { constructor(/** @type {object} */ init) { Object.assign(this, init); } } });

/** Numbers from 0 to 1 (xorshift32). @param {number} seed */
function generator(seed) {
  return () => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) / 2 ** 32;
  };
}

/** Sends half a minute of pictures. @param {boolean} isPublisher whether the path is that of whoever publishes @param {number} seed */
async function film(isPublisher, seed) {
  nowMs = 0;
  const dice = generator(seed);
  const events = /** @type {{ atMs: number, act: () => void }[]} */ ([]);
  const later = (/** @type {number} */ ms, /** @type {() => void} */ act) => void events.push({ atMs: nowMs + ms, act });
  const references = new References();
  const kept = /** @type {{ media: import('../../web/sdk/wire/media.js').Media, atMs: number }[]} */ ([]);
  let [wantsKeyframe, keyframes, turn, sent] = [true, 0, 0, 0];
  const info = { source: 'camera', codec: 'vp8', description: new Uint8Array(), media: { type: 'video', width: 640, height: 360, temporalLayers: 3, spatialLayers: 1 } };
  const reception = new VideoReception(/** @type {any} */ ({ id: 7, participant: 1, info, muted: false }), /** @type {any} */ ({
    cipher: null, sealed() {}, state() {}, resized() {}, failed: assert.fail, isInterrupted: () => false, holdMs: () => 0,
    roundTripMs: () => (isPublisher ? 1 : ROUND_TRIP_MS),
    // A stream loses nothing.
    wishKeyframe: () => later(ONE_WAY_MS, () => { wantsKeyframe = true; }),
    repeat: (/** @type {import('../../web/sdk/wire/repeat.js').RepeatRequest} */ { wanted }) => {
      // The relay has nothing either, and asks for it already.
      if (isPublisher || dice() < LOSS) return;
      later(ONE_WAY_MS, () => {
        for (const { media, atMs } of kept) if (atMs > nowMs - 400 && wanted.some((one) => wants(one, media.frame, media.fragmentIndex))) pass(media);
      });
    },
  }), 0);
  const arrive = (/** @type {import('../../web/sdk/wire/media.js').Media} */ media) => reception.media(nowMs, media);
  const pass = (/** @type {import('../../web/sdk/wire/media.js').Media} */ media) => {
    if (dice() >= LOSS) later(ONE_WAY_MS, () => arrive(media));
    else if (isPublisher && !media.parity) askPublisher(media, 0);
  };
  const askPublisher = (/** @type {import('../../web/sdk/wire/media.js').Media} */ media, /** @type {number} */ lostMs) => {
    const waitMs = lostMs + RELAY_ASKS_MS + ROUND_TRIP_MS;
    if (waitMs > 400) return;
    if (dice() < LOSS || dice() < LOSS) askPublisher(media, waitMs);
    else later(ONE_WAY_MS + waitMs, () => arrive(media));
  };
  const send = () => {
    const keyframe = wantsKeyframe;
    if (keyframe) turn = 0;
    wantsKeyframe = false;
    if (keyframe) keyframes++;
    const temporalLayer = LAYERS[turn++ % LAYERS.length];
    const header = { ...references.next({ keyframe, temporalLayer }), track: 7, keyframe, temporalLayer, spatialLayer: 0, audioLevel: 127, timestamp: ticksOf(nowMs) };
    const payload = new Uint8Array(keyframe ? BYTES.key : BYTES.layers[temporalLayer]);
    for (const datagram of fragmentWithParity(header, payload)) {
      const media = decodeMedia(datagram.subarray(PREFIX_BYTES));
      kept.push({ media, atMs: nowMs });
      pass(media);
    }
    while (kept[0].atMs < nowMs - 400) kept.shift();
    if (++sent < FRAMES) later(FRAME_MS, send);
  };
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  send();
  for (let endMs = FRAMES * FRAME_MS + 1000; nowMs < endMs; nowMs++) {
    for (const event of events.filter(({ atMs }) => atMs <= nowMs)) {
      events.splice(events.indexOf(event), 1);
      event.act();
    }
    if (nowMs % 10 === 0) reception.tick(nowMs);
  }
  const { stats } = reception.second(nowMs);
  reception.close();
  return { decoded: stats.framesDecoded, keyframes };
}

for (const isPublisher of [false, true]) {
  test(`at 60 ms and 2 % of loss on a made-up way ${isPublisher ? 'to' : 'from'} the relay, 99 % of the pictures reach the decoder in time`, async (t) => {
    for (const seed of [1, 2, 3]) {
      const { decoded, keyframes } = await film(isPublisher, seed);
      t.diagnostic(`seed ${seed}: ${decoded} of ${FRAMES} decoded, ${keyframes} keyframes`);
      assert.ok(decoded >= 0.99 * FRAMES, `seed ${seed}: ${decoded} decoded`);
      assert.ok(keyframes <= 2, `seed ${seed}: ${keyframes} keyframes`);
    }
  });
}
