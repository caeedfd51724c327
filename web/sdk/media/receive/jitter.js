/**
 * How much audio to keep before it is played: one frame, and what nearly all frames were late by lately.
 *
 * A percentile of the delays over the last seconds, and at once the delay of a spike, which then wears off: the rule of Moon,
 * Kurose and Towsley, "Packet audio playback delay adjustment" (1998). A percentile is how NetEQ does it, too.
 */
import { AUDIO_FRAME_MS } from '../audio-format.js';
import { Transit } from './transit.js';

/** Bounds of the target, in milliseconds: one frame; and what a conversation bears. */
export const TARGET_MS_MIN = AUDIO_FRAME_MS;
export const TARGET_MS_MAX = 200;

/**
 * The share of frames that are to be in time. On a lossy network, one or two of a hundred come a frame later than the others, as a copy: they are
 * to be waited for. Elsewhere as many are late because a machine was busy, and longer delay for all would not be worth them.
 */
const IN_TIME = { usual: 0.97, lossy: 0.99 };
/** How long a network counts as lossy after a frame that was lost and mended, in milliseconds. */
const LOSSY_MS = 10_000;
/** A frame that comes so far behind the newest is none that was lost. */
const MENDED_FRAMES_MAX = 25;
/** What remains of the weight of a frame when the next comes: what is over is forgotten after 14 s. */
const MEMORY = 0.995;
/** Frames are late against the fastest of so many seconds. Clocks may jump, and a path that has become longer is no jitter. */
const FASTEST_SECONDS = 2;
/** How fast the height of a spike wears off, in milliseconds per second. */
const SPIKE_DECAY_MS_PER_S = 20;

const BIN_MS = 5;
const BINS = (TARGET_MS_MAX / BIN_MS) | 0;

export class JitterTarget {
  #transit = new Transit(FASTEST_SECONDS);
  /** How much of the weight of all frames was late by so many times 5 ms. */
  #weights = new Float64Array(BINS + 1);
  #spikeMs = 0;
  #lastMs = 0;
  #lossyUntilMs = -Infinity;
  /** The number of the newest frame. */
  #newest = -1;

  /** A frame came, before it waits for its turn: one behind a later one was lost and mended. @param {number} nowMs @param {number} number */
  arrived(nowMs, number) {
    // A publisher that begins again counts from 0.
    if (number < this.#newest && number > this.#newest - MENDED_FRAMES_MAX) this.#lossyUntilMs = nowMs + LOSSY_MS;
    else this.#newest = number;
  }

  /** A frame is here. @param {number} nowMs @param {number} timestamp @returns {number} the target, in milliseconds */
  observe(nowMs, timestamp) {
    const delayMs = this.#transit.observe(nowMs, timestamp);
    for (let bin = 0; bin <= BINS; bin++) this.#weights[bin] *= MEMORY;
    this.#weights[Math.min(Math.ceil(delayMs / BIN_MS), BINS)] += 1 - MEMORY;
    const worn = ((nowMs - this.#lastMs) / 1000) * SPIKE_DECAY_MS_PER_S;
    this.#spikeMs = Math.max(delayMs, this.#spikeMs - worn);
    this.#lastMs = nowMs;
    return this.targetMs;
  }

  get targetMs() {
    const lateMs = Math.max(this.#percentileMs(), this.#spikeMs);
    return Math.min(TARGET_MS_MIN + lateMs, TARGET_MS_MAX);
  }

  #percentileMs() {
    const all = this.#weights.reduce((sum, weight) => sum + weight, 0);
    const share = this.#lastMs < this.#lossyUntilMs ? IN_TIME.lossy : IN_TIME.usual;
    let inTime = 0;
    for (let bin = 0; bin <= BINS; bin++) {
      inTime += this.#weights[bin];
      if (inTime >= all * share) return bin * BIN_MS;
    }
    return TARGET_MS_MAX;
  }
}
