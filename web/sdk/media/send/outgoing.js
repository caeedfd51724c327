/**
 * What leaves, and what is left out when the carrier does not take it.
 *
 * WebTransport drops datagrams by itself when they are late. A WebSocket keeps everything and becomes late as a whole: there, frames
 * are left out before they are queued, those first that are missed least.
 */

import { Recent } from './recent.js';

/** What may wait in a WebSocket beside a keyframe, in milliseconds of the bitrate: then upper temporal layers stay behind. */
export const BUFFER_MS = 150;
/** Then everything of video does, and at last audio, in multiples of it. */
const VIDEO_LIMIT = 2;
const AUDIO_LIMIT = 4;
/** What may wait at least, in bytes: a large datagram and some small ones. */
const BUFFER_BYTES_MIN = 1500;
/** Over what it is judged whether something stands, in milliseconds: a keyframe takes its time without a queue. */
const STANDING_MS = 1000;
/** Between keyframes that are asked for because of it, in milliseconds: each is as large as several frames. */
const KEYFRAME_MS_MIN = 500;

/** @typedef {import('./frame-sender.js').OutgoingFrame & { datagrams: Uint8Array<ArrayBuffer>[] }} Frame */

/** @typedef {{ discardable: boolean, onStream: boolean, goesAhead: boolean }} Sending */
/**
 * @typedef {object} OutgoingOptions
 * @property {() => import('../../carrier.js').Carrier | null} carrier
 * @property {() => number} bufferedBytes that wait in it
 * @property {(datagrams: Uint8Array<ArrayBuffer>[], options: Sending) => void} send
 * @property {(key: number, layer: number) => void} requestKeyframe of one's own encoder
 * @property {(delayMs: number) => void} queueing what is sent took so long to leave at least, in the last second
 * @property {() => number} [now] milliseconds
 */

export class Outgoing {
  #options;
  #recent = new Recent();
  /** Renditions that lack a frame and wait for a keyframe, and when they asked for it. @type {Map<string, number>} */
  #broken = new Map();
  /** Frames that a WebSocket did not take, by their track's key. @type {Map<number, number>} */
  #leftOut = new Map();
  /** The least that waited since then, in bytes. */
  #least = Infinity;
  #leastSinceMs = NaN;
  /** Keyframes that may still be on their way, in bytes, and since when. */
  #keyframeBytes = 0;
  #keyframeMs = 0;
  /** Of all tracks together, in bits per second. */
  bitrate = 0;

  /** @param {OutgoingOptions} options */
  constructor(options) {
    this.#options = { now: () => performance.now(), ...options };
  }

  /** Sends a whole frame on WebSocket, a burst of it on others. @param {Frame} frame */
  send(frame) {
    const { key, header, datagrams, kind, goesAhead = false } = frame;
    // Of a WebSocket nothing is lost, nor on a stream.
    if (this.#options.carrier() === 'webtransport' && !header.onStream && !goesAhead) this.#recent.push(this.#options.now(), kind, datagrams);
    const isWanted = this.#options.carrier() !== 'websocket' || this.#fits(frame);
    if (isWanted && header.keyframe && kind === 'video') this.#allow(datagrams);
    if (isWanted) this.#options.send(datagrams, sending(header, goesAhead));
    else this.#leftOut.set(key, this.leftOut(key) + 1);
  }

  /** Frames of a track that were left out, because a WebSocket did not keep up. @param {number} key */
  leftOut(key) {
    return this.#leftOut.get(key) ?? 0;
  }

  /** Sends once more what the relay did not get. @param {import('../../wire/repeat.js').RepeatRequest} request */
  repeat(request) {
    const found = this.#recent.find(this.#options.now(), request);
    for (const { header, datagram } of found) this.#options.send([datagram], sending(header));
  }

  /** Another carrier: what was missing on the last one is not missing here. */
  reset() {
    this.#recent.clear();
    this.#broken.clear();
    this.#keyframeBytes = 0;
  }

  /** A keyframe takes the time it takes, which says nothing about the path. @param {Uint8Array<ArrayBuffer>[]} datagrams of a keyframe */
  #allow(datagrams) {
    this.#keyframeBytes = this.#underway() + datagrams.reduce((bytes, { byteLength }) => bytes + byteLength, 0);
    this.#keyframeMs = this.#options.now();
  }

  /** What may still wait of keyframes if the path carries the bitrate, in bytes. */
  #underway() {
    const left = ((this.#options.now() - this.#keyframeMs) / 1000) * (this.bitrate / 8);
    return Math.max(0, this.#keyframeBytes - left);
  }

  /** @param {Frame} frame */
  #fits({ key, kind, header }) {
    const buffered = Math.max(0, this.#options.bufferedBytes() - this.#underway());
    const limit = Math.max(BUFFER_BYTES_MIN, (this.bitrate / 8) * (BUFFER_MS / 1000));
    this.#judge(buffered, limit);
    if (kind === 'audio') return buffered <= limit * AUDIO_LIMIT;
    const rendition = `${key}.${header.spatialLayer}`;
    if (header.keyframe && buffered <= limit * VIDEO_LIMIT) this.#broken.delete(rendition);
    else if (buffered > limit * VIDEO_LIMIT && !this.#broken.has(rendition)) this.#broken.set(rendition, -Infinity);
    if (this.#broken.has(rendition)) {
      // A keyframe that is asked for while others wait would only wait with them.
      if (buffered <= limit) this.#ask(rendition, key, header.spatialLayer);
      return false;
    }
    return buffered <= limit || header.temporalLayer === 0;
  }

  /** @param {string} rendition @param {number} key @param {number} layer */
  #ask(rendition, key, layer) {
    const now = this.#options.now();
    if (now - (this.#broken.get(rendition) ?? -Infinity) < KEYFRAME_MS_MIN) return;
    this.#broken.set(rendition, now);
    this.#options.requestKeyframe(key, layer);
  }

  /** What waits all the time is a queue (RFC 8289, section 3.2). @param {number} buffered bytes @param {number} limit bytes */
  #judge(buffered, limit) {
    this.#least = Math.min(this.#least, buffered);
    const now = this.#options.now();
    if (Number.isNaN(this.#leastSinceMs)) this.#leastSinceMs = now;
    if (now - this.#leastSinceMs < STANDING_MS) return;
    if (this.#least > limit) this.#options.queueing(Math.round((this.#least * 8000) / Math.max(this.bitrate, 1)));
    this.#least = Infinity;
    this.#leastSinceMs = now;
  }
}

/** @param {import('./fragment.js').FrameHeader} header @param {boolean} [goesAhead] @returns {Sending} */
function sending({ temporalLayer, onStream = false }, goesAhead = false) {
  return { discardable: temporalLayer > 0, onStream, goesAhead };
}
