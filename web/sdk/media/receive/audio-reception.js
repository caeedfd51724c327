/** One audio track, from datagrams to samples for the playout. Runs in the worker. */
import { Assembly } from './assembly.js';
import { SILENCE_DB } from '../audio-level.js';
import { Decoder } from './decoder.js';
import { DEADLINE_MS, Gaps } from './gaps.js';
import { Histogram } from './histogram.js';
import { JitterTarget } from './jitter.js';
import { AUDIO_GAP_MAX } from './losses.js';
import { Opening } from './opening.js';
import { Order, PATIENCE_MS } from './order.js';
import { REPORTED_SECONDS, Transit } from './transit.js';

/** @typedef {import('./assembly.js').Frame} Frame */
/** @typedef {import('./playout.worklet.js').PlayoutStatus} PlayoutStatus */
/** @typedef {import('./reception.js').ReceivedTrack} ReceivedTrack */
/** @typedef {import('./reception.js').TrackHost} TrackHost */

/** Frames that may be on their way to the playout before it says that it plays: 1 s. While the browser keeps audio silent it does not. */
const UNPLAYED_MAX = 50;

/** Audio that does not come for so long is stalled, in milliseconds. */
const STALL_MS = 1000;

const MICROSECONDS_PER_FRAME = 20_000;

/** What of the audio that is to wait for its turn is kept for that, in milliseconds: the rest of the time may be spent on what is missing. */
const PLAYOUT_MS_MIN = 20;

/** What is sent once more comes too late where it takes longer, in milliseconds. */
const MENDED_MS_MAX = DEADLINE_MS.audio - 30;
/** The relay asks the publisher for what it lacks, on a path that nobody here knows: what a usual one takes for two requests, in milliseconds. */
const PUBLISHER_MS = 120;
/** What else may come in between, in milliseconds. */
const MEND_SLACK_MS = 40;

export class AudioReception {
  #track;
  #host;
  #assembly = new Assembly(AUDIO_GAP_MAX);
  #order = new Order();
  #jitter = new JitterTarget();
  #transit = new Transit(REPORTED_SECONDS);
  #gaps;
  #opening;
  /** @type {Decoder<AudioData, Frame['header']>} */
  #decoder;
  /** @type {MessagePort | null} */
  #playout = null;
  #unplayed = 0;
  #latency = new Histogram();
  /** @type {PlayoutStatus} */
  #status = { timestamp: null, bufferedMs: 0, counts: { played: 0, concealed: 0, silent: 0, stretched: 0, late: 0, underruns: 0 } };
  #isMuted;
  #isTaken = true;
  #isFailed = false;
  #lastDecodedAtMs = -Infinity;
  #loudestDb = SILENCE_DB;
  #chunks = 0;
  #counts = { received: 0, decoded: 0, bytes: 0 };

  /** @param {ReceivedTrack} track @param {TrackHost} host */
  constructor(track, host) {
    this.#track = track;
    this.#host = host;
    this.#isMuted = track.muted;
    this.#gaps = new Gaps(track.id, DEADLINE_MS.audio);
    this.#opening = new Opening(host.cipher, (frame) => this.#opened(frame), host.sealed);
    this.#decoder = this.#newDecoder();
  }

  /** Where the samples go. @param {MessagePort} port */
  set playout(port) {
    this.#playout = port;
    port.onmessage = ({ data }) => this.#played(data);
    port.postMessage({ type: 'target', ms: this.#jitter.targetMs });
  }

  /** @param {number} nowMs @param {import('../../wire/media.js').Media} media */
  media(nowMs, media) {
    this.#counts.bytes += media.payload.length;
    const frame = this.#assembly.push(nowMs, media, this.#gaps.push(nowMs, media, true));
    this.#ask(nowMs);
    if (!frame) return;
    this.#gaps.settle(media.spatialLayer, media.frame);
    this.#counts.received++;
    this.#jitter.arrived(performance.timeOrigin + nowMs, media.frame);
    this.#loudestDb = Math.min(this.#loudestDb, media.audioLevel);
    this.#transit.observe(performance.timeOrigin + nowMs, media.timestamp);
    this.#opening.push(frame);
  }

  /** What is due although nothing arrives. @param {number} nowMs */
  tick(nowMs) {
    this.#ask(nowMs);
    this.#decoder.look();
    this.#decode(nowMs);
    this.#host.state(this.#state(nowMs));
  }

  /** Asks for what is missing. @param {number} nowMs */
  #ask(nowMs) {
    const roundTripMs = this.#host.roundTripMs();
    if (roundTripMs === null || !this.#isTaken) return this.#gaps.clear();
    for (const request of this.#gaps.due(nowMs, roundTripMs)) this.#host.repeat(request);
  }

  /** What waits longer waits for nothing: no copy comes after that, and the wait itself would count as delay. @returns {number} */
  get #mendMs() {
    const roundTripMs = this.#host.roundTripMs() ?? 0;
    return roundTripMs > MENDED_MS_MAX ? 0 : Math.max(roundTripMs, PUBLISHER_MS) + MEND_SLACK_MS;
  }

  /** @param {boolean} isTaken whether it is subscribed to */
  take(isTaken) {
    this.#isTaken = isTaken;
  }

  /** @param {boolean} muted */
  mute(muted) {
    this.#isMuted = muted;
    this.#lastDecodedAtMs = -Infinity;
  }

  /** The loudest since the last time, in dB below full scale. */
  takeLevel() {
    const level = this.#isMuted ? SILENCE_DB : this.#loudestDb;
    this.#loudestDb = SILENCE_DB;
    return level;
  }

  /** What happened in the last second, and altogether. @param {number} nowMs */
  second(nowMs) {
    const counts = this.#assembly.takeCounts(nowMs, true);
    return { ...counts, late: 0, isSilent: false, jitterMs: this.#transit.jitterMs, delayMs: this.#transit.takeDelayMs(), bytes: this.#counts.bytes, stats: this.#stats() };
  }

  close() {
    this.#opening.close();
    this.#decoder.close();
    this.#playout?.close();
  }

  #stats() {
    const { bufferedMs, counts } = this.#status;
    const { received, decoded } = this.#counts;
    return {
      framesReceived: received, framesDecoded: decoded, framesLeftOut: this.#order.late, decoderFailures: this.#decoder.failures,
      bufferedMs: Math.round(bufferedMs), targetMs: Math.round(this.#jitter.targetMs), samplesPlayed: counts.played,
      samplesConcealed: counts.concealed, samplesSilent: counts.silent, samplesStretched: counts.stretched, underruns: counts.underruns,
      latencyMs: { p50: this.#latency.percentile(0.5), p95: this.#latency.percentile(0.95) },
    };
  }

  /** @param {number} nowMs @returns {import('./remote-track.js').TrackState} */
  #state(nowMs) {
    if (this.#isFailed) return 'failed';
    if (this.#lastDecodedAtMs === -Infinity || this.#isMuted || !this.#isTaken) return 'waiting';
    return nowMs - this.#lastDecodedAtMs < STALL_MS ? 'playing' : 'stalled';
  }

  #newDecoder() {
    const { codec, media } = this.#track.info;
    const { sampleRate, channels: numberOfChannels } = /** @type {{ sampleRate: number, channels: number }} */ (media);
    const config = { codec, sampleRate, numberOfChannels };
    return new Decoder({
      create: (callbacks) => new AudioDecoder(callbacks),
      isSupported: async () => (await AudioDecoder.isConfigSupported(config)).supported === true,
      config,
      output: (/** @type {AudioData} */ audio, /** @type {Frame['header']} */ header) => this.#decoded(audio, header),
      renewed: () => {},
      failed: (code) => {
        this.#isFailed = true;
        this.#host.failed(code);
      },
    });
  }

  /** @param {Frame} frame */
  #opened(frame) {
    if (this.#isFailed && !this.#decoder.revive()) return;
    this.#isFailed = false;
    this.#order.push(frame);
    this.#decode(performance.now());
  }

  /** @param {number} nowMs */
  #decode(nowMs) {
    if (!this.#decoder.isReady) return;
    const patienceMs = Math.max(PATIENCE_MS, Math.min(this.#jitter.targetMs - PLAYOUT_MS_MIN, this.#mendMs));
    for (let frame = this.#order.pop(nowMs, patienceMs); frame; frame = this.#order.pop(nowMs, patienceMs)) this.#feed(nowMs, frame);
  }

  /** @param {number} nowMs @param {Frame} frame */
  #feed(nowMs, { header, payload }) {
    const before = this.#jitter.targetMs;
    const ms = this.#jitter.observe(performance.timeOrigin + nowMs, header.timestamp);
    if (Math.round(ms) !== Math.round(before)) this.#playout?.postMessage({ type: 'target', ms });
    const chunk = new EncodedAudioChunk({ type: 'key', timestamp: this.#chunks++ * MICROSECONDS_PER_FRAME, data: payload });
    this.#decoder.decode(chunk, header);
  }

  /** @param {AudioData} audio @param {Frame['header']} header */
  #decoded(audio, header) {
    this.#counts.decoded++;
    this.#lastDecodedAtMs = performance.now();
    const planes = planesOf(audio);
    audio.close();
    if (!this.#playout || this.#unplayed >= UNPLAYED_MAX) return;
    this.#unplayed++;
    const frame = { number: header.frame, timestamp: header.timestamp, planes };
    this.#playout.postMessage({ type: 'frame', frame }, planes.map(({ buffer }) => buffer));
  }

  /** @param {PlayoutStatus} status */
  #played(status) {
    this.#unplayed = 0;
    this.#status = status;
    if (status.timestamp === null) return;
    this.#latency.add(this.#host.heard(status.timestamp));
  }
}

/** @param {AudioData} audio */
function planesOf(audio) {
  return Array.from({ length: audio.numberOfChannels }, (_, planeIndex) => {
    const plane = new Float32Array(audio.numberOfFrames);
    audio.copyTo(plane, { planeIndex, format: 'f32-planar' });
    return plane;
  });
}
