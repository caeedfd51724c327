// A keyframe that comes in parts for seconds, with what overtook it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ticksOf } from '../../web/sdk/media/media-clock.js';
import { VideoReception } from '../../web/sdk/media/receive/video-reception.js';
import { fragment } from '../../web/sdk/media/send/fragment.js';
import { References } from '../../web/sdk/media/send/references.js';
import { PREFIX_BYTES, decodeMedia } from '../../web/sdk/wire.js';

const FRAME_MS = 33;
/** Pictures behind the keyframe before that is whole: far more than a decoder may have at a time. */
const OVERTAKE = 50;
/** How long the decoder takes for a picture, in milliseconds. */
const DECODE_MS = 4;

let nowMs = 0;
Object.defineProperty(performance, 'now', { value: () => nowMs });

/** Gives pictures back one after the other. */
class QueuingDecoder {
  /** @type {QueuingDecoder | null} */
  static last = null;
  state = 'configured';
  /** @type {number[]} */
  queue = [];
  most = 0;
  /** @param {{ output: (frame: object) => void }} callbacks */
  constructor({ output }) {
    this.output = output;
    QueuingDecoder.last = this;
  }
  configure() {}
  close() {}
  /** @param {{ timestamp: number }} chunk */
  decode({ timestamp }) {
    this.queue.push(timestamp);
    this.most = Math.max(this.most, this.queue.length);
  }
  work() {
    const timestamp = this.queue.shift();
    if (timestamp !== undefined) this.output({ timestamp, displayWidth: 640, displayHeight: 360, close() {} });
  }
}
Object.assign(QueuingDecoder, { isConfigSupported: async () => ({ supported: true }) });
Object.assign(globalThis, { VideoDecoder: QueuingDecoder, EncodedVideoChunk: class { constructor(/** @type {object} */ init) { Object.assign(this, init); } } });

for (const beginsMs of [0, OVERTAKE * FRAME_MS + 300]) {
  test(`what overtook a keyframe that took two seconds is all shown, and no other keyframe wished for${beginsMs ? ', by a decoder that needs long to begin' : ''}`, () => passes(beginsMs));
}

/** @param {number} beginsMs when the decoder gives something at the earliest */
async function passes(beginsMs) {
  nowMs = 0;
  const info = { source: 'screen', codec: 'vp8', description: new Uint8Array(), media: { type: 'video', width: 640, height: 360, temporalLayers: 1, spatialLayers: 1 } };
  let wishes = 0;
  const reception = new VideoReception(/** @type {any} */ ({ id: 7, participant: 1, info, muted: false }), /** @type {any} */ ({
    cipher: null, sealed() {}, state() {}, resized() {}, failed: assert.fail, isInterrupted: () => false, holdMs: () => 0, roundTripMs: () => 20,
    wishKeyframe: () => void wishes++, repeat: () => assert.fail('nothing is lost'),
  }), 0);
  for (let turn = 0; turn < 20; turn++) await Promise.resolve();
  const references = new References();
  const frame = (/** @type {boolean} */ keyframe, /** @type {number} */ bytes) => {
    const header = { ...references.next({ keyframe, temporalLayer: 0 }), track: 7, keyframe, temporalLayer: 0, spatialLayer: 0, audioLevel: 127, timestamp: ticksOf(nowMs), onStream: keyframe };
    return fragment(header, new Uint8Array(bytes)).map((datagram) => decodeMedia(datagram.subarray(PREFIX_BYTES)));
  };
  const parts = frame(true, 9000);
  const everyMs = Math.floor((OVERTAKE * FRAME_MS) / parts.length);
  assert.ok(everyMs > 150 && everyMs < 250, `${parts.length} parts, each ${everyMs} ms after the one before it`);
  for (nowMs = 1; nowMs < OVERTAKE * FRAME_MS + 1000; nowMs++) {
    const part = nowMs % everyMs === 1 ? parts.shift() : undefined;
    if (part) reception.media(nowMs, part);
    if (nowMs % FRAME_MS === 0 && nowMs <= OVERTAKE * FRAME_MS) for (const datagram of frame(false, 500)) reception.media(nowMs, datagram);
    if (nowMs % DECODE_MS === 0 && nowMs >= beginsMs) QueuingDecoder.last?.work();
    if (nowMs % 10 === 0) reception.tick(nowMs);
  }
  const { stats } = reception.second(nowMs);
  reception.close();
  assert.deepEqual([stats.framesDecoded, stats.framesLeftOut, wishes], [OVERTAKE + 1, 0, 0]);
  assert.ok((QueuingDecoder.last?.most ?? Infinity) <= 12, `${QueuingDecoder.last?.most} in the decoder at a time`);
}
