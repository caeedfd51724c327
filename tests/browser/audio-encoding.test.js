// Audio on its way through an encoder that hangs, or that only waits for more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SILENT_MS_MAX } from '../../web/sdk/media/send/codec.js';

const FRAME_MS = 20;

/** Encoders that were made; each gives a frame back when it gets the next one, unless it hangs. @type {HoldingEncoder[]} */
const encoders = [];

class HoldingEncoder {
  state = 'unconfigured';
  hangs = false;
  #holds = false;
  #output;

  /** @param {{ output: (chunk: object) => void }} callbacks */
  constructor({ output }) {
    this.#output = output;
    encoders.push(this);
  }

  configure() {
    this.state = 'configured';
  }

  encode() {
    if (this.#holds && !this.hangs) this.#output({ byteLength: 1, copyTo: () => {} });
    this.#holds = true;
  }

  close() {
    this.state = 'closed';
  }
}

Object.assign(globalThis, { AudioEncoder: HoldingEncoder, AudioData: class { close() {} } });
const { AudioEncoding } = await import('../../web/sdk/media/send/audio-encoding.js');

/** @param {import('node:test').TestContext} t */
function start(t) {
  encoders.splice(0);
  let nowMs = 1000;
  t.mock.method(performance, 'now', () => nowMs);
  const counts = { frames: 0, failures: 0 };
  const encoding = new AudioEncoding({ channels: 1, bitrate: 32_000, output: () => counts.frames++, failed: () => counts.failures++ });
  const port = /** @type {any} */ ({ close() {} });
  encoding.input(port);
  const capture = (/** @type {number} */ ms) => {
    for (const end = nowMs + ms; nowMs < end; nowMs += FRAME_MS) {
      port.onmessage({ data: { samples: new Float32Array(960), channels: 1, sampleRate: 48_000, atMs: nowMs } });
    }
  };
  return { encoding, counts, capture, pass: (/** @type {number} */ ms) => { nowMs += ms; } };
}

test('a pause, however long, is no hang of an encoder that holds a frame back', (t) => {
  const { encoding, counts, capture } = start(t);
  for (let pauses = 0; pauses < 3; pauses++) {
    capture(1000);
    encoding.isPaused = true;
    capture(SILENT_MS_MAX + 1000);
    encoding.isPaused = false;
  }
  capture(1000);
  assert.deepEqual([encoders.length, counts], [1, { frames: 4 * 50 - 1, failures: 0 }]);
});

test('a microphone that is gone for long, however often, is no hang either', (t) => {
  const { counts, capture, pass } = start(t);
  for (let gaps = 0; gaps < 3; gaps++) {
    capture(1000);
    pass(SILENT_MS_MAX + 1000);
  }
  assert.deepEqual([encoders.length, counts.failures], [1, 0]);
});

test('short pauses hide no hang', (t) => {
  const { encoding, capture } = start(t);
  capture(1000);
  encoders[0].hangs = true;
  for (let pauses = 0; pauses < 6; pauses++) {
    capture(SILENT_MS_MAX / 5);
    encoding.isPaused = true;
    capture(100);
    encoding.isPaused = false;
  }
  assert.equal(encoders.length, 2);
});

test('an encoder that hangs is made again once, and given up if the next one hangs as well', (t) => {
  const { counts, capture } = start(t);
  capture(1000);
  encoders[0].hangs = true;
  capture(SILENT_MS_MAX + 100);
  assert.deepEqual([encoders.length, counts.failures], [2, 0]);
  encoders[1].hangs = true;
  capture(SILENT_MS_MAX + 1000);
  assert.deepEqual([encoders.length, counts.failures], [2, 1]);
});
