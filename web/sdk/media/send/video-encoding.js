/** One video track in the worker: each frame of the device to the encoders of the renditions that are wanted. */
import { temporalLayers } from './codec.js';
import { FrameGate } from './frame-gate.js';
import { MediaClock, nowMs } from '../media-clock.js';
import { Load, QUALITY_STEPS, qualityStep } from './quality.js';
import { RenditionEncoder } from './rendition-encoder.js';
import { fit, layersToEncode, renditions } from './renditions.js';
import { TemporalLayers } from './temporal-layers.js';

/** With more frames than this in an encoder, new ones are left out before they cost anything. */
const QUEUED_FRAMES_MAX = 2;
/** A screen that does not change gives no frames. It is sent again so often, in milliseconds: for newcomers, and to become sharp. */
const STILL_MS = 1000;

/** @typedef {import('./frame-sender.js').EncodedFrame} EncodedFrame */
/** @typedef {import('./renditions.js').Rendition} Rendition */

/**
 * What is encoded, as it is announced.
 * @typedef {object} VideoPlan
 * @property {VideoEncoderConfig} config what the browser takes: codec, temporal layers, mode
 * @property {number} temporalLayersMin how few the browser takes as well
 * @property {number} width
 * @property {number} height
 * @property {number} frameRate at most
 * @property {import('./delivery.js').Deliveries} delivery
 * @property {number} renditions how many
 * @property {boolean} isScreen
 */

/**
 * What became of the frames, since the beginning. The renditions of one picture are one frame.
 * @typedef {object} FrameCounts
 * @property {number} captured that the device gave
 * @property {number} unwanted passed over, because nobody is to see them
 * @property {number} dropped because the encoders were busy
 * @property {number} thinned left out because fewer frames a second are to be sent
 * @property {number} encoded that an encoder gave back: those that are in none of these it left out to keep its bitrate
 */

/**
 * @typedef {object} VideoEncodingOptions
 * @property {VideoPlan} plan
 * @property {(frame: EncodedFrame) => void} output
 * @property {(error: Error) => void} failed nothing comes any more
 */

export class VideoEncoding {
  #options;
  #renditions;
  #encoders;
  #gates;
  #temporalLayers;
  /** Bits per second, and index of {@link QUALITY_STEPS}, of each rendition. @type {number[]} */
  #bitrates;
  /** @type {number[]} */
  #steps;
  #load = new Load();
  #clock = new MediaClock();
  #lastTimestamp = -Infinity;
  /** What is taken, a bit for each rendition: nothing before the relay has said so. */
  #spatialLayers = 0;
  /** Layers that lack a frame: they wait for a keyframe. @type {Set<number>} */
  #broken = new Set();
  /** The last picture of a screen. @type {VideoFrame | null} */
  #still = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #stillTimer;
  /** @type {ReadableStreamDefaultReader<VideoFrame> | null} */
  #reader = null;
  #isPaused = false;
  #lastEncoded = -1;
  /** @type {FrameCounts} */
  counts = { captured: 0, unwanted: 0, dropped: 0, thinned: 0, encoded: 0 };

  /** @param {VideoEncodingOptions} options */
  constructor(options) {
    this.#options = options;
    const { plan, failed } = options;
    this.#renditions = renditions(plan, { count: plan.renditions, frameRate: plan.frameRate, isScreen: plan.isScreen });
    this.#encoders = this.#renditions.map(({ layer }) => new RenditionEncoder({ layer, config: plan.config, output: (frame) => this.#output(frame), failed }));
    this.#temporalLayers = new TemporalLayers(temporalLayers(plan.config), plan.temporalLayersMin);
    this.#gates = this.#renditions.map(() => new FrameGate());
    this.#bitrates = this.#renditions.map(({ bitrateMax }) => bitrateMax);
    this.#steps = this.#renditions.map(() => 0);
  }

  /** Reads frames until the device stops; those of a device before are closed as they come. @param {ReadableStream<VideoFrame>} readable */
  async input(readable) {
    this.#restartInput();
    const reader = (this.#reader = readable.getReader());
    try {
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        if (reader === this.#reader) this.offer(part.value);
        else part.value.close();
      }
    } catch {
      // The device is gone, and its track says so to the page.
    }
  }

  /** Takes a frame and closes it. One that the browser makes no copy of is left out: those that follow are others. @param {VideoFrame} frame */
  offer(frame) {
    this.counts.captured++;
    try {
      const captureMs = this.#clock.at(frame.timestamp / 1000, nowMs());
      if (this.#options.plan.isScreen) this.#keep(frame);
      this.#encode(frame, captureMs);
    } catch {
      this.counts.dropped++;
    } finally {
      frame.close();
    }
  }

  /** Whether frames are passed over: nobody is to see them. @param {boolean} isPaused */
  pause(isPaused) {
    if (this.#isPaused === isPaused) return;
    this.#isPaused = isPaused;
    if (!isPaused) return this.requestKeyframes();
    for (const encoder of this.#encoders) encoder.close();
  }

  requestKeyframes() {
    for (const encoder of this.#encoders) encoder.requestKeyframe();
  }

  /** @param {number} layer */
  requestKeyframe(layer) {
    this.#encoders[layer]?.requestKeyframe();
  }

  /** The track is another one for the relay. */
  restart() {
    this.#broken.clear();
    this.#spatialLayers = 0;
    this.#temporalLayers.want(Infinity, performance.now());
    for (const encoder of this.#encoders) encoder.restart();
  }

  /** @param {number} spatialLayers a bit for each rendition @param {number} temporalLayer the highest that anybody takes */
  layersWanted(spatialLayers, temporalLayer) {
    this.#spatialLayers = spatialLayers;
    this.#temporalLayers.want(temporalLayer, performance.now());
    for (const encoder of this.#encoders) encoder.wantTemporalLayer(temporalLayer);
    for (const { layer } of this.#renditions) if (!this.#active.includes(layer)) this.#encoders[layer].close();
  }

  /** A frame of it did not leave. @param {number} layer */
  broken(layer) {
    this.#broken.add(layer);
    this.requestKeyframe(layer);
  }

  /** What the renditions that are encoded need, in bits per second. @returns {{ bitrateMin: number, bitrateMax: number }[]} */
  demands() {
    const { bitrate } = this.#temporalLayers.part;
    return this.#taken.map(({ bitrateMin, bitrateMax }) => ({ bitrateMin: bitrateMin * bitrate, bitrateMax: bitrateMax * bitrate }));
  }

  /** @param {number[]} bitrates in the order of {@link VideoEncoding.demands} */
  assign(bitrates) {
    const { bitrate } = this.#temporalLayers.part;
    for (const [at, { layer, bitrateMin }] of this.#taken.entries()) {
      this.#bitrates[layer] = bitrates[at];
      this.#steps[layer] = qualityStep(bitrates[at], bitrateMin * bitrate, this.#steps[layer]);
    }
  }

  /** What each rendition is encoded to at the moment. */
  statistics() {
    return this.#active.map((layer) => ({ layer, ...this.#encoders[layer].target, encodeMs: this.#encoders[layer].encodeMs }));
  }

  close() {
    this.#restartInput();
    this.#isPaused = true;
    for (const encoder of this.#encoders) encoder.close();
  }

  /** @returns {Rendition[]} */
  get #taken() {
    return this.#isPaused ? [] : this.#active.map((layer) => this.#renditions[layer]);
  }

  get #active() {
    return layersToEncode(this.#renditions.length, this.#spatialLayers);
  }

  #restartInput() {
    // It is read until the device stops: frames that are on their way when a stream is cancelled are closed by nobody.
    this.#reader = null;
    this.#clock = new MediaClock();
    clearTimeout(this.#stillTimer);
    this.#still?.close();
    this.#still = null;
  }

  /** @param {VideoFrame} frame @param {number} captureMs */
  #encode(frame, captureMs) {
    const active = this.#active;
    if (this.#isPaused || active.length === 0) return void this.counts.unwanted++;
    const isBusy = active.some((layer) => this.#encoders[layer].queueSize > QUEUED_FRAMES_MAX);
    this.#load.frame(isBusy, performance.now());
    if (isBusy) return void this.counts.dropped++;
    const timestamp = (this.#lastTimestamp = Math.max(this.#lastTimestamp + 1, Math.round((captureMs - performance.timeOrigin) * 1000)));
    const stamped = new VideoFrame(frame, { timestamp });
    try {
      const targets = active.map((layer) => ({ layer, target: this.#target(layer, frame) }));
      const passing = targets.filter(({ layer, target }) => this.#gates[layer].passes(captureMs, target.frameRate));
      for (const { layer, target } of passing) this.#encoders[layer].encode(stamped, target);
      if (passing.length === 0) this.counts.thinned++;
    } finally {
      stamped.close();
    }
  }

  /** @param {number} layer @param {VideoFrame} frame */
  #target(layer, frame) {
    const rendition = this.#renditions[layer];
    const step = QUALITY_STEPS[Math.max(this.#steps[layer], this.#load.step)];
    const temporalLayers = this.#temporalLayers.encoded(performance.now());
    const part = this.#temporalLayers.part;
    const frameRate = this.#options.plan.frameRate * step.frameRate * part.frameRate;
    const bitrate = Math.round(Math.min(this.#bitrates[layer], part.bitrate * rendition.bitrateMax * step.frameRate * step.scale));
    return { ...fit({ width: frame.displayWidth, height: frame.displayHeight }, rendition, step.scale), bitrate, frameRate, temporalLayers };
  }

  /** @param {EncodedFrame} frame */
  #output(frame) {
    const { spatialLayer, keyframe, timestamp } = frame.header;
    if (timestamp !== this.#lastEncoded) this.counts.encoded++;
    this.#lastEncoded = timestamp;
    if (keyframe) this.#broken.delete(spatialLayer);
    if (!this.#isPaused && !this.#broken.has(spatialLayer)) this.#options.output(frame);
  }

  /** @param {VideoFrame} frame */
  #keep(frame) {
    const still = frame.clone();
    this.#still?.close();
    this.#still = still;
    const keptAtMs = nowMs();
    const again = () => {
      this.#stillTimer = setTimeout(again, STILL_MS);
      try {
        this.#encode(still, nowMs() - keptAtMs + this.#clock.at(still.timestamp / 1000, keptAtMs));
      } catch {
        // The browser makes no copy of it now. It may in a second.
        this.counts.dropped++;
      }
    };
    clearTimeout(this.#stillTimer);
    this.#stillTimer = setTimeout(again, STILL_MS);
  }
}
