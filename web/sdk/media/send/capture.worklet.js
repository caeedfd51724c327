/** Collects what a microphone gives into frames, and sends each to a port. Runs on the thread of the audio. */
import { AUDIO_FRAME_MS } from '../audio-format.js';
import { audioLevel } from '../audio-level.js';

/**
 * @typedef {object} CapturedAudio
 * @property {Float32Array<ArrayBuffer>} samples a frame, one channel after the other
 * @property {number} channels
 * @property {number} sampleRate
 * @property {number} atMs when it began, on the clock of the audio
 */

/** @typedef {{ type: 'frames', port: MessagePort } | { type: 'close' }} FromPage */

/** A meter that changes more often cannot be seen, in frames. */
const METER_FRAMES = 3;

/** What there is in an AudioWorkletGlobalScope. @type {any} */
const scope = globalThis;

class CaptureProcessor extends scope.AudioWorkletProcessor {
  #frameSamples = Math.round((scope.sampleRate * AUDIO_FRAME_MS) / 1000);
  #channels;
  #samples;
  #filled = 0;
  #frames = 0;
  /** Where the frames go. @type {MessagePort | null} */
  #port = null;
  #isClosed = false;

  /** @param {{ processorOptions: { channels: number } }} options */
  constructor({ processorOptions: { channels } }) {
    super();
    this.#channels = channels;
    this.#samples = this.#empty();
    this.port.onmessage = (/** @type {MessageEvent<FromPage>} */ { data }) => {
      this.#port?.close();
      this.#port = data.type === 'frames' ? data.port : null;
      this.#isClosed = data.type === 'close';
    };
  }

  /** @param {Float32Array[][]} inputs */
  process([input]) {
    for (let at = 0; input.length > 0 && at < input[0].length;) {
      const count = Math.min(input[0].length - at, this.#frameSamples - this.#filled);
      for (let channel = 0; channel < this.#channels; channel++) {
        const from = input[Math.min(channel, input.length - 1)].subarray(at, at + count);
        this.#samples.set(from, channel * this.#frameSamples + this.#filled);
      }
      at += count;
      this.#filled += count;
      if (this.#filled === this.#frameSamples) this.#finish(at);
    }
    return !this.#isClosed;
  }

  /** @param {number} at sample of this block that follows */
  #finish(at) {
    if (this.#frames++ % METER_FRAMES === 0) this.port.postMessage(audioLevel(this.#samples));
    const atMs = ((scope.currentFrame + at - this.#frameSamples) * 1000) / scope.sampleRate;
    const frame = { samples: this.#samples, channels: this.#channels, sampleRate: scope.sampleRate, atMs };
    this.#port?.postMessage(frame, [frame.samples.buffer]);
    this.#samples = this.#empty();
    this.#filled = 0;
  }

  #empty() {
    return new Float32Array(this.#frameSamples * this.#channels);
  }
}

scope.registerProcessor('tertulia-capture', CaptureProcessor);
