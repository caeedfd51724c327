/** Plays the audio of one track: decoded frames come over a port, from the worker that decodes. */
import { Playout } from './playout.js';

/** @typedef {{ number: number, timestamp: number, planes: Float32Array[] }} DecodedAudio */
/** @typedef {{ type: 'frame', frame: DecodedAudio } | { type: 'target', ms: number }} FromWorker */
/** @typedef {{ type: 'connect', worker: MessagePort } | { type: 'close' }} FromPage */
/**
 * How the playout is doing, ten times a second.
 * @typedef {object} PlayoutStatus
 * @property {number | null} timestamp when what is played was captured; `null` while nothing is
 * @property {number} bufferedMs
 * @property {Playout['counts']} counts samples since the beginning
 */

/** Blocks of 128 samples between two reports: 0.1 s. */
const STATUS_BLOCKS = 38;

/** What there is in an AudioWorkletGlobalScope. @type {any} */
const scope = globalThis;

class PlayoutProcessor extends scope.AudioWorkletProcessor {
  #playout;
  #blocks = 0;
  #isClosed = false;
  /** @type {MessagePort | null} */
  #worker = null;

  /** @param {{ processorOptions: { channels: number } }} options */
  constructor({ processorOptions: { channels } }) {
    super();
    this.#playout = new Playout({ channels, sampleRate: scope.sampleRate });
    this.port.onmessage = (/** @type {MessageEvent<FromPage>} */ { data }) => this.#control(data);
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, outputs) {
    this.#playout.pull(outputs[0]);
    if (++this.#blocks % STATUS_BLOCKS === 0) this.#report();
    return !this.#isClosed;
  }

  /** @param {FromPage} message */
  #control(message) {
    if (message.type === 'close') return this.#close();
    this.#worker = message.worker;
    this.#worker.onmessage = ({ data }) => this.#take(data);
  }

  /** @param {FromWorker} message */
  #take(message) {
    if (message.type === 'target') this.#playout.targetMs = message.ms;
    else this.#playout.push(message.frame.number, message.frame.timestamp, message.frame.planes);
  }

  #close() {
    this.#isClosed = true;
    this.#worker?.close();
  }

  #report() {
    const { timestamp, bufferedMs, counts } = this.#playout;
    this.#worker?.postMessage({ timestamp, bufferedMs, counts });
  }
}

scope.registerProcessor('tertulia-playout', PlayoutProcessor);
