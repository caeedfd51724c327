/**
 * How many bits per second the way to the relay takes, from what the least impaired subscriber of each track reports.
 *
 * Loss is judged as in Google Congestion Control (draft-ietf-rmcat-gcc-02, section 6): above 10 % the rate falls by half of the loss, from
 * 2 % on it stays, below it grows. Delay is judged by the standing queue against a target, as in SCReAM (RFC 8298), because reports come
 * once a second and a trend cannot be seen in them; the answer to it is that of GCC (section 5.5): 0.85 of what arrives.
 */

/** Bits per second of all tracks together. The least still carries speech. */
export const RATE_MIN = 48_000;
/** Before anyone has reported anything. */
export const RATE_START = 1_200_000;
/** The relay takes 6 Mbit/s of one participant by default; the rest is for headers and audio that is sent twice. */
export const RATE_MAX = 5_000_000;

/** A report older than this says nothing, in milliseconds: they come once a second. */
const REPORT_MS_MAX = 2500;
const LOSS_LOW = 0.02;
const LOSS_HIGH = 0.1;
/** A standing queue that is longer is the way's own limit, in milliseconds. */
const QUEUE_MS_MAX = 40;
const DECREASE = 0.85;
/** Who sends less than this part of the target does not fill the way: the queue is that of others, or of a machine that is busy. */
const FILLED = 0.25;
/** For so many seconds, what was sent is what the way had to carry: a camera may be off since a moment ago. */
const SENT_SECONDS = 3;
/** Growth in a second: at the beginning, later, and near the rate that was once too much. */
const GROWTH = { first: 1.5, usual: 1.08, careful: 1.02 };
/** Near: this part of the rate that was too much. */
const NEAR = 0.85;
/** How long a decrease is given to show, in milliseconds: a report is about the second before it. */
const SETTLE_MS = 2000;
/** How long the rate that was too much is kept away from, in milliseconds; doubled each time that it proves too much again. */
const PATIENCE_MS = { least: 5000, most: 80_000 };
/** Above the rate that was once too much for so long, in milliseconds: the limit is gone. */
const PROVEN_MS = 15_000;
/** A target this many times what is really sent would be a guess. */
const GUESS_MAX = 1.5;
/** What parity of all temporal layers comes to with what it protects, in parts of that. */
const WITH_PARITY = 1.4;
/** Speech is still clear, in bits per second. */
const AUDIO_BITRATE_MIN = 16_000;

/** @typedef {{ received: number, lost: number, jitterMs: number, delayMs: number }} Report as in the protocol, of about a second */

export class RateControl {
  /** @type {Map<number, { report: Report, atMs: number, isAudio: boolean }>} */
  #reports = new Map();
  /** Bits in each of the last seconds. @type {number[]} */
  #sent = [];
  /** Bits per second. */
  #target = RATE_START;
  #isFirst = true;
  /** The rate that was too much; infinite: none is known. */
  #limit = Infinity;
  #patienceMs = PATIENCE_MS.least;
  #settledAtMs = -Infinity;
  #mayPassAtMs = -Infinity;
  #passedAtMs = Infinity;

  /** Bits per second of all tracks together. */
  get target() {
    return this.#target;
  }

  /** @param {number} track @param {Report} report @param {number} nowMs @param {boolean} [isAudio] */
  report(track, report, nowMs, isAudio = false) {
    this.#reports.set(track, { report, atMs: nowMs, isAudio });
  }

  /** The carrier or the seat is another: nothing that was known holds. */
  reset() {
    this.#reports.clear();
    this.#isFirst = true;
    this.#limit = Infinity;
    this.#patienceMs = PATIENCE_MS.least;
    this.#settledAtMs = this.#mayPassAtMs = -Infinity;
    this.#passedAtMs = Infinity;
  }

  /** To be called once a second. @param {number} sent bits in the last second @param {number} nowMs @returns {number} bits per second */
  update(sent, nowMs) {
    this.#sent = [...this.#sent, sent].slice(-SENT_SECONDS);
    for (const [track, { atMs }] of this.#reports) if (nowMs - atMs > REPORT_MS_MAX) this.#reports.delete(track);
    if (this.#reports.size === 0) return this.#target;
    const { loss, isQueueing } = judge([...this.#reports.values()]);
    if (nowMs < this.#settledAtMs) return this.#target;
    if (loss > LOSS_HIGH) this.#lower(this.#target * (1 - loss / 2), nowMs);
    else if (isQueueing) this.#lower(DECREASE * Math.min(this.#target, this.#filled * (1 - loss)), nowMs);
    else if (loss < LOSS_LOW) this.#raise(sent, nowMs);
    return this.#target;
  }

  /** What was sent lately, in bits per second; where that is little, what might have been. */
  get #filled() {
    const most = Math.max(...this.#sent);
    return most < this.#target * FILLED ? Infinity : most;
  }

  /** @param {number} target @param {number} nowMs */
  #lower(target, nowMs) {
    const isKnown = this.#limit !== Infinity && this.#target > this.#limit * NEAR;
    this.#patienceMs = isKnown ? Math.min(this.#patienceMs * 2, PATIENCE_MS.most) : PATIENCE_MS.least;
    this.#limit = this.#target;
    this.#target = Math.max(RATE_MIN, Math.round(target));
    this.#isFirst = false;
    this.#settledAtMs = nowMs + SETTLE_MS;
    this.#mayPassAtMs = nowMs + this.#patienceMs;
    this.#passedAtMs = Infinity;
  }

  /** @param {number} sent @param {number} nowMs */
  #raise(sent, nowMs) {
    const near = this.#limit * NEAR;
    const growth = this.#isFirst ? GROWTH.first : this.#target < near ? GROWTH.usual : GROWTH.careful;
    const bound = Math.min(RATE_MAX, sent * GUESS_MAX, nowMs < this.#mayPassAtMs ? near : Infinity);
    this.#target = Math.round(Math.max(this.#target, Math.min(this.#target * growth, bound)));
    if (this.#target < this.#limit) this.#passedAtMs = Infinity;
    else if (this.#passedAtMs === Infinity) this.#passedAtMs = nowMs;
    else if (nowMs - this.#passedAtMs > PROVEN_MS) this.#limit = Infinity;
  }
}

/** Audio goes first everywhere: where it is late and pictures are not, its device is. @param {{ report: Report, isAudio: boolean }[]} reports */
function judge(reports) {
  const lost = reports.reduce((sum, { report }) => sum + report.lost, 0);
  const all = reports.reduce((sum, { report }) => sum + report.lost + report.received, 0);
  const late = reports.filter(({ report: { delayMs } }) => delayMs > QUEUE_MS_MAX);
  const isQueueing = late.some(({ isAudio }) => !isAudio) || (late.length > 0 && reports.every(({ isAudio }) => isAudio));
  return { loss: all === 0 ? 0 : lost / all, isQueueing };
}

/**
 * Shares a rate between encoders: to each its least, and of the rest as much of what it could still use.
 * @param {number} total bits per second
 * @param {{ bitrateMin: number, bitrateMax: number }[]} demands
 * @returns {number[]}
 */
export function share(total, demands) {
  const least = demands.reduce((sum, { bitrateMin }) => sum + bitrateMin, 0);
  const room = demands.reduce((sum, { bitrateMin, bitrateMax }) => sum + bitrateMax - bitrateMin, 0);
  if (total <= least) return demands.map(({ bitrateMin }) => Math.round((bitrateMin * Math.max(total, 0)) / (least || 1)));
  const part = room === 0 ? 0 : Math.min(1, (total - least) / room);
  return demands.map(({ bitrateMin, bitrateMax }) => Math.round(bitrateMin + (bitrateMax - bitrateMin) * part));
}

/**
 * Shares a rate between encoders and parity. While there is loss on the way to the relay, all temporal layers are to have parity, and pictures get less for it, down
 * to their least: below, and without loss, upper layers have it where it fits beside them.
 * @param {number} total bits per second for video
 * @param {{ bitrateMin: number, bitrateMax: number }[]} demands
 * @param {boolean} hasLoss
 * @returns {{ bitrates: number[], hasRoom: boolean }} `hasRoom`: for parity of upper layers
 */
export function shareWithParity(total, demands, hasLoss) {
  const least = demands.reduce((sum, { bitrateMin }) => sum + bitrateMin, 0);
  if (hasLoss && total >= WITH_PARITY * least) return { bitrates: share(total / WITH_PARITY, demands), hasRoom: true };
  const bitrates = share(total, demands);
  return { bitrates, hasRoom: total >= WITH_PARITY * bitrates.reduce((sum, bitrate) => sum + bitrate, 0) };
}

/** Audio goes last: it gives way when a quarter of everything is less than it. @param {number} target of all tracks @param {number} usual */
export function audioBitrate(target, usual) {
  return Math.round(Math.min(usual, Math.max(AUDIO_BITRATE_MIN, target / 4)));
}
