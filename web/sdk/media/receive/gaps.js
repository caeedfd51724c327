/**
 * What is missing of a track, when to ask for it, and when no more. As `src/media/gaps.rs`, but that audio
 * which is only overdue is not asked for before a later frame has come.
 *
 * A datagram is missing when a later one of its spatial layer came; the last ones of a frame when nothing of it comes any more. It is
 * asked for after a moment, again after about a round trip, three times each if few are missing, and given up when it could not come in
 * time.
 */
import { WANTED_MAX, WHOLE_FRAME, addWanted } from '../../wire/repeat.js';

/** @typedef {import('../../wire/media.js').Media} Media */
/** @typedef {import('../../wire/repeat.js').RepeatRequest} RepeatRequest */
/** @typedef {import('../../wire/repeat.js').Wanted} Wanted */
/** @typedef {{ frame: number, fragment: number, dueAtMs: number, askAtMs: number, asks: number }} Wish */

/** How long a datagram may be behind those after it, in milliseconds: networks change the order of what is sent together, by little. */
export const REORDERING_MS = 10;
/** How long nothing more of a frame has to come before the rest of it counts as lost, in milliseconds, unless its fragments come more slowly. */
export const TAIL_MS = 15;
/** How many times the usual time between two fragments has to pass for the same. */
const TAIL_SPACINGS = 4;
/** How late something may come that was asked for, in milliseconds: what is later has been given up. */
export const DEADLINE_MS = Object.freeze({ audio: 200, video: 400 });
/** How many times a datagram is asked for: where few are missing, three times in each round trip. */
export const ASKS_MAX = 9;
/**
 * Where no more datagrams are missing at a time, they are asked for so many times in a round trip: a request or its answer can be lost as
 * well, and losses come in rows. Where more are, the path may be full, and each answer would make it fuller.
 */
const FEW = 8;
const ASKS_TOGETHER = 3;
/** Datagrams of one rendition that are missed at a time. When there are more, the path has failed. */
export const MISSING_MAX = 512;
/** Frame numbers that may be missing at once: a second of video. A larger step is a new beginning. */
export const FRAMES_MAX = 32;

export class Gaps {
  #track;
  #deadlineMs;
  /** By spatial layer: at most 8. @type {Map<number, Layer>} */
  #layers = new Map();

  /** @param {number} track @param {number} deadlineMs */
  constructor(track, deadlineMs) {
    this.#track = track;
    this.#deadlineMs = deadlineMs;
  }

  /**
   * Takes note of a datagram.
   * @param {number} nowMs @param {Media} media
   * @param {boolean} areAllTaken whether a frame whose number is missing should have come; if not, only one that another needs
   * @returns {boolean} whether it had been asked for: the path lost it before
   */
  push(nowMs, media, areAllTaken) {
    if (media.parity) return false;
    const known = this.#layers.get(media.spatialLayer);
    // Whoever counts from the beginning again means other frames.
    if (known && known.frame - media.frame <= FRAMES_MAX) {
      if (!media.onStream) return known.push(nowMs, media, areAllTaken);
      known.comesOnStream(nowMs, media, areAllTaken);
      return false;
    }
    this.#layers.set(media.spatialLayer, new Layer(nowMs, media));
    return false;
  }

  /** Nothing of this frame is wanted any more. @param {number} spatialLayer @param {number} frame */
  settle(spatialLayer, frame) {
    this.#layers.get(spatialLayer)?.settle(frame);
  }

  clear() {
    this.#layers.clear();
  }

  /** Forgets all renditions but one. @param {number} spatialLayer */
  keep(spatialLayer) {
    for (const layer of this.#layers.keys()) if (layer !== spatialLayer) this.#layers.delete(layer);
  }

  /** What to ask for now. @param {number} nowMs @param {number} roundTripMs what is sent once more comes so much later @returns {RepeatRequest[]} */
  due(nowMs, roundTripMs) {
    const requests = [];
    for (const [spatialLayer, layer] of this.#layers) {
      const wanted = layer.ask(nowMs, roundTripMs, this.#deadlineMs);
      if (wanted.length > 0) requests.push({ track: this.#track, spatialLayer, wanted });
    }
    return requests;
  }
}

/** One spatial layer: its frames are counted by themselves. */
class Layer {
  /** The oldest first. @type {Map<string, Wish>} */
  #missing = new Map();
  /** How long one fragment of a frame comes after the other, on average. */
  #spacingMs = 0;
  #count;
  /** The fragments of the newest frame below it have come, or are missing. */
  #next;
  #atMs;

  /** @param {number} nowMs @param {Media} media */
  constructor(nowMs, { frame, fragmentIndex, fragmentCount, keyframe, onStream }) {
    this.frame = frame;
    this.#count = fragmentCount;
    this.#next = onStream ? fragmentCount : fragmentIndex + 1;
    this.#atMs = nowMs;
    // What stands before it was not for us to get, but for the rest of a frame from which one can begin.
    if (keyframe && !onStream) this.#miss(nowMs, frame, 0, fragmentIndex);
  }

  /** @param {number} nowMs @param {Media} media @param {boolean} areAllTaken */
  push(nowMs, media, areAllTaken) {
    if (media.frame < this.frame) return this.#late(media);
    if (media.frame === this.frame) return this.#more(nowMs, media);
    this.#begin(nowMs, media, areAllTaken);
    return false;
  }

  /** A fragment of a frame that comes on a stream: nothing of it is lost. Frames may overtake it. @param {number} nowMs @param {Media} media @param {boolean} areAllTaken */
  comesOnStream(nowMs, media, areAllTaken) {
    if (media.frame > this.frame) this.#begin(nowMs, media, areAllTaken);
    this.settle(media.frame);
  }

  /** @param {number} frame */
  settle(frame) {
    if (frame === this.frame) this.#next = this.#count;
    if (this.#missing.size === 0) return;
    for (const [key, wish] of this.#missing) if (wish.frame === frame) this.#missing.delete(key);
  }

  /** @param {number} nowMs @param {number} roundTripMs @param {number} deadlineMs @returns {Wanted[]} */
  ask(nowMs, roundTripMs, deadlineMs) {
    if (this.#next < this.#count && this.#atMs + Math.max(TAIL_MS, this.#spacingMs * TAIL_SPACINGS) <= nowMs) {
      this.#miss(this.#atMs, this.frame, this.#next, this.#count);
      this.#next = this.#count;
    }
    const step = this.#missingDatagrams(nowMs - deadlineMs) <= FEW ? 1 : ASKS_TOGETHER;
    /** @type {Wanted[]} */
    const wanted = [];
    for (const [key, wish] of this.#missing) {
      const endMs = wish.dueAtMs + deadlineMs;
      if (nowMs >= endMs) this.#missing.delete(key);
      if (wish.askAtMs > nowMs || nowMs >= endMs) continue;
      if (nowMs + roundTripMs > endMs || wish.asks === ASKS_MAX) {
        // Kept until then, so that it is known for what it is when it comes all the same.
        wish.askAtMs = endMs;
        continue;
      }
      const last = wanted.at(-1);
      const isAdded = last && addWanted(last, wish.frame, wish.fragment);
      if (!isAdded && wanted.length === WANTED_MAX) break;
      if (!isAdded) wanted.push({ frame: wish.frame, fragment: wish.fragment, following: 0 });
      // Where it is asked for once, that stands for all of the round.
      wish.asks = (Math.floor(wish.asks / step) + 1) * step;
      wish.askAtMs = nowMs + REORDERING_MS + (wish.asks % ASKS_TOGETHER === 0 ? roundTripMs : 0);
    }
    return wanted;
  }

  /** Those due after this. A frame of which none came is taken to have as many as the newest one. @param {number} afterMs */
  #missingDatagrams(afterMs) {
    const missing = [...this.#missing.values()].filter(({ dueAtMs }) => dueAtMs > afterMs);
    return missing.reduce((sum, { fragment }) => sum + (fragment === WHOLE_FRAME ? this.#count : 1), 0);
  }

  /** A fragment of the newest frame. @param {number} nowMs @param {Media} media */
  #more(nowMs, { frame, fragmentIndex, fragmentCount }) {
    if (fragmentIndex < this.#next || fragmentCount !== this.#count) return this.#found(frame, fragmentIndex);
    if (fragmentIndex > this.#next) this.#miss(nowMs, frame, this.#next, fragmentIndex);
    else this.#spacingMs = (this.#spacingMs * 7 + Math.min(nowMs - this.#atMs, TAIL_MS * TAIL_SPACINGS)) / 8;
    this.#next = fragmentIndex + 1;
    this.#atMs = nowMs;
    return false;
  }

  /** A fragment of a frame that is newer than all before it. @param {number} nowMs @param {Media} media @param {boolean} areAllTaken */
  #begin(nowMs, { frame, fragmentIndex, fragmentCount, dependsOnDistance }, areAllTaken) {
    const skipped = frame - this.frame - 1;
    if (skipped > FRAMES_MAX) {
      this.#missing.clear();
    } else {
      this.#miss(this.#atMs, this.frame, this.#next, this.#count);
      // It should have come between the frames around it: audio is not waited for any longer.
      const pauseMs = (nowMs - this.#atMs) / (skipped + 1);
      for (let at = 1; at <= skipped; at++) {
        const number = this.frame + at;
        if (areAllTaken || number === frame - dependsOnDistance) this.#miss(this.#atMs + pauseMs * at, number, WHOLE_FRAME, WHOLE_FRAME + 1);
      }
      this.#miss(nowMs, frame, 0, fragmentIndex);
    }
    this.frame = frame;
    this.#count = fragmentCount;
    this.#next = fragmentIndex + 1;
    this.#atMs = nowMs;
  }

  /** A fragment of an earlier frame. @param {Media} media */
  #late({ frame, fragmentIndex, fragmentCount }) {
    const whole = this.#missing.get(key(frame, WHOLE_FRAME));
    if (!whole) return this.#found(frame, fragmentIndex);
    // Now it is known how many there are; those that were asked for come together.
    this.#missing.delete(key(frame, WHOLE_FRAME));
    if (!this.#hasRoomFor(fragmentCount)) return whole.asks > 0;
    for (let fragment = 0; fragment < fragmentCount; fragment++) {
      if (fragment !== fragmentIndex) this.#missing.set(key(frame, fragment), { ...whole, fragment });
    }
    return whole.asks > 0;
  }

  /** @param {number} frame @param {number} fragment */
  #found(frame, fragment) {
    const wish = this.#missing.get(key(frame, fragment));
    if (wish) this.#missing.delete(key(frame, fragment));
    return wish !== undefined && wish.asks > 0;
  }

  /** Fragments did not come that should have come at this time. @param {number} dueAtMs @param {number} frame @param {number} first @param {number} end */
  #miss(dueAtMs, frame, first, end) {
    if (!this.#hasRoomFor(end - first)) return;
    for (let fragment = first; fragment < end; fragment++) {
      this.#missing.set(key(frame, fragment), { frame, fragment, dueAtMs, askAtMs: dueAtMs + REORDERING_MS, asks: 0 });
    }
  }

  /** Whether so many more may be missing. If not, the path has failed, and repeating everything would not help it. @param {number} more */
  #hasRoomFor(more) {
    const hasRoom = this.#missing.size + more <= MISSING_MAX;
    if (!hasRoom) this.#missing.clear();
    return hasRoom;
  }
}

/** @param {number} frame @param {number} fragment */
function key(frame, fragment) {
  return `${frame} ${fragment}`;
}
