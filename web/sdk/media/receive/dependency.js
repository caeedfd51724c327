/** Which whole video frames may be decoded: a decoder shows garbage, or closes, when it gets one whose reference is missing. */
import { msBetween } from '../timestamp.js';

/** @typedef {import('./assembly.js').Frame} Frame */

/** How long a frame waits for its reference where nothing is sent once more, in milliseconds: what reordering takes, and less than a keyframe would. */
export const PATIENCE_MS = 80;

/**
 * How long a frame waits for its reference that came on a stream itself, or after the last part of what comes on one, in milliseconds: what comes
 * so is not lost, but late by a round trip of the publisher's, which nobody here knows.
 */
export const ON_STREAM_PATIENCE_MS = 250;

/**
 * How long a frame waits for those before it that nothing needs, but that are still to come, in milliseconds: on a stream, for what its own path
 * takes to notice a loss and mend it. In its place, a picture would be left out.
 */
export const IN_ORDER_MS = { least: 40, onStream: 80, most: 100 };

/** The same on a path that takes so long to mend a loss: not at all where it would come too late. @param {number} mendMs @returns {number} */
export function inOrderMs(mendMs) {
  return mendMs <= IN_ORDER_MS.most ? Math.max(mendMs, IN_ORDER_MS.least) : 0;
}

/** Time between two wishes for a keyframe, in milliseconds: more than a round trip, less than a person notices twice. */
export const WISH_INTERVAL_MS = 300;

/** Frames that may wait at a time. */
export const WAITING_MAX = 64;

/** How far back a header can refer. */
const REFERENCE_DISTANCE_MAX = 255;

/** Frames of this temporal layer and below need one of the base layer. A higher one may miss another that nobody else needs. */
const NEEDS_BASE_LAYER_MAX = 1;

export class Dependency {
  /** Oldest capture first. @type {Frame[]} */
  #waiting = [];
  /** The frames among the last 255 that came out. @type {Set<number>} */
  #delivered = new Set();
  /** The frame that came out last. @type {Frame['header'] | null} */
  #last = null;
  /** Whether nothing more can be decoded without a keyframe. */
  #isBroken = true;
  #wishedAtMs = -Infinity;
  /** Frames that come on streams and are not whole, in the order of their last part. @type {Map<string, { frame: number, spatialLayer: number, atMs: number }>} */
  #onStream = new Map();
  /** Frames that came too late, or without their reference. */
  leftOut = 0;
  /** How long a frame waits for its reference, in milliseconds. */
  patienceMs = PATIENCE_MS;
  /** How long one that could be decoded waits for those before it, in milliseconds; 0: they are not all to come. */
  inOrderMs = 0;

  /** Takes a whole frame. @param {Frame} frame */
  push(frame) {
    this.#onStream.delete(idOf(frame.header));
    if (this.#last && msBetween(frame.header.timestamp, this.#last.timestamp) <= 0) {
      this.leftOut++;
      return;
    }
    const at = this.#waiting.findLastIndex((other) => msBetween(other.header.timestamp, frame.header.timestamp) <= 0);
    this.#waiting.splice(at + 1, 0, frame);
    if (this.#waiting.length <= WAITING_MAX) return;
    // The newest: the others need those before them, which may be about to be decodable.
    const last = this.#waiting.findLastIndex(({ header }) => !isKeyframe(header));
    this.#waiting.splice(last, 1);
    this.leftOut++;
  }

  /** The next frame that may be decoded. @param {number} nowMs @returns {Frame | null} */
  pop(nowMs) {
    const at = this.#waiting.findIndex((frame) => this.#isDecodable(frame));
    if (at < 0) {
      this.#giveUpLate(nowMs);
      return null;
    }
    if (this.#isEarly(this.#waiting[at], nowMs)) return null;
    const [frame] = this.#waiting.splice(at, 1);
    this.#note(frame.header);
    const { timestamp } = frame.header;
    const later = this.#waiting.filter((other) => msBetween(other.header.timestamp, timestamp) > 0);
    this.leftOut += this.#waiting.length - later.length;
    this.#waiting = later;
    return frame;
  }

  /** Whether a keyframe is to be asked for now. Ask again at once, and it is not. @param {number} nowMs */
  wishesKeyframe(nowMs) {
    if (!this.#isBroken || nowMs - this.#wishedAtMs < WISH_INTERVAL_MS) return false;
    this.#wishedAtMs = nowMs;
    return true;
  }

  /** Whether only a keyframe helps. */
  get isBroken() {
    return this.#isBroken;
  }

  /** The spatial layer that is being decoded; `null` before the first keyframe. */
  get spatialLayer() {
    return this.#last?.spatialLayer ?? null;
  }

  /** Nothing that came out is known to the decoder any longer: it is a new one, or was too slow. */
  skipToKeyframe() {
    this.leftOut += this.#waiting.length;
    this.#waiting = [];
    this.#delivered.clear();
    this.#isBroken = true;
  }

  /** What came before has nothing to do with what comes: it is another subscription, and may begin with what came out already. */
  beginAgain() {
    this.skipToKeyframe();
    this.#last = null;
  }

  /** A frame that came out was not decoded after all: none that needs it can be. @param {number} frame */
  withdraw(frame) {
    this.#delivered.delete(frame);
  }

  /**
   * Something of a frame came on a stream, but not all: what may need it waits for the rest.
   * @param {number} nowMs @param {Pick<Frame['header'], 'frame' | 'spatialLayer' | 'keyframe'>} header
   */
  comesOnStream(nowMs, header) {
    const { frame, spatialLayer, keyframe } = header;
    this.#onStream.delete(idOf(header));
    this.#onStream.set(idOf(header), { frame, spatialLayer, atMs: nowMs });
    if (this.#onStream.size > WAITING_MAX) this.#onStream.delete(/** @type {string} */ (this.#onStream.keys().next().value));
    // It comes, whole if slowly: another one would be in its way.
    if (keyframe) this.#wishedAtMs = nowMs;
  }

  /** Wishes no keyframe before the next interval is over: somebody else has asked for one. @param {number} nowMs */
  wished(nowMs) {
    this.#wishedAtMs = nowMs;
  }

  /** @param {Frame} frame */
  #isDecodable({ header }) {
    // Another rendition, or a publisher that begins again, counts its frames by itself: only the clock says what is newer.
    if (isKeyframe(header)) return true;
    if (!this.#last || header.spatialLayer !== this.#last.spatialLayer || header.frame <= this.#last.frame) return false;
    return this.#delivered.has(header.frame - header.dependsOnDistance);
  }

  /** Whether frames before it are missing that may still come. @param {Frame} frame @param {number} nowMs */
  #isEarly({ header, wholeAtMs }, nowMs) {
    const { inOrderMs } = this;
    if (inOrderMs === 0 || !this.#last || isKeyframe(header)) return false;
    const { frame: last, spatialLayer } = this.#last;
    const here = this.#waiting.filter((other) => other.header.spatialLayer === spatialLayer && other.header.frame > last && other.header.frame < header.frame);
    // Those that are here will not be decoded: what they need is not.
    if (here.length >= header.frame - last - 1) return false;
    return nowMs - wholeAtMs < (header.onStream ? Math.max(inOrderMs, IN_ORDER_MS.onStream) : inOrderMs);
  }

  /** @param {Frame['header']} header */
  #note(header) {
    if (isKeyframe(header)) {
      this.#delivered.clear();
      this.#isBroken = false;
    }
    this.#last = header;
    this.#delivered.add(header.frame);
    for (const frame of this.#delivered) {
      if (frame >= header.frame - REFERENCE_DISTANCE_MAX) break;
      this.#delivered.delete(frame);
    }
  }

  /** @param {number} nowMs */
  #giveUpLate(nowMs) {
    const onStreamMs = Math.max(this.patienceMs, ON_STREAM_PATIENCE_MS);
    this.#waiting = this.#waiting.filter(({ header, wholeAtMs }) => {
      if (nowMs - wholeAtMs < (header.onStream ? onStreamMs : this.patienceMs) || nowMs - this.#beforeOnStreamAtMs(header) < onStreamMs) return true;
      this.leftOut++;
      // Of another rendition as well: the keyframe with which it began is lost.
      if (header.temporalLayer <= NEEDS_BASE_LAYER_MAX) this.#isBroken = true;
      return false;
    });
  }

  /** When something came last, on a stream, of a frame that this one may need. Those after it say nothing of that. @param {Frame['header']} header */
  #beforeOnStreamAtMs({ frame, spatialLayer }) {
    const before = [...this.#onStream.values()].filter((other) => other.spatialLayer === spatialLayer && other.frame < frame);
    return before.reduce((latest, { atMs }) => Math.max(latest, atMs), -Infinity);
  }
}

/** @param {Pick<Frame['header'], 'frame' | 'spatialLayer'>} header */
function idOf({ frame, spatialLayer }) {
  return `${spatialLayer}.${frame}`;
}

/** @param {Frame['header']} header */
function isKeyframe({ keyframe, dependsOnDistance }) {
  return keyframe && dependsOnDistance === 0;
}
