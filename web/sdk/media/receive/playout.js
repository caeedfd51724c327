/**
 * The audio of one track between decoder and speaker. Frames come when the network brings them; samples go at the pace of the
 * speaker. What is kept follows a target: too much is played a little faster and too little a little slower, by whole pitch periods.
 * What is missing is concealed.
 *
 * `pull` runs in the thread of the speaker: it allocates nothing.
 */
import { OPUS_SAMPLE_RATE as RATE } from '../audio-format.js';
import { Concealment } from './concealment.js';
import { PitchPeriod } from './pitch.js';
import { lengthen, shorten } from './stretching.js';

/** Frames that may wait: more than the highest target. */
export const SLOTS = 32;
/** The longest frame, in samples: 60 ms. */
export const FRAME_SAMPLES_MAX = 2880;

/** How much is concealed at once while the next frame may still come, in samples: 5 ms. */
const CONCEAL_STEP = RATE / 200;
/** How long what is concealed is faded into what comes next, in samples: 5 ms. */
const JOINT = RATE / 200;
/** How long the beginning is, in samples: 0.5 s. */
const SETTLING_SAMPLES = RATE / 2;
const { HISTORY } = Concealment;
/** How alike two pitch periods are to be for one to be left out or repeated. */
const LIKENESS_MIN = 0.5;
/** Sound this faint is stretched anyhow, as the mean square: -60 dB. */
const FAINT = 1e-6;
/** How much earlier than needed a frame comes if all is as the target has it, in milliseconds: half a frame. */
const MARGIN_MS = 10;
/** Too much by this is too much whatever it sounds like, in milliseconds. */
const EXCESS_MS = 80;
/** What may come at once after a break beyond the target, to be played faster; more is left out. In milliseconds. */
const BURST_MS_MAX = 200;
/** How much a new level counts. */
const LEVEL_WEIGHT = 1 / 8;
/**
 * How much an empty buffer raises the target, in milliseconds: by what was missing, since what held a machine up once will do so again; and up to
 * where. The target knows the network's delays, and this machine needs more.
 */
const RESERVE_STEP_MS = { least: 10, most: 40 };
const RESERVE_MS_MAX = 60;
/** What was captured so much later than it would follow was preceded by silence: the buffer was empty because nothing was said, in milliseconds. */
const PAUSE_MS_MIN = 100;
/** How much of that is taken back with each frame played, in milliseconds: about 1 ms per second. */
const RESERVE_DECAY_MS = 0.02;
/** It is taken back while this much was left at all times, in milliseconds: then it was not needed. */
const LEFT_MS_MIN = 10;
/** What was left in so long counts, in samples, and at most in twice as long: 10 s. What makes it run low comes seldom. */
const LEFT_SAMPLES = 10 * RATE;

const MS = RATE / 1000;
const TICKS_PER_SAMPLE = 90_000 / RATE;

export class Playout {
  #channels;
  /** Samples of the source for one of the speaker. */
  #ratio;
  /** @type {{ number: number, timestamp: number, length: number, planes: Float32Array[] }[]} */
  #slots;
  /** What is made, by channel: the history, then what is still to be played. @type {Float32Array[]} */
  #made;
  #at = HISTORY;
  #end = HISTORY;
  /** Between two samples, where the speaker's rate is another. */
  #fraction = 0;
  /** The frame to play next; -1 while there is none yet. */
  #next = -1;
  #waiting = 0;
  #isFilling = true;
  #filledSamples = 0;
  #targetMs = 20;
  #reserveMs = 0;
  /** What it was before the buffer ran empty, until it is known why it did; `null`: it did not. @type {number | null} */
  #reserveBeforeMs = null;
  /** What was missing since then, in samples. */
  #missing = 0;
  /** The least that was left after the speaker had taken something, in the window that is on and in the one before, in milliseconds. */
  #leftMs = Infinity;
  #leftBeforeMs = Infinity;
  #leftSamples = 0;
  #levelMs = 0;
  #frameLength = RATE / 50;
  #timestamp = 0;
  #pitch = new PitchPeriod();
  #concealment;
  /** Samples. */
  counts = { played: 0, concealed: 0, silent: 0, stretched: 0, late: 0, underruns: 0 };

  /** @param {{ channels: number, sampleRate: number }} output `sampleRate`: the speaker's */
  constructor({ channels, sampleRate }) {
    this.#channels = channels;
    this.#ratio = RATE / sampleRate;
    const planes = (/** @type {number} */ length) => Array.from({ length: channels }, () => new Float32Array(length));
    this.#slots = Array.from({ length: SLOTS }, () => ({ number: -1, timestamp: 0, length: 0, planes: planes(FRAME_SAMPLES_MAX) }));
    this.#made = planes(HISTORY + 2 * FRAME_SAMPLES_MAX + 2 * PitchPeriod.SAMPLES_MAX);
    this.#concealment = new Concealment(channels);
  }

  /** How much is to be kept, in milliseconds. @param {number} ms */
  set targetMs(ms) {
    this.#targetMs = ms;
  }

  /** What is kept now, in milliseconds. */
  get bufferedMs() {
    return (this.#waiting * this.#frameLength + this.#end - this.#at) / MS;
  }

  /** When what is played now was captured; `null` while nothing is. */
  get timestamp() {
    return this.#isFilling ? null : (this.#timestamp - (this.#end - this.#at) * TICKS_PER_SAMPLE) >>> 0;
  }

  /** Takes a decoded frame. @param {number} number @param {number} timestamp of its capture @param {Float32Array[]} planes one per channel */
  push(number, timestamp, planes) {
    const length = planes[0]?.length ?? 0;
    if (length === 0 || length > FRAME_SAMPLES_MAX) return;
    const isFar = number >= this.#next + SLOTS || number < this.#next - SLOTS;
    if (this.#next < 0 || isFar) this.#jumpTo(number);
    if (number < this.#next) return void this.counts.late++;
    const slot = this.#slots[number % SLOTS];
    if (slot.number === number) return;
    slot.number = number;
    slot.timestamp = timestamp;
    slot.length = length;
    for (let channel = 0; channel < this.#channels; channel++) slot.planes[channel].set(planes[Math.min(channel, planes.length - 1)]);
    this.#waiting++;
    this.#frameLength = length;
  }

  /** Fills the outputs, one per channel, all of one length. @param {Float32Array[]} outputs */
  pull(outputs) {
    const length = outputs[0].length;
    const needed = Math.ceil(length * this.#ratio) + 1;
    while (this.#end - this.#at < needed) this.#make();
    for (let channel = 0; channel < outputs.length; channel++) {
      this.#read(this.#made[Math.min(channel, this.#channels - 1)], outputs[channel]);
    }
    const read = this.#fraction + length * this.#ratio;
    this.#at += Math.floor(read);
    this.#fraction = read % 1;
    this.#watch(length * this.#ratio);
  }

  /** How far it runs down. @param {number} length samples that were taken */
  #watch(length) {
    if (!this.#isFilling) this.#leftMs = Math.min(this.#leftMs, this.bufferedMs);
    this.#leftSamples += length;
    if (this.#leftSamples < LEFT_SAMPLES) return;
    this.#leftBeforeMs = this.#leftMs;
    this.#leftMs = Infinity;
    this.#leftSamples = 0;
  }

  /** @param {Float32Array} made @param {Float32Array} output */
  #read(made, output) {
    for (let at = 0; at < output.length; at++) {
      const exact = this.#at + this.#fraction + at * this.#ratio;
      const before = Math.floor(exact);
      output[at] = made[before] + (made[before + 1] - made[before]) * (exact - before);
    }
  }

  /** @param {number} number */
  #jumpTo(number) {
    for (const slot of this.#slots) slot.number = -1;
    this.#waiting = 0;
    this.#next = number;
    this.#isFilling = true;
    this.#filledSamples = 0;
  }

  /** Makes some more samples. */
  #make() {
    this.#compact();
    if (this.#isFilling && !this.#isFilled()) return this.#conceal(CONCEAL_STEP);
    if (this.counts.played < SETTLING_SAMPLES) this.#settle();
    const slot = this.#slots[this.#next % SLOTS];
    if (slot.number === this.#next) return this.#play(slot);
    if (this.#waiting > 0) return this.#skip();
    this.#conceal(CONCEAL_STEP);
    if (!this.#concealment.isSilent) return;
    this.#isFilling = true;
    this.#filledSamples = 0;
  }

  /** Whether the first frame has waited so long that the next ones come in time, or as much has come at once. */
  #isFilled() {
    if (this.#waiting === 0) return false;
    const frameMs = this.#frameLength / MS;
    const isFilled = this.#filledSamples >= (this.#wantedMs - frameMs + MARGIN_MS) * MS || this.bufferedMs >= this.#wantedMs + frameMs;
    this.#filledSamples += CONCEAL_STEP;
    if (!isFilled) return false;
    this.#advance();
    this.#trim(this.counts.played === 0 ? 0 : BURST_MS_MAX);
    this.#isFilling = false;
    this.#levelMs = this.bufferedMs;
    return true;
  }

  /** Leaves out the oldest of what is more than wanted by more than a frame and so much. @param {number} excessMs */
  #trim(excessMs) {
    while (this.#waiting > 1 && this.bufferedMs > this.#wantedMs + excessMs + this.#frameLength / MS) {
      // The next one may be missing.
      this.#advance();
      this.#slots[this.#next % SLOTS].number = -1;
      this.#waiting--;
      this.#advance();
    }
  }

  /** In the beginning what piled up before comes by and by, and is left out as well. */
  #settle() {
    const next = this.#next;
    this.#trim(this.#frameLength / MS);
    if (this.#next === next || this.#concealment.isActive) return;
    this.#concealment.begin(this.#made, this.#end);
    this.#concealment.step();
  }

  /** Goes to the first frame that is here. Not without end: a thread of the speaker that is in a loop takes the machine away from all else. */
  #advance() {
    for (let ahead = 0; ahead < SLOTS && this.#slots[this.#next % SLOTS].number !== this.#next; ahead++) this.#next++;
  }

  get #wantedMs() {
    return this.#targetMs + this.#reserveMs;
  }

  /** A frame did not come, and later ones did. */
  #skip() {
    // What is silence by now need not be waited for.
    if (this.#concealment.isSilent) return this.#advance();
    this.#next++;
    this.#timestamp = (this.#timestamp + this.#frameLength * TICKS_PER_SAMPLE) >>> 0;
    this.#conceal(this.#frameLength);
    // The network has lost it: a larger reserve would not have helped.
    this.#missing = 0;
  }

  /** @param {{ number: number, timestamp: number, length: number, planes: Float32Array[] }} slot */
  #play(slot) {
    if (this.#reserveBeforeMs !== null) this.#judge(slot.timestamp, this.#reserveBeforeMs);
    this.#levelMs += (this.bufferedMs - this.#levelMs) * LEVEL_WEIGHT;
    if (Math.min(this.#leftMs, this.#leftBeforeMs) > LEFT_MS_MIN) this.#reserveMs = Math.max(0, this.#reserveMs - RESERVE_DECAY_MS);
    const start = this.#end;
    for (let channel = 0; channel < this.#channels; channel++) {
      const made = this.#made[channel];
      const plane = slot.planes[channel];
      for (let at = 0; at < slot.length; at++) made[start + at] = plane[at];
    }
    this.#end += slot.length;
    slot.number = -1;
    this.#waiting--;
    this.#next++;
    this.#timestamp = (slot.timestamp + slot.length * TICKS_PER_SAMPLE) >>> 0;
    this.counts.played += slot.length;
    if (this.#concealment.isActive) this.#join(start, Math.min(JOINT, slot.length));
    else this.#stretch(start, slot.length);
  }

  /** What came at last shows whether it was late, or nothing was said meanwhile. @param {number} timestamp @param {number} reserveMs before */
  #judge(timestamp, reserveMs) {
    this.#reserveBeforeMs = null;
    const stepMs = Math.min(Math.max(this.#missing / MS, RESERVE_STEP_MS.least), RESERVE_STEP_MS.most);
    this.#reserveMs = Math.min(RESERVE_MS_MAX, reserveMs + stepMs);
    this.#missing = 0;
    const pauseTicks = (timestamp - this.#timestamp) >>> 0;
    if (pauseTicks < PAUSE_MS_MIN * MS * TICKS_PER_SAMPLE) return;
    this.#reserveMs = reserveMs;
    this.#leftMs = Infinity;
    this.#leftSamples = 0;
  }

  /** Fades what was concealed into what came. @param {number} start @param {number} length */
  #join(start, length) {
    for (let at = 0; at < length; at++) {
      const share = at / length;
      for (let channel = 0; channel < this.#channels; channel++) {
        const made = this.#made[channel];
        made[start + at] = made[start + at] * share + this.#concealment.sample(channel) * (1 - share);
      }
      this.#concealment.step();
    }
    this.#concealment.end();
  }

  /** Shortens or lengthens the frame that was just made, if too much or too little is kept. @param {number} start @param {number} length */
  #stretch(start, length) {
    const low = this.#wantedMs * 0.75;
    const high = Math.max(this.#wantedMs, low + this.#frameLength / MS);
    const isFull = this.#levelMs > high;
    if (!isFull && this.#levelMs >= low) return;
    const period = this.#pitch.find(this.#made[0], start, length);
    if (period === 0) return;
    const isExcess = this.#levelMs > high + EXCESS_MS;
    if (this.#pitch.likeness < LIKENESS_MIN && this.#pitch.energy > FAINT && !isExcess) return;
    for (const made of this.#made) {
      if (isFull) shorten(made, start, length, period);
      else lengthen(made, start, length, period);
    }
    const change = isFull ? -period : period;
    this.#end += change;
    this.#levelMs += change / MS;
    this.counts.stretched += period;
  }

  /** @param {number} length */
  #conceal(length) {
    if (!this.#concealment.isActive) this.#beginConcealment();
    if (this.#concealment.isSilent) this.counts.silent += length;
    else this.counts.concealed += length;
    if (this.#reserveBeforeMs !== null) this.#missing += length;
    for (let at = 0; at < length; at++) {
      for (let channel = 0; channel < this.#channels; channel++) this.#made[channel][this.#end] = this.#concealment.sample(channel);
      this.#end++;
      this.#concealment.step();
    }
  }

  #beginConcealment() {
    this.#concealment.begin(this.#made, this.#end);
    if (this.#waiting > 0) return;
    this.counts.underruns++;
    this.#reserveBeforeMs ??= this.#reserveMs;
    this.#reserveMs = Math.min(RESERVE_MS_MAX, this.#reserveMs + RESERVE_STEP_MS.least);
  }

  /** Moves what is still to be played to the front, behind the history. */
  #compact() {
    const from = Math.min(this.#at, this.#end) - HISTORY;
    if (from === 0) return;
    for (const made of this.#made) made.copyWithin(0, from, this.#end);
    this.#at -= from;
    this.#end -= from;
  }
}
