/** The encoder of one rendition of a video track. */
import { FAILED_AGAIN_MS, SILENT_MS_MAX, withTemporalLayers } from './codec.js';
import { ticksOf } from '../media-clock.js';
import { References } from './references.js';

/** A bitrate that differs less is not worth a change: parts of it. */
const BITRATE_STEP = { usual: 0.05, costly: 0.2 };
/** The least time between changes of the bitrate, in milliseconds. Costly: where each change begins with a keyframe. */
const CHANGE_MS = { usual: 900, costly: 4000 };
/** As far below the last bitrate, it is changed at once. */
const URGENT = 0.75;
const SMOOTHING = 0.1;
/** A frame that has not come out for so long was left out to keep the bitrate, in milliseconds: nothing more is said of it. */
const LEFT_OUT_MS = 1000;
/** Firefox begins with a keyframe at each change. */
const CHANGE_IS_COSTLY = /Firefox\//.test(globalThis.navigator?.userAgent ?? '');

/** @typedef {import('./frame-sender.js').EncodedFrame} EncodedFrame */
/** @typedef {{ width: number, height: number, bitrate: number, frameRate: number, temporalLayers: number }} Target */

/**
 * @typedef {object} RenditionEncoderOptions
 * @property {number} layer its spatial layer
 * @property {VideoEncoderConfig} config codec and mode
 * @property {(frame: EncodedFrame) => void} output
 * @property {(error: Error) => void} failed it is closed, and was tried twice
 */

export class RenditionEncoder {
  #options;
  #references = new References();
  /** @type {VideoEncoder | null} */
  #encoder = null;
  /** @type {Target | null} */
  #configured = null;
  #changedAtMs = -Infinity;
  #wantsKeyframe = true;
  #failedAtMs = -Infinity;
  /** When each frame went in, by its timestamp. @type {Map<number, number>} */
  #started = new Map();
  /** Since when frames go in and nothing comes out. */
  #silentSinceMs = Infinity;
  /** Layers above are left out. Raised at a frame of the base layer, because what was left out is missing to them. */
  #temporalLayer = 7;
  #temporalLayerWanted = 7;
  /** What a frame takes, smoothed, in milliseconds. */
  encodeMs = 0;

  /** @param {RenditionEncoderOptions} options */
  constructor(options) {
    this.#options = options;
  }

  /** Frames that went in and are to come out. */
  get queueSize() {
    const leftOutMs = performance.now() - LEFT_OUT_MS;
    for (const [timestamp, startedMs] of this.#started) if (startedMs < leftOutMs) this.#started.delete(timestamp);
    return this.#started.size;
  }

  /** What it encodes to now. */
  get target() {
    return this.#configured;
  }

  requestKeyframe() {
    this.#wantsKeyframe = true;
  }

  /** @param {number} temporalLayer the highest that anybody takes */
  wantTemporalLayer(temporalLayer) {
    this.#temporalLayerWanted = temporalLayer;
  }

  /** The track is another one for the relay: its frames count from 0. */
  restart() {
    this.#references = new References();
    this.#wantsKeyframe = true;
  }

  /** The frame stays the caller's. @param {VideoFrame} frame its timestamp is microseconds of `performance.now()` @param {Target} target */
  encode(frame, target) {
    try {
      const encoder = this.#configure(target);
      const nowMs = performance.now();
      this.#silentSinceMs = Math.min(this.#silentSinceMs, nowMs);
      if (nowMs - this.#silentSinceMs > SILENT_MS_MAX) throw new Error('the encoder gives nothing back');
      this.#started.set(frame.timestamp, nowMs);
      encoder.encode(frame, { keyFrame: this.#wantsKeyframe });
      this.#wantsKeyframe = false;
    } catch (error) {
      this.#fail(/** @type {Error} */ (error));
    }
  }

  /** Nobody takes it. The numbers of its frames go on when somebody does again. */
  close() {
    if (this.#encoder && this.#encoder.state !== 'closed') this.#encoder.close();
    this.#encoder = null;
    this.#configured = null;
    this.#wantsKeyframe = true;
    this.#silentSinceMs = Infinity;
    this.#started.clear();
  }

  /** @param {Target} target @returns {VideoEncoder} */
  #configure(target) {
    if (this.#encoder && this.#configured && !this.#isChange(this.#configured, target)) return this.#encoder;
    if (this.#isOther(target)) this.close();
    const encoder = this.#encoder ?? this.#open();
    const { width, height, bitrate, frameRate: framerate, temporalLayers } = target;
    encoder.configure({ ...withTemporalLayers(this.#options.config, temporalLayers), width, height, bitrate, framerate });
    this.#configured = target;
    this.#changedAtMs = performance.now();
    return encoder;
  }

  /** @param {Target} old @param {Target} target */
  #isChange(old, target) {
    if (old.width !== target.width || old.height !== target.height || old.temporalLayers !== target.temporalLayers) return true;
    const cost = CHANGE_IS_COSTLY ? 'costly' : 'usual';
    const isDue = performance.now() - this.#changedAtMs > CHANGE_MS[cost] || target.bitrate < old.bitrate * URGENT;
    const differs = Math.abs(target.bitrate - old.bitrate) > old.bitrate * BITRATE_STEP[cost] || target.frameRate !== old.frameRate;
    return isDue && differs;
  }

  /**
   * Where layers begin or end, an encoder begins anew: without any, it may refer to a frame that those lack who took the base layer alone.
   * @param {Target} target
   */
  #isOther({ temporalLayers }) {
    return this.#configured !== null && temporalLayers !== this.#configured.temporalLayers && Math.min(temporalLayers, this.#configured.temporalLayers) === 1;
  }

  #open() {
    const encoder = new VideoEncoder({
      output: (chunk, metadata) => { if (encoder === this.#encoder) this.#output(chunk, metadata); },
      error: (error) => { if (encoder === this.#encoder) this.#fail(error); },
    });
    this.#encoder = encoder;
    this.#references.reset();
    this.#wantsKeyframe = true;
    return encoder;
  }

  /** @param {EncodedVideoChunk} chunk @param {EncodedVideoChunkMetadata} [metadata] */
  #output(chunk, metadata) {
    this.#silentSinceMs = Infinity;
    this.#measure(chunk.timestamp);
    const keyframe = chunk.type === 'key';
    const temporalLayer = keyframe ? 0 : (metadata?.svc?.temporalLayerId ?? 0);
    if (temporalLayer === 0) this.#temporalLayer = this.#temporalLayerWanted;
    if (temporalLayer > this.#temporalLayer) return;
    const payload = new Uint8Array(chunk.byteLength);
    chunk.copyTo(payload);
    this.#options.output({
      header: {
        ...this.#references.next({ keyframe, temporalLayer }), keyframe, temporalLayer, spatialLayer: this.#options.layer,
        audioLevel: 127, timestamp: ticksOf(performance.timeOrigin + chunk.timestamp / 1000),
      },
      payload,
    });
  }

  /** @param {number} timestamp */
  #measure(timestamp) {
    const startedMs = this.#started.get(timestamp);
    // Frames come out in order: what went in before and is still here was left out by the encoder.
    for (const started of this.#started.keys()) if (started <= timestamp) this.#started.delete(started);
    if (startedMs !== undefined) this.encodeMs += (performance.now() - startedMs - this.encodeMs) * SMOOTHING;
  }

  /** Once, another encoder is tried. @param {Error} error */
  #fail(error) {
    this.close();
    const now = performance.now();
    const isAgain = now - this.#failedAtMs < FAILED_AGAIN_MS;
    this.#failedAtMs = now;
    if (isAgain) this.#options.failed(error);
  }
}
