/** One video track, from datagrams to pictures. Runs in the worker. */
import { Assembly } from './assembly.js';
import { CatchUp } from './catch-up.js';
import { Decoder } from './decoder.js';
import { Dependency, PATIENCE_MS, WISH_INTERVAL_MS, inOrderMs } from './dependency.js';
import { Freezes } from './freezes.js';
import { DEADLINE_MS, Gaps, REORDERING_MS } from './gaps.js';
import { HeldFrames } from './held-frames.js';
import { Histogram } from './histogram.js';
import { decoderHints } from '../colour.js';
import { nowMs as wallMs, ticksOf } from '../media-clock.js';
import { Opening } from './opening.js';
import { Renderer } from './render.js';
import { msBetween } from '../timestamp.js';
import { REPORTED_SECONDS, Transit } from './transit.js';

/** @typedef {import('./assembly.js').Frame} Frame */
/** @typedef {import('./layers.js').Layers} Layers */
/** @typedef {import('./reception.js').ReceivedTrack} ReceivedTrack */
/** @typedef {import('./reception.js').TrackHost} TrackHost */

/** A decoder that has had a frame for so long is too slow, in milliseconds. A burst alone does not make it so. */
const SLOW_MS = 100;
/**
 * Frames in a slow decoder from which on upper temporal layers are left out, and from which on everything up to the next keyframe. In another one, more
 * wait until it has given some back: behind a keyframe that took long, much comes at once.
 */
const BUSY = 3;
const BEHIND = 5;
/** Frames in one that has not given any yet: some want a few before they do. */
const BEGINNING_MAX = 12;

/** How long after the last datagram a keyframe is still wished for at the full pace, in milliseconds. Nobody seems to send after that. */
const SENDING_MS = 2000;
/** A temporal layer of which nothing came for so long is left out by the relay, in milliseconds: many times as long as a loss in a row. */
const TOP_LAYER_MS = 300;
/** Frames wait for no others any more once it is missing for so long, in milliseconds: twice the time between two of them. */
const IN_ORDER_TOP_LAYER_MS = 150;
/** The pace then, in milliseconds. */
const SLOW_WISH_INTERVAL_MS = 2000;

/** A picture that stands for so long is stalled, in milliseconds. */
const STALL_MS = 1000;

/** How often something is asked for before a picture that needs it is given up: once more takes longer than a keyframe. */
const ASKS = 2;
/** What else may come in between, in milliseconds. */
const ASK_SLACK_MS = 60;

export class VideoReception {
  #track;
  #host;
  #assembly = new Assembly();
  #dependency = new Dependency();
  #catchUp = new CatchUp();
  #transit = new Transit(REPORTED_SECONDS);
  #latency = new Histogram();
  #freezes = new Freezes();
  #renderer = new Renderer();
  #gaps;
  #opening;
  /** @type {Decoder<VideoFrame, Frame['header']>} */
  #decoder;
  #held;
  #isTaken = true;
  #isMuted;
  #isFailed = false;
  /** Whether the last frame was sealed with a key that is here. */
  #mayOpen = true;
  /** @type {Layers} */
  #layers;
  #lastArrivedAtMs;
  #lastDrawnAtMs = -Infinity;
  #lastWishAtMs = -Infinity;
  /** Whether frames may be waiting for the decoder to give some back. */
  #isHeldBack = false;
  /** The rendition that comes. */
  #arriving;
  /** Wishes for the chosen one in its place. */
  #renditionWishes = 0;
  #lastRenditionWishAtMs = -Infinity;
  /** Counts up, so that no two chunks have one timestamp. */
  #chunks = 0;
  #size = { width: 0, height: 0 };
  /** When something of the highest temporal layer came last. */
  #topAtMs = -Infinity;
  #counts = { received: 0, decoded: 0, drawn: 0, late: 0, bytes: 0 };
  #lateBefore = 0;

  /** @param {ReceivedTrack} track @param {TrackHost} host @param {number} nowMs */
  constructor(track, host, nowMs) {
    this.#track = track;
    this.#host = host;
    this.#isMuted = track.muted;
    this.#lastArrivedAtMs = nowMs;
    const { spatialLayers, temporalLayers } = /** @type {{ spatialLayers: number, temporalLayers: number }} */ (track.info.media);
    this.#layers = { spatialLayer: Math.max(0, spatialLayers - 1), temporalLayer: Math.max(0, temporalLayers - 1) };
    this.#arriving = this.#layers.spatialLayer;
    this.#gaps = new Gaps(track.id, DEADLINE_MS.video);
    this.#opening = new Opening(host.cipher, (frame) => this.#opened(frame), () => this.#sealed());
    this.#held = new HeldFrames((/** @type {VideoFrame} */ frame, timestamp) => this.#draw(frame, timestamp));
    this.#decoder = this.#newDecoder();
    // The relay sends a recent picture when it makes the subscription, or asks for a keyframe.
    this.#dependency.wished(nowMs);
  }

  get renderer() {
    return this.#renderer;
  }

  /** @param {number} nowMs @param {import('../../wire/media.js').Media} media */
  media(nowMs, media) {
    this.#lastArrivedAtMs = nowMs;
    this.#arriving = media.spatialLayer;
    if (media.fragmentIndex === 0 && this.#catchUp.observe(nowMs, media.timestamp)) this.#transit.observe(performance.timeOrigin + nowMs, media.timestamp);
    this.#counts.bytes += media.payload.length;
    if (media.temporalLayer >= this.#topLayer) this.#topAtMs = nowMs;
    const frame = this.#assembly.push(nowMs, media, this.#gaps.push(nowMs, media, this.#isComplete(nowMs)));
    this.#ask(nowMs);
    if (!frame && media.onStream) this.#dependency.comesOnStream(nowMs, media);
    if (!frame) return;
    this.#gaps.settle(media.spatialLayer, media.frame);
    // Nothing of the rendition before is wanted any more.
    if (media.keyframe) this.#gaps.keep(media.spatialLayer);
    this.#counts.received++;
    this.#opening.push(frame);
  }

  /**
   * Whether frames of all temporal layers are to come: the relay leaves out upper ones where the path carries no more, and says nothing
   * of it.
   * @param {number} nowMs
   */
  #isComplete(nowMs) {
    return this.#layers.temporalLayer >= this.#topLayer && (this.#topLayer === 0 || nowMs - this.#topAtMs < TOP_LAYER_MS);
  }

  get #topLayer() {
    return /** @type {any} */ (this.#track.info.media).temporalLayers - 1;
  }

  /** Asks for what is missing, and waits for it as long as a few round trips take. @param {number} nowMs */
  #ask(nowMs) {
    const roundTripMs = this.#host.roundTripMs();
    const isMended = roundTripMs !== null && this.#isTaken;
    this.#dependency.inOrderMs = isMended ? this.#inOrderMs(nowMs, roundTripMs + 2 * REORDERING_MS) : 0;
    if (!isMended) return this.#gaps.clear();
    this.#dependency.patienceMs = Math.max(PATIENCE_MS, Math.min(DEADLINE_MS.video, ASKS * (roundTripMs + REORDERING_MS) + ASK_SLACK_MS));
    for (const request of this.#gaps.due(nowMs, roundTripMs)) this.#host.repeat(request);
  }

  /** How long frames wait for those before them: not where the relay leaves out upper layers. @param {number} nowMs @param {number} mendMs */
  #inOrderMs(nowMs, mendMs) {
    const areAllSent = this.#isComplete(nowMs) && (this.#topLayer === 0 || nowMs - this.#topAtMs < IN_ORDER_TOP_LAYER_MS);
    return areAllSent ? inOrderMs(mendMs) : 0;
  }

  /** What is due although nothing arrives. @param {number} nowMs */
  tick(nowMs) {
    this.#ask(nowMs);
    this.#decoder.look();
    this.#decode(nowMs);
    this.#wish(nowMs);
    this.#wishRendition(nowMs);
    this.#host.state(this.#state(nowMs));
  }

  /** Whether it is subscribed to, and which layers. @param {boolean} isTaken @param {Layers} layers @param {number} nowMs */
  take(isTaken, layers, nowMs) {
    const isNew = isTaken && !this.#isTaken;
    this.#isTaken = isTaken;
    if (layers.spatialLayer !== this.#layers.spatialLayer) this.#renditionWishes = 0;
    this.#layers = layers;
    if (!isNew) return;
    this.#arriving = layers.spatialLayer;
    this.#lastArrivedAtMs = nowMs;
    this.#pause();
    this.#assembly = new Assembly();
    this.#gaps = new Gaps(this.#track.id, DEADLINE_MS.video);
    this.#catchUp = new CatchUp();
    this.#dependency.beginAgain();
    this.#dependency.wished(nowMs);
  }

  /** @param {boolean} muted */
  mute(muted) {
    this.#isMuted = muted;
    this.#pause();
    this.#lastArrivedAtMs = performance.now();
  }

  /** What was drawn is over; what follows is waited for. */
  #pause() {
    this.#freezes.paused();
    this.#lastDrawnAtMs = -Infinity;
  }

  /** A canvas shows it from now on. @param {number} id @param {import('./render.js').Surface} surface */
  attach(id, surface) {
    // Of a screen that stands still no frame would come to be drawn.
    if (this.#track.info.source === 'screen' && !this.#renderer.isShown && this.#counts.drawn > 0) this.#dependency.skipToKeyframe();
    this.#renderer.attach(id, surface);
  }

  /** What happened in the last second, and altogether. @param {number} nowMs */
  second(nowMs) {
    const counts = this.#assembly.takeCounts(nowMs, this.#isComplete(nowMs));
    const late = this.#counts.late - this.#lateBefore;
    this.#lateBefore = this.#counts.late;
    const isSilent = this.#isTaken && !this.#isMuted && nowMs - this.#lastArrivedAtMs > SENDING_MS && this.#dependency.isBroken;
    return { ...counts, late, isSilent, jitterMs: this.#transit.jitterMs, delayMs: this.#transit.takeDelayMs(), bytes: this.#counts.bytes, stats: this.#stats() };
  }

  close() {
    this.#opening.close();
    this.#held.close();
    this.#decoder.close();
  }

  #stats() {
    const { received, decoded, drawn, late } = this.#counts;
    return {
      ...this.#size, spatialLayer: this.#dependency.spatialLayer, framesReceived: received, framesDecoded: decoded, framesDrawn: drawn,
      framesLeftOut: this.#dependency.leftOut + late, decoderFailures: this.#decoder.failures, freezes: this.#freezes.count,
      latencyMs: { p50: this.#latency.percentile(0.5), p95: this.#latency.percentile(0.95) },
    };
  }

  /** @returns {import('./remote-track.js').TrackState} */
  #state(nowMs = performance.now()) {
    if (this.#isFailed) return 'failed';
    if (this.#lastDrawnAtMs === -Infinity || this.#isMuted || !this.#isTaken) return 'waiting';
    // A screen that does not change sends nothing.
    const isStill = this.#track.info.source === 'screen' && !this.#dependency.isBroken && !this.#host.isInterrupted();
    return isStill || nowMs - this.#lastDrawnAtMs < STALL_MS ? 'playing' : 'stalled';
  }

  #newDecoder() {
    const { info } = this.#track;
    const config = { codec: info.codec, optimizeForLatency: true, ...decoderHints(info) };
    return new Decoder({
      create: (callbacks) => new VideoDecoder(callbacks),
      isSupported: async () => (await VideoDecoder.isConfigSupported(config)).supported === true,
      config,
      output: (/** @type {VideoFrame} */ frame, /** @type {Frame['header']} */ header) => this.#decoded(frame, header),
      renewed: () => this.#dependency.skipToKeyframe(),
      failed: (code) => this.#fail(code),
    });
  }

  /** @param {'codec_unsupported' | 'codec_failed'} code */
  #fail(code) {
    this.#isFailed = true;
    this.#host.failed(code);
  }

  /** Keyframes that cannot be opened help nobody, and cost everybody. */
  #sealed() {
    this.#mayOpen = false;
    this.#host.sealed();
  }

  /** @param {Frame} frame */
  #opened(frame) {
    this.#mayOpen = true;
    if (this.#isFailed && !this.#decoder.revive()) return;
    this.#isFailed = false;
    this.#dependency.push(frame);
    this.#decode(performance.now());
  }

  /** @param {number} nowMs */
  #decode(nowMs) {
    if (!this.#decoder.isReady) return;
    while (!this.#isFull) {
      const frame = this.#dependency.pop(nowMs);
      if (!frame) break;
      this.#feed(frame);
    }
    this.#isHeldBack = this.#isFull;
    this.#wish(nowMs);
  }

  /** Whether the decoder has as much as it may have, and is not too slow. */
  get #isFull() {
    return this.#decoder.pending >= (this.#decoder.hasBegun ? BEHIND : BEGINNING_MAX) && !this.#isSlow;
  }

  get #isSlow() {
    return this.#decoder.hasBegun && this.#decoder.waitingMs > SLOW_MS;
  }

  /** @param {Frame} frame */
  #feed({ header, payload }) {
    if (this.#isTooMuch(header)) {
      this.#counts.late++;
      this.#dependency.withdraw(header.frame);
      return;
    }
    const chunk = new EncodedVideoChunk({ type: header.keyframe ? 'key' : 'delta', timestamp: this.#chunks++ * 1000, data: payload });
    this.#decoder.decode(chunk, header);
  }

  /** Whether the decoder is too slow for the frame. @param {Frame['header']} header */
  #isTooMuch({ keyframe, temporalLayer }) {
    const { pending } = this.#decoder;
    const isSlow = this.#isSlow;
    const isBehind = !keyframe && isSlow && pending >= BEHIND;
    if (isBehind) this.#dependency.skipToKeyframe();
    return isBehind || (isSlow && pending >= BUSY && temporalLayer > 0);
  }

  get #mayWish() {
    return this.#isTaken && !this.#isMuted && !this.#isFailed && this.#mayOpen && !this.#host.isInterrupted();
  }

  /** @param {number} nowMs */
  #wish(nowMs) {
    if (!this.#mayWish) return;
    const isSending = nowMs - this.#lastArrivedAtMs < SENDING_MS;
    if (!isSending && nowMs - this.#lastWishAtMs < SLOW_WISH_INTERVAL_MS) return;
    if (!this.#dependency.wishesKeyframe(nowMs)) return;
    this.#lastWishAtMs = nowMs;
    this.#host.wishKeyframe(this.#arriving);
  }

  /** The relay changes the rendition at a keyframe of the chosen one, for which it asks once. @param {number} nowMs */
  #wishRendition(nowMs) {
    const { spatialLayer } = this.#layers;
    if (!this.#mayWish || spatialLayer === this.#arriving) return;
    const interval = Math.min(WISH_INTERVAL_MS * this.#renditionWishes, SLOW_WISH_INTERVAL_MS);
    if (nowMs - this.#lastRenditionWishAtMs < interval) return;
    this.#lastRenditionWishAtMs = nowMs;
    // The first time the relay has asked itself.
    if (this.#renditionWishes++ > 0) this.#host.wishKeyframe(spatialLayer);
  }

  /** @param {VideoFrame} frame @param {Frame['header']} header */
  #decoded(frame, header) {
    this.#counts.decoded++;
    const { displayWidth: width, displayHeight: height } = frame;
    if (width !== this.#size.width || height !== this.#size.height) this.#host.resized((this.#size = { width, height }));
    this.#held.add(frame, header.timestamp, this.#host.holdMs(header.timestamp));
    if (this.#isHeldBack) this.#decode(performance.now());
  }

  /** @param {VideoFrame} frame @param {number} timestamp */
  #draw(frame, timestamp) {
    this.#renderer.draw(frame);
    const nowMs = performance.now();
    this.#counts.drawn++;
    this.#freezes.drawn(nowMs);
    if (!this.#catchUp.isPast(timestamp)) this.#latency.add(msBetween(ticksOf(wallMs()), timestamp));
    this.#lastDrawnAtMs = nowMs;
    this.#host.state(this.#state(nowMs));
  }
}
