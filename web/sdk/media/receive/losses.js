/** How many datagrams of a spatial layer did not arrive. What is only late is waited for. */

/** How long a datagram may be late before it counts as lost, in milliseconds: reordering is over by then, and the news is fresh. */
export const LATE_MS_MAX = 150;

/** Numbers that may be left out at once: 8 s of video. A larger step is a new beginning. */
const GAP_MAX = 256;

/** The same for audio: of a microphone that others were louder than, the relay passes on nothing for a while. */
export const AUDIO_GAP_MAX = 32;
/** Frames that may wait for their rest. */
const WAITING_MAX = 512;
/** How much a new frame counts in the average of fragments per frame. */
const WEIGHT = 1 / 16;

export class Losses {
  /** Frames that are not whole: since when, and how many fragments are missing; `null`: nothing of it has come. @type {Map<number, { atMs: number, missing: number | null }>} */
  #waiting = new Map();
  /** @type {number | null} */
  #newest = null;
  #fragmentsPerFrame = 0;
  #gapMax;

  /** @param {number} [gapMax] numbers that may be left out at once */
  constructor(gapMax = GAP_MAX) {
    this.#gapMax = gapMax;
  }

  /** A fragment came, and none that was here already. @param {number} nowMs @param {number} frame @param {number} count fragments of the frame @param {number} missing how many are */
  arrived(nowMs, frame, count, missing) {
    const isNew = this.#newest === null || frame > this.#newest;
    if (isNew) this.#skipTo(nowMs, frame);
    const known = this.#waiting.get(frame);
    if (!known && !isNew) return;
    if (!known?.missing) this.#fragmentsPerFrame += (count - this.#fragmentsPerFrame) * (this.#fragmentsPerFrame > 0 ? WEIGHT : 1);
    if (missing > 0) this.#waiting.set(frame, { atMs: known?.atMs ?? nowMs, missing });
    else this.#waiting.delete(frame);
  }

  /**
   * What was lost since the last time, in datagrams.
   * @param {number} nowMs
   * @param {boolean} isComplete whether all frames were to come; if not, one of which nothing came was left out on purpose
   */
  take(nowMs, isComplete) {
    let lost = 0;
    for (const [frame, { atMs, missing }] of this.#waiting) {
      if (nowMs - atMs < LATE_MS_MAX) continue;
      this.#waiting.delete(frame);
      lost += missing ?? (isComplete ? this.#fragmentsPerFrame : 0);
    }
    return Math.round(lost);
  }

  /** @param {number} nowMs @param {number} frame */
  #skipTo(nowMs, frame) {
    const first = (this.#newest ?? frame - 1) + 1;
    this.#newest = frame;
    if (frame - first > this.#gapMax) return this.#waiting.clear();
    for (let number = first; number < frame; number++) this.#waiting.set(number, { atMs: nowMs, missing: null });
    while (this.#waiting.size > WAITING_MAX) this.#waiting.delete(/** @type {number} */ (this.#waiting.keys().next().value));
  }
}
