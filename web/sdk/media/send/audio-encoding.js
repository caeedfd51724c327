/** One audio track in the worker: from samples to frames of Opus. */
import { AUDIO_FRAME_MS } from '../audio-format.js';
import { audioLevel } from '../audio-level.js';
import { FAILED_AGAIN_MS, SILENT_MS_MAX } from './codec.js';
import { MediaClock, nowMs, ticksOf } from '../media-clock.js';

/** Frames that the encoder may have and not have given back: a second. More are left out. */
const PENDING_FRAMES_MAX = 50;

/** An encoder that got so many frames and gave nothing back hangs. */
const UNANSWERED_MAX = SILENT_MS_MAX / AUDIO_FRAME_MS;

/** @typedef {import('./capture.worklet.js').CapturedAudio} CapturedAudio */
/** @typedef {import('./frame-sender.js').EncodedFrame} EncodedFrame */

/**
 * @typedef {object} AudioEncodingOptions
 * @property {number} channels
 * @property {number} bitrate bits per second
 * @property {(frame: EncodedFrame) => void} output
 * @property {(error: Error) => void} failed nothing comes any more
 */

export class AudioEncoding {
  #options;
  #bitrate;
  /** @type {AudioEncoder | null} */
  #encoder = null;
  #sampleRate = 0;
  #clock = new MediaClock();
  /** What the encoder has, oldest first: it invents timestamps. @type {{ timestamp: number, level: number }[]} */
  #pending = [];
  /** Frames that the encoder got since it gave something back: not a time, since a microphone may pause or be gone while it holds one back. */
  #unanswered = 0;
  /** When it got the first of them: after a moment in which the worker did nothing, many come at once. */
  #unansweredSinceMs = 0;
  #failedAtMs = -Infinity;
  #frame = 0;
  /** @type {MessagePort | null} */
  #port = null;
  isPaused = false;

  /** @param {AudioEncodingOptions} options */
  constructor(options) {
    this.#options = options;
    this.#bitrate = options.bitrate;
  }

  /** Where samples come from. @param {MessagePort} port */
  input(port) {
    this.#port?.close();
    this.#port = port;
    this.#clock = new MediaClock();
    port.onmessage = ({ data }) => this.#encode(data);
  }

  /** The track is another one for the relay: its frames count from 0. */
  restart() {
    this.#frame = 0;
  }

  /** @param {number} bitrate bits per second */
  setBitrate(bitrate) {
    if (Math.abs(bitrate - this.#bitrate) < this.#bitrate * 0.2) return;
    this.#bitrate = bitrate;
    // Made again with the next samples.
    this.#release();
  }

  close() {
    this.#port?.close();
    this.#release();
  }

  #release() {
    if (this.#encoder && this.#encoder.state !== 'closed') this.#encoder.close();
    this.#encoder = null;
    this.#pending = [];
    this.#unanswered = 0;
  }

  /** @param {CapturedAudio} captured */
  #encode({ samples, channels, sampleRate, atMs }) {
    const captureMs = this.#clock.at(atMs, nowMs() - AUDIO_FRAME_MS);
    if (this.isPaused) return;
    try {
      if (!this.#encoder || sampleRate !== this.#sampleRate) this.#open(sampleRate);
      if (this.#unanswered++ === 0) this.#unansweredSinceMs = performance.now();
      const isLong = performance.now() - this.#unansweredSinceMs > SILENT_MS_MAX / 2;
      if (isLong && this.#unanswered > UNANSWERED_MAX) throw new Error('the encoder gives nothing back');
      if (this.#pending.length >= PENDING_FRAMES_MAX) return;
      const audio = new AudioData({
        format: 'f32-planar', sampleRate, numberOfChannels: channels, numberOfFrames: samples.length / channels,
        timestamp: Math.round((captureMs - performance.timeOrigin) * 1000), data: samples,
      });
      this.#pending.push({ timestamp: ticksOf(captureMs), level: audioLevel(samples) });
      this.#encoder?.encode(audio);
      audio.close();
    } catch (error) {
      this.#fail(/** @type {Error} */ (error));
    }
  }

  /** @param {number} sampleRate */
  #open(sampleRate) {
    this.#release();
    this.#sampleRate = sampleRate;
    const encoder = new AudioEncoder({
      output: (chunk) => { if (encoder === this.#encoder) this.#output(chunk); },
      error: (error) => { if (encoder === this.#encoder) this.#fail(error); },
    });
    const { channels } = this.#options;
    encoder.configure(/** @type {AudioEncoderConfig} */ ({
      codec: 'opus', sampleRate, numberOfChannels: channels, bitrate: this.#bitrate,
      opus: { frameDuration: AUDIO_FRAME_MS * 1000, application: channels === 1 ? 'voip' : 'audio' },
    }));
    this.#encoder = encoder;
  }

  /** @param {EncodedAudioChunk} chunk */
  #output(chunk) {
    const pending = this.#pending.shift();
    this.#unanswered = 0;
    if (!pending || this.isPaused) return;
    const payload = new Uint8Array(chunk.byteLength);
    chunk.copyTo(payload);
    this.#options.output({
      header: {
        frame: this.#frame++ >>> 0, dependsOnDistance: 0, keyframe: true, temporalLayer: 0, spatialLayer: 0,
        audioLevel: pending.level, timestamp: pending.timestamp,
      },
      payload,
    });
  }

  /** Once, another encoder is tried. @param {Error} error */
  #fail(error) {
    this.#release();
    const now = performance.now();
    const isAgain = now - this.#failedAtMs < FAILED_AGAIN_MS;
    this.#failedAtMs = now;
    if (!isAgain) return;
    this.isPaused = true;
    this.#options.failed(error);
  }
}
