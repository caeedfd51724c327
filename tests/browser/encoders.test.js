// What is made of an encoder that leaves frames out, begins late or hangs, with made-up encoders and time.
import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';
import { AudioEncoding } from '../../web/sdk/media/send/audio-encoding.js';
import { SILENT_MS_MAX } from '../../web/sdk/media/send/codec.js';
import { RenditionEncoder } from '../../web/sdk/media/send/rendition-encoder.js';
import { VideoEncoding } from '../../web/sdk/media/send/video-encoding.js';

let nowMs = 0;
/** Those that were made, and what each took and has not given back. @type {MadeUpEncoder[]} */
let encoders = [];

class MadeUpEncoder {
  state = 'unconfigured';
  /** @type {{ timestamp: number }[]} */
  taken = [];

  /** @param {{ output: (chunk: object) => void }} callbacks */
  constructor({ output }) {
    this.output = output;
    encoders.push(this);
  }

  configure() { this.state = 'configured'; }
  close() { this.state = 'closed'; }
  /** @param {{ timestamp: number }} frame */
  encode({ timestamp }) { this.taken.push({ timestamp }); }

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
  const target = { width: 640, height: 360, bitrate: 500_000, frameRate: 30 };
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

test('a frame of which the browser makes no copy is closed and counted, and those after it are encoded', async () => {
  let open = 0;
  class Frame {
    timestamp = nowMs * 1000;
    displayWidth = 640;
    displayHeight = 360;
    constructor() { open++; }
    close() { open--; }
  }
  Object.assign(globalThis, {
    VideoFrame: class extends Frame {
      /** @param {{ isBad?: boolean }} frame @param {{ timestamp: number }} init */
      constructor({ isBad }, { timestamp }) {
        if (isBad) throw new Error('no memory');
        super();
        this.timestamp = timestamp;
      }
    },
  });
  const plan = { config: { codec: 'vp8', width: 640, height: 360 }, width: 640, height: 360, frameRate: 30, renditions: 1, isScreen: false };
  const encoding = new VideoEncoding({ plan, output() {}, failed() {} });
  encoding.layersWanted(1, 7);
  const frames = Array.from({ length: 3 }, (_, at) => Object.assign(new Frame(), { isBad: at === 1, timestamp: at * 100_000 }));
  await encoding.input(new ReadableStream({
    pull(controller) {
      nowMs += 100;
      const frame = frames.shift();
      if (frame) controller.enqueue(/** @type {any} */ (frame));
      else controller.close();
    },
  }, { highWaterMark: 0 }));
  assert.deepEqual([encoding.counts, encoders[0].taken.length, open], [{ captured: 3, unwanted: 0, dropped: 1, thinned: 0, encoded: 0 }, 2, 0]);
});
