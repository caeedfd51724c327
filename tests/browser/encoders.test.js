// What is made of an encoder that leaves frames out, begins late or hangs, with made-up encoders and time.
import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import { AudioEncoding } from '../../web/sdk/media/send/audio-encoding.js';
import { SILENT_MS_MAX } from '../../web/sdk/media/send/codec.js';
import { deliveries } from '../../web/sdk/media/send/delivery.js';
import { RenditionEncoder } from '../../web/sdk/media/send/rendition-encoder.js';
import { UNTAKEN_MS } from '../../web/sdk/media/send/temporal-layers.js';
import { VideoEncoding } from '../../web/sdk/media/send/video-encoding.js';

let nowMs = 0;
/** Those that were made, and what each took and has not given back. @type {MadeUpEncoder[]} */
let encoders = [];

class MadeUpEncoder {
  state = 'unconfigured';
  /** @type {{ timestamp: number }[]} */
  taken = [];
  /** @type {VideoEncoderConfig | undefined} */
  config;
  /** That were asked for. */
  keyframes = 0;

  /** @param {{ output: (chunk: object) => void }} callbacks */
  constructor({ output }) {
    this.output = output;
    encoders.push(this);
  }

  /** @param {VideoEncoderConfig} config */
  configure(config) {
    this.state = 'configured';
    this.config = config;
  }

  close() { this.state = 'closed'; }

  /** @param {{ timestamp: number }} frame @param {VideoEncoderEncodeOptions} [options] */
  encode({ timestamp }, { keyFrame = false } = {}) {
    this.taken.push({ timestamp });
    if (keyFrame) this.keyframes++;
  }


  /** Gives back the oldest that it has, once the `left` ones before it were left out. */
  give(left = 0) {
    this.taken.splice(0, left);
    const { timestamp } = /** @type {{ timestamp: number }} */ (this.taken.shift());
    this.output({ timestamp, type: 'delta', byteLength: 1, copyTo() {} });
  }
}

Object.assign(globalThis, { VideoEncoder: MadeUpEncoder, AudioEncoder: MadeUpEncoder, AudioData: class { close() {} } });
mock.method(performance, 'now', () => nowMs);
beforeEach(() => {
  nowMs = 0;
  encoders = [];
});

function startVideo() {
  const counts = { frames: 0, failures: 0 };
  const encoder = new RenditionEncoder({
    layer: 0, config: { codec: 'vp8', width: 640, height: 360 }, output: () => { counts.frames++; }, failed: () => { counts.failures++; },
  });
  const target = { width: 640, height: 360, bitrate: 500_000, frameRate: 30, temporalLayers: 1 };
  return { encoder, counts, frame: () => encoder.encode(/** @type {any} */ ({ timestamp: nowMs * 1000 }), target) };
}

function startAudio() {
  const counts = { frames: 0, failures: 0 };
  const encoding = new AudioEncoding({ channels: 1, bitrate: 32_000, output: () => { counts.frames++; }, failed: () => { counts.failures++; } });
  const { port1, port2 } = new MessageChannel();
  encoding.input(port1);
  const samples = new Float32Array(960);
  // As if it had come through the port.
  const frame = () => port1.onmessage?.(/** @type {any} */ ({ data: { samples, channels: 1, sampleRate: 48_000, atMs: nowMs } }));
  return { encoding, counts, frame, close: () => { encoding.close(); port2.close(); } };
}

test('frames that a video encoder leaves out stand in the way for no more than a second', () => {
  const { encoder, frame } = startVideo();
  for (; nowMs < 90; nowMs += 30) frame();
  assert.equal(encoder.queueSize, 3);
  nowMs = 1061;
  assert.equal(encoder.queueSize, 0);
});

test('what comes out of a video encoder tells what it left out before', () => {
  const { encoder, counts, frame } = startVideo();
  for (; nowMs < 90; nowMs += 30) frame();
  encoders[0].give(1);
  assert.deepEqual([encoder.queueSize, counts.frames], [1, 1]);
});

test('a video encoder that gives nothing is tried once more, and then given up', () => {
  const { counts, frame } = startVideo();
  for (; nowMs <= SILENT_MS_MAX; nowMs += 500) frame();
  assert.deepEqual([encoders.length, counts.failures], [1, 0]);
  frame();
  assert.equal(encoders[0].state, 'closed');
  for (let end = nowMs + SILENT_MS_MAX + 1000; nowMs < end; nowMs += 500) frame();
  assert.deepEqual([encoders.length, counts.failures], [2, 1]);
});

test('a video encoder may begin late', () => {
  const { counts, frame } = startVideo();
  for (; nowMs < SILENT_MS_MAX; nowMs += 500) frame();
  encoders[0].give();
  for (; nowMs < 1.5 * SILENT_MS_MAX; nowMs += 500) frame();
  assert.deepEqual([encoders.length, counts.failures, counts.frames], [1, 0, 1]);
});

test('an audio encoder may begin late: what is more than a second is left out', () => {
  const { counts, frame, close } = startAudio();
  for (; nowMs < SILENT_MS_MAX; nowMs += 20) frame();
  assert.equal(encoders[0].taken.length, 50);
  for (let given = 0; given < 50; given++) encoders[0].give();
  frame();
  encoders[0].give();
  assert.deepEqual([encoders.length, counts.failures, counts.frames], [1, 0, 51]);
  close();
});

test('an audio encoder that gives nothing is tried once more, and then given up', () => {
  const { counts, frame, close } = startAudio();
  for (; nowMs <= SILENT_MS_MAX + 20; nowMs += 20) frame();
  assert.deepEqual([encoders[0].state, counts.failures], ['closed', 0]);
  for (let end = nowMs + SILENT_MS_MAX + 100; nowMs < end; nowMs += 20) frame();
  assert.deepEqual([encoders.length, counts.failures], [2, 1]);
  close();
});

/** Frames of which the browser makes no copy while they are `bad`, and how many are open. */
function madeUpFrames() {
  const count = { open: 0 };
  class Frame {
    displayWidth = 640;
    displayHeight = 360;
    isOpen = true;
    isBad = false;
    /** @param {number} timestamp */
    constructor(timestamp) {
      this.timestamp = timestamp;
      count.open++;
    }
    close() {
      if (this.isOpen) count.open--;
      this.isOpen = false;
    }
    clone() {
      return this.copy(this.timestamp);
    }
    /** @param {number} timestamp */
    copy(timestamp) {
      if (this.isBad || !this.isOpen) throw new Error('no memory');
      return new Frame(timestamp);
    }
  }
  // A constructor that returns something else is as good.
  Object.assign(globalThis, { VideoFrame: function (/** @type {Frame} */ frame, /** @type {{ timestamp: number }} */ { timestamp }) { return frame.copy(timestamp); } });
  return { count, Frame };
}

/** @param {boolean} isScreen @param {string} [scalabilityMode] */
function startEncoding(isScreen, scalabilityMode) {
  const plan = { config: { codec: 'vp8', width: 640, height: 360, scalabilityMode }, temporalLayersMin: 1, width: 640, height: 360, frameRate: 30, renditions: 1, isScreen, delivery: deliveries('datagrams', false) };
  const encoding = new VideoEncoding({ plan, output() {}, failed() {} });
  encoding.layersWanted(1, 7);
  return encoding;
}

test('a frame of which the browser makes no copy is closed and counted, and those after it are encoded', async () => {
  const { count, Frame } = madeUpFrames();
  const encoding = startEncoding(false);
  const frames = Array.from({ length: 3 }, (_, at) => Object.assign(new Frame(at * 100_000), { isBad: at === 1 }));
  await encoding.input(new ReadableStream({
    pull(controller) {
      nowMs += 100;
      const frame = frames.shift();
      if (frame) controller.enqueue(/** @type {any} */ (frame));
      else controller.close();
    },
  }, { highWaterMark: 0 }));
  assert.deepEqual([encoding.counts, encoders[0].taken.length, count.open], [{ captured: 3, unwanted: 0, dropped: 1, thinned: 0, encoded: 0 }, 2, 0]);
});

test('a screen that stands still is sent again each second, also after a frame of which there is no copy', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { count, Frame } = madeUpFrames();
  const encoding = startEncoding(true);
  const pass = (/** @type {number} */ ms) => {
    nowMs += ms;
    t.mock.timers.tick(ms);
  };
  const [good, bad] = [new Frame(0), Object.assign(new Frame(500_000), { isBad: true })];
  encoding.offer(/** @type {any} */ (good));
  pass(500);
  encoding.offer(/** @type {any} */ (bad));
  assert.equal(encoders[0].taken.length, 1);
  for (let second = 0; second < 2; second++) pass(1000);
  assert.equal(encoders[0].taken.length, 3);
  encoding.close();
  pass(5000);
  assert.deepEqual([encoders[0].taken.length, count.open], [3, 0]);
});

test('that a still picture cannot be copied now costs nothing else', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { Frame } = madeUpFrames();
  const encoding = startEncoding(true);
  const frame = new Frame(0);
  const still = new Frame(0);
  frame.clone = () => still;
  encoding.offer(/** @type {any} */ (frame));
  for (const isBad of [true, false]) {
    still.isBad = isBad;
    nowMs += 1000;
    t.mock.timers.tick(1000);
  }
  assert.deepEqual([encoding.counts.dropped, encoders[0].taken.length], [1, 2]);
  encoding.close();
});

/** Offers a camera's frames for a while, of which each comes out at once. @param {VideoEncoding} encoding @param {new (timestamp: number) => any} Frame @param {number} ms */
function film(encoding, Frame, ms) {
  for (const end = nowMs + ms; nowMs < end; nowMs += 1000 / 30) {
    encoding.offer(new Frame(nowMs * 1000));
    const encoder = encoders.findLast(({ state }) => state === 'configured');
    if (encoder && encoder.taken.length > 0) encoder.give();
  }
}

test('temporal layers that nobody takes are not encoded, and neither are their frames', () => {
  const { Frame } = madeUpFrames();
  const encoding = startEncoding(false, 'L1T3');
  film(encoding, Frame, 1000);
  const whole = { ...encoders[0].config };
  assert.deepEqual([whole.scalabilityMode, whole.framerate], ['L1T3', 30]);
  const [all] = encoding.demands();
  encoding.layersWanted(1, 1);
  film(encoding, Frame, 1000 + UNTAKEN_MS);
  const { encoded, thinned } = encoding.counts;
  film(encoding, Frame, 10_000);
  assert.deepEqual([encoding.counts.encoded - encoded, encoding.counts.thinned - thinned], [150, 150]);
  const { scalabilityMode, framerate, bitrate = 0 } = /** @type {VideoEncoderConfig} */ (encoders[0].config);
  assert.deepEqual([scalabilityMode, framerate, bitrate], ['L1T2', 15, Math.round(0.7 * (whole.bitrate ?? 0))]);
  assert.deepEqual(encoding.demands(), [{ bitrateMin: 0.7 * all.bitrateMin, bitrateMax: 0.7 * all.bitrateMax }]);
  encoding.layersWanted(1, 2);
  film(encoding, Frame, 100);
  assert.deepEqual([encoders[0].config, encoders.length], [whole, 1]);
});

test('an encoder without temporal layers is another one, and begins with a keyframe', () => {
  const { Frame } = madeUpFrames();
  const encoding = startEncoding(false, 'L1T3');
  film(encoding, Frame, 1000);
  encoding.layersWanted(1, 0);
  film(encoding, Frame, 1000 + UNTAKEN_MS);
  assert.deepEqual(encoders.map(({ state, config }) => [state, config?.scalabilityMode, config?.framerate]), [['closed', 'L1T3', 30], ['configured', undefined, 7.5]]);
  encoding.layersWanted(1, 1);
  film(encoding, Frame, 1000);
  assert.deepEqual(encoders.map(({ state, config, keyframes }) => [state, config?.scalabilityMode, keyframes]), [['closed', 'L1T3', 1], ['closed', undefined, 1], ['configured', 'L1T3', 1]]);
});

test('a rendition never has more than it was assigned', () => {
  const { Frame } = madeUpFrames();
  const encoding = startEncoding(false, 'L1T3');
  encoding.layersWanted(1, 1);
  film(encoding, Frame, 1000 + UNTAKEN_MS);
  const [{ bitrateMin, bitrateMax }] = encoding.demands();
  encoding.assign([(bitrateMin + bitrateMax) / 2]);
  film(encoding, Frame, 2000);
  const assigned = Math.round((bitrateMin + bitrateMax) / 2);
  assert.deepEqual([encoders[0].config?.bitrate, encoders[0].config?.framerate], [assigned, 15]);
  encoding.layersWanted(1, 2);
  film(encoding, Frame, 100);
  assert.deepEqual([encoders[0].config?.bitrate, encoders[0].config?.framerate], [assigned, 30], 'there is no more than that');
});
