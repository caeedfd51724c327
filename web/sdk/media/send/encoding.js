/** The page's side of the worker that encodes: what both say to each other, and the worker's life. */
import { TertuliaError } from '../../error.js';
import { retireWorker, startWorker } from '../worker-url.js';

const WORKER = new URL('./send.worker.js', import.meta.url);

/** @typedef {import('./frame-sender.js').OutgoingFrame} OutgoingFrame */
/** @typedef {import('./rate.js').Report} Report */
/** @typedef {import('./video-encoding.js').VideoPlan} VideoPlan */
/** @typedef {{ choice: import('./codec.js').VideoCodecChoice, width: number, height: number, bitrate: number, frameRate: number, isScreen: boolean }} Wish what is to be encoded */
/**
 * @typedef {{ config: VideoEncoderConfig | null, temporalLayersMin: number }} Prepared what the browser takes; `null`: it encodes nothing of the
 *   kind. `temporalLayersMin`: how few layers it takes as well
 */

/**
 * `key` is the track's number on this side, which stays when the relay gives it another id.
 * @typedef {{ type: 'prepare', request: number } & Wish
 *   | { type: 'encrypt', frameKey: CryptoKey }
 *   | { type: 'carrier', carrier: import('../../carrier.js').Carrier | null }
 *   | { type: 'pause', isPaused: boolean }
 *   | { type: 'queueing', delayMs: number }
 *   | { type: 'missed' }
 *   | { type: 'video', key: number, plan: VideoPlan }
 *   | { type: 'audio', key: number, channels: number, bitrate: number }
 *   | { type: 'frame', key: number, frame: VideoFrame }
 *   | { type: 'videoInput', key: number, readable: ReadableStream<VideoFrame> }
 *   | { type: 'audioInput', key: number, port: MessagePort }
 *   | { type: 'published', key: number, track: number }
 *   | { type: 'mute', key: number, isMuted: boolean }
 *   | { type: 'keyframe', key: number, layer: number }
 *   | { type: 'broken', key: number, layer: number }
 *   | { type: 'layers', key: number, spatialLayers: number, temporalLayer: number }
 *   | { type: 'feedback', key: number, best: Report, worst: Report }
 *   | { type: 'remove', key: number }
 *   | { type: 'removeAll' }} ToWorker
 */
/**
 * What a track did in the last second.
 * @typedef {object} EncodingStatistics
 * @property {number} key
 * @property {number} bits sent
 * @property {number} frames sent
 * @property {number} framesSent since the beginning
 * @property {import('./video-encoding.js').FrameCounts} [counts] of video
 * @property {{ layer: number, width?: number, height?: number, bitrate?: number, frameRate?: number, temporalLayers?: number, encodeMs: number }[]} renditions
 */
/**
 * @typedef {{ type: 'prepared', request: number } & Prepared
 *   | { type: 'datagrams', datagrams: Uint8Array<ArrayBuffer>[] } & OutgoingFrame
 *   | { type: 'failed', key: number, reason: string }
 *   | { type: 'statistics', target: number, tracks: EncodingStatistics[] }} FromWorker
 */

/**
 * @typedef {object} EncodingListener
 * @property {(frame: OutgoingFrame & { datagrams: Uint8Array<ArrayBuffer>[] }) => void} datagrams
 * @property {(key: number, reason: string) => void} failed the track gives nothing any more
 * @property {(target: number, tracks: EncodingStatistics[]) => void} statistics each second; `target` in bits per second
 * @property {() => void} crashed the worker gives nothing any more
 */

export class Encoding {
  #worker;
  #listener;
  /** @type {Map<number, { resolve(prepared: Prepared): void, reject(error: TertuliaError): void }>} */
  #preparing = new Map();
  #requests = 0;
  #isStopped = false;

  /** @param {EncodingListener} listener */
  constructor(listener) {
    this.#listener = listener;
    this.#worker = startWorker(WORKER);
    this.#worker.onmessage = ({ data }) => this.#hear(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#crash();
    };
  }

  /** @param {ToWorker} message @param {Transferable[]} [transfer] */
  tell(message, transfer = []) {
    this.#worker.postMessage(message, transfer);
  }

  /** Finds out what this browser encodes. @param {Wish} wish @returns {Promise<Prepared>} */
  prepare(wish) {
    return new Promise((resolve, reject) => {
      if (this.#isStopped) throw stopped();
      const request = ++this.#requests;
      this.#preparing.set(request, { resolve, reject });
      this.tell({ type: 'prepare', request, ...wish });
    });
  }

  stop() {
    this.#isStopped = true;
    this.tell({ type: 'removeAll' });
    retireWorker(this.#worker);
    for (const { reject } of this.#preparing.values()) reject(stopped());
    this.#preparing.clear();
  }

  /** @param {FromWorker} message */
  #hear(message) {
    switch (message.type) {
      case 'prepared':
        this.#preparing.get(message.request)?.resolve(message);
        return void this.#preparing.delete(message.request);
      case 'datagrams': return this.#listener.datagrams(message);
      case 'failed': return this.#listener.failed(message.key, message.reason);
      case 'statistics': return this.#listener.statistics(message.target, message.tracks);
    }
  }

  #crash() {
    this.stop();
    this.#listener.crashed();
  }
}

function stopped() {
  return new TertuliaError('codec_failed', 'The browser stopped encoding. Turn camera and microphone on again, or reload the page.');
}
